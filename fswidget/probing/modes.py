"""What a pass over the probe borrows from a network and from torch, and puts back."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

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


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode; modes, buffers and attributes of all modules come back, and random states."""
    with _drawing_aside(model), _kept(model):
        model.eval()
        yield


@contextmanager
def _drawing_aside(model: nn.Module) -> Iterator[None]:
    """What the model draws is drawn again by whoever comes next.

    Not in a thread of its own: there the user's session draws from the same global generators at
    the same time, and what it drew would come again. Nothing that is built in draws in eval mode.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # MPS has no generator whose state could be kept.
    devices = {p.device for p in model.parameters() if p.device.type in ("cuda", "xpu")}
    kind = next((device.type for device in devices), "cuda")
    with fork_rng(sorted(device.index or 0 for device in devices), kind):
        yield


@contextmanager
def _kept(model: nn.Module) -> Iterator[None]:
    """Modules as they were: modes put back as they were set, by `train`, since layers that merge
    weights in eval mode undo it there; then all buffers, plain attributes and, of modules with a
    `train` of their own, parameters."""
    modules = list(model.modules())
    training = [module.training for module in modules]
    own = [module for module in modules if _sets_modes(module)]
    tensors = {id(buffer): buffer for module in modules for buffer in _tensors(module)}
    tensors |= {id(p): p for module in own for p in module.parameters()}
    values = [(tensor, tensor.detach().clone()) for tensor in tensors.values()]
    flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    attributes = [(module, dict(vars(module)), _containers(module)) for module in modules]
    try:
        yield
    finally:
        for module, mode in zip(modules, training, strict=True):
            if module.training != mode:
                module.train(mode)  # from the root on: children that differ come later
        for module, before, containers in attributes:
            vars(module).update(before)
            for name in vars(module).keys() - before.keys():
                del vars(module)[name]
            for container, content in containers:
                _refill(container, content)
        for parameter, flag in flags:
            if parameter.requires_grad != flag:
                parameter.requires_grad_(flag)
        for tensor, value in values:
            _put_back(tensor, value)


def _sets_modes(module: nn.Module) -> bool:
    kind = type(module)
    own = kind.train is not nn.Module.train or kind.eval is not nn.Module.eval
    return own or "train" in vars(module) or "eval" in vars(module)


def _tensors(module: nn.Module) -> list[Tensor]:
    """Buffers and tensors among plain attributes."""
    found = [*module._buffers.values(), *vars(module).values()]
    return [value for value in found if isinstance(value, Tensor)]


def _containers(module: nn.Module) -> list[tuple[Any, Any]]:
    """Lists and dicts of a module, its tables of parameters and buffers among them, and copies."""
    return [
        (value, value.copy()) for value in vars(module).values() if isinstance(value, (list, dict))
    ]


def _refill(container: Any, content: Any) -> None:
    same = len(container) == len(content)
    if isinstance(container, dict):
        if not (same and all(k in container and container[k] is v for k, v in content.items())):
            container.clear()
            container.update(content)
    elif not (same and all(a is b for a, b in zip(container, content, strict=True))):
        container[:] = content


def _put_back(tensor: Tensor, value: Tensor) -> None:
    # .data: no version counter moves, so a backward pass under way is not spoiled.
    with torch.inference_mode(tensor.is_inference()):
        if tensor.shape != value.shape:
            tensor.data = value
        else:
            tensor.data.copy_(value)


@contextmanager
def inference_mode(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Eval mode without gradients or autocast, whatever the surroundings are; all comes back."""
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(evaluating(model))
        stack.enter_context(torch.no_grad())
        stack.enter_context(torch.autocast(device.type, enabled=False))
        stack.enter_context(_without_autocast(model))
        if any(getattr(module, "_compiled_call_impl", None) for module in model.modules()):
            # Compiled in place: run as written, or eval mode and our hooks would recompile it.
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        yield


@contextmanager
def _without_autocast(model: nn.Module) -> Iterator[None]:
    """The forward pass as written, where accelerate has wrapped it into autocast."""
    wrapped = vars(model).get("forward")
    original = vars(model).get("_original_forward")
    if wrapped is None or original is None:
        yield
        return
    model.forward = original
    try:
        yield
    finally:
        model.forward = wrapped


def param_dtype(model: nn.Module) -> torch.dtype:
    """The floating-point type of a model's parameters."""
    kinds = (p.dtype for p in model.parameters() if p.dtype.is_floating_point)
    return next(kinds, torch.get_default_dtype())
