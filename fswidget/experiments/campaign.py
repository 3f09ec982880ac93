"""Runs of hours: side by side, kept while they grow, and going on where they were left."""

from __future__ import annotations

import math
import multiprocessing
import os
import pickle
import shutil
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, Protocol

from fswidget.experiments.small import small
from fswidget.recording.atomic import alone, atomic_write
from fswidget.recording.quiet import hush
from fswidget.training.config import Config

Status = Literal["finished", "left", "failed"]


@dataclass(frozen=True)
class Outcome:
    """What became of one run.

    Attributes
    ----------
    path : Path
        Its recording, once it is finished.
    status : {"finished", "left", "failed"}
        Left: it was stopped, and the next call goes on from there.
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


class _Stop(Protocol):
    """`threading.Event`, or that of `multiprocessing`."""

    def is_set(self) -> bool: ...
    def set(self) -> None: ...
    def wait(self, timeout: float | None = None) -> bool: ...


#: Seconds to wait for a run that another process trains, and how often to look.
_PATIENCE, _EVERY = 30.0, 0.5


#: Set where the runs of this process are to stop; a worker is given that of its pool.
_stop: _Stop = threading.Event()


@dataclass(frozen=True)
class Terms:
    """What all runs of a campaign have in common.

    Parameters
    ----------
    stop_at : float
        When to stop, as `time.time` counts.
    threads : int, optional
        Threads of the CPU for each run; torch's own setting if not given.
    limit : int, optional
        Bytes of a finished recording at most, see `small`; it is kept whole if not given.
    """

    stop_at: float = math.inf
    threads: int | None = None
    limit: int | None = None


def growing(path: Path) -> Path:
    """The folder of a run that is not finished; see `fswidget.training.run_folder.RunFolder`."""
    return path.with_suffix("")


def advance(config: Config, path: Path, terms: Terms | None = None) -> Outcome:
    """Train one run until it ends or is stopped.

    It grows in the folder `growing(path)`, and becomes the file `path` once it is finished; one
    that was left goes on from there, on a CPU bit for bit. One that another process goes on
    training is left to it.

    Parameters
    ----------
    config : Config
    path : Path
        Ends in ``.npz``.
    terms : Terms, optional
    """
    terms, start = terms or Terms(), time.perf_counter()
    if path.exists():
        return Outcome(path, "finished")
    if _stop.is_set() or time.time() >= terms.stop_at:
        return Outcome(path, "left")
    try:
        epoch, finished = _patiently(config, path, terms)
    except BlockingIOError:
        return Outcome(path, "left")
    except Exception:  # one run's end must not be that of the others; its traceback is handed on
        seconds = time.perf_counter() - start
        return Outcome(path, "failed", seconds=seconds, error=traceback.format_exc())
    seconds = time.perf_counter() - start
    return Outcome(path, "finished" if finished else "left", epoch, seconds)


def _patiently(config: Config, path: Path, terms: Terms) -> tuple[float, bool]:
    """Train once nobody else does: what is left of a command that was killed ends soon."""
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            return _train(config, path, terms)
        except BlockingIOError:
            if time.monotonic() >= until or _stop.wait(_EVERY):
                raise


def _train(config: Config, path: Path, terms: Terms) -> tuple[float, bool]:
    """The epoch that a run has reached, and whether it is finished."""
    import torch

    from fswidget.training.run_folder import RunFolder, record_in, training_that

    if terms.threads is not None:
        torch.set_num_threads(terms.threads)
    folder = RunFolder(growing(path))
    with alone(folder.path) as free:
        if path.exists():  # another process has just finished it
            return config.epochs, True
        recording, finished = record_in(
            folder,
            partial(training_that(None), config),
            lambda: not _stop.is_set() and time.time() < terms.stop_at,
            free=free,
        )
        if free and finished:
            whole = recording.to_bytes() if terms.limit is None else small(recording, terms.limit)
            atomic_write(path, whole)
            shutil.rmtree(folder.path)
        return (recording[-1].epoch if len(recording) else 0.0), free and finished


def run_side_by_side(
    runs: Sequence[tuple[Config, Path]],
    *,
    workers: int = 1,
    seconds: float = math.inf,
    threads: int | None = None,
    limit: int | None = None,
    on_done: Callable[[Outcome], None] = lambda _: None,
) -> list[Outcome]:
    """Advance runs, in the order given, each in a process of its own where `workers` > 1.

    Parameters
    ----------
    runs : sequence of (Config, Path)
        A path that comes twice is one run, for recipes share arms.
    workers : int
    seconds : float
        After so much wall time every run stops at its next batch; what is left says so.
    threads, limit
        See `Terms`.
    on_done : callable (outcome)

    Returns
    -------
    list of Outcome
        One a path.

    Raises
    ------
    KeyboardInterrupt, SystemExit
        After Ctrl-C or SIGTERM (where this is the main thread), when all that runs has been kept.
    """
    terms = Terms(time.time() + seconds, threads, limit)
    unique = {path: config for config, path in runs}
    found = (
        (advance(config, path, terms) for path, config in unique.items())
        if workers == 1
        else _in_pool(unique, terms, workers)
    )
    outcomes = []
    for outcome in found:
        outcomes.append(outcome)
        on_done(outcome)
    return outcomes


def _in_pool(unique: dict[Path, Config], terms: Terms, workers: int) -> Iterator[Outcome]:
    context = multiprocessing.get_context("spawn")  # a fork of a process with CUDA may hang
    stop = context.Event()
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(stop,))
    with _stopping_softly(stop), pool:
        with _deaf_to_interrupts():
            futures: dict[Future[Outcome], Path] = {
                pool.submit(_advance_in_worker, config, path, terms): path
                for path, config in unique.items()
            }
        for future in as_completed(futures):
            try:
                yield future.result()
            except (RuntimeError, OSError, pickle.PickleError) as error:
                # The process died: of memory, most likely.
                yield Outcome(futures[future], "failed", error=repr(error))


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Processes that begin within hear of Ctrl-C only what `_begin` lets them, not while they still
    import what they need; this one hears of it afterwards."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(stop: _Stop) -> None:
    global _stop
    _stop = stop
    # A run hears of Ctrl-C by itself; between runs it is for the parent to set `stop`.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    hush()
    threading.Thread(target=_end_with_parent, daemon=True).start()


#: Held while this process trains.
_training = threading.Lock()


def _end_with_parent() -> None:
    """A parent that was killed stops nobody, and would be run anew beside us."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        _stop.set()
        with _training:
            os._exit(1)


def _advance_in_worker(config: Config, path: Path, terms: Terms) -> Outcome:
    """Ctrl-C reaches every process of a terminal; what comes of it is for the parent to say."""
    try:
        with _training:
            return advance(config, path, terms)
    except (KeyboardInterrupt, SystemExit):
        return Outcome(path, "left")


@contextmanager
def _stopping_softly(stop: _Stop) -> Iterator[None]:
    """Within, Ctrl-C and SIGTERM set `stop`; afterwards they end the process as they would."""
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return

    def ask(number: int, _: object) -> None:
        caught.append(number)
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
    if caught:
        raise KeyboardInterrupt if signal.SIGINT in caught else SystemExit(128 + signal.SIGTERM)
