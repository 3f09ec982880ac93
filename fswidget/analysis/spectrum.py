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

from fswidget.analysis.arrays import Array, as_matrix, to_numpy
from fswidget.analysis.averages import Averages
from fswidget.analysis.by_row import ByRow, ClassCenters
from fswidget.analysis.decay import alpha_req, effective_rank, rank_me
from fswidget.analysis.extrapolation import enough_per_class, tells_used_features
from fswidget.analysis.gram import householder
from fswidget.analysis.measures import first_at
from fswidget.analysis.moments import Moments
from fswidget.analysis.nulls import UNKNOWN, Band
from fswidget.analysis.regime import Regime, classify
from fswidget.analysis.targets import minimal_features


@dataclass(frozen=True, eq=False, repr=False)
class Spectrum(ByRow):
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
    low_rank_measure_weighted : float
        Plain D_LR with all expectations over classes of equal weight, whatever the counts: 0 at
        collapse. The plain one where they are equal; NaN without classes, and from `FeatureMoments`
        of unequal ones, which take ``weights``. Our choice.
    nc1 : float
        tr(Σ_W Σ_B⁺), not divided by C; NaN unless the targets name one class each, two at least
        present.
    target_share : float
        Mean squared canonical correlation of targets and outputs, adjusted for chance: 0 where the
        outputs know nothing of the targets, 1 where they hold them.
    target_alignment : float
        CKA of the features and the targets, centred, 0 to 1 (Cortes et al. 2012, of the linear
        kernel of the targets); too large where samples are few.
    nc2, nc3, cdnv : float
        0 where classes have collapsed to a simplex of equal sides, the last layer's weights point
        along its corners, and the variance within classes is gone; NaN where NC1 is. See
        `fswidget.analysis.collapse.neural_collapse`.
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
        Jackknife standard errors by name; empty unless asked for, NaN where all blocks hold the
        same samples, but for collapsed classes. Those of k95, the effective rank and NC1 are of
        their debiased estimates.
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
    low_rank_measure_weighted: float = math.nan
    outputs_moved: bool = True
    target_share: float = math.nan
    target_alignment: float = math.nan
    nc2: float = math.nan
    nc3: float = math.nan
    cdnv: float = math.nan
    null: Band = UNKNOWN
    lazy_twin: Band = UNKNOWN
    errors: Mapping[str, float] = field(default_factory=dict)
    quality_error: Array | None = None
    utilization_error: Array | None = None
    _replicates: Sequence[Mapping[str, float]] = ()
    _debiased: Mapping[str, float] | None = None  # None in spectra kept by earlier versions
    _coefficients: Sequence[Array] = ()
    _maps: Sequence[Array] = ()
    _centers: ClassCenters | None = None

    def __repr__(self) -> str:
        regime, _, _ = str(self.regime).partition(":")
        return (
            f"<Spectrum p={self.num_features} n={self.num_samples}: "
            f"D_LR={self.low_rank_measure:.3g} k95={self.used_features} "
            f"effective rank={self.effective_rank:.3g} {regime}>"
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
    def rank_me(self) -> float:
        """RankMe: exp of the entropy of √ρ / Σ√ρ, in features, 1 to p; NaN after a top-k solve.

        Garrido et al. 2023, of the singular values of Φ, which are √(n ρ), not centred. Too small
        where samples are few.
        """
        return rank_me(self.eigenvalues) if self.complete else math.nan

    @property
    def alpha_req(self) -> float:
        """α-ReQ, the exponent of ρ_k ∝ k^−α; NaN with fewer than 20 eigenvalues.

        By least squares of log ρ_k on log k with weights 1/k (Agrawal et al. 2022, as Stringer et
        al. 2019), for k from 11 to 100 or as far as they are known (our choice). Of a whole
        spectrum that ends within that, the last ones are too small where samples are few, and α too
        large.
        """
        return alpha_req(self.eigenvalues)

    @property
    def effective_rank_debiased(self) -> float:
        """The effective rank without the bias of a finite probe: of its logarithm, the entropy of
        the eigenvalues' shares, a parabola in 1/n through all samples, all but a block and half of
        them. NaN without errors, where the plain rank is more than 0.45 of the samples (over κ, for
        heavy tails: see `extrapolation.mixed`), which then do not tell, and where samples were
        drawn class by class, fewer than eight of each. Our choice."""
        return self._without_bias("effective_rank")

    @property
    def used_features_debiased(self) -> float:
        """k95 without the bias of a finite probe, from 0.95 dim Ĥ to p; p where Π̂ never reaches
        0.95.

        Removed is what halves of the samples say of the place where Π̂ crosses the level, which
        has no steps: 2 x(n) − x(n/2). ``errors["used_features"]`` is that of this estimate: in
        quadrature the jackknife's of the place, a quarter of what was removed and of what leaks
        past k95 as sampling mixes eigenfunctions (`fswidget.analysis.extrapolation.mixed`), since
        the probe does not tell how well they are known, and 1/√12, since a feature is used or not.
        NaN, value and error, without errors, where fewer than 8 samples per output function or
        2 per feature used do not tell, and where what leaks is more of the error than all the rest
        (see `used_features` there). Our choice.
        """
        return self._without_bias("used_features")

    @property
    def nc1_debiased(self) -> float:
        """NC1 without the bias of a finite probe, which may take it below 0: of class means less
        what sampling adds to them, where noise within classes has half as many directions again as
        there are classes, and then by the jackknife. NaN without errors, with fewer than two
        samples per class, and where the weakest direction between class means is no more than three
        standard deviations of what sampling adds to it, or, of other noise, than that.
        ``errors["nc1"]`` is that of this estimate, with a quarter of what the jackknife removed.
        Our choice."""
        return self._without_bias("nc1")

    def _without_bias(self, name: str) -> float:
        return (self._debiased or {}).get(name, math.nan)

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

    def classify(
        self,
        *,
        outputs_moved: bool = True,
        output_drift: float = 1.0,
        previous: str | None = None,
    ) -> Regime:
        """The regime and the evidence for it.

        Parameters
        ----------
        outputs_moved : bool, default True
            False for the untrained network: its features cannot have moved.
        output_drift : float, default 1.0
            1 − CKA, centred, of the outputs and the untrained network's; 1 where those are constant
            or unknown.
        previous : str, optional
            The label of the frame before, which stays while the replicates are divided.
        """
        plain = self.low_rank_measure_plain
        found = classify(
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
            kernel_drift_error=self.errors.get("kernel_drift", math.nan),
            output_drift=output_drift,
            outputs_moved=outputs_moved,
            k95=(self.used_features_debiased, self.errors.get("used_features", math.nan)),
        )
        return replace(found, evidence=" ".join([found.evidence, *self._withheld()]))

    def _withheld(self) -> list[str]:
        """A sentence for each value without bias that the samples do not tell."""
        found, n = [], self.num_samples
        if self.errors and self._debiased == {}:
            found.append("The samples repeat each other, which tells nothing of errors.")
        if self._debiased and math.isnan(self.used_features_debiased):
            enough = tells_used_features(self.used_features, self.output_rank, n)
            found.append(
                "How sure k95 is cannot be said: with so few samples, weaker features mix with "
                "those in use."
                if enough
                else f"Too few samples to say how sure k95 is: {n}."
            )
        if self._debiased and not math.isnan(self.nc1) and math.isnan(self.nc1_debiased):
            few = not enough_per_class(n, self.target_rank)
            why = f"{n}, of {self.target_rank} classes" if few else "classes lie too close together"
            found.append(f"Too few samples for NC1 without its bias: {why}.")
        return found

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
