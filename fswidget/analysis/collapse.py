"""Neural collapse in class means, outputs and variances: NC1 to NC3 and CDNV, from moments."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from fswidget.analysis.arrays import Array, to_numpy
from fswidget.analysis.averages import Averages, ClassMeans
from fswidget.analysis.gram import householder
from fswidget.analysis.targets import Coding


@dataclass(frozen=True)
class Collapse:
    """How far K classes are from neural collapse; every number is 0 there, NaN below two classes.

    Parameters
    ----------
    nc1 : float
        tr(Σ_W Σ_B⁺), 0 to ∞ (Papyan et al. 2020, not divided by C).
    nc2 : float
        ‖G/‖G‖_F − H/√(K−1)‖_F, 0 to √2, with G = MᵀM for the class means M less their mean and
        H = I − 11ᵀ/K: whether the means form a simplex of equal sides (Zhu et al. 2021, of features
        in place of weights). Always 0 for two classes.
    nc3 : float
        ‖A/‖A‖_F − H/√(K−1)‖_F, 0 to 2, with A = W M, the mean outputs of the classes less their
        mean: whether each class's weights point along its mean (Zhu et al. 2021). For
        cross-entropy less the common shift of the logits too. NaN unless each output has a class
        that is there.
    cdnv : float
        Mean over pairs of classes of (σ_c² + σ_c'²) / (2 ‖μ_c − μ_c'‖²), 0 to ∞, with
        σ_c² = E[‖Φ − μ_c‖² | c] (Galanti et al. 2022).
    """

    nc1: float = math.nan
    nc2: float = math.nan
    nc3: float = math.nan
    cdnv: float = math.nan

    @classmethod
    def of(
        cls,
        averages: Averages,
        classes: ClassMeans,
        coding: Coding,
        *,
        tolerance: float,
        common_shift: bool,
    ) -> Collapse:
        """Of the samples in `averages`, whose targets name classes one by one."""
        count = len(classes.share)
        if count < 2:
            return cls()
        step, columns = coding.high - coding.low, averages.columns
        square = averages.square_about_mean(columns.square, columns.features)
        squares = square @ averages.about[:, columns.targets][:, classes.present]
        squares -= coding.low * (square @ averages.about[:, 0])
        outputs = averages.covariance(columns.outputs, columns.targets)[:, classes.present]
        outputs = householder(outputs / classes.share)
        # Small, and read at once: a GPU waits for each.
        small = torch.cat([classes.gram, (squares / classes.share)[None], outputs]) / step
        found = to_numpy(small)
        gram = found[:count] * step
        variances = np.maximum(found[count] - gram.diagonal(), 0)
        return cls(
            classes.nc1(tolerance),
            _from_simplex(_centred(_centred(gram).T)),
            _duality(found[count + 1 :], common_shift),
            _cdnv(gram, variances),
        )


def _centred(columns: Array) -> Array:
    """Columns less their mean."""
    return np.asarray(columns - columns.mean(1, keepdims=True))


def _from_simplex(matrix: Array) -> float:
    """How far a K × K matrix is from a multiple, above 0, of I − 11ᵀ/K."""
    count, size = len(matrix), float(np.linalg.norm(matrix))
    simplex = (np.eye(count) - 1 / count) / math.sqrt(count - 1)
    return float(np.linalg.norm(matrix / size - simplex)) if size > 0 else math.nan


def _duality(outputs: Array, common_shift: bool) -> float:
    if len(outputs) != outputs.shape[1]:
        return math.nan
    matrix = _centred(outputs)
    return _from_simplex(_centred(matrix.T) if common_shift else matrix)


def _cdnv(gram: Array, variances: Array) -> float:
    a, b = np.triu_indices(len(gram), 1)
    size = gram.diagonal()
    apart, spread = size[a] + size[b] - 2 * gram[a, b], variances[a] + variances[b]
    # As for NC1: means that differ by little more than rounding do not differ.
    told = (apart > 1e-13 * (size[a] + size[b])) & (apart > 1e-24 * spread)
    return float(np.mean(spread / (2 * apart))) if told.all() else math.nan
