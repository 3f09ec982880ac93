"""What a pass over the probe borrows from a network and from torch, and puts back."""

from __future__ import annotations

import operator
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.graph import allow_mutation_on_saved_tensors

#: torch knows one such context at a time, whatever the thread.
_OVERWRITING = threading.Lock()


@contextmanager
def overwriting() -> Iterator[None]:
    """Within, a model may overwrite in place what a derivative needs; threads take turns."""
    with _OVERWRITING, allow_mutation_on_saved_tensors():
        yield


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode; modes, buffers and attributes of all modules come back, and random states."""
    with _drawing_aside(model), kept(model):
        try:
            model.eval()
        except NotImplementedError as error:
            raise ValueError(
                f"model={type(model).__name__}: cannot be put into evaluation mode, as what "
                "torch.export gives; must be the module that was exported"
            ) from error
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
    indices = sorted(device.index or 0 for device in devices)
    with torch.random.fork_rng(devices=indices, device_type=kind):
        yield


@contextmanager
def kept(model: nn.Module) -> Iterator[None]:
    """Modules as they were: modes put back as they were set, by `train`, since layers that merge
    weights in eval mode undo it there; then all buffers, plain attributes and, of modules with a
    `train` of their own, parameters."""
    modules = list(model.modules())
    training = [module.training for module in modules]
    attributes = [(module, dict(vars(module))) for module in modules]
    found: dict[int, Any] = {}
    for _, before in attributes:
        find_changeable(before, found)
    own = [module for module in modules if _sets_modes(module)]
    found |= {id(parameter): parameter for module in own for parameter in module.parameters()}
    # Most are a module's tables of hooks, and empty: of those there is nothing to copy.
    empty = [thing for thing in found.values() if isinstance(thing, _INSIDE) and not thing]
    contents = [
        (thing, _copy(thing))
        for thing in found.values()
        if not isinstance(thing, tuple) and (not isinstance(thing, _INSIDE) or thing)
    ]
    flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        yield
    finally:
        for module, mode in zip(modules, training, strict=True):
            if module.training != mode:
                module.train(mode)  # from the root on: children that differ come later
        for module, before in attributes:
            now = vars(module)
            now.update(before)
            if len(now) > len(before):
                for name in now.keys() - before.keys():
                    del now[name]
        for thing in empty:
            if thing:
                thing.clear()
        for thing, content in contents:
            _put_back(thing, content)
        for parameter, flag in flags:
            if parameter.requires_grad != flag:
                parameter.requires_grad_(flag)


def _sets_modes(module: nn.Module) -> bool:
    kind = type(module)
    own = kind.train is not nn.Module.train or kind.eval is not nn.Module.eval
    return own or "train" in vars(module) or "eval" in vars(module)


#: What holds other things, and what of a module's attributes, which are many, holds none.
_INSIDE = (list, tuple, set, deque, dict)
_PLAIN = frozenset({bool, int, float, str, type(None)})


def find_changeable(attributes: dict[str, Any], found: dict[int, Any]) -> None:
    """Add to `found` what of a module's attributes can change in place, within each other too:
    containers, its tables of parameters and buffers among them, arrays, and tensors that are no
    parameters; and tuples, in which such things may be."""
    waiting = list(attributes.values())
    while waiting:
        thing = waiting.pop()
        if type(thing) in _PLAIN or id(thing) in found:
            continue
        if isinstance(thing, _INSIDE):
            found[id(thing)] = thing
            waiting.extend(thing.values() if isinstance(thing, dict) else thing)
        elif isinstance(thing, (Tensor, np.ndarray)) and not isinstance(thing, nn.Parameter):
            found[id(thing)] = thing


def _copy(thing: Any) -> Any:
    return thing.detach().clone() if isinstance(thing, Tensor) else thing.copy()


def _put_back(thing: Any, content: Any) -> None:
    if isinstance(thing, Tensor):
        _put_back_values(thing, content)
    elif isinstance(thing, np.ndarray):
        thing[...] = content
    elif not _same(thing, content):
        thing.clear()
        (thing.update if isinstance(thing, (dict, set)) else thing.extend)(content)


def _same(container: Any, content: Any) -> bool:
    """Whether the very things are in it, in the same order."""
    if len(container) != len(content):
        return False
    if isinstance(container, dict):
        values = container.values(), content.values()
        return list(container) == list(content) and all(map(operator.is_, *values))
    return all(map(operator.is_, container, content))


def _put_back_values(tensor: Tensor, value: Tensor) -> None:
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
