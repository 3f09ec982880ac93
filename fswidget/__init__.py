"""See a network learn features.

``import fswidget as fs`` is light: numpy, torch and the widget load when a name that needs them is
first used, so that a recorded run opens where torch is not installed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fswidget.config import Config as Config
    from fswidget.experiments import recipes as recipes
    from fswidget.explorer import Explorer as Explorer
    from fswidget.moments import FeatureMoments as FeatureMoments
    from fswidget.recording import Frame as Frame
    from fswidget.recording import Recording as Recording
    from fswidget.regime import Regime as Regime
    from fswidget.spectrum import Spectrum as Spectrum
    from fswidget.spectrum import analyze as analyze
    from fswidget.storage import load as load
    from fswidget.sweeping import sweep as sweep
    from fswidget.training import record as record
    from fswidget.training import train as train
    from fswidget.viewer import Viewer as Viewer
    from fswidget.viewer import compare as compare
    from fswidget.watching import watch as watch

__version__ = "0.1.0"

# Where each public name lives; modules carry other names than the functions, because importing a
# submodule would otherwise replace a function of the same name on the package.
_HOME = {
    "Config": "config",
    "Explorer": "explorer",
    "FeatureMoments": "moments",
    "Frame": "recording",
    "Recording": "recording",
    "Regime": "regime",
    "Spectrum": "spectrum",
    "Viewer": "viewer",
    "analyze": "spectrum",
    "compare": "viewer",
    "load": "storage",
    "recipes": "experiments",
    "record": "training",
    "sweep": "sweeping",
    "train": "training",
    "watch": "watching",
}

__all__ = [
    "Config",
    "Explorer",
    "FeatureMoments",
    "Frame",
    "Recording",
    "Regime",
    "Spectrum",
    "Viewer",
    "analyze",
    "compare",
    "load",
    "recipes",
    "record",
    "sweep",
    "train",
    "watch",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'fswidget' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"fswidget.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
