"""Finds the last linear layer of any torch module and captures what enters it.

The head is found by tracing what produces the output, not by its name: every linear layer's
output becomes a leaf of the autograd graph, and the head is the one leaf of which the model's
output is an unchanged (or selected, reshaped, scaled) copy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fswidget.probing.modes import evaluating


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
    """

    name: str
    module: nn.Module
    num_features: int
    num_outputs: int


def unwrap(model: nn.Module) -> nn.Module:
    """The module inside DataParallel, DistributedDataParallel and torch.compile wrappers."""
    while True:
        if isinstance(inner := getattr(model, "_orig_mod", None), nn.Module):
            model = inner
        elif isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            model = model.module
        else:
            return model


def main_output(output: Any) -> Tensor:
    """The tensor that counts in what a model returns: ``logits`` of a mapping or an object, else
    the first floating-point tensor.

    Raises
    ------
    ValueError
        If there is none.
    """
    if isinstance(output, Tensor):
        return output
    if isinstance(logits := getattr(output, "logits", None), Tensor):
        return logits
    if isinstance(output, Mapping):
        if isinstance(output.get("logits"), Tensor):
            return main_output(output["logits"])
        output = list(output.values())
    if isinstance(output, Sequence) and not isinstance(output, str):
        for value in output:
            if isinstance(value, Tensor) and value.is_floating_point():
                return value
    raise ValueError(f"model: returned {type(output).__name__}, in which no float tensor was found")


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


def find_head(model: nn.Module, *example_inputs: Any, **example_options: Any) -> Head:
    """Find the linear layer whose output is the model's output.

    Parameters
    ----------
    model : torch.nn.Module
        Bare or in DataParallel, DistributedDataParallel or torch.compile. It is run once, in eval
        mode; training mode and random state are put back.
    *example_inputs, **example_options
        What to call it with; two samples are enough.

    Raises
    ------
    ValueError
        If no linear layer's output is the model's output up to selection of positions, reshaping,
        scaling by a number, and a softmax's normalisation.
    """
    model = unwrap(model)
    calls: list[tuple[str, nn.Module, Tensor, Tensor]] = []
    hooks = []

    def hook(name: str) -> Any:
        def cut(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
            entering = args[0] if args else None
            if not (
                isinstance(entering, Tensor)
                and entering.is_floating_point()
                and isinstance(output, Tensor)
                and output.shape[:-1] == entering.shape[:-1]
            ):
                return None
            leaf = output.detach().clone().requires_grad_()
            calls.append((name, module, entering.detach(), leaf))
            # A module that changes its input in place must not meet a leaf.
            return leaf * 1

        return cut

    for name, module in model.named_modules():
        if _is_linear(module):
            hooks.append(module.register_forward_hook(hook(name)))
    try:
        with evaluating(model), torch.enable_grad():
            output = main_output(model(*example_inputs, **example_options))
            found = _trace(output, calls)
    finally:
        for handle in hooks:
            handle.remove()
    if isinstance(found, str):
        raise ValueError(
            f"model={type(model).__name__}: {found}; its output must come from one linear layer "
            "(torch.nn.Linear or alike) with nothing but a selection of positions after it"
        )
    return found


def _trace(output: Tensor, calls: list[tuple[str, nn.Module, Tensor, Tensor]]) -> Head | str:
    if not calls:
        return "it has no linear layer that ran"
    if not output.requires_grad:
        return "its output does not depend on the output of any linear layer"
    # Weights that add up to nothing over the outputs, so that a log-softmax changes nothing.
    generator = torch.Generator().manual_seed(0)
    weights = torch.rand(output.shape, generator=generator, dtype=torch.float64) + 1
    if output.shape[-1] > 1:
        weights -= weights.mean(-1, keepdim=True)
    weights = weights.to(output.device, output.dtype)
    leaves = [leaf for *_, leaf in calls]
    gradients = torch.autograd.grad(output, leaves, weights, allow_unused=True)
    reached = [
        (call, gradient)
        for call, gradient in zip(calls, gradients, strict=True)
        if gradient is not None and bool(gradient.any())
    ]
    if len(reached) != 1:
        names = ", ".join(repr(call[0]) for call, _ in reached)
        return (
            f"its output mixes {len(reached)} linear layers ({names})"
            if reached
            else ("its output does not depend on the output of any linear layer")
        )
    (name, module, entering, leaf), gradient = reached[0]
    kept = gradient[gradient != 0].double().sort().values
    wanted = weights[weights != 0].double().sort().values
    unchanged = len(kept) == len(wanted)
    if unchanged:
        scale = (kept @ wanted) / (wanted @ wanted)
        size = float(wanted.abs().max() * scale.abs())
        if scale < 0:
            kept = kept.flip(0)
        precision = 100 * torch.finfo(output.dtype).eps
        unchanged = size > 0 and bool(((kept - scale * wanted).abs() <= precision * size).all())
    if not unchanged:
        return f"its output is not the output of its last linear layer {name!r}, but made from it"
    return Head(name, module, entering.shape[-1], leaf.shape[-1])
