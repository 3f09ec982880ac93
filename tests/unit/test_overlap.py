"""Training that does not wait for the analysis gives the same frames."""

import math
import threading
from collections.abc import Iterable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fswidget.probing.inference import Diverged
from fswidget.probing.threads import threads
from fswidget.recording.frame import Frame
from fswidget.recording.recording import Recording
from fswidget.training.config import Config
from fswidget.training.loop import Training
from fswidget.training.overlap import OverlappedTraining
from fswidget.training.run_folder import record, training_that
from tests.recordings import assert_same
from tests.unit.test_run_folder import after

SMALL = {"width": 16, "train_size": 200, "test_size": 50, "epochs": 3}
CASES: dict[str, dict[str, Any]] = {
    "each step": {"frame_every": 1},
    "each epoch": {"frame_every": "epoch", "batchnorm": True, "optimizer": "sgd"},
    "pictures": {"model": "cnn", "augment": True, "frame_every": "epoch", "epochs": 2},
    "centred": {"output_scale": 10.0, "frame_every": "epoch"},
}


class Drifting(nn.Module):
    """What it computes depends on a buffer that no state keeps."""

    seen: Tensor

    def __init__(self, config: Any, shape: tuple[int, ...], num_outputs: int) -> None:
        super().__init__()
        self.hidden, self.head = nn.LazyLinear(config.width), nn.Linear(config.width, num_outputs)
        self.hidden(torch.zeros(1, *shape).flatten(1))
        self.register_buffer("seen", torch.zeros(()), persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        if self.training:
            self.seen += 0.1
        return self.head((self.hidden(inputs.flatten(1)) + self.seen).relu())


class Holding(nn.Module):
    """What it computes depends on whatever a module can hold."""

    mean: Tensor | None
    losses: Tensor

    def __init__(self, config: Any, shape: tuple[int, ...], num_outputs: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(math.prod(shape), config.width)
        self.head = nn.Linear(config.width, num_outputs)
        self.register_buffer("mean", None)
        self.register_buffer("losses", torch.zeros(0))
        self.scale, self.kept = 1.0, [torch.zeros(())]

    def forward(self, inputs: Tensor) -> Tensor:
        found = self.hidden(inputs.flatten(1)).relu()
        if self.training:
            self.mean = found.detach().mean(0)
            self.losses = torch.cat([self.losses, self.mean[:1]])
            self.scale += 0.1
            self.kept[0] = found.mean()  # has a gradient
        seen = 0.0 if self.mean is None else self.mean
        return self.head((found - seen) * self.scale + self.losses.sum() + self.kept[0])


CASES["buffer of no state"] = {"model": Drifting, "frame_every": 4, "epochs": 1}
CASES["attributes"] = {"model": Holding, "frame_every": 1, "epochs": 1}


def config_of(**settings: Any) -> Config:
    return Config(**{**SMALL, **settings})


def hold_frames(
    training: Training, until: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Have frames that are made beside the training wait."""
    measure = training.probe.frame

    def slow(*args: Any, **scalars: Any) -> Any:
        if threading.current_thread() is not threading.main_thread():
            assert until.wait(60)
        return measure(*args, **scalars)

    monkeypatch.setattr(training.probe, "frame", slow)


def recorded(training: Training, frames: Iterable[Frame]) -> Recording:
    recording = Recording(training.info)
    for frame in frames:
        recording.append(frame)
    return recording


@pytest.mark.parametrize("case", CASES)
def test_frames_are_the_same_bit_for_bit_and_in_order(case: str) -> None:
    config = config_of(**CASES[case])
    assert_same(record(config, overlap=True), record(config, overlap=False))


class Single(nn.Sequential):
    def __deepcopy__(self, memo: Any) -> Any:
        raise TypeError("there is one")


class Itself(nn.Sequential):
    def __deepcopy__(self, memo: Any) -> Any:
        return self


@pytest.mark.parametrize("kind", [Single, Itself])
def test_a_network_that_cannot_be_copied_is_told_what_does_without(kind: type[nn.Module]) -> None:
    def build(config: Any, shape: tuple[int, ...], num_outputs: int) -> nn.Module:
        return kind(nn.Flatten(), nn.Linear(math.prod(shape), 4), nn.Linear(4, num_outputs))

    config = config_of(model=build)
    why = "there is one" if kind is Single else "its Itself is its own copy"
    with pytest.raises(TypeError, match=rf"overlap=True: .*\({why}\); must be False"):
        record(config, overlap=True)
    with pytest.raises(TypeError, match=rf"output_scale=2.0: .*\({why}\); must be 1"):
        record(config.replace(output_scale=2.0))
    assert record(config)[-1].epoch == 3


def test_layers_that_are_frozen_later_are_frozen_in_what_is_measured() -> None:
    recordings = []
    for kind in (Training, OverlappedTraining):
        training = kind(config_of(frame_every=4, ntk=True))
        frames = iter(training)
        first, _ = next(frames), training.change(frozen=["1"])
        recordings.append([first, *frames])
    assert_same(*recordings)


@pytest.mark.parametrize("kind", [Training, OverlappedTraining])
def test_a_run_that_was_interrupted_goes_on_in_order(
    kind: type[Training], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = list(Training(config_of(frame_every=2)))
    training, interrupted = kind(config_of(frame_every=2)), threading.Event()
    measure = training.probe.frame

    def interrupt() -> None:
        if not interrupted.is_set():
            interrupted.set()
            raise KeyboardInterrupt

    def slow(*args: Any, **scalars: Any) -> Any:
        if threading.current_thread() is not threading.main_thread():
            interrupted.wait(60)
        elif args[1] == 4:
            interrupt()
        return measure(*args, **scalars)

    def ask() -> bool:
        if training.step == 5:
            interrupt()
        return True

    monkeypatch.setattr(training.probe, "frame", slow)
    training._keep_going = ask
    frames: list[Frame] = []
    with pytest.raises(KeyboardInterrupt):
        frames.extend(training)
    assert interrupted.is_set()
    frames += training.frames(first=kind is OverlappedTraining)
    assert_same(frames, whole)


def test_training_goes_on_while_a_frame_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    training = OverlappedTraining(config_of(frame_every=4))
    go, steps = threading.Event(), []
    hold_frames(training, go, monkeypatch)

    def before_step() -> bool:
        steps.append(training.step)
        if training.step == 7:  # three steps beyond the frame that is being made
            go.set()
        return True

    training._keep_going = before_step
    assert [frame.step for frame in training] == [0, 4, 8, 12]


@pytest.mark.parametrize("every", [3, 5])
def test_a_stopped_run_goes_on(every: int, tmp_path: Path) -> None:
    config = config_of(frame_every="epoch")
    whole = record(config, overlap=False)
    for _ in range(50):
        allowed = after(every)
        kept = record(config, store=tmp_path / "run", keep_going=allowed, overlap=True)
        if kept[-1].step == whole[-1].step:
            break
    assert_same(kept, whole)


def test_an_error_of_the_analysis_ends_the_run() -> None:
    config = config_of(optimizer="sgd", lr=10.0, loss="mse", epochs=20, width=256)
    with pytest.raises(Diverged):
        record(config, overlap=True)


def test_settings_change_between_frames() -> None:
    training = OverlappedTraining(config_of(frame_every=2))
    frames = []
    for frame in training:
        frames.append(frame)
        if len(frames) == 2:
            training.change(lr=1e-4)
    assert [frame.step for frame in frames] == [0, 2, 4, 6, 8, 10, 12]
    assert frames[-1].scalars["lr"] == 1e-4
    assert "lr 0.001 → 0.0001" in frames[-1].labels["changes"]


def test_targets_change_once_the_frame_that_is_being_made_is_ready(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = config_of(frame_every=4, epochs=4)
    frames = []
    for kind in (Training, OverlappedTraining):
        training = kind(config)
        changed = threading.Event()
        measure, retarget = training.probe.frame, training.probe.retarget

        def slow(*args: Any, changed: Any = changed, measure: Any = measure, **scalars: Any) -> Any:
            if threading.current_thread() is not threading.main_thread():
                changed.wait(0.1)  # as long as what must not come may come
            return measure(*args, **scalars)

        def tell(targets: Any, changed: Any = changed, retarget: Any = retarget) -> None:
            retarget(targets)
            changed.set()

        def ask(training: Training = training) -> bool:
            if training.step == 5:
                training.change(label_noise=0.5)
            return True

        monkeypatch.setattr(training.probe, "frame", slow)
        monkeypatch.setattr(training.probe, "retarget", tell)
        training._keep_going = ask
        frames.append(recorded(training, training))
    assert_same(frames[1], frames[0])


def test_a_run_that_fails_hands_out_the_frame_of_before(monkeypatch: pytest.MonkeyPatch) -> None:
    training = OverlappedTraining(config_of(frame_every=4))
    failed = threading.Event()
    hold_frames(training, failed, monkeypatch)

    def fail() -> bool:
        if training.step == 6:
            failed.set()
            raise Diverged("at step 6")
        return True

    training._keep_going = fail
    frames = iter(training)
    assert [next(frames).step, next(frames).step] == [0, 4]
    with pytest.raises(Diverged, match="at step 6"):
        next(frames)


def test_a_run_that_fails_and_is_interrupted_hands_out_the_frame_of_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    training = OverlappedTraining(config_of(frame_every=4))
    go = threading.Event()
    hold_frames(training, go, monkeypatch)

    def fail() -> bool:
        if training.step == 6:
            raise Diverged("at step 6")
        return True

    def interrupted(_: Any) -> None:
        go.set()
        raise KeyboardInterrupt

    training._keep_going = fail
    frames = iter(training)
    assert next(frames).step == 0
    with monkeypatch.context() as patch:
        patch.setattr("fswidget.training.overlap.wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            next(frames)
    frames = training.frames()
    assert next(frames).step == 4
    with pytest.raises(Diverged, match="at step 6"):
        next(frames)


def test_each_epoch_can_be_kept_though_all_frames_are_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = config_of(frame_every="epoch")
    whole = record(config, overlap=False)
    monkeypatch.setattr(Future, "done", lambda _: False)
    states = []
    training = OverlappedTraining(config, on_epoch=lambda: states.append(training.state_dict()))
    assert [frame.step for frame in training] == [frame.step for frame in whole]
    assert [state["step"] for state in states] == [4, 8, 12]
    again = OverlappedTraining(config, state=states[1])
    assert_same(recorded(again, again.frames(first=False)), whole[2:])


def test_by_default_a_run_overlaps_where_a_core_is_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    for given, overlaps in ((1, False), (2, True)):
        monkeypatch.setattr(type(threads), "given", given)
        assert (training_that(None)(config_of())._twin is not None) is overlaps
    assert training_that(None)(config_of(model=Drifting))._twin is None
    assert OverlappedTraining(config_of(output_scale=2.0))._twin is None
