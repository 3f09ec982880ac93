"""How many threads of the CPU torch computes on: the user's setting, lent and given back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

#: Where a GPU computes, the CPU solves small matrices, for which many threads are woken in vain: a
#: frame of ResNet18, p = 128, took 245 ms with 16 threads, 109 with 4, 112 with one; p = 512 took
#: 190, 208 and 216 ms (beside an NVIDIA H200).
BESIDE_A_GPU = 4


class _Threads:
    """How many threads torch was given before the first of the runs that are on began."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._given = 1
        self._within = threading.local()

    @property
    def given(self) -> int:
        with self._lock:
            return self._given if self._users else torch.get_num_threads()

    @contextmanager
    def use(self, count: int) -> Iterator[None]:
        """Compute on `count` threads; afterwards there are as many as before."""
        within: list[int] = self._within.__dict__.setdefault("counts", [])
        with self._lock:
            if not self._users:
                self._given = torch.get_num_threads()
            self._users += 1
            given = self._given
        within.append(count)
        try:
            torch.set_num_threads(count)
            yield
        finally:
            within.pop()
            # New threads take over what was set last, in whichever thread.
            torch.set_num_threads(within[-1] if within else given)
            with self._lock:
                self._users -= 1


#: Of this process.
threads = _Threads()
