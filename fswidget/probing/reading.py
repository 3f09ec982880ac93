"""Reads features and outputs from calls of a model, and checks that the one made the other.

The outputs are always what the model returns. Features are the rows that entered the head's call
which made them: found by values where the outputs are the head's own, else by gradients, sample by
sample; over the whole probe the outputs must then be one affine function of what left the head.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from fswidget.analysis.arrays import default_device
from fswidget.analysis.linear_outputs import LinearOutputs, pieces
from fswidget.probing.capture import Capture, capture
from fswidget.probing.head import Head
from fswidget.probing.modes import overwriting, param_dtype
from fswidget.probing.outputs import (
    WAY_OUT,
    Select,
    affine_misfit,
    equal_rows,
    main_output,
    precision,
)
from fswidget.probing.samples import Batch


@dataclass
class Reading:
    """What a pass gave, one row per sample.

    Attributes
    ----------
    outputs : Tensor, shape (n, C)
    calls : list of (Tensor, Tensor)
        Features, shape (n, p), and what the head made of them, shape (n, q), at each of its calls
        with as many rows as samples. Where features are given, they stand for both.
    layers : dict of str to Tensor, shape (n, q)
    targets : Tensor
    """

    outputs: Tensor
    calls: list[tuple[Tensor, Tensor]]
    layers: dict[str, Tensor]
    targets: Tensor

    @classmethod
    def joined(cls, parts: Sequence[Reading]) -> Reading:
        """The batches of a pass as one."""
        calls = zip(*(part.calls for part in parts), strict=False)
        return cls(
            torch.cat([part.outputs for part in parts]),
            [(torch.cat([f for f, _ in call]), torch.cat([m for _, m in call])) for call in calls],
            {name: torch.cat([part.layers[name] for part in parts]) for name in parts[0].layers},
            torch.cat([part.targets for part in parts]),
        )


@dataclass
class Reader:
    """How features and outputs of a model are read.

    Parameters
    ----------
    model : torch.nn.Module
    head : Head or None
        The last linear layer; None where `features` is given.
    shift : bool
        Whether a common shift of a sample's outputs counts for nothing, as before a softmax.
    select : str, int or callable, optional
        Which of what the model returns are the outputs.
    features : str or callable, optional
        The module whose output the features are, or a function of the inputs that returns them,
        alone or before the outputs.
    """

    model: nn.Module
    head: Head | None
    shift: bool
    select: Select | None = None
    features: str | Callable[..., Any] | None = None
    _told: bool = field(default=False, init=False)
    _bent: bool = field(default=False, init=False)

    @property
    def name(self) -> str:
        """What errors call the features."""
        return self.head.name if self.head is not None else str(self.features)

    def read(
        self, batches: Iterable[Batch], layers: Sequence[str] = (), *, tracing: bool = False
    ) -> Reading:
        """Run the model on all batches; `tracing` which of the head's rows made the outputs."""
        named = [self.features] if isinstance(self.features, str) else []
        parts = []
        with capture(self.model, self.head, [*layers, *named]) as caught:
            for batch in batches:
                caught.clear(batch.positions)
                if self.head is None:
                    reading = self._given(batch, caught)
                elif tracing:
                    reading = self._traced(batch, caught, self.head)
                else:
                    reading = self._of_head(batch, caught, self.head)
                _check_layers(reading, layers)
                parts.append(reading)
        return Reading.joined(parts)

    def by_weights(
        self, batches: Iterable[Batch], layers: Sequence[str] = ()
    ) -> tuple[LinearOutputs, Reading] | None:
        """Run the model on all batches and keep of many outputs what the head's weights make them
        from, beside a reading without outputs; None, from then on too, where they do not."""
        matrix = None if self.head is None or self._bent else self.head.matrix
        if matrix is None:
            return None
        parts, linear, answers = [], [], []
        with capture(self.model, self.head, layers, entering=True) as caught:
            for batch in batches:
                caught.clear(batch.positions)
                outputs = self._outputs(batch).detach()
                calls = [features for features, _ in caught.calls if len(features) == len(outputs)]
                made = self._made(outputs, calls[0], *matrix) if len(calls) == 1 else None
                if made is None:
                    self._bent = True
                    return None
                reading = Reading(outputs[:0], [], dict(caught.layers), batch.targets)
                _check_layers(reading, layers)
                parts.append(reading)
                linear.append(made[0])
                answers.append(made[1])
        # One question for the whole pass: each answer makes a GPU wait.
        self._bent = not bool(torch.stack(answers).all())
        if self._bent:
            return None
        return LinearOutputs.joined(linear), Reading.joined(parts)

    def _made(
        self, outputs: Tensor, features: Tensor, weight: Tensor, bias: Tensor | None
    ) -> tuple[LinearOutputs, Tensor] | None:
        """Outputs by the weights, and whether those make them up to rounding, or to a
        log-softmax."""
        if outputs.shape[1] != len(weight):
            return None
        shift = torch.zeros(
            len(outputs), dtype=torch.float64, device=default_device(outputs.device)
        )
        found = LinearOutputs(features, weight, bias, shift, outputs.argmax(1))
        tolerance, shifts, answers = self._tolerance(outputs, weight), [], []
        for some, made in zip(pieces(outputs), pieces(found), strict=True):
            same = equal_rows(some, made, shift=self.shift, tolerance=tolerance)
            answers.append(some.isfinite().all() & same)
            first, second = (rows.sum(1, dtype=torch.float64) for rows in (some, made))
            shifts.append(first - second)
        if self.shift:
            found = replace(found, shift=torch.cat(shifts) / len(weight))
        return found, torch.stack(answers).all()

    def watchable(self, batches: Sequence[Batch], layers: Sequence[str]) -> list[str]:
        """Of some layers, those that run in evaluation mode and give one row per sample."""
        counts = [len(batch.targets) for batch in batches]
        found: list[dict[str, Tensor]] = []
        for batch in batches:
            with capture(self.model, None, layers, lenient=True) as caught:
                caught.clear(batch.positions)
                self.model(*batch.args, **batch.kwargs)
                found.append(dict(caught.layers))
        return [
            name
            for name in layers
            if all(name in rows for rows in found) and [len(rows[name]) for rows in found] == counts
        ]

    def returned(self, batch: Batch) -> Tensor:
        """The outputs as they come, in whatever shape."""
        if self.head is None and callable(self.features):
            given = self.features(*batch.args, **batch.kwargs)
            if isinstance(given, (tuple, list)) and len(given) == 2:
                outputs: Tensor = given[1]
                return outputs
        return main_output(self.model(*batch.args, **batch.kwargs), self.select)

    def _outputs(self, batch: Batch, tracing: bool = False) -> Tensor:
        returned = self.model(*batch.args, **batch.kwargs)
        with torch.set_grad_enabled(tracing):
            return batch.rows(main_output(returned, self.select))

    def _of_head(self, batch: Batch, caught: Capture, head: Head) -> Reading:
        outputs = self._outputs(batch).detach().clone()
        if not caught.calls:
            raise ValueError(
                f"head={head.name!r}: did not run for these samples: something else made their "
                f"outputs; {WAY_OUT}"
            )
        calls = [call for call in caught.calls if len(call[1]) == len(outputs)]
        return Reading(outputs, calls, dict(caught.layers), batch.targets)

    def _traced(self, batch: Batch, caught: Capture, head: Head) -> Reading:
        with caught.traced(), overwriting():
            outputs = self._outputs(batch, tracing=True)
            with torch.enable_grad():
                rows = sources(outputs, caught.leaves, head)
        features, made = (torch.cat(parts)[rows] for parts in zip(*caught.calls, strict=True))
        outputs = outputs.detach().clone()
        return Reading(outputs, [(features, made)], dict(caught.layers), batch.targets)

    def _given(self, batch: Batch, caught: Capture) -> Reading:
        count = len(batch.targets)
        if isinstance(self.features, str):
            outputs = self._outputs(batch)
            if self.features not in caught.layers:
                raise ValueError(f"features={self.features!r}: did not run in evaluation mode")
            features: Any = caught.layers[self.features]
        else:
            assert self.features is not None
            features = self.features(*batch.args, **batch.kwargs)
            if isinstance(features, (tuple, list)) and len(features) == 2:
                features, outputs = features[0], batch.rows(features[1])
            else:
                caught.clear(batch.positions)
                outputs = self._outputs(batch)
            if batch.positions is not None and isinstance(features, Tensor):
                features = batch.positions.take(features, "features")
        if not isinstance(features, Tensor) or features.ndim != 2 or len(features) != count:
            shape = tuple(features.shape) if isinstance(features, Tensor) else type(features)
            raise ValueError(
                f"features={self.features!r}: {shape} for {count} samples; must be one row per "
                "sample, (n, p)"
            )
        features, outputs = features.detach().clone(), outputs.detach().clone()
        return Reading(outputs, [(features, features)], dict(caught.layers), batch.targets)

    def same(self, reading: Reading) -> Tensor:
        """At each call, whether the outputs are what the head made, shape (calls,); not read."""
        answers = [
            equal_rows(
                reading.outputs,
                made,
                shift=self.shift,
                tolerance=self._tolerance(reading.outputs, made),
            )
            for _, made in (reading.calls if self.head is not None else [])
        ]
        return torch.stack(answers) if answers else torch.zeros(1, dtype=torch.bool, device="cpu")

    def _tolerance(self, outputs: Tensor, made: Tensor) -> float:
        return precision(outputs.dtype, made.dtype, param_dtype(self.model))

    def check(self, outputs: Tensor, made: Tensor, start: int = 0) -> None:
        """Raise ValueError where outputs are no affine function of what made them.

        Of features that were given it is only a warning, at the first pass: whoever named them may
        mean it, and what they cannot express counts as unused.

        Parameters
        ----------
        outputs, made : Tensor, shapes (n, C) and (n, q)
            Of the whole probe.
        start : int
            Number of the first sample.
        """
        given = self.head is None
        if given and (self._told or len(made) <= made.shape[1] + 2):
            return
        self._told = given
        tolerance = self._tolerance(outputs, made)
        misfit = affine_misfit(outputs, made, shift=self.shift, tolerance=tolerance)
        if misfit is None:
            return
        row, error = misfit
        what = "the features given" if given else f"what its layer {self.name!r} gives"
        if math.isnan(error):
            raise ValueError(
                f"inputs: {len(made)} samples; must be more than {made.shape[1] + 2} to check that "
                f"the outputs are an affine function of {what}"
            )
        found = (
            f"model={type(self.model).__name__}: its outputs are no affine function of {what}, "
            f"sample by sample: sample {start + row} is off by {error:.2g} of their size"
        )
        if not given:
            raise ValueError(
                f"{found}. Something is added, chosen or bent after that layer, or before the "
                f"features enter it; {WAY_OUT}"
            )
        warnings.warn(f"{found}; utilization stays below 1 by what they miss", stacklevel=2)


def _check_layers(reading: Reading, layers: Sequence[str]) -> None:
    """Raise ValueError for a layer that did not run, or whose rows are not the samples."""
    count = len(reading.targets)
    for name in layers:
        if name not in reading.layers:
            raise ValueError(
                f"layers={name!r}: did not run in evaluation mode; must be a layer that every "
                "sample passes"
            )
        rows = len(reading.layers[name])
        if rows != count:
            raise ValueError(
                f"layers={name!r}: gives {rows} rows for {count} samples; must have samples first, "
                "as batch_first=True gives them"
            )


def sources(outputs: Tensor, leaves: Sequence[Tensor], head: Head) -> Tensor:
    """Which row of the head's output made each sample's outputs, shape (n,), by gradients.

    Raises
    ------
    ValueError
        If they are not as many rows as samples, one for each.
    """
    count = len(outputs)
    total = sum(len(head.rows(leaf)) for leaf in leaves)

    def unfollowed() -> Tensor:
        if total == count:  # sample by sample, as the check will tell
            return torch.arange(count, device=outputs.device)
        raise ValueError(
            f"model: its outputs are made without gradients from {total} rows of {head.name!r} for "
            f"{count} samples; {WAY_OUT}"
        )

    if not outputs.requires_grad:
        return unfollowed()
    generator = torch.Generator("cpu").manual_seed(0)
    kind: Any = {"dtype": torch.float64, "device": "cpu"}
    weights = torch.rand(outputs.shape[1], generator=generator, **kind) + 1
    if outputs.shape[1] > 1:
        # They add up to nothing, so that a log-softmax changes nothing.
        weights -= weights.mean()
    sums = outputs @ weights.to(outputs)

    def gradient(signs: Tensor) -> Tensor:
        found = torch.autograd.grad(
            sums, leaves, signs.to(sums), retain_graph=True, allow_unused=True
        )
        parts = [
            torch.zeros_like(leaf) if part is None else part
            for part, leaf in zip(found, leaves, strict=True)
        ]
        return torch.cat([head.rows(part) for part in parts])

    try:
        whole = gradient(torch.ones(count, device="cpu"))
    except RuntimeError:  # something on the way has no derivative
        return unfollowed()
    used = whole.any(1).nonzero()[:, 0]
    numbers = torch.zeros(len(used), dtype=torch.long, device=used.device)
    samples = torch.arange(count, device="cpu")
    for bit in range((count - 1).bit_length() if len(used) == count else 0):
        # A row's gradient changes its sign where its sample's number has this bit.
        turned = gradient(1 - 2 * (samples >> bit & 1))[used]
        numbers += ((turned * whole[used]).sum(1) < 0).long() << bit
    if len(used) != count or not torch.equal(numbers.sort().values.cpu(), samples):
        raise ValueError(
            f"model: {len(used)} of the {total} rows that its layer {head.name!r} gives enter the "
            f"outputs of {count} samples; must be one row for each sample; {WAY_OUT}"
        )
    return used[numbers.argsort()]
