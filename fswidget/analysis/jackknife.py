"""Error bars: the measures with one block of samples left out at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from torch import Tensor

from fswidget.analysis.arrays import Array, to_numpy
from fswidget.analysis.averages import Averages
from fswidget.analysis.eigensolvers import EigenDecomposition
from fswidget.analysis.measures import Measures, crossing, effective_rank, first_at
from fswidget.analysis.moments import Moments
from fswidget.analysis.replicates import Entropy, solve_near


@dataclass(frozen=True)
class Jackknife:
    """Standard errors by measure and of the two curves, and the replicates behind them."""

    errors: Mapping[str, float] = field(default_factory=dict)
    quality_error: Array | None = None
    utilization_error: Array | None = None
    replicates: Sequence[Mapping[str, float]] = ()

    def with_crossing(self, place: float) -> Jackknife:
        """With the error of k95, of which `place` is the crossing: see `used_features_debiased`."""
        if not self.replicates:
            return self
        found = [replicate["crossing"] for replicate in self.replicates]
        removed = (len(found) - 1) * (float(np.mean(found)) - place)
        error = math.sqrt(float(_error(found)) ** 2 + removed**2 / 16 + 1 / 12)
        return replace(self, errors={**self.errors, "used_features": error})


def jackknife(
    moments: Moments,
    whole: Tensor,
    solution: EigenDecomposition,
    utilization: Array,
    num_features: int,
    task: str,
    tolerance: float,
    debias: bool,
    by_class: bool,
) -> Jackknife:
    """Leave out one block after another; empty where fewer than two blocks hold samples.

    Parameters
    ----------
    whole : Tensor, shape (p, p)
        E[Φ Φᵀ] over all samples.
    solution : EigenDecomposition
        Its eigenpairs.
    utilization : ndarray, shape (K,)
        Their Π̂.
    num_features : int
        k95 of a replicate whose utilization never gets there.
    by_class : bool
        Whether the samples count as drawn class by class, as all of them together do.
    """
    assert moments._shift is not None
    columns = moments._columns
    size = len(solution.values)
    used = min(first_at(utilization, num_features), size)
    entropy: Entropy | None = None
    replicates: list[dict[str, float]] = []
    curves: list[tuple[Array, Array]] = []
    for gram in leave_one_out(moments._gram):
        if float(gram[0, 0]) in (0, moments.num_samples):
            continue
        averages = Averages.from_sum(gram, moments._shift, columns)
        measures = Measures.of(averages, moments, task, tolerance, debias, by_class)
        matrix = averages.second(columns.features, columns.features)
        found, few = solve_near(matrix, solution, used)
        rank = effective_rank(to_numpy(found.values)) if found.complete else math.nan
        if few:
            entropy = entropy or Entropy.of(whole, solution, matrix)
            rank = entropy.effective_rank(matrix)
        quality, learned = measures.curves(found)
        replicates.append(
            {
                **measures.numbers,
                "low_rank_measure": measures.low_rank.of(debias),
                "used_features": float(first_at(learned, num_features)),
                "crossing": crossing(learned, num_features),
                "effective_rank": rank,
            }
        )
        curves.append((_fit(quality, size), _fit(learned, size)))
    if len(replicates) < 2:
        return Jackknife()
    names = replicates[0]
    errors = {name: float(_error([found[name] for found in replicates])) for name in names}
    del errors["crossing"]
    return Jackknife(
        errors,
        _error([curve[0] for curve in curves]),
        _error([curve[1] for curve in curves]),
        tuple(replicates),
    ).with_crossing(crossing(utilization, num_features))


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
