"""The zones of the regimes in figures: none reaches beyond the features that there are."""

from __future__ import annotations

import dataclasses

import pytest
from bokeh.models import BoxAnnotation

from fswidget.recording.recording import Recording
from tests.synthetic import make_recording


def network(p: int, c: int) -> Recording:
    made = make_recording(3, num_features=p, num_classes=c)
    assert made.info.minimal_features == c
    recording = Recording(made.info)
    for frame in made:
        scalars = {**frame.scalars, "used_features": float(min(p, c))}
        recording.append(dataclasses.replace(frame, scalars=scalars))
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
