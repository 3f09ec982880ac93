"""The spectrum of a network's feature map and the measures that follow from it.

Everything here is a function of `fswidget.moments.FeatureMoments`. The definitions are those of
arXiv 2410.04264, of which the abstracts were read; "our choice" in a docstring marks what is ours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fswidget import regime as regimes
from fswidget.moments import Columns, FeatureMoments, reshifted
from fswidget.regime import Regime

Array = NDArray[np.float64]

TASKS = ("cross_entropy", "squared_error")
USED = 0.95  # the level that defines k95
_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class _Averages:
    """Sample averages of one set of samples, sliced from a Gram matrix (float64, on its device)."""

    n: float
    mean: Tensor  # (d,) of z
    raw: Tensor  # (d, d) E[z zᵀ]
    centred: Tensor  # (d, d) E[z zᵀ] about the mean, with the squared norms about it too
    columns: Columns

    @classmethod
    def of(cls, gram: Tensor, shift: Tensor, columns: Columns) -> _Averages:
        n = float(gram[0, 0])
        offset = gram[0] / n
        offset = torch.where(torch.arange(len(offset), device=gram.device) == 0, 0.0, offset)
        for square in (columns.square, columns.reference_square):
            offset[square] = 0
        centred = reshifted(gram, -offset, columns) / n
        centred = (centred + centred.T) / 2
        mean = shift + offset
        return cls(n, mean, centred + torch.outer(mean, mean), centred, columns)


@dataclass(frozen=True)
class _Span:
    """An orthonormal basis q = mapᵀ u of a span of functions u(x), and what it makes of Φ."""

    map: Tensor  # (number of functions, rank)
    mean: Tensor  # (rank,) E[q]
    cross: Tensor  # (rank, p) E[q Φᵀ]
    cross_centred: Tensor  # (rank, p) E[q (Φ − E Φ)ᵀ]

    @property
    def rank(self) -> int:
        return self.map.shape[1]

    @classmethod
    def of(cls, averages: _Averages, part: slice, tolerance: float, remove_mean: bool) -> _Span:
        features = averages.columns.features
        count = part.stop - part.start
        project = torch.eye(count, dtype=torch.float64, device=averages.raw.device)
        if remove_mean:
            project -= 1 / count
        gram = project @ averages.raw[part, part] @ project
        values, vectors = torch.linalg.eigh((gram + gram.T) / 2)
        # Squared singular values of the functions; rounding cannot count as rank.
        keep = values > max(tolerance**2, count * _EPS) * values[-1]
        keep &= values > 0
        basis = project @ (vectors[:, keep] / values[keep].sqrt())
        return cls(
            basis,
            basis.T @ averages.mean[part],
            basis.T @ averages.raw[part, features],
            basis.T @ averages.centred[part, features],
        )


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
    trace : float
        Σ ρ_k over all p.
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
    floor: float
    solver: str
    debiased: bool = False
    outputs_moved: bool = True
    errors: Mapping[str, float] = field(default_factory=dict)
    quality_error: Array | None = None
    utilization_error: Array | None = None
    _replicates: Sequence[Mapping[str, float]] = ()
    _coefficients: tuple[Array, Array] = (np.zeros((0, 0)), np.zeros((0, 0)))
    _maps: tuple[Array, Array] = (np.zeros((0, 0)), np.zeros((0, 0)))

    def __repr__(self) -> str:
        return (
            f"<Spectrum p={self.num_features} n={self.num_samples}: "
            f"D_LR={self.low_rank_measure:.3g} k95={self.used_features} "
            f"effective rank={self.effective_rank:.3g} {self.regime.label}>"
        )

    @property
    def used_features(self) -> int:
        """k95 = min{k : Π̂(k) ≥ 0.95}; p where Π̂ never gets there (our choice)."""
        return _first_at(self.utilization, self.num_features)

    @property
    def participation_ratio(self) -> float:
        """(Σρ)² / Σρ²."""
        squares = float((self.eigenvalues**2).sum())
        return self.trace**2 / squares if squares > 0 else math.nan

    @property
    def effective_rank(self) -> float:
        """exp of the entropy of ρ/Σρ, in features."""
        return _effective_rank(self.eigenvalues)

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
        ValueError
            If `k` exceeds the number of eigenvalues, or the features have another width.
        """
        count = len(self.eigenvalues) if k is None else k
        if not 0 <= count <= len(self.eigenvalues):
            raise ValueError(f"k={k!r}: must lie in 0..{len(self.eigenvalues)}")
        if isinstance(features, Tensor):
            features = features.detach().to("cpu", torch.float64).numpy()
        matrix = np.asarray(features, np.float64)
        if matrix.ndim != 2 or matrix.shape[1] != self.num_features:
            raise ValueError(f"features: shape {matrix.shape}; must be (n, {self.num_features})")
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
        other = _averages(moments)
        scaled = self.eigenvectors / np.sqrt(self.eigenvalues)
        raw, part = other.raw.cpu().numpy(), other.columns
        gram = scaled.T @ raw[part.features, part.features] @ scaled
        curves = []
        for where, basis, coefficients in zip(
            (part.targets, part.outputs), self._maps, self._coefficients, strict=True
        ):
            total = float(np.trace(basis.T @ raw[where, where] @ basis))
            cross = basis.T @ raw[where, part.features] @ scaled
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
    targets : tensor or array, shape (n,) of int or (n, d) of float
        Class labels, or one-hot rows or regression targets.
    task : {"cross_entropy", "squared_error"}
        Whether a common shift of the outputs counts.
    debias : bool, default False
        Whether `low_rank_measure` is the debiased estimate.
    reference : tensor or array, shape (n, p_0), optional
        Features of the untrained network on the same samples, for the kernel drift.
    errors : bool, default True
        Whether to compute jackknife errors over 8 blocks.
    tolerance : float, default 1e-5
        Relative singular value below which a direction does not count for a rank.

    Raises
    ------
    ValueError
        On wrong shapes, an unknown task, or values that are not finite.
    """
    features, outputs, targets = (_array(value) for value in (features, outputs, targets))
    if features.ndim != 2:
        raise ValueError(f"features: shape {tuple(features.shape)}; must be (n, p)")
    if outputs.ndim == 1:
        outputs = outputs[:, None]
    if outputs.ndim != 2:
        raise ValueError(f"outputs: shape {tuple(outputs.shape)}; must be (n, C)")
    labels = targets.ndim == 1 and not targets.is_floating_point()
    num_targets = outputs.shape[1] if labels else math.prod(targets.shape[1:])
    if labels and targets.numel():
        num_targets = max(num_targets, int(targets.max()) + 1)
    reference = None if reference is None else _array(reference)
    moments = FeatureMoments(
        features.shape[1],
        outputs.shape[1],
        num_targets,
        num_reference=0 if reference is None else reference.shape[1],
        num_blocks=min(8, max(features.shape[0], 1)) if errors else 1,
        device=features.device,
    )
    moments.update(features, outputs, targets, reference)
    return moments.spectrum(
        task, debias=debias, errors=errors and moments.num_blocks > 1, tolerance=tolerance
    )


def _array(value: Any) -> Tensor:
    return value.detach() if isinstance(value, Tensor) else torch.as_tensor(np.asarray(value))


def _averages(moments: FeatureMoments) -> _Averages:
    if moments._shift is None:
        raise ValueError("moments: no samples; call update first")
    return _Averages.of(moments._gram.sum(0), moments._shift, moments._columns)


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
) -> Spectrum:
    """The work of `FeatureMoments.spectrum`, which documents it."""
    if task not in TASKS:
        raise ValueError(f"task={task!r}: must be one of {', '.join(TASKS)}")
    if not 0 < tolerance < 1:
        raise ValueError(f"tolerance={tolerance!r}: must lie between 0 and 1")
    if errors and moments.num_blocks < 2:
        raise ValueError(f"errors=True: needs num_blocks ≥ 2, not {moments.num_blocks}")
    point = _measure(_averages(moments), moments, task, debias, tolerance)
    point = replace(point, outputs_moved=outputs_moved)
    return _with_errors(point, moments, debias) if errors else point


def _measure(
    averages: _Averages, moments: FeatureMoments, task: str, debias: bool, tolerance: float
) -> Spectrum:
    columns = averages.columns
    values, vectors, solver = _solve(averages.raw[columns.features, columns.features])
    trace = float(values.clamp(min=0).sum())
    floor = _floor(values)
    keep = values > floor
    values, vectors = values[keep], vectors[:, keep]

    learned = _Span.of(averages, columns.outputs, tolerance, task == "cross_entropy")
    wanted = _Span.of(averages, columns.targets, tolerance, False)
    coefficients = [(span.cross @ vectors) / values.sqrt() for span in (wanted, learned)]
    quality, utilization = (_cumulative(c) for c in coefficients)
    plain, debiased = _low_rank_measures(averages, learned)
    return Spectrum(
        eigenvalues=_numpy(values),
        eigenvectors=_numpy(vectors),
        quality=quality,
        utilization=utilization,
        low_rank_measure=debiased if debias else plain,
        low_rank_measure_debiased=debiased,
        nc1=_nc1(averages, tolerance) if moments.classification else math.nan,
        kernel_drift=_kernel_drift(averages),
        output_rank=learned.rank,
        target_rank=wanted.rank,
        task=task,
        classification=moments.classification,
        num_features=moments.num_features,
        num_outputs=moments.num_outputs,
        num_samples=round(averages.n),
        tolerance=tolerance,
        trace=trace,
        floor=floor,
        solver=solver,
        debiased=debias,
        _coefficients=(_numpy(coefficients[0]), _numpy(coefficients[1])),
        _maps=(_numpy(wanted.map), _numpy(learned.map)),
    )


def _solve(matrix: Tensor) -> tuple[Tensor, Tensor, str]:
    values, vectors = torch.linalg.eigh(matrix)
    return values.flip(0), vectors.flip(1), f"full eigh, float64, {matrix.device.type}"


def _floor(values: Tensor) -> float:
    return max(float(values[0]), 0.0) * len(values) * _EPS


def _cumulative(coefficients: Tensor) -> Array:
    rank = coefficients.shape[0]
    if rank == 0:
        return np.full(coefficients.shape[1], math.nan)
    return np.minimum(_numpy(coefficients.square().sum(0).cumsum(0)) / rank, 1.0)


def _first_at(curve: Array, otherwise: int) -> int:
    # A head that is linear in Φ reaches the level exactly up to rounding.
    reached = np.flatnonzero(curve >= USED - 1e-12)
    return int(reached[0]) + 1 if len(reached) else otherwise


def _effective_rank(values: Array) -> float:
    if not len(values):
        return math.nan
    share = values / values.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def _low_rank_measures(averages: _Averages, learned: _Span) -> tuple[float, float]:
    """D_LR, plain and debiased."""
    features, n, rank = averages.columns.features, averages.n, learned.rank
    covariance = averages.centred[features, features]
    constant = float(learned.mean.square().sum())  # share of the constant that Ĥ expresses
    norm = float(covariance.square().sum())
    total = float(covariance.trace())
    explained = float(learned.cross_centred.square().sum())
    span_norm = max(rank - 1 + (1 - constant) ** 2, 0.0)
    scale = float(averages.raw[features, features].trace())
    if total <= _EPS * len(covariance) * scale or rank == 0 or span_norm < 1e-12:
        return math.nan, math.nan
    plain = 1 - explained / math.sqrt(span_norm * norm)

    # Debiased: ‖Cov Φ‖² by its U-statistic, the explained part as in the adjusted R².
    square = averages.columns.square
    freedom = n - 1 - rank + constant
    if n <= 3 or freedom <= 0:
        return min(max(plain, 0.0), 1.0), math.nan
    norm = _unbiased_product(n, norm, averages.centred, square, square)
    residual = max(total - explained, 0.0)
    explained = (explained - (rank - constant) * residual / freedom) * n / (n - 1)
    outside = min((1 - constant) * n / (n - rank), 1.0)
    span_norm = rank - 1 + outside**2
    debiased = 1 - explained / math.sqrt(span_norm * norm) if norm > 0 else math.nan
    return min(max(plain, 0.0), 1.0), debiased


def _unbiased_product(n: float, product: float, centred: Tensor, i: int, j: int) -> float:
    """U-statistic of ⟨Cov, Cov'⟩ (Song et al. 2012, eq. 4), from the norms about the mean."""
    squares = n * float(centred[i, j])
    sums = n * float(centred[0, i]) * n * float(centred[0, j])
    return (n * n * product - squares * n / (n - 2) + sums / ((n - 1) * (n - 2))) / (n * (n - 3))


def _kernel_drift(averages: _Averages) -> float:
    features, reference = averages.columns.features, averages.columns.reference
    if reference.start == reference.stop:
        return math.nan
    centred = averages.centred
    cross = float(centred[features, reference].square().sum())
    norms = float(centred[features, features].norm() * centred[reference, reference].norm())
    return min(max(1 - cross / norms, 0.0), 1.0) if norms > 0 else math.nan


def _nc1(averages: _Averages, tolerance: float) -> float:
    """tr(Σ_W Σ_B⁺) through the C-dimensional side: Σ_B = B Bᵀ with B the scaled class means."""
    columns = averages.columns
    share = averages.mean[columns.targets]
    present = share > 0
    if int(present.sum()) < 2:
        return math.nan
    share = share[present]
    sums = averages.centred[columns.features, columns.targets][:, present]
    means = sums / share  # class means about the global mean
    between = means / math.sqrt(len(share))
    values, vectors = torch.linalg.eigh(between.T @ between)
    keep = values > max(tolerance**2, len(share) * _EPS) * values[-1]
    if not bool(keep.any()) or float(values[-1]) <= 0:
        return math.nan
    covariance = averages.centred[columns.features, columns.features]
    # tr(Σ_W B (BᵀB)⁺² Bᵀ) on the axes of BᵀB
    axes = between @ (vectors[:, keep] / values[keep])
    total = (axes * (covariance @ axes)).sum()
    ours = ((means.T @ axes).square() * share[:, None]).sum()
    return max(float(total - ours), 0.0)


def _with_errors(point: Spectrum, moments: FeatureMoments, debias: bool) -> Spectrum:
    """Leave-one-block-out jackknife."""
    assert moments._shift is not None
    total = moments._gram.sum(0)
    replicates: list[Mapping[str, float]] = []
    curves: list[tuple[Array, Array]] = []
    for gram in moments._gram:
        if float(gram[0, 0]) == 0:
            continue
        averages = _Averages.of(total - gram, moments._shift, moments._columns)
        part = _measure(averages, moments, point.task, debias, point.tolerance)
        replicates.append(
            {
                name: float(getattr(part, name))
                for name in (
                    "low_rank_measure",
                    "low_rank_measure_debiased",
                    "used_features",
                    "effective_rank",
                    "participation_ratio",
                    "nc1",
                    "kernel_drift",
                )
            }
        )
        size = len(point.eigenvalues)
        curves.append((_fit(part.quality, size), _fit(part.utilization, size)))
    if len(replicates) < 2:
        return point
    errors = {
        name: float(_jackknife_error([replicate[name] for replicate in replicates]))
        for name in replicates[0]
    }
    return replace(
        point,
        errors=MappingProxyType(errors),
        quality_error=_jackknife_error([curve[0] for curve in curves]),
        utilization_error=_jackknife_error([curve[1] for curve in curves]),
        _replicates=tuple(replicates),
    )


def _fit(curve: Array, size: int) -> Array:
    """A cumulative curve at another length: flat beyond its end."""
    if not len(curve):
        return np.full(size, math.nan)
    return curve[np.minimum(np.arange(size), len(curve) - 1)]


def _jackknife_error(replicates: Sequence[Any]) -> Any:
    values = np.asarray(replicates)
    count = len(values)
    return np.sqrt((count - 1) / count * ((values - values.mean(0)) ** 2).sum(0))


def _numpy(tensor: Tensor) -> Array:
    return tensor.cpu().numpy()


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
    averages = _averages(moments)
    rows = []
    for tolerance in tolerances:
        span = _Span.of(averages, averages.columns.outputs, tolerance, task == "cross_entropy")
        rows.append((tolerance, span.rank, *_low_rank_measures(averages, span)))
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
