"""Error bars: the measures with one block of samples left out at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from fswidget.analysis.arrays import Array
from fswidget.analysis.averages import Averages
from fswidget.analysis.eigensolvers import EigenDecomposition
from fswidget.analysis.measures import USED, Measures, crossing, cumulative, first_at
from fswidget.analysis.moments import Moments
from fswidget.analysis.replicates import Neighbourhood, in_use


@dataclass(frozen=True)
class Jackknife:
    """Standard errors by measure and of the two curves, and the replicates behind them."""

    errors: Mapping[str, float] = field(default_factory=dict)
    quality_error: Array | None = None
    utilization_error: Array | None = None
    replicates: Sequence[Mapping[str, float]] = ()


def jackknife(
    moments: Moments,
    averages: Averages,
    solution: EigenDecomposition,
    utilization: Array,
    num_features: int,
    measures: Measures,
    debias: bool,
) -> Jackknife:
    """Leave out one block after another; empty where fewer than two blocks hold samples.

    Parameters
    ----------
    averages : Averages
        Over all samples.
    solution : EigenDecomposition
        The eigenpairs of their E[Φ Φᵀ].
    utilization : ndarray, shape (K,)
        Their Π̂.
    num_features : int
        k95 of a replicate whose utilization never gets there.
    measures : Measures
        Of all samples. Those left count as drawn class by class where all of them do.
    """
    size = len(solution.values)
    near = Neighbourhood(averages, solution, in_use(utilization, USED))
    solved: list[EigenDecomposition] = []
    how = measures.task, measures.tolerance, debias, measures.by_class
    replicates: list[dict[str, float]] = []
    curves: list[tuple[Array, Array]] = []
    for gram in leave_one_out(moments._gram):
        if float(gram[0, 0]) in (0, moments.num_samples):
            continue
        some = Averages.from_sum(gram, averages.origin, averages.columns)
        left = Measures.of(some, moments, *how)
        found = near.solve(some)
        solved.append(found)
        quality, learned = (cumulative(c) for c in left.coefficients(found))
        replicates.append(
            {
                **left.numbers,
                "low_rank_measure": left.low_rank.of(debias),
                "used_features": float(first_at(learned, num_features)),
                "crossing": crossing(learned, num_features),
            }
        )
        curves.append((_fit(quality, size), _fit(learned, size)))
    if len(replicates) < 2:
        return Jackknife()
    for replicate, found in zip(replicates, solved, strict=True):
        replicate["effective_rank"] = near.effective_rank(found)
    found_by = {name: [replicate[name] for replicate in replicates] for name in replicates[0]}
    errors = {name: float(_error(values)) for name, values in found_by.items()}
    # That of k95 is the error of what `used_features_debiased` estimates.
    places = found_by["crossing"]
    removed = (len(places) - 1) * (float(np.mean(places)) - crossing(utilization, num_features))
    place_error = errors.pop("crossing")
    errors["used_features"] = math.sqrt(place_error**2 + removed**2 / 16 + 1 / 12)
    quality_error, utilization_error = (_error(curve) for curve in zip(*curves, strict=True))
    return Jackknife(errors, quality_error, utilization_error, tuple(replicates))


def leave_one_out(grams: Tensor) -> Iterator[Tensor]:
    """The sum of all but one, for each.

    By difference, where that costs one digit at most: entries are bounded by the diagonal. A block
    with half of a square or more, as one that holds an outlier, is left out by adding up the rest.
    """
    total = grams.sum(0)
    small = grams.diagonal(dim1=1, dim2=2) <= total.diagonal() / 2
    for place, few in enumerate(small.all(1).tolist()):
        if few:
            yield total - grams[place]
        else:
            yield grams[:place].sum(0) + grams[place + 1 :].sum(0)


def _fit(curve: Array, size: int) -> Array:
    """A cumulative curve at another length: flat beyond its end."""
    if not len(curve):
        return np.full(size, math.nan)
    return curve[np.minimum(np.arange(size), len(curve) - 1)]


def _error(replicates: Sequence[Any]) -> Any:
    values = np.asarray(replicates)
    count = len(values)
    with np.errstate(invalid="ignore"):  # of infinite values it is NaN
        return np.sqrt((count - 1) / count * ((values - values.mean(0)) ** 2).sum(0))
