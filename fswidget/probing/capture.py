"""Captures what enters the head, and what leaves other layers, in a forward pass."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from fswidget.probing.head import Head, main_output, unwrap


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


def pool(values: Tensor) -> Tensor:
    """One row per sample: the mean over all positions of a layer's output (our choice).

    (n, q) stays as it is; (n, q, h, w) and (n, q, h, w, d) are averaged over space; (n, length, q)
    is averaged over the sequence.
    """
    if values.ndim <= 2:
        return values.reshape(values.shape[0], -1)
    return values.mean(1) if values.ndim == 3 else values.flatten(2).mean(2)


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

    Where the head runs over a sequence, (n, length, p), and the model returns one row per sample,
    the positions read for the output are found by comparing the two; where the model returns every
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
