"""Which tensor of what a model returns counts, and whether one layer made it, row by row."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

#: Of what a model returns: a key, an index, or a function that picks the outputs.
Select = str | int | Callable[[Any], Tensor]

#: What to do about outputs that no layer is found to have made.
WAY_OUT = (
    "pass features= (the name of the module whose output they are, or a function of the inputs "
    "that returns features and outputs), or outputs= (a key, an index, or a function of what the "
    "model returns)"
)
#: Checks take so many roundings of the coarsest number type for equal, 5% at most (our choice).
_ROUNDINGS, _COARSEST = 100, 0.05
#: A constant output below all others by this factor is a mask (our choice).
_MASKED = 1e3


def precision(*kinds: torch.dtype) -> float:
    """What counts as equal, relative to the size of the values, for the coarsest of some types."""
    eps = max(torch.finfo(kind).eps for kind in kinds if kind.is_floating_point)
    return min(_ROUNDINGS * eps, _COARSEST)


def float_tensors(returned: Any) -> dict[str | int, Tensor]:
    """The floating-point tensors in what a module returned that have rows, by key or index."""
    if isinstance(returned, Mapping):
        entries = list(returned.items())
    elif isinstance(returned, Sequence) and not isinstance(returned, str):
        entries = list(enumerate(returned))
    else:
        entries = list(getattr(returned, "__dict__", {}).items())
    return {
        key: value
        for key, value in entries
        if isinstance(value, Tensor) and value.is_floating_point() and value.ndim and key != "loss"
    }


def first_tensor(returned: Any) -> Tensor:
    """The tensor of what an inner layer returned: the first, where there are several.

    Raises
    ------
    ValueError
        If there is none.
    """
    if isinstance(returned, Tensor):
        return returned
    for value in float_tensors(returned).values():
        return value
    raise ValueError(f"returned {type(returned).__name__}, in which no float tensor was found")


def main_output(returned: Any, select: Select | None = None) -> Tensor:
    """The outputs in what a model returns.

    Parameters
    ----------
    returned
        A tensor, or a mapping, sequence or object that holds some.
    select : str, int or callable, optional
        Which. By default ``logits`` where there are any, else the only floating-point tensor
        besides the loss.

    Raises
    ------
    ValueError
        If there is none, there are several, or `select` picks none.
    """
    if select is not None:
        return _selected(returned, select)
    if isinstance(returned, Tensor):
        return returned
    logits = returned.get("logits") if isinstance(returned, Mapping) else None
    logits = getattr(returned, "logits", None) if logits is None else logits
    if isinstance(logits, Tensor):
        return logits
    found = float_tensors(returned)
    if len(found) == 1:
        return next(iter(found.values()))
    kind = type(returned).__name__
    if not found:
        raise ValueError(
            f"model: returned {kind}, in which no float tensor with rows was found; must return "
            "its outputs, or be told by outputs=, a function of what it returns"
        )
    shapes = ", ".join(f"{key!r} of shape {tuple(value.shape)}" for key, value in found.items())
    raise ValueError(
        f"model: returned {kind} with several tensors ({shapes}); must be told which are the "
        f"outputs: outputs={next(iter(found))!r}, or head= with the name of their last layer"
    )


def _selected(returned: Any, select: Select) -> Tensor:
    value: Any
    if callable(select):
        value = select(returned)
    else:
        try:
            value = returned[select]
        except (KeyError, IndexError, TypeError):
            value = getattr(returned, str(select), None)
    if not isinstance(value, Tensor) or not value.is_floating_point():
        held = ", ".join(map(repr, float_tensors(returned))) or "no keys"
        what = f"gives {type(value).__name__}" if callable(select) else f"has {held}"
        raise ValueError(
            f"outputs={select!r}: {what}, for a model that returned {type(returned).__name__}; "
            "must pick one float tensor"
        )
    return value


def check_not_scalar(outputs: Tensor) -> None:
    """Raise ValueError for a single number, which is a loss and no output."""
    if outputs.ndim == 0:
        raise ValueError(
            "model: returns a scalar; must return one row of outputs per sample, not their loss"
        )


def as_rows(outputs: Tensor, count: int) -> Tensor:
    """Outputs as rows, shape (count, C), one per sample.

    Raises
    ------
    ValueError
        If they are a scalar, or not one row per sample.
    """
    check_not_scalar(outputs)
    shape = tuple(outputs.shape)
    if len(outputs) != count:
        raise ValueError(
            f"model: gives {len(outputs)} rows of outputs for {count} samples, shape {shape}; must "
            "be one row per sample"
        )
    rows = outputs.reshape(count, -1)
    if outputs.ndim > 2 and rows.shape[1] != max(shape[1:]):
        raise ValueError(
            f"model: gives outputs of shape {shape} for {count} samples; must be one row per "
            "sample, (n, C): outputs= picks one position, such as lambda z: z[:, -1]; targets of "
            "the shape of the positions make all of them the samples"
        )
    return rows


def check_masked(outputs: Tensor) -> None:
    """Raise ValueError where some outputs are −∞ or −10⁹ for every sample, as masked classes are:
    beside such numbers the others count for nothing."""
    low, high = outputs.double().aminmax(dim=0)
    constant = (low == high) & (low < 0)
    largest = torch.where(constant, 0, torch.maximum(low.abs(), high.abs())).amax()
    masked = constant & (low < -_MASKED * largest)
    if bool(masked.any()) and float(largest) > 0:
        columns = masked.nonzero()[:, 0].tolist()
        few = ", ".join(map(str, columns[:5])) + (", …" if len(columns) > 5 else "")
        raise ValueError(
            f"outputs: {float(low[columns[0]]):g} for every sample in columns {few}; such masks "
            "must be left out: pass outputs= with a function that picks the classes seen, such as "
            "lambda z: z[:, seen], and targets of those"
        )


#: Checks look at so many numbers at once.
_NUMBERS = 1 << 22


def _unshifted(outputs: Tensor, made: Tensor, shift: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Both in float64, up to a common shift of each row; the size of each column of outputs."""
    outputs, made = outputs.double(), made.double()
    size = outputs.abs().amax(0)
    if shift and outputs.shape[1] > 1:
        # Less the column of the smallest numbers, not the mean: a mask of −1e9 costs no digits.
        least = size.argmin()[None]
        size = size + size.index_select(0, least)
        if made.shape[1] == outputs.shape[1]:
            made = made - made.index_select(1, least)
        outputs = outputs - outputs.index_select(1, least)
    return outputs, made, size


def equal_rows(outputs: Tensor, made: Tensor, *, shift: bool, tolerance: float) -> Tensor:
    """Whether outputs are what a layer made, row by row; with `shift` up to a log-softmax."""
    if outputs.shape != made.shape:
        return torch.zeros((), dtype=torch.bool, device=outputs.device)
    size, largest = _reach(outputs), _reach(made)
    columns = size.argmin()[None] if shift and outputs.shape[1] > 1 else None
    if columns is not None:
        size = size + size.index_select(0, columns)
    bound = tolerance * (size + largest)
    answers, rows = [], max(1, _NUMBERS // outputs.shape[1])
    # In pieces: of many outputs a whole copy in float64 is large.
    for left, right in zip(torch.split(outputs, rows), torch.split(made, rows), strict=True):
        apart = left.double() - right.double()
        if columns is not None:
            apart -= apart.index_select(1, columns)
        answers.append((apart.abs() <= bound).all())
    return torch.stack(answers).all()


def _reach(values: Tensor) -> Tensor:
    """The largest size in each column, in float64."""
    return torch.maximum(values.amax(0), -values.amin(0)).double()


def affine_misfit(
    outputs: Tensor, made: Tensor, *, shift: bool, tolerance: float
) -> tuple[int, float] | None:
    """The row at which outputs are least an affine function of what a layer made, and how far off.

    One function for all rows, found by least squares; where there are too few rows to tell, it must
    be a scale and constants. None where they are such a function. Our choice.
    """
    left, right, size = _unshifted(outputs, made.double(), shift)
    enough = len(made) > made.shape[1] + 2
    right = made.double() if enough else right
    left, right = left - left.mean(0), right - right.mean(0)
    if enough:
        # By the singular values above rounding: a layer of more outputs than inputs has null ones.
        basis, values, back = torch.linalg.svd(right, full_matrices=False)
        kept = values > 1e-12 * max(float(values.amax()), 1e-300)
        basis, values, back = basis[:, kept], values[kept], back[kept]
        weights = back.T @ ((basis.T @ left) / values[:, None])
    elif left.shape == right.shape:
        weights = (left * right).sum() / right.square().sum().clamp_min(1e-300)
        weights = weights * torch.eye(right.shape[1], dtype=right.dtype, device=right.device)
    else:
        return 0, math.nan
    size = size + right.abs().amax(0) @ weights.abs() + 1e-300
    error = ((left - right @ weights).abs() / size).amax(1)
    worst = int(error.argmax())
    return None if float(error[worst]) <= tolerance else (worst, float(error[worst]))
