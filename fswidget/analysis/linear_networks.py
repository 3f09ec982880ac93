"""What theory says of a linear network with one hidden layer: its eigenvalues at any time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fswidget.analysis.arrays import Array

#: How far AᵀA − BBᵀ may be from a multiple of the identity, relative to the larger of the two.
_BALANCED = 1e-4


def exact_eigenvalues(first: Any, last: Any, correlation: Any, times: Any) -> Array:
    """Eigenvalues ρ_k of the features B x of f = A B x under gradient flow, at some times.

    For whitened inputs, E[x xᵀ] = I, and weights that are balanced up to a constant,
    AᵀA − BBᵀ = λ I, which the flow keeps: λ = 0 from small weights is rich, and a large one lazy.
    With Q = [Bᵀ; A] and F = [−λ/2, Σᵀ; Σ, λ/2] the flow of the squared error is a Riccati equation,
    QQᵀ(t) = e^{Ft} Q (I + Qᵀ ∫₀ᵗ e^{2Fs} ds Q)⁻¹ Qᵀ e^{Ft} (Fukumizu 1998; Braun et al. 2022;
    Dominé et al. 2409.14623). For weights along the singular vectors of Σ these are the curves of
    Saxe et al. 2014.

    Parameters
    ----------
    first, last : array, shapes (h, d) and (C, h)
        B and A at the start.
    correlation : array, shape (C, d)
        Σ = E[y xᵀ].
    times : array, shape (T,)
        Learning rate times steps for the loss ½ E‖y − f‖², and twice that for E‖y − f‖².

    Returns
    -------
    ndarray of float64, shape (T, min(h, d))
        Descending.

    Raises
    ------
    ValueError
        If the weights are not balanced.

    Examples
    --------
    Of one mode of strength 2 that begins at 0.01 the feature's eigenvalue goes along a sigmoid:

    >>> exact_eigenvalues([[0.1]], [[0.1]], [[2.0]], [0, 1, 1.5, 3]).round(3).ravel()
    array([0.01 , 0.431, 1.339, 1.998])
    """
    b, a, sigma = (np.asarray(given, np.float64) for given in (first, last, correlation))
    apart = a.T @ a - b @ b.T
    balance = float(np.trace(apart)) / len(apart)
    size = max(np.linalg.norm(a) ** 2, np.linalg.norm(b) ** 2)
    off = float(np.linalg.norm(apart - balance * np.eye(len(apart))))
    if off > _BALANCED * size:
        raise ValueError(
            f"first, last: AᵀA − BBᵀ is {off:.2g} away from a multiple of the identity; must be "
            "balanced"
        )
    d, count = b.shape[1], min(b.shape)
    whole = np.block(
        [[-balance / 2 * np.eye(d), sigma.T], [sigma, balance / 2 * np.eye(len(sigma))]]
    )
    rates, vectors = np.linalg.eigh(whole)
    q = vectors.T @ np.vstack([b.T, a])
    product, now, found = q @ q.T, 0.0, {}
    for time in sorted({float(time) for time in np.ravel(times)}):
        # In steps over which nothing grows by more than e^5: the flow from 0 to s + t is that to s,
        # and from there by t.
        steps = max(1, math.ceil((time - now) * float(np.abs(rates).max()) / 5))
        for _ in range(steps):
            product = _flow(product, rates, (time - now) / steps)
        now = time
        values = np.linalg.eigvalsh(vectors[:d] @ product @ vectors[:d].T)
        found[time] = values[::-1][:count].clip(0)
    return np.array([found[float(time)] for time in np.ravel(times)])


def _flow(product: Array, rates: Array, time: float) -> Array:
    """QQᵀ in the eigenvectors of F after some time."""
    values, vectors = np.linalg.eigh(product)
    grown = np.exp(rates * time)[:, None] * vectors * np.sqrt(values.clip(0))
    safe = np.where(rates == 0, 1.0, rates)
    areas = np.where(rates == 0, time, -np.expm1(-2 * safe * time) / (2 * safe))
    inner = np.eye(len(values)) + grown.T @ (areas[:, None] * grown)
    after: Array = grown @ np.linalg.solve(inner, grown.T)
    return after
