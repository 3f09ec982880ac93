"""What a pass over the probe borrows from a network and from torch, and puts back."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def fork_rng(devices: Sequence[int] = (), kind: str = "cuda") -> Iterator[None]:
    """The global random state may be used inside; afterwards it is as it was.

    Parameters
    ----------
    devices : sequence of int
        Devices of type `kind` whose states are kept too; the CPU's always is.
    kind : str
    """
    with torch.random.fork_rng(devices=list(devices), device_type=kind):
        yield


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode; modes, buffers, flags and, in the main thread, random states come back.

    In evaluation mode nothing is drawn, by rule. Where a network does draw, its numbers come back
    where nobody else can have drawn meanwhile: the generators belong to the whole process, and a
    thread in the background must not set them back under the hands of others.
    """
    kept = [_Kept(module) for module in model.modules()]
    with ExitStack() as stack:
        if threading.current_thread() is threading.main_thread():
            stack.enter_context(fork_rng(*_devices(model)))
        model.eval()
        try:
            yield
        finally:
            for module in kept:
                module.back()


def _devices(model: nn.Module) -> tuple[list[int], str]:
    # MPS has no generator whose state could be kept.
    devices = {p.device for p in model.parameters() if p.device.type in ("cuda", "xpu")}
    kind = next((device.type for device in devices), "cuda")
    return sorted(device.index or 0 for device in devices), kind


class _Kept:
    """A module as it was: mode, buffers, parameters that its own `train` may change, flags."""

    def __init__(self, module: nn.Module) -> None:
        self.module, self.training = module, module.training
        self.flags = {k: v for k, v in vars(module).items() if k not in _TORCHS}
        own = type(module).train is not nn.Module.train  # as LoRA's, which merges its weights
        tensors = [*module._buffers.values(), *self.flags.values()]
        tensors += module._parameters.values() if own else []
        self.values = [(t, t.data.clone()) for t in tensors if isinstance(t, Tensor)]
        self.buffers = dict(module._buffers)

    def back(self) -> None:
        """Through the module's own `train`, and then by value whatever that leaves."""
        if self.module.training != self.training:
            self.module.train(self.training)
        self.module._buffers.update(self.buffers)
        for name, value in self.flags.items():
            if vars(self.module).get(name) is not value:
                vars(self.module)[name] = value
        for tensor, value in self.values:
            # .data: no version counter moves, so a backward pass under way is not spoiled.
            tensor.data.copy_(value)


# What torch itself keeps in a module, which evaluation does not change, or which is dealt with.
_TORCHS = frozenset(vars(nn.Module()))


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
