"""The fixed samples that a probe looks at: inputs of any shape, targets, pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fswidget.analysis.arrays import default_device, to_tensor
from fswidget.analysis.linear_outputs import LinearOutputs, as_whole
from fswidget.analysis.positions import Layout, Positions
from fswidget.analysis.targets import read_targets
from fswidget.probing.outputs import as_rows

#: What a model is called with: one array, several positional ones, or a dict of keyword arguments.
Inputs = Tensor | NDArray[Any] | Mapping[str, Any] | Sequence[Any]


Array = Tensor | NDArray[Any] | Sequence[Any]


#: Tokens of a sequence that is kept whole to name a sample by (our choice).
_SHORT = 8


@dataclass(frozen=True)
class Batch:
    """Some of the samples, on the device of the model; `positions` where they are tokens or
    pixels of its sequences or pictures."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    targets: Tensor
    positions: Positions | None = None

    def rows(self, outputs: Tensor) -> Tensor:
        """Outputs of the model, one row per sample, (n, C)."""
        if self.positions is None:
            return as_rows(outputs, len(self.targets))
        return self.positions.take(outputs)


@dataclass(frozen=True)
class Samples:
    """n samples with their targets.

    Parameters
    ----------
    args, kwargs
        What the model is called with: tensors whose first dimension is n, and in `kwargs` also
        constants.
    targets : Tensor, shape (n,) of int64 or (n, T) of float
    shown : Tensor of bool, shape (n,)
        Which samples are drawn as points.
    labels : Tensor of int64, shape (n,), optional
        Class labels; None for bits and values.
    positions : Positions, optional
        Where the samples are tokens or pixels, which they are of the sequences or pictures that
        `args` and `kwargs` hold; there are fewer of those than samples, or more.
    """

    args: tuple[Tensor, ...]
    kwargs: dict[str, Any]
    targets: Tensor
    shown: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.bool, device="cpu"))
    labels: Tensor | None = None
    num_targets: int = 1
    task: str = "cross_entropy"
    positions: Positions | None = None

    @classmethod
    def of(cls, inputs: Inputs, targets: Array, prefix: str = "") -> Samples:
        """Read what a user gave; `prefix` goes before the argument's name in errors."""
        name = f"{prefix}inputs"
        args, kwargs = _call_arguments(
            inputs, name, len(targets) if hasattr(targets, "__len__") else 0
        )
        arrays = [*args, *(value for value in kwargs.values() if _is_array(value))]
        lengths = sorted({len(array) for array in arrays})
        if not arrays or len(lengths) != 1:
            raise ValueError(
                f"{name}: first dimensions {lengths}; must be arrays of one length, the number of "
                "samples"
            )
        goal = own_tensor(targets, f"{prefix}targets")
        if not goal.ndim or len(goal) != lengths[0]:
            raise ValueError(
                f"{prefix}targets of shape {tuple(goal.shape)}: must be (n,) or (n, T) with "
                f"n = {lengths[0]}, as in {name}"
            )
        if lengths[0] < 2:
            raise ValueError(f"{name}: {lengths[0]} sample; must be at least 2")
        for array in args:
            if array.is_floating_point() and not bool(array.isfinite().all()):
                raise ValueError(f"{name}: holds NaN or infinity; must be finite")
        return cls(args, kwargs, goal)

    def __len__(self) -> int:
        return len(self.targets)

    def fit(self, num_outputs: int, task: str, num_shown: int, name: str = "targets") -> Samples:
        """Settle what the targets mean for a model of `num_outputs`, and which samples to show."""
        if self.targets.ndim not in (1, 2):
            raise ValueError(
                f"{name} of shape {tuple(self.targets.shape)}: must be (n,) or (n, T), or one "
                "for each position of the outputs"
            )
        read = read_targets(self.targets, task, num_outputs, name)
        if read.labels is None and task == "squared_error" and read.num_targets != num_outputs:
            raise ValueError(
                f"{name}: shape {tuple(self.targets.shape)}; must be class labels (n,) of int, or "
                f"values (n, {num_outputs}), for {task=} and {num_outputs} outputs"
            )
        count = min(num_shown, len(self))
        shown = torch.zeros(len(self), dtype=torch.bool, device="cpu")
        # Evenly spread, so that samples sorted by class show every class.
        shown[torch.arange(count, device="cpu") * len(self) // count] = True
        return replace(
            self,
            targets=read.rows,
            labels=read.labels,
            task=task,
            shown=shown,
            num_targets=read.num_targets,
        )

    @property
    def named(self) -> Tensor:
        """What the samples are dealt by: class labels where there are any, else the targets."""
        return self.targets if self.labels is None else self.labels

    @property
    def groups(self) -> NDArray[np.int64] | None:
        """Which sequence or picture each sample is of; None where each is one of its own."""
        return None if self.positions is None else self.positions.owners.numpy()

    @property
    def told(self) -> dict[str, str]:
        """What the samples are, under ``samples``, where they are not one for each input."""
        return {} if self.positions is None else {"samples": str(self.positions)}

    @property
    def num_inputs(self) -> int:
        """How many rows the inputs have."""
        return len(self) if self.positions is None else self.positions.grid[0]

    @property
    def shown_inputs(self) -> Tensor:
        """Numbers of the inputs that the shown samples are, or lie in, shape (n_shown,)."""
        numbers = self.shown.nonzero()[:, 0]
        return numbers if self.positions is None else self.positions.owners[numbers]

    def at_positions(self, layout: Layout | None, **how: Any) -> Samples:
        """Positions drawn as the samples; see `Positions.draw`."""
        if layout is None:
            return self
        positions = Positions.draw(self.targets, layout, **how)
        return replace(self, positions=positions, targets=positions.targets(self.targets))

    def arrays(self, prefix: str) -> dict[str, list[Tensor]]:
        """Inputs and targets, under the names that errors call them by."""
        inputs = [*self.args, *filter(_is_array, self.kwargs.values())]
        return {f"{prefix}inputs": inputs, f"{prefix}targets": [self.targets]}

    def part(self, rank: int, world: int) -> tuple[Samples, int]:
        """The rank-th of `world` contiguous parts, and the number of its first sample."""
        if world == 1:
            return self, 0
        start, stop = (self.num_inputs * i // world for i in (rank, rank + 1))
        if self.positions is None:
            return self._cut(slice(start, stop)), start
        positions, mine = self.positions.between(start, stop)
        return replace(self._cut(slice(start, stop), mine), positions=positions), mine.start

    def first(self, count: int) -> Samples:
        """The first `count` samples."""
        return self._cut(slice(count))

    def spread(self, count: int) -> Samples:
        """At most `count` samples, classes as often among them as among all, in their order."""
        marks = self.named if self.named.ndim == 1 else self.named[:, 0]
        count = min(count, len(self))
        evenly = torch.arange(count, device=marks.device) * len(self) // count
        return self._cut(marks.argsort(stable=True)[evenly].sort().values)

    def _cut(self, take: slice | Tensor, mine: slice | Tensor | None = None) -> Samples:
        """Some of the inputs, and of what is known of each sample, where those are not the same."""
        mine = take if mine is None else mine

        def taken(array: Tensor, take: slice | Tensor = mine) -> Tensor:
            return array[take.to(array.device) if isinstance(take, Tensor) else take]

        return replace(
            self,
            args=tuple(taken(value, take) for value in self.args),
            kwargs={k: taken(v, take) if _is_array(v) else v for k, v in self.kwargs.items()},
            targets=taken(self.targets),
            shown=taken(self.shown),
            labels=None if self.labels is None else taken(self.labels),
        )

    def batches(self, size: int, device: torch.device, dtype: torch.dtype) -> Iterator[Batch]:
        """The samples in order, on `device`, floating-point inputs in the model's `dtype`; whole
        sequences or pictures of about `size` positions where those are the samples."""

        def ready(value: Any, take: slice) -> Any:
            if not _is_array(value):
                return value
            kind = dtype if value.is_floating_point() else None
            # A copy: a model that works in place must not change the samples.
            return value[take].to(device=device, dtype=kind, copy=True)

        # Of nearly equal size: a last batch of one has no statistics of its own.
        total, size = self.num_inputs, size if self.positions is None else self._together(size)
        count = -(-total // size)
        for number in range(count):
            take = slice(total * number // count, total * (number + 1) // count)
            positions, mine = None, take
            if self.positions is not None:
                positions, mine = self.positions.between(take.start, take.stop)
                if not len(positions):
                    continue
            yield Batch(
                args=tuple(ready(value, take) for value in self.args),
                kwargs={name: ready(value, take) for name, value in self.kwargs.items()},
                targets=self.targets[mine].to(default_device(device)),
                positions=positions,
            )

    def _together(self, size: int) -> int:
        assert self.positions is not None
        return max(2, size // self.positions.each)

    def error(self, outputs: Tensor | LinearOutputs, targets: Tensor) -> Tensor:
        """Numbers of wrong predictions, for each label of several; or the sum of squared residuals
        of a regression; on the device, shape (C,) or (1,)."""
        if self.labels is not None:
            truth = targets if targets.ndim == 1 else targets.argmax(1)
            return (self._guess(outputs) != truth).sum()[None]
        outputs = as_whole(outputs)
        if self.task == "multilabel":
            wrong = (outputs > 0) != (targets > 0.5)
            return wrong.sum(0)
        return (widened(outputs) - targets).square().sum()[None]

    def score(self, errors: Sequence[float], prefix: str) -> dict[str, float]:
        """The accuracy, that of labels, or the R² that `errors` over all samples mean."""
        if self.task == "multilabel":
            return {f"{prefix}_label_accuracy": 1 - sum(errors) / (len(self) * len(errors))}
        (error,) = errors
        if self.labels is not None:
            return {f"{prefix}_accuracy": 1 - error / len(self)}
        values = self.targets.cpu().double()
        total = float((values - values.mean(0)).square().sum())
        return {f"{prefix}_r2": 1 - error / total if total > 0 else float("nan")}

    def label_accuracy(self, errors: Sequence[float]) -> NDArray[np.float64] | None:
        """Share of samples right for each of several labels, shape (C,); None for other tasks."""
        return 1 - np.array(errors) / len(self) if self.task == "multilabel" else None

    def _guess(self, outputs: Tensor | LinearOutputs) -> Tensor:
        """The class that outputs name: the largest logit, or the sign of a single one."""
        return outputs.argmax(1) if self.task != "binary" else (as_whole(outputs)[:, 0] > 0).long()

    def display_labels(self) -> NDArray[np.float32]:
        """Class label, first bit or first target value of the shown samples, shape (n_shown,)."""
        marks = self.targets[:, 0] if self.labels is None else self.labels
        return marks.cpu()[self.shown].float().numpy()

    def display_targets(self) -> NDArray[np.float32] | None:
        """All bits or target values of the shown samples, shape (n_shown, d), where there are
        several."""
        if self.labels is not None or self.targets.ndim != 2 or self.targets.shape[1] < 2:
            return None
        return self.targets.cpu()[self.shown].float().numpy()

    def display_tokens(self) -> NDArray[np.float32] | None:
        """The shown samples, shape (n_shown, length), where they are short sequences of tokens."""
        tokens = self.args[0] if len(self.args) == 1 else None
        if tokens is None or tokens.is_floating_point() or tokens.ndim != 2:
            return None
        few = tokens.shape[1] <= _SHORT
        return tokens.cpu()[self.shown_inputs].float().numpy() if few else None

    def predictions(self, outputs: Tensor | LinearOutputs) -> NDArray[np.float32]:
        """Predicted class, first predicted bit or first output, shape (n,)."""
        marks = as_whole(outputs)[:, 0] if self.labels is None else self._guess(outputs)
        marks = marks > 0 if self.task == "multilabel" else marks
        return marks.float().cpu().numpy()

    def pictures(self) -> Tensor | None:
        """The inputs that look like pictures, shape (n, 1 or 3, h, w)."""
        for array in (*self.args, *self.kwargs.values()):
            if not isinstance(array, Tensor) or array.ndim not in (3, 4) or array.is_complex():
                continue
            # Anything thinner than 4 pixels is a series, not a picture.
            if array.ndim == 4 and array.shape[1] in (1, 3) and min(array.shape[2:]) >= 4:
                return array
            if array.ndim == 4 and array.shape[3] in (1, 3) and min(array.shape[1:3]) >= 4:
                return array.permute(0, 3, 1, 2)
            # Nearly square, or it may as well be a sequence of vectors.
            if array.ndim == 3 and 8 <= min(array.shape[1:]) >= max(array.shape[1:]) / 2:
                return array[:, None]
        return None


def _call_arguments(
    inputs: Inputs, name: str, count: int
) -> tuple[tuple[Tensor, ...], dict[str, Any]]:
    if isinstance(inputs, Mapping):
        constant = (bool, int, float, str, type(None))
        return (), {
            str(key): value
            if isinstance(value, constant)
            else own_tensor(value, f"{name}[{key!r}]")
            for key, value in inputs.items()
        }
    if isinstance(inputs, list) and len(inputs) > 1 and _are_samples(inputs, count):
        return (own_tensor(inputs, name),), {}
    if isinstance(inputs, (tuple, list)) and any(
        isinstance(item, (Tensor, np.ndarray)) and item.ndim for item in inputs
    ):
        return tuple(own_tensor(item, f"{name}[{i}]") for i, item in enumerate(inputs)), {}
    return (own_tensor(inputs, name),), {}


def _are_samples(inputs: list[Any], count: int) -> bool:
    """Whether a list holds one array per sample: as many, which do not have that many rows."""
    arrays = all(isinstance(item, (Tensor, np.ndarray)) for item in inputs)
    if not arrays or len(inputs) != count:
        return False
    if any(item.shape != inputs[0].shape for item in inputs):
        raise ValueError(
            f"inputs: a list of {count} arrays of different shapes; must be padded to one, and "
            "stacked"
        )
    return inputs[0].ndim == 0 or len(inputs[0]) != count


def own_tensor(value: Any, name: str) -> Tensor:
    """A tensor of its own: what the user does to the array later does not change it."""
    return to_tensor(name, value).clone()


def widened(values: Tensor) -> Tensor:
    """In float64, where that can be computed: squares overflow in less."""
    return values.to(default_device(values.device)).double()


def _is_array(value: Any) -> bool:
    return isinstance(value, Tensor)
