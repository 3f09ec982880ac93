"""The measures of one set of sample averages."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fswidget.analysis.arrays import Array, to_numpy
from fswidget.analysis.averages import Averages, ClassMeans, Span, normalised
from fswidget.analysis.collapse import Collapse
from fswidget.analysis.eigensolvers import EigenDecomposition
from fswidget.analysis.gram import householder
from fswidget.analysis.moments import Moments

USED = 0.95  # the level that defines k95

_LOST = 1e-9  # of a sum: a difference below it is rounding, as beside one huge sample


@dataclass(frozen=True)
class LowRank:
    """D_LR and what went into it."""

    plain: float
    debiased: float

    def of(self, debias: bool) -> float:
        return self.debiased if debias else self.plain


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
    # Read at once: a GPU waits for each time.
    total, constant, explained, span_norm, span_trace = torch.stack(
        [
            averages.about[features, features].trace() - averages.offset(features).square().sum(),
            learned.mean.square().sum(),
            learned.cross_centred.square().sum(),
            learned.covariance.square().sum(),
            learned.covariance.trace(),
        ]
    ).tolist()
    constant = min(constant, 1.0)  # how much of 1 lies in Ĥ
    still = averages.is_constant(features, epsilons[0]) or learned.is_constant(epsilons[1])
    if rank == 0 or still or not span_norm * norm > 0:
        return LowRank(math.nan, math.nan)
    plain = min(max(1 - explained / math.sqrt(span_norm * norm), 0.0), 1.0)

    freedom = n - 1 - rank + constant
    if n <= 3 or freedom < 1:
        return LowRank(plain, math.nan)
    square = averages.square_about_mean(averages.columns.square, features)
    image, raw = averages.about @ square, norm
    if classes is not None and n > len(classes.share) + 1:
        norm = _norm_drawn_by_class(n, norm, total, float(image @ square), classes)
        within = classes.share_within(averages, learned.cross_centred)
    else:
        norm, within = unbiased_product(n, norm, averages, square, square), 1.0
    residual = max(total - explained, 0.0)
    chance = _leverage_of_large(averages, image, total, common_shift)
    explained = (explained - chance * (rank - constant) * residual / freedom) * n / (n - within)
    outside = min(max(span_trace - (rank - 1), 0.0) * n / (n - rank), 1.0)
    span_norm = rank - 1 + outside**2
    if not norm > _LOST * raw or not span_norm * norm > 0:
        return LowRank(plain, math.nan)
    return LowRank(plain, 1 - explained / math.sqrt(span_norm * norm))


def unbiased_product(n: float, product: float, averages: Averages, u: Tensor, v: Tensor) -> float:
    """U-statistic of ⟨Cov, Cov'⟩ (Song et al. 2012, eq. 4).

    `product` is its plain estimate; `u` and `v` give the squared norms about the mean.
    """
    image = averages.about @ v
    squares = n * float(u @ image)
    sums = n * n * float(averages.about[0] @ u) * float(image[0])
    return (n * n * product - squares * n / (n - 2) + sums / ((n - 1) * (n - 2))) / (n * (n - 3))


def _norm_drawn_by_class(
    n: float, norm: float, total: float, fourth: float, classes: ClassMeans
) -> float:
    """‖Cov Φ‖² without the bias that sampling within the classes gives it.

    Given its class, a sample adds E‖φ‖⁴ − ‖E[φφᵀ | class]‖² to the bias; the latter is taken with
    one covariance Σ_W for all classes.
    """
    count, share, size = len(classes.share), classes.share, classes.gram.diagonal()
    between, product, square = torch.stack(
        [
            (share * size).sum(),
            (share * classes.covariance.diagonal()).sum(),  # ⟨Cov, Σ_B⟩
            ((classes.gram**2) * torch.outer(share, share)).sum(),  # ‖Σ_B‖²
        ]
    ).tolist()
    grow = n / (n - count)
    within = max(total - between, 0.0) * grow
    within_norm = max(norm - 2 * product + square, 0.0) * grow**2 - within**2 / (n - count)
    with_total = (norm - product) * grow * n / (n - 1) - within**2 / n
    own = float((share * (size - within * count / n).clamp(min=0) ** 2).sum())
    known = own + 2 * (with_total - within_norm) + within_norm
    return float(norm - (fourth - known) / n + 2 * with_total / n + (within / n) ** 2)


def _leverage_of_large(
    averages: Averages, image: Tensor, total: float, common_shift: bool
) -> float:
    """E[leverage · ‖Φ_c‖²] / (E[leverage] E‖Φ_c‖²): above 1 where large samples pull the span.

    From the products of at most ten fixed combinations of the outputs.
    """
    columns = averages.columns
    section = columns.section.to(image)
    if common_shift:
        section = section[1:]  # the first row is their mean
    if len(section) == 0:
        return 1.0
    gram = section @ averages.second(columns.outputs, columns.outputs) @ section.T
    axes = section.T @ normalised(gram, 1e-5)
    if not axes.shape[1]:
        return 1.0
    metric = columns.section.to(image) @ axes
    metric = metric @ metric.T
    a, b = columns.pairs
    doubled = (2 - (a == b).long()).to(image)
    weighted = (metric[a, b] * doubled) @ image[columns.products]
    origin = axes.T @ averages.origin[columns.outputs]
    weighted += 2 * (axes @ origin) @ image[columns.outputs] + origin.square().sum() * image[0]
    return max(float(weighted) / (axes.shape[1] * total), 0.0)


def kernel_drift(averages: Averages, debias: bool) -> float:
    """1 − CKA(T, T_0), centred; NaN without reference features.

    Debiased, all three products are U-statistics (Song et al. 2012, eq. 4).
    """
    columns, n = averages.columns, averages.n
    parts = (columns.features, columns.reference)
    if columns.reference.start == columns.reference.stop:
        return math.nan
    pairs = ((0, 1), (0, 0), (1, 1))
    products = [averages.inner_product(parts[i], parts[j]) for i, j in pairs]
    if debias and n > 3:
        squares = (columns.square, columns.reference_square)
        norms = [averages.square_about_mean(*s) for s in zip(squares, parts, strict=True)]
        products = [
            unbiased_product(n, product, averages, norms[i], norms[j])
            for product, (i, j) in zip(products, pairs, strict=True)
        ]
    cross, own, other = products
    if own <= 0 or other <= 0:
        return math.nan
    drift = 1 - cross / math.sqrt(own) / math.sqrt(other)  # their product may overflow
    return drift if debias else min(max(drift, 0.0), 1.0)


def shared_variance(wanted: Span, learned: Span, between: Tensor, n: float) -> float:
    """Share of the targets' variance that is linear in the outputs, less what chance gives.

    The mean squared canonical correlation of targets and outputs, `between` being their
    covariance, adjusted as R² is; at most 1, near 0 where outputs know nothing. Our choice.
    """
    axes = []
    for span in (wanted, learned):
        values, vectors = torch.linalg.eigh(span.covariance)
        first = len(values) - int((values > 1e-6).sum())  # of 1: what is left is the constant
        axes.append(span.map @ (vectors[:, first:] / values[first:].sqrt()))
    rank, freedom = axes[0].shape[1], n - 1 - axes[1].shape[1]
    if rank == 0 or freedom < 1:
        return math.nan
    found = float((axes[0].T @ between @ axes[1]).square().sum()) / rank
    return float(1 - (1 - found) * (n - 1) / freedom)


def alignment(averages: Averages, a: slice, b: slice) -> float:
    """CKA of the linear kernels of two parts, centred; NaN where one is constant."""
    own, other = averages.inner_product(a, a), averages.inner_product(b, b)
    if not (own > 0 and other > 0):
        return math.nan
    return min(averages.inner_product(a, b) / math.sqrt(own) / math.sqrt(other), 1.0)


@dataclass(frozen=True)
class Measures:
    """The spans of targets and outputs, and all the measures that need no eigensolve."""

    task: str
    tolerance: float
    wanted: Span
    learned: Span
    classes: ClassMeans | None
    low_rank: LowRank
    collapse: Collapse
    kernel_drift: float
    target_alignment: float
    by_class: bool  # whether the samples count as drawn class by class

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
        columns, shift = averages.columns, task == "cross_entropy"
        coding = None if task == "multilabel" else moments._coding
        classes, collapse = None, Collapse()
        if coding is not None and coding.hard:
            classes = ClassMeans.of(averages, coding)
            how: dict[str, Any] = {"tolerance": tolerance, "common_shift": shift}
            collapse = Collapse.of(averages, classes, coding, **how)
        # A common shift of logits, their first axis, changes nothing.
        outputs = slice(columns.outputs.start + shift, columns.outputs.stop)
        learned = Span.of(averages, outputs, tolerance, beside=columns.outputs)
        if by_class is None:
            by_class = classes is not None and classes.is_balanced(averages.n)
        wanted = Span.of(averages, columns.targets, tolerance)
        return cls(
            task,
            tolerance,
            wanted,
            learned,
            classes,
            low_rank_measure(
                averages, learned, classes if by_class else None, shift, moments._epsilons
            ),
            collapse,
            kernel_drift(averages, debias),
            alignment(averages, columns.features, columns.targets),
            by_class,
        )

    @property
    def numbers(self) -> dict[str, float]:
        """What has an error by the jackknife and needs no eigenvalues."""
        collapse = self.collapse
        return {
            "low_rank_measure_debiased": self.low_rank.debiased,
            "nc1": collapse.nc1,
            "nc2": collapse.nc2,
            "nc3": collapse.nc3,
            "cdnv": collapse.cdnv,
            "target_alignment": self.target_alignment,
            "kernel_drift": self.kernel_drift,
        }

    def target_share(self, averages: Averages) -> float:
        """Share of the targets' variance that is linear in the outputs; see `shared_variance`."""
        part = averages.columns.outputs
        outputs = slice(part.stop - len(self.learned.map), part.stop)
        between = averages.covariance(averages.columns.targets, outputs)
        return shared_variance(self.wanted, self.learned, between, averages.n)

    def map_of_outputs(self, averages: Averages) -> Tensor:
        """What makes the orthonormal basis of Ĥ from the outputs as they were given, (C, rank)."""
        count = averages.columns.outputs.stop - averages.columns.outputs.start
        basis = self.learned.map
        missing = basis.new_zeros(count - len(basis), basis.shape[1])
        return householder(torch.cat([missing, basis]))

    def coefficients_of_outputs(self, averages: Averages, solution: EigenDecomposition) -> Tensor:
        """⟨f̂_c|e_k⟩ of the outputs as they were given, less a shift that does not count; (C, K)."""
        columns, shift = averages.columns, self.task == "cross_entropy"
        outputs = slice(columns.outputs.start + shift, columns.outputs.stop)
        found = solution.expand(averages.second(outputs, columns.features))
        found = torch.cat([found.new_zeros(int(shift), found.shape[1]), found])
        return householder(found / solution.values.sqrt())

    def coefficients(self, solution: EigenDecomposition) -> tuple[Tensor, Tensor]:
        """⟨q|e_k⟩ for the target and the output functions, shapes (rank, K)."""
        found = solution.expand(torch.cat([self.wanted.cross, self.learned.cross]))
        found = found / solution.values.sqrt()
        return found[: self.wanted.rank], found[self.wanted.rank :]


def measures_of(moments: Moments, task: str, tolerance: float = 1e-5) -> Measures:
    """Of the samples in `moments`."""
    return Measures.of(Averages.of(moments), moments, task, tolerance)


def cumulative(coefficients: Tensor) -> Array:
    """Quality or utilization, of the coefficients of target or output functions."""
    rank, count = coefficients.shape
    if rank == 0:
        return np.full(count, math.nan)
    return np.minimum(to_numpy(coefficients.square().sum(0).cumsum(0)) / rank, 1.0)


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
        slope, start = np.polyfit(near - near[0], curve[near], 1)
        found = near[0] + 1 + (USED - start) / slope
        return float(min(max(found, near[0] + 1.0), near[-1] + 1.0))
    before = float(curve[place - 2]) if place > 1 else 0.0
    step = float(curve[place - 1]) - before
    return float(place - 1 + (USED - before) / step if step > 0 else place)


def alpha_req(values: Array) -> float:
    """−slope of log ρ_k over log k, k from 11 to 100 at most, weighted by 1/k."""
    ranks = np.arange(11, min(len(values), 100) + 1)
    if len(ranks) < 10:
        return math.nan
    # polyfit's weights multiply residuals, so that they enter squared.
    fitted = np.polyfit(np.log(ranks), np.log(values[ranks - 1]), 1, w=ranks**-0.5)
    return float(-fitted[0])


def rank_me(values: Array) -> float:
    """exp of the entropy of the singular values' shares, √ρ / Σ√ρ."""
    return effective_rank(np.sqrt(values))


def effective_rank(values: Array) -> float:
    """exp of the entropy of the eigenvalues' shares."""
    if not len(values):
        return math.nan
    share = values / values.sum()
    return float(np.exp(-(share * np.log(share)).sum()))
