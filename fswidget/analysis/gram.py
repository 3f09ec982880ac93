"""The layout of a row of moments, and how its Gram matrix changes with the shift."""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

_SECTION = 10  # outputs whose products are kept, for the leverages that debiasing needs


@dataclass(frozen=True)
class Columns:
    """Where the parts of z lie; z about any shift is linear in z about another."""

    features: slice
    outputs: slice
    targets: slice
    reference: slice
    square: int  # ‖Φ‖²
    reference_square: int
    products: slice  # of the coordinates section @ f̂, a ≤ b
    count: int

    @classmethod
    def of(
        cls, num_features: int, num_outputs: int, num_targets: int, num_reference: int
    ) -> Columns:
        sizes = (1, num_features, num_outputs, num_targets, num_reference)
        ends = np.cumsum(sizes).tolist()
        features, outputs, targets, reference = itertools.starmap(slice, itertools.pairwise(ends))
        square = ends[-1]
        section = min(num_outputs, _SECTION)
        count = square + 2 + section * (section + 1) // 2
        products = slice(square + 2, count)
        return cls(features, outputs, targets, reference, square, square + 1, products, count)

    @functools.cached_property
    def section(self) -> Tensor:
        """Orthonormal rows, (c, C), the first along the common shift; all of R^C if C ≤ 10."""
        size = self.outputs.stop - self.outputs.start
        rows = np.random.default_rng(97).normal(size=(size, min(size, _SECTION)))
        rows[:, 0] = np.eye(size)[0]
        rows[0, 1:] = 0
        return torch.from_numpy(np.linalg.qr(rows)[0].T.copy())

    @functools.cached_property
    def pairs(self) -> tuple[Tensor, Tensor]:
        """Indices a and b of the products, a ≤ b."""
        a, b = torch.triu_indices(len(self.section), len(self.section), device="cpu")
        return a, b

    def counting(self, task: str) -> slice:
        """The outputs but for the common shift of logits, their first axis, which changes
        nothing."""
        return slice(self.outputs.start + (task == "cross_entropy"), self.outputs.stop)

    def fill_products(self, z: Tensor) -> None:
        """Compute the quadratic columns of z, shape (n, d), from the linear ones."""
        z[:, self.square] = torch.linalg.vector_norm(z[:, self.features], dim=1) ** 2
        z[:, self.reference_square] = torch.linalg.vector_norm(z[:, self.reference], dim=1) ** 2
        sections = z[:, self.outputs] @ self.section.T.to(z.device)
        start = self.products.start
        for a in range(sections.shape[1]):
            end = start + sections.shape[1] - a
            torch.mul(sections[:, a : a + 1], sections[:, a:], out=z[:, start:end])
            start = end


def common_first(outputs: Tensor) -> Tensor:
    """Outputs, shape (n, C) of float64, on axes of which the first is their common shift.

    The others stay exact however large that is. The axes are orthonormal: `householder`.
    """
    size = outputs.shape[1]
    if size == 1:
        return outputs
    common = outputs.mean(1, keepdim=True)
    rest = outputs - common
    rest -= (left := rest.mean(1, keepdim=True))  # what rounding left of a large shift
    turned = rest[:, 1:] + rest[:, :1] / (math.sqrt(size) - 1)
    return torch.cat([math.sqrt(size) * (common + left), turned], 1)


def householder(columns: Tensor) -> Tensor:
    """The reflection of R^C, behind `common_first`; `columns`, shape (…, C, k), are vectors.

    It swaps the first axis and the constant direction, and is its own inverse.
    """
    size = columns.shape[-2]
    if size == 1:
        return columns
    normal = columns.new_full((size,), -1 / math.sqrt(size))
    normal[0] += 1
    along = (normal @ columns)[..., None, :] / (1 - 1 / math.sqrt(size))
    return columns - normal[:, None] * along


def reshifted(gram: Tensor, delta: Tensor, columns: Columns) -> Tensor:
    """Σ z zᵀ, shape (…, d, d), once every sample has moved by `delta`, shape (d,)."""
    section = columns.section.to(gram.device)
    a, b = columns.pairs
    turn = section @ delta[columns.outputs]
    moved: Tensor = gram
    for _ in range(2):  # rows, then, transposed, columns
        change = delta[:, None] * moved[..., :1, :]
        for square, part in (
            (columns.square, columns.features),
            (columns.reference_square, columns.reference),
        ):
            step = delta[part]
            change[..., square, :] = step.square().sum() * moved[..., 0, :]
            change[..., square, :] += 2 * step @ moved[..., part, :]
        rows = section @ moved[..., columns.outputs, :]
        change[..., columns.products, :] = (
            turn[a, None] * rows[..., b, :]
            + turn[b, None] * rows[..., a, :]
            + (turn[a] * turn[b])[:, None] * moved[..., :1, :]
        )
        moved = change.add_(moved).transpose(-1, -2)
    return moved
