"""Runs that a view swaps as its sliders move: those of a sweep, on a grid of settings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fswidget.figures.theme import used_of
from fswidget.figures.words import REGIMES, STILL
from fswidget.recording.frame import RUN_ARRAYS, Frame, RunInfo
from fswidget.recording.grid import Sweep
from fswidget.recording.recording import Recording
from fswidget.recording.regimes import is_kept, regime_of
from fswidget.recording.seeds import mean_of
from fswidget.widget import codec

#: The choice of all seeds at once.
ALL = "all"

#: Steps of a cloud's reach and of the height of a curve, and significant bits of eigenvalues, in a
#: page of many runs: a point is off by less than a pixel of a panel 500 pixels high.
_CLOUD, _CURVE, _BITS = 255, 1024, 8

#: Settings that are told beside the axes, where a sweep keeps them fixed.
_TOLD = ("model", "dataset", "width", "batchnorm", "train_size", "loss", "lr", "epochs")

Place = tuple[int, ...]


@dataclass(frozen=True)
class Grid:
    """Recordings by their place along some axes.

    Parameters
    ----------
    axes : dict of str to list
        The choices of each control, with ``"all"`` before several seeds.
    runs : dict of tuple of int to Recording
        By the positions in the axes; places without a run are absent.
    missing : dict of tuple of int to str
        Why a place is absent.
    fixed : dict of str to Any
        Settings that all runs share.
    """

    axes: Mapping[str, Sequence[Any]]
    runs: Mapping[Place, Recording]
    missing: Mapping[Place, str]
    fixed: Mapping[str, Any]

    @classmethod
    def of(cls, sweep: Sweep) -> Grid:
        """The grid of a sweep that kept its recordings.

        Raises
        ------
        ValueError
            If it kept none.
        """
        sweep.sel()  # says why where there is none
        axes = {name: list(values) for name, values in sweep.axes.items()}
        seeds = axes.get("seed", [])
        if len(seeds) > 1:
            axes["seed"] = [ALL, *seeds]
        runs: dict[Place, Recording] = {}
        missing: dict[Place, str] = {}
        for run in sweep:
            place = tuple(axes[name].index(run.settings[name]) for name in axes)
            if run.recording is not None and len(run.recording):
                runs[place] = run.recording
            else:
                missing[place] = "this run failed" if run.error else "no recording was kept"
        if len(seeds) > 1:
            at = list(axes).index("seed")
            groups: dict[Place, list[Recording]] = {}
            for place, recording in runs.items():
                groups.setdefault((*place[:at], 0, *place[at + 1 :]), []).append(recording)
            runs |= {place: mean_of(group) for place, group in groups.items()}
            for place, reason in list(missing.items()):
                whole = (*place[:at], 0, *place[at + 1 :])
                if whole not in runs:
                    missing[whole] = reason
        return cls(axes, runs, missing, sweep.base)

    @property
    def start(self) -> Place:
        """The place to begin at: the first that has a run."""
        return min(self.runs)

    def choices(self, place: Place) -> dict[str, Any]:
        """The settings of a place."""
        return {name: self.axes[name][i] for name, i in zip(self.axes, place, strict=True)}

    def place(self, choices: Mapping[str, Any]) -> Place:
        """The inverse of `choices`; a number between two values is the nearer one."""
        return tuple(_nearest(values, choices[name]) for name, values in self.axes.items())

    @property
    def settings(self) -> list[str]:
        """Names of the axes, and of what all runs share."""
        return list(dict.fromkeys([*self.axes, *self.fixed]))

    def check(self, settings: Mapping[str, Any]) -> None:
        """Raise a `ValueError` where these settings are no places on the axes."""
        for name, value in settings.items():
            values = self.axes.get(name, [self.fixed.get(name)])
            if value not in values:
                allowed = ", ".join(map(repr, values))
                raise ValueError(f"{name}={value!r}: must be one of {allowed}")

    def controls(self) -> list[dict[str, Any]]:
        """Controls as `fswidget.widget.controls` describes them: the axes, and what is fixed."""
        axes = [_control(name, values) for name, values in self.axes.items()]
        told = [name for name in _TOLD if name in self.fixed and name not in self.axes]
        fixed = [_control(name, [self.fixed[name]], fixed=True) for name in told]
        return [*axes, *fixed]

    def map(self) -> dict[str, Any] | None:
        """How each run ended, by its place: what a map over the first two axes shows.

        Returns
        -------
        dict or None
            ``axes``, those of the map first; ``cells`` by their places along these; None where no
            axis but the seeds has several values.
        """
        spread = [n for n, values in self.axes.items() if n != "seed" and len(values) > 1][:2]
        if not spread:
            return None
        order = [*spread, *(name for name in self.axes if name not in spread)]
        names = list(self.axes)
        cells = {}
        for place, recording in self.runs.items():
            frame = recording[-1]
            regime = regime_of(frame.labels, recording.info.all_needed)
            sign, said, _ = REGIMES.get(regime, (regime or "–", regime, ""))
            said = STILL.get(regime, said) if is_kept(frame.labels) else said
            words = [f"{self.label(place)}: {said}"]
            used = used_of(recording.info, frame)
            words += [f"k95 {used:.0f}"] if math.isfinite(used) else []
            key = ",".join(str(place[names.index(name)]) for name in order)
            cells[key] = {"regime": regime, "sign": sign, "words": ", ".join(words)}
        axes = [{"name": n, "label": _described(n)[0], "values": list(self.axes[n])} for n in order]
        return {"axes": axes, "cells": cells}

    def page(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        """The grid as JSON types, and the packed runs that it names.

        Clouds are rounded to 1/255 of their reach, curves to 1/1024 of their height and
        eigenvalues to 8 significant bits, less than a screen shows; held-out samples are left out.
        What runs share (labels and pictures of the samples) is packed once.
        """
        blocks: dict[str, bytes] = {}
        shared: dict[bytes, str] = {}
        cells: dict[str, dict[str, str]] = {}
        for number, place in enumerate(sorted(self.runs)):
            recording = self.runs[place]
            info = replace(recording.info, config={}, title="", held_out_labels=None)
            common = codec.pack(Recording(info, provenance={}), "shared")
            name = shared.setdefault(common, f"shared-{len(shared)}")
            blocks[name] = common
            run = f"run-{number + 1}"
            blocks[run] = pack_for_screen(recording, run, _bare(recording.info))
            key = ",".join(map(str, place))
            cells[key] = {"run": run, "shared": name, "label": self.label(place)}
        axes = [
            {"name": name, "values": list(values), "log": _is_log(values)}
            for name, values in self.axes.items()
        ]
        missing = {",".join(map(str, place)): reason for place, reason in self.missing.items()}
        return {"axes": axes, "cells": cells, "missing": missing}, blocks

    def label(self, place: Place) -> str:
        """A place in words."""
        return ", ".join(f"{name} {_word(value)}" for name, value in self.choices(place).items())


def _word(value: Any) -> str:
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


def _numbers(values: Sequence[Any]) -> bool:
    return all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)


def _is_log(values: Sequence[Any]) -> bool:
    return _numbers(values) and min(values) > 0 and max(values) >= 8 * min(values)


def _nearest(values: Sequence[Any], wanted: Any) -> int:
    if wanted in values:
        return list(values).index(wanted)
    if not _numbers([*values, wanted]):
        raise ValueError(f"{wanted!r}: must be one of {', '.join(map(repr, values))}")
    log = _is_log(values) and wanted > 0
    distances = [abs(np.log(v / wanted)) if log else abs(v - wanted) for v in values]
    return int(np.argmin(distances))


def _control(name: str, values: Sequence[Any], fixed: bool = False) -> dict[str, Any]:
    label, help = _described(name)
    if set(map(type, values)) == {bool} and len(values) == 2:
        kind = "checkbox"
    else:
        kind = "slider" if len(values) > 1 and _numbers(values) else "select"
    slider = kind == "slider"
    whole = all(isinstance(value, int) for value in values)
    return {
        "name": name,
        "label": label,
        "help": help,
        "group": "main",
        "kind": kind,
        "value": values[0],
        "choices": list(values) if kind == "select" else None,
        "min": min(values) if slider else None,
        "max": max(values) if slider else None,
        "step": 1 if slider and whole else None,
        "log": slider and _is_log(values),
        "note": "fixed in this sweep" if fixed else None,
        "disabled": None,
    }


def _described(name: str) -> tuple[str, str]:
    """Label and help of a setting, as it declares them where torch is installed."""
    try:
        from fswidget.training.config import Config
    except ImportError:
        return name.replace("_", " "), ""
    field = Config.__dataclass_fields__.get(name)
    if field is None:
        return name.replace("_", " "), ""
    return field.metadata["label"], field.metadata["help"]


def pack_for_screen(recording: Recording, run: str, info: RunInfo | None = None) -> bytes:
    """What a page of several runs holds of each, see `Grid.page`; `info` goes before its own."""
    info = recording.info if info is None else info
    rounded = Recording(info, byte_budget=None, provenance=recording.provenance)
    for frame in recording:
        rounded.append(replace(frame, arrays=dict(_rounded_arrays(frame))))
    return codec.pack(rounded, run, _CLOUD)


def _bare(info: RunInfo) -> RunInfo:
    """Without what runs share."""
    empty: dict[str, Any] = {**dict.fromkeys(RUN_ARRAYS), "labels": np.zeros(0, np.float32)}
    return replace(info, **empty)


def _rounded_arrays(frame: Frame) -> Iterator[tuple[str, NDArray[Any]]]:
    for name, array in frame.arrays.items():
        if name == "eigenvalues":
            mantissa, exponent = np.frexp(array)
            yield name, np.ldexp(np.rint(mantissa * 2**_BITS) / 2**_BITS, exponent)
        elif name.startswith(("quality", "utilization")):
            yield name, np.rint(array * _CURVE) / _CURVE
        elif name != "held_out_projections":
            yield name, array
