"""Pages and widgets of many runs: a sweep's sliders, and several recordings beside each other."""

from __future__ import annotations

import base64
import gzip
import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fswidget as fs
from fswidget.recording.frame import Frame
from fswidget.recording.grid import Run, Sweep
from fswidget.recording.seeds import mean_of
from fswidget.widget.grid import Grid
from tests.synthetic import make_recording

AXES = {"width": [8, 16, 64], "batchnorm": [False, True], "seed": [0, 1]}


def make_sweep(**left_out: Any) -> Sweep:
    runs = []
    for width in AXES["width"]:
        for batchnorm in AXES["batchnorm"]:
            for seed in AXES["seed"]:
                settings = {"width": width, "batchnorm": batchnorm, "seed": seed, "epochs": 3}
                failed = left_out and all(settings[n] == v for n, v in left_out.items())
                recording = make_recording(3, num_features=width, seed=seed, title="runs")
                run = Run(settings, error="MemoryError: no room" if failed else "")
                if not failed:
                    object.__setattr__(run, "recording", recording)
                runs.append(run)
    return Sweep({"epochs": 3, "loss": "mse"}, AXES, runs)


def data_of(page: Path) -> dict[str, Any]:
    (text,) = re.findall(r'<script type="application/json">(.*?)</script>', page.read_text())
    found: dict[str, Any] = json.loads(text)
    return found


def header_of(block: str) -> dict[str, Any]:
    content = gzip.decompress(base64.b64decode(block))
    length = int.from_bytes(content[4:8], "little")
    found: dict[str, Any] = json.loads(content[8 : 8 + length])
    return found


def test_a_page_holds_every_run_and_what_they_share_once(tmp_path: Path) -> None:
    data = data_of(make_sweep().to_html(tmp_path / "explore"))
    axes = {axis["name"]: axis["values"] for axis in data["grid"]["axes"]}
    assert axes == {"width": [8, 16, 64], "batchnorm": [False, True], "seed": ["all", 0, 1]}
    assert len(data["grid"]["cells"]) == 18  # twelve runs, and the means of their seeds
    shared = [name for name in data["blocks"] if name.startswith("shared")]
    assert len(shared) == 6  # by width, whose number of features differs, and by seed
    cell = data["grid"]["cells"]["1,1,2"]
    assert cell["label"] == "width 16, batchnorm on, seed 1"
    own = header_of(data["blocks"][cell["run"]])
    assert [frame["seq"] for frame in own["frames"]] == [0, 1, 2, 3]
    assert "sprite" not in own["info"]
    assert "sprite" in header_of(data["blocks"][cell["shared"]])["info"]
    controls = {control["name"]: control for control in json.loads(data["traits"]["_controls"])}
    assert [control["kind"] for control in controls.values()][:3] == [
        "slider",
        "checkbox",
        "select",
    ]
    assert controls["width"]["log"]
    assert controls["loss"]["choices"] == ["mse"]
    assert controls["loss"]["note"] == "fixed in this sweep"


def test_a_map_says_how_each_run_ended(tmp_path: Path) -> None:
    sweep = make_sweep(width=16, batchnorm=True)
    view = sweep.view()
    layout = json.loads(view._map)
    assert [axis["name"] for axis in layout["axes"]] == ["width", "batchnorm", "seed"]
    assert layout["axes"][0]["values"] == [8, 16, 64]
    assert len(layout["cells"]) == 15
    cell = layout["cells"]["0,1,0"]
    assert cell["words"].startswith("width 8, batchnorm on, seed all: ")
    assert cell["regime"] == view._grid.runs[0, 1, 0][-1].labels["regime"]
    assert "1,1,0" not in layout["cells"]
    assert data_of(sweep.to_html(tmp_path / "explore"))["traits"]["_map"] == view._map
    alone = Sweep(sweep.base, {"seed": [0, 1]}, [r for r in sweep if r.settings["width"] == 8][:2])
    assert Grid.of(alone).map() is None


def test_pictures_and_failed_runs(tmp_path: Path) -> None:
    sweep = make_sweep(width=16, batchnorm=True)
    data = data_of(sweep.to_html(tmp_path / "explore", pictures=False))
    assert data["grid"]["missing"] == {f"1,1,{i}": "this run failed" for i in (0, 1, 2)}
    assert not any("sprite" in header_of(b)["info"] for b in data["blocks"].values())
    assert "MemoryError" not in (tmp_path / "explore.html").read_text()
    with pytest.raises(ValueError, match='keep="recordings"'):
        Sweep({}, {"seed": [0]}, [Run({"seed": 0})]).to_html(tmp_path / "no")


def test_several_recordings_stand_on_one_page(tmp_path: Path) -> None:
    named = {"rich": make_recording(3), "lazy": make_recording(3, seed=1)}
    page = fs.to_html(named, tmp_path / "both", epoch=1.5)
    data = data_of(page)
    assert [view["title"] for view in data["views"]] == ["rich", "lazy"]
    assert [view["traits"]["epoch"] for view in data["views"]] == [1, 1]
    alone = make_recording(3).to_html(tmp_path / "one", epoch=0)
    assert data_of(alone)["traits"]["epoch"] == 0
    assert page.stat().st_size < 1.2 * alone.stat().st_size  # BokehJS and the front end once
    both = fs.compare(*named.values()).to_html(tmp_path / "compared")
    assert len(data_of(both)["views"]) == 2
    with pytest.raises(IndexError, match="epoch=-9"):
        make_recording(3).to_html(tmp_path / "none", epoch=-9)
    for wrong in ([], "run.npz", 3, [3]):
        with pytest.raises(TypeError, match="must be a Recording"):
            fs.to_html(wrong, tmp_path / "wrong")
    assert fs.Viewer(make_recording(3), epoch=1).epoch == 1


def test_a_moved_slider_swaps_the_run_and_keeps_the_epoch() -> None:
    view = make_sweep(width=16, batchnorm=True).view()
    assert (view.width, view.batchnorm, view.seed) == (8, False, "all")
    assert view.recording.info.title == "runs, mean of 2 seeds"
    view.epoch = 2
    first = view.run
    view.width = 19  # between two values, the nearer one
    assert view.width == 16
    assert view.recording.info.num_features == 16
    assert (view.epoch, view.shown) == (2, 2)
    runs = json.loads(view._runs)
    assert [entry["run"] for entry in runs] == [first, view.run]
    assert runs[-1]["changed"] == "width 8 → 16"
    view.batchnorm = True
    assert view.batchnorm is False  # there is no such run: back, and said so
    assert view.message == "Nothing to show: this run failed."
    view.seed = 1
    assert view.message == ""
    assert view.recording.info.title == "runs"
    view.seed = "none"
    assert view.seed == 1


def test_the_mean_of_seeds() -> None:
    both = [make_recording(3, seed=seed) for seed in (0, 1)]
    mean = mean_of(both)
    assert [frame.epoch for frame in mean] == [0, 1, 2, 3]
    values = [recording[-1].utilization for recording in both]
    np.testing.assert_allclose(mean[-1].utilization, np.mean(values, axis=0), rtol=1e-6)
    spread = np.std([r[-1].scalars["used_features"] for r in both], ddof=1)
    assert mean[-1].scalars.get("used_features_error", spread) == spread
    assert mean[-1].labels["evidence"].startswith("Mean of 2 seeds ± their standard deviation")
    np.testing.assert_array_equal(mean[1].projections, both[0][1].projections)
    assert mean_of(both[:1]) is both[0]
    assert [frame.epoch for frame in mean_of([both[0], both[1][1:3]])] == [1, 2]
    with pytest.raises(ValueError, match="no epoch"):
        mean_of([both[0][:1], both[1][1:]])
    for recording, exact in zip(both, ([4, 1], [1, 1, 1]), strict=True):
        recording.append(Frame(4, 4, {}, {}, {"exact_eigenvalues": exact}))
    assert mean_of(both)[-1].arrays["exact_eigenvalues"].tolist() == [2, 1]


def test_rounding_is_less_than_a_screen_shows() -> None:
    from fswidget.widget.grid import _rounded_arrays

    for frame in make_recording(3, num_features=200):
        rounded = dict(_rounded_arrays(frame))
        np.testing.assert_allclose(rounded["eigenvalues"], frame.eigenvalues, rtol=2**-8)
        np.testing.assert_allclose(rounded["quality"], frame.quality, atol=1 / 2048)
    assert Grid.of(make_sweep()).start == (0, 0, 0)


def test_runs_are_shown_while_they_arrive() -> None:
    views: list[Any] = []
    maps: list[int] = []

    def show(sofar: Any) -> None:
        if views:
            views[0].update(sofar)
        else:
            views.append(sofar.view())
        maps.append(len(json.loads(views[0]._map)["cells"]))

    config = fs.Config(epochs=1, train_size=40, test_size=40, width=8, device="cpu", num_shown=5)
    with ThreadPoolExecutor(1) as pool:
        options: dict[str, Any] = {"executor": pool, "keep": "recordings", "on_run": show}
        result = fs.sweep(config, width=[4, 8], seed=[0, 1], **options)
    (view,) = views
    # The first seed, with its mean over one; then the second, whose mean is of two.
    assert maps == [2, 3, 5, 6]
    assert view.recording.info.title.endswith("mean of 2 seeds")
    view.width, view.seed = 8, 1
    assert view.recording is result.sel(width=8, seed=1)
    with pytest.raises(ValueError, match="must have those on show"):
        view.update(make_sweep())
    with pytest.raises(TypeError, match="on_run=3"):
        fs.sweep(config, width=[4], on_run=3)


def test_a_file_of_a_sweep_leaves_out_what_that_of_a_recording_does(tmp_path: Path) -> None:
    sweep = make_sweep()
    whole = sweep.save(tmp_path / "whole")
    options: dict[str, Any] = {"pictures": False, "projections": False, "dtype": "float16"}
    small = sweep.save(tmp_path / "small", **options)
    assert small.stat().st_size < 0.8 * whole.stat().st_size
    kept = fs.load(small).sel(width=64, batchnorm=True, seed=1)
    assert kept.info.thumbnails is None
    assert "projections" not in kept[-1].arrays
    before = sweep.sel(width=64, batchnorm=True, seed=1)
    np.testing.assert_allclose(kept[-1].utilization, before[-1].utilization, atol=1e-3)
    for wrong in ({"pictures": 1}, {"projections": "no"}):
        with pytest.raises(TypeError, match="must be True or False"):
            sweep.save(tmp_path / "wrong", **wrong)
    with pytest.raises(ValueError, match="dtype='float8'"):
        sweep.save(tmp_path / "wrong", dtype="float8")


def test_the_page_that_ships_holds_every_run_of_its_grid() -> None:
    root = Path(__file__).parents[2]
    page, numbers = root / "docs/explorable.html", root / "notebooks/recordings/explorable.json"
    data = data_of(page)
    axes = {axis["name"]: axis["values"] for axis in data["grid"]["axes"]}
    sweep = fs.load(numbers)
    assert axes == {**sweep.axes, "seed": ["all", *sweep.axes["seed"]]}
    assert (len(sweep), len(data["grid"]["cells"]), data["grid"]["missing"]) == (54, 72, {})
    frames = header_of(data["blocks"][data["grid"]["cells"]["0,0,0,0"]["run"]])["frames"]
    assert [frame["scalars"][0] for frame in frames] == ["epoch"] * 7
    assert page.stat().st_size + numbers.stat().st_size < 3_000_000
