"""Processes that tests start: born of one that has imported what a run needs, which takes each
interpreter of its own seconds."""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Any

#: torch's optimisers import what they need of it on the way.
_NEEDED = ["fswidget.training.loop", "torch._dynamo", "tests.unit.sweep_tasks"]
#: How such a process is started, as `multiprocessing` calls it.
METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"


def context() -> BaseContext:
    """What to make processes, pools and barriers with."""
    made = multiprocessing.get_context(METHOD)
    made.set_forkserver_preload(_NEEDED)
    return made


def pool(workers: int) -> ProcessPoolExecutor:
    """In the place of `fswidget.experiments.workers._pool`."""
    return ProcessPoolExecutor(workers, mp_context=context())


def start(function: Callable[..., object], *given: Any) -> BaseProcess:
    """A process that calls a function of a module's top level, and ends with what it raises."""
    process: BaseProcess = context().Process(target=function, args=given)
    process.start()
    return process


def command(arguments: Sequence[str]) -> None:
    """``python -m fswidget`` with these arguments, in such a process."""
    from fswidget.__main__ import main

    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main([*arguments]))
