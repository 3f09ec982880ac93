"""What numbers would be of endless samples, from what they are of fewer, and their errors.

All of it is our choice. `benchmarks/measures_accuracy.py` measures how often the errors hold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fswidget.analysis.arrays import Array

UNKNOWN = 0.25  # share of a bias that is not known
_RISES = 0.5  # of what leaks: a k95 that rises further is not withheld for it, with enough samples
RANK_TOLD = 0.45  # of the samples, over the κ of `mixed`: a plain rank beyond is withheld
_PER_FUNCTION = 8  # samples that k95 needs for each output function
_PER_CLASS = 2  # samples that NC1 needs on the mean
_STANDS_OUT = 3  # standard deviations of the weakest direction between class means, for NC1
_SPREAD = 1.5  # directions of noise for each class
_NEAR = 3  # features on either side of k95, of which the utilization's slope is taken


class Estimate(NamedTuple):
    """A number without the bias of a finite probe, and its standard error; NaN where withheld."""

    value: float = math.nan
    error: float = math.nan


def standard_error(left_out: Sequence[Any]) -> Any:
    """Of the jackknife, of numbers or of curves with one block left out at a time."""
    values = np.asarray(left_out)
    count = len(values)
    with np.errstate(invalid="ignore"):  # of infinite values it is NaN
        return np.sqrt((count - 1) / count * ((values - values.mean(0)) ** 2).sum(0))


def removed_by(value: float, left_out: Sequence[float] | Array) -> float:
    """The bias that one step of the jackknife finds, and removes."""
    return float((len(left_out) - 1) * (np.mean(left_out) - value))


def one_step(value: float, left_out: Sequence[float], unknown: float = 0.0) -> Estimate:
    """Without a bias in 1/n, by the jackknife; the error grows as the value does, and adds in
    quadrature the share `unknown` of what was removed.

    Examples
    --------
    >>> one_step(5 - 3 / 80, [5 - 3 / 70] * 8)  # of 80 samples, eight blocks
    Estimate(value=5.0, error=0.0)
    """
    removed = removed_by(value, left_out)
    found = value - removed
    grown = max(found / value, 1.0) if value > 0 else 1.0
    error = math.hypot(float(standard_error(left_out)) * grown, unknown * removed)
    return Estimate(round(found, 12) + 0.0, error)


def two_steps(
    value: float, left_out: Sequence[float], halves: Sequence[float], most: float = math.inf
) -> Estimate:
    """Without a bias in 1/n and 1/n² of the logarithm, which of the effective rank is the entropy,
    through all samples, all but a block, and half of them.

    The error grows as the square of the value, as n samples make r of equal eigenvalues
    1/(1/r + 1/n), and adds in quadrature a quarter of what the second step changes. NaN, both,
    where the plain value is more than `most`: such a probe does not tell.

    Examples
    --------
    >>> of = lambda n: math.exp(2 - 3 / n + 2 / n**2)
    >>> round(two_steps(of(8), [of(7)] * 8, [of(4)] * 4).value, 9) == round(math.exp(2), 9)
    True
    """
    log, logs = math.log(value), np.log(left_out)
    removed, second = removed_by(log, logs), 0.0
    if halves and len(left_out) > 2:  # of two samples a half is all but one
        times = len(left_out) / (len(left_out) - 1)  # as many in all as when one is left out
        second = (float(np.mean(np.log(halves))) - log - removed) / (2 - times) * times
    found = math.exp(log - removed + second)
    grown = max(found / value, 1.0)
    error = math.hypot(float(standard_error(left_out)) * grown**2, UNKNOWN * found * second)
    return Estimate(round(found, 12), error) if value <= most else Estimate()


def mixed(values: Array, shares: Array, used: int, n: float, tails: float = 1.0) -> float:
    """By how many features utilization that leaks past k95 moves it, to first order.

    Sampling mixes eigenfunctions j and l by κ ρ_j ρ_l / (n (ρ_j − ρ_l)²) of their square (Anderson
    1963, of normal features, whose κ is 1), and so carries that share of the difference of their
    utilizations past k95 where j ≤ k95 < l. Not where it is 1 or more: which of two that are wholly
    mixed is used more is chance, and a k95 that by chance seems to leak little would be told. Over
    the mean utilization of the six features there.

    Parameters
    ----------
    values, shares : ndarray, shape (K,)
        Eigenvalues, and what each adds to Π̂.
    used : int
        k95.
    tails : float, default 1.0
        κ = E‖Φ‖⁴ / ((tr Σ)² + 2 tr Σ²) of centred features, which is E[z_j² z_l²] of independent
        directions of any elliptical ones.

    Examples
    --------
    >>> round(mixed(np.array([2.0, 1.0]), np.array([1.0, 0.0]), 1, 100), 6)  # 0.02 / 0.5
    0.04
    """
    a, b = values[:used, None], values[None, used:]
    with np.errstate(divide="ignore"):
        mixing = tails * a * b / (n * (a - b) ** 2)
    leaked = np.where(mixing < 1, mixing, 0) * (shares[:used, None] - shares[used:])
    slope = float(shares[max(used - _NEAR, 0) : used + _NEAR].mean())
    total = float(leaked.sum())
    return min(total / slope, float(len(values))) if total > 0 and slope > 0 else 0.0


def used_features(
    known: int,
    places: tuple[float, Sequence[float], Sequence[float]],
    *,
    least: float,
    most: int,
    leaked: float,
    enough: bool = True,
) -> Estimate:
    """k95 without bias, from the place where Π̂ crosses 0.95, which has no steps.

    The place is extrapolated linearly in 1/n from halves of the samples (from all but a block
    where there are no halves). The error: in quadrature the jackknife's of the place, a quarter of
    what was removed and of what leaks (`mixed`), since the probe does not tell how well either is
    known, and 1/√12, since a feature is used or not. NaN, both, where the quarter of what leaks is
    more than all the rest, so that the error is a guess, and halves do not find k95 to rise by more
    than half of it, and where they hold too few samples per feature used and do not find it to rise
    by more than all of it: if they do, most of the bias is of features beyond the samples' reach,
    which halves see. Not where k95 is as small as it can be, since what leaks makes it too large.

    Parameters
    ----------
    known : int
        k95 as it is counted.
    places : tuple
        Of all samples, of all but one block after another, and of halves.
    least, most : float, int
        Bounds: 0.95 of the output functions, of which each fits into one feature, and p.
    leaked : float
        What `mixed` finds.
    enough : bool, default True
        Whether halves hold two samples per feature used.
    """
    place, left_out, halves = places
    removed = float(np.mean(halves)) - place if halves else removed_by(place, left_out)
    # On the mean k95 lies half a feature behind its place; more, and single steps misled it.
    start = known if abs(place + 0.5 - known) < 1 else place + 0.5
    bounds = math.ceil(max(least, 1.0) - 1e-9), float(most)
    found = min(max(start - removed, bounds[0]), bounds[1])
    rest = math.hypot(float(standard_error(left_out)), UNKNOWN * removed, math.sqrt(1 / 12))
    guess = UNKNOWN * leaked > rest and removed > -_RISES * leaked
    guess |= not enough and removed > -leaked
    if guess and round(found) > bounds[0]:
        return Estimate()
    return Estimate(found, math.hypot(rest, UNKNOWN * leaked))


def tells_used_features(known: int, rank: int, n: float) -> bool:
    """Whether n samples tell k95 at all: 8 for each output function, and 2 for each feature used.

    With fewer, eigenfunctions are mixed or missing, and nothing in the probe says how many.
    """
    return n >= _PER_FUNCTION * rank and n >= 2 * known


def enough_per_class(n: float, classes: int) -> bool:
    """Whether n samples are two per class, with fewer of which NC1 is not told."""
    return n >= _PER_CLASS * classes


def noise_is_spread(directions: float, classes: int) -> bool:
    """Whether the noise within classes has half as many directions again as there are classes, so
    that what it adds to the products of their means is near its mean."""
    return directions > _SPREAD * classes


def tells_nc1(n: float, classes: int, signal: float, directions: float) -> bool:
    """Whether n samples tell NC1: two per class, and a weakest direction of the class means, of
    which NC1 has the inverse, that stands out of what sampling adds to it, or is more than that
    where the noise is not spread.

    Parameters
    ----------
    signal, directions : float
        `class_signal` and ``noise_directions`` of `neural_collapse`.
    """
    least = _STANDS_OUT if noise_is_spread(directions, classes) else 0
    return enough_per_class(n, classes) and signal > least
