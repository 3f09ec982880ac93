"""A run that is on takes up other settings at its next step, and a state may go on another way."""

import threading
from functools import cache
from typing import Any

import pytest
import torch

from fswidget.recording.frame import Frame
from fswidget.training.batches import Batches, Start
from fswidget.training.config import Config
from fswidget.training.loop import Training
from fswidget.training.steering import STEERABLE

SMALL = {"width": 16, "train_size": 200, "test_size": 50, "epochs": 2, "frame_every": 1}
SGD = {"optimizer": "sgd", "lr": 0.02}


def training_of(**settings: Any) -> Training:
    return Training(Config(**{**SMALL, **settings}))


def same(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@cache
def plainly(**settings: Any) -> tuple[list[Frame], torch.nn.Module]:
    """The frames of a run whose settings stay, and its network."""
    training = training_of(**settings)
    return list(training), training.model


def run_to(training: Training, step: int, **settings: Any) -> list[Frame]:
    """The frames of a run whose settings change after `step`."""
    frames = []
    for frame in training:
        frames.append(frame)
        if frame.step == step:
            training.change(**settings)
    return frames


@pytest.mark.parametrize(
    ("base", "change"),
    [
        ({}, {"lr": 1e-4}),
        (SGD, {"weight_decay": 0.1}),
        (SGD, {"momentum": 0.5}),
        ({"optimizer": "adamw"}, {"weight_decay": 0.1}),
        ({}, {"schedule": "cosine"}),
        ({}, {"batch_size": 32}),
        ({"label_noise": 0.5}, {"label_noise": 0.0}),
        ({}, {"frozen": ["1"]}),
        ({}, {"epochs": 3}),
        ({}, {"frame_every": "epoch"}),
    ],
)
def test_a_change_comes_into_force_at_the_next_step(
    base: dict[str, Any], change: dict[str, Any]
) -> None:
    (before, plain), steered = plainly(**base), training_of(**base)
    after = run_to(steered, 5, **change)
    kept = [frame for frame in after if frame.step <= 5]
    for left, right in zip(before, kept, strict=False):
        assert left.scalars["parameter_norm_squared"] == right.scalars["parameter_norm_squared"]
    assert "changes" not in kept[-1].labels
    label = after[-1].labels["changes"]
    assert label.startswith("step 5 (epoch 1.25): ")
    assert next(iter(change)) in label
    learns_the_same = set(change) <= {"epochs", "frame_every"}
    if "epochs" in change:
        assert after[-1].epoch == 3
    elif "frame_every" in change:
        assert [frame.step for frame in after] == [0, 1, 2, 3, 4, 5, 8]
    else:
        assert after[-1].epoch == 2
    assert same(plain, steered.model) == (learns_the_same and "epochs" not in change)
    if "lr" in change:
        assert [frame.scalars["lr"] for frame in after[5:7]] == [1e-3, 1e-4]


def test_frozen_layers_stay_and_thaw() -> None:
    training = training_of(batchnorm=True, epochs=3)
    frames = iter(training)
    next(frames)
    training.change(frozen=["1", "2"])
    states = []
    for index, _ in enumerate(frames):
        states.append({k: v.clone() for k, v in training.model.state_dict().items()})
        if index == 5:
            training.change(frozen=None)
    names = [name for name in states[0] if name.startswith(("1.", "2."))]
    assert any("running_mean" in name for name in names)
    for name in states[0]:
        assert torch.equal(states[0][name], states[5][name]) == (name in names)
    assert not any(torch.equal(states[5][name], states[9][name]) for name in names)


def test_label_noise_changes_what_the_probe_compares_with() -> None:
    noisy = training_of(label_noise=1.0, epochs=30, lr=0.02, frame_every="epoch")
    frames = run_to(noisy, 60, label_noise=0.0)
    # The labels are the true ones from then on, for the loss and for the accuracy.
    clean = training_of(lr=0.02)
    assert torch.equal(noisy.data.targets, clean.data.targets)
    accuracy = {frame.step: frame.scalars["train_accuracy"] for frame in frames}
    assert accuracy[60] < 0.5 < accuracy[120]


def test_another_batch_size_goes_on_in_the_midst_of_an_epoch() -> None:
    inputs = torch.arange(100.0)[:, None]

    def batches(size: int, start: Start | None = None) -> Batches:
        return Batches(inputs, torch.arange(100), size, seed=1, start=start or Start())

    first = batches(16)
    seen = [first(step)[1] for step in range(9)]  # an epoch of seven, and two
    second = batches(10, first.place(9))
    seen += [second(step)[1] for step in range(9, 9 + 7)]
    order = torch.cat(seen[7:])
    assert [len(part) for part in seen[9:]] == [10] * 6 + [8]
    assert torch.equal(order, torch.cat([first(step)[1] for step in range(7, 14)]))
    shares = [second.epochs(step) for step in range(9, 27)]
    assert shares == sorted(shares)
    assert first.epochs(9) == shares[0]
    assert second.epochs(16) == 2
    assert second.ends_epoch(16)
    assert not second.ends_epoch(9)
    assert second.steps(3) == 26
    assert second.epochs(26) == 3
    third = batches(50, second.place(16))
    assert third.place(16) == Start(16, 2, 0, 0.0)
    assert third.steps(3) == 18


def test_a_finished_run_goes_on() -> None:
    (frames, longer), extended = plainly(epochs=3), training_of()
    first = list(extended)
    assert extended.finished
    extended.change(epochs=3)
    more = list(extended.frames(first=False))
    assert [frame.step for frame in first + more] == [frame.step for frame in frames]
    assert extended.finished
    assert same(longer, extended.model)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 32}, r"width=32: begins a new run; .* lr, weight_decay"),
        ({"lr": -1.0}, r"lr=-1.0: must be a finite number > 0"),
        ({"momentum": 0.5}, r"momentum=0.5: applies to optimizer='sgd' only"),
        ({"frozen": ["7.x"]}, r"frozen=\['7.x'\]: no module '7.x'"),
        ({"batch_size": 1}, r"batch_size=1: batch normalisation needs at least two"),
    ],
)
def test_what_cannot_change_is_refused_at_once(settings: dict[str, Any], message: str) -> None:
    training = training_of(batchnorm=True, epochs=1)
    with pytest.raises(ValueError, match=f"^{message}"):
        training.change(**settings)
    with pytest.raises(TypeError, match=r"widht=3: no such setting"):
        training.change(widht=3)
    assert "changes" not in list(training)[-1].labels


def test_what_is_planned_comes_at_its_step_unless_it_is_changed_before() -> None:
    planned = [(2, {"lr": 1e-4, "batch_size": 32}), (3, {"momentum": 0.5})]
    training = Training(Config(**SMALL, **SGD), planned=planned)
    frames = iter(training)
    next(frames)
    training.change(lr=5e-4)
    assert list(frames)[-1].labels["changes"].split("\n") == [
        "step 0 (epoch 0): lr 0.02 → 0.0005",
        "step 2 (epoch 0.5): batch_size 64 → 32",
        "step 3 (epoch 0.6667): momentum 0.9 → 0.5",
    ]


def test_a_module_that_is_not_there_cannot_be_frozen_from_the_start() -> None:
    with pytest.raises(ValueError, match=r"frozen=\('9',\): no module '9'"):
        training_of(frozen=["9"])


def test_changes_may_come_from_another_thread() -> None:
    training = training_of()
    frames = iter(training)
    next(frames)
    thread = threading.Thread(target=training.change, kwargs={"lr": 0.5})
    thread.start()
    thread.join()
    assert next(frames).scalars["lr"] == 0.5


@pytest.mark.parametrize("settings", [{}, {"batch_size": 30}, SGD])
def test_a_branch_with_nothing_changed_is_its_parent(settings: dict[str, Any]) -> None:
    parent = training_of(**settings)
    frames, states = [], []
    for frame in parent:
        frames.append(frame)
        if frame.step == 2:
            parent.change(batch_size=48)
        if frame.step == 7:
            states.append(parent.state_dict())
    branch = Training.branch(states[0])
    later = list(branch)
    assert [frame.step for frame in later] == list(range(7, parent.total_steps + 1))
    assert same(branch.model, parent.model)
    assert later[-1].scalars["loss"] == frames[-1].scalars["loss"]
    assert later[-1].labels["changes"] == frames[-1].labels["changes"]


def test_a_branch_goes_another_way() -> None:
    parent = training_of(**SGD)
    state = next(parent.state_dict() for frame in parent if frame.step == 6)
    branch = Training.branch(state, weight_decay=0.1, epochs=3, num_shown=30)
    assert branch.info.config["weight_decay"] == 0.1
    frames = list(branch)
    assert frames[0].step == 6
    assert frames[-1].epoch == 3
    assert len(frames[-1].projections) == 30
    assert frames[-1].labels["changes"].startswith("step 6 (epoch 1.5): ")
    assert not same(branch.model, parent.model)
    with pytest.raises(ValueError, match=r"width=8: begins a new run"):
        Training.branch(state, width=8)


def test_every_steerable_setting_is_one() -> None:
    assert set(STEERABLE) <= set(Config.__dataclass_fields__)
