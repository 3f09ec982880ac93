"""Frames of any numbers: kept as they are, drawn, printed and exported without an exception."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np

import fswidget as fs
from fswidget.figures.drawing import FIGURES
from fswidget.recording.frame import RunInfo
from tests.synthetic import make_frame, make_recording

_NASTY = [
    "</script><b>",
    "\ud800",
    "\0",
    "ünï",
    "' onload='x",
    "a" * 3000,
    "",
    "__proto__",
    "{{x}}",
]


def _number(random: np.random.Generator) -> float:
    if random.random() < 0.15:
        return float(random.choice([np.nan, np.inf, -np.inf, 0.0, -0.0, 5e-324, 1.7e308, -1.7e308]))
    return float(random.choice([-1, 1]) * 10 ** random.uniform(-310, 308))


def trial(random: np.random.Generator, folder: Path) -> str:
    """One recording of odd frames, shown in every way."""
    base = make_recording(0, num_layers=int(random.integers(3)))
    title = str(random.choice(_NASTY))
    recording = fs.Recording(
        RunInfo(**{**_fields(base.info), "title": title, "class_names": (title,) * 4})
    )
    epoch = 0.0
    for number in range(random.integers(1, 6)):
        epoch += float(10 ** random.uniform(-3, 6)) if number else 0.0
        frame = make_frame(number, num_layers=len(base.info.layers))
        scalars = {name: _number(random) for name in frame.scalars if random.random() < 0.8}
        arrays = {
            name: _odd(array, random) if random.random() < 0.3 else array
            for name, array in frame.arrays.items()
            if random.random() < 0.95
        }
        recording.append(
            fs.Frame(epoch, int(epoch), scalars, {**frame.labels, "evidence": title}, arrays)
        )
    path = recording.save(folder / "run.npz")
    again = fs.load(path)
    for one, two in zip(recording, again, strict=True):
        assert list(one.scalars) == list(two.scalars) or set(one.scalars) == set(two.scalars)
        for name, value in one.scalars.items():
            other = two.scalars[name]
            assert value == other or (math.isnan(value) and math.isnan(other)), name
        for name, array in one.arrays.items():
            np.testing.assert_array_equal(array, two.arrays[name])
    assert len(repr(again)) + len(repr(again.info)) < 7000
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in FIGURES:
            _draw(recording, name)
        page = recording.to_html(folder / "page.html").read_text(encoding="utf-8")
    assert "<b>" not in page.split("<body", 1)[-1].split("</script>")[0][:200]
    assert "</script><b>" not in page
    fs.Viewer(recording)
    return "kept, drawn and exported"


def _draw(recording: fs.Recording, name: str) -> None:
    try:
        recording.figure(name)
    except ValueError as error:
        assert name in str(error) or "not in the frame" in str(error), (name, error)


def _fields(info: Any) -> dict[str, Any]:
    names = ["config", "task", "num_features", "num_outputs", "labels", "thumbnails", "layers"]
    return {name: getattr(info, name) for name in names}


def _odd(array: np.ndarray[Any, Any], random: np.random.Generator) -> np.ndarray[Any, Any]:
    changed = np.array(array, np.float32)
    for _ in range(random.integers(1, 4)):
        if changed.size:
            value = random.choice([np.nan, np.inf, -np.inf, 1e38, -1e38, 1e-40, 0])
            changed.flat[random.integers(changed.size)] = value
    return changed
