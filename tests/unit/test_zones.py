"""The zones of the regimes in figures: none reaches beyond the features that there are."""

from __future__ import annotations

import dataclasses

import pytest
from bokeh.models import BoxAnnotation

import fswidget as fs
from fswidget.figures.still import sentence
from fswidget.figures.theme import COLORS
from fswidget.recording.recording import Recording
from tests.synthetic import make_recording


def network(p: int, c: int, n: int | None = None, regime: str = "MF") -> Recording:
    made = make_recording(3, num_features=p, num_classes=c)
    assert made.info.minimal_features == c
    recording = Recording(dataclasses.replace(made.info, num_samples=n))
    for frame in made:
        scalars = {**frame.scalars, "used_features": float(min(p, c))}
        labels = {**frame.labels, "regime": regime}
        recording.append(dataclasses.replace(frame, scalars=scalars, labels=labels))
    return recording


@pytest.mark.parametrize("p", range(1, 9))
def test_no_zone_reaches_beyond_p(p: int) -> None:
    c = 4
    recording = network(p, c)
    boxes = recording.figure("regime").select({"type": BoxAnnotation})
    assert max(box.top for box in boxes) <= p
    assert len(boxes) == (1 if p <= c else 2)
    # In the history the same zones stand behind k95, as shares of its height.
    zones = recording.figure("history").select_one({"name": "zones"}).data
    behind = [alpha for alpha in zones["alpha"] if alpha < 0.5]
    assert len(behind) == len(boxes)


@pytest.mark.parametrize(
    ("n", "regime", "zone"),
    [
        (3, "TRANSITION", "UNDEFINED"),
        (7, "TRANSITION", "TRANSITION"),
        (7, "MF", "MF"),
        (50, "TRANSITION", "MF"),
        (None, "MF", "MF"),
    ],
)
def test_no_zone_contradicts_the_label_of_few_samples(n, regime, zone, tmp_path) -> None:
    from matplotlib.colors import to_rgb

    recording = network(16, 4, n, regime)
    recording.save(tmp_path / "run.npz")
    recording = fs.load(tmp_path / "run.npz")
    assert recording.info.num_samples == n
    boxes = recording.figure("regime").select({"type": BoxAnnotation})
    assert min(boxes, key=lambda box: box.top).fill_color == COLORS[zone]
    shown = recording.figure("history").select_one({"name": "zones"}).data["color"]
    assert shown[0] == COLORS["UNDEFINED" if zone == "UNDEFINED" else regime]  # the strip
    assert COLORS[zone] in shown[1:]
    assert ("regime not defined" in sentence(recording)) == (zone == "UNDEFINED")
    assert recording.plot("regime").patches[0].get_facecolor()[:3] == to_rgb(COLORS[zone])
