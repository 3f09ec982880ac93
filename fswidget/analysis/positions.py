"""Tokens and pixels as samples: which positions of sequences or pictures are looked at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fswidget.analysis.arrays import to_tensor

#: At most so many positions are drawn, and targets of this number are left out, by default.
DRAWN, IGNORED = 4096, -100
_WORDS = {1: ("tokens", "sequences"), 2: ("pixels", "pictures")}


@dataclass(frozen=True)
class Layout:
    """Where outputs with a row for each position, and their targets, have what.

    Parameters
    ----------
    axis : int or None
        Where channels lie if the shape of an array does not tell: 1 or −1.
    in_rows : bool
        Whether targets have rows too, of the outputs' shape, and not one number per position.
    """

    axis: int | None
    in_rows: bool = False

    @classmethod
    def of(
        cls, outputs: Tensor, targets: Tensor, task: str, axis: int | None = None
    ) -> Layout | None:
        """That of the outputs and targets of the same samples; None where outputs are one row per
        sample.

        Parameters
        ----------
        outputs : Tensor, shape (n, length, C), (n, C, height, width), (n × length, C), …
        targets : Tensor, shape (n, length), (n, height, width), … or that of `outputs`
        axis : int, optional
            Where the head has its channels.
        """
        if targets.ndim < 2 or outputs.ndim < 2 or targets[0].numel() < 2:
            return None
        one_row = outputs.ndim < 3 or outputs[0].numel() == max(outputs.shape[1:])
        if one_row and len(outputs) == len(targets) and task != "binary":
            return None
        if outputs.shape == targets.shape and outputs.ndim > 2:
            if task != "binary":
                return cls(axis or (1 if outputs.ndim > 3 else -1), in_rows=True)
            if 1 in (outputs.shape[1], outputs.shape[-1]):
                return cls(1 if outputs.shape[1] == 1 else -1, in_rows=True)
        known = channel_axes(laid_out(outputs, targets.shape).shape, targets.shape)
        return cls(axis) if known else None


@dataclass(frozen=True)
class Positions:
    """m positions of n sequences, pictures or volumes, in their order: each of them a sample.

    Parameters
    ----------
    owners : Tensor of int64, shape (m,)
        Number of the sequence, picture or volume that each lies in, ascending.
    places : Tensor of int64, shape (m,)
        Where in it, counted along its last axis first.
    grid : tuple of int
        n and the extents: (n, length) or (n, height, width).
    known : int
        How many positions have targets, from which these were drawn.
    layout : Layout
    """

    owners: Tensor
    places: Tensor
    grid: tuple[int, ...]
    known: int
    layout: Layout

    @classmethod
    def draw(
        cls,
        targets: Tensor,
        layout: Layout,
        *,
        most: int | None = None,
        ignored: int | None = IGNORED,
        seed: int = 0,
    ) -> Positions:
        """Of the positions that have targets, at most so many, each as likely as another.

        Parameters
        ----------
        targets : Tensor
            Of all samples, as `Layout.of` saw those of some.
        most : int, optional
            All by default.
        ignored : int
            Targets of this number are none; None counts all.
        seed : int
            The same draw every time and everywhere.
        """
        known = (torch.ones_like(targets) if ignored is None else targets != ignored).bool().cpu()
        if layout.in_rows:
            assert layout.axis is not None
            known = known.all(layout.axis)
        flat, shape = known.flatten().nonzero()[:, 0], tuple(known.shape)
        count = len(flat)
        if not count:
            raise ValueError(f"targets: all are ignore_index={ignored}; must be some that count")
        if most is not None and count > most:
            drawn = np.random.default_rng(seed).choice(count, most, replace=False, shuffle=False)
            flat = flat[torch.from_numpy(drawn).sort().values]
        each = math.prod(shape[1:])
        return cls(flat // each, flat % each, shape, count, layout)

    @classmethod
    def among(cls, outputs: Tensor, targets: Tensor, task: str, **how: Any) -> Positions | None:
        """Those of arrays; None where they have one row per sample."""
        layout = Layout.of(outputs, targets, task)
        return None if layout is None else cls.draw(targets, layout, **how)

    def __len__(self) -> int:
        return len(self.owners)

    def __str__(self) -> str:
        what, whole = _WORDS.get(len(self.grid) - 1, ("positions", "volumes"))
        return f"{len(self):,} of {self.known:,} {what} in {self.grid[0]:,} {whole}"

    @property
    def each(self) -> int:
        """Positions in one sequence, picture or volume."""
        return math.prod(self.grid[1:])

    def targets(self, values: Tensor) -> Tensor:
        """Theirs, shape (m,) or (m, d), of targets of all positions."""
        if self.layout.in_rows:
            return self.take(values, "targets")
        return values.flatten()[self.flat.to(values.device)]

    @property
    def flat(self) -> Tensor:
        """Their numbers among all n × length, (m,)."""
        return self.owners * self.each + self.places

    def between(self, start: int, stop: int) -> tuple[Positions, slice]:
        """Those of the sequences from `start` to before `stop`, and which of these they are."""
        low, high = np.searchsorted(self.owners.numpy(), (start, stop)).tolist()
        mine = slice(low, high)
        grid = (stop - start, *self.grid[1:])
        return replace(
            self, owners=self.owners[mine] - start, places=self.places[mine], grid=grid
        ), mine

    def take(self, values: Any, what: str = "outputs") -> Tensor:
        """Their rows of an array, shape (m, q), a copy.

        Parameters
        ----------
        values : array, shape (*grid, q), (n, q, *grid[1:]), (n × length, q) or grid

        Raises
        ------
        ValueError
            If the shape is another, or tells of two axes that either may be the channels'.
        """
        values = to_tensor(what, values)
        laid = laid_out(values, self.grid)
        axes = channel_axes(laid.shape, self.grid)
        if len(axes) > 1 and self.layout.axis is not None:
            axes = [self.layout.axis]
        shape = tuple(values.shape)
        if not axes:
            raise ValueError(
                f"{what}: shape {shape}; must have one row for each of {self.grid}, (…, q), or "
                "channels on axis 1"
            )
        if len(axes) > 1:
            raise ValueError(
                f"{what}: shape {shape}, of which axis 1 or the last may be the channels'; must "
                "tell: leave out one position of inputs and targets, say"
            )
        places = np.unravel_index(self.places.numpy(), self.grid[1:])
        device = laid.device
        index = [torch.as_tensor(i, device=device) for i in (self.owners, *places)]
        return laid.movedim(axes[0], -1)[tuple(index)]


def laid_out(values: Tensor, grid: Sequence[int]) -> Tensor:
    """Rows for all positions, (n × length, q), as (n, length, q); a single number per position
    with an axis of its own."""
    if tuple(values.shape) == tuple(grid):
        return values[..., None]
    if values.ndim == 2 and len(values) == math.prod(grid):
        return values.reshape(*grid, values.shape[1])
    return values


def channel_axes(shape: Sequence[int], grid: Sequence[int]) -> list[int]:
    """Where channels may lie in an array with one row per position: −1, 1 or both."""
    if len(shape) != len(grid) + 1:
        return []
    shape, grid = tuple(shape), tuple(grid)
    return [axis for axis, rest in ((-1, shape[:-1]), (1, shape[:1] + shape[2:])) if rest == grid]


def read_draw(num_positions: Any, ignore_index: Any, positions_seed: Any) -> dict[str, Any]:
    """What positions are drawn by, as `Positions.draw` takes it; ValueError for anything else."""
    given = {"num_positions": num_positions, "positions_seed": positions_seed}
    for name, value in {**given, "ignore_index": ignore_index}.items():
        whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        least = {"num_positions": 2, "positions_seed": 0}.get(name, -math.inf)
        if not whole or value < least:
            bound = "" if least == -math.inf else f" ≥ {least}"
            raise ValueError(f"{name}={value!r}: must be an integer{bound}")
    return {"most": num_positions, "ignored": ignore_index, "seed": positions_seed}
