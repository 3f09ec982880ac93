"""Whether two groups of runs differ beyond their seeds and the samples they were measured on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from fswidget.recording.frame import Frame
from fswidget.recording.recording import Recording

#: With fewer seeds than this nothing is said beyond them.
_LEAST_SEEDS = 3

#: Of a jackknife over eight blocks.
_FREEDOM = 7


@dataclass(frozen=True)
class Difference:
    """A number in two groups of runs that differ in their seed alone.

    Parameters
    ----------
    name : str
    difference : float
        Mean of the second group less that of the first.
    error : float
        Its standard error, from both sources.
    seeds_error, samples_error : float
        The parts: of the seeds, NaN where a group is a single run; of the samples measured on, NaN
        where the runs carry no error of the number.
    low, high : float
        95% interval.
    seeds : tuple of int
        Runs in either group.
    """

    name: str
    difference: float
    error: float
    seeds_error: float
    samples_error: float
    low: float
    high: float
    seeds: tuple[int, int]

    @property
    def differ(self) -> bool | None:
        """Whether the interval leaves 0 out; None with fewer than three seeds in a group."""
        if min(self.seeds) < _LEAST_SEEDS or math.isnan(self.error):
            return None
        return not self.low <= 0 <= self.high

    @property
    def text(self) -> str:
        """The answer in words, with what it rests on."""
        beyond = "seeds" if math.isnan(self.samples_error) else "seeds and samples"
        few, many = min(self.seeds), max(self.seeds)
        runs = f"{few} seeds" if few == many else f"{self.seeds[0]} and {self.seeds[1]} seeds"
        if self.differ is None:
            found = f"{self.low:+.3g} to {self.high:+.3g} on these runs, and "
            known = "" if math.isnan(self.error) else found
            return f"undecided: {known}{_LEAST_SEEDS} seeds are the least, not {few}"
        answer = "yes" if self.differ else "no"
        return f"{answer}, beyond {beyond}: {self.low:+.3g} to {self.high:+.3g} ({runs})"


def difference(
    first: Sequence[Any], second: Sequence[Any], name: str = "low_rank_measure_debiased"
) -> Difference:
    """Whether a number differs between two groups of runs.

    The variance of a group's mean is that of the seeds, s²/S, and beside it that of the samples,
    the mean of the squared jackknife errors, which is not divided by S: all seeds may have been
    measured on the same samples. Where they were not, or where both groups share their samples, the
    interval is too wide. Student's t with the degrees of freedom of Welch and Satterthwaite: of 3,
    5 and 10 simulated seeds 94 to 96% of such intervals held the difference, and 80 to 93% of those
    of a bootstrap over the two factors (Schütt et al. 2023; `benchmarks/RESULTS-differences.md`).
    Our choice.

    Parameters
    ----------
    first, second : sequence of Recording, Frame or dict of str to float
        Runs that differ in their seed alone; of recordings the last frame counts.
    name : str
        Of a scalar; its errors are read from ``name_error``.

    Raises
    ------
    ValueError
        If a group is empty or has no such scalar.

    Examples
    --------
    >>> a = [{"x": value, "x_error": 0.01} for value in (0.30, 0.32, 0.31)]
    >>> b = [{"x": value, "x_error": 0.01} for value in (0.40, 0.43, 0.41)]
    >>> difference(a, b, "x").text
    'yes, beyond seeds and samples: +0.0657 to +0.141 (3 seeds)'
    """
    groups = [_numbers(group, name) for group in (first, second)]
    seeds: list[tuple[float, float]] = []
    samples: list[tuple[float, float]] = []
    for values, errors in groups:
        count = len(values)
        spread = float(values.var(ddof=1)) / count if count > 1 else math.nan
        seeds.append((spread, count - 1))
        samples.append((float(np.mean(errors**2)), _FREEDOM))
    known = [part for part in (*seeds, *samples) if not math.isnan(part[0])]
    variance = sum(part for part, _ in known)
    found = float(groups[1][0].mean() - groups[0][0].mean())
    error = math.sqrt(variance) if known else math.nan
    reach = error
    if known and variance > 0:
        reach *= _student(variance**2 / sum(part**2 / freedom for part, freedom in known))
    return Difference(
        name,
        found,
        error,
        math.sqrt(seeds[0][0] + seeds[1][0]),
        math.sqrt(samples[0][0] + samples[1][0]),
        found - reach,
        found + reach,
        (len(groups[0][0]), len(groups[1][0])),
    )


def _numbers(group: Sequence[Any], name: str) -> tuple[Any, Any]:
    """A scalar and its error of every run, shape (runs,) each."""
    scalars = [_scalars(run) for run in group]
    values = np.array([found.get(name, math.nan) for found in scalars], float)
    if not len(values) or not np.isfinite(values).all():
        raise ValueError(f"name={name!r}: must be a finite scalar of every run, of one at least")
    errors = np.array([found.get(f"{name}_error", math.nan) for found in scalars], float)
    return values, errors


def _scalars(run: Any) -> Mapping[str, float]:
    if isinstance(run, Recording):
        run = run[-1]
    return run.scalars if isinstance(run, Frame) else run


def _student(freedom: float, level: float = 0.95) -> float:
    """Two-sided quantile of Student's t, by the expansion in 1/freedom; 1% off at 2, better above.

    Fisher and Cornish 1960.
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / freedom**power for power, term in enumerate(terms, 1))
