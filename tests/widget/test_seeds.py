"""Several seeds behind one explorer."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fswidget as fs
from fswidget.training import Training
from fswidget.widget.explorer import Explorer
from fswidget.widget.html import page
from tests.widget.conftest import FrontEnd
from tests.widget.training import ran, until

SMALL: dict[str, Any] = {"width": 8, "train_size": 80, "probe_size": 40, "epochs": 2}
SMALL |= {"frame_every": "epoch", "device": "cpu"}


def test_each_seed_is_the_run_that_it_is_alone(make: Callable[..., Explorer]) -> None:
    explorer = ran(make(seeds=3, **SMALL))
    assert [recording.config["seed"] for recording in explorer.recordings] == [0, 1, 2]
    alone = fs.record(explorer.config.replace(seed=2))
    assert explorer.recordings[2][-1].scalars["loss"] == alone[-1].scalars["loss"]
    mean = explorer.recording
    assert mean is not None
    losses = [recording[-1].scalars["loss"] for recording in explorer.recordings]
    assert mean[-1].scalars["loss"] == pytest.approx(np.mean(losses))
    assert mean[-1].scalars["loss_error"] == pytest.approx(np.std(losses, ddof=1))
    used = [recording[-1].scalars["used_features"] for recording in explorer.recordings]
    assert mean[-1].arrays["seeds_used_features"].tolist() == used
    assert mean[-1].labels["seeds"] == "3"
    assert explorer.message.endswith("Mean of 3 seeds.")
    assert explorer.seed == 0


def test_the_mean_takes_the_place_of_the_first_run(
    make: Callable[..., Explorer], front_end: FrontEnd
) -> None:
    explorer = ran(make(**SMALL))
    former = explorer.run
    explorer.batchnorm = True
    assert explorer.wait(60) == "finished"
    first = explorer.run
    explorer.epoch = 1.0
    explorer.seeds = 2  # only the second is trained: the first is there
    assert explorer.wait(60) == "finished"
    assert [run["run"] for run in json.loads(explorer._runs)] == [former, explorer.run]
    entry = json.loads(explorer._runs)[-1]
    assert entry["replaces"] == first
    assert entry["label"].endswith("mean of 2 seeds")
    assert explorer.epoch == 1.0
    explorer.seeds = 1
    assert len(explorer.recordings) == 1
    assert explorer.recording is explorer.recordings[0]
    explorer.seeds = 2
    assert len(json.loads(explorer._runs)) == 2
    assert explorer.wait(60) == "finished"
    page_ = page(explorer._page())
    assert '"seed"' in page_


def test_what_steers_one_seed_steers_all_at_the_same_step(make: Callable[..., Explorer]) -> None:
    explorer = make(seeds=2, **SMALL | {"epochs": 12})
    explorer.start()
    until(lambda: bool(explorer.recording))
    explorer.pause()
    until(lambda: explorer.state == "paused")
    explorer.lr = 1e-4  # in the first, which the second follows
    explorer.resume()
    until(lambda: len(explorer._done) == 1)
    explorer.pause()
    until(lambda: explorer.state == "paused")
    assert len(explorer.recordings) == 2
    explorer.batch_size = 20  # in the second: the first is trained again
    assert explorer.message == "batch_size 64 → 20: 1 of 2 seeds had ended, and train again."
    assert len(explorer.recordings) == 1
    explorer.resume()
    assert explorer.wait(120) == "finished"
    first, second = explorer.recordings
    assert [run.config["seed"] for run in (first, second)] == [0, 1]
    assert first.changes == second.changes
    # In whichever order their steps have, which may be one.
    told = {words for _, change in first.changes for words in change.split(", ")}
    assert told == {"lr 0.001 → 0.0001", "batch_size 64 → 20"}
    assert explorer.recording is not None
    assert explorer.recording.changes == first.changes
    assert explorer.config == explorer.config.replace(lr=1e-4, batch_size=20, seed=0)
    # Each is the run that has the same history alone.
    training = explorer._trainer.training
    assert training is not None
    config = explorer.config.replace(lr=1e-3, batch_size=64, seed=1)
    alone = Training(config, planned=training.steering.history)
    *_, last = alone
    assert last.scalars["loss"] == second[-1].scalars["loss"]
    assert len(json.loads(explorer._runs)) == 1


def test_what_ends_the_second_seed_leaves_the_first(make: Callable[..., Explorer]) -> None:
    explorer = make(seeds=3, **SMALL | {"epochs": 40})
    explorer.start()
    until(lambda: len(explorer._done) == 1)
    explorer.stop()
    assert explorer.wait(60) == "finished"
    assert len(explorer.recordings) == 1
    assert explorer.recording is explorer.recordings[0]


def test_what_needs_one_network_says_so(make: Callable[..., Explorer], tmp_path: Any) -> None:
    with pytest.raises(ValueError, match=r"seeds=0: must be an integer from 1 to 20"):
        make(seeds=0)
    explorer = ran(make(seeds=2, **SMALL))
    with pytest.raises(ValueError, match=r"epochs=1: 2 seeds are on show; must be one run"):
        explorer.go_on(epochs=1)
    with pytest.raises(ValueError, match="2 seeds are on show"):
        explorer.branch(epoch=1)
    with pytest.raises(ValueError, match="2 seeds are on show"):
        explorer.save(tmp_path)
    explorer.seeds = 1
    explorer.go_on(epochs=1)
    assert explorer.wait(60) == "finished"
    explorer.seeds = 2
    assert "since it went on from an earlier state" in explorer.message
    assert len(explorer.recordings) == 1


def test_a_branch_from_the_front_end_waits_for_its_settings(make: Callable[..., Explorer]) -> None:
    explorer = ran(make(**SMALL | {"epochs": 4}))
    explorer.epoch = 2.0
    explorer._command("branch", None)
    until(lambda: explorer.state == "paused")
    assert explorer.message.startswith("Branched")
    explorer.lr = 1e-5
    assert explorer.state == "paused"
    explorer.resume()
    assert explorer.wait(60) == "finished"
    assert explorer.recording is not None
    # In force from the first step of the branch.
    assert explorer.recording.changes == [(2.0, "lr 0.001 → 1e-05")]
    assert explorer.recording[1].scalars["lr"] == 1e-5
    marks = explorer.recording.figure("history").select_one({"name": "steered"}).data
    assert marks["x"] == [2.0]
    parents = [run.get("parent") for run in json.loads(explorer._runs)]
    assert parents == [None, json.loads(explorer._runs)[0]["run"]]


def test_print_draws_the_spread_over_seeds(make: Callable[..., Explorer]) -> None:
    explorer = ran(make(seeds=2, **SMALL))
    assert explorer.recording is not None
    spread = explorer.recording.figure("history").select_one({"name": "spread"}).data
    assert len(spread["xs"]) == len(spread["color"]) > 1
    assert all(np.isfinite(y).all() for y in spread["ys"])
    alone = explorer.recordings[0].figure("history").select_one({"name": "spread"}).data
    assert alone["xs"] == []


def test_the_control_stands_beside_the_settings(
    make: Callable[..., Explorer], front_end: FrontEnd
) -> None:
    explorer = make(**SMALL)
    described = {entry["name"]: entry for entry in json.loads(explorer._controls)}
    assert described["seeds"]["max"] == 20
    explorer.set_state({"seeds": 99})
    assert explorer.seeds == 1
    assert "seeds=99" in explorer.message
