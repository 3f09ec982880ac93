"""Eigenpairs of the samples but a few, from those of all of them."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fswidget.analysis.arrays import Array, to_arrays, to_numpy
from fswidget.analysis.averages import Averages
from fswidget.analysis.decay import effective_rank
from fswidget.analysis.eigensolvers import (
    EigenDecomposition,
    eigh_for_errors,
    eigh_full,
    eigh_small,
    quick_dtype,
)

_NARROW = 128  # a full solve of so few features is cheap
_DRAWS = 64  # random vectors for a trace
_NOISE = 0.03  # of random vectors, beside what differs
_AT_ONCE = {"cpu": 700_000, "cuda": 30_000_000}  # entries: what a cache holds; on a GPU all
_SMALL = 0.003  # second order of an entropy, as a share of the trace, that needs no third
_MIXED = 0.02  # square of the angle to the rest, beyond which a pair is not found by one step


class Found(NamedTuple):
    """Of one or several sets of samples, what functions are in their eigenfunctions."""

    places: list[int]  # which sets
    coefficients: Tensor  # (b, m, K)
    values: Tensor | None  # (K,) all eigenvalues of one that was solved for
    entropy: EntropyTerms | None  # of those that were not


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
        self._part = averages.columns.features
        last, least = 0.0, 0.0
        if size:
            ends = known.values[[self.needed - 1, size - 1]] / known.values[0]
            last, least = ends.tolist()
        self._precise = last < 1e-4
        self._wide = least < 1e-9  # coefficients are divided by the root
        few = size > _NARROW and 2 * self._lead <= size
        self._near = few and known.complete and not self._precise

    @functools.cached_property
    def _frame(self) -> tuple[Tensor, Tensor, Tensor]:
        """Eigenvectors, for steps and for expansions, and relative eigenvalues."""
        values, vectors = self.known.values, self.known.vectors
        single = vectors.float()
        return single, vectors if self._wide else single, (values / values[0]).float()

    @functools.cached_property
    def _entropy(self) -> Entropy:
        vectors, _, values = self._frame
        return Entropy(vectors, values, self._lead)

    def expand(self, averages: Averages, rows: Tensor) -> list[Found]:
        """E[q Φᵀ] of functions q, shape (b, m, p), in the eigenfunctions of several other averages
        about the same origin, in order."""
        count = len(rows)
        if len(self.known.values):
            rows = rows / self.known.values[0].sqrt()  # of any scale, within float32
        if not self._near:
            return [self._solved(averages, rows, place) for place in range(count)]
        found: list[Found] = []
        at_once = max(1, _AT_ONCE.get(rows.device.type, _AT_ONCE["cuda"]) // rows.shape[-1] ** 2)
        for start in range(0, count, at_once):
            found += self._stepped(averages, rows, range(start, min(start + at_once, count)))
        return found

    def _stepped(self, averages: Averages, rows: Tensor, places: range) -> list[Found]:
        """Of some sets, those that a step is enough for by one step."""
        some = slice(places.start, places.stop)
        step = self._step(averages.of_sets(some))
        near = (step.mixed <= _MIXED).tolist()
        if all(near):
            terms = self._entropy.terms(step)
            return [Found(list(places), self._expand(step, rows[some]), None, terms)]
        return [
            self._expand_one(step, rows, place, place - places.start)
            if is_near
            else self._solved(averages, rows, place)
            for place, is_near in zip(places, near, strict=True)
        ]

    def _expand_one(self, step: Step, rows: Tensor, place: int, of_step: int) -> Found:
        one = Step(*(part[of_step : of_step + 1] for part in step))
        found = self._expand(one, rows[place : place + 1])
        return Found([place], found, None, self._entropy.terms(one))

    def _expand(self, step: Step, rows: Tensor) -> Tensor:
        """In eigenvectors of which all but the leading ones are known ones turned from those."""
        wide = self._frame[1]
        along, mixing = rows.to(wide.dtype) @ wide, step.mixing.to(wide.dtype)
        leading, rest = along[..., : self._lead], along[..., self._lead :]
        mixed = rest - leading @ mixing / 2  # the norm stays 1 to second order
        turned = (leading + mixed @ mixing.mT) @ step.turn.to(wide.dtype)
        values = torch.cat([step.values, step.rest], -1).double()
        return torch.cat([turned, rest - leading @ mixing], -1) / values.sqrt()[:, None]

    def _solved(self, averages: Averages, rows: Tensor, place: int) -> Found:
        found = self._solve(averages.of_sets(place))
        vectors = found.vectors.double() if self._wide else found.vectors
        relative = found.values / self.known.values[:1]
        coefficients = rows[place].to(vectors.dtype) @ vectors / relative.sqrt()
        return Found([place], coefficients[None], found.values if found.complete else None, None)

    def _solve(self, averages: Averages) -> EigenDecomposition:
        if not len(self.known.values):
            return self.known
        if not self.known.complete:
            return _within(self.matrix(averages), self.known)
        if self._precise:  # the mean apart, which may dwarf the rest
            return eigh_full(averages.covariance(self._part, self._part), averages.mean(self._part))
        return eigh_for_errors(self.matrix(averages))

    def matrix(self, averages: Averages) -> Tensor:
        """E[Φ Φᵀ]."""
        part = self._part
        if self._precise:
            return averages.second(part, part)
        # At once: what takes time is to go over the matrix.
        offset, origin = averages.offset(part), averages.origin[part]
        left, right = torch.stack([offset, origin], 1), torch.stack([origin, origin + offset])
        return torch.addmm(averages.about[part, part], left, right)

    def effective_ranks(
        self, found: Sequence[Found], again: Callable[[int], Averages]
    ) -> list[float]:
        """Of all sets that `expand` gave; `again` makes the averages of one."""

        def exact(place: int) -> Tensor:
            matrix = self.matrix(again(place)) / self.known.values[0]
            values: Tensor = torch.linalg.eigvalsh(matrix.to(quick_dtype(matrix.device)))
            return values

        places = [place for one in found if one.entropy is not None for place in one.places]
        terms = [one.entropy for one in found if one.entropy is not None]
        ranks = self._entropy.ranks(terms, places, exact) if terms else []
        known = dict(zip(places, ranks, strict=True))
        solved = {one.places[0]: one.values for one in found if one.values is not None}
        if solved:
            values = to_arrays(list(solved.values()))
            known |= dict(zip(solved, map(effective_rank, values), strict=True))
        return [known.get(place, math.nan) for one in found for place in one.places]

    def _step(self, averages: Averages) -> Step:
        """One step from the eigenpairs known."""
        (vectors, _, values), lead = self._frame, self._lead
        change = self._change(averages)
        along = (change @ self._entropy.beside).mT @ vectors
        inner, coupling = along[:, :lead, :lead] + torch.diag(values[:lead]), along[:, :lead, lead:]
        own = inner.diagonal(dim1=1, dim2=2)
        trace = values.sum() + change.diagonal(dim1=1, dim2=2).sum(1)
        share = (trace - own.sum(1)) / values[lead:].sum()
        rest, own = share[:, None] * values[lead:], own[..., None]
        mixing = coupling / torch.maximum(own - rest[:, None], 0.05 * own)
        inner = inner + mixing @ coupling.mT
        found, turn = eigh_small((inner + inner.mT) / 2)
        mixed = mixing[:, : self.needed].square().sum(2).amax(1)
        drawn = along[:, lead:, lead:]
        pairs = found.flip(1), turn.flip(2), rest
        return Step(change, coupling, mixing, *pairs, trace, mixed, drawn)

    def _change(self, averages: Averages) -> Tensor:
        """Of E[Φ Φᵀ], as a share of its largest eigenvalue: differences first, for the digits."""
        part, known = self._part, self._averages
        scale, origin = self.known.values[0], known.origin[part]
        moved = ((averages.offset(part) - known.offset(part)) / scale).float()
        change = (averages.about[:, part, part] - known.about[part, part]).div_(scale)
        outer = torch.stack([moved, origin.float().expand_as(moved)], 2)
        found: Tensor = change.float().baddbmm_(outer, outer.flip(2).mT)
        return found


class Step(NamedTuple):
    """From the known eigenpairs to those of b matrices nearby, all relative to the largest."""

    change: Tensor  # (b, p, p) of the matrices
    coupling: Tensor  # (b, m, K − m) of them, between the m leading ones and the others
    mixing: Tensor  # (b, m, K − m), what of the others is in each of the leading ones
    values: Tensor  # (b, m)
    turn: Tensor  # (b, m, m) among the leading ones
    rest: Tensor  # (b, K − m)
    trace: Tensor  # (b,)
    mixed: Tensor  # (b,) the largest square of an angle from one in use to the others
    drawn: Tensor  # (b, draws, K − m) of the change, between random vectors and the others


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


class EntropyTerms(NamedTuple):
    """Of Σ ρ log ρ of b matrices."""

    traces: Tensor  # (b,)
    firsts: Tensor  # (b,) all but the second order
    seconds: Tensor  # (b, draws) that, by random vector


class Entropy:
    """Σ ρ log ρ of matrices near one whose eigenpairs are known, with only the leading ones solved.

    Of the others to first order the trace of their change E times log S + 1. To second, with the
    geometric mean of eigenvalues for the logarithmic, tr(S^-½ E S^-½ E) / 2 by random vectors.
    Where that order is large, or the noise of the vectors beside what differs between matrices, the
    eigenvalues are solved for. In float32. Our choice.

    Parameters
    ----------
    vectors : Tensor, shape (p, K)
    values : Tensor, shape (K,)
    lead : int
        How many are solved for.
    """

    def __init__(self, vectors: Tensor, values: Tensor, lead: int) -> None:
        others, rest = vectors[:, lead:], values[lead:]
        generator = torch.Generator("cpu").manual_seed(0)
        signs = torch.randint(0, 2, (len(rest), _DRAWS), generator=generator, device="cpu")
        self._slopes, self._scale = rest.log() + 1, rest.clamp(min=1e-6).pow(-0.25)
        draws = (others * self._scale) @ (2 * signs - 1).to(vectors)
        #: The leading vectors and the random ones, shape (p, m + draws).
        self.beside = torch.cat([vectors[:, :lead], draws], 1)
        self._slope = (others * self._slopes) @ others.T
        self._value = _entropy(rest)

    def terms(self, step: Step) -> EntropyTerms:
        """Of matrices S + E."""
        repelled = (step.coupling * step.mixing).sum(1) @ self._slopes
        first = step.change.flatten(1) @ self._slope.flatten() - repelled
        seconds = (step.drawn * self._scale).square().sum(2) / 2
        return EntropyTerms(step.trace, self._value + _entropy(step.values) + first, seconds)

    def ranks(
        self, terms: Sequence[EntropyTerms], places: list[int], exact: Callable[[int], Tensor]
    ) -> list[float]:
        """exp of the entropies of ρ/Σρ of matrices, of which `exact` gives the eigenvalues."""
        columns = [torch.cat([t.traces[:, None], t.firsts[:, None], t.seconds], 1) for t in terms]
        read = to_numpy(torch.cat(columns).double())
        trace, first, drawn = read[:, 0], read[:, 1], read[:, 2:]
        found = np.log(trace) - (first + drawn.mean(1)) / trace
        noise = math.sqrt((drawn - drawn.mean(0)).var(1).mean() / _DRAWS) / trace[0]
        if not (drawn.mean() < _SMALL * trace[0] and noise < _NOISE * found.std()):
            solved = torch.stack([exact(place) for place in places])
            kept = solved > 1e-7 * solved[:, -1:]
            whole = _entropy(torch.where(kept, solved, 1.0))  # of 1 it is 0
            found = np.log(trace) - to_numpy(whole) / trace
        return [float(rank) for rank in np.exp(found)]


def _entropy(values: Tensor) -> Tensor:
    wide = values.double()
    return (wide * wide.log()).sum(-1)
