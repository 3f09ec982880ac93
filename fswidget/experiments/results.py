"""What came out of a recipe's runs, and which claims stand beyond the seeds."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fswidget.recording.recording import Recording

#: Draws of the bootstrap, and the share of them in which a claim must hold or fail.
_DRAWS, _SURE = 400, 0.95

#: With fewer seeds than this nothing is known beyond them.
_LEAST_SEEDS = 3


class Results(Mapping[str, "Sequence[Recording]"]):
    """Recordings by arm, one per seed.

    Attributes
    ----------
    asked : set of str
        Arms that have been looked up.
    """

    def __init__(self, recordings: Mapping[str, Sequence[Recording]]) -> None:
        self._recordings = dict(recordings)
        self._known: dict[tuple[Any, ...], NDArray[np.float64]] = {}
        self._drawn: dict[str, NDArray[np.intp]] | None = None
        self.asked: set[str] = set()

    def __getitem__(self, arm: str) -> Sequence[Recording]:
        recordings = self._recordings[arm]
        self.asked.add(arm)
        return recordings if self._drawn is None else [recordings[i] for i in self._drawn[arm]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._recordings)

    def __len__(self) -> int:
        return len(self._recordings)

    def resampled(self, generator: np.random.Generator, *, paired: bool = False) -> Results:
        """The same arms with as many seeds each, drawn with replacement; `paired`, the same ones
        for all arms, of the first seeds, that every arm has."""
        drawn = Results(self._recordings)
        drawn._known = self._known
        if paired:
            together = generator.integers(self.least, size=self.least)
            drawn._drawn = dict.fromkeys(self._recordings, together)
        else:
            counts = {arm: len(runs) for arm, runs in self._recordings.items()}
            drawn._drawn = {arm: generator.integers(n, size=n) for arm, n in counts.items()}
        return drawn

    @property
    def least(self) -> int:
        """Seeds of the arm with the fewest; 0 where there is none."""
        return min(map(len, self._recordings.values()), default=0)

    def values_of(self, arm: str, name: str, step: int | None = None) -> NDArray[np.float64]:
        """A scalar at the end, or at most at `step`, shape (seeds,); NaN where absent."""

        def value(recording: Recording) -> float:
            frames = [frame for frame in recording if step is None or frame.step <= step]
            return frames[-1].scalars.get(name, math.nan)

        return self._each((arm, name, step), value)

    def each(self, arm: str, measure: Callable[[Recording], float]) -> NDArray[np.float64]:
        """A number of each run, shape (seeds,); looked for once, whatever seeds are drawn, by a
        function that has a name."""
        return self._each((arm, measure), measure)

    def _each(
        self, key: tuple[Any, ...], measure: Callable[[Recording], float]
    ) -> NDArray[np.float64]:
        self.asked.add(arm := key[0])
        if key not in self._known:
            self._known[key] = np.array([measure(run) for run in self._recordings[arm]])
        return self._known[key] if self._drawn is None else self._known[key][self._drawn[arm]]

    def mean(self, arm: str, name: str, step: int | None = None) -> float:
        """The mean over seeds of `values_of`."""
        return float(self.values_of(arm, name, step).mean())

    def mean_at_loss(self, arm: str, name: str, loss: float) -> float:
        """The mean over seeds of a scalar where the training loss first is at most `loss`.

        Raises
        ------
        KeyError
            If a run never gets there: arms are compared at equal progress, or not at all.
        """
        found = []
        for recording in self[arm]:
            reached = (f for f in recording if f.scalars.get("loss", math.inf) <= loss)
            frame = next(reached, None)
            if frame is None:
                raise KeyError(f"{arm}: the training loss never is at most {loss:g}")
            found.append(frame.scalars.get(name, math.nan))
        return float(np.mean(found))

    def regimes(self, arm: str) -> list[str]:
        """The regime at the end, one per seed."""
        return [recording[-1].labels["regime"] for recording in self[arm]]

    def usual_regime(self, arm: str) -> str:
        """The most frequent of `regimes`."""
        return Counter(self.regimes(arm)).most_common(1)[0][0]


@dataclass(frozen=True)
class Check:
    """A claim, when results bear it out, in which sizes it can be asked, and whether runs of one
    seed are the same network in every arm, so that they are drawn together."""

    claim: str
    holds: Callable[[Results], bool]
    sizes: tuple[str, ...] = ("laptop", "desk", "full")
    paired: bool = False


@dataclass(frozen=True)
class Verdict:
    """What the runs say of a claim.

    Attributes
    ----------
    claim : str
    outcome : {"holds", "does not hold", "undecided", "not measured"}
        Holds: in at least 95% of 400 bootstrap draws of the seeds, with three seeds or more. Does
        not hold: in at most 5%. Our choice.
    seeds : int
        Of the arm with the fewest.
    measured : bool
        Whether it holds for the means as they are.
    share : float
        Of the draws in which it holds; NaN with fewer than three seeds.
    """

    claim: str
    outcome: Literal["holds", "does not hold", "undecided", "not measured"]
    seeds: int = 0
    measured: bool = False
    share: float = math.nan

    @cached_property
    def text(self) -> str:
        """The outcome in words, with what it rests on."""
        if self.outcome == "not measured":
            return self.outcome
        if math.isnan(self.share):
            as_it_is = "holds" if self.measured else "does not hold"
            return f"undecided: it {as_it_is} in {_count(self.seeds)}, and three are the least"
        if self.outcome == "undecided":
            return f"undecided: it holds in {self.share:.0%} of the draws of {self.seeds} seeds"
        return f"{self.outcome} ({self.seeds} seeds)"


def _count(seeds: int) -> str:
    return "one seed" if seeds == 1 else f"{seeds} seeds"


def judge(check: Check, results: Results) -> Verdict:
    """Whether a claim holds beyond the seeds, by a bootstrap over them, each arm on its own unless
    the check is `paired`.

    Examples
    --------
    >>> judge(Check("pigs fly", lambda r: r.mean("pig", "altitude") > 0), Results({})).text
    'not measured'
    """
    results.asked.clear()
    try:
        measured = bool(check.holds(results))
    except KeyError:  # an arm that was not run yet
        return Verdict(check.claim, "not measured")
    seeds = min((len(results._recordings[arm]) for arm in results.asked), default=0)
    seeds = min(seeds, results.least) if check.paired else seeds
    if seeds < _LEAST_SEEDS:
        return Verdict(check.claim, "undecided", seeds, measured)
    generator = np.random.default_rng(0)
    draws = (results.resampled(generator, paired=check.paired) for _ in range(_DRAWS))
    held = [bool(check.holds(drawn)) for drawn in draws]
    share = float(np.mean(held))
    if share >= _SURE and measured:
        return Verdict(check.claim, "holds", seeds, measured, share)
    if share <= 1 - _SURE and not measured:
        return Verdict(check.claim, "does not hold", seeds, measured, share)
    return Verdict(check.claim, "undecided", seeds, measured, share)
