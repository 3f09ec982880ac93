"""The processes that share a probe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn


class Communicator:
    """The processes that share a pass; one process alone where `group` is None."""

    def __init__(self, group: dist.ProcessGroup | None = None) -> None:
        self.group = group
        self.rank = 0 if group is None else dist.get_rank(group)
        self.size = 1 if group is None else dist.get_world_size(group)

    def sum(self, numbers: Sequence[float], device: torch.device) -> list[float]:
        """Sums over the processes."""
        if self.group is None:
            return list(numbers)
        # float32 where the device has no other; NCCL takes tensors of the GPU only.
        total = torch.tensor(numbers, device=device)
        dist.all_reduce(total, group=self.group)
        return [float(number) for number in total]

    def gather(self, rows: Tensor, counts: Sequence[int]) -> Tensor:
        """The rows of all processes, of which the i-th has ``counts[i]``, in their order."""
        if self.group is None:
            return rows
        # all_gather wants equal shapes: pad, then cut.
        padded = rows.new_zeros(max(counts), rows.shape[1])
        padded[: len(rows)] = rows
        gathered = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(gathered, padded, group=self.group)
        return torch.cat([part[:count] for part, count in zip(gathered, counts, strict=True)])

    def follow(self, flag: bool, device: torch.device) -> bool:
        """What the first process says."""
        if self.group is None:
            return flag
        said = torch.tensor([flag], dtype=torch.uint8, device=device)
        dist.broadcast(said, dist.get_global_rank(self.group, 0), group=self.group)
        return bool(said)

    @contextmanager
    def same_buffers(self, model: nn.Module) -> Iterator[None]:
        """Between two steps the running statistics differ by process; the first one's count."""
        if self.group is None:
            yield
            return
        # .data: no version counter moves, so a backward pass under way is not spoiled.
        kept = [(buffer, buffer.data.clone()) for buffer in model.buffers()]
        for buffer, _ in kept:
            dist.broadcast(buffer.data, dist.get_global_rank(self.group, 0), group=self.group)
        try:
            yield
        finally:
            for buffer, value in kept:
                buffer.data.copy_(value)
