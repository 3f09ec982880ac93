"""What a lecturer may choose of a view: hidden, locked, own words, questions, presets."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest

import fswidget as fs
from fswidget.recording.grid import Sweep
from tests.synthetic import make_recording
from tests.unit.test_explorable import data_of, make_sweep

CHOSEN: dict[str, Any] = {
    "height": 640,
    "scale": 1.5,
    "hide": ["lr", "tour"],
    "lock": ["dataset"],
    "captions": {"spectrum": "Look for the cliff."},
    "panels": ["spectrum", "history"],
    "panel": "history",
    "axes": [1, 3],
    "reveal": True,
    "questions": [["Which one?", "That one."]],
    "presets": {"Wide": {"width": 512, "epoch": 3}},
}

WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"hide": ["batchnorn"]}, ValueError, "did you mean 'batchnorm'"),
    ({"hide": "width"}, TypeError, "hide='width'"),
    ({"lock": ["widht"]}, ValueError, "did you mean 'width'"),
    ({"lock": ["tour"]}, ValueError, "lock="),
    ({"captions": {"spectrm": "x"}}, ValueError, "did you mean 'spectrum'"),
    ({"captions": "yes"}, TypeError, "captions='yes'"),
    ({"captions": {"spectrum": 3}}, TypeError, "captions="),
    ({"panels": ["histori"]}, ValueError, "did you mean 'history'"),
    ({"panel": "histori"}, ValueError, "did you mean 'history'"),
    ({"axes": (0, 1)}, ValueError, "axes="),
    ({"axes": "12"}, ValueError, "axes="),
    ({"reveal": 1}, TypeError, "reveal=1"),
    ({"height": 10}, ValueError, "height=10"),
    ({"height": "640"}, TypeError, "height='640'"),
    ({"scale": 0.5}, ValueError, "scale=0.5"),
    ({"scale": True}, TypeError, "scale=True"),
    ({"questions": ["ab"]}, TypeError, "questions="),
    ({"questions": "ab"}, TypeError, "questions="),
    ({"presets": {"Wide": {"widht": 3}}}, ValueError, "did you mean 'width'"),
    ({"presets": ["Wide"]}, TypeError, "presets="),
]


@cache
def small_sweep() -> Sweep:
    return make_sweep()


def test_an_explorer_takes_all_of_it_and_says_so_to_its_front_end() -> None:
    explorer = fs.Explorer(**CHOSEN)
    state = explorer.get_state()
    assert {name: state[name] for name in CHOSEN} == CHOSEN
    for name in CHOSEN.keys() - {"panel", "axes", "captions", "height", "scale"}:
        assert explorer.trait_metadata(name, "told"), name


@pytest.mark.parametrize(("options", "error", "said"), WRONG)
def test_what_is_no_choice_is_named(
    options: dict[str, Any], error: type[Exception], said: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=said):
        fs.Explorer(**options)
    explorer = fs.Explorer()
    [(name, value)] = options.items()
    before = getattr(explorer, name)
    with pytest.raises(error, match=said):
        setattr(explorer, name, value)
    assert getattr(explorer, name) == before
    sweep = small_sweep()
    with pytest.raises(error, match=said):
        sweep.view(**options)
    with pytest.raises(error, match=said):
        sweep.to_html(tmp_path / "page", **options)


def test_a_preset_must_be_possible(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="width=-3"):
        fs.Explorer(presets={"None": {"width": -3}})
    for make in (make_sweep().view, lambda **given: make_sweep().to_html(tmp_path / "p", **given)):
        with pytest.raises(ValueError, match="width=3: must be one of 8, 16, 64"):
            make(presets={"None": {"width": 3}})
    with pytest.raises(ValueError, match="width"):
        fs.Viewer(make_recording(2), presets={"Wide": {"width": 16}})


def test_pages_hold_what_was_chosen(tmp_path: Path) -> None:
    chosen = {**CHOSEN, "hide": ["tour"], "lock": [], "presets": {"End": {"epoch": 3}}}
    traits = data_of(make_recording(3).to_html(tmp_path / "one", **chosen))["traits"]
    assert {name: traits[name] for name in chosen} == chosen
    assert traits["epoch"] == 0  # nothing is told in advance
    data = data_of(make_sweep().to_html(tmp_path / "many", hide=["seed"], lock=["width"]))
    assert (data["traits"]["hide"], data["traits"]["lock"]) == (["seed"], ["width"])
    assert data["traits"]["width"] == 8
    pair = [make_recording(3), make_recording(3, seed=1)]
    first, last = data_of(fs.to_html(pair, tmp_path / "pair", **chosen))["views"]
    assert (first["traits"]["questions"], last["traits"]["presets"]) == ([], {})
    with pytest.raises(TypeError, match="captoins=True: no such argument; did you mean captions"):
        fs.to_html(pair, tmp_path / "pair", captoins=True)  # type: ignore[call-arg]


def test_a_recording_takes_the_names_of_its_settings(tmp_path: Path) -> None:
    recording = make_recording(3)
    names = list(recording.config)
    assert names
    assert fs.Viewer(recording, hide=names, lock=names[:1]).hide == names
    recording.to_html(tmp_path / "one", hide=names, lock=names[:1])
    with pytest.raises(ValueError, match="hide="):
        recording.to_html(tmp_path / "one", hide=["none"])
    with pytest.raises(ValueError, match="lock="):
        fs.Viewer(recording, lock=["none"])


def test_predictions_come_before_what_happened() -> None:
    assert fs.Viewer(make_recording(3), reveal=True).epoch == 0
    assert fs.Viewer(make_recording(3), reveal=True, epoch=2).epoch == 2
    assert make_sweep().view(reveal=True).epoch == 0


def test_readers_cannot_change_what_is_locked() -> None:
    explorer = fs.Explorer(lock=["width"])
    explorer.set_state({"width": 512, "epochs": 3, "lock": []})
    assert (explorer.width, explorer.epochs, explorer.lock) == (256, 3, ["width"])
    explorer._command("load", "digits_width")
    assert explorer.width == 256
    assert "width is locked" in explorer.message
    explorer.presets = {"Narrow": {"width": 8}}
    explorer.set_state({"width": 16})
    explorer.set_state({"width": 8})  # a preset may
    assert explorer.width == 8
    explorer.width = 32  # and whoever has the kernel
    assert explorer.width == 32
