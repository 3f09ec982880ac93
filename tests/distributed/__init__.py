"""Several gloo processes on one machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from tests import children


def both(work: Callable[[int, str], None], folder: Path) -> None:
    """Call it in two processes, with their rank."""
    children.context()
    mp.start_processes(work, (str(folder),), nprocs=2, start_method=children.METHOD)


@contextmanager
def group(rank: int, folder: str | Path) -> Iterator[None]:
    """One of two processes, with what they share.

    It is left together: a process that takes its connections down while the other one still reads
    from them can abort that one.
    """
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meet",
        rank=rank,
        world_size=2,
        timeout=timedelta(minutes=5),
    )
    try:
        yield
        dist.barrier()
    finally:
        dist.destroy_process_group()
