"""Runs that go on: for longer, on another day, another way, with other settings."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import fswidget as fs
from fswidget.training.loop import Training
from fswidget.widget.checkpoints import Checkpoints, nbytes_of
from fswidget.widget.explorer import Explorer
from tests.recordings import assert_same
from tests.widget.training import ran, until

SMALL: dict[str, Any] = {
    "width": 8,
    "train_size": 80,
    "probe_size": 40,
    "test_size": 40,
    "batch_size": 20,
    "frame_every": "epoch",
    "device": "cpu",
}


@pytest.fixture
def make(make: Callable[..., Explorer]) -> Callable[..., Explorer]:
    return lambda **options: make(**{**SMALL, **options})


def test_a_finished_run_goes_on(make: Callable[..., Explorer]) -> None:
    explorer = ran(make(epochs=2))
    shown = explorer.run
    explorer.go_on(epochs=2)
    assert explorer.wait(60) == "finished"
    assert (explorer.run, explorer.epochs, explorer.config.epochs) == (shown, 4, 4)
    assert_same(explorer.recording, ran(make(epochs=4)).recording)
    assert len(json.loads(explorer._runs)) == 1


def test_a_paused_run_goes_on_for_longer(make: Callable[..., Explorer]) -> None:
    explorer = make(epochs=2)
    explorer.step()
    assert explorer.wait(60) == "paused"
    explorer.go_on(epochs=1)
    assert explorer.wait(60) == "finished"
    assert explorer.recording[-1].epoch == 3


@pytest.mark.parametrize("epochs", [0, -1, True, 1.5, "two"])
def test_going_on_for_no_epochs_is_refused(make: Callable[..., Explorer], epochs: Any) -> None:
    explorer = make(epochs=2)
    with pytest.raises(ValueError, match="no run to go on with"):
        explorer.go_on(epochs)
    explorer.step()
    explorer.wait(60)
    with pytest.raises(ValueError, match="must be an integer ≥ 1"):
        explorer.go_on(epochs)
    explorer._handle_custom_msg({"type": "command", "name": "go_on", "value": epochs}, [])
    assert "must be" in explorer.message


@pytest.mark.parametrize(("when", "step"), [("within an epoch", 6), ("paused", 0), ("finished", 8)])
def test_a_run_goes_on_another_day(
    make: Callable[..., Explorer], tmp_path: Path, when: str, step: int
) -> None:
    whole = ran(make(epochs=4, optimizer="sgd", label_noise=0.25)).recording
    explorer = make(epochs=2 if when == "finished" else 4, optimizer="sgd", label_noise=0.25)
    if when == "within an epoch":
        training_steps = []

        def hold(_: Any) -> None:
            training = explorer._trainer.training
            if training is not None and training.step >= 6 and not training_steps:
                training_steps.append(training.step)
                explorer.pause()

        explorer._last_told = -1e9
        explorer.observe(hold, "progress")
        tell = explorer._tell_sometimes
        explorer._tell_sometimes = lambda **traits: (  # type: ignore[method-assign]
            setattr(explorer, "_last_told", -1e9),
            tell(**traits),
        )
    if when == "paused":
        explorer.step()
    else:
        explorer.start()
    state = "finished" if when == "finished" else "paused"
    assert explorer.wait(60) == state
    folder = explorer.save(tmp_path / "run")
    explorer.close()
    assert torch.load(folder / "state.pt", weights_only=True)["step"] == step
    again = Explorer.load(folder)
    assert again.state == state
    # Four steps are an epoch, and each epoch has a frame.
    assert [frame.step for frame in again.recording] == [*range(0, step + 1, 4)]
    if when == "finished":
        again.go_on(epochs=2)
    else:
        again.start()
    assert again.wait(60) == "finished"
    assert_same(again.recording, whole)
    again.close()


def test_a_run_is_kept_while_it_is_on(make: Callable[..., Explorer], tmp_path: Path) -> None:
    explorer = make(epochs=100_000)
    with pytest.raises(ValueError, match="no run to keep"):
        explorer.save(tmp_path / "nothing")
    explorer.start()
    until(lambda: explorer.recording is not None and len(explorer.recording) > 2)
    explorer.save(tmp_path / "run")
    assert explorer.state == "running"
    again = Explorer.load(tmp_path / "run", theme="dark")
    assert (again.state, again.theme) == ("paused", "dark")
    state = torch.load(tmp_path / "run" / "state.pt", weights_only=True)
    assert again.recording[-1].step <= state["step"]
    again.step()
    assert again.wait(60) == "paused"
    again.close()


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no run"):
        Explorer.load(tmp_path)
    (tmp_path / "state.pt").write_bytes(b"torch")
    with pytest.raises(ValueError, match="damaged"):
        Explorer.load(tmp_path)


def test_a_branch_with_nothing_changed_is_its_parent(make: Callable[..., Explorer]) -> None:
    explorer = ran(make(epochs=6))
    parent, kept = explorer.recording, explorer.run
    explorer.branch(epoch=2)
    assert explorer.wait(60) == "finished"
    assert explorer.run != kept
    assert_same(explorer.recording, parent[2:])
    entry = json.loads(explorer._runs)[-1]
    assert (entry["parent"], entry["epoch"]) == (kept, 2)
    assert entry["changed"] == "branch at epoch 2"


def test_a_branch_goes_another_way_from_the_nearest_kept_state(
    make: Callable[..., Explorer],
) -> None:
    explorer = ran(make(epochs=6))
    parent = explorer.recording
    explorer.epoch = 4.9  # kept are 0, 1, 2, 3, 4 and 6
    explorer.branch(lr=0.1, weight_decay=0.2)
    assert explorer.wait(60) == "finished"
    assert (explorer.lr, explorer.config.weight_decay) == (0.1, 0.2)
    assert explorer.recording[0].epoch == 4
    assert explorer.recording[0].eigenvalues.tobytes() == parent[4].eigenvalues.tobytes()
    assert explorer.recording[-1].eigenvalues.tobytes() != parent[-1].eigenvalues.tobytes()
    assert "lr 0.001 → 0.1" in json.loads(explorer._runs)[-1]["changed"]
    with pytest.raises(ValueError, match="width=16: begins a new run"):
        explorer.branch(epoch=5, width=16)


def test_a_run_takes_up_what_it_can(make: Callable[..., Explorer]) -> None:
    explorer = make(epochs=100_000)
    explorer.start()
    until(lambda: explorer.recording is not None and len(explorer.recording) > 1)
    shown = explorer.run
    explorer.lr = 0.5
    explorer.set_state({"weight_decay": 0.1})
    until(lambda: "weight_decay" in explorer.recording[-1].labels.get("changes", ""))
    assert "lr 0.001 → 0.5" in explorer.recording[-1].labels["changes"]
    assert explorer.recording[-1].scalars["lr"] == 0.5
    explorer.pause()
    assert explorer.wait(60) == "paused"
    explorer.lr = 0.25
    for _ in range(2):  # a frame that was owed when the pause came is of the rate before
        explorer.step()
        assert explorer.wait(60) == "paused"
    assert explorer.recording[-1].scalars["lr"] == 0.25
    assert explorer.run == shown
    explorer.steer = False
    explorer.resume()
    explorer.lr = 0.125
    until(lambda: explorer.run != shown)
    assert explorer.recording.config["lr"] == 0.125


def test_states_are_kept_within_a_budget() -> None:
    training = Training(fs.Config(**SMALL, epochs=30))
    one = nbytes_of(training.state_dict())
    few, none = Checkpoints(40 * one), Checkpoints(one)
    frames = iter(training)
    for _ in frames:
        few.look(training)
        none.look(training)
    assert few.nbytes <= 40 * one
    assert few.epochs[0] == 0
    assert len(few.epochs) >= 4
    assert few.nearest(1e9)[0] == few.epochs[-1]
    with pytest.raises(ValueError, match="no state of this run is kept"):
        none.nearest(3)
