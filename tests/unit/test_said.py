"""What people are told of a regime is the same wherever they are told it."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
from bokeh.models import BoxAnnotation

import fswidget as fs
from fswidget.analysis.regime import classify
from fswidget.cli import main
from fswidget.figures.still import picture, sentence
from fswidget.figures.theme import COLORS
from fswidget.figures.words import words
from fswidget.recording.grid import Run, Sweep
from fswidget.recording.recording import Recording
from fswidget.recording.regimes import regime_said
from fswidget.widget.grid import Grid
from tests.synthetic import make_recording

SMALL = {"epochs": 1, "train_size": 100, "lr": 0.01}
NUMBERS = {
    "num_features": 64,
    "num_outputs": 10,
    "num_samples": 300,
    "classification": True,
    "low_rank_measure": 0.3,
    "debiased": 0.3,
    "top_share": 0.9,
}


def letters(recording: Recording, *, kept: bool) -> str:
    """What stands in the map of a sweep, whether it kept the recording or not."""
    run = Run({"seed": 0}, recording[-1].scalars, recording[-1].labels)
    run = dataclasses.replace(run, recording=recording if kept else None)
    (said,) = Sweep({}, {"seed": [0]}, [run]).figure().renderers[0].data_source.data["label"]
    return str(said)


def cell(recording: Recording) -> dict[str, str]:
    """Its place on the map of a page."""
    runs = [Run({"width": width}, recording=recording) for width in (1, 2)]
    found = Grid.of(Sweep({}, {"width": [1, 2]}, runs)).map()
    assert found is not None
    return dict(found["cells"]["0"])


def with_label(regime: str, evidence: str, used: float) -> Recording:
    """Sixty-four features and ten outputs, whose last frame has this label."""
    made = make_recording(2, num_features=64, num_classes=10)
    frame = made[-1]
    scalars = {**frame.scalars, "used_features": used}
    labels = {**frame.labels, "regime": regime, "evidence": evidence}
    recording = Recording(made.info)
    for one in (*made[:-1], dataclasses.replace(frame, scalars=scalars, labels=labels)):
        recording.append(one)
    return recording


@pytest.mark.parametrize(
    ("width", "samples", "why"),
    [
        (8, 100, "fewer features than outputs, 8 of at least 11"),
        (10, 100, "no more features than outputs, 10 of at least 11"),
        (32, 7, "fewer samples than outputs, 7 of at least 11"),
        (32, 10, "no more samples than outputs, 10 of at least 11"),
        (32, 100, None),
    ],
)
def test_what_is_not_defined_is_called_so_everywhere(width, samples, why, tmp_path, capsys) -> None:
    recording = fs.record(fs.Config(width=width, probe_size=samples, **SMALL), progress=True)
    bar = capsys.readouterr().err
    frame = recording[-1]
    assert frame.labels["regime"] in ("MF", "TRANSITION", "EF")
    said = frame.labels["regime"] if why is None else "not defined"
    assert f"regime={said}" in bar
    assert f"regime {said}, D_LR" in sentence(recording)
    assert f"regime={said}, D_LR" in repr(frame)
    assert letters(recording, kept=True) == letters(recording, kept=False) == said
    assert ("not defined" in cell(recording)["words"].lower()) == (why is not None)
    # Nor is a number of features in use told there, nor drawn.
    told = [bar, cell(recording)["words"]]
    assert ["k95" in text for text in told] == [why is None] * 2
    for name, source in (("history", "curves"), ("regime", "k95"), ("cumulative", "used")):
        data = recording.figure(name).select_one({"name": source}).data
        y = np.asarray(data["ys"][-2] if "ys" in data else data["y"], float)
        assert np.isfinite(y).any() == (why is None), name
    drawn = recording.plot("regime").lines
    assert np.isfinite([y for line in drawn for y in line.get_ydata()]).any() == (why is None)
    options = [f"--{name.replace('_', '-')}={value}" for name, value in SMALL.items()]
    options += [f"--width={width}", f"--probe-size={samples}"]
    assert main(["run", *options, f"--save={tmp_path / 'run.npz'}"]) == 0
    output = capsys.readouterr()
    assert re.search(f"{said}(]|$)", output.err, re.MULTILINE)
    told = f"{said}: {frame.labels['evidence']}" if why is None else f"Not defined: {why}; "
    assert re.search(r"^  regime +(.*)$", output.out, re.MULTILINE)[1].startswith(told)


def test_of_arrays_it_is_called_so_too() -> None:
    labels = [0, 1, 2] * 20
    features = [[i == label for i in range(3)] for label in labels]
    spectrum = fs.analyze(features, features, labels)
    assert spectrum.regime.label == "MF"  # the number, which random heads do not reach
    assert str(spectrum.regime).startswith("Not defined: no more features than outputs, 3 of")
    assert repr(spectrum).endswith("Not defined>")


@pytest.mark.parametrize(
    ("used", "error", "before", "named"),
    [(21, 1.5, "TRANSITION", "In transition"), (11, 1.0, "MF", "Minimal features")],
)
def test_a_label_that_is_kept_is_said_to_be_kept(used, error, before, named) -> None:
    """Its k95 stands in the zone of another one."""
    known = {"used_features": used, "k95": (used - 0.3, error), **NUMBERS}
    now, then = classify(**known), classify(previous=before, **known)
    assert now.label != then.label == before
    recording = with_label(then.label, then.evidence, used)
    assert then.evidence.startswith(words()["kept"])
    assert regime_said(recording[-1].labels) == f"still {before}"
    assert f"regime still {before}" in sentence(recording)
    assert f"Still {named.lower()}, k95 {used}" in cell(recording)["words"]
    assert letters(recording, kept=True) == before
    for name, told in (("history", True), ("regime", True), ("spectrum", False)):
        title = recording.figure(name).title.text
        assert title.endswith(f"still {before}") == told
    plain = with_label(now.label, now.evidence, used)
    assert "still" not in sentence(plain) + plain.figure("history").title.text
    assert picture(plain) != picture(recording)


@pytest.mark.parametrize(("used", "zone"), [(6, 0), (15, 1), (40, 2)])
def test_where_nothing_was_learned_the_zone_of_k95_says_so(used, zone) -> None:
    for regime in ("UNTRAINED", "MF"):
        recording = with_label(regime, "", used)
        boxes = recording.figure("regime").select({"type": BoxAnnotation})
        colors = [box.fill_color for box in sorted(boxes, key=lambda box: box.top)]
        expected = [COLORS[name] for name in ("MF", "TRANSITION", "EF")]
        expected[zone] = COLORS["UNTRAINED"] if regime == "UNTRAINED" else expected[zone]
        assert colors == expected
        zones = recording.figure("history").select_one({"name": "zones"}).data
        behind = [c for c, a in zip(zones["color"], zones["alpha"], strict=True) if a < 0.5]
        assert behind == expected


def test_of_features_that_do_not_vary_no_number_in_use_is_drawn() -> None:
    recording = with_label("CONSTANT", "", 1)
    used = recording.figure("regime").select_one({"name": "k95"}).data["y"]
    assert list(np.isfinite(used)) == [True, True, False]
    assert "k95" not in cell(recording)["words"]
