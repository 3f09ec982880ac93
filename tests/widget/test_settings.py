"""Settings: their names, what is refused, and what of the controls is sent."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import traitlets

import fswidget as fs
from fswidget.recording.recording import Recording
from fswidget.training import changes as changes_module
from fswidget.widget.explorer import Explorer
from fswidget.widget.viewer import Viewer
from tests.synthetic import make_recording
from tests.widget.conftest import FrontEnd

NAMES = [field.name for field in dataclasses.fields(fs.Config)]


def agrees(explorer: Explorer) -> bool:
    """Whether every control shows what the settings are."""
    return all(getattr(explorer, name) == getattr(explorer.config, name) for name in NAMES)


@pytest.mark.parametrize("function", [fs.Explorer, fs.sweep, Explorer.__init__, Explorer.configure])
def test_signatures_name_every_setting(function: Any) -> None:
    parameters = inspect.signature(function).parameters
    assert set(NAMES) <= set(parameters)
    assert not any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    if function is fs.Explorer:
        assert parameters["width"].default == fs.Config().width


@pytest.mark.parametrize("call", ["fs.Explorer(wid", "fs.sweep(config, wid"])
def test_ipython_completes_settings(call: str) -> None:
    from IPython.core.completer import IPCompleter, provisionalcompleter

    completer = IPCompleter(namespace={"fs": fs, "config": fs.Config()}, use_jedi=False)
    with provisionalcompleter():
        found = {completion.text for completion in completer.completions(call, len(call))}
    assert "width=" in found


def test_a_misspelt_name_is_refused_with_the_nearest(make: Callable[..., Explorer]) -> None:
    explorer = make()
    with pytest.raises(AttributeError, match="widht=256: Explorer has no such attribute; did you"):
        explorer.widht = 256
    with pytest.raises(AttributeError, match="did you mean batchnorm"):
        explorer.batch_norm = True
    with pytest.raises(AttributeError, match="did you mean epoch"):
        Viewer(make_recording(2)).epochs = 3
    for name in ("config", "recording", "network", "error"):
        with pytest.raises(AttributeError):
            setattr(explorer, name, None)


def assign(explorer: Explorer, values: dict[str, Any], way: str) -> None:
    """Set settings from Python."""
    if way == "configure":
        explorer.configure(**values)
        return
    with explorer.hold_trait_notifications() if way == "held" else nullcontext():
        for name, value in values.items():
            setattr(explorer, name, value)


@pytest.mark.parametrize("values", [{"width": -1}, {"width": -1, "lr": 0.5}, {"lr": "fast"}])
@pytest.mark.parametrize("way", ["one by one", "held", "message", "configure"])
def test_after_a_refusal_all_is_as_it_was(
    make: Callable[..., Explorer], front_end: FrontEnd, values: dict[str, Any], way: str
) -> None:
    explorer = make(width=8)
    if way == "message":
        explorer.set_state(values)  # what a front end sets raises nowhere
        last = front_end.sent[-1][0]["state"]
        assert {name: last[name] for name in values}.items() <= explorer.get_state().items()
    else:
        with pytest.raises(ValueError, match=r"(width=-1|lr='fast'): must be"):
            assign(explorer, values, way)
    assert agrees(explorer)
    assert explorer.width == 8
    if way in ("held", "message"):
        (refused,) = [name for name, now in explorer._controls_now.items() if now.get("note")]
        assert refused == min(values, key=["width", "lr"].index)
        assert "must be" in explorer.message
    # Later changes are taken, and take the note away.
    explorer.width = 16
    assert (explorer.config.width, explorer.message) == (16, "")
    assert not any("note" in now for now in explorer._controls_now.values())


def test_several_settings_in_one_message_are_taken_together(make: Callable[..., Explorer]) -> None:
    explorer = make()
    explorer.set_state({"dataset": "modular", "model": "transformer", "width": 64})
    assert (explorer.config.dataset, explorer.config.model) == ("modular", "transformer")
    explorer.set_state({"loss": "mse", "target_scale": 3.0, "dataset": "digits", "model": "mlp"})
    assert (explorer.config.target_scale, explorer.config.model) == (3.0, "mlp")
    assert agrees(explorer)


def test_what_was_changed_beside_is_said_where_it_happened(make: Callable[..., Explorer]) -> None:
    explorer = make(batchnorm=True)
    explorer.model = "transformer"
    now = explorer._controls_now
    assert "transformer" in now["batchnorm"]["note"]
    assert now["dataset"]["note"].startswith("dataset digits → modular")
    assert now["batchnorm"]["disabled"]


def test_what_was_put_aside_comes_back_and_says_so(make: Callable[..., Explorer]) -> None:
    explorer = make(loss="cross_entropy", batchnorm=True, train_size=1200)
    explorer.model = "transformer"
    explorer.width = 64  # what is put aside stays there meanwhile
    explorer.model = "mlp"
    assert (explorer.dataset, explorer.batchnorm, explorer.train_size) == ("digits", True, 1200)
    note = explorer._controls_now["train_size"]["note"]
    assert note == "train_size 1000 → 1200: as it was before."
    explorer.dataset = "diabetes"
    assert explorer.loss == "mse"
    explorer.dataset = "teacher"
    assert explorer.loss == "mse"
    explorer.dataset = "digits"
    assert explorer.loss == "cross_entropy"
    assert "as it was before" in explorer.message


def test_defaults_are_the_settings_at_the_start(make: Callable[..., Explorer]) -> None:
    explorer = make(width=64, root="here")
    explorer.configure(model="transformer", dataset="modular", width=32, optimizer="sgd")
    explorer._handle_custom_msg({"type": "command", "name": "defaults"}, [])
    assert explorer.config == make(width=64, root="here").config
    assert agrees(explorer)


def test_a_front_end_sets_neither_what_is_local_nor_what_the_kernel_tells(
    make: Callable[..., Explorer],
) -> None:
    explorer = make(root="here")
    held = explorer._recordings["run-1"] = explorer._recording = make_recording(2)
    before = explorer.get_state()
    told = [name for name in explorer.keys if explorer.trait_metadata(name, "told")]
    assert {"run", "state", "num_frames", "_packed", "_controls"} <= set(told)
    assert not {"root", "download", "device"} & set(explorer.keys)
    explorer.set_state(dict.fromkeys(["root", "download", "device", *told], ""))
    assert explorer.get_state() == before
    assert (explorer.config.root, explorer.recording) == ("here", held)
    explorer.set_state({"theme": "dark", "epoch": 1})
    assert (explorer.theme, explorer.epoch) == ("dark", 1)
    explorer.set_state({"theme": "pink"})
    assert explorer.theme == "dark"


def test_one_slider_checks_one_setting_and_sends_what_changed(
    make: Callable[..., Explorer], front_end: FrontEnd, monkeypatch: pytest.MonkeyPatch
) -> None:
    explorer = make()
    checked = []
    check = changes_module.check

    def count(field: Any, value: Any) -> None:
        checked.append(field.name)
        check(field, value)

    for module in ("changes", "config"):
        monkeypatch.setattr(f"fswidget.training.{module}.check", count)
    front_end.sent.clear()
    explorer.set_state({"width": 64})
    assert checked == ["width"]
    sent = sum(len(json.dumps(message)) for message, _ in front_end.sent)
    assert sent < 500
    explorer.set_state({"model": "transformer"})
    assert "_controls" not in str(
        [list(message["state"]) for message, _ in front_end.sent]
    ).replace("_controls_now", "")


def test_a_viewer_begins_at_an_epoch() -> None:
    recording = make_recording(4)
    assert Viewer(recording).epoch is None
    assert Viewer(recording, epoch=3).epoch == 3
    assert Viewer(recording, epoch=-2).epoch == 3
    viewer = Viewer(recording)
    assert viewer.shown == -1
    viewer.shown = 2
    assert (viewer.epoch, viewer.shown) == (2, 2)
    viewer.shown = -1
    assert viewer.epoch is None
    with pytest.raises(IndexError, match=r"epoch=2\.5"):
        Viewer(Recording(recording.info), epoch=2.5)
    with pytest.raises(ValueError, match="epoch=3: needs a recording"):
        Viewer(epoch=3)


def test_pressed_buttons_are_bounded() -> None:
    viewer = Viewer(make_recording(0), can_control=True)
    for _ in range(80_000):
        viewer._handle_custom_msg({"type": "command", "name": "pause"}, [])
    assert len(viewer.commands) == 100
    assert isinstance(viewer, traitlets.HasTraits)


def test_asking_again_for_the_same_costs_nothing(front_end: FrontEnd) -> None:
    viewer = Viewer(make_recording(3))
    front_end.sent.clear()
    for run in [viewer.run, "", "gone", viewer.run]:
        for _ in range(100):
            viewer._handle_custom_msg({"type": "sync", "run": run, "next": 0}, [])
    assert len(front_end.messages("run")) == 1
    front_end.sent.clear()
    viewer._stream.answer_time = 0
    viewer._handle_custom_msg({"type": "sync", "run": viewer.run, "next": 0, "described": True}, [])
    assert front_end.messages("run") == []
    assert front_end.frames() == [0, 1, 2, 3]
