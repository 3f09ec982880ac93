"""Error bars: the measures with one block of samples left out at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fswidget.analysis.arrays import Array, to_arrays
from fswidget.analysis.averages import Averages
from fswidget.analysis.eigensolvers import EigenDecomposition
from fswidget.analysis.measures import JACKKNIFED, USED, Measures, crossing, first_at
from fswidget.analysis.moments import Moments
from fswidget.analysis.replicates import Found, Neighbourhood, in_use

#: Numbers of Gram matrices measured at once: what a cache holds, or on a GPU is soon done.
_AT_ONCE = {"cpu": 700_000, "cuda": 30_000_000}


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
    near = Neighbourhood(averages, solution, in_use(utilization, USED))
    left_out = LeftOut(moments._gram, averages)
    blocks = left_out.blocks(moments.num_samples)
    if len(blocks) < 2:
        return Jackknife()
    replicates: list[dict[str, float]] = []
    curves: list[Tensor] = []
    solved: list[Found] = []
    step = max(1, _AT_ONCE.get(moments.device.type, _AT_ONCE["cuda"]) // left_out.total.numel())
    for some in (blocks[start : start + step] for start in range(0, len(blocks), step)):
        left = left_out.averages(some)
        how = measures.task, measures.tolerance, debias, measures.by_class
        measured = Measures.of(left, moments, *how)
        replicates += _rows({name: measured.numbers[name] for name in JACKKNIFED})
        for found in near.expand(left, measured.rows):
            curves += measured.curves(found.coefficients, found.places)
            solved.append(found._replace(places=[some[place] for place in found.places]))
    ranks = near.effective_ranks(solved, lambda block: left_out.averages([block]).one(0))
    read = to_arrays(curves)
    for replicate, (_, learned), rank in zip(replicates, read, ranks, strict=True):
        replicate["used_features"] = float(first_at(learned, num_features))
        replicate["crossing"] = crossing(learned, num_features)
        replicate["effective_rank"] = rank
    errors = _errors(replicates, crossing(utilization, num_features))
    fitted = (_fit(curve, len(solution.values)) for curve in read)
    quality_error, utilization_error = _error(list(fitted))
    return Jackknife(errors, quality_error, utilization_error, tuple(replicates))


def _rows(columns: Mapping[str, Array]) -> list[dict[str, float]]:
    values = zip(*(column.tolist() for column in columns.values()), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in values]


def _errors(replicates: Sequence[Mapping[str, float]], place: float) -> dict[str, float]:
    """Standard errors by name; `place` is where the utilization of all samples crosses the level.

    That of k95 is the error of what `used_features_debiased` estimates.
    """
    found_by = {name: [replicate[name] for replicate in replicates] for name in replicates[0]}
    errors = {name: float(_error(values)) for name, values in found_by.items()}
    places = found_by["crossing"]
    removed = (len(places) - 1) * (float(np.mean(places)) - place)
    errors["used_features"] = math.sqrt(errors.pop("crossing") ** 2 + removed**2 / 16 + 1 / 12)
    return errors


class LeftOut:
    """Averages over all samples but those of one block, for each.

    By difference, where that costs one digit at most: entries are bounded by the diagonal. A block
    with half of a square or more, as one that holds an outlier, is left out by adding up the rest.

    Parameters
    ----------
    grams : Tensor, shape (blocks, d, d)
    averages : Averages
        Over all samples.
    """

    def __init__(self, grams: Tensor, averages: Averages) -> None:
        self._grams, self._averages = grams, averages
        self.total = averages.about * averages.n
        small = grams.diagonal(dim1=1, dim2=2) <= self.total.diagonal() / 2
        read = torch.stack([grams[:, 0, 0], small.all(1).to(grams)])
        self._counts, self._few = read.tolist()

    def blocks(self, num_samples: int) -> list[int]:
        """Those that hold samples, and not all of them."""
        return [block for block, n in enumerate(self._counts) if n not in (0, num_samples)]

    def averages(self, blocks: Sequence[int]) -> Averages:
        """Without each of several blocks."""
        sums = self.total.new_empty(len(blocks), *self.total.shape)
        for rest, block in zip(sums, blocks, strict=True):
            if self._few[block]:
                torch.sub(self.total, self._grams[block], out=rest)
            else:
                torch.add(self._grams[:block].sum(0), self._grams[block + 1 :].sum(0), out=rest)
        return Averages.from_sum(sums, self._averages.origin, self._averages.columns)


def _fit(curves: Array, size: int) -> Array:
    """Cumulative curves, shape (2, K), at another length: flat beyond their end."""
    if not curves.shape[1]:
        return np.full((2, size), math.nan)
    return np.asarray(curves[:, np.minimum(np.arange(size), curves.shape[1] - 1)])


def _error(replicates: Sequence[Any]) -> Any:
    values = np.asarray(replicates)
    count = len(values)
    with np.errstate(invalid="ignore"):  # of infinite values it is NaN
        return np.sqrt((count - 1) / count * ((values - values.mean(0)) ** 2).sum(0))
