"""The widget's trainer, without a browser."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fswidget.training.config import Config
from fswidget.widget.explorer import Explorer
from tests.widget.conftest import FrontEnd

SMALL: dict[str, Any] = {"width": 16, "train_size": 200, "epochs": 4, "frame_every": "epoch"}
#: More epochs than any test waits for.
ENDLESS: dict[str, Any] = {**SMALL, "epochs": 100_000}

#: Linear regression with steps far too large: the loss grows until it is not finite.
DIVERGING: dict[str, Any] = {"loss": "mse", "optimizer": "sgd", "lr": 10.0, "last_layer_only": True}


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition was never met"
        time.sleep(0.005)


def frames(explorer: Explorer) -> int:
    return 0 if explorer.recording is None else len(explorer.recording)


def test_every_setting_is_a_trait_with_its_default(make: Callable[..., Explorer]) -> None:
    explorer = make()
    for name, value in Config(loss="mse").to_dict().items():
        assert getattr(explorer, name) == value, name
        local = name in ("root", "download", "device")
        assert bool(explorer.trait_metadata(name, "sync")) is not local, name
    listed = {spec["name"] for spec in json.loads(explorer._controls)}
    assert {"width", "batchnorm", "train_size", "dataset", "model", "loss", "lr"} <= listed


def test_a_run_from_start_to_end(make: Callable[..., Explorer]) -> None:
    explorer = make(**SMALL)
    assert (explorer.state, explorer.recording, explorer.network) == ("idle", None, None)
    explorer.start()
    assert explorer.state == "running"
    assert explorer.wait() == "finished"
    assert [frame.epoch for frame in explorer.recording] == [0, 1, 2, 3, 4]
    assert explorer.recording[0].labels["regime"] == "UNTRAINED"
    assert explorer.recording[-1].scalars["loss"] < explorer.recording[1].scalars["loss"]
    assert explorer.error is None
    assert explorer.num_frames == 5
    assert explorer._packed
    assert explorer.progress["fraction"] == 1


def test_the_widget_trains_as_the_script_does(make: Callable[..., Explorer]) -> None:
    import fswidget as fs

    explorer = make(**SMALL)
    explorer.start()
    explorer.wait()
    script = fs.record(Config(loss="mse", **SMALL))
    for ours, theirs in zip(explorer.recording, script, strict=True):
        assert ours.eigenvalues.tolist() == theirs.eigenvalues.tolist()
        assert ours.scalars["low_rank_measure"] == theirs.scalars["low_rank_measure"]


def test_progress_is_json_from_the_first_moment(
    make: Callable[..., Explorer], front_end: FrontEnd
) -> None:
    explorer = make(**SMALL)
    explorer._last_told = -1e9  # tell at once
    explorer.start()
    explorer.wait()
    told = [
        message["state"]["progress"]
        for message, _ in front_end.sent
        if "progress" in message.get("state", {})
    ]
    assert told
    json.dumps(told, allow_nan=False)


def test_pause_holds_and_resume_goes_on(make: Callable[..., Explorer]) -> None:
    explorer = make(**ENDLESS)
    explorer.start()
    until(lambda: frames(explorer) >= 2)
    explorer.pause()
    assert explorer.wait() == "paused"
    held = frames(explorer)
    assert explorer._packed  # a paused run survives a save of the notebook
    explorer.resume()
    assert explorer.state == "running"
    until(lambda: frames(explorer) > held)
    explorer.stop()
    assert explorer.wait() == "finished"


def test_start_goes_on_with_a_paused_run(make: Callable[..., Explorer]) -> None:
    explorer = make(**ENDLESS)
    explorer.start()
    explorer.pause()
    explorer.wait()
    run = explorer.run
    explorer.start()
    until(lambda: frames(explorer) >= 2)
    assert explorer.run == run


def test_step_takes_one_frame_at_a_time(make: Callable[..., Explorer]) -> None:
    explorer = make(**ENDLESS)
    for count in (1, 2, 3):
        explorer.step()
        assert explorer.wait() == "paused"
        assert frames(explorer) == count


def test_stop_keeps_recording_and_network(make: Callable[..., Explorer]) -> None:
    explorer = make(**ENDLESS)
    explorer.start()
    until(lambda: frames(explorer) >= 3)
    explorer.stop()
    assert explorer.wait() == "finished"
    assert "Stopped" in explorer.message
    assert frames(explorer) >= 3
    assert sum(p.numel() for p in explorer.network.parameters()) > 0
    assert explorer._packed


def test_stop_and_start_at_once_is_a_new_run(make: Callable[..., Explorer]) -> None:
    explorer = make(**ENDLESS)
    explorer.start()
    until(lambda: frames(explorer) >= 1)
    run = explorer.run
    explorer.stop()
    explorer.start()
    until(lambda: explorer.run != run and frames(explorer) >= 1)
    assert explorer.state == "running"


@pytest.mark.parametrize("then", ["wait", "start", "step"])
def test_a_paused_run_that_was_stopped_is_over(make: Callable[..., Explorer], then: str) -> None:
    explorer = make(**ENDLESS)
    explorer.step()
    assert explorer.wait() == "paused"
    run = explorer.run
    explorer.stop()
    if then == "wait":
        assert explorer.wait() == "finished"
        return
    getattr(explorer, then)()
    until(lambda: explorer.run != run and frames(explorer) >= 1)


def test_reset_clears_the_view(make: Callable[..., Explorer]) -> None:
    explorer = make(**SMALL)
    explorer.start()
    explorer.wait()
    explorer.reset()
    assert (explorer.state, explorer.recording, explorer.num_frames) == ("idle", None, 0)
    explorer.start()
    until(lambda: frames(explorer) >= 1)
    explorer.pause()
    explorer.wait()
    explorer.reset()
    assert explorer.wait() == "idle"
    assert explorer.recording is None


def test_a_slider_begins_another_run_and_keeps_the_former(make: Callable[..., Explorer]) -> None:
    explorer = make(**ENDLESS)
    explorer.start()
    until(lambda: frames(explorer) >= 2)
    former, recording = explorer.run, explorer.recording
    explorer.width = 32
    until(lambda: explorer.run != former and frames(explorer) >= 1)
    assert explorer.recording.info.num_features == 32
    assert explorer._recordings[former] is recording
    assert len(recording) >= 2
    last = json.loads(explorer._runs)[-1]
    assert last["changed"] == "width 16 → 32"


def test_a_run_that_got_nowhere_is_not_kept(make: Callable[..., Explorer]) -> None:
    explorer = make(**{**ENDLESS, "frame_every": 100_000})
    explorer.start()
    for width in (32, 48):
        until(lambda: frames(explorer) == 1)
        former = explorer.run
        explorer.width = width
        until(lambda former=former: explorer.run != former)
    # The list follows the run.
    until(lambda: [entry["run"] for entry in json.loads(explorer._runs)] == [explorer.run])
    assert json.loads(explorer._runs)[0]["changed"] == ""
    assert list(explorer._recordings) == [explorer.run]


def test_a_setting_changed_while_idle_starts_nothing(make: Callable[..., Explorer]) -> None:
    explorer = make(**SMALL)
    explorer.width = 32
    assert explorer.state == "idle"
    assert explorer.config.width == 32


def test_start_after_a_setting_that_restarted_is_one_run(make: Callable[..., Explorer]) -> None:
    explorer = make(**SMALL)
    explorer.start()
    explorer.wait()
    before = explorer.recording
    explorer.batchnorm = True
    explorer.start()
    explorer.wait()
    assert [entry["changed"] for entry in json.loads(explorer._runs)] == [
        "",
        "batchnorm off → on",
    ]
    assert before is not explorer.recording
    assert len(before) == len(explorer.recording) == 5


def test_a_dragged_slider_restarts_once(make: Callable[..., Explorer], front_end: FrontEnd) -> None:
    explorer = make(**ENDLESS)
    explorer.start()
    until(lambda: frames(explorer) >= 2)
    former = explorer.run
    for width in range(17, 117):
        explorer.width = width
    until(lambda: explorer.run != former and frames(explorer) >= 1)
    assert explorer.recording.info.num_features == 116
    assert len(json.loads(explorer._runs)) == 2
    assert {content["run"] for content, _ in front_end.messages("run")} == {former, explorer.run}


def test_no_frame_of_an_older_run_after_the_new_one_began(
    make: Callable[..., Explorer], front_end: FrontEnd
) -> None:
    explorer = make(**ENDLESS)
    explorer._stream.patience = 0.0
    explorer.start()
    until(lambda: frames(explorer) >= 2)
    explorer.width = 24
    former = explorer.run
    until(lambda: explorer.run != former and frames(explorer) >= 2)
    order = [
        content["run"]
        for message, _ in list(front_end.sent)
        if (content := message.get("content", {})).get("type") in ("run", "frames")
    ]
    assert former not in order[order.index(explorer.run) :]


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"width": 0}, ValueError, "width=0"),
        ({"dataset": "imagenet"}, ValueError, "dataset='imagenet'"),
        ({"train_size": 10**6}, ValueError, "train_size=1000000"),
        ({"batch_size": 1, "batchnorm": True}, ValueError, "batch_size=1"),
        ({"widht": 3}, TypeError, "did you mean width"),
        ({"theme": "pink"}, Exception, "pink"),
    ],
)
def test_bad_settings_are_named_at_once(
    make: Callable[..., Explorer], settings: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        make(**settings)


def test_a_bad_value_leaves_everything_as_it_was(make: Callable[..., Explorer]) -> None:
    explorer = make(**ENDLESS)
    explorer.start()
    until(lambda: frames(explorer) >= 1)
    run = explorer.run
    with pytest.raises(ValueError, match="width=0"):
        explorer.width = 0
    assert explorer.width == 16
    assert "width=0" in explorer.message
    assert explorer.run == run
    assert explorer.state == "running"


def test_layers_may_be_a_list_beside_any_other_change(make: Callable[..., Explorer]) -> None:
    explorer = make(layers=["1"])
    explorer.width = 32
    explorer.layers = ["1", "2"]
    assert (explorer.config.layers, explorer.config.width) == (("1", "2"), 32)


def test_a_menu_never_ends_in_a_dead_end(make: Callable[..., Explorer]) -> None:
    explorer = make(batchnorm=True)
    explorer.dataset = "modular"
    assert explorer.config.model == explorer.model == "transformer"
    assert explorer.batchnorm is False
    assert "model mlp → transformer" in explorer.message


def test_divergence_is_a_state_and_the_last_good_frame_stays(
    make: Callable[..., Explorer],
) -> None:
    explorer = make(**ENDLESS | DIVERGING)
    explorer.start()
    assert explorer.wait() == "diverged"
    assert frames(explorer) >= 1
    assert "iverged" in explorer.message
    assert isinstance(explorer.error, FloatingPointError)
    run = explorer.run
    explorer.lr = 1e-4
    assert (explorer.state, explorer.error) == ("running", None)
    until(lambda: explorer.run != run and frames(explorer) >= 2)


def test_an_exception_is_a_state_with_its_traceback(
    make: Callable[..., Explorer], tmp_path: Any
) -> None:
    explorer = make(dataset="mnist", root=str(tmp_path / "nowhere"))
    explorer.start()
    assert explorer.wait() == "error"
    assert "nowhere" in str(explorer.error)
    assert "Traceback" in explorer.error_text
    explorer.configure(**{**SMALL, "dataset": "digits"})
    explorer.start()
    assert explorer.wait() == "finished"
    assert explorer.error_text == ""


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Interrupts raise, also where the tests were started in the background, which ignores them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_while_waiting_stops_cleanly(make: Callable[..., Explorer]) -> None:
    explorer = make(**ENDLESS)
    explorer.start()

    def interrupt() -> None:
        until(lambda: frames(explorer) >= 2)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    assert explorer.wait() == "finished"
    assert frames(explorer) >= 2


def test_wait_returns_after_its_timeout(make: Callable[..., Explorer]) -> None:
    explorer = make(**ENDLESS)
    explorer.start()
    assert explorer.wait(timeout=0.01) == "running"


def test_buttons_of_the_front_end(make: Callable[..., Explorer], front_end: FrontEnd) -> None:
    explorer = make(**ENDLESS)

    def press(name: str) -> None:
        explorer._handle_custom_msg({"type": "command", "name": name}, [])

    press("start")
    until(lambda: frames(explorer) >= 1)
    press("pause")
    until(lambda: explorer.state == "paused")
    press("save_recording")
    content, [body] = front_end.messages("file")[-1]
    assert content["name"] == "run.npz"
    assert bytes(body[:2]) == b"PK"
    press("resume")
    until(lambda: explorer.state == "running")
    press("stop")
    assert explorer.wait() == "finished"
    press("reset")
    until(lambda: explorer.state == "idle")


def test_foreground_returns_when_the_run_has_ended(make: Callable[..., Explorer]) -> None:
    explorer = make(**SMALL, foreground=True)
    explorer.start()
    assert explorer.state == "finished"
    assert len(explorer.recording) == 5


def test_earlier_runs_are_bounded(
    make: Callable[..., Explorer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fswidget.widget.runs.KEPT_RUNS", 2)
    explorer = make(**SMALL | {"epochs": 1}, foreground=True)
    for seed in range(5):
        explorer.seed = seed
        explorer.start()
    assert len(explorer._recordings) == 3
    assert len(json.loads(explorer._runs)) == 3


def test_a_long_analysis_is_announced(
    make: Callable[..., Explorer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fswidget.widget.runs.WIDE", 8)
    explorer = make(**{**SMALL, "epochs": 1})
    said: list[str] = []
    explorer.observe(lambda change: said.append(change.new), "message")
    explorer.start()
    assert explorer.wait(60) == "finished"
    announced = [text for text in said if text]
    assert announced == ["Measuring 16 features …"] * 2 + ["Finished at epoch 1."]
    assert said.count("") == 2  # gone with each frame
