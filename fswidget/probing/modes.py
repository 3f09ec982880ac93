"""What a pass over the probe borrows from a network and from torch, and puts back."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import nn

# Two runs in two threads would else seed and restore the one state in between each other.
_lock = threading.RLock()


@contextmanager
def fork_rng(devices: Sequence[int] = (), kind: str = "cuda") -> Iterator[None]:
    """The global random state may be used inside; afterwards it is as it was.

    Parameters
    ----------
    devices : sequence of int
        Devices of type `kind` whose states are kept too; the CPU's always is.
    kind : str
    """
    with _lock, torch.random.fork_rng(devices=list(devices), device_type=kind):
        yield


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode; modes and random states come back."""
    modes = [(module, module.training) for module in model.modules()]
    # MPS has no generator whose state could be kept.
    devices = {p.device for p in model.parameters() if p.device.type in ("cuda", "xpu")}
    kind = next((device.type for device in devices), "cuda")
    with fork_rng(sorted(device.index or 0 for device in devices), kind):
        model.eval()
        try:
            yield
        finally:
            for module, training in modes:
                module.training = training


@contextmanager
def inference_mode(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Eval mode without gradients or autocast; modes and random states come back."""
    with ExitStack() as stack:
        stack.enter_context(evaluating(model))
        stack.enter_context(torch.no_grad())
        stack.enter_context(torch.autocast(device.type, enabled=False))
        if any(getattr(module, "_compiled_call_impl", None) for module in model.modules()):
            # Compiled in place: run as written, or eval mode and our hooks would recompile it.
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        yield


def param_dtype(model: nn.Module) -> torch.dtype:
    """The floating-point type of a model's parameters."""
    kinds = (p.dtype for p in model.parameters() if p.dtype.is_floating_point)
    return next(kinds, torch.get_default_dtype())
