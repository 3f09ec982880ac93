"""Neural collapse in class means, outputs and variances: NC1 to NC3 and CDNV, from moments."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from fswidget.analysis.averages import Averages, ClassMeans, Scatter, applied, counted, squared
from fswidget.analysis.eigensolvers import eigh_small
from fswidget.analysis.gram import householder
from fswidget.analysis.targets import Coding

COLLAPSE = ("nc1", "nc2", "nc3", "cdnv")


def neural_collapse(
    averages: Averages,
    classes: ClassMeans,
    coding: Coding,
    tolerance: float,
    *,
    common_shift: bool,
) -> dict[str, Tensor]:
    """How far K classes are from neural collapse; every number is 0 there, NaN below two classes.

    A class of one sample does not tell its variance: NC1 is NaN where all are such, CDNV where one
    is.

    Parameters
    ----------
    averages : Averages
        Of samples whose targets name classes one by one.
    common_shift : bool
        Whether a common shift of the outputs changes nothing.

    Returns
    -------
    nc1 : Tensor, shape (…)
        tr(Σ_W Σ_B⁺), 0 to ∞ (Papyan et al. 2020, not divided by C).
    nc2 : Tensor, shape (…)
        ‖G/‖G‖_F − H/√(K−1)‖_F, 0 to √2, with G = MᵀM for the class means M less their mean and
        H = I − 11ᵀ/K: whether the means form a simplex of equal sides (Zhu et al. 2021, of features
        in place of weights). Always 0 for two classes.
    nc3 : Tensor, shape (…)
        ‖A/‖A‖_F − H/√(K−1)‖_F, 0 to 2, with A = W M, the mean outputs of the classes less their
        mean: whether each class's weights point along its mean (Zhu et al. 2021). For
        cross-entropy less the common shift of the logits too. NaN unless each output has a class
        that is there.
    cdnv : Tensor, shape (…)
        Mean over pairs of classes of (σ_c² + σ_c'²) / (2 ‖μ_c − μ_c'‖²), 0 to ∞, with
        σ_c² = E[‖Φ − μ_c‖² | c] (Galanti et al. 2022).
    nc1_of_means : Tensor, shape (…)
        NC1 less what sampling adds to the class means (our choice; see `_Directions`).
    noise_directions : Tensor, shape (…)
        How many directions the noise within classes has, (tr Σ_W)² / ‖Σ_W‖².
    """
    step, columns = coding.high - coding.low, averages.columns
    there = classes.present.to(averages.about)
    per_class = torch.where(classes.present, 1 / (classes.share * step), 0.0)
    square = averages.square_about_mean(columns.square, columns.features)[..., None, :]
    squares = (square @ averages.about[..., columns.targets])[..., 0, :]
    squares = squares - coding.low * (square @ averages.about[..., :1])[..., 0]
    sizes = classes.gram.diagonal(dim1=-2, dim2=-1)
    variances = (squares * per_class - sizes).clamp(min=0)
    outputs = averages.covariance(columns.outputs, columns.targets) * per_class[..., None, :]
    scatter = _scatter(averages, classes)
    directions = _Directions.of(classes, averages.n, scatter, tolerance)
    found = (
        directions.nc1(),
        _from_simplex(_centred(_centred(classes.gram, there).mT, there), there),
        _duality(outputs, there, common_shift),
        _cdnv(classes.gram, variances, there),
    )
    alone = classes.present & (classes.share * averages.n[..., None] < 1.5)
    found = (*found[:3], torch.where(alone.any(-1), math.nan, found[3]))
    several = classes.count > 1
    aside = {
        "nc1_of_means": directions.nc1_of_means(),
        "noise_directions": scatter.trace.square() / scatter.square.clamp(min=0),
    }
    return aside | {
        name: torch.where(several, value, math.nan)
        for name, value in zip(COLLAPSE, found, strict=True)
    }


def class_signal(averages: Averages, classes: ClassMeans, tolerance: float) -> Tensor:
    """The weakest direction between the class means in standard deviations of what sampling adds
    to it, shape (…); −∞ to ∞. Our choice."""
    found = _Directions.of(classes, averages.n, _scatter(averages, classes), tolerance)
    values, vectors = eigh_small(found.left)
    weakest, noise = vectors[..., 0], (found.noise @ vectors[..., :1])[..., 0]
    own = (weakest * noise).sum(-1)
    moved = (weakest * applied(weakest, found.within)).sum(-1).clamp(min=0)
    return values[..., 0] / (4 * moved * own + 2 * found.size * own.square()).sqrt()


def _scatter(averages: Averages, classes: ClassMeans) -> Scatter:
    features = averages.columns.features
    return classes.scatter(averages.n, averages.inner_product(features, features))


@dataclass(frozen=True)
class _Directions:
    """The class means M by their singular vectors, each direction of length 1; r of them.

    Σ_B = M Mᵀ / K with the K class means as columns: NC1 = K tr(A G⁺²) of G = MᵀM and
    A = Mᵀ Σ_W M. Means of n_c samples add N = diag(1/n_c) − 11ᵀ/n times tr Σ_W to G and times
    ‖Σ_W‖² to A, since their noise has as many directions as the features; that is taken away. By
    the singular vectors of M: those of the K × K side would have half the digits, which one outlier
    takes.
    """

    count: Tensor  # (…) classes
    enough: Tensor  # (…) whether one of them has several samples
    kept: Tensor  # (…, r) directions in which the means differ
    square: Tensor  # (…, r) one over the square of each one's length
    raw: Tensor  # (…, r) the diagonal of A
    within: Tensor  # (…, r, r) A without what sampling adds
    noise: Tensor  # (…, r, r) N
    left: Tensor  # (…, r, r) G without what sampling adds
    size: Tensor  # (…) ‖Σ_W‖²

    @classmethod
    def of(cls, classes: ClassMeans, n: Tensor, scatter: Scatter, tolerance: float) -> _Directions:
        frame, corner = torch.linalg.qr(classes.means)  # the SVD of a tall matrix is far slower
        inner, sizes, mix = torch.linalg.svd(corner, full_matrices=False)
        # Means that differ by little more than the features' rounding do not differ.
        least = 1e-12 * classes.variance.clamp(min=0).sqrt()[..., None]
        kept = counted(sizes.square().flip(-1), tolerance).flip(-1) & (sizes > least)
        scale = torch.where(kept, 1 / sizes, 0.0)
        axes = frame @ inner
        along = axes.mT @ classes.means
        within = axes.mT @ (classes.image @ (mix.mT * scale[..., None, :]))
        within = within - along @ (classes.share[..., None] * along.mT)

        enough = n > classes.count  # else nothing is within classes, and nothing is taken away
        spread = torch.where(enough, scatter.trace, 0.0)[..., None, None]
        size = torch.where(enough, scatter.square.clamp(min=0), 0.0)
        per_class = torch.where(classes.present, 1 / classes.share, 0.0)
        turned = scale[..., :, None] * mix
        common = applied(classes.present.to(n), turned.mT)
        noise = turned @ (per_class[..., None] * turned.mT)
        noise = (noise - common[..., :, None] * common[..., None, :]) / n[..., None, None]
        grown = within * torch.where(enough, n / (n - classes.count), 1.0)[..., None, None]
        return cls(
            classes.count,
            enough,
            kept,
            scale.square(),
            within.diagonal(dim1=-2, dim2=-1),
            grown - size[..., None, None] * noise,
            noise,
            torch.diag_embed(torch.ones_like(scale)) - spread * noise,
            size,
        )

    def nc1(self) -> Tensor:
        """tr(Σ_W Σ_B⁺), NaN below two distinct class means, and with one sample of each."""
        return self._known((self.raw * self.square).sum(-1).clamp(min=0))

    def nc1_of_means(self) -> Tensor:
        """The same less what sampling adds to the class means; may fall below 0."""
        inverse, _ = torch.linalg.inv_ex(self.left)  # a GPU is not asked whether there is one
        within = inverse @ self.within @ inverse
        return self._known((within.diagonal(dim1=-2, dim2=-1) * self.square).sum(-1))

    def _known(self, found: Tensor) -> Tensor:
        known = (self.count > 1) & self.enough & self.kept.any(-1)
        return torch.where(known, found * self.count, math.nan)


def _centred(columns: Tensor, there: Tensor) -> Tensor:
    """Columns of the classes that are there less their mean; 0 of the others."""
    mean = (columns @ there[..., None]) / there.sum(-1)[..., None, None]
    return (columns - mean) * there[..., None, :]


def _from_simplex(matrix: Tensor, there: Tensor) -> Tensor:
    """How far a matrix over classes is from a multiple, above 0, of I − 11ᵀ/K."""
    count = there.sum(-1)[..., None, None]
    simplex = torch.diag_embed(there) - there[..., :, None] * there[..., None, :] / count
    size = squared(matrix).sqrt()
    apart = matrix / size[..., None, None] - simplex / (count - 1).sqrt()
    return torch.where(size > 0, squared(apart).sqrt(), math.nan)


def _duality(outputs: Tensor, there: Tensor, common_shift: bool) -> Tensor:
    """NC3 of the mean outputs of the classes, shape (…, C, T), on the axes of the moments."""
    if outputs.shape[-2] != outputs.shape[-1]:
        return torch.full_like(there[..., 0], math.nan)
    matrix = _centred(householder(outputs), there)
    matrix = _centred(matrix.mT, there) if common_shift else matrix
    return torch.where(there.all(-1), _from_simplex(matrix, there), math.nan)


def _cdnv(gram: Tensor, variances: Tensor, there: Tensor) -> Tensor:
    size = gram.diagonal(dim1=-2, dim2=-1)
    both = size[..., :, None] + size[..., None, :]
    apart, spread = both - 2 * gram, variances[..., :, None] + variances[..., None, :]
    pairs = ((there[..., :, None] * there[..., None, :]) > 0).triu(1)
    # As for NC1: means that differ by little more than rounding do not differ.
    told = (apart > 1e-13 * both) & (apart > 1e-24 * spread) | ~pairs
    mean = torch.where(pairs, spread / (2 * apart), 0.0).sum((-2, -1)) / pairs.sum((-2, -1))
    return torch.where(told.flatten(-2).all(-1), mean, math.nan)
