"""The errors of a spectrum, from analyses without each block, one by one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fswidget as fs
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
    for name, left in zip(NAMES[2:], values.T[2:], strict=True):
        # Those of debiased estimates grow with them, by half of what a second step removes too, for
        # NC1 by a quarter of what the first removes.
        plain, debiased = getattr(whole, name), getattr(whole, f"{name}_debiased")
        removed = 7 * (left.mean() - plain)
        unknown = removed / 4 if name == "nc1" else (debiased - (plain - removed)) / 2
        grown = max(debiased / plain, 1) if plain > 0 else 1
        errors[name] = math.hypot(errors[name] * grown, unknown)
    return errors
