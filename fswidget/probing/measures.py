"""Measures of one's own, and what else a user adds to a frame."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fswidget.recording.frame import Frame
from fswidget.recording.scalars import SCALARS

Measure = Callable[[NDArray[Any], NDArray[Any], NDArray[Any]], float]
_registered: dict[str, tuple[Measure, str]] = {}


def measure(name: str, *, unit: str = "") -> Callable[[Measure], Measure]:
    """Register a function of the probe's features, outputs and targets, for all frames to come.

    Parameters
    ----------
    name : str
        Under which it stands in ``frame.scalars`` and in tables; its jackknife standard error over
        8 blocks under ``name_error``. Registering a name again replaces the function.
    unit : str
        For `units`.

    Returns
    -------
    callable
        A decorator for ``f(features, outputs, targets) -> float``, which is called with NumPy
        arrays: (n, p) and (n, C) of float64, and (n,) of int or (n, T) of float64. What it raises
        or returns that is no number becomes NaN, with a warning.

    Examples
    --------
    >>> @fs.measure("feature_scale")
    ... def scale(features, outputs, targets):
    ...     return np.abs(features).mean()
    >>> frame = fs.Recorder().snapshot(np.ones((4, 3)), np.eye(4), np.arange(4))
    >>> frame.scalars["feature_scale"]
    1.0
    >>> fs.measure.forget("feature_scale")
    """
    if not isinstance(name, str) or not name.isidentifier():
        raise ValueError(f"name={name!r}: must be an identifier")
    if name in SCALARS or name in ("epoch", "step", "regime", "evidence", "solver"):
        raise ValueError(f"name={name!r}: is measured in every frame; must be another")

    def register(function: Measure) -> Measure:
        if not callable(function):
            raise TypeError(f"{function!r}: must be a function of features, outputs and targets")
        _registered[name] = (function, unit)
        return function

    return register


def forget(name: str) -> None:
    """Measure it no longer."""
    _registered.pop(name, None)


measure.forget = forget  # type: ignore[attr-defined]


def units() -> dict[str, str]:
    """The units of all registered measures, by name."""
    return {name: unit for name, (_, unit) in _registered.items()}


def registered() -> bool:
    """Whether there is any."""
    return bool(_registered)


def measured(
    features: NDArray[Any], outputs: NDArray[Any], targets: NDArray[Any], blocks: NDArray[Any]
) -> dict[str, float]:
    """All registered measures and their errors, each block left out once; no errors where all
    samples are the same."""
    scalars: dict[str, float] = {}
    same = bool((features == features[:1]).all() and (outputs == outputs[:1]).all())
    for name, (function, _) in list(_registered.items()):
        scalars[name] = _number(name, function, features, outputs, targets)
        found = []
        for block in np.unique(blocks):
            kept = blocks != block
            if kept.any():
                rows = features[kept], outputs[kept], targets[kept]
                found.append(_number(name, function, *rows))
        if len(found) > 1:
            count, spread = len(found), math.nan if same else np.var(found)
            scalars[f"{name}_error"] = math.sqrt((count - 1) * float(spread))
    return scalars


def _number(name: str, function: Measure, *rows: NDArray[Any]) -> float:
    import warnings

    try:
        return float(function(*rows))
    except Exception as error:  # a measure that fails must not end a training
        warnings.warn(f"measure {name!r}: {type(error).__name__}: {error}", stacklevel=2)
        return math.nan


def with_given(frame: Frame, measured: Mapping[str, float], given: Mapping[str, float]) -> Frame:
    """A frame with what was measured besides, and what the user adds.

    Raises
    ------
    ValueError
        If the user's would overwrite what was measured; their own clock may.
    """
    scalars = {**frame.scalars, **measured}
    for name in sorted(given.keys() & scalars.keys() - {"seconds"}):
        raise ValueError(
            f"{name}={given[name]:g}: is measured in every frame; must be given another name"
        )
    return dataclasses.replace(frame, scalars={**scalars, **given})
