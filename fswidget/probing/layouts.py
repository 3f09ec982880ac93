"""Where the channels of a layer's output lie, by what made it, and one row per sample from it."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from fswidget.analysis.positions import Layout, Positions

_FIRST = (
    nn.modules.conv._ConvNd,
    nn.modules.batchnorm._NormBase,
    nn.GroupNorm,
)


def pool(values: Tensor, axis: int | None = None) -> Tensor:
    """One row per sample, a copy: the mean over all positions of a layer's output (our choice).

    Parameters
    ----------
    values : Tensor, shape (n, …)
    axis : int, optional
        Where the channels lie; by default the last axis of (n, length, q), else axis 1.

    Returns
    -------
    Tensor, shape (n, q)
    """
    if values.ndim <= 2:
        return values.reshape(len(values), -1).clone()
    if axis is None:
        axis = 2 if values.ndim == 3 else 1
    return values.movedim(axis, 1).flatten(2).mean(2)


def _channels(module: nn.Module) -> tuple[int, int] | None:
    """How many channels a layer gives and on which axis; None for layers that do not tell."""
    if isinstance(module, _FIRST):
        return getattr(module, "out_channels", 0) or _norm_width(module), 1
    if isinstance(module, nn.Linear):
        return module.out_features, -1
    if isinstance(module, nn.LayerNorm) and len(module.normalized_shape) == 1:
        return module.normalized_shape[0], -1
    if isinstance(module, nn.Embedding):
        return module.embedding_dim, -1
    return None


def _norm_width(module: Any) -> int:
    return int(getattr(module, "num_features", 0) or getattr(module, "num_channels", 0))


class Layouts:
    """Watches which layers run, to tell the axis of the channels of what comes next.

    The channels lie on the axis of the size that the last layer before gave, which settles it
    unless two axes have that size: then on the side where that layer has them. Our choice.
    """

    def __init__(self, model: nn.Module, hooks: ExitStack) -> None:
        self._last: tuple[int, int] | None = None
        for module in model.modules():
            if _channels(module) is not None:
                hooks.callback(module.register_forward_hook(self._ran).remove)

    def _ran(self, module: nn.Module, args: Any, output: Any) -> None:
        self._last = _channels(module)

    def rows(self, values: Tensor, positions: Positions | None) -> Tensor:
        """One row per sample from what a layer gave just now: the mean over positions, or theirs
        where those are the samples.

        Raises
        ------
        ValueError
            If it has no row for each of them.
        """
        axis = self._axis(values)
        if positions is None:
            return pool(values, axis)
        if axis is not None:
            values = values.movedim(axis, -1)
            positions = replace(positions, layout=Layout(-1))
        return positions.take(values, "gives")

    def _axis(self, values: Tensor) -> int | None:
        if values.ndim <= 2 or self._last is None:
            return None
        width, side = self._last
        axes = [axis for axis in range(1, values.ndim) if values.shape[axis] == width]
        if len(axes) > 1:
            axes = [axis for axis in axes if axis == side % values.ndim]
        return axes[0] if len(axes) == 1 else None
