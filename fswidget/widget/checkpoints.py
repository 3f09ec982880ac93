"""States of a run at log-spaced epochs, from which it can branch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from fswidget.recording.thinning import Thinning
from fswidget.training.loop import Training

#: Bytes that the states of a run may take together (our choice).
BYTE_BUDGET = 256_000_000

#: Kept epochs per doubling.
_PER_DOUBLING = 2


class Checkpoints:
    """The states of one run, in full precision, within a budget.

    The first epoch's beginning is kept and two epochs per doubling. Beyond the budget the state
    goes whose neighbours lie closest in log(1 + step); where not even two states with an
    optimiser's two moments would fit, none is kept.

    Parameters
    ----------
    byte_budget : int
    """

    def __init__(self, byte_budget: int = BYTE_BUDGET) -> None:
        self.byte_budget = byte_budget
        self._states: dict[int, tuple[float, dict[str, Any], int]] = {}  # by step
        self._thinning = Thinning([])
        self._looked = -1  # the last power of the spacing that was kept

    @property
    def epochs(self) -> list[float]:
        """Where states are kept, ascending."""
        return [epoch for epoch, _, _ in self._states.values()]

    @property
    def nbytes(self) -> int:
        """What they take."""
        return sum(nbytes for _, _, nbytes in self._states.values())

    def look(self, training: Training) -> None:
        """Keep the state of a run that stands between two epochs, if it is time."""
        epoch, step = training.progress.epoch, training.step
        power = math.floor(_PER_DOUBLING * math.log2(epoch) + 1e-9) if epoch >= 1 else -1
        if (self._states and power <= self._looked) or step in self._states:
            return
        self._looked = power
        # With an optimiser's two moments a state is three times the network; a copy that would not
        # be kept is not made.
        if 6 * nbytes_of(training.model.state_dict()) > self.byte_budget:
            return
        state = training.state_dict()
        self._states[step] = epoch, state, nbytes_of(state)
        self._thinning.append(step, step)
        while self.nbytes > self.byte_budget and len(self._states) > 2:
            del self._states[self._thinning.pop()]

    def nearest(self, epoch: float) -> tuple[float, dict[str, Any]]:
        """The kept state nearest to an epoch, the earlier one of two, and its own epoch.

        Raises
        ------
        ValueError
            If none is kept.
        """
        if not self._states:
            raise ValueError(
                f"epoch={epoch!r}: no state of this run is kept; a state must fit twice into "
                f"{self.byte_budget:,} bytes"
            )
        found, state, _ = min(self._states.values(), key=lambda kept: abs(kept[0] - epoch))
        return found, state


def nbytes_of(state: Any) -> int:
    """What the tensors in nested mappings and sequences take."""
    return sum(tensor.numel() * tensor.element_size() for tensor in _tensors(state))


def _tensors(state: Any) -> Iterator[Tensor]:
    if isinstance(state, Tensor):
        yield state
    elif isinstance(state, Mapping):
        for value in state.values():
            yield from _tensors(value)
    elif isinstance(state, (list, tuple)):
        for value in state:
            yield from _tensors(value)
