"""The spectrum of a network's feature map and the measures that follow from it.

Everything here is a function of second moments. The definitions are those of
arXiv 2410.04264, of which the abstracts were read; "our choice" in a docstring marks what is ours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fswidget.analysis.arrays import Array, as_matrix, to_numpy
from fswidget.analysis.averages import Averages
from fswidget.analysis.eigensolvers import EigenDecomposition, eigh_full, eigh_topk
from fswidget.analysis.gram import householder
from fswidget.analysis.jackknife import Jackknife, jackknife
from fswidget.analysis.measures import (
    USED,
    Measures,
    effective_rank,
    first_at,
)
from fswidget.analysis.moments import Moments
from fswidget.analysis.nulls import UNKNOWN, Band, Features, lazy_twin, random_heads
from fswidget.analysis.regime import Regime, classify
from fswidget.analysis.targets import check_task, minimal_features

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
    low_rank_measure_plain : float or None
        The same without; None in spectra kept by earlier versions.
    nc1 : float
        tr(Σ_W Σ_B⁺), not divided by C; NaN unless the targets name one class each, two at least
        present.
    target_share : float
        Mean squared canonical correlation of targets and outputs, adjusted for chance: 0 where the
        outputs know nothing of the targets, 1 where they hold them.
    null : Band
        k95 and D_LR of random heads on the same features, for as many output functions.
    lazy_twin : Band
        The same of the least-squares head for the targets on these features: of the first frame's,
        what the network would have if only its last layer learned.
    kernel_drift : float
        1 − CKA(T, T_0), centred; NaN without reference features.
    output_rank, target_rank : int
        dim Ĥ and dim H*: singular values above `tolerance` relative to the largest.
    top_share : float
        Share of the trace in the C largest eigenvalues (d + 1 for a regression).
    errors : mapping of str to float
        Jackknife standard errors by name; empty unless asked for.
    quality_error, utilization_error : ndarray of float64, shape (K,), or None
        Jackknife standard errors of the curves. Of more than 128 features of which few are in use,
        those beyond are too small: they leave out how weak features turn among themselves.
    solver : str
        Which solver gave the spectrum, in words.
    floor : float
        Eigenvalues at or below it are rounding, and left out.
    trace, square : float
        Σ ρ_k and Σ ρ_k², over all p.
    complete : bool
        Whether `eigenvalues` are all above the floor; else they are the leading ones.

    Examples
    --------
    >>> random, labels = np.random.default_rng(0), np.arange(300) % 3
    >>> features = random.normal(size=(300, 20)) + 5 * np.eye(3, 20)[labels]
    >>> spectrum = fs.analyze(features, features[:, :3], labels)
    >>> values = spectrum.eigenfunctions(features, k=4)
    >>> np.allclose(values.T @ values / 300, np.eye(4))  # orthonormal on the samples
    True
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
    low_rank_measure_plain: float | None = None
    outputs_moved: bool = True
    target_share: float = math.nan
    null: Band = UNKNOWN
    lazy_twin: Band = UNKNOWN
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
        limit = self.minimal_features
        return float(self.eigenvalues[:limit].sum() / self.trace) if self.trace > 0 else math.nan

    @property
    def minimal_features(self) -> int:
        """How many features count as minimal: C for classes, d + 1 otherwise (our choice)."""
        return minimal_features(self.task, self.classification, self.num_outputs)

    @property
    def regime(self) -> Regime:
        """The regime, for `outputs_moved` as the spectrum was asked for; see `classify`."""
        return self.classify(outputs_moved=self.outputs_moved)

    def classify(self, *, outputs_moved: bool = True, previous: str | None = None) -> Regime:
        """The regime and the evidence for it.

        Parameters
        ----------
        outputs_moved : bool, default True
            False for the untrained network: its features cannot have moved.
        previous : str, optional
            The label of the frame before, which stays while the replicates are divided.
        """
        plain = self.low_rank_measure_plain
        return classify(
            task=self.task,
            num_samples=self.num_samples,
            debiased=self.low_rank_measure_debiased,
            target_share=self.target_share,
            null=self.null,
            previous=previous,
            used_features=self.used_features,
            num_features=self.num_features,
            num_outputs=self.num_outputs,
            classification=self.classification,
            low_rank_measure=self.low_rank_measure if plain is None else plain,
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

    def held_out(self, moments: Moments) -> tuple[Array, Array]:
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
        wanted, learned = self._maps
        maps = wanted, to_numpy(householder(torch.from_numpy(learned)))
        for where, basis, coefficients in zip(
            (part.targets, part.outputs), maps, self._coefficients, strict=True
        ):
            total = float(np.trace(basis.T @ second(where, where) @ basis))
            cross = basis.T @ second(where, part.features) @ scaled
            # Energy of the truncated expansions: sums over the leading square blocks.
            energy = (coefficients.T @ coefficients) * gram
            energy = np.cumsum(2 * np.tril(energy, -1).sum(1) + np.diag(energy))
            explained = 2 * np.cumsum((coefficients * cross).sum(0)) - energy
            curves.append(explained / total if total > 0 else np.full(len(energy), math.nan))
        return curves[0], curves[1]


def diagonalize(
    moments: Moments,
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
    """See `FeatureMoments.spectrum`; features are coordinates on `basis`, shape (p, n)."""
    _check(moments, task, errors, tolerance)
    averages = Averages.of(moments)
    measures = Measures.of(averages, moments, task, tolerance, debias)
    part = averages.columns.features
    covariance, mean = averages.covariance(part, part), averages.mean(part)
    whole = covariance + torch.outer(mean, mean)
    solution = _solve(covariance, mean, measures, top, start)
    curves = measures.curves(solution)
    num_features = moments.num_features if basis is None else len(basis)
    used = first_at(curves[1], num_features)
    spread = Jackknife()
    if errors:
        how = task, tolerance, debias, measures.by_class
        spread = jackknife(moments, whole, solution, used, num_features, *how)
    return Spectrum(
        eigenvalues=to_numpy(solution.values),
        eigenvectors=to_numpy(solution.vectors if basis is None else basis @ solution.vectors),
        quality=curves[0],
        utilization=curves[1],
        low_rank_measure=measures.low_rank.of(debias),
        low_rank_measure_plain=measures.low_rank.plain,
        low_rank_measure_debiased=measures.low_rank.debiased,
        nc1=measures.nc1,
        kernel_drift=measures.kernel_drift,
        output_rank=measures.learned.rank,
        target_rank=measures.wanted.rank,
        task=task,
        classification=moments.classification and task != "multilabel",
        num_features=num_features,
        num_outputs=moments.num_outputs,
        num_samples=round(averages.n),
        tolerance=tolerance,
        trace=float(covariance.trace() + mean.square().sum()),
        square=float(whole.square().sum()),
        floor=solution.floor,
        solver=solution.solver,
        complete=solution.complete,
        debiased=debias,
        outputs_moved=outputs_moved,
        target_share=measures.target_share,
        **_bands(averages, measures, solution),
        errors=spread.errors,
        quality_error=spread.quality_error,
        utilization_error=spread.utilization_error,
        _replicates=spread.replicates,
        _coefficients=tuple(to_numpy(c) for c in measures.coefficients(solution)),
        _maps=(to_numpy(measures.wanted.map), to_numpy(measures.map_of_outputs(averages))),
    )


def _bands(averages: Averages, measures: Measures, solution: EigenDecomposition) -> dict[str, Band]:
    """Of random heads and of the lazy twin; unknown after a top-k solve."""
    if not solution.complete:
        return {}
    part = averages.columns.features
    norm = math.sqrt(averages.inner_product(part, part))
    means = solution.vectors.T @ averages.mean(part) / solution.values.sqrt()
    features = Features(to_numpy(solution.values), to_numpy(means), norm)
    wanted = to_numpy(measures.coefficients(solution)[0])
    null = random_heads(features, measures.learned.rank)
    return {"null": null, "lazy_twin": lazy_twin(features, wanted)}


def _solve(
    covariance: Tensor, mean: Tensor, measures: Measures, top: int | None, start: Any | None
) -> EigenDecomposition:
    if top is None:
        return eigh_full(covariance, mean)

    def suffices(values: Tensor, vectors: Tensor) -> bool:
        found = EigenDecomposition(values, vectors, 0.0, "", False)
        return bool(measures.curves(found)[1][-1] >= USED)

    known = None if start is None else torch.as_tensor(np.asarray(start))
    matrix = covariance + torch.outer(mean, mean)
    found = eigh_topk(matrix, top, start=known, suffices=suffices)
    if found is not None and suffices(found.values, found.vectors):
        return found
    why = "did not converge" if found is None else "do not reach 95% utilization"
    complete = eigh_full(covariance, mean)
    return replace(complete, solver=f"{complete.solver}: {top} leading {why}")


def _check(moments: Moments, task: str, errors: bool, tolerance: Any) -> None:
    """Raise ValueError for what no spectrum can be made with."""
    check_task(task, moments.num_outputs)
    if task == "cross_entropy" and not moments.classification and moments.num_samples:
        raise ValueError(
            "task='cross_entropy': the targets were no classes (rows ≥ 0 that sum to 1, or "
            "α·one-hot); must be 'multilabel' for several labels per sample, 'squared_error' for "
            "values"
        )
    if errors and moments.num_blocks < 2:
        raise ValueError(f"errors=True: needs num_blocks ≥ 2, not {moments.num_blocks}")
    known = isinstance(tolerance, (int, float, np.floating))
    if not known or not _LEAST_TOLERANCE <= tolerance < 1:
        raise ValueError(
            f"tolerance={tolerance!r}: must be a number from {_LEAST_TOLERANCE:g} to below 1"
        )
