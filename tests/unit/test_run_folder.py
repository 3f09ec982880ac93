"""A run in a folder goes on as if it had not stopped, however it ended."""

import contextlib
import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch

import fswidget as fs
from fswidget.probing.inference import Diverged
from fswidget.recording.loading import load_recording
from fswidget.training.config import Config
from fswidget.training.run_folder import RunFolder, record
from tests import children
from tests.recordings import assert_same

SMALL = {"width": 16, "train_size": 200, "test_size": 50, "epochs": 4}
CASES: dict[str, dict[str, Any]] = {
    "each step": {"frame_every": "epoch", "optimizer": "sgd", "epochs": 2, "schedule": "cosine"},
    "frames across epochs": {"frame_every": 7, "batchnorm": True},
    "pictures": {"model": "cnn", "augment": True, "frame_every": "epoch", "epochs": 2},
    "wide": {"width": 300, "frame_every": "epoch", "epochs": 2},
}


def config_of(**settings: Any) -> Config:
    return Config(**{**SMALL, **settings})


def after(steps: int) -> Callable[[], bool]:
    """Allows so many questions: a run asks before each step and each frame."""
    allowed = iter(range(steps))
    return lambda: next(allowed, None) is not None


@pytest.mark.parametrize(("case", "every"), [*zip(CASES, (1, 6, 5, 4), strict=True)])
def test_a_run_stopped_anywhere_goes_on_bit_for_bit(case: str, every: int, tmp_path: Path) -> None:
    config = config_of(**CASES[case])
    whole = record(config)
    for _ in range(100):
        kept = record(config, store=tmp_path / "run", keep_going=after(every))
        if kept[-1].step == whole[-1].step:
            break
    assert_same(kept, whole)
    assert_same(load_recording(tmp_path / "run/recording.npz"), whole)


def test_what_is_in_the_folder(tmp_path: Path) -> None:
    config = config_of(frame_every="epoch")
    seen: list[int] = []
    folder = RunFolder(tmp_path / "run")

    def look() -> bool:
        if folder.state_path.exists():
            # Readable while the run goes on, and behind the state by a frame that is due alone.
            state = torch.load(folder.state_path, weights_only=True)
            step = state["step"]
            assert load_recording(folder.recording_path)[-1].step >= step or state["due"]
            seen.append(step)
        return True

    record(config, store=folder.path, keep_going=look)
    assert seen[-1] >= 4
    progress = folder.progress()
    assert progress is not None
    assert progress.fraction == 1
    assert json.loads(folder.progress_path.read_text())["epochs"] == 4
    assert sorted(path.name for path in folder.path.iterdir()) == [
        "progress.json",
        "recording.npz",
        "state.pt",
    ]


def test_a_finished_run_is_only_read(tmp_path: Path) -> None:
    config = config_of(epochs=1)
    first = record(config, store=tmp_path)
    written = (tmp_path / "state.pt").stat().st_mtime_ns
    assert_same(record(config, store=tmp_path), first)
    assert (tmp_path / "state.pt").stat().st_mtime_ns == written
    assert record(config.replace(epochs=2), store=tmp_path)[-1].epoch == 2


def test_another_run_or_a_damaged_state_is_refused(tmp_path: Path) -> None:
    record(config_of(epochs=1), store=tmp_path)
    with pytest.raises(ValueError, match=r"state: is of another run \(lr 0.001 → 0.01\)"):
        record(config_of(epochs=1, lr=0.01), store=tmp_path)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    for changed in (
        {name: part for name, part in state.items() if name != "model"},
        {**state, "config": {**state["config"], "of_later": 1}},
        {**state, "model": {}},
    ):
        torch.save(changed, tmp_path / "state.pt")
        with pytest.raises(ValueError, match=r"store=.*cannot go on from state.pt \(.*delete"):
            record(config_of(epochs=1), store=tmp_path)
    torch.save(state, tmp_path / "state.pt")
    (tmp_path / "recording.npz").rename(tmp_path / "aside")
    with pytest.raises(ValueError, match=r"store=.*recording.npz.*delete state.pt to begin anew"):
        record(config_of(epochs=1), store=tmp_path)
    (tmp_path / "state.pt").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"store=.*state.pt is damaged; delete state.pt"):
        record(config_of(epochs=1), store=tmp_path)


def test_what_is_no_fault_of_the_state_is_told_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(frame_every="epoch", epochs=2)
    record(config, store=tmp_path, keep_going=after(8))
    state = (tmp_path / "state.pt").read_bytes()
    full, memory = OSError(28, "No space left on device"), torch.OutOfMemoryError("CUDA")
    for part, error in {
        "fswidget.training.loop.Training._make_probe": memory,
        "torch.optim.Optimizer.load_state_dict": memory,
        "torch.load": PermissionError(13, "Permission denied"),
        "fswidget.recording.file.read": PermissionError(13, "Permission denied"),
        "fswidget.training.learner.Learner._train_step": KeyboardInterrupt(),
        "fswidget.recording.recording.Recording.save": full,
        "fswidget.training.run_folder.atomic_write": full,
    }.items():
        with monkeypatch.context() as patch:
            patch.setattr(part, Mock(side_effect=error))
            with pytest.raises(type(error)) as caught:
                record(config, store=tmp_path)
        assert caught.value is error, part
        assert (tmp_path / "state.pt").read_bytes() == state
    assert_same(record(config, store=tmp_path), record(config))


def test_a_run_stopped_before_its_first_frame_begins_as_one_that_was_not(tmp_path: Path) -> None:
    config = config_of(epochs=1)
    assert not len(record(config, store=tmp_path, keep_going=after(0)))
    assert_same(record(config, store=tmp_path), record(config))


def test_a_diverged_run_keeps_what_led_to_it(tmp_path: Path) -> None:
    config = config_of(optimizer="sgd", lr=10.0, loss="mse", epochs=20, width=256)
    with pytest.raises(Diverged):
        record(config, store=tmp_path)
    assert len(RunFolder(tmp_path).recording()) >= 1


def without_end(folder: str) -> None:
    fs.record(config_of(epochs=100_000, frame_every="epoch", batch_size=100), store=folder)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_a_run_between_two_steps(number: signal.Signals, tmp_path: Path) -> None:
    config = config_of(frame_every="epoch")
    before, asked = signal.getsignal(number), after(7)

    def interrupt() -> bool:
        if not asked():
            signal.raise_signal(number)
        return True

    with pytest.raises(KeyboardInterrupt if number == signal.SIGINT else SystemExit) as caught:
        record(config, store=tmp_path, keep_going=interrupt)
    if number == signal.SIGTERM:
        assert caught.value.code == 143
    assert signal.getsignal(number) == before
    assert_same(record(config, store=tmp_path), record(config))


def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    process = children.start(without_end, str(folder.path))
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            with contextlib.suppress(FileNotFoundError):
                if (progress := folder.progress()) and progress.epoch >= 3:
                    break
            time.sleep(0.02)
    finally:
        process.kill()
        process.join()
    state = folder.state()
    assert state is not None
    assert state["step"] >= 6
    config = Config.from_dict(state["config"])
    ended = record(config, store=folder.path, keep_going=after(5))
    plain = record(config.replace(max_steps=ended[-1].step))
    assert_same(ended, plain)
