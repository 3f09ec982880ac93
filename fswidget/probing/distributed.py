"""The processes that share a probe."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn


class Diverged(FloatingPointError):
    """The network gave numbers that are not finite; the message says where."""


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
        summed: list[float] = total.tolist()
        return summed

    @contextmanager
    def together(self, device: torch.device) -> Iterator[None]:
        """Where the block fails in one process, it fails in all: nobody waits for the others."""
        if self.group is None:
            yield
            return
        error: Exception | None = None
        try:
            yield
        except Exception as caught:
            error = caught
        failed = torch.zeros(self.size, device=device)
        if error is not None:
            failed[self.rank] = 2 if isinstance(error, Diverged) else 1
        dist.all_reduce(failed, group=self.group)
        if error is not None:
            raise error
        if bool(failed.any()):
            who = f"in process {int(failed.argmax())}, as its own message says"
            if bool((failed == 2).any()):
                raise Diverged(f"features or outputs are not finite {who}")
            raise RuntimeError(f"a snapshot failed {who}")

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

    def follow(self, flag: int, device: torch.device | str) -> int:
        """What the first process says."""
        if self.group is None:
            return flag
        said = torch.tensor([flag], dtype=torch.uint8, device=device)
        dist.broadcast(said, dist.get_global_rank(self.group, 0), group=self.group)
        return int(said)

    def check_alike(self, samples: Mapping[str, Sequence[Tensor]], device: torch.device) -> None:
        """Raise ValueError in every process where they were given different samples."""
        if self.group is None:
            return
        sums = torch.tensor([_checksum(arrays) for arrays in samples.values()], device=device)
        everyones = [torch.empty_like(sums) for _ in range(self.size)]
        dist.all_gather(everyones, sums, group=self.group)
        for name, numbers in zip(samples, torch.stack(everyones, 1).tolist(), strict=True):
            others = [rank for rank, number in enumerate(numbers) if number != numbers[0]]
            if others:
                raise ValueError(
                    f"{name}: differ between the processes (those of {others} from those of 0); "
                    "every process must be given the same, of which it takes its part"
                )

    def same_buffers(self, model: nn.Module) -> None:
        """Between two steps the running statistics differ by process; from here on the first one's
        count, until `evaluating` puts back each its own."""
        if self.group is not None:
            for buffer in model.buffers():
                # .data: no version counter moves, so a backward pass under way is not spoiled.
                dist.broadcast(buffer.data, dist.get_global_rank(self.group, 0), group=self.group)


def _checksum(arrays: Sequence[Tensor]) -> int:
    """Of shapes, types and values, as an int64."""
    digest = hashlib.blake2b(digest_size=7)
    for array in arrays:
        digest.update(f"{array.dtype}{tuple(array.shape)}".encode())
        digest.update(
            array.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
        )
    return int.from_bytes(digest.digest(), "big")
