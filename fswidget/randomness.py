"""Borrowing torch's global random state, one thread at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

# Two runs in two threads would else seed and restore the one state in between each other.
_lock = threading.RLock()


@contextmanager
def borrowed(devices: Sequence[int] = (), kind: str = "cuda") -> Iterator[None]:
    """The global random state may be used inside; afterwards it is as it was.

    Parameters
    ----------
    devices : sequence of int
        Devices of type `kind` whose states are kept too; the CPU's always is.
    kind : str
    """
    with _lock, torch.random.fork_rng(devices=list(devices), device_type=kind):
        yield
