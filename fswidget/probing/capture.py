"""Captures what enters the head, and what leaves other layers, in a forward pass."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from fswidget.probing.agreement import WAY_OUT, match_rows
from fswidget.probing.head import Head, OutputSelector, main_output, unwrap


@dataclass
class Capture:
    """What the last forward pass left, detached, on the model's device.

    Attributes
    ----------
    outputs : Tensor, shape (n, C)
        What the model returned.
    features : Tensor, shape (n, p)
        Φ: what entered the head.
    leaving : Tensor, shape (n, C), or None
        What left the head; None where features were asked for by name.
    layers : dict of str to Tensor of shape (n, q)
        The watched layers' outputs, pooled as `pool` says, in the order of the forward pass.
    """

    _outputs: Tensor | None = None
    _features: Tensor | None = None
    leaving: Tensor | None = None
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


def pool(values: Tensor, module: nn.Module | None = None) -> Tensor:
    """One row per sample: the mean over all positions of a layer's output (our choice).

    (n, q) stays as it is; (n, length, q) is averaged over the sequence; maps (n, q, h, w) or
    (n, h, w, q), and their like in three dimensions, over space. Which axis holds the channels the
    last convolution, normalisation or linear layer in `module` tells whose number of channels one
    of the two axes has; without one they come first.
    """
    if values.ndim <= 2:
        # A copy: what follows may work in place.
        return values.reshape(values.shape[0], -1).clone()
    if values.ndim == 3:
        return values.mean(1)
    last = module is not None and _channels_last(module, values)
    return values.flatten(1, -2).mean(1) if last else values.flatten(2).mean(2)


def _channels_last(module: nn.Module, values: Tensor) -> bool:
    for inner in reversed(list(module.modules())):
        width = None
        for name in ("out_channels", "num_features", "out_features"):
            width = width or getattr(inner, name, None)
        if isinstance(inner, nn.LayerNorm):
            width = inner.normalized_shape[-1]
        first, last = values.shape[1] == width, values.shape[-1] == width
        if first != last:
            return last
        if first and last:
            return isinstance(inner, (nn.Linear, nn.LayerNorm))
    return False


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
def capture(
    model: nn.Module,
    head: Head | None,
    layers: Sequence[str] = (),
    *,
    features: str | None = None,
    select: OutputSelector = None,
) -> Iterator[Capture]:
    """Record what enters and leaves the head in each forward pass inside the ``with`` block.

    Where the head runs over a sequence, (n, length, p), and the model returns one row per sample,
    the positions read for the output are found by comparing the two; where the model returns every
    position, samples and positions together make the rows.

    Parameters
    ----------
    model : torch.nn.Module
    head : Head, optional
        Not needed where `features` or a callable of one's own gives the features.
    layers : sequence of str
        Modules whose outputs are kept too.
    features : str, optional
        The module whose output, pooled, is the feature map; what enters the head by default.
    select
        Which of several outputs counts, as for `main_output`.

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
    hooks = _Hooks(caught, head, features, select)
    modules = dict(model.named_modules())
    handles = [model.register_forward_pre_hook(hooks.at_start)]
    handles += [modules[name].register_forward_hook(hooks.at_layer(name)) for name in layers]
    if features is not None:
        handles.append(modules[features].register_forward_hook(hooks.at_features))
    elif head is not None:
        handles.append(head.module.register_forward_hook(hooks.at_head))
    handles.append(model.register_forward_hook(hooks.at_end))
    try:
        yield caught
    finally:
        for handle in handles:
            handle.remove()


class _Hooks:
    """What the hooks of one capture do."""

    def __init__(
        self, caught: Capture, head: Head | None, features: str | None, select: OutputSelector
    ) -> None:
        self.caught, self.head, self.features, self.select = caught, head, features, select
        self.calls: list[tuple[Tensor, Tensor]] = []

    def at_start(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        self.calls.clear()
        self.caught.layers.clear()
        self.caught._features = self.caught._outputs = self.caught.leaving = None

    def at_head(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        # Copies: what follows may work in place.
        self.calls.append((args[0].detach().clone(), output.detach().clone()))

    def at_features(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        self.caught._features = pool(main_output(output).detach(), module)

    def at_layer(self, name: str) -> Any:
        def keep(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            self.caught.layers[name] = pool(main_output(output).detach(), module)

        return keep

    def at_end(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        final = main_output(output, self.select).detach()
        self.caught._outputs = final.reshape(-1, final.shape[-1] if final.ndim > 1 else 1).clone()
        if self.features is not None or self.head is None:
            return
        if self.head.call >= len(self.calls):
            raise ValueError(
                f"head: the forward pass did not run {self.head.name!r}; find_head it again for "
                "this model"
            )
        entering, leaving = _read_positions(*self.calls[self.head.call], final)
        self.caught._features, self.caught.leaving = entering, leaving


def _read_positions(features: Tensor, outputs: Tensor, final: Tensor) -> tuple[Tensor, Tensor]:
    """The head's rows that became the model's outputs, where it ran over more positions."""
    rows = final.numel() // final.shape[-1] if final.ndim > 1 else len(final)
    entering = features.reshape(-1, features.shape[-1])
    leaving = outputs.reshape(-1, outputs.shape[-1])
    if outputs.ndim <= 2 or len(leaving) == rows:
        return entering, leaving
    positions = leaving.reshape(final.shape[0], -1, leaving.shape[-1])
    where = match_rows(final.reshape(final.shape[0], -1), positions)
    if where is None:
        raise ValueError(
            f"head: output of shape {tuple(outputs.shape)}, of which the model's output of shape "
            f"{tuple(final.shape)} is no selection of positions; {WAY_OUT}"
        )
    index = torch.arange(len(where), device=where.device)
    return entering.reshape(*positions.shape[:2], -1)[index, where], positions[index, where]
