"""Where nothing is to be said but what came out and what went wrong."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_loud = ContextVar("_loud", default=True)


def loud() -> bool:
    """Whether what takes long may show a bar that nobody asked for."""
    return _loud.get()


def hush() -> None:
    """Show no such bar from now on: in processes that run side by side, whose bars would mix."""
    _loud.set(False)


@contextmanager
def quiet(wanted: bool = True) -> Iterator[None]:
    """Show no such bar within, if `wanted`."""
    token = _loud.set(_loud.get() and not wanted)
    try:
        yield
    finally:
        _loud.reset(token)


@contextmanager
def silence(wanted: bool) -> Iterator[None]:
    """As `quiet`, and no warnings either, also in processes that begin within."""
    if not wanted:
        yield
        return
    name = "PYTHONWARNINGS"
    before = os.environ.get(name)
    os.environ[name] = "ignore"
    try:
        with quiet(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
