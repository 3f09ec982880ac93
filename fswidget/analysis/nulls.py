"""What the measures would be if nothing about the features served the outputs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from fswidget.analysis.arrays import Array
from fswidget.analysis.measures import USED, first_at

# Of 20 j − 1 draws the j-th smallest has 5% below it on the mean, whatever the distribution.
_DRAWS, _LEAST, _BUDGET = 1499, 59, 2_000_000  # at most, at least, and numbers drawn
_FEW = 12  # up to so many output functions are drawn; of more, the normal limit holds
_AT_ONCE = 100_000  # numbers, which a core's cache holds
_SPARE = 8  # degrees of freedom beyond the rank that a block of weak features must have


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

    Up to 12 functions by 1,499 draws, the same for all spectra, in which blocks of weak features
    stand for their sum (`_compressed`); by fewer where that takes over 2 million numbers. Beyond,
    by the deterministic equivalent ‖P_Ĥ e_k‖² ≈ p_k = ρ_k / (ρ_k + κ) with Σ_k p_k = rank, its
    correction w_k (Σ_j w_j p_j − p_k) with w_k ∝ p_k (1 − p_k), which the normal distribution's
    fourth moment makes and which is as large as the spread at any rank, and the derivative of the
    log-determinant's variance, −2 log(1 − Σ_k p_k² / rank). A random head's D_LR is below the low
    end with probability 5%; on given features 5 ± 0.4% (one standard deviation) with 1,499 draws,
    which independent ones would need 3,000 for. Our choice.
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
    values, means, bases = features.values, features.means, _orthonormal(heads)
    mean, image = np.moveaxis(bases @ np.stack([means, values * means], 1), -1, 0)
    square = (mean**2).sum(-1)
    cross = np.einsum("drk,drk->dk", bases, bases) @ values - 2 * (mean * image).sum(-1)
    cross += square * (means**2 * values).sum()
    span = bases.shape[-2] - 1 + (1 - np.minimum(square, 1)) ** 2
    # Where all but the constant is rounded away, as by an offset of 1e8, the functions have none.
    varying = span > 1e-12
    scale = np.sqrt(np.where(varying, span, 1)) * features.norm
    return np.asarray(np.where(varying, 1 - cross / scale, math.nan))


def _orthonormal(heads: Array) -> Array:
    """Rows of the same spans, each orthonormal; torch solves by triangles, many at once."""
    across = heads.transpose(0, 2, 1)
    try:
        # A copy, since numpy multiplies a matrix by its own transpose more slowly.
        lower = torch.from_numpy(np.linalg.cholesky(heads.copy() @ across))
    except np.linalg.LinAlgError:  # eigenvalues too unequal for the Gram matrix
        return np.linalg.qr(across)[0].transpose(0, 2, 1)
    given = torch.from_numpy(across)
    rows: Tensor = torch.linalg.solve_triangular(lower.mT, given, upper=True, left=False).mT
    return rows.numpy()


@lru_cache(maxsize=4)
def _normals(draws: int, rank: int, count: int, blocks: int) -> Array:
    """Standard normal numbers, (draws, rank, count), the lengths of a feature's columns as evenly
    spread over the draws as chi-squared numbers can be; so many blocks at the end are triangular.
    """
    generator = np.random.default_rng(20241004)
    numbers = generator.normal(size=(draws, rank, count))
    even = (np.arange(draws) + 0.5) / draws
    squares = np.quantile(generator.chisquare(rank, 20 * draws), even)
    lengths = np.sqrt(generator.permuted(np.tile(squares, (count, 1)), axis=1)).T
    numbers *= (lengths / np.linalg.norm(numbers, axis=1))[:, None]
    numbers[..., count - rank * blocks :] *= np.tile(np.tri(rank), blocks)
    return np.asarray(numbers)


def _compressed(features: Features, rank: int) -> tuple[Features, list[float]]:
    """Features of which blocks of weak ones, each twice as long as the one before, are `rank`
    equal ones; and the degrees of freedom ν of each block.

    Σ ρ_k h_k h_kᵀ over a block of a normal head's columns h_k is taken for c times a Wishart matrix
    of ν = (Σρ)² / Σρ² degrees of freedom, c = Σρ² / Σρ: exact where the block's eigenvalues are
    equal. Their means, which are small, are left out. As they are where a block has too few.
    """
    values = features.values
    start, freedom, equal = 2 * rank + 16, [], []
    while start < len(values):
        stop = 2 * start if len(values) > 3 * start else len(values)
        total, square = values[start:stop].sum(), (values[start:stop] ** 2).sum()
        freedom.append(float(total**2 / square))
        equal.append(np.full(rank, square / total))
        start = stop
    if not freedom or min(freedom) < rank + _SPARE:
        return features, []
    first = 2 * rank + 16
    means = np.concatenate([features.means[:first], np.zeros(rank * len(freedom))])
    return Features(np.concatenate([values[:first], *equal]), means, features.norm), freedom


def _drawn(features: Features, rank: int) -> Band:
    fewer, freedom = _compressed(features, rank)
    count = len(fewer.values)
    affordable = 20 * (_BUDGET // (20 * rank * count)) - 1
    normals = _normals(max(_LEAST, min(_DRAWS, affordable)), rank, count, len(freedom))
    step = max(1, _AT_ONCE // (rank * count))
    parts = (normals[start : start + step] for start in range(0, len(normals), step))
    measures = np.concatenate([_low_rank(fewer, _heads(part, fewer, freedom)) for part in parts])
    measures = np.sort(measures[~np.isnan(measures)])
    few = _heads(_normals(_LEAST, rank, len(features.values), 0), features, [])  # enough for a mean
    shares = np.cumsum((_orthonormal(few) ** 2).sum(1), 1) / rank
    used = float(((shares < USED - 1e-12).sum(1) + 1).mean())
    if len(measures) < _LEAST:
        return Band(used)
    low = measures[(len(measures) + 1) // 20 - 1]
    return Band(used, float(np.median(measures)), float(low))


def _heads(normals: Array, features: Features, freedom: Sequence[float]) -> Array:
    """Coefficients, (draws, rank, K); of blocks, at the end, lower triangular T of which T Tᵀ is a
    Wishart matrix (Bartlett 1933), with chi-squared numbers as Wilson and Hilferty (1931) make them
    of normal ones."""
    roots = np.sqrt(features.values / features.values[0])
    heads: Array = normals * roots
    draws, rank, count = heads.shape
    first = count - rank * len(freedom)
    shape = draws, rank, len(freedom), rank
    own, z = (
        np.einsum("drbr->drb", numbers[..., first:].reshape(shape)) for numbers in (heads, normals)
    )
    left = np.asarray(freedom) - np.arange(rank)[:, None]
    lengths = 1 - 2 / (9 * left) + z * np.sqrt(2 / (9 * left))
    own[:] = np.sqrt(left) * roots[first::rank] * lengths * np.sqrt(lengths)
    return heads


def _limit(features: Features, rank: int) -> Band:
    values, means = features.values, features.means
    low, high = float(values[-1]) * 1e-12, float(values.sum()) * 1e3
    for _ in range(100):
        middle = math.sqrt(low * high)
        above = (values / (values + middle)).sum() > rank
        low, high = (middle, high) if above else (low, middle)
    shares = values / (values + low)
    free = shares * (1 - shares)
    part = free / max(free.sum(), 1e-300)
    mean = shares + part * ((part * shares).sum() - shares)
    constant = min(float((mean * means**2).sum()), 1.0)
    scale = math.sqrt(rank - 1 + (1 - constant) ** 2) * features.norm
    # ‖Cov(q, Φ)‖² is the inner product of the projector on Ĥ with this matrix.
    inner = (means**2 * values).sum() - values[:, None] - values
    weight = np.diag(values) + inner * np.outer(means, means)
    explained = float((mean * weight.diagonal()).sum())
    slope = weight + explained * (1 - constant) * (features.norm / scale) ** 2 * np.outer(
        means, means
    )
    slope -= np.eye(len(values)) * (part * slope.diagonal()).sum()
    left = rank - (shares**2).sum()
    variance = ((slope**2) * np.outer(free, free)).sum() / left
    variance += ((shares * free * slope.diagonal()).sum() / left) ** 2
    spread, measure = math.sqrt(2 * float(variance)) / scale, 1 - explained / scale
    used = float(first_at(np.cumsum(shares) / rank, len(values)))
    return Band(used, measure, measure - 1.645 * spread)


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
