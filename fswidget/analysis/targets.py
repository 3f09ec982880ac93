"""What targets mean: classes or values, how balanced, and dealt into which blocks."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fswidget.analysis.arrays import as_tensor

TASKS = ("cross_entropy", "squared_error")


def check_task(task: str, num_outputs: int) -> None:
    if task not in TASKS:
        raise ValueError(f"task={task!r}: must be one of {', '.join(TASKS)}")
    if task == "cross_entropy" and num_outputs < 2:
        raise ValueError(
            "task='cross_entropy': a softmax over one output is constant; must be 'squared_error' "
            "for outputs of shape (n, 1)"
        )


def read_targets(targets: Tensor, task: str, num_outputs: int) -> Tensor:
    """Class labels, shape (n,) of int64, or values, shape (n, T), as `watch` reads them."""
    labels = not targets.is_floating_point()
    if labels and targets.ndim == 1 and num_outputs > 1:
        return targets
    rows = targets[:, None] if targets.ndim == 1 else targets
    free = task == "squared_error" and (num_outputs == 1 or not labels)
    if rows.ndim != 2 or not (free or rows.shape[1] == num_outputs):
        allowed = f"class labels (n,) of int, or rows (n, {num_outputs})"
        if task == "squared_error":
            allowed += ", or values (n,) or (n, T) of float"
        raise ValueError(
            f"targets: shape {tuple(targets.shape)}, {targets.dtype}; must be {allowed}, for "
            f"task={task!r}"
        )
    return rows.double()


def warn_unbalanced(targets: Tensor, num_classes: int, stacklevel: int = 2) -> None:
    """Warn where classes are unequal beyond chance: by half, and by four standard deviations.

    Our choice. `stacklevel` counts from the caller, as `warnings.warn` does.
    """
    labels = class_labels(targets)
    if labels is None:
        return
    counts = torch.bincount(labels.cpu(), minlength=num_classes)
    low, high = int(counts.min()), int(counts.max())
    if high > 1.5 * max(low, 1) and high - low > 4 * math.sqrt(high):
        warnings.warn(
            f"targets: from {low} to {high} samples per class; with unequal counts the low-rank "
            "measure of a collapsed network is not 0: use the same number per class",
            stacklevel=stacklevel + 1,
        )


def class_labels(targets: Tensor) -> Tensor | None:
    """The class labels that integers of shape (n,) or one-hot rows give; None for values."""
    if targets.ndim == 1:
        return None if targets.is_floating_point() else targets
    if (
        targets.ndim != 2
        or targets.shape[1] < 2
        or not bool(((targets == 0) | (targets == 1)).all())
    ):
        return None
    return targets.argmax(1) if bool((targets.sum(1) == 1).all()) else None


def is_balanced(counts: NDArray[Any]) -> bool:
    """Whether classes are equally many, up to one sample: taken as drawn class by class."""
    return len(counts) > 1 and bool(counts.max() - counts.min() < 1.5)


def assign_blocks(targets: Any, num_blocks: int = 8) -> NDArray[np.int64]:
    """Jackknife blocks for samples that are all known beforehand, shape (n,).

    Where the classes, labels or one-hot rows, are equally many, each block gets its share of each
    class: such samples were drawn class by class, and so must the replicates be, or the error bars
    come out too wide. Otherwise the blocks are those that `FeatureMoments` would give by running
    number. Our choice.

    Parameters
    ----------
    targets : array, shape (n,) of int or (n, d) of float
    num_blocks : int, default 8
    """
    values = as_tensor("targets", targets)
    numbers = block_numbers(0, len(values), num_blocks)
    labels = class_labels(values)
    if labels is None:
        return numbers
    names = labels.cpu().numpy()
    counts = np.unique(names, return_counts=True)[1]
    if not is_balanced(counts):
        return numbers
    # Class after class from the table's beginning: without a block, classes stay equally many.
    blocks = np.empty_like(numbers)
    blocks[np.argsort(names, kind="stable")] = np.concatenate([numbers[:n] for n in counts])
    return blocks


def block_numbers(start: int, count: int, num_blocks: int) -> NDArray[np.int64]:
    """Block of the samples numbered `start` … `start + count − 1`.

    Each run of `num_blocks` samples meets every block once, in an order drawn once for all.
    """
    rounds = 1021  # a prime: no period of a data set lines up with the table's
    order = np.random.default_rng(20241004).random((rounds, num_blocks)).argsort(1).ravel()
    return np.asarray(order[np.arange(start, start + count) % order.size])
