"""The measures of one set of sample averages."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fswidget.analysis.arrays import Array, to_numpy
from fswidget.analysis.averages import (
    Averages,
    ClassMeans,
    Span,
    applied,
    inverse_root,
    normalised,
    squared,
)
from fswidget.analysis.collapse import COLLAPSE, neural_collapse
from fswidget.analysis.eigensolvers import EigenDecomposition, eigh_small
from fswidget.analysis.gram import householder
from fswidget.analysis.moments import Moments
from fswidget.analysis.targets import LABELS, is_balanced

#: Beyond so many classes it is looked at whether they need no eigenvectors.
_MANY = 64

USED = 0.95  # the level that defines k95
#: What has an error by the jackknife and needs no eigenvalues.
JACKKNIFED = (
    "low_rank_measure",
    "low_rank_measure_debiased",
    *COLLAPSE,
    "target_alignment",
    "kernel_drift",
)

#: What tells how far to trust others, and is not kept.
ASIDE = ("tails", "nc1_of_means", "noise_directions")

_LOST = 1e-9  # of a sum: a difference below it is rounding, as beside one huge sample


@dataclass(frozen=True)
class LowRank:
    """D_LR and what went into it, each of shape (…)."""

    plain: Tensor
    debiased: Tensor
    tails: Tensor  # E‖Φ‖⁴ / ((tr Cov)² + 2 ‖Cov‖²), centred; 1 of normal features, and at least


def low_rank_measure(
    averages: Averages,
    learned: Span,
    classes: ClassMeans | None,
    common_shift: bool,
    epsilons: tuple[float, float],
) -> LowRank:
    """D_LR = 1 − ‖Q_cᵀΦ_c‖² / (‖Q_cᵀQ_c‖ ‖Φ_cᵀΦ_c‖), plain and debiased.

    Debiasing, our choice, removes from each of the three norms what a finite probe adds to it:
    from ‖Q_cᵀΦ_c‖² the part of the residual variance that r free directions catch by chance, as
    the adjusted R² does, times the covariance of leverage and ‖Φ_c‖²; from ‖Φ_cᵀΦ_c‖² the
    diagonal of its U-statistic (Song et al. 2012, eq. 4, as debiased CKA does), or, where the
    classes are equally many, its counterpart for samples drawn class by class; from ‖Q_cᵀQ_c‖
    what an r-dimensional span catches of the constant function. `classes` is given where the
    samples were drawn class by class, and `epsilons` are the rounding of features and outputs.
    """
    features, n, rank = averages.columns.features, averages.n, learned.rank
    norm = averages.inner_product(features, features)
    total = averages.variance(features).sum(-1)
    constant = learned.mean.square().sum(-1).clamp(max=1)  # how much of 1 lies in Ĥ
    explained, span_norm = squared(learned.cross_centred), squared(learned.covariance)
    still = averages.is_constant(features, epsilons[0]) | learned.is_constant(epsilons[1])
    known = (rank > 0) & ~still & (span_norm * norm > 0)
    plain = (1 - explained / (span_norm * norm).sqrt()).clamp(0, 1)
    plain = torch.where(known, plain, math.nan)

    freedom = n - 1 - rank + constant
    square = averages.square_about_mean(averages.columns.square, features)
    image, raw = applied(square, averages.about), norm
    norm, within = unbiased_product(n, raw, averages, square, image), torch.ones_like(raw)
    fourth = (image * square).sum(-1)
    if classes is not None:
        enough = n > classes.count + 1
        by_class = _norm_drawn_by_class(n, raw, fourth, classes)
        norm = torch.where(enough, by_class, norm)
        within = torch.where(enough, classes.within, within)
    residual = (total - explained).clamp(min=0)
    chance = _leverage_of_large(averages, image, total, common_shift)
    explained = (explained - chance * (rank - constant) * residual / freedom) * n / (n - within)
    trace = learned.covariance.diagonal(dim1=-2, dim2=-1).sum(-1)
    outside = ((trace - (rank - 1)).clamp(min=0) * n / (n - rank)).clamp(max=1)
    span_norm = rank - 1 + outside.square()
    known = known & (n > 3) & (freedom >= 1) & (norm > _LOST * raw) & (span_norm * norm > 0)
    debiased = 1 - explained / (span_norm * norm).sqrt()
    tails = (fourth / (total.square() + 2 * raw)).clamp(min=1).nan_to_num(1)
    return LowRank(plain, torch.where(known, debiased, math.nan), tails)


def unbiased_product(
    n: Tensor, product: Tensor, averages: Averages, u: Tensor, image: Tensor
) -> Tensor:
    """U-statistic of ⟨Cov, Cov'⟩ (Song et al. 2012, eq. 4).

    `product` is its plain estimate; `u` and v give the squared norms about the mean, and `image` is
    E[z zᵀ] v.
    """
    squares = n * (u * image).sum(-1)
    sums = n * n * (averages.about[..., 0, :] * u).sum(-1) * image[..., 0]
    return (n * n * product - squares * n / (n - 2) + sums / ((n - 1) * (n - 2))) / (n * (n - 3))


def _norm_drawn_by_class(n: Tensor, norm: Tensor, fourth: Tensor, classes: ClassMeans) -> Tensor:
    """‖Cov Φ‖² without the bias that sampling within the classes gives it.

    Given its class, a sample adds E‖φ‖⁴ − ‖E[φφᵀ | class]‖² to the bias; the latter is taken with
    one covariance Σ_W for all classes.
    """
    count, share = classes.count, classes.share
    size = classes.gram.diagonal(dim1=-2, dim2=-1)
    within, within_norm, product = classes.scatter(n, norm)
    with_total = (norm - product) * n / (n - count) * n / (n - 1) - within**2 / n
    own = (size - (within * count / n)[..., None]).clamp(min=0)
    known = (share * own.square()).sum(-1) + 2 * (with_total - within_norm) + within_norm
    return norm - (fourth - known) / n + 2 * with_total / n + (within / n) ** 2


def _leverage_of_large(
    averages: Averages, image: Tensor, total: Tensor, common_shift: bool
) -> Tensor:
    """E[leverage · ‖Φ_c‖²] / (E[leverage] E‖Φ_c‖²): above 1 where large samples pull the span.

    From the products of at most ten fixed combinations of the outputs.
    """
    columns = averages.columns
    section = whole = columns.section.to(image)
    if common_shift:
        section = section[1:]  # the first row is their mean
    if len(section) == 0:
        return torch.ones_like(total)
    gram = section @ averages.second(columns.outputs, columns.outputs) @ section.T
    axes, rank = normalised(gram, 1e-5)
    axes = section.T @ axes
    metric = whole @ axes
    metric = metric @ metric.mT
    a, b = columns.pairs
    doubled = (2 - (a == b).long()).to(image)
    weighted = (metric[..., a, b] * doubled * image[..., columns.products]).sum(-1)
    origin = averages.origin[columns.outputs] @ axes
    weighted += 2 * (applied(origin, axes.mT) * image[..., columns.outputs]).sum(-1)
    weighted += origin.square().sum(-1) * image[..., 0]
    return torch.where(rank > 0, (weighted / (rank * total)).clamp(min=0), 1.0)


def kernel_drift(averages: Averages, debias: bool) -> Tensor:
    """1 − CKA(T, T_0), centred; NaN without reference features, and of two samples, whose kernels
    are all alike.

    Debiased, all three products are U-statistics (Song et al. 2012, eq. 4).
    """
    columns, n = averages.columns, averages.n
    parts = (columns.features, columns.reference)
    if columns.reference.start == columns.reference.stop:
        return torch.full_like(n, math.nan)
    pairs = ((0, 1), (0, 0), (1, 1))
    products = [averages.inner_product(parts[i], parts[j]) for i, j in pairs]
    if debias:
        squares = (columns.square, columns.reference_square)
        norms = [averages.square_about_mean(*s) for s in zip(squares, parts, strict=True)]
        images = [applied(norm, averages.about) for norm in norms]
        unbiased = [
            unbiased_product(n, product, averages, norms[i], images[j])
            for product, (i, j) in zip(products, pairs, strict=True)
        ]
        products = [torch.where(n > 3, u, p) for u, p in zip(unbiased, products, strict=True)]
    cross, own, other = products
    drift = 1 - cross / own.sqrt() / other.sqrt()  # their product may overflow
    known = (own > 0) & (other > 0) & (n > 2)
    return torch.where(known, drift if debias else drift.clamp(0, 1), math.nan)


def shared_variance(wanted: Span, learned: Span, between: Tensor, n: Tensor) -> Tensor:
    """Share of the targets' variance that is linear in the outputs, less what chance gives.

    The mean squared canonical correlation of targets and outputs, `between` being their
    covariance, adjusted as R² is; at most 1, near 0 where outputs know nothing. Our choice.
    """
    axes, ranks = [], []
    for span in (wanted, learned):
        values, vectors = eigh_small(span.covariance)
        kept = values > 1e-6  # of 1: what is left is the constant
        axes.append(span.map @ (vectors * inverse_root(values, kept)[..., None, :]))
        ranks.append(kept.sum(-1))
    rank, freedom = ranks[0], n - 1 - ranks[1]
    found = squared(axes[0].mT @ between @ axes[1]) / rank
    share = 1 - (1 - found) * (n - 1) / freedom
    return torch.where((rank > 0) & (freedom >= 1), share, math.nan)


def alignment(averages: Averages, a: slice, b: slice) -> Tensor:
    """CKA of the linear kernels of two parts, centred; NaN where one is constant."""
    own, other = averages.inner_product(a, a), averages.inner_product(b, b)
    found = (averages.inner_product(a, b) / own.sqrt() / other.sqrt()).clamp(max=1)
    return torch.where((own > 0) & (other > 0), found, math.nan)


@dataclass(frozen=True)
class Measures:
    """The spans of targets and outputs, and all the measures that need no eigensolve.

    Of one set of samples or of several at once, as the averages are.
    """

    task: str
    tolerance: float
    wanted: Span
    learned: Span
    classes: ClassMeans | None
    counts: Array | None  # of the samples of each class, of one set
    by_class: bool  # whether the samples count as drawn class by class
    tensors: Mapping[str, Tensor]

    @classmethod
    def of(
        cls,
        averages: Averages,
        moments: Moments,
        task: str,
        tolerance: float,
        debias: bool = False,
        by_class: bool | None = None,
    ) -> Measures:
        columns, shift, counts = averages.columns, task == "cross_entropy", None
        coding = None if task == "multilabel" else moments._coding
        unknown = torch.full_like(averages.n, math.nan)
        classes, found = None, dict.fromkeys((*COLLAPSE, *ASIDE[1:]), unknown)
        learned = Span.of_outputs(averages, task, tolerance)
        if coding is not None and coding.hard:
            classes = ClassMeans.of(averages, coding, learned.cross_centred)
            found = neural_collapse(averages, classes, coding, tolerance, common_shift=shift)
        if by_class is None:
            counts = None if classes is None else classes.counts(averages.n)
            by_class = counts is not None and is_balanced(counts[counts > 0])
        many = columns.targets.stop - columns.targets.start > _MANY
        named = many and coding == LABELS and averages.are_labels(columns.targets)
        span = Span.of_labels if named else Span.of
        wanted = span(averages, columns.targets, tolerance)
        epsilons = moments._epsilons
        low_rank = low_rank_measure(
            averages, learned, classes if by_class else None, shift, epsilons
        )
        tensors = {
            "low_rank_measure": low_rank.debiased if debias else low_rank.plain,
            "low_rank_measure_plain": low_rank.plain,
            "low_rank_measure_debiased": low_rank.debiased,
            "tails": low_rank.tails,
            **found,
            "target_alignment": alignment(averages, columns.features, columns.targets),
            "kernel_drift": kernel_drift(averages, debias),
        }
        return cls(task, tolerance, wanted, learned, classes, counts, by_class, tensors)

    @functools.cached_property
    def numbers(self) -> Mapping[str, Any]:
        """Each measure, read from the device all at once: a float, or an array of shape (…)."""
        tensors = [*self.tensors.values(), self.wanted.rank, self.learned.rank]
        names = [*self.tensors, "target_rank", "output_rank"]
        found = to_numpy(torch.stack([tensor.double() for tensor in tensors]))
        return dict(zip(names, found.tolist() if found.ndim == 1 else found, strict=True))

    def target_share(self, averages: Averages) -> float:
        """Share of the targets' variance that is linear in the outputs; see `shared_variance`."""
        outputs = averages.columns.counting(self.task)
        between = averages.covariance(averages.columns.targets, outputs)
        return float(shared_variance(self.wanted, self.learned, between, averages.n))

    def maps(self, averages: Averages) -> tuple[Tensor, Tensor]:
        """What makes the orthonormal bases of H* and Ĥ from targets and from outputs as they were
        given, shapes (T, rank) and (C, rank)."""
        count = averages.columns.outputs.stop - averages.columns.outputs.start
        wanted, learned = (span.map[:, size - r :] for span, size, r in self._ranked)
        missing = learned.new_zeros(count - len(learned), learned.shape[1])
        return wanted, householder(torch.cat([missing, learned]))

    @property
    def _ranked(self) -> list[tuple[Span, int, int]]:
        """The two spans of one set of samples, with the sizes of their maps and their ranks."""
        ranks = self.numbers["target_rank"], self.numbers["output_rank"]
        spans = self.wanted, self.learned
        return [(s, s.map.shape[-1], int(r)) for s, r in zip(spans, ranks, strict=True)]

    def coefficients_of_outputs(self, averages: Averages, solution: EigenDecomposition) -> Tensor:
        """⟨f̂_c|e_k⟩ of the outputs as they were given, less a shift that does not count; (C, K)."""
        columns = averages.columns
        outputs = columns.counting(self.task)
        found = solution.expand(averages.second(outputs, columns.features))
        left = outputs.start - columns.outputs.start
        found = torch.cat([found.new_zeros(left, found.shape[1]), found])
        return householder(found / solution.values.sqrt())

    @property
    def rows(self) -> Tensor:
        """E[q Φᵀ] for the target and the output functions, shape (…, T + C, p)."""
        return torch.cat([self.wanted.cross, self.learned.cross], -2)

    def curves(self, coefficients: Tensor, places: list[int]) -> Tensor:
        """Quality and utilization, shape (b, 2, K), of some of several sets of samples, from the
        coefficients of `rows` in their eigenfunctions, shape (b, T + C, K)."""
        count = self.wanted.map.shape[-1]
        pieces = coefficients[:, :count], coefficients[:, count:]
        ranks = self.wanted.rank[places], self.learned.rank[places]
        return torch.stack([cumulated(*each) for each in zip(pieces, ranks, strict=True)], 1)

    def coefficients(self, solution: EigenDecomposition) -> tuple[Tensor, Tensor]:
        """⟨q|e_k⟩ for the target and the output functions, shapes (rank, K)."""
        found = solution.expand(self.rows) / solution.values.sqrt()
        (_, first, _), (_, _, _) = self._ranked
        pieces = found[:first], found[first:]
        ranked = zip(self._ranked, pieces, strict=True)
        wanted, learned = (piece[size - rank :] for (_, size, rank), piece in ranked)
        return wanted, learned


def measures_of(moments: Moments, task: str, tolerance: float = 1e-5) -> Measures:
    """Of the samples in `moments`."""
    return Measures.of(Averages.of(moments), moments, task, tolerance)


def cumulative(coefficients: Tensor) -> Array:
    """Quality or utilization, of the coefficients of target or output functions."""
    return to_numpy(cumulated(coefficients, coefficients.new_tensor(len(coefficients))))


def cumulated(coefficients: Tensor, rank: Tensor) -> Tensor:
    """The same, shape (…, K), not read; of coefficients, shape (…, m, K), as of functions of which
    `rank` are not 0."""
    shares = coefficients.square().sum(-2).cumsum(-1) / rank[..., None]
    return torch.where(rank[..., None] > 0, shares.clamp(max=1), math.nan)


def first_at(curve: Array, otherwise: int) -> int:
    """k95: where a cumulative utilization reaches 0.95, counted from 1."""
    # A head that is linear in Φ reaches the level exactly up to rounding.
    reached = np.flatnonzero(curve >= USED - 1e-12)
    return int(reached[0]) + 1 if len(reached) else otherwise


def crossing(curve: Array, otherwise: int) -> float:
    """Where a cumulative curve reaches 0.95: k95 without the steps, from 0 to its length.

    On the line through its points from 0.92 to 0.98 where two of them lie on either side of the
    level: one eigenfunction does not bend it. Else between the two beside the level, as where few
    features are in use and the curve jumps over it. `otherwise` where it never gets there.
    """
    place = first_at(curve, 0)
    if place == 0:
        return float(otherwise)
    near = np.flatnonzero(abs(curve - USED) <= 0.03)
    below = int((near < place - 1).sum())
    if 2 <= below <= len(near) - 2:
        middle, level = near.mean(), curve[near].mean()
        slope = (near - middle) @ (curve[near] - level) / ((near - middle) ** 2).sum()
        found = middle + 1 + (USED - level) / slope
        return float(min(max(found, near[0] + 1.0), near[-1] + 1.0))
    before = float(curve[place - 2]) if place > 1 else 0.0
    step = float(curve[place - 1]) - before
    return float(place - 1 + (USED - before) / step if step > 0 else place)
