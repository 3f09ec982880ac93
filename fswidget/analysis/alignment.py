"""Eigenfunctions that keep their sign and their place from frame to frame, for display."""

from __future__ import annotations

import numpy as np

from fswidget.analysis.arrays import Array


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
