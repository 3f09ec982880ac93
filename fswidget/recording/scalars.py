"""The scalars of a frame, with their units."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

#: Every scalar that a frame may carry: its unit and what it says.
SCALARS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "loss": ("loss", "training loss, mean over the samples since the last frame"),
        "train_accuracy": ("fraction", "accuracy on the probe"),
        "test_accuracy": ("fraction", "accuracy on held-out samples"),
        "train_label_accuracy": ("fraction", "share of labels right on the probe, over all labels"),
        "test_label_accuracy": ("fraction", "the same on held-out samples"),
        "train_r2": ("R²", "coefficient of determination on the probe"),
        "test_r2": ("R²", "coefficient of determination on held-out samples"),
        "low_rank_measure": (
            "D_LR",
            "low-rank measure, 0 rich to 1 lazy: the paper's plain estimate",
        ),
        "low_rank_measure_error": ("D_LR", "jackknife standard error of the plain D_LR"),
        "low_rank_measure_weighted": (
            "D_LR",
            "plain low-rank measure with classes of equal weight, where they are not equally many",
        ),
        "low_rank_measure_debiased": (
            "D_LR",
            "low-rank measure, 0 rich to 1 lazy, without the bias of a finite probe",
        ),
        "low_rank_measure_debiased_error": (
            "D_LR",
            "jackknife standard error of the debiased D_LR",
        ),
        "used_features": ("features", "k95: features that hold 95% of what the last layer uses"),
        "used_features_debiased": (
            "features",
            "k95 without the bias of a finite probe, where that tells",
        ),
        "used_features_error": ("features", "standard error of k95, once that is debiased"),
        "low_rank_measure_held_out": ("D_LR", "the paper's plain D_LR of held-out samples"),
        "used_features_held_out": ("features", "k95 on held-out samples"),
        "mean_layer_low_rank_measure": (
            "D_LR",
            "plain D_LR, mean over the watched layers of features",
        ),
        "mean_layer_low_rank_measure_debiased": (
            "D_LR",
            "debiased D_LR, mean over the watched layers of features",
        ),
        "effective_rank": ("features", "exponential of the entropy of the eigenvalues"),
        "effective_rank_error": (
            "features",
            "standard error of the effective rank, once that is debiased",
        ),
        "rank_me": ("features", "exponential of the entropy of the singular values, RankMe"),
        "participation_ratio": ("features", "(Σρ)²/Σρ²"),
        "output_rank": ("dimensions", "rank of the span of the learned functions"),
        "nc1": ("ratio", "neural collapse: variability within against between classes"),
        "nc1_debiased": (
            "ratio",
            "NC1 without the bias of a finite probe, – where too few samples do not tell it: the "
            "regime's sentence says why",
        ),
        "nc1_held_out": ("ratio", "NC1 on held-out samples"),
        "nc2": ("distance", "neural collapse: class means against a simplex of equal sides"),
        "nc3": ("distance", "neural collapse: last layer's weights against the class means"),
        "nc4": ("fraction", "neural collapse: nearest class mean against what the network names"),
        "cdnv": ("ratio", "variance within classes against the distances between them"),
        "cdnv_held_out": ("ratio", "the same on held-out samples"),
        "target_alignment": ("CKA", "how alike features and targets tell samples apart"),
        "alpha_req": ("exponent", "how steeply eigenvalues fall, α-ReQ"),
        "nc1_error": ("ratio", "standard error of NC1, once that is debiased"),
        "kernel_drift": ("1 − CKA", "how far the features moved from the first frame"),
        "output_drift": ("1 − CKA", "how far the outputs moved from the first frame"),
        "target_share": ("fraction", "how much of the targets' variance the outputs hold"),
        "null_used_features": ("features", "k95 of random heads on the same features"),
        "null_low_rank_measure": ("D_LR", "plain D_LR of random heads on the same features"),
        "twin_used_features": (
            "features",
            "k95 of the lazy twin: the first features with a new last layer",
        ),
        "twin_low_rank_measure": ("D_LR", "plain D_LR of the lazy twin"),
        "quality_total": ("fraction", "how much of the targets all features together express"),
        "quality_total_held_out": ("fraction", "the same on held-out samples"),
        "quality_agreement": (
            "correlation",
            "rank correlation of the features' quality and intensity, over features 2 to 64",
        ),
        "top_share": ("fraction", "share of the trace in the C largest eigenvalues"),
        "regime_confidence": ("fraction", "probability of the regime, as k95 and drift are known"),
        "eigenvalue_scale": (
            "",
            "what a frame's eigenvalues were divided by, where float32 could not hold them",
        ),
        "theory_error": (
            "ratio",
            "largest difference of an eigenvalue from that of theory, over the latter",
        ),
        "weight_change": ("ratio", "‖θ − θ₀‖ / ‖θ₀‖, from the untrained network"),
        "ntk_drift": ("1 − CKA", "how far the tangent kernel moved from the untrained network's"),
        "ntk_alignment": ("CKA", "how alike the tangent kernel and the targets tell samples apart"),
        "parameter_norm_squared": ("‖θ‖²", "sum of the squared parameters"),
        "lr": ("per step", "learning rate"),
        "seconds": ("s", "wall time since the run began"),
        "analysis_seconds": ("s", "wall time of this frame's analysis"),
    }
)

#: The estimates of D_LR, the best one first: a small probe makes the plain one too small.
ESTIMATES = ("low_rank_measure_debiased", "low_rank_measure")


def best_estimate(known: Mapping[str, Any], prefix: str = "") -> str:
    """The best estimate of D_LR that `known` has a finite number of; the plain one where none is.

    Parameters
    ----------
    known : mapping of str to float or ndarray
    prefix : str
        What stands before the names there.
    """
    for name in ESTIMATES:
        if np.isfinite(known.get(f"{prefix}{name}", np.nan)).any():
            return name
    return ESTIMATES[-1]


def mean_over_layers(scalars: Mapping[str, float], arrays: Mapping[str, Any], name: str) -> float:
    """A frame's mean of D_LR over layers; in recordings of earlier versions, which have none, over
    all layers that it has; NaN where none has it.

    Examples
    --------
    >>> mean_over_layers({}, {"layer_low_rank_measure": np.array([0.5, np.nan, 0.1])}, ESTIMATES[1])
    0.3
    """
    values = np.asarray(arrays.get(f"layer_{name}", ()), np.float64)
    known = values[np.isfinite(values)]
    return scalars.get(f"mean_layer_{name}", float(known.mean()) if known.size else math.nan)
