"""One pass of a network over fixed samples, shared by processes or not, without a trace in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch import Tensor, nn

from fswidget.features import Head, capture, evaluating
from fswidget.samples import Samples


class Diverged(FloatingPointError):
    """The network gave numbers that are not finite; the message says where."""


class Team:
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


@contextmanager
def undisturbed(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Eval mode without gradients or autocast; modes and random states come back."""
    with ExitStack() as stack:
        stack.enter_context(evaluating(model))
        stack.enter_context(torch.no_grad())
        stack.enter_context(torch.autocast(device.type, enabled=False))
        if any(getattr(module, "_compiled_call_impl", None) for module in model.modules()):
            # Compiled in place: run as written, or eval mode and our hooks would recompile it.
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        yield


def precision(model: nn.Module) -> torch.dtype:
    """The floating-point type of a model's parameters."""
    kinds = (p.dtype for p in model.parameters() if p.dtype.is_floating_point)
    return next(kinds, torch.get_default_dtype())


@dataclass
class Rows:
    """What a pass saw, in this process: a row for each of its samples."""

    features: Tensor
    outputs: Tensor
    targets: Tensor
    layers: dict[str, Tensor] = field(default_factory=dict)
    #: Number of the first row among the samples of all processes.
    start: int = 0


def run(
    model: nn.Module,
    head: Head,
    samples: Samples,
    *,
    layers: Sequence[str] = (),
    batch_size: int,
    device: torch.device,
    team: Team,
    where: str = "",
) -> Rows:
    """Run a model over this process's part of the samples.

    Raises
    ------
    Diverged
        If features or outputs are not finite; the message begins with `where`.
    """
    part, start = samples.part(team.rank, team.size)
    seen: list[Rows] = []
    with capture(model, head, layers) as captured:
        for batch in part.batches(batch_size, device, precision(model)):
            model(*batch.args, **batch.kwargs)
            rows = Rows(captured.features, captured.outputs, batch.targets, dict(captured.layers))
            _check_finite({**rows.layers, head.name: rows.features}, rows.outputs, where)
            seen.append(rows)
    if not seen:
        raise ValueError(f"inputs: {len(samples)} samples; must be at least one a process")
    return Rows(
        torch.cat([rows.features for rows in seen]),
        torch.cat([rows.outputs for rows in seen]),
        torch.cat([rows.targets for rows in seen]),
        {name: torch.cat([rows.layers[name] for rows in seen]) for name in seen[0].layers},
        start,
    )


def _check_finite(layers: Mapping[str, Tensor], outputs: Tensor, where: str) -> None:
    for name, values in {**layers, "": outputs}.items():
        bad = int((~values.isfinite()).any(1).sum())
        if bad:
            what = f"the features at {name!r} are" if name else "the outputs are"
            raise Diverged(f"{where}: {what} not finite for {bad} of {len(values)} samples")
