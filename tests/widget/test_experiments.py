"""The experiments of the widget's menu, and the default that it opens with."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest

from fswidget.experiments.catalogue import recipes
from fswidget.training.config import Config
from fswidget.widget.experiments import AT_HAND, Experiment, experiments
from fswidget.widget.explorer import Explorer

SMALL: dict[str, Any] = {"width": 16, "train_size": 200, "epochs": 4, "frame_every": "epoch"}


def test_the_menu_holds_what_is_at_hand_and_the_papers_experiments(
    make: Callable[..., Explorer],
) -> None:
    explorer = make(root="nowhere")
    listed = {entry["name"]: entry for entry in json.loads(explorer._presets)}
    assert set(listed) > set(recipes)
    runnable = [entry for entry in listed.values() if not entry["missing"]]
    assert len(runnable) >= 8
    assert all(len(entry["arms"]) >= 2 and entry["help"] for entry in runnable)
    needy = next(entry for entry in listed.values() if entry["missing"])
    assert "in the folder 'nowhere'" in needy["missing"]


def send(explorer: Explorer, name: str, value: str) -> None:
    explorer._handle_custom_msg({"type": "command", "name": name, "value": value}, [])


def test_load_sets_the_controls_and_begins_nothing(make: Callable[..., Explorer]) -> None:
    explorer = make()
    name, experiment = next(iter(experiments().items()))
    send(explorer, "load", name)
    first = next(iter(experiment.arms.values()))
    kept = {"root", "device", "download"}
    for field in dataclasses.fields(first):
        if field.name not in kept:
            assert getattr(explorer.config, field.name) == getattr(first, field.name)
    assert explorer.state == "idle"
    # Nor where there is a run on show.
    explorer.configure(**SMALL)
    explorer.start()
    explorer.wait()
    run = explorer.run
    send(explorer, "load", name)
    assert (explorer.state, explorer.run) == ("finished", run)


def test_nothing_that_an_experiment_has_set_stays_behind_it(make: Callable[..., Explorer]) -> None:
    explorer = make(width=48)
    before = explorer.config
    for name in ("modular_decay", "digits_shuffled", ""):
        send(explorer, "load", name)
    assert explorer.config == before
    assert explorer.message == "The settings are those from before the experiment."


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """An experiment of three short arms."""
    arms = [Config(**SMALL | {"epochs": 1, "seed": seed}) for seed in range(3)]
    experiment = Experiment("title", "claim", {str(seed): arm for seed, arm in enumerate(arms)})
    monkeypatch.setitem(AT_HAND, "short", experiment)
    return arms


def test_an_experiment_runs_one_arm_after_the_other(
    make: Callable[..., Explorer], short: list[Config]
) -> None:
    explorer = make()
    send(explorer, "experiment", "short")
    assert explorer.wait(60) == "finished"
    trained = [recording.config["seed"] for recording in explorer._recordings.values()]
    assert trained == [0, 1, 2]
    assert explorer.seed == 2


@pytest.mark.parametrize("end", [lambda e: e.stop(), lambda e: setattr(e, "seed", 9)])
def test_whoever_takes_over_ends_the_experiment(
    make: Callable[..., Explorer], short: list[Config], end: Callable[[Explorer], None]
) -> None:
    explorer = make()
    explorer.pause()
    send(explorer, "experiment", "short")
    end(explorer)
    explorer.wait(60)
    assert len(explorer._recordings) <= 2


def test_the_default_is_the_loss_that_tells_the_story(make: Callable[..., Explorer]) -> None:
    from fswidget.widget.explorer import Explorer

    assert Explorer().loss == "mse"
    assert Explorer(loss="cross_entropy").loss == "cross_entropy"
