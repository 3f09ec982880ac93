"""How strong each feature is, and how good: intensity and quality, feature by feature."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fswidget.recording.frame import Frame

#: So many of the strongest features are compared, the first left out: it is often the constant.
_COMPARED = 64

Array = NDArray[np.float64]


def strengths(frame: Frame) -> tuple[Array, Array]:
    """Intensity ρ_k/ρ_1 and quality Π*(k) − Π*(k − 1) of each feature, shape (K,) each.

    The latter is ‖P_{H*} e_k‖² / dim H*, the share of the targets that feature k alone expresses;
    all of them sum to the quality of all features.

    Examples
    --------
    >>> frame = fs.Frame(0, 0, {}, {}, {"eigenvalues": [4.0, 1.0], "quality": [0.5, 0.75]})
    >>> [values.tolist() for values in strengths(frame)]
    [[1.0, 0.25], [0.5, 0.25]]
    """
    values = frame.eigenvalues.astype(np.float64)
    return values / values[:1], np.diff(frame.quality.astype(np.float64), prepend=0.0)


def agreement(frame: Frame) -> float:
    """Whether stronger features are better ones: Spearman's rank correlation of their intensity and
    quality, over features 2 to 64.

    From −1 to 1; NaN with fewer than three such features, or where all are as good. Our choice, for
    the paper's claim that quality grows with intensity during training. Frames have it as
    ``quality_agreement``.

    Examples
    --------
    >>> arrays = {"eigenvalues": [9, 4, 3, 2, 1], "quality": [0.1, 0.5, 0.8, 0.9, 0.92]}
    >>> agreement(fs.Frame(0, 0, {}, {}, arrays))
    1.0
    """
    return agreement_of(frame.quality)


def agreement_of(quality: ArrayLike) -> float:
    """The same of a cumulative quality, shape (K,), whose eigenvalues descend."""
    cumulated = np.asarray(quality, np.float32).astype(np.float64)  # as frames keep it
    each = np.diff(cumulated, prepend=0.0)[1:_COMPARED]
    values, at, counts = np.unique(-each, return_inverse=True, return_counts=True)
    if len(each) < 3 or len(values) < 2:
        return math.nan
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[at]  # those of equal ones on the mean
    # Eigenvalues descend, so that their ranks are known.
    return float(np.corrcoef(np.arange(len(ranks)), ranks)[0, 1].round(12))
