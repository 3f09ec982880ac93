"""Whether two groups of runs differ beyond their seeds and the samples they were measured on."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
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

_ROUNDING = 1e-9  # of the values: equal runs that were added up in another order do not differ

#: Settings in which seeds may differ: where a run was made, and what is shown of it.
_ASIDE = (
    *("seed", "root", "download", "device", "compile", "frame_every", "analysis_budget"),
    *("layers", "num_shown", "num_eigenfunctions", "more_measures", "ntk"),
)


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
    reason : str
        Why there are no numbers, where there are none.
    """

    name: str
    difference: float
    error: float
    seeds_error: float
    samples_error: float
    low: float
    high: float
    seeds: tuple[int, int]
    reason: str = ""

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
        if self.reason:
            return f"undecided: {self.reason}"
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
        Runs that differ in their seed alone; of recordings the last frame counts. One alone is one
        run, and the mean of several seeds is those.
    name : str
        Of a scalar; its errors are read from ``name_error``.

    Raises
    ------
    ValueError
        If a group is empty; `NotMeasured` if a run has no such scalar, or no finite one.
    TypeError
        If a group is none.

    Warns
    -----
    UserWarning
        If recordings of one group differ in more than the seed, or those of both in the size of
        their probes where the number depends on it.

    Examples
    --------
    >>> a = [{"x": value, "x_error": 0.01} for value in (0.30, 0.32, 0.31)]
    >>> b = [{"x": value, "x_error": 0.01} for value in (0.40, 0.43, 0.41)]
    >>> difference(a, b, "x").text
    'yes, beyond seeds and samples: +0.0657 to +0.141 (3 seeds)'
    """
    groups = _groups(first, second, name)
    # On the scale of the largest, so that squares neither vanish nor overflow.
    scale = max(float(np.abs(part).max(initial=0)) for group in groups for part in group) or 1.0
    parts: list[tuple[float, float]] = []
    of: dict[str, list[float]] = {"seeds": [], "samples": []}
    for values, errors in groups:
        count = len(values)
        spread = float((values / scale).var(ddof=1)) / count if count > 1 else math.nan
        of["seeds"].append(spread)
        of["samples"].append(float(np.mean((errors / scale) ** 2)) if len(errors) else math.nan)
        parts += [(spread, count - 1), (of["samples"][-1], _FREEDOM)]
    known = [part for part in parts if not math.isnan(part[0])]
    variance = sum(part for part, _ in known)
    means = [float((values / scale).mean()) for values, _ in groups]
    reach = error = math.sqrt(variance) if known else math.nan
    if known and variance > 0:
        reach *= _student(1 / sum((part / variance) ** 2 / freedom for part, freedom in known))
    reach = max(reach, _ROUNDING) if known else reach
    found = (means[1] - means[0]) * scale
    return Difference(
        name,
        found,
        error * scale,
        math.sqrt(sum(of["seeds"])) * scale,
        math.sqrt(sum(of["samples"])) * scale,
        found - reach * scale,
        found + reach * scale,
        (len(groups[0][0]), len(groups[1][0])),
    )


def difference_if_measured(
    first: Sequence[Any], second: Sequence[Any], name: str = "low_rank_measure_debiased"
) -> Difference:
    """As `difference`; where a run lacks the number, undecided for that reason.

    Raises
    ------
    ValueError, TypeError
        If a group is empty or no group of runs, or no run at all has such a scalar.
    """
    try:
        return difference(first, second, name)
    except NotMeasured as error:
        groups = [_runs("", given) for given in (first, second)]
        if not any(name in _scalars("", run) for runs in groups for run in runs):
            raise
        sizes = len(groups[0]), len(groups[1])
        nan, reason = math.nan, str(error).partition(", but ")[2]
        return Difference(name, nan, nan, nan, nan, nan, nan, sizes, reason)


class NotMeasured(ValueError):
    """A number that a run does not have, or that is not finite there."""


def _groups(first: Any, second: Any, name: str) -> list[tuple[Any, Any]]:
    sides = {"first": first, "second": second}
    try:
        groups = [_numbers(side, given, name) for side, given in sides.items()]
    except NotMeasured as error:
        message = f"name={name!r}: must be a finite scalar of every run, but {error}"
        raise NotMeasured(message) from None
    recordings = {
        side: [run for run in _runs(side, given) if isinstance(run, Recording)]
        for side, given in sides.items()
    }
    for side, runs in recordings.items():
        _warn_of_unlike(side, runs)
    every = [run for runs in recordings.values() for run in runs]
    sizes = sorted({run.info.num_samples or 0 for run in every} - {0})
    if len(sizes) > 1 and all(f"{name}_debiased" in run[-1].scalars for run in every):
        warnings.warn(
            f"name={name!r}: depends on the size of the probe, which is "
            f"{' and '.join(map(str, sizes))} here; {name}_debiased does not",
            stacklevel=3,
        )
    return groups


def _numbers(side: str, given: Any, name: str) -> tuple[Any, Any]:
    """A scalar of every run, and its errors where they are known."""
    values: list[float] = []
    errors: list[float] = []
    for place, run in enumerate(_runs(side, given), 1):
        where = f"run {place} of {side}"
        scalars = _scalars(side, run)
        mean_of = _last(side, run).labels.get("seeds", "1") if _has_frames(run) else "1"
        if mean_of != "1":
            each = _last(side, run).arrays.get(f"seeds_{name}")
            if each is None:
                raise NotMeasured(f"{where} is a mean of {mean_of} seeds: give the runs themselves")
            values += each.tolist()
            continue
        if name not in scalars:
            have = ", ".join(n for n in scalars if not n.endswith("_error")) or "none"
            raise NotMeasured(f"{where} has no such scalar, but {have}")
        values.append(float(scalars[name]))
        if not math.isfinite(values[-1]):
            raise NotMeasured(f"it is {values[-1]} in {where}")
        errors.append(float(scalars.get(f"{name}_error", math.nan)))
    return np.array(values), np.array([error for error in errors if math.isfinite(error)])


def _runs(side: str, given: Any) -> Sequence[Any]:
    """A recording, whose frames are no seeds, is one run, as are a frame and a dict."""
    alone = _has_frames(given) or isinstance(given, Mapping) or hasattr(given, "scalars")
    if not alone and (isinstance(given, str) or not isinstance(given, Iterable)):
        raise TypeError(f"{side}={given!r}: must be Recordings, Frames or dicts of numbers")
    runs = [given] if alone else list(given)
    if not runs:
        raise NotMeasured(f"{side} holds none")
    return runs


def _has_frames(run: Any) -> bool:
    return isinstance(run, Recording | Frame)


def _last(side: str, run: Any) -> Frame:
    if isinstance(run, Recording) and not len(run):
        raise NotMeasured(f"{side} holds a Recording without a frame")
    frame: Frame = run[-1] if isinstance(run, Recording) else run
    return frame


def _scalars(side: str, run: Any) -> Mapping[str, float]:
    found = _last(side, run).scalars if _has_frames(run) else getattr(run, "scalars", run)
    if not isinstance(found, Mapping):
        raise TypeError(f"{side}: {run!r}; must be a Recording, a Frame or a dict of numbers")
    return found


def _warn_of_unlike(side: str, runs: Sequence[Recording]) -> None:
    """Warn where runs of a group differ in more than the seed, which is then taken for seeds; not
    in what an earlier version had no setting for."""
    settings = [{**run.config, "last epoch": run[-1].epoch} for run in runs]
    names = dict.fromkeys(name for some in settings for name in some if name not in _ASIDE)
    values = {name: [some[name] for some in settings if name in some] for name in names}
    unlike = [name for name, given in values.items() if any(one != given[0] for one in given)]
    if unlike:
        warnings.warn(
            f"{side}: runs differ in {', '.join(unlike)}, not in the seed alone; what is said "
            "beyond seeds is of that too",
            stacklevel=4,
        )


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
