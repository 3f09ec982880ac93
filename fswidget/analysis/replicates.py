"""Eigenpairs of the samples but a few, from those of all of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fswidget.analysis.eigensolvers import EigenDecomposition, eigh_float32, eigh_full

_NARROW = 128  # a full solve of so few features is cheap
_SETTLED = 0.1  # residual left, as a share of what leaving the samples out brought: enters squared


@dataclass(frozen=True)
class Turned(EigenDecomposition):
    """Eigenpairs of which all but the leading ones are known ones turned away from those."""

    rest: Tensor
    overlap: Tensor

    def expand(self, rows: Tensor) -> Tensor:
        leading = rows @ self.vectors
        others = rows @ self.rest - leading @ self.overlap
        return torch.cat([leading, others], 1)


def solve_near(
    matrix: Tensor, known: EigenDecomposition, used: int
) -> tuple[EigenDecomposition, bool]:
    """Eigenpairs of a matrix near one whose eigenpairs are `known`, and whether they are a few.

    To the precision that a standard error needs. Where the `used` leading ones are few, they are
    iterated from those known, and the rest turned away from them but not among themselves;
    otherwise all are solved for. In float32 where those in use lie well above its rounding. Our
    choice.
    """
    size = len(known.values)
    if not size:
        return known, False
    if not known.complete:
        return _within(matrix, known), False
    if float(known.values[min(used, size) - 1] / known.values[0]) < 1e-4:
        return eigh_full(matrix), False
    lead = used + max(8, used // 2)
    if size > _NARROW and 3 * lead < size and (found := _iterated(matrix, known, lead, used + 2)):
        return found, True
    return eigh_float32(matrix), False


def _within(matrix: Tensor, known: EigenDecomposition) -> EigenDecomposition:
    """Within the span of the leading eigenvectors, after a top-k solve."""
    values, turn = torch.linalg.eigh(known.vectors.T @ matrix @ known.vectors)
    values, vectors = values.flip(0), (known.vectors @ turn).flip(1)
    keep = values > known.floor
    return EigenDecomposition(values[keep], vectors[:, keep], known.floor, "", False)


def _iterated(
    matrix: Tensor, known: EigenDecomposition, lead: int, needed: int
) -> EigenDecomposition | None:
    """Davidson's method with the known eigenpairs as preconditioner; None where it fails."""
    scale = float(known.values[0])
    matrix, vectors = (matrix / scale).float(), known.vectors.float()
    block, rest = vectors[:, :lead], vectors[:, lead:]
    below = known.values[lead:, None].float() / scale
    brought = 0.0
    for _ in range(5):
        image = matrix @ block
        small = block.T @ image
        values, turn = torch.linalg.eigh((small + small.T) / 2)
        values, turn = values.flip(0), turn.flip(1)
        block, image = block @ turn, image @ turn
        residual = image - block * values
        sizes = residual[:, :needed].norm(dim=0) / values[:needed]
        left = float(sizes.max())
        brought = max(brought, left)
        if left <= max(_SETTLED * brought, 1e-5):
            share = float((matrix.trace() - values.sum()) / below.sum())
            name = f"leading {lead} of {len(known.values)}, from those known"
            values = scale * torch.cat([values, below[:, 0] * share]).double()
            rest, overlap = known.vectors[:, lead:], (block.T @ rest).double()
            return Turned(values, block.double(), known.floor, name, True, rest, overlap)
        along = rest.T @ residual
        along /= (values - below).clamp(min=0.02 * values)
        block = torch.linalg.qr(block + rest @ along).Q
    return None


@dataclass(frozen=True)
class Entropy:
    """Σ ρ log ρ of matrices near one whose eigenpairs are known, without their eigenvalues.

    To first order the trace of the change E times log S + 1. To second, with the geometric
    mean of eigenvalues for the logarithmic, tr(S^-½ E S^-½ E) / 2, of which the exact value of one
    neighbour corrects the factor. In float32 where differences are small already. Our choice.
    """

    matrix: Tensor
    slope: Tensor
    root: Tensor
    value: float
    factor: float = 0.0

    @classmethod
    def of(cls, matrix: Tensor, known: EigenDecomposition, neighbour: Tensor) -> Entropy:
        values, vectors = known.values, known.vectors.float()
        slope = (vectors * (values.log() + 1).float()) @ vectors.T
        root = (vectors * values.rsqrt().float()) @ vectors.T
        plain = cls(matrix, slope, root, float((values * values.log()).sum()))
        scale = float(neighbour.diagonal().mean())
        exact = torch.linalg.eigvalsh((neighbour / scale).float()).double() * scale
        exact = exact[exact > 1e-7 * exact[-1]]
        first, second = plain._orders(neighbour)
        left = float((exact * exact.log()).sum()) - plain.value - first
        return cls(matrix, slope, root, plain.value, left / second if second > 0 else 0.0)

    def _orders(self, matrix: Tensor) -> tuple[float, float]:
        change = (matrix - self.matrix).float()
        turned = self.root @ change
        first = torch.dot(change.flatten(), self.slope.flatten())
        return float(first), float((turned * turned.T).sum())

    def effective_rank(self, matrix: Tensor) -> float:
        """exp of the entropy of ρ/Σρ."""
        trace = matrix.trace()
        first, second = self._orders(matrix)
        value = self.value + first + self.factor * second
        return float((trace.log() - value / trace).exp())
