"""Finds the last linear layer of any torch module and captures what enters it.

The head is found by tracing what produces the output, not by its name: every linear layer's
output becomes a leaf of the autograd graph, and the head is the one leaf that the model's output
depends on, as an affine function of it. Whether it holds row by row is checked by values, on the
probe: see `fswidget.probing.agreement`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fswidget.probing.agreement import WAY_OUT, rounding
from fswidget.probing.modes import evaluating

#: Which of a model's outputs counts: a key or an attribute, a position, or a function of them.
OutputSelector = str | int | Callable[[Any], Any] | None


@dataclass(frozen=True)
class Head:
    """The last linear layer of a model.

    Parameters
    ----------
    name : str
        Its name in the (unwrapped) model; "" where the model is the layer itself.
    module : torch.nn.Module
    num_features, num_outputs : int
        p and C.
    call : int
        Which of its calls in a forward pass makes the output, where it is called several times.
    """

    name: str
    module: nn.Module
    num_features: int
    num_outputs: int
    call: int = 0


def unwrap(model: nn.Module) -> nn.Module:
    """The module inside wrappers: data-parallel ones, Lightning Fabric's, torch.compile's."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        parallel = isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel))
        if parallel or type(model).__name__ == "_FabricModule":
            inner = model.module
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def main_output(output: Any, select: OutputSelector = None) -> Tensor:
    """The tensor that counts in what a model returns.

    Parameters
    ----------
    output
        What the model returned.
    select : str, int or callable, optional
        A key, an attribute or a position in it, or a function of it. By default ``logits`` of a
        mapping or an object, else the one floating-point tensor that has a dimension, which leaves
        out a loss.

    Raises
    ------
    ValueError
        If there is none, or more than one without `select`.
    """
    if select is not None:
        return _selected(output, select)
    if isinstance(output, Tensor):
        return output
    if isinstance(logits := getattr(output, "logits", None), Tensor):
        return logits
    named: dict[Any, Any] = {}
    if isinstance(output, Mapping):
        if isinstance(output.get("logits"), Tensor):
            return main_output(output["logits"])
        named = dict(output)
    elif isinstance(output, Sequence) and not isinstance(output, str):
        named = dict(enumerate(output))
    found = {
        name: value
        for name, value in named.items()
        if isinstance(value, Tensor) and value.is_floating_point() and value.ndim
    }
    if len(found) == 1:
        return next(iter(found.values()))
    what = f"model: returned {type(output).__name__}"
    if not found:
        raise ValueError(f"{what}, in which no float tensor was found; {WAY_OUT}")
    raise ValueError(
        f"{what} with {len(found)} tensors ({', '.join(map(repr, found))}): which of them the "
        "outputs are must be said, as outputs="
    )


def _selected(output: Any, select: str | int | Callable[[Any], Any]) -> Tensor:
    try:
        if callable(select):
            value = select(output)
        elif isinstance(select, str) and not isinstance(output, Mapping):
            value = getattr(output, select)
        else:
            value = output[select]
    except (KeyError, IndexError, AttributeError, TypeError) as error:
        raise ValueError(
            f"outputs={select!r}: the model's {type(output).__name__} has no such entry ({error!r})"
        ) from error
    if not isinstance(value, Tensor) or not value.is_floating_point():
        raise ValueError(
            f"outputs={select!r}: gives {type(value).__name__}; must be a float tensor"
        )
    return value


def _is_linear(module: nn.Module) -> bool:
    # torch's own, and layers of other libraries that hold one matrix and map the last axis by it
    # (transformers' Conv1D, quantised linear layers).
    if isinstance(module, nn.Linear):
        return True
    weight = getattr(module, "weight", None)
    return (
        isinstance(weight, Tensor)
        and weight.ndim == 2
        and not isinstance(module, (nn.Embedding, nn.LayerNorm, nn.Bilinear))
        and not list(module.children())
    )


def find_head(
    model: nn.Module,
    *example_inputs: Any,
    name: str | None = None,
    select: OutputSelector = None,
    **example_options: Any,
) -> Head:
    """Find the linear layer that the model's output is an affine function of.

    Parameters
    ----------
    model : torch.nn.Module
        Bare or in DataParallel, DistributedDataParallel or torch.compile. It is run twice, in eval
        mode; training mode and random state are put back.
    *example_inputs, **example_options
        What to call it with; two samples are enough.
    name : str, optional
        Take this module, as in ``model.named_modules()``.
    select
        Which of several outputs counts, as for `main_output`.

    Raises
    ------
    ValueError
        If the model's output depends on no linear layer's, on several, or not affinely up to a
        softmax's normalisation; if there is no module `name`, or it did not run.
    """
    model = unwrap(model)
    modules = dict(model.named_modules())
    if name is not None and name not in modules:
        raise ValueError(f"head={name!r}: no such module; must be one of {', '.join(modules)}")
    tracer = _Tracer(modules if name is None else {name: modules[name]}, name is not None)

    def run(changed: int | None = None) -> Tensor:
        with tracer.cutting(changed):
            return main_output(model(*example_inputs, **example_options), select)

    with evaluating(model), torch.enable_grad():
        found = _trace(run, tracer.calls, name)
    if isinstance(found, str):
        raise ValueError(
            f"model={type(model).__name__}: {found}; its output must come from one linear layer "
            "(torch.nn.Linear or alike), row by row, with at most a selection, a scale and a shift "
            f"after it; else {WAY_OUT}"
        )
    return found


@dataclass(frozen=True)
class _Call:
    name: str
    module: nn.Module
    number: int  # among the calls of this module
    entering: Tensor
    leaf: Tensor


class _Tracer:
    """Has every linear layer's output become a leaf of the autograd graph."""

    def __init__(self, modules: Mapping[str, nn.Module], named: bool) -> None:
        self.calls: list[_Call] = []
        self._modules = {n: m for n, m in modules.items() if named or _is_linear(m)}

    @contextlib.contextmanager
    def cutting(self, changed: int | None = None) -> Iterator[None]:
        """Fill `calls` anew; the call numbered `changed` gives other values."""
        self.calls.clear()
        handles = [
            module.register_forward_hook(self._hook(name, changed))
            for name, module in self._modules.items()
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _hook(self, name: str, changed: int | None) -> Any:
        def cut(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
            entering = args[0] if args else None
            if not (
                isinstance(entering, Tensor)
                and entering.is_floating_point()
                and isinstance(output, Tensor)
                and output.shape[:-1] == entering.shape[:-1]
            ):
                return None
            value = output.detach().clone()
            if len(self.calls) == changed:
                noise = torch.rand(value.shape, generator=torch.Generator().manual_seed(1))
                spread = value.abs().amax().clamp(min=1)
                value = (4 * spread * (noise.to(value) - 0.5)).to(value.dtype) - value
            leaf = value.requires_grad_()
            number = sum(call.module is module for call in self.calls)
            self.calls.append(_Call(name, module, number, entering.detach(), leaf))
            # A module that changes its input in place must not meet a leaf.
            return leaf * 1

        return cut


def _trace(run: Callable[[int | None], Tensor], calls: list[_Call], name: str | None) -> Head | str:
    output = run(None)
    seen = list(calls)
    if not seen:
        return "it has no linear layer that ran" if name is None else f"{name!r} did not run"
    if not output.requires_grad:
        return "its output does not depend on the output of any linear layer"
    gradients = _gradients(output, seen)
    reached = [index for index, gradient in enumerate(gradients) if gradient is not None]
    if len(reached) != 1:
        names = ", ".join(repr(seen[index].name) for index in reached)
        return (
            f"its output mixes {len(reached)} calls of linear layers ({names})"
            if reached
            else "its output does not depend on the output of any linear layer"
        )
    index = reached[0]
    before, call = gradients[index], seen[index]
    # Of an affine function the gradient is the same wherever it is taken.
    after = _gradients(run(index), calls)[index] if len(calls) == len(seen) else None
    head = f"its output is not the output of its last linear layer {call.name!r}, but made from it"
    if before is None or after is None:
        return head
    allowed = rounding(output, call.leaf) * before.abs().amax()
    if not bool(((after - before).abs() <= allowed).all()):
        return head
    return Head(call.name, call.module, call.entering.shape[-1], call.leaf.shape[-1], call.number)


def _gradients(output: Tensor, calls: Sequence[_Call]) -> list[Tensor | None]:
    """What each call's output does to the model's; None where nothing."""
    # Weights that add up to nothing over the outputs, so that a log-softmax changes nothing.
    generator = torch.Generator().manual_seed(0)
    weights = torch.rand(output.shape, generator=generator, dtype=torch.float64) + 1
    if output.ndim and output.shape[-1] > 1:
        weights -= weights.mean(-1, keepdim=True)
    leaves = [call.leaf for call in calls]
    weights = weights.to(output.device, output.dtype)
    found = torch.autograd.grad(output, leaves, weights, allow_unused=True)
    return [g if g is not None and bool(g.any()) else None for g in found]
