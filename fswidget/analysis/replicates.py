"""Eigenpairs of the samples but a few, from those of all of them."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fswidget.analysis.arrays import Array, to_numpy
from fswidget.analysis.averages import Averages
from fswidget.analysis.eigensolvers import EigenDecomposition, eigh_float32, eigh_full
from fswidget.analysis.measures import effective_rank

_NARROW = 128  # a full solve of so few features is cheap
_DRAWS = 64  # random vectors for a trace
_NOISE = 0.03  # of random vectors, beside what differs
_SMALL = 0.003  # second order of an entropy, as a share of the trace, that needs no third
_MIXED = 0.02  # square of the angle to the rest, beyond which a pair is not found by one step


@dataclass(frozen=True)
class Turned(EigenDecomposition):
    """Eigenpairs of which all but the leading ones are known ones turned away from those.

    Parameters
    ----------
    known : Tensor, shape (p, K)
        Eigenvectors of a matrix nearby.
    mixing : Tensor, shape (K − m, m)
        What of the others is in each of the leading ones.
    turn : Tensor, shape (m, m)
        Among the leading ones.
    place : int
        Its number among those that `Entropy` took up.
    """

    known: Tensor
    mixing: Tensor
    turn: Tensor
    place: int

    def expand(self, rows: Tensor) -> Tensor:
        along = rows.to(self.known.dtype) @ self.known
        count = len(self.turn)
        leading, rest = along[:, :count].to(self.mixing), along[:, count:].to(self.mixing)
        mixed = rest - leading @ self.mixing.T / 2  # the norm stays 1 to second order
        leading, rest = leading + mixed @ self.mixing, rest - leading @ self.mixing.T
        return torch.cat([leading @ self.turn, rest], 1).double()


class Neighbourhood:
    """Eigenpairs of matrices near one whose eigenpairs are known, as a standard error needs them.

    Where the leading ones in use are few, they are found by one step of Löwdin's partitioning:
    their matrix in the known eigenvectors, to second order in what couples it to the others, is
    diagonalised, and the others are turned away from them but not among themselves. Where that
    leaves too much (`_MIXED`), or many are in use, all are solved for. In float32 where those in
    use lie well above its rounding. Our choice.

    Parameters
    ----------
    averages : Averages
        Of all samples.
    known : EigenDecomposition
        The eigenpairs of their E[Φ Φᵀ].
    needed : int
        How many leading ones are in use.
    """

    def __init__(self, averages: Averages, known: EigenDecomposition, needed: int) -> None:
        size = len(known.values)
        self.known, self.needed, self._averages = known, min(needed, size), averages
        self._lead = self.needed + max(8, self.needed // 2)
        above = size and float(known.values[self.needed - 1] / known.values[0]) >= 1e-4
        self._near = bool(above) and size > _NARROW and 2 * self._lead <= size
        self._precise = not above
        self._entropy: Entropy | None = None
        self._part = averages.columns.features

    @functools.cached_property
    def _frame(self) -> tuple[Tensor, Tensor, Tensor]:
        """Eigenvectors, for steps and for expansions, and relative eigenvalues."""
        values, vectors = self.known.values, self.known.vectors
        single = vectors.float()
        wide = bool(values[-1] < 1e-9 * values[0])  # its coefficients are divided by the root
        return single, vectors if wide else single, (values / values[0]).float()

    def solve(self, averages: Averages) -> EigenDecomposition:
        """Eigenpairs of E[Φ Φᵀ] of other averages about the same origin."""
        if not len(self.known.values):
            return self.known
        step = self._step(averages) if self._near else None
        if step is None:
            matrix = averages.second(self._part, self._part)
            if not self.known.complete:
                return _within(matrix, self.known)
            return (eigh_full if self._precise else eigh_float32)(matrix)
        vectors, wide, values = self._frame
        scale, floor = self.known.values[0], self.known.floor
        if self._entropy is None:
            self._entropy = Entropy(vectors[:, self._lead :], values[self._lead :])

        def exact() -> Tensor:
            return (averages.second(self._part, self._part) / scale).float()

        name = f"leading {len(step.values)} of {len(values)}, from those known"
        found = scale * torch.cat([step.values, step.rest]).double()
        pairs = found, self.known.vectors, floor, name, True
        return Turned(*pairs, wide, step.mixing, step.turn, self._entropy.add(step, exact))

    def effective_rank(self, found: EigenDecomposition) -> float:
        """Of eigenpairs that were solved for here, all of them by now; NaN of a few."""
        if isinstance(found, Turned) and self._entropy is not None:
            return self._entropy.effective_rank(found.place)
        return effective_rank(to_numpy(found.values)) if found.complete else math.nan

    def _step(self, averages: Averages) -> Step | None:
        """One step from the eigenpairs known; None where it does not get there."""
        (vectors, _, values), lead = self._frame, self._lead
        change = self._change(averages)
        coupling = vectors.T @ (change @ vectors[:, :lead])
        inner, coupling = coupling[:lead] + torch.diag(values[:lead]), coupling[lead:]
        own, trace = inner.diagonal(), values.sum() + change.trace()
        rest = values[lead:] * ((trace - own.sum()) / values[lead:].sum())
        mixing = coupling / torch.maximum(own - rest[:, None], 0.05 * own)
        if float(mixing[:, : self.needed].square().sum(0).max()) > _MIXED:
            return None
        inner = inner + coupling.T @ mixing
        found, turn = torch.linalg.eigh((inner + inner.T) / 2)
        leading = found.flip(0), turn.flip(1)
        return Step(change, coupling, mixing, *leading, rest, float(trace))

    def _change(self, averages: Averages) -> Tensor:
        """Of E[Φ Φᵀ], as a share of its largest eigenvalue: differences first, for the digits."""
        part, known = self._part, self._averages
        scale, origin = self.known.values[0], known.origin[part]
        moved = (averages.offset(part) - known.offset(part)) / scale
        change = ((averages.about[part, part] - known.about[part, part]) / scale).float()
        change = change.addr_(moved.float(), origin.float())
        return change.addr_(origin.float(), moved.float())


class Step(NamedTuple):
    """From the known eigenpairs to those of a matrix nearby, all relative to the largest."""

    change: Tensor  # (p, p) of the matrix
    coupling: Tensor  # (K − m, m) of it, between the m leading ones and the others
    mixing: Tensor  # (K − m, m)
    values: Tensor  # (m,)
    turn: Tensor  # (m, m)
    rest: Tensor  # (K − m,)
    trace: float


def in_use(utilization: Array, level: float) -> int:
    """How many leading eigenpairs tell where a cumulative curve crosses a level, and how steeply:
    up to the middle between that level and the curve's end."""
    if not len(utilization):
        return 0
    return int(np.count_nonzero(utilization < (level + max(utilization[-1], level)) / 2)) + 1


def _within(matrix: Tensor, known: EigenDecomposition) -> EigenDecomposition:
    """Within the span of the leading eigenvectors, after a top-k solve."""
    values, turn = torch.linalg.eigh(known.vectors.T @ matrix @ known.vectors)
    values, vectors = values.flip(0), (known.vectors @ turn).flip(1)
    keep = values > known.floor
    return EigenDecomposition(values[keep], vectors[:, keep], known.floor, "", False)


class Entropy:
    """Σ ρ log ρ of matrices near one whose eigenpairs are known, with only the leading ones solved.

    Of the others to first order the trace of their change E times log S + 1. To second, with the
    geometric mean of eigenvalues for the logarithmic, tr(S^-½ E S^-½ E) / 2 by random vectors.
    Where that order is large, or the noise of the vectors beside what differs between matrices, the
    eigenvalues are solved for. In float32. Our choice.

    Parameters
    ----------
    vectors : Tensor, shape (p, k)
        Those that are not solved for.
    values : Tensor, shape (k,)
        Their eigenvalues.
    """

    def __init__(self, vectors: Tensor, values: Tensor) -> None:
        generator = torch.Generator("cpu").manual_seed(0)
        signs = torch.randint(0, 2, (len(values), _DRAWS), generator=generator, device="cpu")
        self._vectors, self._slopes = vectors, values.log() + 1
        self._roots = values.clamp(min=1e-6).pow(0.25)[:, None]
        self._draws = vectors @ ((2 * signs - 1).to(vectors) / self._roots)
        self._slope = (vectors * self._slopes) @ vectors.T
        self._value = _entropy(values)
        self._matrices: list[Callable[[], Tensor]] = []
        self._traces: list[float] = []
        self._firsts: list[float] = []  # all but the second order
        self._seconds: list[Array] = []  # by random vector

    def add(self, step: Step, matrix: Callable[[], Tensor]) -> int:
        """Take up another matrix, S + E, which `matrix` gives; its number."""
        repelled = (step.coupling * step.mixing).sum(1) @ self._slopes
        first = torch.dot(step.change.flatten(), self._slope.flatten()) - repelled
        turned = self._vectors.T @ (step.change @ self._draws) / self._roots
        self._firsts.append(self._value + _entropy(step.values) + float(first))
        self._seconds.append(to_numpy(turned.square().sum(0) / 2))
        self._traces.append(step.trace)
        self._matrices.append(matrix)
        return len(self._matrices) - 1

    def effective_rank(self, place: int) -> float:
        """exp of the entropy of ρ/Σρ, of the matrix of that number, once all are there."""
        return float(np.exp(self._shares[place]))

    @functools.cached_property
    def _shares(self) -> Array:
        """Entropies of ρ/Σρ."""
        trace, drawn = np.array(self._traces), np.array(self._seconds)
        found = np.log(trace) - (np.array(self._firsts) + drawn.mean(1)) / trace
        noise = math.sqrt((drawn - drawn.mean(0)).var(1).mean() / _DRAWS) / trace[0]
        if drawn.mean() < _SMALL * trace[0] and noise < _NOISE * found.std():
            return np.asarray(found)
        exact = [torch.linalg.eigvalsh(matrix()) for matrix in self._matrices]
        whole = [_entropy(values[values > 1e-7 * values[-1]]) for values in exact]
        return np.asarray(np.log(trace) - np.array(whole) / trace)


def _entropy(values: Tensor) -> float:
    wide = values.double()
    return float((wide * wide.log()).sum())
