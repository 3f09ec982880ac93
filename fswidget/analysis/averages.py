"""Sample averages, and what they say of the spans of functions and of the class means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from fswidget.analysis.arrays import Array, to_numpy
from fswidget.analysis.eigensolvers import EPS, eigh_small
from fswidget.analysis.gram import Columns
from fswidget.analysis.moments import Moments
from fswidget.analysis.targets import Coding

# Of what is measured: fourth powers must lie within float64, with room for sums (our choice).
_SMALLEST, _LARGEST = 1e-70, 1e70


@dataclass(frozen=True)
class Averages:
    """Averages of z zᵀ over samples: raw second moments and covariances of its parts.

    Of one set of samples or, with leading dimensions, of several, measured all at once. Nothing
    here is read: a GPU would wait.

    Parameters
    ----------
    n : Tensor, shape (…)
        Samples.
    origin : Tensor, shape (d,)
        What was subtracted from each sample.
    about : Tensor, shape (…, d, d)
        E[(z − origin)(z − origin)ᵀ]; only slices of it are ever copied.
    """

    n: Tensor
    origin: Tensor
    about: Tensor
    columns: Columns
    _products: dict[tuple[int, int, int, int], Tensor] = field(default_factory=dict, repr=False)

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
        columns = averages.columns
        parts = {name: getattr(columns, name) for name in _PARTS}
        given = {name: averages.size(part) for name, part in parts.items() if _length(part)}
        for name, size in zip(given, torch.stack(list(given.values())).tolist(), strict=True):
            if not (size == 0 or _SMALLEST < size < _LARGEST):
                raise ValueError(
                    f"{name}: largest root mean square {size:.3g}; must be 0, or lie between "
                    f"{_SMALLEST:g} and {_LARGEST:g}: scale them"
                )
        return averages

    def variance(self, part: slice) -> Tensor:
        return self.about.diagonal(dim1=-2, dim2=-1)[..., part] - self.offset(part).square()

    def is_constant(self, part: slice, epsilon: float) -> Tensor:
        """Whether no coordinate varies by more than what rounding makes of a constant."""
        allowed = 7 * epsilon**2 * self.mean(part).square()
        return (self.variance(part) <= allowed).all(-1)

    @classmethod
    def from_sum(cls, gram: Tensor, origin: Tensor, columns: Columns) -> Averages:
        """From Σ (z − origin)(z − origin)ᵀ, which it divides in place."""
        n = gram[..., 0, 0].clone()
        return cls(n, origin, gram.div_(n[..., None, None]), columns)

    def of_sets(self, place: int | slice) -> Averages:
        """One of several sets, or some."""
        return Averages(self.n[place], self.origin, self.about[place], self.columns)

    def size(self, part: slice) -> Tensor:
        """The largest root mean square of a coordinate; not finite where the squares overflow."""
        # The hypotenuse: the square of a tiny mean is 0, but the mean is not.
        return torch.hypot(self.variance(part).clamp(min=0).sqrt(), self.mean(part)).amax(-1)

    def are_labels(self, part: slice) -> bool:
        """Whether functions from 0 to 1 are nothing between: their squares have the same means."""
        square, mean = self.variance(part) + self.mean(part).square(), self.mean(part)
        return bool(((square - mean).abs() <= 1e-12).all())

    def offset(self, part: slice) -> Tensor:
        """E[z] − origin."""
        return self.about[..., part, 0]

    def mean(self, part: slice) -> Tensor:
        return self.origin[part] + self.offset(part)

    def covariance(self, a: slice, b: slice) -> Tensor:
        u, v = self.offset(a)[..., :, None], self.offset(b)[..., None, :]
        return torch.addcmul(self.about[..., a, b], u, v, value=-1)

    def second(self, a: slice, b: slice) -> Tensor:
        """E[u vᵀ], not centred."""
        u, v = self.mean(a)[..., :, None], self.mean(b)[..., None, :]
        return self.covariance(a, b).addcmul_(u, v)

    def square_about_mean(self, square: int, part: slice) -> Tensor:
        """Coefficients, shape (…, d), of the squared norm of `part` about its mean, linear in z."""
        offset = self.offset(part)
        functional = self.about.new_zeros(self.about.shape[:-1])
        functional[..., square] = 1
        functional[..., part] = -2 * offset
        functional[..., 0] = offset.square().sum(-1)
        return functional

    def inner_product(self, a: slice, b: slice) -> Tensor:
        """‖Cov(u, v)‖²_F, without forming the covariance."""
        place = a.start, a.stop, b.start, b.stop
        if place not in self._products:
            self._products[place] = self._inner_product(a, b)
        return self._products[place]

    def _inner_product(self, a: slice, b: slice) -> Tensor:
        about, x, y = self.about[..., a, b], self.offset(a), self.offset(b)
        sides = squared(about) + x.square().sum(-1) * y.square().sum(-1)
        return (sides - 2 * (applied(x, about) * y).sum(-1)).clamp(min=0)


_PARTS = ("features", "outputs", "targets", "reference")


def _length(part: slice) -> int:
    return int(part.stop - part.start)


def applied(vectors: Tensor, matrices: Tensor) -> Tensor:
    """vᵀ M, shape (…, b), of vectors (…, a) and matrices (…, a, b): from this side it is faster."""
    return (vectors[..., None, :] @ matrices)[..., 0, :]


def squared(values: Tensor) -> Tensor:
    """Σ of the squares of matrices, shape (…, a, b)."""
    norm: Tensor = torch.linalg.vector_norm(values, dim=(-2, -1))  # makes no copy of them
    return norm.square()


@dataclass(frozen=True)
class Span:
    """An orthonormal basis q = mapᵀ u of the span of m functions u(x), and what it makes of Φ.

    Columns that count for no direction are 0, and come first.
    """

    map: Tensor  # (…, m, m)
    rank: Tensor  # (…) how many columns count
    mean: Tensor  # (…, m) E[q]
    covariance: Tensor  # (…, m, m)
    variation: Tensor  # (…) of the functions, Σ Var u / Σ E u²
    cross: Tensor  # (…, m, p) E[q Φᵀ]
    cross_centred: Tensor  # (…, m, p) E[q (Φ − E Φ)ᵀ]

    def is_constant(self, epsilon: float) -> Tensor:
        """Whether the functions vary by no more than what rounding makes of a constant."""
        return self.variation <= 7 * epsilon**2

    @classmethod
    def of(
        cls, averages: Averages, part: slice, tolerance: float, beside: slice | None = None
    ) -> Span:
        """The span of the functions in `part`, rounded as those in `beside` that hold them are."""
        basis, rank = normalised(averages.second(part, part), tolerance)
        return cls._along(averages, part, basis, rank, lambda rows: basis.mT @ rows, beside)

    @classmethod
    def of_outputs(cls, averages: Averages, task: str, tolerance: float) -> Span:
        """Ĥ, the span of the outputs."""
        columns = averages.columns
        return cls.of(averages, columns.counting(task), tolerance, beside=columns.outputs)

    @classmethod
    def of_labels(cls, averages: Averages, part: slice, tolerance: float) -> Span:
        """The same of functions that are 1 for one class each and 0 for the others: orthogonal as
        they are, so that thousands of classes need no eigenvectors."""
        values, order = averages.mean(part).sort(-1)
        kept = counted(values, tolerance)
        root = inverse_root(values, kept)
        places = order[..., None, :]
        basis = torch.zeros_like(torch.diag_embed(root)).scatter_(-2, places, root[..., None, :])

        def turned(rows: Tensor) -> Tensor:
            return torch.take_along_dim(rows, order[..., :, None], -2).mul_(root[..., :, None])

        return cls._along(averages, part, basis, kept.sum(-1), turned)

    @classmethod
    def _along(
        cls,
        averages: Averages,
        part: slice,
        basis: Tensor,
        rank: Tensor,
        turned: Callable[[Tensor], Tensor],
        beside: slice | None = None,
    ) -> Span:
        features = averages.columns.features
        centred = turned(averages.covariance(part, features))
        mean = applied(averages.mean(part), basis)
        covariance = turned(turned(averages.covariance(part, part)).mT)
        cross = centred + mean[..., :, None] * averages.mean(features)[..., None, :]
        whole = part if beside is None else beside
        size = averages.variance(whole).sum(-1) + averages.mean(whole).square().sum(-1)
        variation = averages.variance(part).sum(-1) / size.clamp(min=_SMALLEST**2)
        return cls(basis, rank, mean, covariance, variation, cross, centred)


def counted(values: Tensor, tolerance: float) -> Tensor:
    """Which squared singular values, ascending, count for the rank; rounding never does."""
    least = max(tolerance**2, values.shape[-1] * EPS) * values[..., -1:]
    return (values > least) & (values > 0)


def normalised(gram: Tensor, tolerance: float) -> tuple[Tensor, Tensor]:
    """Coefficients, shape (…, m, m), that make orthonormal what has this Gram matrix, and its rank.

    Columns that do not count are 0, and come first.
    """
    values, vectors = eigh_small((gram + gram.mT) / 2)
    kept = counted(values, tolerance)
    return vectors * inverse_root(values, kept)[..., None, :], kept.sum(-1)


def inverse_root(values: Tensor, kept: Tensor) -> Tensor:
    """values^-½ of those kept, 0 of the others."""
    return torch.where(kept, torch.where(kept, values, 1.0).rsqrt(), 0.0)


class Scatter(NamedTuple):
    """Of one covariance Σ_W within all classes, each of shape (…)."""

    trace: Tensor
    square: Tensor  # ‖Σ_W‖²
    between: Tensor  # ⟨Cov Φ, Σ_B⟩, as it is of the samples


@dataclass(frozen=True)
class ClassMeans:
    """What NC1 and debiasing need of the class means μ_c about the global mean; 0 where absent."""

    present: Tensor  # of bool, (…, T), the classes that have samples
    count: Tensor  # (…) K of them
    share: Tensor  # (…, T) of the samples
    means: Tensor  # (…, p, T) μ_c
    gram: Tensor  # (…, T, T) μ_cᵀ μ_c'
    image: Tensor  # (…, p, T) Cov(Φ) μ_c
    covariance: Tensor  # (…, T, T) μ_cᵀ Cov(Φ) μ_c'
    variance: Tensor  # (…) tr Cov(Φ)
    within: Tensor  # (…) share of Φ's variance in some directions that is within classes

    @classmethod
    def of(cls, averages: Averages, coding: Coding, directions: Tensor) -> ClassMeans:
        """Of classes that `coding` names one by one in the rows of targets, and in the span of
        `directions`, shape (…, r, p)."""
        columns, step = averages.columns, coding.high - coding.low
        share = (averages.mean(columns.targets) - coding.low) / step
        present = share > 0.5 / averages.n[..., None]
        share = torch.where(present, share, 0.0)
        means = averages.covariance(columns.features, columns.targets) / step
        means = means * torch.where(present, 1 / share, 0.0)[..., None, :]
        offset = averages.offset(columns.features)
        axes = normalised(directions @ directions.mT, 1e-5)[0].mT @ directions
        rows = torch.cat([means.mT, axes], -2)
        # At once: what takes time is to go over the matrix.
        image = rows @ averages.about[..., columns.features, columns.features]
        image -= (rows @ offset[..., None]) * offset[..., None, :]
        image, turned = image[..., : means.shape[-1], :].mT, image[..., means.shape[-1] :, :]
        total = (turned * axes).sum((-2, -1))
        between = applied(share, (axes @ means).square().mT).sum(-1)
        gram, count = means.mT @ means, present.sum(-1)
        return cls(
            present,
            count,
            share,
            means,
            gram,
            image,
            means.mT @ image,
            averages.variance(columns.features).sum(-1),
            torch.where(total > 0, (1 - between / total).clamp(0, 1), 1.0),
        )

    def counts(self, n: Tensor) -> Array:
        """Samples of each class, shape (T,), of one set of samples."""
        return to_numpy(self.share * n)

    def scatter(self, n: Tensor, norm: Tensor) -> Scatter:
        """Of n samples whose ‖Cov Φ‖² is `norm`, without the bias that normal classes give it."""
        total = (self.share * self.covariance.diagonal(dim1=-2, dim2=-1)).sum(-1)
        square = (applied(self.share, self.gram.square()) * self.share).sum(-1)  # ‖Σ_B‖²
        between = (self.share * self.gram.diagonal(dim1=-2, dim2=-1)).sum(-1)
        left = n - self.count
        trace = (self.variance - between).clamp(min=0) * n / left
        within = (norm - 2 * total + square).clamp(min=0) * (n / left) ** 2
        return Scatter(trace, within - trace**2 / left, total)
