"""What the decay of eigenvalues says in one number."""

from __future__ import annotations

import math

import numpy as np

from fswidget.analysis.arrays import Array


def alpha_req(values: Array) -> float:
    """−slope of log ρ_k over log k, k from 11 to 100 at most, weighted by 1/k."""
    ranks = np.arange(11, min(len(values), 100) + 1)
    if len(ranks) < 10:
        return math.nan
    # polyfit's weights multiply residuals, so that they enter squared.
    fitted = np.polyfit(np.log(ranks), np.log(values[ranks - 1]), 1, w=ranks**-0.5)
    return float(-fitted[0])


def rank_me(values: Array) -> float:
    """exp of the entropy of the singular values' shares, √ρ / Σ√ρ."""
    return effective_rank(np.sqrt(values))


def effective_rank(values: Array) -> float:
    """exp of the entropy of the eigenvalues' shares."""
    if not len(values):
        return math.nan
    share = values / values.sum()
    return float(np.exp(-(share * np.log(share)).sum()))
