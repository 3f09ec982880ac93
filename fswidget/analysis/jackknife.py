"""Error bars: the measures with one block of samples left out at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fswidget.analysis.arrays import Array, to_numpy
from fswidget.analysis.averages import Averages
from fswidget.analysis.eigensolvers import EigenDecomposition, eigh_float32, eigh_full
from fswidget.analysis.measures import Measures, effective_rank, first_at
from fswidget.analysis.moments import Moments


@dataclass(frozen=True)
class Jackknife:
    """Standard errors by measure and of the two curves, and the replicates behind them."""

    errors: Mapping[str, float] = field(default_factory=dict)
    quality_error: Array | None = None
    utilization_error: Array | None = None
    replicates: Sequence[Mapping[str, float]] = ()


def jackknife(
    moments: Moments,
    solution: EigenDecomposition,
    used_features: int,
    num_features: int,
    task: str,
    tolerance: float,
    debias: bool,
    by_class: bool,
) -> Jackknife:
    """Leave out one block after another; empty where fewer than two blocks hold samples.

    Parameters
    ----------
    solution : EigenDecomposition
        Of all samples.
    used_features : int
        Their k95.
    num_features : int
        k95 of a replicate whose utilization never gets there.
    by_class : bool
        Whether the samples count as drawn class by class, as all of them together do.
    """
    assert moments._shift is not None
    columns = moments._columns
    size = len(solution.values)
    replicates: list[dict[str, float]] = []
    curves: list[tuple[Array, Array]] = []
    for gram in leave_one_out(moments._gram):
        if float(gram[0, 0]) in (0, moments.num_samples):
            continue
        averages = Averages.from_sum(gram, moments._shift, columns)
        measures = Measures.of(averages, moments, task, tolerance, debias, by_class)
        found = _replicate(averages, solution, used_features)
        quality, utilization = measures.curves(found)
        replicates.append(
            {
                "low_rank_measure": measures.low_rank.of(debias),
                "low_rank_measure_debiased": measures.low_rank.debiased,
                "used_features": float(first_at(utilization, num_features)),
                "effective_rank": effective_rank(to_numpy(found.values))
                if found.complete
                else math.nan,
                "nc1": measures.nc1,
                "kernel_drift": measures.kernel_drift,
            }
        )
        curves.append((_fit(quality, size), _fit(utilization, size)))
    if len(replicates) < 2:
        return Jackknife()
    names = replicates[0]
    errors = {name: float(_error([found[name] for found in replicates])) for name in names}
    return Jackknife(
        errors,
        _error([curve[0] for curve in curves]),
        _error([curve[1] for curve in curves]),
        tuple(replicates),
    )


def leave_one_out(grams: Tensor, others: Tensor | float = 0.0) -> Iterator[Tensor]:
    """The sum of all but one, for each: added up by halves, since a difference cancels."""
    if len(grams) == 1:
        yield torch.zeros_like(grams[0]) + others
        return
    half = len(grams) // 2
    first, last = grams[:half], grams[half:]
    yield from leave_one_out(first, others + last.sum(0))
    yield from leave_one_out(last, others + first.sum(0))


def _replicate(
    averages: Averages, solution: EigenDecomposition, used_features: int
) -> EigenDecomposition:
    """Eigenpairs of a replicate, to the precision that a standard error needs.

    In float32 where the features in use lie well above its rounding; after a top-k solve within the
    span of what that found.
    """
    used = min(used_features, len(solution.values)) - 1
    if used < 0:
        return solution
    features = averages.columns.features
    covariance, mean = averages.covariance(features, features), averages.mean(features)
    matrix = covariance + torch.outer(mean, mean)
    if not solution.complete:
        basis = solution.vectors
        values, turn = torch.linalg.eigh(basis.T @ matrix @ basis)
        values, vectors = values.flip(0), (basis @ turn).flip(1)
        keep = values > solution.floor
        return EigenDecomposition(values[keep], vectors[:, keep], solution.floor, "", False)
    if float(solution.values[used] / solution.values[0]) < 1e-4:
        return eigh_full(covariance, mean)
    return eigh_float32(matrix)


def _fit(curve: Array, size: int) -> Array:
    """A cumulative curve at another length: flat beyond its end."""
    if not len(curve):
        return np.full(size, math.nan)
    return curve[np.minimum(np.arange(size), len(curve) - 1)]


def _error(replicates: Sequence[Any]) -> Any:
    values = np.asarray(replicates)
    count = len(values)
    return np.sqrt((count - 1) / count * ((values - values.mean(0)) ** 2).sum(0))
