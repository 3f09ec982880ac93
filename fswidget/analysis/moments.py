"""Additive second moments of (features, outputs, targets): all that the measures need.

One row per sample, z = [1, Φ, f̂, y, Φ_0, ‖Φ‖², ‖Φ_0‖², f̂_a f̂_b …], and one float64 Gram
matrix Σ z zᵀ per jackknife block. Every measure is made from slices of their sum. The sums are
taken about a shift near the median, so that features with a large mean keep their small directions
beside any outlier, and of the outputs their common shift is kept apart (`gram.common_first`).
"""

from __future__ import annotations

import copy
import itertools
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from fswidget.analysis.arrays import (
    as_matrix,
    as_tensor,
    check_rows,
    default_device,
    empty,
    zeros,
)
from fswidget.analysis.gram import Columns, common_first, reshifted
from fswidget.analysis.targets import LABELS, Coding, block_numbers, check_labels, coding_of

#: Rows taken at once: bounds the float64 copies of a large batch.
_ROWS = {"cpu": 2048, "cuda": 16384}
#: Rows of a Gram matrix computed at once, from the diagonal on; a GPU takes all.
_PANEL = {"cpu": 128, "cuda": 1 << 30}


_LOOKED_AT = 101  # rows of the first batch whose median is the shift


def _positive(name: str, value: Any, least: int) -> int:
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name}={value!r}: must be an integer ≥ {least}")
    return int(value)


class Moments:
    """The sums and how they are added up; `fswidget.FeatureMoments` documents them."""

    def __init__(
        self,
        num_features: int,
        num_outputs: int,
        num_targets: int,
        *,
        num_reference: int = 0,
        num_blocks: int = 8,
        first_sample: int = 0,
        device: torch.device | str | None = None,
    ) -> None:
        self.num_features = _positive("num_features", num_features, 1)
        self.num_outputs = _positive("num_outputs", num_outputs, 1)
        self.num_targets = _positive("num_targets", num_targets, 1)
        self.num_reference = _positive("num_reference", num_reference, 0)
        self.num_blocks = _positive("num_blocks", num_blocks, 1)
        self.device = default_device(device)
        self._columns = Columns.of(num_features, num_outputs, num_targets, num_reference)
        width = self._columns.count
        self._upper = zeros((self.num_blocks, width, width), self.device)
        self._complete = True
        self._shift: Tensor | None = None
        self._coding: Coding | None = None
        self._epsilons = (0.0, 0.0)  # the coarsest rounding of features and outputs so far
        self._count = _positive("first_sample", first_sample, 0)

    @property
    def num_samples(self) -> int:
        """Samples added so far, by weight, over all processes after `all_reduce`."""
        return round(float(self._upper[:, 0, 0].sum()))

    @property
    def classification(self) -> bool:
        """Whether all targets so far were classes: integers, or rows as `coding_of` reads them."""
        return self._coding is not None

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.num_features}, {self.num_outputs}, {self.num_targets}, "
            f"num_reference={self.num_reference}, num_blocks={self.num_blocks}): "
            f"{self.num_samples} samples"
        )

    def update(
        self,
        features: Any,
        outputs: Any,
        targets: Any,
        reference: Any | None = None,
        *,
        blocks: ArrayLike | None = None,
        weights: Any | None = None,
    ) -> Self:
        """Add a batch.

        Parameters
        ----------
        features : tensor or array, shape (n, num_features)
        outputs : tensor or array, shape (n, num_outputs)
            What the last layer gives: logits, or the regression's outputs.
        targets : tensor or array, shape (n,) of int or (n, num_targets) of float
            Class labels, or rows: one-hot, probabilities, bits or regression targets. Where
            `num_targets` is 1, integers are values too.
        reference : tensor or array, shape (n, num_reference), optional
            Needed exactly where `num_reference` > 0.
        blocks : array of int, shape (n,), optional
            Jackknife block of each sample, from 0; see `assign_blocks`.
        weights : array, shape (n,), optional
            How many samples each counts as, 1 by default; see `class_weights`. Debiased estimates
            and errors take them for counts.

        Returns
        -------
        FeatureMoments
            Itself.

        Raises
        ------
        TypeError
            If an argument holds anything but numbers.
        ValueError
            On wrong shapes, labels out of range, or a value that is not finite; it names the
            argument and the place. Nothing has been added then.
        """
        parts, coding = self._read(features, outputs, targets, reference)
        count = len(parts["features"])
        if count == 0:
            return self
        numbers = self._blocks(blocks, count)
        roots = None if weights is None else self._roots(weights, count)
        if self._shift is None:
            self._shift, self._coding = self._first_shift(parts), coding
        elif self._coding is not None:
            self._coding = self._coding.joined(coding)
        self._round_to(_epsilon(parts["features"]), _epsilon(parts["outputs"]))
        self._add_all(parts, numbers, roots)
        self._count += count
        return self

    def _read(
        self, features: Any, outputs: Any, targets: Any, reference: Any | None
    ) -> tuple[dict[str, Tensor], Coding | None]:
        """The parts of a batch, on the device of the sums, and how its targets name classes."""
        parts = {
            "features": as_matrix("features", features, self.num_features),
            "outputs": as_matrix("outputs", outputs, self.num_outputs),
        }
        parts["targets"], coding = self._targets(targets)
        if (reference is None) != (self.num_reference == 0):
            raise ValueError(
                f"reference={'None' if reference is None else 'given'}: must be given exactly "
                f"where num_reference > 0 (here {self.num_reference})"
            )
        if reference is not None:
            parts["reference"] = as_matrix("reference", reference, self.num_reference)
        parts = {name: part.to(self.device) for name, part in parts.items()}
        check_rows(**parts)
        return parts, coding

    def _blocks(self, given: ArrayLike | None, count: int) -> NDArray[np.int64]:
        if given is None:
            return block_numbers(self._count, count, self.num_blocks)
        blocks = np.asarray(given)
        allowed = f"must be ({count},) of int, from 0 to {self.num_blocks - 1}"
        if blocks.shape != (count,) or not np.issubdtype(blocks.dtype, np.integer):
            raise ValueError(f"blocks: shape {blocks.shape}, dtype {blocks.dtype}; {allowed}")
        if blocks.min() < 0 or blocks.max() >= self.num_blocks:
            raise ValueError(f"blocks: from {blocks.min()} to {blocks.max()}; {allowed}")
        return blocks

    def _roots(self, weights: Any, count: int) -> Tensor:
        """What rows are multiplied by, for their products to have the weights; (n, 1)."""
        values = as_tensor("weights", weights).to(self.device, torch.float64)
        if values.shape != (count,):
            raise ValueError(f"weights: shape {tuple(values.shape)}; must be ({count},)")
        if not bool((values >= 0).all() & values.isfinite().all()):
            raise ValueError(f"weights: least {float(values.min()):g}; must be finite and ≥ 0")
        return values.sqrt()[:, None]

    def _targets(self, value: Any) -> tuple[Tensor, Coding | None]:
        targets = as_tensor("targets", value)
        # A single target function cannot tell classes: integers are its values.
        if targets.ndim != 1 or targets.is_floating_point() or self.num_targets == 1:
            rows = as_matrix("targets", targets, self.num_targets)
            return rows, coding_of(rows)
        check_labels("targets", targets, self.num_targets)
        return torch.nn.functional.one_hot(targets, self.num_targets), LABELS

    def _first_shift(self, parts: dict[str, Tensor]) -> Tensor:
        """The median of some rows: an outlier must not take the digits of the other samples."""
        shift = torch.zeros(self._columns.count, dtype=torch.float64, device=self.device)
        step = -(-len(parts["features"]) // _LOOKED_AT)
        for name, part in parts.items():
            if name != "targets":
                shift[getattr(self._columns, name)] = _wide(name, part[::step]).median(0).values
        return shift

    def _add_all(
        self, parts: dict[str, Tensor], blocks: NDArray[np.int64], roots: Tensor | None
    ) -> None:
        """Add rows, those of a block one after another."""
        rows, taken = _ROWS.get(self.device.type, _ROWS["cpu"]), None
        if self.num_blocks > 1:
            order = np.argsort(blocks, kind="stable")
            blocks, taken = blocks[order], torch.from_numpy(order).to(self.device)
        for start in range(0, len(blocks), rows):
            chunk = slice(start, start + rows)
            where = chunk if taken is None else taken[chunk]
            z = self._z({name: _rows(part, where) for name, part in parts.items()})
            if roots is not None:
                z *= roots[where]
            ends = np.searchsorted(blocks[chunk], np.arange(self.num_blocks + 1)).tolist()
            for block, (first, last) in enumerate(itertools.pairwise(ends)):
                if first < last:
                    self._add_upper(block, z[first:last])

    def _z(self, parts: dict[str, Tensor]) -> Tensor:
        columns, shift = self._columns, self._shift
        assert shift is not None
        count = parts["features"].shape[0]
        z = empty((count, columns.count), self.device)
        z[:, 0] = 1
        for name, part in parts.items():
            where = getattr(columns, name)
            torch.sub(_wide(name, part), shift[where], out=z[:, where])
        columns.fill_products(z)
        return z

    def _add_upper(self, block: int, z: Tensor) -> None:
        # Panels from the diagonal on: symmetry saves nearly half of the products.
        panel = _PANEL.get(self.device.type, _PANEL["cpu"])
        for start in range(0, z.shape[1], panel):
            rows = slice(start, start + panel)
            self._upper[block, rows, start:].addmm_(z[:, rows].T, z[:, start:])
        self._complete = False

    @property
    def _gram(self) -> Tensor:
        """The Gram matrices, shape (num_blocks, d, d), whole."""
        if not self._complete:
            panel = _PANEL.get(self.device.type, _PANEL["cpu"])
            for start in range(panel, self._columns.count, panel):
                columns = slice(start, start + panel)
                above = self._upper[:, :start, columns]
                self._upper[:, columns, :start] = above.transpose(1, 2)
            self._complete = True
        return self._upper

    def _about(self, shift: Tensor) -> Tensor:
        """The Gram matrices about another shift: exact algebra, since z about it is linear in z."""
        assert self._shift is not None
        return reshifted(self._gram, self._shift - shift, self._columns)

    def _check_alike(self, other: Moments) -> None:
        for name in ("num_features", "num_outputs", "num_targets", "num_reference", "num_blocks"):
            if getattr(self, name) != getattr(other, name):
                raise ValueError(
                    f"other.{name}={getattr(other, name)}: must equal this one's, "
                    f"{getattr(self, name)}"
                )

    def merge(self, other: Moments) -> Self:
        """Add another's samples to these, block by block; `other` stays as it is.

        Returns
        -------
        FeatureMoments
            Itself.

        Raises
        ------
        TypeError
            If `other` is no FeatureMoments.
        ValueError
            If the two differ in a dimension or in the number of blocks.
        """
        if not isinstance(other, Moments):
            raise TypeError(f"other={type(other).__name__}: must be a FeatureMoments")
        self._check_alike(other)
        if other._shift is None:
            return self
        theirs = copy.copy(other)
        theirs.device = self.device
        theirs._upper = other._gram.to(self.device)
        theirs._shift = other._shift.to(self.device)
        if self._shift is None:
            self._shift, self._coding = theirs._shift.clone(), other._coding
        self._upper = self._gram + theirs._about(self._shift)
        if self._coding is not None:
            self._coding = self._coding.joined(other._coding)
        self._round_to(*other._epsilons)
        self._count += other._count
        return self

    def all_reduce(self, group: Any | None = None) -> Self:
        """The sum over all processes of a `torch.distributed` group; this one stays as it is.

        Every process of the group must call it. Two all-reduces, of a vector and of the Gram
        matrices; a process without samples takes part with zeros.

        Returns
        -------
        FeatureMoments
            New moments, equal on every process.

        Raises
        ------
        RuntimeError
            If no process group has been set up.
        """
        import torch.distributed as dist

        if not (dist.is_available() and dist.is_initialized()):
            raise RuntimeError(
                "all_reduce: no process group; call torch.distributed.init_process_group first"
            )
        total = copy.copy(self)
        # One shift for all: the mean of the shifts, weighted by samples.
        message = torch.cat([self._votes(), self._columns_of_shift() * self.num_samples])
        dist.all_reduce(message, group=group)
        if float(message[0]) == 0:
            return copy.deepcopy(self)
        votes, common = message[: len(_VOTES)], message[len(_VOTES) :] / message[0]
        gram = self._about(common) if self._shift is not None else self._gram.clone()
        gram = gram.contiguous()
        dist.all_reduce(gram, group=group)
        total._upper, total._shift = gram, common
        total._coding, total._epsilons = _elected(dict(zip(_VOTES, votes.tolist(), strict=True)))
        total._count = round(float(message[0]))
        return total

    def _columns_of_shift(self) -> Tensor:
        if self._shift is not None:
            return self._shift
        return torch.zeros(self._columns.count, dtype=torch.float64, device=self.device)

    def _round_to(self, features: float, outputs: float) -> None:
        self._epsilons = (max(self._epsilons[0], features), max(self._epsilons[1], outputs))

    def _votes(self) -> Tensor:
        """What a process says of its samples, times their number, to be added up."""
        coding = self._coding
        votes = dict.fromkeys(_VOTES, 0.0)
        votes["samples"] = 1.0
        votes["features"], votes["outputs"] = self._epsilons
        if coding is None:
            votes["values"] = 1.0
        elif not coding.hard:
            votes["soft"] = 1.0
        else:
            votes["low"], votes["high"] = coding.low, coding.high
            votes["square"] = coding.low**2 + coding.high**2
        said = torch.tensor(list(votes.values()), dtype=torch.float64, device=self.device)
        return self.num_samples * said


_VOTES = ("samples", "values", "soft", "low", "high", "square", "features", "outputs")


def _elected(sums: dict[str, float]) -> tuple[Coding | None, tuple[float, float]]:
    """The coding of the samples of all processes, and the rounding of their arrays."""
    count, soft = sums["samples"], sums["soft"]
    epsilons = (sums["features"] / count, sums["outputs"] / count)
    if sums["values"] > 0:
        return None, epsilons
    if soft == count:
        return Coding(), epsilons
    low, high = (sums[name] / (count - soft) for name in ("low", "high"))
    if sums["square"] / (count - soft) - low**2 - high**2 > 1e-6 * high**2:
        return None, epsilons  # two processes name classes in two ways
    return (Coding(low, high) if soft == 0 else Coding(low, high).joined(Coding())), epsilons


def _rows(part: Tensor, where: slice | Tensor) -> Tensor:
    # Sooner than by an index.
    return part[where] if isinstance(where, slice) else part.index_select(0, where)


def _wide(name: str, part: Tensor) -> Tensor:
    """A part as it is summed: in float64, outputs with their common shift apart."""
    wide = part.to(torch.float64)
    return common_first(wide) if name == "outputs" else wide


def _epsilon(part: Tensor) -> float:
    return float(torch.finfo(part.dtype).eps) if part.is_floating_point() else 0.0
