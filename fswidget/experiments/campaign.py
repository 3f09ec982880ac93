"""Runs of hours: side by side, kept while they grow, and going on where they were left."""

from __future__ import annotations

import math
import multiprocessing
import os
import pickle
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from fswidget.experiments.small import LIMIT, small
from fswidget.recording.atomic import atomic_write
from fswidget.recording.loading import load_recording as load
from fswidget.recording.recording import Recording
from fswidget.training.config import Config

Status = Literal["finished", "left", "failed"]

#: A state is written at most so often, in seconds: half a minute of training may be lost.
_KEEP_EVERY = 30.0


@dataclass(frozen=True)
class Outcome:
    """What became of one run.

    Attributes
    ----------
    path : Path
        Its recording, once it is finished.
    status : {"finished", "left", "failed"}
        Left: time was up, and the next call goes on from its last frame.
    epoch : float
        How far it is.
    seconds : float
        Wall time that this call spent on it.
    error : str
        The traceback of a run that failed.
    """

    path: Path
    status: Status
    epoch: float = 0.0
    seconds: float = 0.0
    error: str = ""


def growing(path: Path) -> Path:
    """Where the recording of a run lies while it is not finished."""
    return path.with_suffix(".growing.npz")


def _state(path: Path) -> Path:
    return path.with_suffix(".state.pt")


def advance(
    config: Config,
    path: Path,
    stop_at: float = math.inf,
    threads: int = 1,
    limit: int = LIMIT,
) -> Outcome:
    """Train one run until it ends or the clock (`time.time`) passes `stop_at`.

    The recording is kept in ``PATH.growing.npz`` with the state of the training beside it, and in
    `path` once it is finished; a run that was left goes on from there.

    Parameters
    ----------
    config : Config
    path : Path
        Ends in ``.npz``.
    stop_at : float
    threads : int
        Threads of the CPU that the process may use.
    limit : int
        Bytes of a finished recording at most; see `small`.
    """
    start = time.perf_counter()
    if path.exists():
        return Outcome(path, "finished")
    if time.time() >= stop_at:
        return Outcome(path, "left")
    try:
        recording, finished = _train(config, path, stop_at, threads, limit)
    except Exception:  # one run's end must not be that of the others; its traceback is handed on
        seconds = time.perf_counter() - start
        return Outcome(path, "failed", seconds=seconds, error=traceback.format_exc())
    seconds = time.perf_counter() - start
    epoch = recording[-1].epoch if len(recording) else 0.0
    return Outcome(path, "finished" if finished else "left", epoch, seconds)


def _train(
    config: Config, path: Path, stop_at: float, threads: int, limit: int
) -> tuple[Recording, bool]:
    import torch

    from fswidget.training.loop import Training

    torch.set_num_threads(threads)
    path.parent.mkdir(parents=True, exist_ok=True)
    state, recording, spent = None, None, 0.0
    if growing(path).exists() and _state(path).exists():
        recording = load(growing(path))
        state = torch.load(_state(path), weights_only=True)
        spent = recording[-1].scalars["seconds"]
    training = Training(config, keep_going=lambda: time.time() < stop_at, state=state)
    recording = recording or Recording(training.info)
    last = recording[-1].step if len(recording) else -1
    kept = time.monotonic()
    for frame in training:
        if state is not None and frame.step <= int(state["step"]):
            continue  # of the network as it was left
        if frame.step > last:
            seconds = frame.scalars["seconds"] + spent
            recording.append(replace(frame, scalars={**frame.scalars, "seconds": seconds}))
        if time.monotonic() - kept > _KEEP_EVERY:
            _keep(recording, training.state_dict(), path)
            kept = time.monotonic()
    finished = bool(len(recording)) and recording[-1].step >= training.total_steps
    if finished:
        atomic_write(path, small(recording, limit))
        growing(path).unlink(missing_ok=True)
        _state(path).unlink(missing_ok=True)
    elif len(recording):
        _keep(recording, training.state_dict(), path)
    return recording, finished


def _keep(recording: Recording, state: dict[str, Any], path: Path) -> None:
    import torch

    partial = _state(path).with_suffix(".part")
    torch.save(state, partial)
    # The recording first: a state that is older than it repeats frames, which are passed over.
    recording.save(growing(path))
    os.replace(partial, _state(path))


def run_side_by_side(
    runs: Sequence[tuple[Config, Path]],
    *,
    workers: int = 1,
    seconds: float = math.inf,
    threads: int = 1,
    limit: int = LIMIT,
    on_done: Callable[[Outcome], None] = lambda _: None,
) -> list[Outcome]:
    """Advance runs in processes of their own, in the order given.

    Parameters
    ----------
    runs : sequence of (Config, Path)
    workers : int
        Processes; with 1 the runs are made in this one.
    seconds : float
        After so much wall time every run stops at its next batch; what is left says so.
    threads : int
        Threads of the CPU for each.
    limit : int
        Bytes of each finished recording at most.
    on_done : callable
        Called with each outcome as it comes.

    Returns
    -------
    list of Outcome
        In the order of `runs`.
    """
    stop_at = time.time() + seconds
    unique = {path: config for config, path in runs}  # recipes share arms
    outcomes: dict[Path, Outcome] = {}

    def done(outcome: Outcome) -> None:
        outcomes[outcome.path] = outcome
        on_done(outcome)

    if workers == 1:
        for path, config in unique.items():
            done(advance(config, path, stop_at, threads, limit))
    else:
        # Spawned: a forked copy of a process that has used OpenMP or CUDA may hang.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            futures: dict[Future[Outcome], Path] = {
                pool.submit(advance, config, path, stop_at, threads, limit): path
                for path, config in unique.items()
            }
            for future in as_completed(futures):
                try:
                    done(future.result())
                except (RuntimeError, OSError, pickle.PickleError) as error:
                    # The process died: of memory, most likely.
                    done(Outcome(futures[future], "failed", error=repr(error)))
    return [outcomes[path] for path in unique]
