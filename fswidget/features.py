"""Finds the last linear layer of any torch module and captures what enters it.

The head is found by tracing what produces the output, not by its name: every linear layer's
output becomes a leaf of the autograd graph, and the head is the one leaf of which the model's
output is an unchanged (or selected, reshaped, scaled) copy.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from fswidget.randomness import borrowed


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


@dataclass
class Capture:
    """What the last forward pass left, detached, on the model's device.

    Attributes
    ----------
    outputs : Tensor, shape (n, C)
        Of the last linear layer.
    features : Tensor, shape (n, p)
        Its input, Φ.
    layers : dict of str to Tensor of shape (n, q)
        The watched layers' outputs, pooled as `pool` says, in the order of the forward pass.
    """

    _outputs: Tensor | None = None
    _features: Tensor | None = None
    layers: dict[str, Tensor] = field(default_factory=dict)

    @property
    def outputs(self) -> Tensor:
        return self._filled(self._outputs)

    @property
    def features(self) -> Tensor:
        return self._filled(self._features)

    @staticmethod
    def _filled(value: Tensor | None) -> Tensor:
        if value is None:
            raise RuntimeError(
                "capture: no forward pass went through the model's modules; call "
                "unwrap(model)(inputs), since a compiled model may skip hooks"
            )
        return value


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


def pool(values: Tensor) -> Tensor:
    """One row a sample: the mean over all positions of a layer's output (our choice).

    (n, q) stays as it is; (n, q, h, w) and (n, q, h, w, d) are averaged over space; (n, length, q)
    is averaged over the sequence.
    """
    if values.ndim <= 2:
        return values.reshape(values.shape[0], -1)
    return values.mean(1) if values.ndim == 3 else values.flatten(2).mean(2)


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


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode; modes and random states come back."""
    modes = [(module, module.training) for module in model.modules()]
    # MPS has no generator whose state could be kept.
    devices = {p.device for p in model.parameters() if p.device.type in ("cuda", "xpu")}
    kind = next((device.type for device in devices), "cuda")
    with borrowed(sorted(device.index or 0 for device in devices), kind):
        model.eval()
        try:
            yield
        finally:
            for module, training in modes:
                module.training = training


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


def resolve_layers(model: nn.Module, layers: str | Sequence[str] | None) -> tuple[str, ...]:
    """Names of the layers to watch besides the head's input.

    Parameters
    ----------
    layers : None, "all" or sequence of str
        None for none; "all" for every module directly below the model that holds parameters or,
        where there is only one, below that; or names as in ``model.named_modules()``.

    Raises
    ------
    ValueError
        If a name is not a module of the model.
    """
    model = unwrap(model)
    if layers is None:
        return ()
    if isinstance(layers, str):
        if layers != "all":
            raise ValueError(f'layers={layers!r}: must be None, "all" or a list of module names')
        prefix, parent = "", model
        while len(children := [(n, m) for n, m in parent.named_children() if _has_weights(m)]) == 1:
            prefix, parent = f"{prefix}{children[0][0]}.", children[0][1]
        return tuple(f"{prefix}{name}" for name, _ in children)
    known = {name for name, _ in model.named_modules() if name}
    for name in layers:
        if name not in known:
            raise ValueError(
                f"layers={name!r}: no such module; must be one of {', '.join(sorted(known))}"
            )
    return tuple(layers)


def _has_weights(module: nn.Module) -> bool:
    return any(True for _ in module.parameters())


@contextlib.contextmanager
def capture(model: nn.Module, head: Head, layers: Sequence[str] = ()) -> Iterator[Capture]:
    """Record what enters and leaves the head in each forward pass inside the ``with`` block.

    Where the head runs over a sequence, (n, length, p), and the model returns one row a sample, the
    positions read for the output are found by comparing the two; where the model returns every
    position, samples and positions together make the rows.

    Yields
    ------
    Capture
        Filled in anew by each forward pass of the (unwrapped) model.

    Raises
    ------
    ValueError
        If the model's output picks none of the head's positions.
    """
    model = unwrap(model)
    caught = Capture()
    modules = dict(model.named_modules())
    handles = []
    raw: dict[str, Tensor] = {}

    def at_head(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        raw["features"], raw["outputs"] = args[0].detach(), output.detach()

    def at_layer(name: str) -> Any:
        def keep(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            caught.layers[name] = pool(main_output(output).detach())

        return keep

    def at_start(module: nn.Module, args: tuple[Any, ...]) -> None:
        raw.clear()
        caught.layers.clear()

    def at_end(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        final = main_output(output).detach()
        caught._features, caught._outputs = _read_positions(raw, final)

    handles.append(model.register_forward_pre_hook(at_start))
    handles += [modules[name].register_forward_hook(at_layer(name)) for name in layers]
    handles.append(head.module.register_forward_hook(at_head))
    handles.append(model.register_forward_hook(at_end))
    try:
        yield caught
    finally:
        for handle in handles:
            handle.remove()


def _read_positions(raw: Mapping[str, Tensor], final: Tensor) -> tuple[Tensor, Tensor]:
    if not raw:
        raise ValueError("head: the forward pass did not run it; find_head it again for this model")
    features, outputs = raw["features"], raw["outputs"]
    if outputs.ndim <= 2 or final.numel() == outputs.numel():
        return features.reshape(-1, features.shape[-1]), outputs.reshape(-1, outputs.shape[-1])
    rows = final.shape[0]
    flat = outputs.reshape(rows, -1, outputs.shape[-1])
    distance = (flat - final.reshape(rows, 1, -1).to(flat.dtype)).abs().amax(-1)
    nearest, position = distance.min(1)
    if bool((nearest > 1e-3 * final.abs().amax()).any()):
        raise ValueError(
            f"head: output of shape {tuple(outputs.shape)}, of which the model's output of shape "
            f"{tuple(final.shape)} is no selection of positions"
        )
    index = torch.arange(rows, device=final.device)
    entering = features.reshape(rows, -1, features.shape[-1])
    return entering[index, position], flat[index, position]
