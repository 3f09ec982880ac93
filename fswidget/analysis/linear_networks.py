"""What theory says of linear networks: the eigenvalues of their features at any time."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fswidget.analysis.arrays import Array

#: How far AᵀA − BBᵀ may be from a multiple of the identity, relative to the larger of the two.
_BALANCED = 1e-4

#: How far one step of the integration goes, of the time in which the fastest mode would grow by e.
_STEP = 0.25


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


class BalancedFlow:
    """Gradient flow of a deep linear network f = W_L … W_1 x under the squared error, from balanced
    weights, W_{l+1}ᵀ W_{l+1} = W_l W_lᵀ, at whatever depth and for whatever inputs.

    The product W = W_L … W_1 then follows a flow of its own, whatever the layers' width (Arora,
    Cohen and Hazan 2018, theorem 1), dW/dt = Σ_j (WWᵀ)^((j−1)/L) (Σ − W C) (WᵀW)^((L−j)/L) with
    C = E[x xᵀ] and Σ = E[y xᵀ], and its features B = W_{L−1} … W_1 have BᵀB = (WᵀW)^((L−1)/L). The
    flow is integrated (Runge and Kutta's fourth order). For whitened inputs and two layers it is
    that of `exact_eigenvalues` with λ = 0.

    Parameters
    ----------
    weights : sequence of L ≥ 2 arrays
        W_1, … W_L at the start.
    second : array, shape (d, d)
        C.
    correlation : array, shape (outputs, d)
        Σ.

    Attributes
    ----------
    time : float
        As `exact_eigenvalues` counts it.

    Raises
    ------
    ValueError
        If the weights are fewer than two, or not balanced.

    Examples
    --------
    >>> flow = BalancedFlow([[[0.1]], [[0.1]]], [[1.0]], [[2.0]])
    >>> [float(flow.at(time)[0].round(3)) for time in (0, 1, 1.5, 3)]
    [0.01, 0.431, 1.339, 1.998]
    """

    def __init__(self, weights: Sequence[Any], second: Any, correlation: Any) -> None:
        layers = [np.asarray(given, np.float64) for given in weights]
        if len(layers) < 2:
            raise ValueError(f"weights: {len(layers)} layers; must be two or more")
        for number, (below, above) in enumerate(itertools.pairwise(layers), 1):
            off = float(np.linalg.norm(above.T @ above - below @ below.T))
            if off > _BALANCED * max(np.linalg.norm(below), np.linalg.norm(above)) ** 2:
                raise ValueError(
                    f"weights: W_{number + 1}ᵀW_{number + 1} − W_{number}W_{number}ᵀ is {off:.2g} "
                    "away from 0; must be balanced"
                )
        self.time, self._depth = 0.0, len(layers)
        self._product: Array = functools.reduce(lambda below, above: above @ below, layers)
        self._second = np.asarray(second, np.float64)
        self._correlation = np.asarray(correlation, np.float64)
        self._fastest = float(np.linalg.eigvalsh(self._second)[-1])

    def at(self, time: float, second: Any = None) -> Array:
        """Eigenvalues of E[B x (B x)ᵀ] after some time, descending, shape (min(outputs, d),).

        Parameters
        ----------
        time : float
            No less than at the call before.
        second : array, shape (d, d), optional
            E[x xᵀ] of the samples that the features are measured on; C if not given.

        Raises
        ------
        ValueError
            If the flow has gone past this time.
        """
        if time < self.time:
            raise ValueError(f"time={time:g}: the flow is at {self.time:g}; must be no less")
        while self.time < time:
            largest = float(np.linalg.norm(self._product, 2))
            force = np.linalg.norm(self._correlation - self._product @ self._second)
            rate = self._depth * largest ** (1 - 2 / self._depth)
            rate *= largest * self._fastest + float(force)
            self._advance(min(_STEP / max(rate, 1e-99), time - self.time))
        _, values, right = np.linalg.svd(self._product, full_matrices=False)
        half = values[:, None] ** (1 - 1 / self._depth) * right
        gram = half @ (self._second if second is None else np.asarray(second, np.float64)) @ half.T
        return np.linalg.eigvalsh(gram)[::-1].clip(0)

    def _advance(self, step: float) -> None:
        start = self._product
        slopes = [self._slope(start)]
        for share in (0.5, 0.5, 1.0):
            slopes.append(self._slope(start + share * step * slopes[-1]))
        first, second, third, last = slopes
        self._product = start + step / 6 * (first + 2 * second + 2 * third + last)
        self.time += step

    def _slope(self, product: Array) -> Array:
        """dW/dt, of which the powers of 0 on either side are the identity."""
        left, values, right = np.linalg.svd(product, full_matrices=False)
        force = self._correlation - product @ self._second
        total = np.zeros_like(product)
        for before in range(self._depth):
            part, after = force, self._depth - 1 - before
            if before:
                part = left @ (values[:, None] ** (2 * before / self._depth) * (left.T @ part))
            if after:
                part = (part @ right.T * values ** (2 * after / self._depth)) @ right
            total += part
        return total
