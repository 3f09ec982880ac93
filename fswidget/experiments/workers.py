"""Runs spread over the processes of an executor."""

from __future__ import annotations

import math
import multiprocessing
import os
import pickle
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from fswidget.recording.grid import Run
from fswidget.recording.quiet import quiet
from fswidget.recording.recording import Recording
from fswidget.training.checks import as_json
from fswidget.training.config import Config
from fswidget.training.registry import DataSource, Network, named, networks, sources

#: Networks and data sets that workers do not have yet.
Own = tuple[Network | DataSource, ...]


def require_ready(waiting: Sequence[dict[str, Any]], executor: Executor | None) -> None:
    """Raise what every run would where it goes: names that are unknown there, data that is missing.

    Each folder is looked into once.
    """
    for own in {tuple(map(id, _own(settings))): settings for settings in waiting}.values():
        _require_known(_own(own), own, executor)
    folders = {(str(s["dataset"]), s["root"], s["download"]): s for s in waiting}
    for settings in folders.values():
        if not named(sources, settings["dataset"]).files:
            continue
        if executor is None:
            _read(settings)
        else:  # where the runs go: a folder need not be on this machine
            _submit(executor, _read_there, settings).result()


def _own(settings: Mapping[str, Any]) -> Own:
    """What these settings name, or are, that does not come with the package."""
    entries = named(networks, settings["model"]), named(sources, settings["dataset"])
    return tuple(e for e in entries if not _module(_function(e)).startswith("fswidget."))


def _function(entry: Network | DataSource) -> Any:
    function = entry.build if isinstance(entry, Network) else entry.read
    return getattr(function, "func", function)  # of a functools.partial


def _module(function: Any) -> str:
    return str(getattr(function, "__module__", None) or type(function).__module__)


def _require_known(own: Own, settings: dict[str, Any], executor: Executor | None) -> None:
    for entry in own:
        setting = "model" if isinstance(entry, Network) else "dataset"
        function = _function(entry)
        called = getattr(function, "__qualname__", type(function).__qualname__)
        where = f"{setting}={entry.name!r}: {called} of module {_module(function)}"
        try:
            if executor is not None:
                _submit(executor, Config.from_dict, settings).result()
                continue
            pickle.dumps(entry)
            interactive = not hasattr(sys.modules["__main__"], "__file__")
            if _module(function) == "__main__" and interactive:
                raise ValueError("the module is a notebook or a prompt")
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise ValueError(
                f"{where} cannot be used by the processes of the sweep ({reason}): put it at the "
                "top level of a file and import it, or pass an executor that runs in this process"
            ) from error


def _submit(executor: Executor, function: Callable[..., Any], *given: Any) -> Future[Any]:
    """Call ``function(settings, …)`` there, with the networks and data sets that it names."""
    # What has no name is in the settings themselves.
    own = tuple(entry for entry in _own(given[0]) if entry.name in given[0].values())
    return (
        executor.submit(_with, own, function, *given) if own else executor.submit(function, *given)
    )


def _with(own: Own, function: Callable[..., Any], *given: Any) -> Any:
    for entry in own:
        registry: dict[str, Any] = networks if isinstance(entry, Network) else sources
        registry.setdefault(entry.name, entry)
    return function(*given)


def _read(settings: dict[str, Any]) -> None:
    config = Config.from_dict(settings)
    config.source.read(config)


def _read_there(settings: dict[str, Any]) -> None:
    with quiet():
        _read(settings)


def run_all(
    waiting: Sequence[dict[str, Any]], executor: Executor | None, kept_bytes: int | None = None
) -> Iterator[Run]:
    """Run them all, in any order; each keeps a recording of at most `kept_bytes`, if any."""
    given = () if kept_bytes is None else (kept_bytes,)
    if executor is not None:
        yield from _through(executor, waiting, given, _failed)
        return
    crashed: list[dict[str, Any]] = []

    def once_more(settings: dict[str, Any], error: BaseException) -> Run | None:
        if isinstance(error, BrokenProcessPool):
            crashed.append(settings)
            return None
        return _failed(settings, error)

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with _pool(max(1, min(cores or 1, len(waiting)))) as pool:
        if waiting:
            _require_processes(pool)
        yield from _through(pool, waiting, given, once_more)
    # A process that dies takes the whole pool with it: one by one, only the culprit fails.
    for settings in crashed:
        with _pool(1) as pool:
            yield from _through(pool, [settings], given, _failed)


def _require_processes(pool: Executor) -> None:
    """Raise where none can begin, as from a script whose processes run it from its top again."""
    try:
        pool.submit(int).result()
    except (RuntimeError, OSError) as error:  # a broken pool is a RuntimeError
        raise RuntimeError(
            "sweep: its processes cannot begin; in a script, call it under "
            'if __name__ == "__main__":'
        ) from error


def _through(
    executor: Executor,
    waiting: Sequence[dict[str, Any]],
    given: tuple[int, ...],
    on_error: Callable[[dict[str, Any], BaseException], Run | None],
) -> Iterator[Run]:
    futures: dict[Future[Run], dict[str, Any]] = {}
    try:
        for settings in waiting:
            try:
                futures[_submit(executor, _train, settings, *given)] = settings
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
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_begin)


def _begin() -> None:
    import torch

    torch.set_num_threads(1)


def _train(settings: dict[str, Any], kept_bytes: int | None = None) -> Run:
    """One run, in a worker, where others run beside it and bars would mix."""
    with quiet():
        return _run(settings, kept_bytes)


def _run(settings: dict[str, Any], kept_bytes: int | None) -> Run:
    """Its errors come back as text, for not every exception pickles."""
    start = time.perf_counter()
    try:
        from fswidget.training.loop import Training, train

        config, recording = Config.from_dict(settings), None
        if kept_bytes is None:
            frames = train(config)
        else:
            training = Training(config)
            frames, recording = iter(training), Recording(training.info, byte_budget=kept_bytes)
        for frame in frames:
            last = frame
            if recording is not None:
                recording.append(frame)
    except Exception as error:
        return _failed(settings, error, time.perf_counter() - start)
    seconds = time.perf_counter() - start
    return Run(config.to_dict(), last.scalars, last.labels, seconds, recording=recording)


def _failed(settings: dict[str, Any], error: BaseException, seconds: float = math.nan) -> Run:
    told = {name: as_json(value) for name, value in settings.items()}
    return Run(told, seconds=seconds, error="".join(traceback.format_exception(error)))
