"""Captures what enters and leaves the head, and what leaves other layers, in a forward pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from fswidget.analysis.positions import Positions
from fswidget.probing.arguments import check_module
from fswidget.probing.head import Head, unwrap
from fswidget.probing.layouts import Layouts
from fswidget.probing.outputs import first_tensor


@dataclass
class Capture:
    """What the last forward pass left, detached, on the model's device: copies, which no later
    operation changes in place.

    Attributes
    ----------
    calls : list of (Tensor, Tensor)
        What entered and what left the head at each of its calls, one row per position.
    layers : dict of str to Tensor of shape (n, q)
        The watched layers' outputs, pooled or at the positions, in the order of the forward pass.
    leaves : list of Tensor
        What `traced` put in the place of what left the head.
    positions : Positions or None
        Where tokens or pixels are the samples, those of the pass: of rows for all positions only
        theirs are kept.
    """

    calls: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    layers: dict[str, Tensor] = field(default_factory=dict)
    leaves: list[Tensor] = field(default_factory=list)
    positions: Positions | None = None
    _tracing: bool = False

    def clear(self, positions: Positions | None = None) -> None:
        """Forget the last pass; the next one is of these positions."""
        self.calls.clear()
        self.layers.clear()
        self.leaves.clear()
        self.positions = positions

    def own(self, rows: Tensor) -> Tensor:
        """A copy of what entered or left the head, of the samples where it has all positions."""
        where = self.positions
        if where is None or self._tracing or len(rows) != math.prod(where.grid):
            return rows.clone()
        return rows[where.flat.to(rows.device)]

    @contextmanager
    def traced(self) -> Iterator[None]:
        """In here the outputs are functions of `leaves`, with gradients from the head on."""
        self._tracing = True
        try:
            with torch.no_grad():
                yield
        finally:
            self._tracing = False


@contextmanager
def capture(
    model: nn.Module,
    head: Head | None,
    layers: Sequence[str] = (),
    *,
    lenient: bool = False,
    entering: bool = False,
) -> Iterator[Capture]:
    """Record what enters and leaves the head, and leaves layers, in forward passes of a model.

    With `lenient`, layers that give no tensor are passed over; with `entering`, nothing of what
    leaves the head is kept.

    Yields
    ------
    Capture
        Filled by each pass of the (unwrapped) model, after `Capture.clear`.
    """
    model = unwrap(model)
    caught = Capture()
    modules = dict(model.named_modules())

    def at_head(module: nn.Module, args: tuple[Any, ...], output: Any) -> Tensor | None:
        assert head is not None
        if not args or not isinstance(output, Tensor):
            raise ValueError(
                f"head={head.name!r}: takes or gives no single tensor; must be a layer from "
                "features to outputs"
            )
        entered, left = (head.rows(values.detach()) for values in (args[0], output))
        caught.calls.append((caught.own(entered), left[:0] if entering else caught.own(left)))
        if not caught._tracing:
            return None
        torch.set_grad_enabled(True)  # from here on; `traced` puts it back
        leaf = output.detach().clone().requires_grad_()
        caught.leaves.append(leaf)
        # A module that changes its input in place must not meet a leaf.
        return leaf * 1

    with ExitStack() as hooks:
        layouts = Layouts(model, hooks) if layers else None

        def at_layer(name: str) -> Callable[..., None]:
            def keep(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
                assert layouts is not None
                try:
                    values = first_tensor(output).detach()
                    caught.layers[name] = layouts.rows(values, caught.positions)
                except ValueError as error:
                    if lenient:
                        return
                    raise ValueError(f"layers={name!r}: {error}") from error

            return keep

        for name in layers:
            hooks.callback(modules[name].register_forward_hook(at_layer(name)).remove)
        if head is not None:
            hooks.callback(head.module.register_forward_hook(at_head).remove)
        yield caught


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
    if not isinstance(layers, Iterable):
        raise TypeError(f'layers={layers!r}: must be None, "all" or a list of module names')
    wanted = tuple(layers)
    for name in wanted:
        check_module("layers", name, model)
    return wanted


def _has_weights(module: nn.Module) -> bool:
    return any(True for _ in module.parameters())
