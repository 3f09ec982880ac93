"""The errors of a spectrum, from analyses without each block, one by one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fswidget as fs
from fswidget.analysis.extrapolation import noise_is_spread
from fswidget.analysis.measures import measures_of
from fswidget.analysis.targets import assign_blocks

NAMES = ("low_rank_measure", "low_rank_measure_debiased", "effective_rank", "nc1")


def left_out(
    features: Any, outputs: Any, labels: Any, groups: NDArray[Any] | None = None
) -> tuple[NDArray[Any], dict[str, float]]:
    """Some measures without each block, shape (8, measures), and their jackknife errors by name."""
    blocks = assign_blocks(labels, groups=groups)
    found = []
    for block in range(8):
        kept = blocks != block
        spectrum = fs.analyze(features[kept], outputs[kept], labels[kept], errors=False)
        found.append([getattr(spectrum, name) for name in NAMES])
    values = np.array(found)
    spread = np.sqrt(7 / 8 * ((values - values.mean(0)) ** 2).sum(0))
    return values, dict(zip(NAMES, spread.tolist(), strict=True))


def errors_by_hand(
    features: NDArray[Any], outputs: NDArray[Any], labels: NDArray[Any]
) -> dict[str, float]:
    """Those of some measures, by name, as a spectrum has them."""
    values, errors = left_out(features, outputs, labels)
    whole = fs.analyze(features, outputs, labels)
    # Those of debiased estimates grow with them, and hold a part of what was removed.
    plain, debiased = whole.effective_rank, whole.effective_rank_debiased
    entropy, entropies = math.log(plain), np.log(values[:, 2])
    second = math.log(debiased) - (entropy - 7 * (entropies.mean() - entropy))
    grown = max(debiased / plain, 1)
    guessed = debiased * second / 4
    errors["effective_rank"] = math.hypot(errors["effective_rank"] * grown**2, guessed)
    if math.isnan(whole.nc1_debiased):
        return errors | {"nc1": math.nan}
    blocks = assign_blocks(labels)
    everything = _numbers(features, outputs, labels)
    name = "nc1"
    if noise_is_spread(everything["noise_directions"], everything["target_rank"]):
        name = "nc1_of_means"  # the formula itself is tested apart
    kept = [blocks != block for block in range(8)]
    left = np.array([_numbers(features[k], outputs[k], labels[k])[name] for k in kept])
    removed = 7 * (left.mean() - everything[name])
    spread = math.sqrt(7 / 8 * ((left - left.mean()) ** 2).sum())
    grown = max(1 - removed / everything[name], 1) if everything[name] > 0 else 1
    return errors | {"nc1": math.hypot(spread * grown, removed / 4)}


def _numbers(
    features: NDArray[Any], outputs: NDArray[Any], labels: NDArray[Any]
) -> Mapping[str, Any]:
    count = outputs.shape[1]
    moments = fs.FeatureMoments(features.shape[1], count, count)
    return measures_of(moments.update(features, outputs, labels), "cross_entropy").numbers
