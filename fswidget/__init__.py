"""See a network learn features.

``import fswidget as fs`` is light: numpy, torch and the widget load when a name that needs them is
first used, so that a recorded run opens where torch is not installed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fswidget import plot as plot
    from fswidget.analysis.api import FeatureMoments as FeatureMoments
    from fswidget.analysis.api import analyze as analyze
    from fswidget.analysis.regime import Regime as Regime
    from fswidget.analysis.spectrum import Spectrum as Spectrum
    from fswidget.experiments.catalogue import recipes as recipes
    from fswidget.experiments.sweeping import sweep as sweep
    from fswidget.figures.paper import plot_compare as plot_compare
    from fswidget.probing.continuing import replay as replay
    from fswidget.probing.measures import measure as measure
    from fswidget.probing.recorder import Recorder as Recorder
    from fswidget.probing.watching import watch as watch
    from fswidget.recording.frame import Frame as Frame
    from fswidget.recording.loading import load as load
    from fswidget.recording.provenance import cite as cite
    from fswidget.recording.recording import Recording as Recording
    from fswidget.training.config import Config as Config
    from fswidget.training.loop import train as train
    from fswidget.training.run_folder import record as record
    from fswidget.widget.checkup import doctor as doctor
    from fswidget.widget.comparison import compare as compare
    from fswidget.widget.explorer import Explorer as Explorer
    from fswidget.widget.html import to_html as to_html
    from fswidget.widget.viewer import Viewer as Viewer

__version__ = "0.1.0"

# Where each public name lives. No folder bears the name of a public function, because importing it
# would replace that function on the package.
_HOME = {
    "Config": "training.config",
    "Explorer": "widget.explorer",
    "FeatureMoments": "analysis.api",
    "Frame": "recording.frame",
    "Recording": "recording.recording",
    "Recorder": "probing.recorder",
    "Regime": "analysis.regime",
    "Spectrum": "analysis.spectrum",
    "Viewer": "widget.viewer",
    "analyze": "analysis.api",
    "cite": "recording.provenance",
    "compare": "widget.comparison",
    "doctor": "widget.checkup",
    "load": "recording.loading",
    "measure": "probing.measures",
    "plot_compare": "figures.paper",
    "recipes": "experiments.catalogue",
    "record": "training.run_folder",
    "replay": "probing.continuing",
    "sweep": "experiments.sweeping",
    "to_html": "widget.html",
    "train": "training.loop",
    "watch": "probing.watching",
}

__all__ = [
    "Config",
    "Explorer",
    "FeatureMoments",
    "Frame",
    "Recorder",
    "Recording",
    "Regime",
    "Spectrum",
    "Viewer",
    "analyze",
    "cite",
    "compare",
    "doctor",
    "load",
    "measure",
    "plot_compare",
    "recipes",
    "record",
    "replay",
    "sweep",
    "to_html",
    "train",
    "watch",
]


#: What the extra `train` brings, and no recorded run needs.
_TRAIN = {"torch", "torchvision"}


def __getattr__(name: str) -> Any:
    if name == "plot":
        return importlib.import_module("fswidget.plot")
    if name not in _HOME:
        raise AttributeError(f"module 'fswidget' has no attribute {name!r}")
    try:
        value = getattr(importlib.import_module(f"fswidget.{_HOME[name]}"), name)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _TRAIN:
            raise
        # Without the way that led there: it is long, and the way out is one line.
        raise ImportError(
            f'fswidget.{name} needs {missing}: pip install "fswidget[train]"'
        ) from None
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
