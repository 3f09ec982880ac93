"""Error bars: the measures with one block of samples left out at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fswidget.analysis.arrays import Array, empty, to_arrays, to_numpy
from fswidget.analysis.averages import Averages, Span
from fswidget.analysis.collapse import class_signal
from fswidget.analysis.decay import effective_rank
from fswidget.analysis.eigensolvers import EigenDecomposition
from fswidget.analysis.extrapolation import (
    RANK_TOLD,
    UNKNOWN,
    Estimate,
    mixed,
    noise_is_spread,
    one_step,
    removed_by,
    standard_error,
    tells_nc1,
    tells_used_features,
    two_steps,
    used_features,
)
from fswidget.analysis.measures import (
    JACKKNIFED,
    USED,
    Measures,
    crossing,
    cumulated,
    first_at,
)
from fswidget.analysis.moments import Moments
from fswidget.analysis.replicates import Found, Neighbourhood, in_use

_AT_ONCE = 30_000_000  # entries of matrices measured at once: 240 MB

_COPIES = 1e-9  # what blocks of the same samples differ by, and collapsed classes vary by

_REPLICATED = (*JACKKNIFED, "nc1_of_means")


@dataclass(frozen=True)
class Jackknife:
    """Standard errors by measure and of the two curves, and the replicates behind them.

    `debiased` holds k95, the effective rank and NC1 without the bias of a finite probe, whose
    errors theirs are.
    """

    errors: Mapping[str, float] = field(default_factory=dict)
    debiased: Mapping[str, float] = field(default_factory=dict)
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
    """Leave out one block after another; empty where fewer than two blocks hold samples, NaN where
    every block holds the same ones.

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
    look = _Whole(moments, measures, debias)
    curves, ranks = _solved(left_out.averages, blocks, moments, near, look)
    replicates = look.replicates
    for replicate, (_, learned), rank in zip(replicates, curves, ranks, strict=True):
        replicate |= _places(learned, rank, num_features)
        replicate["used_features"] = float(first_at(learned, num_features))
    found_by = {name: [replicate[name] for replicate in replicates] for name in replicates[0]}
    errors = {name: float(standard_error(values)) for name, values in found_by.items()}
    del errors["crossing"], errors["nc1_of_means"]
    if left_out.are_copies and not measures.numbers["nc1"] <= _COPIES:
        none = np.full(len(solution.values), math.nan)
        return Jackknife(dict.fromkeys(errors, math.nan), {}, none, none, tuple(replicates))
    whole = effective_rank(to_numpy(solution.values)) if solution.complete else math.nan
    plain = {"crossing": crossing(utilization, num_features), "effective_rank": whole}
    halved: list[dict[str, float]] = []
    if left_out.has_halves and _are_biased(plain, found_by):
        halves = _solved(left_out.halves, range(4), moments, near, _outputs_alone(measures))
        halved = [_places(*half, num_features) for half in zip(*halves, strict=True)]
    places, sizes = (
        (plain[name], found_by[name], [half[name] for half in halved]) for name in plain
    )
    n, numbers = moments.num_samples, measures.numbers
    spread = noise_is_spread(numbers["noise_directions"], numbers["target_rank"])
    kind = "nc1_of_means" if spread else "nc1"
    better = {
        "used_features": _used_features(numbers, n, solution, utilization, num_features, places),
        "effective_rank": two_steps(*sizes, RANK_TOLD * n / numbers["tails"]),
        "nc1": one_step(numbers[kind], found_by[kind], UNKNOWN),
    }
    better |= dict.fromkeys(_untold(measures, averages, n, len(blocks)), Estimate())
    errors |= {name: estimate.error for name, estimate in better.items()}
    debiased = {name: estimate.value for name, estimate in better.items()}
    fitted = [_fit(curve, len(solution.values)) for curve in curves]
    quality_error, utilization_error = standard_error(fitted)
    return Jackknife(errors, debiased, quality_error, utilization_error, tuple(replicates))


#: Of several sets of samples functions, as E[q Φᵀ], shape (b, m, p), and what makes cumulative
#: curves, shape (b, …, K), of their coefficients, shape (b, m, K), and of which sets these are.
_Look = Callable[[Averages], tuple[Tensor, Callable[[Tensor, list[int]], Tensor]]]


def _solved(
    averages: Callable[[Sequence[int]], Averages],
    sets: Sequence[int],
    moments: Moments,
    near: Neighbourhood,
    look: _Look,
) -> tuple[list[Array], list[float]]:
    """Curves and effective ranks of several sets of samples, of which `averages` makes some."""
    curves: list[Tensor] = []
    solved: list[Found] = []
    width = moments._columns.count
    step = max(1, _AT_ONCE // width**2)
    for some in (sets[start : start + step] for start in range(0, len(sets), step)):
        left = averages(some)
        rows, cumulate = look(left)
        for found in near.expand(left, rows):
            curves += cumulate(found.coefficients, found.places)
            solved.append(found._replace(places=[some[place] for place in found.places]))
    return to_arrays(curves), near.effective_ranks(
        solved, lambda place: averages([place]).of_sets(0)
    )


@dataclass
class _Whole:
    """All measures of sets of samples, kept as it looks at them."""

    moments: Moments
    measures: Measures
    debias: bool
    replicates: list[dict[str, float]] = field(default_factory=list)

    def __call__(self, left: Averages) -> tuple[Tensor, Callable[[Tensor, list[int]], Tensor]]:
        how = self.measures.task, self.measures.tolerance, self.debias, self.measures.by_class
        measured = Measures.of(left, self.moments, *how)
        self.replicates += _rows({name: measured.numbers[name] for name in _REPLICATED})
        return measured.rows, measured.curves


def _outputs_alone(measures: Measures) -> _Look:
    def look(left: Averages) -> tuple[Tensor, Callable[[Tensor, list[int]], Tensor]]:
        learned = Span.of_outputs(left, measures.task, measures.tolerance)
        return learned.cross, lambda found, places: cumulated(found, learned.rank[places])

    return look


def _places(learned: Array, rank: float, num_features: int) -> dict[str, float]:
    """What is debiased by halves."""
    return {"crossing": crossing(learned, num_features), "effective_rank": rank}


def _rows(columns: Mapping[str, Array]) -> list[dict[str, float]]:
    values = zip(*(column.tolist() for column in columns.values()), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in values]


def _are_biased(plain: Mapping[str, float], left_out: Mapping[str, Sequence[float]]) -> bool:
    """Whether a bias is large enough to be looked at twice: half a feature, 2% of the rank."""
    allowed = {"crossing": 0.5, "effective_rank": 0.02 * plain["effective_rank"]}
    return any(abs(removed_by(plain[name], left_out[name])) > allowed[name] for name in plain)


def _untold(measures: Measures, averages: Averages, n: int, blocks: int) -> list[str]:
    """What n samples in so many blocks do not tell for their classes."""
    numbers, counts = measures.numbers, measures.counts
    signal = math.nan
    if measures.classes is not None:
        signal = float(class_signal(averages, measures.classes, measures.tolerance))
    tells = tells_nc1(n, numbers["target_rank"], signal, numbers["noise_directions"])
    found = [] if tells else ["nc1"]
    if measures.by_class and counts is not None and counts[counts > 0].min() < blocks:
        found.append("effective_rank")  # without a block classes are unequal, which they never were
    return found


def _used_features(
    numbers: Mapping[str, Any],
    n: int,
    solution: EigenDecomposition,
    utilization: Array,
    num_features: int,
    places: tuple[float, Sequence[float], Sequence[float]],
) -> Estimate:
    """k95 without bias: p where Π̂ never gets there."""
    known, rank = first_at(utilization, 0), numbers["output_rank"]
    if not known:
        return Estimate(float(num_features), math.sqrt(1 / 12))
    if not tells_used_features(known, rank, n):
        return Estimate()
    shares = np.diff(utilization, prepend=0.0)
    leaked = mixed(to_numpy(solution.values), shares, known, n, numbers["tails"])
    enough = tells_used_features(known, 0, n / 2)  # halves, of which the bias is read
    least = USED * rank
    return used_features(
        known, places, least=least, most=num_features, leaked=leaked, enough=enough
    )


class LeftOut:
    """Averages over all samples but those of one block, for each, and over halves of them.

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
        sums, of = grams[:, 0].clone(), averages.columns.features
        means, squares = (
            values[:, of] / sums[:, :1].clamp(min=1)
            for values in (sums, grams.diagonal(dim1=1, dim2=2))
        )
        least = _COPIES * averages.about.diagonal()[of]
        same = (squares - averages.about.diagonal()[of]).abs() <= least
        same &= (means - averages.about[0, of]).square() <= _COPIES * least
        read = torch.stack([sums[:, 0], small.all(1).to(grams), same.all(1).to(grams)])
        self._counts, self._few, self._same = read.tolist()

    def blocks(self, num_samples: int) -> list[int]:
        """Those that hold samples, and not all of them."""
        return [block for block, n in enumerate(self._counts) if n not in (0, num_samples)]

    @property
    def are_copies(self) -> bool:
        """Whether features have the same means and squares in every block, so that nothing is known
        of what other samples would give (our choice)."""
        return all(same for same, n in zip(self._same, self._counts, strict=True) if n)

    def averages(self, blocks: Sequence[int]) -> Averages:
        """Without each of several blocks."""
        sums = empty((len(blocks), *self.total.shape), self.total.device)
        for rest, block in zip(sums, blocks, strict=True):
            if self._few[block]:
                torch.sub(self.total, self._grams[block], out=rest)
            else:
                torch.add(self._grams[:block].sum(0), self._grams[block + 1 :].sum(0), out=rest)
        return Averages.from_sum(sums, self._averages.origin, self._averages.columns)

    @property
    def has_halves(self) -> bool:
        """Whether blocks make two pairs of nearly equal halves."""
        counts, total = np.array(self._counts), sum(self._counts)
        sizes = [counts[half].sum() for half in self._pairs()]
        return len(counts) >= 4 and max(abs(2 * size / total - 1) for size in sizes) <= 0.1

    def _pairs(self) -> list[slice]:
        """Which blocks are in each half: the first ones and the others, every other one and the
        others."""
        middle = -(-len(self._counts) // 2)
        return [slice(middle), slice(middle, None), slice(0, None, 2), slice(1, None, 2)]

    def halves(self, places: Sequence[int]) -> Averages:
        """Of several of the four halves."""
        pairs, sums = self._pairs(), empty((len(places), *self.total.shape), self.total.device)
        for half, place in zip(sums, places, strict=True):
            torch.sum(self._grams[pairs[place]], 0, out=half)
        return Averages.from_sum(sums, self._averages.origin, self._averages.columns)


def _fit(curves: Array, size: int) -> Array:
    """Cumulative curves, shape (2, K), at another length: flat beyond their end."""
    if not curves.shape[1]:
        return np.full((2, size), math.nan)
    return np.asarray(curves[:, np.minimum(np.arange(size), curves.shape[1] - 1)])
