"""Figures: what is declared for the front end, and what a single figure shows."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
import warnings
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bokeh.document import Document
from bokeh.embed import json_item
from bokeh.models import ColumnDataSource, DataRange1d, GlyphRenderer, Legend, Plot

from fswidget.figures import drawing
from fswidget.figures.layout import layout_json
from fswidget.figures.theme import CLASS_COLORS, CLASS_MARKERS, THEMES, places, style
from fswidget.recording.frame import Frame, RunInfo
from fswidget.recording.recording import Recording
from tests.synthetic import FIGURES, make_recording


def column(plot: Plot, source: str, name: str) -> np.ndarray:
    found = plot.select_one({"name": source, "type": ColumnDataSource})
    return np.asarray(found.data[name])


@pytest.fixture
def recording() -> Recording:
    return make_recording(5, num_layers=3)


def test_live_figures_are_documents_of_their_own() -> None:
    layout = json.loads(layout_json())
    assert set(layout["figures"]) >= {"spectrum", "cumulative", "projections", "history", "layers"}
    for item in layout["figures"].values():
        assert [root["id"] for root in item["doc"]["roots"]] == [item["root_id"]]


def test_figures_are_made_once_for_all_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    live = drawing.live
    monkeypatch.setattr(drawing, "live", lambda: made.append(live()) or made[-1])
    monkeypatch.setenv("FSWIDGET_CACHE", str(tmp_path / "cache"))
    first, second = (layout_json.__wrapped__() for _ in range(2))
    assert first == second
    assert len(made) == 1
    (kept,) = (tmp_path / "cache").iterdir()
    kept.write_text("{")  # damaged: made again
    third = layout_json.__wrapped__()
    assert json.dumps(made[1]) in third
    assert kept.read_text() == json.dumps(made[1])
    (tmp_path / "file").touch()  # where no folder can be
    monkeypatch.setenv("FSWIDGET_CACHE", str(tmp_path / "file"))
    fourth = layout_json.__wrapped__()
    assert json.dumps(made[2]) in fourth


def test_live_figures_restore_with_every_name_once() -> None:
    for item in json.loads(layout_json())["figures"].values():
        document = Document.from_json(item["doc"])
        names = [model.name for model in document.models if model.name]
        assert len(names) == len(set(names))
        assert not list(document.select({"type": DataRange1d}))


def test_scalars_have_the_fields_names() -> None:
    labels = style()["labels"]
    assert labels["low_rank_measure"] == "D_LR plain"
    assert labels["low_rank_measure_debiased"] == "D_LR"
    assert labels["used_features_held_out"] == "k95 held out"
    assert labels["test_accuracy"] == "test acc."


def test_front_end_needs_no_code_from_the_figures() -> None:
    assert "CustomJS" not in layout_json()


def test_every_role_has_a_color_in_both_themes() -> None:
    assert THEMES["light"]["roles"].keys() == THEMES["dark"]["roles"].keys()
    assert len({len(theme["lines"]) for theme in THEMES.values()}) == 1


def test_a_dash_means_the_run_before() -> None:
    """No other curve may be dashed, in any figure."""
    for item in json.loads(layout_json())["figures"].values():
        for model in Document.from_json(item["doc"]).select({"type": GlyphRenderer}):
            dashed = getattr(model.glyph, "line_dash", []) not in ([], "solid")
            assert dashed == model.name.startswith("ghost"), model.name


def luminance(color: str) -> float:
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize(("theme", "background"), [("light", "#ffffff"), ("dark", "#16181b")])
def test_curves_and_text_stand_out(theme: str, background: str) -> None:
    def contrast(color: str) -> float:
        pair = sorted((luminance(color), luminance(background)))
        return (pair[1] + 0.05) / (pair[0] + 0.05)

    roles = THEMES[theme]["roles"]
    for role in ("accent", "dim", "quality", "accuracy", "loss", "first", "ghost", "bad"):
        assert contrast(roles[role]) >= 4.5, role
    assert contrast(roles["strong"]) >= 3
    assert contrast(roles["ink"]) >= 7
    assert all(contrast(color) >= 4.5 for color in THEMES[theme]["lines"])
    assert all(contrast(edge) >= 3 for _, edge in THEMES[theme]["classes"])


def test_classes_differ_by_shape_and_color() -> None:
    assert len(set(CLASS_COLORS)) == len(set(CLASS_MARKERS)) == 10


@pytest.mark.parametrize("name", FIGURES)
def test_each_figure_serialises(recording: Recording, name: str) -> None:
    plot = recording.figure(name)
    assert isinstance(plot, Plot)
    restored = Document.from_json(json_item(plot)["doc"])
    assert restored.roots[0].name == name


def test_spectrum_shows_the_chosen_epoch_relative_to_its_top(recording: Recording) -> None:
    plot = drawing.figure(recording, "spectrum", epoch=2)
    expected = recording[2].eigenvalues / recording[2].eigenvalues[0]
    np.testing.assert_allclose(column(plot, "now", "y"), expected, rtol=1e-6)
    np.testing.assert_array_equal(column(plot, "now", "x"), np.arange(1, 17))
    first = recording[0].eigenvalues / recording[0].eigenvalues[0]
    np.testing.assert_allclose(column(plot, "first", "y"), first, rtol=1e-6)
    assert plot.select_one({"name": "outputs"}).location == 4
    assert "epoch 2" in plot.title.text
    assert plot.select_one({"name": "ticks:x"}).ticks == [1, 2, 5, 10]


def test_cumulative_has_bands_of_one_standard_error(recording: Recording) -> None:
    plot = drawing.figure(recording, "cumulative")
    width = column(plot, "utilization_band", "y2") - column(plot, "utilization_band", "y1")
    np.testing.assert_allclose(width, 0.04, rtol=1e-4)
    assert list(column(plot, "used", "x")) == [recording[-1].scalars["used_features"]]


def test_projections_keep_the_order_of_the_samples(recording: Recording) -> None:
    plot = drawing.figure(recording, "projections")
    np.testing.assert_array_equal(column(plot, "samples", "y"), recording[-1].projections[:, 2])
    np.testing.assert_array_equal(column(plot, "samples", "label"), recording.info.labels)
    shapes = column(plot, "samples", "marker")
    assert len(set(shapes)) == 4


def test_history_shows_every_frame_and_regime(recording: Recording) -> None:
    plot = drawing.figure(recording, "history")
    bottom, top = places(["shares", "features", "others"])["shares"]
    low_rank = (np.asarray(column(plot, "curves", "ys")[0]) - bottom) / (top - bottom)
    np.testing.assert_allclose(low_rank, recording.table()["low_rank_measure_debiased"])
    np.testing.assert_array_equal(column(plot, "zones", "left")[:2], [0, 0.5])
    np.testing.assert_array_equal(column(plot, "zones", "right")[:2], [0.5, 5])


def test_bands_of_the_history_lie_apart_and_fill_what_is_there() -> None:
    for shown in (["shares"], ["shares", "others"], ["others", "features", "shares"]):
        spans = list(places(shown).values())
        assert spans[0][1] == pytest.approx(0.9)
        assert spans[-1][0] == pytest.approx(0)
        assert all(upper[0] > lower[1] for upper, lower in pairwise(spans))


def without_debiased(recording: Recording) -> Recording:
    """As recorded before frames carried it."""

    def lean(values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in values.items() if "debiased" not in name}

    older = Recording(recording.info)
    for frame in recording:
        scalars, arrays = lean(frame.scalars), lean(frame.arrays)
        older.append(dataclasses.replace(frame, scalars=scalars, arrays=arrays))
    return older


@pytest.mark.parametrize(
    ("edit", "measure", "called", "error"),
    [
        (lambda recording: recording, "low_rank_measure_debiased", "D_LR", 0.02),
        (without_debiased, "low_rank_measure", "D_LR plain", 0.01),
    ],
    ids=["debiased", "older"],
)
def test_the_better_estimate_of_d_lr_is_shown_and_named(
    recording: Recording, edit: Any, measure: str, called: str, error: float
) -> None:
    shown = edit(recording)
    history = drawing.figure(shown, "history")
    (legend,) = history.select({"type": Legend})
    names = [item.label.value for item in legend.items]
    assert names == [called, "test acc.", "k95", "loss"]
    bottom, top = places(["shares", "features", "others"])["shares"]
    drawn = (np.asarray(column(history, "curves", "ys")[0]) - bottom) / (top - bottom)
    np.testing.assert_allclose(drawn, shown.table()[measure])
    width = column(history, "band", "y2") - column(history, "band", "y1")
    np.testing.assert_allclose(width, 2 * error * (top - bottom))
    mean = 0.123  # over the layers of features, as the frame has it; of earlier ones over all
    if edit is not without_debiased:
        frame = shown[-1]
        scalars = {**frame.scalars, f"mean_layer_{measure}": mean}
        shown = Recording(shown.info)
        shown.append(dataclasses.replace(frame, scalars=scalars))
    layers = drawing.figure(shown, "layers")
    expected = shown[-1].arrays[f"layer_{measure}"]
    bottom, top = places(["shares", "others"])["shares"]
    drawn = bottom + expected * (top - bottom)
    np.testing.assert_allclose(column(layers, "low_rank_measure", "y"), drawn)
    (legend,) = layers.select({"type": Legend})
    mean = np.mean(expected) if edit is without_debiased else mean
    assert legend.items[0].label.value == f"{called}, mean {mean:.2f}"


def test_the_strip_of_regimes_stands_above_the_curves() -> None:
    recording = make_recording(0)
    for epoch, regime in enumerate(["LAZY", "EF", *["MF"] * 18], start=1):
        frame = dataclasses.replace(recording[0], epoch=epoch, labels={"regime": regime})
        recording.append(frame)
    plot = drawing.figure(recording, "history")
    strip = column(plot, "zones", "top") == 1
    roles = THEMES["light"]["roles"]
    expected = [roles[name] for name in ("UNTRAINED", "LAZY", "EF", "MF")]
    assert list(column(plot, "zones", "color")[strip]) == expected
    curves = np.concatenate(column(plot, "curves", "ys"))
    assert np.nanmax(curves) < column(plot, "zones", "bottom")[strip].min()


def test_layers_carry_their_names(recording: Recording) -> None:
    plot = drawing.figure(recording, "layers")
    assert list(plot.xaxis.major_label_overrides.values()) == ["layer 0", "layer 1", "layer 2"]


def test_layers_of_which_none_has_a_value_have_no_mean(recording: Recording) -> None:
    arrays = {
        name: values * np.nan if "low_rank" in name else values
        for name, values in recording[-1].arrays.items()
    }
    recording.append(Frame(6, 6, {}, {}, arrays))
    plot = drawing.figure(recording, "layers")
    (legend,) = plot.select({"type": Legend})
    assert [item.label.value for item in legend.items] == ["D_LR plain", "effective rank"]


def test_layers_without_layers() -> None:
    with pytest.raises(ValueError, match="no layers were watched"):
        drawing.figure(make_recording(1), "layers")


def test_unknown_name(recording: Recording) -> None:
    for name in ("spectra", ["a"], None):
        with pytest.raises(ValueError, match=r"name=.*: must be one of 'spectrum', 'cumulative'"):
            recording.figure(name)


def test_regression_colors_by_target_and_counts_the_constant() -> None:
    random = np.random.default_rng(0)
    target = random.normal(size=20).astype(np.float32)
    info = RunInfo({}, "squared_error", num_features=8, num_outputs=1, labels=target)
    recording = Recording(info)
    arrays = {
        "eigenvalues": 1 / np.arange(1, 9),
        "quality": np.linspace(0, 1, 8),
        "utilization": np.linspace(0, 1, 8),
        "projections": random.normal(size=(20, 2)),
    }
    recording.append(Frame(0, 0, {"used_features": 2.0}, {"regime": "MF"}, arrays))
    assert drawing.figure(recording, "spectrum").select_one({"name": "outputs"}).location == 2
    mapper = drawing.figure(recording, "projections").select_one({"name": "classes"})
    assert (mapper.low, mapper.high) == (pytest.approx(target.min()), pytest.approx(target.max()))
    for name in ("cumulative", "history", "regime"):
        drawing.figure(recording, name)


def test_figures_need_no_torch() -> None:
    code = "import sys; import fswidget.figures; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "losses",
    [
        [-3.0, -1.0, 2.0],
        [-3.0, -3.0, -3.0],
        [1e-310, 1e-310, 1e-310],
        [1e308, 1e-310, 1.0],
        [-1e308, 1e308, 0.0],
        [0.0, 0.0, 0.0],
        [math.inf, math.nan, -math.inf],
    ],
)
def test_every_loss_has_its_place_in_history(losses: list[float]) -> None:
    recording = make_recording(2)
    # An error without a value, as of a measure that is not defined.
    undefined = {"low_rank_measure": math.nan, "low_rank_measure_error": 0.1}
    frames = [
        dataclasses.replace(f, scalars={"loss": v, **undefined})
        for f, v in zip(recording, losses, strict=True)
    ]
    recording = Recording(recording.info)
    for frame in frames:
        recording.append(frame)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot = recording.figure("history")
        json_item(plot)
    drawn = plot.select_one({"name": "curves"}).data["ys"]
    kept = [y for curve in drawn for y in curve if math.isfinite(y)]
    assert all(0 <= y <= 1 for y in kept)
    assert all(math.isfinite(tick) for tick in plot.select_one({"name": "ticks:y"}).ticks)
    if any(losses) and not any(map(math.isnan, losses)):
        assert kept  # no empty plot


def test_quality_is_drawn_against_intensity_over_time() -> None:
    run = Recording(RunInfo({}, "cross_entropy", 3, 3, np.zeros(0)))
    for epoch, quality in enumerate(([0.2, 0.2, 0.5, 0.5], [0.5, 0.8, 0.9, 0.95])):
        run.append(Frame(epoch, epoch, {}, {}, {"eigenvalues": [4, 2, 1, 0.5], "quality": quality}))
    plot = run.figure("quality_intensity")
    first, last = (item.renderers[0] for item in plot.legend[0].items)
    # What is 0 has no place on a logarithmic axis.
    np.testing.assert_allclose(first.data_source.data["x"], [1, 0.25])
    np.testing.assert_allclose(last.data_source.data["y"], [0.5, 0.3, 0.1, 0.05], rtol=1e-6)
    assert [item.label.value for item in plot.legend[0].items] == [
        "epoch 0: +0.00",
        "epoch 1: +1.00",
    ]
    assert len(run.figure("quality_intensity", epoch=0).select({"type": GlyphRenderer})) == 1
