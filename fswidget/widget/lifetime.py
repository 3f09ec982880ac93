"""When an explorer's run ends though nobody said stop: exit, fork, a cell run again."""

from __future__ import annotations

import atexit
import gc
import os
import sys
import time
import weakref
from types import FrameType, MethodType
from typing import Any

import ipywidgets.widgets.widget as host

#: How often to look who holds an explorer that has lost its name.
_LOOKS = 25

#: Explorers that may have a run; a forgotten one is in it no longer.
_alive: weakref.WeakSet[Any] = weakref.WeakSet()


def enrol(explorer: Any) -> None:
    """See to the end of this explorer's runs.

    ipywidgets keeps every widget for ever, in its registry and in the comm's callback. As long as
    nobody has been shown it, an explorer is its owner's alone: when the last reference goes, so
    does its run.
    """
    _alive.add(explorer)
    explorer._cell = _present_cell()
    if explorer.comm is not None:
        hear = weakref.WeakMethod(explorer._handle_msg)
        explorer.comm.on_msg(lambda message: (found := hear()) and found(message))
        registry = getattr(host, "_instances", {})
        if explorer.model_id in registry:
            registry[explorer.model_id] = weakref.proxy(explorer)
    _watch_names()


def keep(explorer: Any) -> None:
    """Somebody sees it: it stays, named or not, as any widget does."""
    if explorer.comm is not None:
        getattr(host, "_instances", {})[explorer.model_id] = explorer


def others_of_cell(explorer: Any) -> list[Any]:
    """Explorers with a run that an earlier execution of the same cell has made."""
    if explorer._cell is None:
        return []
    cell, execution = explorer._cell
    return [
        other
        for other in list(_alive)
        if other is not explorer
        and other._cell is not None
        and other._cell[0] == cell
        and other._cell[1] != execution
        and other._trainer.busy
    ]


def _present_cell() -> tuple[str, int] | None:
    """The notebook cell that is being executed, and its execution; None elsewhere."""
    shell = _shell()
    if shell is None:
        return None
    parent: Any = getattr(shell, "get_parent", dict)() or {}
    cell = parent.get("metadata", {}).get("cellId")
    if not cell:
        # Without a front end that names its cells, the same text is the same cell.
        entered = shell.user_ns.get("In") or [""]
        cell = entered[-1]
    return str(cell), int(shell.execution_count)


def _shell() -> Any:
    return getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()


def _watch_names() -> None:
    shell = _shell()
    if shell is None or getattr(shell, "_fswidget_watches_names", False):
        return
    shell._fswidget_watches_names = True
    shell.events.register("post_run_cell", _stop_forgotten)


def _stop_forgotten(_: Any = None) -> None:
    """Stop what has lost its name in the notebook, and is held by nothing else of the user's."""
    shell = _shell()
    if shell is None:
        return
    held = {id(value) for name, value in shell.user_ns.items() if not name.startswith("_")}
    for reference in list(map(weakref.ref, _alive)):
        explorer = reference()
        if explorer is None:
            continue
        if id(explorer) in held:
            explorer._named = True
        elif explorer._named and explorer._trainer.busy and not _held(explorer, shell):
            explorer.stop()


def _held(explorer: Any, shell: Any) -> bool:
    """Whether anything but the notebook's memory of outputs, and what makes a widget, holds it."""
    namespaces = shell.user_ns, shell.user_ns_hidden, shell.user_ns.get("Out")
    known = set(map(id, (*namespaces, shell.displayhook, getattr(host, "_instances", None))))
    for _ in range(_LOOKS):
        if all(
            # Methods and frames are those of the run itself.
            id(holder) in known or isinstance(holder, (FrameType, MethodType))
            for holder in gc.get_referrers(explorer)
        ):
            return False
        # What the run itself held in passing, it has let go by the next look.
        time.sleep(0.002)
    return True


@atexit.register
def _stop_all() -> None:
    """A thread that trains while the interpreter is taken down would abort the process."""
    explorers = list(_alive)
    for explorer in explorers:
        explorer._trainer.cancel()
    for explorer in explorers:
        explorer._trainer.join()


def _after_fork() -> None:
    for explorer in list(_alive):
        explorer._forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
