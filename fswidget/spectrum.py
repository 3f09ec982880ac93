"""The spectrum of a network's feature map and the measures that follow from it.

Everything here is a function of `fswidget.moments.FeatureMoments`. The definitions are those of
arXiv 2410.04264, of which the abstracts were read; "our choice" in a docstring marks what is ours.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fswidget import regime as regimes
from fswidget import solvers
from fswidget.arrays import as_matrix, as_tensor, class_labels
from fswidget.jackknife import Jackknife, jackknife
from fswidget.measures import (
    USED,
    Array,
    Averages,
    Parts,
    effective_rank,
    first_at,
    to_numpy,
)
from fswidget.moments import FeatureMoments, assign_blocks
from fswidget.regime import Regime
from fswidget.solvers import Solution, coordinates, span

TASKS = ("cross_entropy", "squared_error")

_LEAST_TOLERANCE = 1e-8  # about √ε: smaller singular values are all rounding


@dataclass(frozen=True, eq=False, repr=False)
class Spectrum:
    """Eigenvalues and eigenfunctions of the feature operator, and the measures built on them.

    Attributes
    ----------
    eigenvalues : ndarray of float64, shape (K,)
        ρ_1 ≥ ρ_2 ≥ … of E[Φ Φᵀ] (not centred), down to the numerical floor.
    eigenvectors : ndarray of float64, shape (p, K)
        Columns v_k; the eigenfunctions are e_k(x) = v_kᵀ Φ(x) / √ρ_k.
    quality : ndarray of float64, shape (K,)
        Π*(k) = Σ_{j≤k} ‖P_{H*} e_j‖² / dim H*, from 0 to 1.
    utilization : ndarray of float64, shape (K,)
        Π̂(k) = Σ_{j≤k} ‖P_Ĥ e_j‖² / dim Ĥ, from 0 to 1.
    low_rank_measure : float
        D_LR = 1 − CKA(T, T_MP), centred; 0 rich … 1 lazy; NaN where the features or all outputs
        are constant. The basis of Ĥ is made first and centred then (our choice).
    low_rank_measure_debiased : float
        The same with the bias of a finite probe removed; may leave [0, 1] by its noise.
    nc1 : float
        tr(Σ_W Σ_B⁺), not divided by C; NaN unless the targets are classes, two at least present.
    kernel_drift : float
        1 − CKA(T, T_0), centred; NaN without reference features.
    output_rank, target_rank : int
        dim Ĥ and dim H*: singular values above `tolerance` relative to the largest.
    top_share : float
        Share of the trace in the C largest eigenvalues (d + 1 for a regression).
    errors : mapping of str to float
        Jackknife standard errors by name; empty unless asked for.
    quality_error, utilization_error : ndarray of float64, shape (K,), or None
        Jackknife standard errors of the curves.
    solver : str
        Which solver gave the spectrum, in words.
    floor : float
        Eigenvalues at or below it are rounding, and left out.
    trace, square : float
        Σ ρ_k and Σ ρ_k², over all p.
    complete : bool
        Whether `eigenvalues` are all above the floor; else they are the leading ones.
    """

    eigenvalues: Array
    eigenvectors: Array
    quality: Array
    utilization: Array
    low_rank_measure: float
    low_rank_measure_debiased: float
    nc1: float
    kernel_drift: float
    output_rank: int
    target_rank: int
    task: str
    classification: bool
    num_features: int
    num_outputs: int
    num_samples: int
    tolerance: float
    trace: float
    square: float
    floor: float
    solver: str
    complete: bool
    debiased: bool = False
    outputs_moved: bool = True
    errors: Mapping[str, float] = field(default_factory=dict)
    quality_error: Array | None = None
    utilization_error: Array | None = None
    _replicates: Sequence[Mapping[str, float]] = ()
    _coefficients: Sequence[Array] = ()
    _maps: Sequence[Array] = ()

    def __repr__(self) -> str:
        return (
            f"<Spectrum p={self.num_features} n={self.num_samples}: "
            f"D_LR={self.low_rank_measure:.3g} k95={self.used_features} "
            f"effective rank={self.effective_rank:.3g} {self.regime.label}>"
        )

    @property
    def used_features(self) -> int:
        """k95 = min{k : Π̂(k) ≥ 0.95}; p where Π̂ never gets there (our choice)."""
        return first_at(self.utilization, self.num_features)

    @property
    def participation_ratio(self) -> float:
        """(Σρ)² / Σρ²."""
        return self.trace**2 / self.square if self.square > 0 else math.nan

    @property
    def effective_rank(self) -> float:
        """exp of the entropy of ρ/Σρ, in features; NaN after a top-k solve."""
        return effective_rank(self.eigenvalues) if self.complete else math.nan

    @property
    def effective_rank_debiased(self) -> float:
        """The effective rank without the bias of a finite probe, by the jackknife; NaN without
        errors. Our choice."""
        found = [replicate["effective_rank"] for replicate in self._replicates]
        if not found:
            return math.nan
        return float(len(found) * self.effective_rank - (len(found) - 1) * np.mean(found))

    @property
    def top_share(self) -> float:
        """Share of the trace in the C largest eigenvalues (d + 1 for a regression)."""
        limit = self.num_outputs + (not self.classification)
        return float(self.eigenvalues[:limit].sum() / self.trace) if self.trace > 0 else math.nan

    @property
    def regime(self) -> Regime:
        """The regime, for `outputs_moved` as the spectrum was asked for; see `classify`."""
        return self.classify(outputs_moved=self.outputs_moved)

    def classify(self, *, outputs_moved: bool = True) -> Regime:
        """The regime and the evidence for it.

        Parameters
        ----------
        outputs_moved : bool, default True
            False for the untrained network: its features cannot have moved.
        """
        return regimes.judge(
            used_features=self.used_features,
            num_features=self.num_features,
            num_outputs=self.num_outputs,
            classification=self.classification,
            low_rank_measure=self.low_rank_measure,
            top_share=self.top_share,
            kernel_drift=self.kernel_drift,
            outputs_moved=outputs_moved,
            replicates=[(r["used_features"], r["kernel_drift"]) for r in self._replicates],
        )

    def eigenfunctions(self, features: Any, k: int | None = None) -> Array:
        """Values of the first `k` eigenfunctions at any samples.

        Parameters
        ----------
        features : tensor or array, shape (n, p)
        k : int, optional
            All that are above the floor by default.

        Returns
        -------
        ndarray of float64, shape (n, k)
            Columns of mean square 1 over the probe, orthogonal to each other there.

        Raises
        ------
        TypeError
            If `features` holds anything but numbers.
        ValueError
            If `k` is no integer or exceeds the number of eigenvalues, or the features have another
            width or are not finite.
        """
        count = len(self.eigenvalues) if k is None else k
        if not isinstance(count, (int, np.integer)) or not 0 <= count <= len(self.eigenvalues):
            raise ValueError(f"k={k!r}: must be an integer in 0..{len(self.eigenvalues)}")
        matrix = to_numpy(as_matrix("features", features, self.num_features).double())
        scaled = self.eigenvectors[:, :count] / np.sqrt(self.eigenvalues[:count])
        return np.asarray(matrix @ scaled)

    def held_out(self, moments: FeatureMoments) -> tuple[Array, Array]:
        """Quality and utilization on other samples, shapes (K,) and (K,).

        The share of the target functions' (of the outputs') mean square that their expansion in the
        first k eigenfunctions explains there, with the expansion's coefficients from this probe;
        on the probe itself that is Π*(k) and Π̂(k). It may fall with k and below 0, where
        features that helped on the probe do harm elsewhere. Our choice.

        Parameters
        ----------
        moments : FeatureMoments
            Moments of the held-out samples, of the same dimensions.
        """
        other = Averages.of(moments)
        scaled = self.eigenvectors / np.sqrt(self.eigenvalues)
        part = other.columns

        def second(a: slice, b: slice) -> Array:
            return to_numpy(other.second(a, b))

        gram = scaled.T @ second(part.features, part.features) @ scaled
        curves = []
        for where, basis, coefficients in zip(
            (part.targets, part.outputs), self._maps, self._coefficients, strict=True
        ):
            total = float(np.trace(basis.T @ second(where, where) @ basis))
            cross = basis.T @ second(where, part.features) @ scaled
            # Energy of the truncated expansions: sums over the leading square blocks.
            energy = (coefficients.T @ coefficients) * gram
            energy = np.cumsum(2 * np.tril(energy, -1).sum(1) + np.diag(energy))
            explained = 2 * np.cumsum((coefficients * cross).sum(0)) - energy
            curves.append(explained / total if total > 0 else np.full(len(energy), math.nan))
        return curves[0], curves[1]


def analyze(
    features: Any,
    outputs: Any,
    targets: Any,
    *,
    task: str = "cross_entropy",
    debias: bool = False,
    reference: Any | None = None,
    errors: bool = True,
    tolerance: float = 1e-5,
) -> Spectrum:
    """Spectrum and measures of one set of samples.

    Parameters
    ----------
    features : tensor or array, shape (n, p)
        What enters the last linear layer.
    outputs : tensor or array, shape (n, C)
        What it gives: logits, or the regression's outputs.
    targets : tensor or array, shape (n,) of int, or (n, C), or (n,) or (n, d) of float
        Class labels from 0 to C − 1, rows that are one-hot or probabilities, or, for squared
        error, regression targets. With one output integers are regression targets too.
    task : {"cross_entropy", "squared_error"}
        Whether a common shift of the outputs counts: not for cross-entropy, which needs C ≥ 2.
    debias : bool, default False
        Whether `low_rank_measure` is the debiased estimate.
    reference : tensor or array, shape (n, p_0), optional
        Features of the untrained network on the same samples, for the kernel drift.
    errors : bool, default True
        Whether to compute jackknife errors over 8 blocks.
    tolerance : float, default 1e-5
        Relative singular value below which a direction does not count for a rank; from 1e-8
        to below 1. Of m functions, singular values below √(m ε), 5e-8 for m = 10, are rounding and
        never count.

    Raises
    ------
    TypeError
        If an array holds anything but numbers.
    ValueError
        On wrong shapes, targets that do not fit the task and the outputs, labels out of range, an
        unknown task, or values that are not finite.

    Warns
    -----
    UserWarning
        Where a class has more than twice the samples of another.

    Notes
    -----
    What debiasing costs in variance: at n = p the standard deviation of D_LR was 0.8 to 1.5 times
    the plain estimate's on the spectra of ``benchmarks/measures_accuracy.py``, and the root mean
    square error a fraction of it wherever the plain estimate is biased.
    """
    features, outputs = as_matrix("features", features, "p"), as_tensor("outputs", outputs)
    outputs = as_matrix("outputs", outputs[:, None] if outputs.ndim == 1 else outputs, "C")
    if not len(features):
        raise ValueError("features: 0 samples; must be at least 1")
    _check_task(task, outputs.shape[1])
    targets = _meaning(as_tensor("targets", targets), task, outputs.shape[1])
    reference = None if reference is None else as_matrix("reference", reference, "p_0")
    _warn_unbalanced(targets)
    basis = span(features)
    features = coordinates(features, basis)
    if reference is not None:
        reference = coordinates(reference, span(reference))
    moments = FeatureMoments(
        features.shape[1],
        outputs.shape[1],
        outputs.shape[1] if targets.ndim == 1 else targets.shape[1],
        num_reference=0 if reference is None else reference.shape[1],
        num_blocks=min(8, len(features)) if errors else 1,
        device=features.device,
    )
    blocks = assign_blocks(targets, moments.num_blocks)
    moments.update(features, outputs, targets, reference, blocks=blocks)
    errors = errors and moments.num_blocks > 1
    return diagonalize(
        moments, task, debias=debias, errors=errors, tolerance=tolerance, basis=basis
    )


def _meaning(targets: Tensor, task: str, num_outputs: int) -> Tensor:
    """Class labels, shape (n,) of int64, or values, shape (n, T), as `watch` reads them."""
    labels = not targets.is_floating_point()
    if labels and targets.ndim == 1 and num_outputs > 1:
        return targets
    rows = targets[:, None] if targets.ndim == 1 else targets
    free = task == "squared_error" and (num_outputs == 1 or not labels)
    if rows.ndim != 2 or not (free or rows.shape[1] == num_outputs):
        allowed = f"class labels (n,) of int, or rows (n, {num_outputs})"
        if task == "squared_error":
            allowed += ", or values (n,) or (n, T) of float"
        raise ValueError(
            f"targets: shape {tuple(targets.shape)}, {targets.dtype}; must be {allowed}, for "
            f"task={task!r}"
        )
    return rows.double()


def _check_task(task: str, num_outputs: int) -> None:
    if task not in TASKS:
        raise ValueError(f"task={task!r}: must be one of {', '.join(TASKS)}")
    if task == "cross_entropy" and num_outputs < 2:
        raise ValueError(
            "task='cross_entropy': a softmax over one output is constant; must be 'squared_error' "
            "for outputs of shape (n, 1)"
        )


def _check_tolerance(tolerance: Any) -> None:
    known = isinstance(tolerance, (int, float, np.floating))
    if not known or not _LEAST_TOLERANCE <= tolerance < 1:
        raise ValueError(
            f"tolerance={tolerance!r}: must be a number from {_LEAST_TOLERANCE:g} to below 1"
        )


def _warn_unbalanced(targets: Tensor) -> None:
    labels = class_labels(targets)
    if labels is None:
        return
    counts = torch.unique(labels, return_counts=True)[1].tolist()
    if max(counts) > 2 * min(counts):
        warnings.warn(
            f"targets: from {min(counts)} to {max(counts)} samples a class; with unequal counts "
            "the low-rank measure of a collapsed network is not 0: give equally many of each",
            stacklevel=3,
        )


def diagonalize(
    moments: FeatureMoments,
    task: str = "cross_entropy",
    *,
    debias: bool = False,
    errors: bool = False,
    top: int | None = None,
    start: Any | None = None,
    tolerance: float = 1e-5,
    outputs_moved: bool = True,
    basis: Tensor | None = None,
) -> Spectrum:
    """The work of `FeatureMoments.spectrum`, which documents it.

    `basis`, shape (p, n), holds the axes that the features of `moments` are coordinates on.
    """
    _check_task(task, moments.num_outputs)
    _check_tolerance(tolerance)
    if errors and moments.num_blocks < 2:
        raise ValueError(f"errors=True: needs num_blocks ≥ 2, not {moments.num_blocks}")
    averages = Averages.of(moments)
    parts = Parts.of(averages, moments, task, tolerance, debias)
    features = averages.columns.features
    matrix = averages.second(features, features)
    solution = _solve(matrix, parts, top, start)
    curves = parts.curves(solution)
    num_features = moments.num_features if basis is None else len(basis)
    spread = Jackknife()
    if errors:
        spread = jackknife(
            moments,
            solution,
            first_at(curves[1], num_features),
            num_features=num_features,
            task=task,
            tolerance=tolerance,
            debias=debias,
        )
    return Spectrum(
        eigenvalues=to_numpy(solution.values),
        eigenvectors=to_numpy(solution.vectors if basis is None else basis @ solution.vectors),
        quality=curves[0],
        utilization=curves[1],
        low_rank_measure=parts.low_rank.of(debias),
        low_rank_measure_debiased=parts.low_rank.debiased,
        nc1=parts.nc1,
        kernel_drift=parts.kernel_drift,
        output_rank=parts.learned.rank,
        target_rank=parts.wanted.rank,
        task=task,
        classification=moments.classification,
        num_features=num_features,
        num_outputs=moments.num_outputs,
        num_samples=round(averages.n),
        tolerance=tolerance,
        trace=float(matrix.trace()),
        square=float(matrix.square().sum()),
        floor=solution.floor,
        solver=solution.solver,
        complete=solution.complete,
        debiased=debias,
        outputs_moved=outputs_moved,
        errors=spread.errors,
        quality_error=spread.quality_error,
        utilization_error=spread.utilization_error,
        _replicates=spread.replicates,
        _coefficients=tuple(to_numpy(c) for c in parts.coefficients(solution)),
        _maps=(to_numpy(parts.wanted.map), to_numpy(parts.learned.map)),
    )


def _solve(matrix: Tensor, parts: Parts, top: int | None, start: Any | None) -> Solution:
    if top is None:
        return solvers.full(matrix)

    def suffices(values: Tensor, vectors: Tensor) -> bool:
        found = Solution(values, vectors, 0.0, "", False)
        return bool(parts.curves(found)[1][-1] >= USED)

    known = None if start is None else torch.as_tensor(np.asarray(start))
    found = solvers.leading(matrix, top, start=known, suffices=suffices)
    if found is not None and suffices(found.values, found.vectors):
        return found
    why = "did not converge" if found is None else "do not reach 95% utilization"
    return replace(
        complete := solvers.full(matrix), solver=f"{complete.solver}: {top} leading {why}"
    )


def tolerance_sweep(
    moments: FeatureMoments,
    task: str = "cross_entropy",
    tolerances: Sequence[float] = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7),
) -> dict[str, Array]:
    """How the rank tolerance moves the output rank and D_LR; needs no eigensolve of p × p.

    Returns
    -------
    dict of str to ndarray, shape (len(tolerances),)
        ``tolerance``, ``output_rank``, ``low_rank_measure``, ``low_rank_measure_debiased``.
    """
    _check_task(task, moments.num_outputs)
    averages = Averages.of(moments)
    rows = []
    for tolerance in tolerances:
        _check_tolerance(tolerance)
        parts = Parts.of(averages, moments, task, tolerance, False)
        measured = parts.low_rank.plain, parts.low_rank.debiased
        rows.append((tolerance, parts.learned.rank, *measured))
    names = ("tolerance", "output_rank", "low_rank_measure", "low_rank_measure_debiased")
    return dict(zip(names, np.array(rows, float).T, strict=True))


def align(
    eigenvalues: Array,
    current: Array,
    previous: Array,
    *,
    degenerate: float = 0.05,
) -> Array:
    """The rotation that turns eigenfunctions towards those of the frame before, for display.

    Eigenfunctions are defined up to sign, and up to rotation where eigenvalues are nearly equal.

    Parameters
    ----------
    eigenvalues : ndarray, shape (m,), descending
        Of the current frame.
    current : ndarray, shape (n, m)
        Eigenfunctions at the shown samples.
    previous : ndarray, shape (n, m')
        The frame before, as it was displayed, at the same samples. Values and not eigenvectors are
        compared, because the coordinates of feature space change while a network trains.
    degenerate : float, default 0.05
        Neighbours whose relative gap is below this turn together, by orthogonal Procrustes.

    Returns
    -------
    ndarray, shape (m, m)
        Orthogonal; show ``current @ rotation``. Columns that are not finite, or that the frame
        before lacks, stay as they are.
    """
    now, before = np.asarray(current, float), np.asarray(previous, float)
    rotation = np.eye(now.shape[1])
    count = min(now.shape[1], before.shape[1], len(eigenvalues))
    finite = np.isfinite(now[:, :count]).all(0) & np.isfinite(before[:, :count]).all(0)
    start = 0
    while start < count:
        stop = start + 1
        while (
            stop < count
            and finite[stop - 1 : stop + 1].all()
            and eigenvalues[stop] >= (1 - degenerate) * eigenvalues[stop - 1]
        ):
            stop += 1
        if finite[start]:
            part = slice(start, stop)
            left, _, right = np.linalg.svd(now[:, part].T @ before[:, part])
            rotation[part, part] = left @ right
        start = stop
    return rotation
