"""One band of the history: from values to places on an axis from 0 to 1, and its ticks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: What is drawn of a number, at most: beyond it, ranges and their margins overflow.
_LARGEST = 1e100

SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def log_ticks(start: float, end: float) -> list[float]:
    """Powers of ten, and numbers between them where those are few."""
    decades = math.log10(end / start)
    powers = np.arange(math.floor(math.log10(start)), math.log10(end) + 1e-9)
    digits = [1, 2, 5] if decades < 2 else [1]
    ticks = np.outer(10.0 ** powers[powers % math.ceil(decades / 5) == 0], digits).ravel()
    kept: list[float] = ticks[(ticks >= start * 0.999) & (ticks <= end * 1.001)].tolist()
    return kept


def tick_label(tick: float) -> str:
    """0.01 and 1000 as they are, 0.001 as a power of ten."""
    power = math.log10(tick) if tick > 0 else 0.0
    if math.isclose(power, round(power)) and not -3 < round(power) < 4:
        return "10" + str(round(power)).translate(SUPERSCRIPTS)
    return f"{tick:g}"


def _decades(values: NDArray[Any], least: tuple[float, float]) -> tuple[float, float]:
    known = np.clip(values[np.isfinite(values) & (values > 0)], 1 / _LARGEST, _LARGEST)
    low, high = (known.min(), known.max()) if known.size else least
    return 10 ** np.floor(np.log10(low * 0.999)), 10 ** np.ceil(np.log10(high * 1.001))


class Band:
    """One band of the history: from values to places on the common axis, and its ticks."""

    def __init__(self, name: str, span: tuple[float, float], minimal: int) -> None:
        self.name, self.log = name, name != "shares"
        self.bottom, self.top = span
        # The zones of the regimes want to be seen, whatever a run needed.
        self.range = {"shares": (0.0, 1.0), "features": (1.0, 4.0 * minimal)}.get(name)

    def include(self, values: NDArray[Any]) -> None:
        values = np.clip(values, -_LARGEST, _LARGEST)
        if self.name == "others" and (values < 0).any():
            self.log = False  # a likelihood of densities may be negative, and has no logarithm
        known = values[np.isfinite(values) & ((values > 0) | (not self.log))]
        if not known.size:
            return
        if self.log:
            known = np.maximum(known, 1 / _LARGEST)
        low, high = float(known.min()), float(known.max())
        if self.log:
            low, high = _decades(known, (low, high)) if self.range is None else (low, high * 1.2)
        before = self.range or (low, high)
        self.range = (min(low, before[0]), max(high, before[1]))

    def place(self, values: NDArray[Any]) -> NDArray[Any]:
        low, high = self.range or (0.1, 1.0)
        y = np.clip(values, -_LARGEST, _LARGEST)
        if self.log:
            y = np.log(np.where(y > 0, np.maximum(y, 1 / _LARGEST), np.nan))
            low, high = math.log(low), math.log(high)
        share = (y - low) / (high - low or 1.0)
        placed: NDArray[Any] = self.bottom + np.clip(share, 0, 1) * (self.top - self.bottom)
        return placed

    def ticks(self) -> list[tuple[float, str]]:
        low, high = self.range or (0.1, 1.0)
        ticks = log_ticks(low, high)[:4] if self.log else [low, high]
        return [(float(self.place(np.array(tick))), tick_label(tick)) for tick in ticks]
