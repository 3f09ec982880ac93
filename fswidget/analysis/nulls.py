"""What the measures would be if nothing about the features served the outputs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from fswidget.analysis.arrays import Array
from fswidget.analysis.measures import USED, first_at

# Of 20 j − 1 draws the j-th smallest has 5% below it, whatever the distribution.
_DRAWS, _LEAST, _BUDGET = 399, 59, 1_000_000  # at most, at least, and numbers drawn
_FEW = 128  # up to so many output functions are drawn; of more, the normal limit holds


@dataclass(frozen=True)
class Features:
    """What the bands need of the features: eigenvalues ρ, means E e_k, and ‖Cov Φ‖_F."""

    values: Array
    means: Array
    norm: float


@dataclass(frozen=True)
class Band:
    """Where random heads on the same features stand.

    Parameters
    ----------
    used_features : float
        k95, the mean over heads.
    low_rank_measure, low_rank_measure_low : float
        Plain D_LR, its median, and what one head in twenty stays below.
    """

    used_features: float = math.nan
    low_rank_measure: float = math.nan
    low_rank_measure_low: float = math.nan


UNKNOWN = Band()


def random_heads(features: Features, rank: int) -> Band:
    """The band of outputs W Φ of random normal W, which have rank `rank`, on these very features.

    Up to 128 functions by 399 draws (fewer, 59 at least, where rank times features exceeds 2,500),
    the same for all spectra; beyond, by the deterministic equivalent ‖P_Ĥ e_k‖² ≈ ρ_k / (ρ_k + κ)
    with Σ_k ρ_k / (ρ_k + κ) = rank, and the derivative of the log-determinant's variance,
    −2 log(1 − Σ_k p_k² / rank). A random head's D_LR is below the low end with probability 5%; on
    given features 5 ± 1.1% (one standard deviation) with 399 draws, ± 2.8% with 59. Our choice.
    """
    count = len(features.values)
    if not 0 < rank <= count or not features.norm > 0:
        return Band()
    if rank == count:
        return _of_span(features, np.eye(count))
    return _drawn(features, rank) if rank <= _FEW else _limit(features, rank)


def _of_span(features: Features, basis: Array) -> Band:
    """Of the functions whose coefficients are the orthonormal rows of `basis`, shape (rank, K)."""
    measure = float(_low_rank(features, basis[None])[0])
    shares = np.cumsum((basis**2).sum(0)) / len(basis)
    return Band(float(first_at(shares, len(features.values))), measure, measure)


def _low_rank(features: Features, heads: Array) -> Array:
    """Plain D_LR of the spans of functions whose coefficients are (draws, rank, K); NaN of
    functions that are constant."""
    values, means = features.values, features.means
    lower = np.linalg.cholesky(heads @ heads.transpose(0, 2, 1))
    scaled = heads * np.sqrt(values)
    half = np.linalg.solve(lower, scaled @ scaled.transpose(0, 2, 1))
    inner = np.linalg.solve(lower, half.transpose(0, 2, 1))
    mean, image = (
        np.linalg.solve(lower, heads @ v[:, None])[..., 0] for v in (means, values * means)
    )
    square = (mean**2).sum(-1)
    cross = np.trace(inner, axis1=-2, axis2=-1) - 2 * (mean * image).sum(-1)
    cross += square * (means**2 * values).sum()
    span = heads.shape[-2] - 1 + (1 - np.minimum(square, 1)) ** 2
    # Where all but the constant is rounded away, as by an offset of 1e8, the functions have none.
    varying = span > 1e-12
    scale = np.sqrt(np.where(varying, span, 1)) * features.norm
    return np.asarray(np.where(varying, 1 - cross / scale, math.nan))


@lru_cache(maxsize=2)
def _normals(draws: int, rank: int, count: int) -> Array:
    return np.random.default_rng(20241004).normal(size=(draws, rank, count))


def _drawn(features: Features, rank: int) -> Band:
    values = features.values
    affordable = 20 * (_BUDGET // (20 * rank * len(values))) - 1
    draws = max(_LEAST, min(_DRAWS, affordable))
    heads = _normals(draws, rank, len(values)) * np.sqrt(values / values[0])
    try:
        measures = _low_rank(features, heads)
    except np.linalg.LinAlgError:  # eigenvalues too unequal for the Gram matrix
        heads = np.linalg.qr(heads.transpose(0, 2, 1))[0].transpose(0, 2, 1)
        measures = _low_rank(features, heads)
    measures = np.sort(measures[~np.isnan(measures)])
    few = heads[:_LEAST]  # enough for a mean
    basis = np.linalg.solve(np.linalg.cholesky(few @ few.transpose(0, 2, 1)), few)
    shares = np.cumsum((basis**2).sum(1), 1) / rank
    used = (shares < USED - 1e-12).sum(1) + 1
    if len(measures) < _LEAST:
        return Band(float(used.mean()))
    low = measures[(len(measures) + 1) // 20 - 1]
    return Band(float(used.mean()), float(np.median(measures)), float(low))


def _limit(features: Features, rank: int) -> Band:
    values, means = features.values, features.means
    low, high = float(values[-1]) * 1e-12, float(values.sum()) * 1e3
    for _ in range(100):
        middle = math.sqrt(low * high)
        above = (values / (values + middle)).sum() > rank
        low, high = (middle, high) if above else (low, middle)
    shares = values / (values + low)
    # Of ‖Cov(q, Φ)‖² for the eigenfunction e_k, once the means are taken off.
    weight = values - 2 * means**2 * values + means**2 * (means**2 * values).sum()
    constant = min(float((shares * means**2).sum()), 1.0)
    scale = math.sqrt(rank - 1 + (1 - constant) ** 2) * features.norm
    measure = 1 - float((shares * weight).sum()) / scale
    free = shares * (1 - shares)
    slope = free * (weight - (free * weight).sum() / max(free.sum(), 1e-300))
    inner = float((shares**2).sum()) / rank
    variance = (slope**2).sum() / rank / (1 - inner)
    variance += ((shares * slope).sum() / rank / (1 - inner)) ** 2
    spread = math.sqrt(2 * float(variance)) / scale
    used = float(first_at(np.cumsum(shares) / rank, len(values)))
    return Band(used, float(measure), float(measure) - 1.645 * spread)


def lazy_twin(features: Features, coefficients: Array) -> Band:
    """k95 and D_LR of the least-squares head for the targets, on features that do not move.

    Parameters
    ----------
    coefficients : ndarray, shape (rank, K)
        Of the target functions in the eigenfunctions.
    """
    values, vectors = np.linalg.eigh(coefficients @ coefficients.T)
    keep = values > 1e-10 * values.max(initial=0)
    if not keep.any() or not features.norm > 0:
        return Band()
    return _of_span(features, (vectors[:, keep] / np.sqrt(values[keep])).T @ coefficients)
