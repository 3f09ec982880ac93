"""The experiments of the widget's menu, and the default that it opens with."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fswidget as fs
from fswidget.experiments.catalogue import recipes
from fswidget.training.config import Config
from fswidget.widget.experiments import AT_HAND, RECORDED, Experiment, experiments
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
    assert all(entry["help"] for entry in runnable)
    assert all(len(entry["arms"]) >= 2 for entry in runnable if not entry["recorded"])
    needy = listed["shuffled_labels"]
    assert needy["missing"] == "Needs cifar10, not found in the folder 'nowhere'."
    assert needy["fetch"] == "170 MB"
    assert listed["digits_width"]["fetch"] is None


def test_data_are_looked_for_where_their_files_lie(tmp_path: Path) -> None:
    shuffled = experiments()["shuffled_labels"]
    assert shuffled.absent(str(tmp_path)) == ["cifar10"]  # the folder is there, and empty
    (tmp_path / "cifar-10-batches-py").mkdir()
    assert shuffled.missing(str(tmp_path)) == shuffled.fetch(str(tmp_path)) == ""


@pytest.mark.parametrize("name", list(RECORDED))
def test_what_came_recorded_is_small_and_says_what_it_claims(name: str) -> None:
    for file in RECORDED[name].recorded.values():
        assert (
            Path(fs.__file__).parent / "experiments/recordings" / f"{file}.npz"
        ).stat().st_size < 300_000
    for recording, config in zip(
        RECORDED[name].recordings(), RECORDED[name].configs(), strict=True
    ):
        assert len(recording) > 12
        assert recording.config["dataset"] == config.dataset
        assert recording.provenance["citation"]


def test_the_recorded_claims_hold() -> None:
    def table(name: str, arm: int = 0) -> dict[str, Any]:
        return RECORDED[name].recordings()[arm].table()

    grokking = table("grokking_recorded")
    accuracy = dict(zip(grokking["epoch"], grokking["test_accuracy"], strict=True))
    assert accuracy[100] < 0.05 < 0.99 < accuracy[160]
    resnet = table("resnet18_recorded")
    used = dict(zip(resnet["epoch"], resnet["used_features"], strict=True))
    assert (used[0], used[2], used[5]) == (76, 11, 10)
    assert all(k == 10 for epoch, k in used.items() if epoch >= 5)
    true, shuffled = (table("shuffled_recorded", arm) for arm in (0, 1))
    assert true["used_features"][-1] == shuffled["used_features"][-1] == 10
    assert shuffled["test_accuracy"][-1] < 0.12 < 0.5 < true["test_accuracy"][-1]
    plain, normed = (table("vgg16_recorded", arm) for arm in (0, 1))
    assert plain["used_features"][-1] == 10
    assert normed["used_features"][1:].min() == 13
    assert normed["used_features"][1:].max() == 256
    assert plain["test_accuracy"][-1] > normed["test_accuracy"][-1]


def test_a_recorded_experiment_plays_without_data_or_training(
    make: Callable[..., Explorer],
) -> None:
    explorer = make(root="nowhere", **SMALL | {"epochs": 100_000})
    explorer.start()
    send(explorer, "experiment", "shuffled_recorded")
    assert explorer.wait(60) == "finished"
    runs = json.loads(explorer._runs)[-2:]
    assert [explorer._recordings[entry["run"]].config["label_noise"] for entry in runs] == [0, 1]
    assert explorer.run == runs[1]["run"]
    assert runs[0]["frames"] == len(explorer._recordings[runs[0]["run"]]) == 17
    assert (explorer.config.model, explorer.config.label_noise) == ("resnet18", 1.0)
    assert explorer.config.root == "nowhere"
    assert explorer.network is None
    with pytest.raises(ValueError, match="no run to go on with"):
        explorer.go_on(1)
    send(explorer, "load", "")
    assert explorer.config.model == "mlp"
    explorer.lock = ["dataset"]
    send(explorer, "experiment", "grokking_recorded")
    assert explorer.message.startswith("dataset is locked")
    assert explorer.run == runs[1]["run"]
    for value in ([], None, 3):
        explorer._handle_custom_msg({"type": "command", "name": "load", "value": value}, [])


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
