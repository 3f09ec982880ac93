"""Sample averages, and what they say of the spans of functions and of the class means."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from fswidget.analysis.eigensolvers import EPS
from fswidget.analysis.gram import Columns
from fswidget.analysis.moments import Moments
from fswidget.analysis.targets import Coding, is_balanced

# Of what is measured: fourth powers must lie within float64, with room for sums (our choice).
_SMALLEST, _LARGEST = 1e-70, 1e70


@dataclass(frozen=True)
class Averages:
    """Averages of z zᵀ over samples: raw second moments and covariances of its parts.

    Parameters
    ----------
    n : float
        Samples.
    origin : Tensor, shape (d,)
        What was subtracted from each sample.
    about : Tensor, shape (d, d)
        E[(z − origin)(z − origin)ᵀ]; only slices of it are ever copied.
    """

    n: float
    origin: Tensor
    about: Tensor
    columns: Columns
    _products: dict[tuple[int, int, int, int], float] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, moments: Moments) -> Averages:
        """Averages over all of the samples in `moments`.

        Raises
        ------
        ValueError
            If there are none, or their fourth powers would leave the range of float64.
        """
        if moments.num_samples == 0 or moments._shift is None:
            raise ValueError("moments: no samples; call update first")
        averages = cls.from_sum(moments._gram.sum(0), moments._shift, moments._columns)
        for name in ("features", "outputs", "targets", "reference"):
            size = averages.size(getattr(averages.columns, name))
            if not (size == 0 or _SMALLEST < size < _LARGEST):
                raise ValueError(
                    f"{name}: largest root mean square {size:.3g}; must be 0, or lie between "
                    f"{_SMALLEST:g} and {_LARGEST:g}: scale them"
                )
        return averages

    def variance(self, part: slice) -> Tensor:
        return self.about.diagonal()[part] - self.offset(part).square()

    def is_constant(self, part: slice, epsilon: float) -> bool:
        """Whether no coordinate varies by more than what rounding makes of a constant."""
        allowed = 7 * epsilon**2 * self.mean(part).square()
        return bool((self.variance(part) <= allowed).all())

    @classmethod
    def from_sum(cls, gram: Tensor, origin: Tensor, columns: Columns) -> Averages:
        """From Σ (z − origin)(z − origin)ᵀ, which it divides in place."""
        n = float(gram[0, 0])
        return cls(n, origin, gram.div_(n), columns)

    def size(self, part: slice) -> float:
        """The largest root mean square of a coordinate; not finite where the squares overflow."""
        # The hypotenuse: the square of a tiny mean is 0, but the mean is not.
        sizes = torch.hypot(self.variance(part).clamp(min=0).sqrt(), self.mean(part))
        return float(sizes.max()) if len(sizes) else 0.0

    def offset(self, part: slice) -> Tensor:
        """E[z] − origin."""
        return self.about[part, 0]

    def mean(self, part: slice) -> Tensor:
        return self.origin[part] + self.offset(part)

    def covariance(self, a: slice, b: slice) -> Tensor:
        return torch.addr(self.about[a, b], self.offset(a), self.offset(b), alpha=-1)

    def second(self, a: slice, b: slice) -> Tensor:
        """E[u vᵀ], not centred."""
        return self.covariance(a, b).addr_(self.mean(a), self.mean(b))

    def square_about_mean(self, square: int, part: slice) -> Tensor:
        """Coefficients, shape (d,), of the squared norm of `part` about its mean, linear in z."""
        functional = torch.zeros_like(self.origin)
        functional[square] = 1
        functional[part] = -2 * self.offset(part)
        functional[0] = self.offset(part).square().sum()
        return functional

    def inner_product(self, a: slice, b: slice) -> float:
        """‖Cov(u, v)‖²_F, without forming the covariance."""
        place = a.start, a.stop, b.start, b.stop
        if place not in self._products:
            self._products[place] = self._inner_product(a, b)
        return self._products[place]

    def _inner_product(self, a: slice, b: slice) -> float:
        about, x, y = self.about[a, b], self.offset(a), self.offset(b)
        sides = about.square().sum() + x.square().sum() * y.square().sum()
        return max(float(sides - 2 * (x @ about @ y)), 0.0)


@dataclass(frozen=True)
class Span:
    """An orthonormal basis q = mapᵀ u of the span of functions u(x), and what it makes of Φ."""

    map: Tensor  # (number of functions, rank)
    mean: Tensor  # (rank,) E[q]
    covariance: Tensor  # (rank, rank)
    variation: float  # of the functions, Σ Var u / Σ E u²
    cross: Tensor  # (rank, p) E[q Φᵀ]
    cross_centred: Tensor  # (rank, p) E[q (Φ − E Φ)ᵀ]

    @property
    def rank(self) -> int:
        return self.map.shape[1]

    def is_constant(self, epsilon: float) -> bool:
        """Whether the functions vary by no more than what rounding makes of a constant."""
        return self.variation <= 7 * epsilon**2

    @classmethod
    def of(
        cls, averages: Averages, part: slice, tolerance: float, beside: slice | None = None
    ) -> Span:
        """The span of the functions in `part`, rounded as those in `beside` that hold them are."""
        features = averages.columns.features
        gram = averages.second(part, part)
        basis = normalised(gram, tolerance)
        centred = basis.T @ averages.covariance(part, features)
        mean = basis.T @ averages.mean(part)
        covariance = basis.T @ averages.covariance(part, part) @ basis
        cross = centred + torch.outer(mean, averages.mean(features))
        whole = part if beside is None else beside
        size = averages.variance(whole).sum() + averages.mean(whole).square().sum()
        variation = float(averages.variance(part).sum() / size.clamp(min=_SMALLEST**2))
        return cls(basis, mean, covariance, variation, cross, centred)


def counted(values: Tensor, tolerance: float) -> Tensor:
    """Which squared singular values, ascending, count for the rank; rounding never does."""
    return (values > max(tolerance**2, len(values) * EPS) * values[-1]) & (values > 0)


def normalised(gram: Tensor, tolerance: float) -> Tensor:
    """Coefficients, shape (m, rank), that make orthonormal what has this Gram matrix, (m, m)."""
    values, vectors = torch.linalg.eigh((gram + gram.T) / 2)
    first = len(values) - int(counted(values, tolerance).sum())  # ascending: the last ones count
    basis: Tensor = vectors[:, first:] / values[first:].sqrt()
    return basis


@dataclass(frozen=True)
class ClassMeans:
    """What NC1 and debiasing need of the class means μ_c about the global mean."""

    present: Tensor  # of int64, (K,), the classes that have samples
    share: Tensor  # (K,) of the samples
    means: Tensor  # (p, K) μ_c
    gram: Tensor  # (K, K) μ_cᵀ μ_c'
    image: Tensor  # (p, K) Cov(Φ) μ_c
    covariance: Tensor  # (K, K) μ_cᵀ Cov(Φ) μ_c'
    variance: Tensor  # () tr Cov(Φ)

    @classmethod
    def of(cls, averages: Averages, coding: Coding) -> ClassMeans:
        """Of classes that `coding` names one by one in the rows of targets."""
        columns, step = averages.columns, coding.high - coding.low
        share = (averages.mean(columns.targets) - coding.low) / step
        present = (share > 0.5 / averages.n).nonzero()[:, 0]  # read once: a GPU waits for it
        means = averages.covariance(columns.features, columns.targets)[:, present] / step
        means /= share[present]
        offset = averages.offset(columns.features)
        about = averages.about[columns.features, columns.features]
        image = about @ means - torch.outer(offset, offset @ means)
        variance = about.trace() - offset.square().sum()
        gram, covariance = means.T @ means, means.T @ image
        return cls(present, share[present], means, gram, image, covariance, variance)

    def share_within(self, averages: Averages, directions: Tensor) -> float:
        """Share of Φ's variance within classes in the span of `directions`, shape (r, p)."""
        features = averages.columns.features
        axes = normalised(directions @ directions.T, 1e-5).T @ directions
        image = axes @ averages.about[features, features]
        total = (image * axes).sum() - (axes @ averages.offset(features)).square().sum()
        within = ((axes @ self.means).square() @ self.share).sum()
        square, between = torch.stack([total, within]).tolist()
        return min(max(1 - between / square, 0.0), 1.0) if square > 0 else 1.0

    def are_equal(self, n: float) -> bool:
        """Whether the counts are the same."""
        return float(self.share.max() - self.share.min()) * n < 0.5

    def is_balanced(self, n: float) -> bool:
        """Whether the counts differ by at most one sample, as drawn class by class."""
        return is_balanced((self.share * n).cpu().numpy())

    def nc1(self, tolerance: float) -> float:
        """tr(Σ_W Σ_B⁺), NaN below two distinct class means.

        Σ_B = μ μᵀ / K with the K class means as columns. By their singular vectors: those of the
        K × K side would have half the digits, which one outlier takes.
        """
        frame, corner = torch.linalg.qr(self.means)  # the SVD of a tall matrix is far slower
        inner, sizes, mix = torch.linalg.svd(corner, full_matrices=False)
        # Means that differ by little more than the features' rounding do not differ.
        least = 1e-12 * self.variance.clamp(min=0).sqrt()
        rank = int((counted(sizes.square().flip(0), tolerance).flip(0) & (sizes > least)).sum())
        count = len(self.share)
        if count < 2 or not rank:
            return math.nan
        axes, sizes = frame @ inner[:, :rank], sizes[:rank]
        total = (axes * (self.image @ (mix[:rank].T / sizes))).sum(0)
        within = total - (axes.T @ self.means).square() @ self.share
        return max(float((within / sizes.square()).sum()) * count, 0.0)
