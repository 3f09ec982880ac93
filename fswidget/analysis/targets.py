"""What targets mean: classes, bits or values, how balanced, and dealt into which blocks.

The only reader of targets: `analyze`, `FeatureMoments`, `watch` and training all come here.
"""

from __future__ import annotations

import heapq
import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fswidget.analysis.arrays import as_tensor

TASKS = ("cross_entropy", "squared_error", "multilabel", "binary")


def check_task(task: str, num_outputs: int) -> None:
    """Raise ValueError for an unknown task, or one that such outputs cannot have."""
    if task not in TASKS:
        raise ValueError(f"task={task!r}: must be one of {', '.join(TASKS)}")
    if task == "cross_entropy" and num_outputs < 2:
        raise ValueError(
            "task='cross_entropy': a softmax over one output is constant; must be 'squared_error', "
            "or 'binary' for a single logit, for outputs of shape (n, 1)"
        )
    if task == "binary" and num_outputs != 1:
        raise ValueError(
            f"task='binary': {num_outputs} outputs; must be 1, a single logit: 'multilabel' takes "
            "several, 'cross_entropy' one per class"
        )


def minimal_features(task: str, classification: bool, num_outputs: int) -> int:
    """How many features count as minimal: C for classes, d + 1 for d outputs that are no classes.

    The outputs of C classes span C − 1 functions besides the constant, those of d values or d
    independent labels d; a single logit tells two classes apart. The only definition: a run's
    information carries the number. Our choice.
    """
    return num_outputs if classification and task != "binary" else num_outputs + 1


@dataclass(frozen=True)
class Coding:
    """How rows name classes.

    Parameters
    ----------
    low, high : float
        Each row is `low` but for one `high`; both NaN where rows are probabilities of any kind.
    """

    low: float = math.nan
    high: float = math.nan

    @property
    def hard(self) -> bool:
        """Whether each row names one class."""
        return not math.isnan(self.high)

    def joined(self, other: Coding | None) -> Coding | None:
        """What two batches together are: soft rows beside one-hot ones are probabilities."""
        if other is None:
            return None
        if self.hard and other.hard:
            same = abs(self.high - other.high) + abs(self.low - other.low) <= 1e-3 * self.high
            return self if same else None
        whole = [coding for coding in (self, other) if coding.hard]  # such rows sum to 1 alone
        return None if any((coding.low, coding.high) != (0, 1) for coding in whole) else Coding()


LABELS = Coding(0.0, 1.0)


def coding_of(rows: Tensor) -> Coding | None:
    """How rows, shape (n, T), name classes; None where they are bits or values.

    Rows that are ≥ 0 and sum to 1 are classes, soft or not; so are rows of one common value but for
    one common larger value each: α·one-hot, smoothed or not. All up to a thousandth, or the
    rounding of their number type. Our choice.
    """
    precision = 1e-3
    if rows.is_floating_point():
        precision = max(precision, 4 * torch.finfo(rows.dtype).eps)
    values = rows.double()
    if values.ndim != 2 or values.shape[1] < 2 or not len(values) or bool((values < 0).any()):
        return None
    (first, second), least = values.topk(2).values.T, values.amin(1)
    high, low = float(first.amax()), float(least.amin())
    spread = max(high - float(first.amin()), float(second.amax()) - low)
    if high > 0 and spread <= precision * high and float((first - second).amin()) > spread:
        low = 0.0 if low <= precision * high else low
        return Coding(low, 1.0 if abs(high - 1) <= precision else high)
    sums = values.sum(1)
    return Coding() if bool(((sums - 1).abs() <= precision).all()) else None


@dataclass(frozen=True)
class Targets:
    """Targets as a task reads them.

    Parameters
    ----------
    rows : Tensor, shape (n,) of int64 or (n, T) of float64
        What moments take: class labels, or rows.
    labels : Tensor of int64, shape (n,), or None
        The (likeliest) class of each sample; None for bits and values.
    num_targets : int
        Target functions: classes, labels or values.
    """

    rows: Tensor
    labels: Tensor | None
    num_targets: int


def read_targets(value: Any, task: str, num_outputs: int, name: str = "targets") -> Targets:
    """Read targets for a task and a number of outputs; see `fswidget.analyze` for what is allowed.

    Raises
    ------
    TypeError, ValueError
        If they hold anything but finite numbers, or do not fit; the message names `task`.
    """
    targets = as_tensor(name, value)
    if not bool(torch.isfinite(targets).all()):
        raise ValueError(f"{name}: holds NaN or infinity; must be finite")
    if task == "binary":
        return _read_bit(name, targets)
    labelled = targets.ndim == 1 and not targets.is_floating_point() and num_outputs > 1
    if labelled and task != "multilabel":
        check_labels(name, targets, num_outputs)
        return Targets(targets, targets, num_outputs)
    rows = targets[:, None] if targets.ndim == 1 else targets
    free = task == "squared_error" and (num_outputs == 1 or targets.is_floating_point())
    if rows.ndim != 2 or not rows.shape[1] or not (free or rows.shape[1] == num_outputs):
        raise _misfit(name, targets, task, num_outputs)
    coding = coding_of(rows) if task != "multilabel" else None
    if task == "cross_entropy" and coding is None and len(rows):
        raise ValueError(f"{name}: {_no_classes(rows)}; {_ALTERNATIVES}")
    if task == "multilabel" and bool(((rows < 0) | (rows > 1)).any()):
        raise ValueError(
            f"{name}: from {float(rows.min()):g} to {float(rows.max()):g}; must be labels from 0 "
            "to 1, for task='multilabel'"
        )
    labels = None if coding is None else rows.argmax(1)
    return Targets(rows.double(), labels, rows.shape[1])


def check_labels(name: str, labels: Tensor, num_classes: int) -> None:
    """Raise ValueError for labels out of range."""
    low, high = torch.stack(labels.aminmax()).tolist() if len(labels) else (0, 0)
    if low < 0 or high >= num_classes:
        raise ValueError(f"{name}: labels from {low} to {high}; must lie in 0..{num_classes - 1}")


def _read_bit(name: str, targets: Tensor) -> Targets:
    """One logit tells two classes apart: bits become rows of probabilities, or labels."""
    bits = targets[:, 0] if targets.ndim == 2 and targets.shape[1] == 1 else targets
    if bits.ndim != 1 or bool(((bits < 0) | (bits > 1)).any()):
        found = f"shape {tuple(targets.shape)}"
        if bits.ndim == 1:
            found = f"from {float(bits.min()):g} to {float(bits.max()):g}"
        raise ValueError(
            f"{name}: {found}; must be (n,) or (n, 1), 0 or 1 or a probability, for task='binary'"
        )
    labels = (bits > 0.5).long()
    if bool((bits == labels).all()):
        return Targets(labels, labels, 2)
    return Targets(torch.stack([1 - bits, bits], 1).double(), labels, 2)


_ALTERNATIVES = (
    "must be rows ≥ 0 that sum to 1, or α·one-hot, for task='cross_entropy'; use "
    "task='multilabel' for several labels per sample, 'squared_error' for values"
)


def _no_classes(rows: Tensor) -> str:
    negative = (rows < 0).any(1)
    if bool(negative.any()):
        row = int(negative.long().argmax())
        return f"row {row} holds {float(rows[row].min()):g}"
    sums = rows.double().sum(1)
    row = int((sums - 1).abs().argmax())
    return f"row {row} sums to {float(sums[row]):g}"


def _misfit(name: str, targets: Tensor, task: str, num_outputs: int) -> ValueError:
    allowed = f"rows (n, {num_outputs}) of 0 and 1"
    if task != "multilabel":
        allowed = f"class labels (n,) of int, or rows (n, {num_outputs})"
    if task == "squared_error":
        allowed += ", or values (n,) or (n, T) of float"
    return ValueError(
        f"{name}: shape {tuple(targets.shape)}, {targets.dtype}; must be {allowed}, for "
        f"task={task!r}"
    )


def class_labels(targets: Tensor) -> Tensor | None:
    """The class labels that integers of shape (n,) or rows that are classes give; None else."""
    if targets.ndim == 1:
        return None if targets.is_floating_point() else targets
    return None if coding_of(targets) is None else targets.argmax(1)


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
            "measure of a collapsed network is not 0: use the same number per class, or read "
            "low_rank_measure_weighted",
            stacklevel=stacklevel + 1,
        )


def class_weights(labels: Tensor | None) -> Tensor | None:
    """Weights, shape (n,) of float64, of mean 1, that give each class present the same sum.

    None where there are no labels, or as many of each class.
    """
    if labels is None or not len(labels):
        return None
    names = labels.cpu()
    counts = torch.bincount(names)
    present = counts[counts > 0]
    if bool((present == present[0]).all()):
        return None
    return (len(names) / len(present) / counts.double().clamp(min=1))[names]


def is_balanced(counts: NDArray[Any]) -> bool:
    """Whether classes are equally many, up to one sample: taken as drawn class by class."""
    return len(counts) > 1 and bool(counts.max() - counts.min() < 1.5)


def assign_blocks(
    targets: Any, num_blocks: int = 8, groups: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """Jackknife blocks for samples that are all known beforehand, shape (n,).

    Where the classes, labels or rows, are equally many, and of as many samples as blocks, each
    block gets its share of each class: such samples were drawn class by class, and so must the
    replicates be, or the error bars come out too wide. Otherwise the blocks are those that
    `FeatureMoments` would give by running number. Our choice.

    Parameters
    ----------
    targets : array, shape (n,) of int or (n, d) of float
    num_blocks : int, default 8
    groups : array of int, shape (n,), optional
        Samples that are not independent, as tokens of one sequence are, by its number: each group
        lies in one block whole, and blocks have as nearly as many samples as that allows. Our
        choice; Künsch (1989) leaves out runs of a series for the same reason.
    """
    if groups is not None:
        return _whole_groups(groups, num_blocks)
    values = as_tensor("targets", targets)
    numbers = block_numbers(0, len(values), num_blocks)
    labels = class_labels(values)
    if labels is None:
        return numbers
    names = labels.cpu().numpy()
    counts = np.unique(names, return_counts=True)[1]
    # Of fewer samples per class than blocks the last blocks would get none.
    if not is_balanced(counts) or counts.max() < num_blocks:
        return numbers
    # Class after class from the table's beginning: without a block, classes stay equally many.
    blocks = np.empty_like(numbers)
    blocks[np.argsort(names, kind="stable")] = np.concatenate([numbers[:n] for n in counts])
    return blocks


def _whole_groups(groups: NDArray[np.int64], num_blocks: int) -> NDArray[np.int64]:
    """Each group into the block with the fewest samples so far, large ones first."""
    _, members, counts = np.unique(groups, return_inverse=True, return_counts=True)
    # Groups of one size in an order drawn once for all, which no period of them lines up with.
    order = np.random.default_rng(20241004).permutation(len(counts))
    order = order[np.argsort(-counts[order], kind="stable")]
    filled = [(0, block) for block in range(num_blocks)]
    blocks = np.empty(len(counts), np.int64)
    for group in order:
        held, block = heapq.heappop(filled)
        blocks[group] = block
        heapq.heappush(filled, (held + int(counts[group]), block))
    return blocks[members]


def block_numbers(start: int, count: int, num_blocks: int) -> NDArray[np.int64]:
    """Block of the samples numbered `start` … `start + count − 1`.

    Each run of `num_blocks` samples meets every block once, in an order drawn once for all.
    """
    rounds = 1021  # a prime: no period of a data set lines up with the table's
    order = np.random.default_rng(20241004).random((rounds, num_blocks)).argsort(1).ravel()
    return np.asarray(order[np.arange(start, start + count) % order.size])
