"""Eigensolvers for symmetric positive semidefinite matrices, leading eigenvalue first."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fswidget.analysis.arrays import to_numpy

EPS = float(torch.finfo(torch.float64).eps)
_BATCHED = 32  # the largest size whose batches a GPU solves at once
#: Columns of matrices of such sizes lie on the same lines of a CPU's cache: one that is 4 longer is
#: diagonalised in 5 to 20% less time (p = 256 to 2,048, AMD EPYC).
_ALIGNED, _SPARE = 256, 4
_DWARFED = 1e-5  # of the leading eigenvalue: a covariance below it is solved apart from the mean


@dataclass(frozen=True)
class EigenDecomposition:
    """Eigenpairs above the numerical floor.

    Attributes
    ----------
    values : Tensor, shape (K,), descending
    vectors : Tensor, shape (p, K)
    floor : float
        Eigenvalues at or below it are rounding: 4 √p ε ρ_1 (our choice; the usual bound p ε ρ_1 is
        never nearly reached).
    solver : str
        What was done, in words.
    complete : bool
        Whether `values` holds all that lie above the floor.
    """

    values: Tensor
    vectors: Tensor
    floor: float
    solver: str
    complete: bool

    def expand(self, rows: Tensor) -> Tensor:
        """Rows, shape (r, p), in the eigenvectors, shape (r, K)."""
        return rows @ self.vectors


def floor_of(largest: float, size: int, eps: float = EPS) -> float:
    """Below it an eigenvalue is rounding."""
    return 4 * math.sqrt(size) * eps * max(largest, 0.0)


def eigh_full(covariance: Tensor, mean: Tensor | None = None) -> EigenDecomposition:
    """All eigenpairs of Cov + μ μᵀ, in float64, on its device where that works, else on the CPU.

    Where the mean dwarfs the covariance, the other eigenpairs are found in the complement of the
    first, so that a common offset costs no digits (our choice).
    """
    matrix = (covariance + covariance.T) / 2
    whole = matrix if mean is None else matrix + torch.outer(mean, mean)
    size = len(whole)
    scale = float(whole.diagonal().mean())
    if scale <= 0:
        empty = whole.new_zeros(size, 0)
        return EigenDecomposition(empty[0], empty, 0.0, "none: all features are zero", True)
    values, vectors, device = _eigh(whole / scale)
    spread = torch.linalg.matrix_norm(matrix) / scale
    read = to_numpy(torch.cat([values, spread[None]]))  # a GPU waits for each time
    largest, spread = read[-2:].tolist()
    floor, read = floor_of(largest, size), read[:-2]
    if mean is not None and size > 1 and spread < _DWARFED * largest:
        others = vectors[:, :-1]
        along = others.T @ mean
        inner = (others.T @ matrix @ others + torch.outer(along, along)) / scale
        found, turn, device = _eigh((inner + inner.T) / 2)
        values = torch.cat([found, values[-1:]])
        vectors = torch.cat([others @ turn, vectors[:, -1:]], 1)
        floor, read = floor_of(spread + EPS * largest, size), to_numpy(found)
    below = int(np.count_nonzero(read <= floor))
    return EigenDecomposition(
        scale * values[below:].flip(0),
        vectors[:, below:].flip(1),
        scale * floor,
        f"full, float64, {device}",
        True,
    )


def eigh_small(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues, ascending, and eigenvectors of small matrices, shape (…, m, m).

    One by one on a GPU, but for the smallest: solvers of batches have been 80 times slower there.
    """
    if matrices.ndim > 2 and matrices.device.type == "cuda" and matrices.shape[-1] > _BATCHED:
        found = [torch.linalg.eigh(matrix) for matrix in matrices.flatten(0, -3)]
        values, vectors = (torch.stack(parts) for parts in zip(*found, strict=True))
        return values.view(matrices.shape[:-1]), vectors.view(matrices.shape)
    values, vectors = torch.linalg.eigh(matrices)
    return values, vectors


def quick_dtype(device: torch.device) -> torch.dtype:
    """In which replicates are diagonalised soonest.

    On a CPU float32, in half the time of float64. On a GPU float64: there some releases of torch
    solve float32 of up to 512 features by Jacobi's method. In float32 each of twelve replicates of
    512 took an NVIDIA H200 16 ms, in float64 a solve takes it 5.
    """
    return torch.float32 if device.type == "cpu" else torch.float64


def eigh_for_errors(matrix: Tensor) -> EigenDecomposition:
    """All eigenpairs above the floor of `quick_dtype`, vectors in it.

    As `eigh_full` where that fails or gives NaN, as float32 may beside numbers below 1e-38.
    """
    dtype = quick_dtype(matrix.device)
    scale = matrix.diagonal().mean()
    try:
        # Of the negative, so that the largest come first and nothing has to be turned round.
        values, vectors = _solved((matrix / -scale).to(dtype), spare=1.0)
    except RuntimeError:  # LinAlgError is one
        return eigh_full(matrix)
    read = to_numpy(torch.cat([values.double(), scale[None]]))  # a GPU waits for each time
    if not np.isfinite(read).all():
        return eigh_full(matrix)
    read, size = -read[:-1], float(read[-1])
    floor = floor_of(float(read[0]), len(matrix), float(torch.finfo(dtype).eps))
    above = int(np.count_nonzero(read > floor))
    values, floor = -scale * values[:above].double(), size * floor
    solver = f"full, {str(dtype).removeprefix('torch.')}"
    return EigenDecomposition(values, vectors[:, :above], floor, solver, True)


#: The smallest p from which a float64 solve is faster on the device than on the CPU, the way there
#: and back included (benchmarks/RESULTS-gpu.md: p = 64, 128, 256 took an NVIDIA H200 0.8, 1.9 and
#: 2.6 ms, 16 cores beside it 0.6, 1.8 and 5.6 ms). Other devices are not known: they solve all.
FASTER_FROM = {"cuda": 129}


def _eigh(matrix: Tensor) -> tuple[Tensor, Tensor, str]:
    device = matrix.device
    if len(matrix) < FASTER_FROM.get(device.type, 0):
        values, vectors = _solved(matrix.cpu())
        return values.to(device), vectors.to(device), "cpu, faster for so few features"
    if device.type == "cpu" or _is_sound(device):
        try:
            values, vectors = _solved(matrix)
            if device.type == "cpu" or bool(torch.isfinite(values).all()):
                return values, vectors, device.type
        except RuntimeError:  # LinAlgError is one
            if device.type == "cpu":
                raise
    values, vectors = _solved(matrix.cpu())
    return values.to(device), vectors.to(device), f"cpu, since {device.type} failed"


def _solved(matrix: Tensor, spare: float = -1.0) -> tuple[Tensor, Tensor]:
    """Eigenvalues, ascending, and eigenvectors of a matrix that has none beyond 0 to the side of
    the number `spare`, of the size of its others."""
    size = len(matrix)
    if matrix.device.type != "cpu" or size % _ALIGNED:
        values, vectors = torch.linalg.eigh(matrix)
        return values, vectors
    # Apart from the matrix, and below or above all of its eigenvalues.
    wide = matrix.new_zeros(size + _SPARE, size + _SPARE)
    wide[:size, :size] = matrix
    wide.diagonal()[size:] = spare
    values, vectors = torch.linalg.eigh(wide)
    own = slice(_SPARE, None) if spare < 0 else slice(size)
    return values[own], vectors[:size, own]


@functools.cache
def _is_sound(device: torch.device) -> bool:
    """Whether the device's float64 eigensolver is one, measured once on a hard small matrix."""
    random = np.random.default_rng(0)
    basis = torch.linalg.qr(torch.from_numpy(random.normal(size=(64, 64))))[0]
    wanted = torch.logspace(-10, 0, 64, dtype=torch.float64, device="cpu")
    try:
        matrix = ((basis * wanted) @ basis.T).to(device)
        found = torch.linalg.eigvalsh((matrix + matrix.T) / 2).cpu()
    except RuntimeError:
        return False
    return bool(((found - wanted).abs() < 1e-13).all())


def eigh_topk(
    matrix: Tensor,
    count: int,
    *,
    start: Tensor | None = None,
    suffices: Callable[[Tensor, Tensor], bool] = lambda values, vectors: False,
    precision: float = 1e-6,
    cycles: int = 12,
) -> EigenDecomposition | None:
    """Up to `count` leading eigenpairs by a restarted block Krylov method; None where it fails.

    Parameters
    ----------
    matrix : Tensor, shape (p, p)
        Symmetric positive semidefinite.
    count : int
    start : Tensor, shape (p, k), optional
        Vectors near the leading ones, such as those of the epoch before.
    suffices : callable (values, vectors) -> bool
        Whether these converged pairs are enough, though fewer than `count`: in a flat bulk the
        last ones would take for ever. Asked from the third cycle on.
    precision : float
        Largest residual ‖S v − ρ v‖ / ρ of any returned pair.
    cycles : int
        Restarts after which to give up.
    """
    size, device, depth = len(matrix), matrix.device, 3
    width = count + max(8, count // 4)  # guard vectors: the last ones converge last
    scale = float(matrix.diagonal().mean())
    if (depth + 1) * width > size // 2 or scale <= 0:
        return None
    generator = torch.Generator("cpu").manual_seed(0)
    block = torch.randn(size, width, generator=generator, device="cpu", dtype=torch.float64)
    block = block.to(device)
    if start is not None:
        known = start.to(device, torch.float64)[:, :width]
        block[:, : known.shape[1]] = known
    block = torch.linalg.qr(block)[0]
    for cycle in range(1, cycles + 1):
        blocks, images = [block], [matrix @ block]
        for _ in range(depth):
            fresh, basis = images[-1], torch.cat(blocks, 1)
            for _ in range(2):  # twice is enough to stay orthogonal
                fresh = torch.linalg.qr(fresh - basis @ (basis.T @ fresh))[0]
            blocks.append(fresh)
            images.append(matrix @ fresh)
        basis, image = torch.cat(blocks, 1), torch.cat(images, 1)
        small = basis.T @ image
        values, turn = torch.linalg.eigh((small + small.T) / 2)
        values, turn = values.flip(0)[:width], turn.flip(1)[:, :width]
        block = basis @ turn
        residual = (image @ turn - block * values).norm(dim=0)[:count]
        # Read at once: a GPU waits for each time.
        found, missing = torch.stack([values[:count], residual]).cpu().numpy()
        floor = floor_of(float(found[0]), size)
        above = int((found > floor).sum())
        missed = np.flatnonzero(missing[:above] > precision * found[:above] + EPS * found[0])
        good = int(missed[0]) if len(missed) else above
        pairs = values[:good], block[:, :good]
        if good == above or (cycle > 2 and good and suffices(*pairs)):
            name = f"leading {good} of {size}, float64, {device.type}, {cycle} cycles"
            return EigenDecomposition(*pairs, floor, name, False)
    return None
