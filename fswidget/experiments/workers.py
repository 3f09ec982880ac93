"""Runs spread over the processes of an executor."""

from __future__ import annotations

import math
import multiprocessing
import os
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import Any

from fswidget.training.config import Config
from fswidget.training.registry import sources


@dataclass(frozen=True)
class Run:
    """One run of a sweep.

    Parameters
    ----------
    settings : dict
        The whole configuration, JSON types only.
    scalars : dict of str to float
        Of the last frame, see `fswidget.recording.SCALARS`; empty for a run that failed.
    labels : dict of str to str
        Of the last frame.
    seconds : float
        Wall time.
    error : str
        The traceback of what ended the run; empty for a run that went well.
    """

    settings: Mapping[str, Any]
    scalars: Mapping[str, float] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    seconds: float = math.nan
    error: str = ""


def require_data(waiting: Sequence[dict[str, Any]], executor: Executor | None) -> None:
    """Raise what every run would if data is missing; each folder is looked into once."""
    folders = {(s["dataset"], s["root"], s["download"]): s for s in waiting}
    for settings in folders.values():
        if not sources[settings["dataset"]].files:
            continue
        if executor is None:
            _read(settings)
        else:  # where the runs go: a folder need not be on this machine
            executor.submit(_read, settings).result()


def _read(settings: dict[str, Any]) -> None:
    config = Config.from_dict(settings)
    config.source.read(config)


def run_all(waiting: Sequence[dict[str, Any]], executor: Executor | None) -> Iterator[Run]:
    """Run them all, in any order."""
    if executor is not None:
        yield from _through(executor, waiting, _failed)
        return
    crashed: list[dict[str, Any]] = []

    def once_more(settings: dict[str, Any], error: BaseException) -> Run | None:
        if isinstance(error, BrokenProcessPool):
            crashed.append(settings)
            return None
        return _failed(settings, error)

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with _pool(max(1, min(cores or 1, len(waiting)))) as pool:
        yield from _through(pool, waiting, once_more)
    # A process that dies takes the whole pool with it: one by one, only the culprit fails.
    for settings in crashed:
        with _pool(1) as pool:
            yield from _through(pool, [settings], _failed)


def _through(
    executor: Executor,
    waiting: Sequence[dict[str, Any]],
    on_error: Callable[[dict[str, Any], BaseException], Run | None],
) -> Iterator[Run]:
    futures: dict[Future[Run], dict[str, Any]] = {}
    try:
        for settings in waiting:
            try:
                futures[executor.submit(_train, settings)] = settings
            except (RuntimeError, OSError) as error:
                if (run := on_error(settings, error)) is not None:
                    yield run
        for future in as_completed(futures):
            try:
                yield future.result()
            except KeyboardInterrupt:
                # Finished ones come in any order: those not yet seen are kept too.
                for other in futures:
                    if other.done() and not other.cancelled() and other.exception() is None:
                        yield other.result()
                raise
            except Exception as error:
                if (run := on_error(futures[future], error)) is not None:
                    yield run
    finally:
        for future in futures:
            future.cancel()


def _pool(workers: int) -> ProcessPoolExecutor:
    # Spawned: a forked copy of a process that has used OpenMP or CUDA may hang.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_one_thread)


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def _train(settings: dict[str, Any]) -> Run:
    """One run, in a worker; its errors come back as text, for not every exception pickles."""
    start = time.perf_counter()
    try:
        from fswidget.training.loop import train

        for frame in train(Config.from_dict(settings)):
            last = frame
    except Exception as error:
        return _failed(settings, error, time.perf_counter() - start)
    seconds = time.perf_counter() - start
    return Run(settings, last.scalars, last.labels, seconds)


def _failed(settings: dict[str, Any], error: BaseException, seconds: float = math.nan) -> Run:
    return Run(settings, seconds=seconds, error="".join(traceback.format_exception(error)))
