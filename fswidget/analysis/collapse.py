"""Neural collapse in class means, outputs and variances: NC1 to NC3 and CDNV, from moments."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fswidget.analysis.averages import Averages, ClassMeans, squared
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
    class_signal : Tensor, shape (…)
        Square of the weakest direction between the class means over what sampling adds to each,
        0 to ∞: where it is 1 or less, the samples do not tell NC1 (our choice).
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
    nc1, signal = classes.nc1(tolerance)
    found = (
        nc1,
        _from_simplex(_centred(_centred(classes.gram, there).mT, there), there),
        _duality(outputs, there, common_shift),
        _cdnv(classes.gram, variances, there),
    )
    several = classes.count > 1
    return {"class_signal": signal} | {
        name: torch.where(several, value, math.nan)
        for name, value in zip(COLLAPSE, found, strict=True)
    }


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
