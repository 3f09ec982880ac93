"""A run that survives: its state and its recording in one folder, from which it goes on."""

from __future__ import annotations

import io
import json
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch

from fswidget.recording.atomic import alone, as_path, atomic_write
from fswidget.recording.frame import Frame
from fswidget.recording.loading import load_recording
from fswidget.recording.quiet import quiet
from fswidget.recording.recording import Recording
from fswidget.recording.regimes import regime_said, used_features
from fswidget.training.config import Config
from fswidget.training.loop import Training
from fswidget.training.optimisation import Progress
from fswidget.training.overlap import OverlappedTraining
from fswidget.training.steering import StateError

#: Writing may take so much of the time (our choice); where epochs are shorter some are not kept.
_SHARE = 0.05


class RunFolder:
    """The files of one run; each is written whole, so that they can be read while it grows.

    ``recording.npz`` is for `fswidget.load`, ``state.pt`` for
    ``torch.load(path, weights_only=True)``, and ``progress.json`` says how far the run is.

    Parameters
    ----------
    path : path
        Made where it is missing.

    Raises
    ------
    OSError
        If it cannot be made.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = as_path(path).expanduser()
        self.path.mkdir(parents=True, exist_ok=True)
        self._next = 0.0

    @property
    def recording_path(self) -> Path:
        return self.path / "recording.npz"

    @property
    def state_path(self) -> Path:
        return self.path / "state.pt"

    @property
    def progress_path(self) -> Path:
        return self.path / "progress.json"

    def state(self) -> dict[str, Any] | None:
        """The state kept last; None where there is none.

        Raises
        ------
        ValueError
            If the file is damaged.
        OSError, MemoryError
            If it cannot be read, which says nothing of what it holds.
        """
        if not self.state_path.exists():
            return None
        try:
            state = torch.load(self.state_path, map_location="cpu", weights_only=True)
            return {**state, "step": int(state["step"])}
        except (OSError, MemoryError):
            raise
        except Exception as error:
            # Files can be damaged in many ways, and torch's advice is to trust them.
            raise self.damaged(f"{self.state_path.name} is damaged") from error

    def damaged(self, what: str) -> ValueError:
        """What to raise where a run cannot go on from what is here."""
        anew = f"delete {self.state_path.name} to begin anew, or name another folder"
        return ValueError(f"store={str(self.path)!r}: {what}; {anew}")

    def recording(self, until: int | None = None) -> Recording:
        """What was recorded, at most to step `until`."""
        recording = load_recording(self.recording_path)
        if until is None:
            return recording
        return recording[: sum(frame.step <= until for frame in recording)]

    def progress(self) -> Progress | None:
        """How far the run is; None where nothing was kept yet, or the file is damaged."""
        try:
            return Progress(**json.loads(self.progress_path.read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def keep(self, training: Training, recording: Recording, *, always: bool = True) -> None:
        """Write the run as it is, unless `always` is off and writing takes too much of the time."""
        start = time.monotonic()
        if not always and start < self._next:
            return
        stream = io.BytesIO()
        torch.save(training.state_dict(), stream)
        # The state last: what it has seen is recorded then.
        recording.save(self.recording_path)
        atomic_write(self.state_path, stream.getvalue())
        progress = json.dumps(asdict(training.progress))
        atomic_write(self.progress_path, progress.encode())
        self._next = time.monotonic() + (time.monotonic() - start) / _SHARE


def record(
    config: Config,
    progress: bool = False,
    *,
    store: str | os.PathLike[str] | None = None,
    keep_going: Callable[[], bool] | None = None,
    overlap: bool | None = None,
) -> Recording:
    """Train a network and return the recording of the run.

    Parameters
    ----------
    config : Config
    progress : bool
        Show a progress bar, and one of reading pictures where that takes long.
    store : path, optional
        Folder that keeps state and recording after every epoch; see `RunFolder`. A run that is in
        it goes on from there, on a CPU bit for bit as if it had not stopped, however it ended. A
        finished one is read only. SIGTERM and Ctrl-C end the run between two steps, which are kept.
    keep_going : callable, optional
        Called before every batch; when it returns False the run ends early.
    overlap : bool, optional
        Whether to go on training while a frame is made, for one more copy of the network; frames
        stay the same, on a CPU bit for bit. By default on a GPU, and where the training leaves a
        core of the CPU idle, unless the network is your own. See `fswidget.training.overlap`.

    Raises
    ------
    FileNotFoundError, ValueError, TypeError
        At once, as `Training` does, or if `store` holds another run or is damaged. What else goes
        wrong, as a device or a disk that is full, leaves the state as it was kept last, and the
        same call goes on from there.
    BlockingIOError
        If the run in `store` is being trained already, here or in another process.
    Diverged
        If the loss or the features are no longer finite.

    Examples
    --------
    >>> config = fs.Config(width=16, epochs=2, train_size=100, probe_size=100)
    >>> half = iter([True] * 3)
    >>> recording = fs.record(config, store="run", keep_going=lambda: next(half, False))
    >>> fs.record(config, store="run")[-1].epoch
    2.0
    """
    if store is None:
        with quiet(not progress):
            training = training_that(overlap)(config, keep_going=keep_going)
            recording = Recording(training.info)
            _train(training, training.frames(), recording, progress)
        return recording
    folder = RunFolder(store)
    with alone(folder.path) as free:
        make = partial(training_that(overlap), config)
        return record_in(folder, make, keep_going, progress=progress, free=free)[0]


def record_in(
    folder: RunFolder,
    make: Callable[..., Training],
    keep_going: Callable[[], bool] | None = None,
    *,
    progress: bool = False,
    free: bool = True,
) -> tuple[Recording, bool]:
    """The recording of a run, and whether it is at its end; as `record`, where a folder is `free`.

    `make` is called as `Training` would be, but for the settings.
    """
    with _stop_signals() as received, quiet(not progress):
        found = _train_in(folder, make, keep_going, progress, received, free)
    if signal.SIGINT in received:
        raise KeyboardInterrupt
    if signal.SIGTERM in received:
        raise SystemExit(128 + signal.SIGTERM)
    return found


def training_that(overlap: bool | None) -> Callable[..., Training]:
    """What makes a `Training` that overlaps with its frames or does not, as `record` says."""
    if overlap is False:
        return Training
    return partial(OverlappedTraining, where_idle=overlap is None)


def _train_in(
    folder: RunFolder,
    make: Callable[..., Training],
    keep_going: Callable[[], bool] | None,
    progress: bool,
    received: list[int],
    free: bool,
) -> tuple[Recording, bool]:
    state = folder.state()
    allowed = keep_going or (lambda: True)
    try:
        training: Training = make(
            keep_going=lambda: not received and allowed(),
            state=state,
            on_epoch=lambda: folder.keep(training, recording, always=False),
        )
    except StateError as error:
        what = f"cannot go on from {folder.state_path.name} ({error})"
        raise folder.damaged(f"{what}; go on with the version that wrote it") from error
    recording: Recording = Recording(training.info)
    if state is not None:
        try:
            recording = folder.recording(until=training.step)
        except (FileNotFoundError, ValueError) as error:
            if isinstance(error.__cause__, (OSError, MemoryError)):  # says nothing of the file
                raise error.__cause__ from None
            raise folder.damaged(str(error)) from error
        recording.info = training.info
        if training.finished:
            return recording, True
    if not free:
        raise BlockingIOError(
            f"store={str(folder.path)!r}: this run is being trained already; wait until it ends, "
            "or name another folder"
        )
    try:
        _train(training, training.frames(first=not len(recording)), recording, progress)
    except Exception:
        if len(recording):  # what led to it can be looked at; the state stays that of before
            with suppress(OSError):  # as on a full disk: what is told is what went wrong first
                recording.save(folder.recording_path)
        raise
    folder.keep(training, recording)
    return recording, training.finished


def _train(
    training: Training, frames: Iterator[Frame], recording: Recording, progress: bool
) -> None:
    from tqdm.auto import tqdm

    form = "{desc}{percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"
    total, done = training.total_steps, training.step
    with tqdm(total=total, initial=done, bar_format=form, disable=not progress) as bar:
        bar.set_description(training.info.title)
        for frame in frames:
            recording.append(frame)
            bar.set_postfix(_glance(recording), refresh=False)
            bar.update(frame.step - bar.n)


def _glance(recording: Recording) -> Mapping[str, str]:
    frame = recording[-1]
    shown = {"loss": "loss", "test_accuracy": "test", "test_r2": "test R²"}
    shown |= {"low_rank_measure": "D_LR"}
    numbers = {label: f"{frame.scalars[k]:.3g}" for k, label in shown.items() if k in frame.scalars}
    needed = recording.info.all_needed
    if math.isfinite(used := used_features(frame.scalars, frame.labels, needed)):
        numbers["k95"] = f"{used:.3g}"
    regime = regime_said(frame.labels, needed)
    return {"epoch": f"{frame.epoch:g}", **numbers, "regime": regime}


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """SIGTERM and Ctrl-C are noted inside, in the main thread; a second Ctrl-C interrupts."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    def note(number: int, _: Any) -> None:
        if number == signal.SIGINT and number in received:
            raise KeyboardInterrupt
        received.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            # None: it was set outside Python, and cannot be put back from here.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
