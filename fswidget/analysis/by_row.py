"""Measures that need the samples one by one, and no moments can give."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fswidget.analysis.arrays import Array, as_matrix, check_rows
from fswidget.analysis.targets import read_targets

_NUMBERS = 4_000_000  # held at once
_ROUNDING = 1e-24  # of the squares of class means: they are one point


@dataclass(frozen=True)
class ClassCenters:
    """Where the classes of the probe lie, and what outputs are made of.

    Parameters
    ----------
    names : ndarray of int, shape (K,)
        The classes that are there.
    means : ndarray, shape (K, p)
    coefficients : ndarray, shape (C, N), or None
        ⟨f̂_c|e_k⟩; for cross-entropy of the logits less their common shift. Not kept of outputs so
        many that fewer numbers hold what they do.
    single : bool
        Whether a single logit tells two classes apart.
    """

    names: NDArray[np.int64]
    means: Array
    coefficients: Array | None
    single: bool

    def nearest(self, features: Tensor) -> Tensor:
        """The class whose mean is nearest to each row of `features`, shape (n,) of int64."""
        means = torch.as_tensor(self.means)
        centre = means.mean(0)  # beside a large common offset squares would lose their digits
        rows, means = features.double().cpu() - centre, means - centre
        near = (rows @ means.T - means.square().sum(1) / 2).argmax(1)
        return torch.as_tensor(self.names)[near]

    @property
    def differ(self) -> bool:
        """Whether there are two class means that differ by more than rounding."""
        apart = self.means - self.means[:1]
        return bool((apart**2).sum() > _ROUNDING * (self.means**2).sum())

    def guesses(self, outputs: Tensor) -> Tensor:
        """The class that each row of `outputs`, shape (n, C, …), names; shape (n, …) of int64."""
        return (outputs[:, 0] > 0).long() if self.single else outputs.argmax(1)

    def hits(self, points: Array, outputs: Tensor, labels: Tensor) -> Array:
        """How many rows are right with the first 1 … N eigenfunctions alone, shape (N,).

        Parameters
        ----------
        points : ndarray, shape (n, N)
            Values of the eigenfunctions.
        outputs : Tensor, shape (n, C)
        labels : Tensor of int, shape (n,)
        """
        assert self.coefficients is not None
        outputs, labels = outputs.double().cpu(), labels.cpu()
        if not self.single:
            outputs = outputs - outputs.mean(1, keepdim=True)
        values, shares = torch.as_tensor(points), torch.as_tensor(self.coefficients)
        rest = outputs - values @ shares.T  # what no eigenfunction expresses stays
        count = torch.zeros(values.shape[1], dtype=torch.int64)
        step = max(_NUMBERS // max(shares.numel(), 1), 1)
        for start in range(0, len(values), step):
            some = slice(start, start + step)
            kept = (values[some, None] * shares).cumsum_(2).add_(rest[some, :, None])
            count += (self.guesses(kept) == labels[some, None]).sum(0)
        return np.asarray(count.numpy())


class ByRow:
    """What a `Spectrum` says of samples that it is given one by one."""

    task: str
    num_features: int
    num_outputs: int
    _centers: ClassCenters | None

    def eigenfunctions(self, features: Any, k: int | None = None) -> Array:
        raise NotImplementedError

    @property
    def truncates(self) -> bool:
        """Whether `truncated_accuracy` can be told."""
        return self._centers is not None and self._centers.coefficients is not None

    def centers_without_outputs(self, there: Tensor | None) -> ClassCenters | None:
        """Of fewer outputs than were given, and of the classes `there`, on the CPU, by their own
        names."""
        if self._centers is None:
            return None
        names = self._centers.names
        names = names if there is None else there.numpy()[names]
        return replace(self._centers, names=names, coefficients=None)

    def nc4_of(self, features: Any, outputs: Any) -> float:
        """Share of samples whose nearest class mean is not the class that the network names.

        0 at neural collapse, its fourth property (Papyan et al. 2020), to 1. Class means are the
        probe's: on the probe itself the share is too small where samples are few, on held-out ones
        it is not.

        Parameters
        ----------
        features : tensor or array, shape (n, p)
        outputs : tensor or array, shape (n, C)

        Returns
        -------
        float
            NaN where the targets did not name one class each, and below two distinct class means.
        """
        if self._centers is None or not self._centers.differ:
            return math.nan
        rows = as_matrix("features", features, self.num_features)
        named = as_matrix("outputs", outputs, self.num_outputs)
        check_rows(features=rows, outputs=named)
        guesses = self._centers.guesses(named).cpu()
        return float((self._centers.nearest(rows) != guesses).double().mean())

    def truncated_accuracy(self, features: Any, outputs: Any, targets: Any) -> Array:
        """Accuracy of the network when only its first k eigenfunctions are kept, for every k.

        Of f̂ − Σ_{j>k} ⟨f̂|e_j⟩ e_j, with coefficients from the probe; so the last is the accuracy of
        the network itself, and what no eigenfunction expresses, as a bias may, is always there.
        Which features carry the answers, beside `utilization`, which says which carry the outputs.
        Our choice.

        Parameters
        ----------
        features : tensor or array, shape (n, p)
        outputs : tensor or array, shape (n, C)
        targets : tensor or array
            Classes, as `analyze` takes them.

        Returns
        -------
        ndarray of float64, shape (K,)
            From 0 to 1.

        Raises
        ------
        ValueError
            Where the targets do not name one class each, the outputs were more than twice the
            samples or the features and 1, or arguments have other numbers of rows.

        Examples
        --------
        >>> random, labels = np.random.default_rng(0), np.arange(300) % 3
        >>> features = random.normal(size=(300, 20)) + 5 * np.eye(3, 20)[labels]
        >>> spectrum = fs.analyze(features, features[:, :3], labels)
        >>> spectrum.truncated_accuracy(features, features[:, :3], labels)[[0, 2, 19]].round(2)
        array([0.61, 1.  , 1.  ])
        """
        read = read_targets(targets, self.task, self.num_outputs)
        if self._centers is None or read.labels is None:
            raise ValueError("targets: are values; must name one class each")
        if not self.truncates:
            raise ValueError(
                f"outputs: {self.num_outputs}; must be at most twice the samples, or the features "
                "and 1"
            )
        rows = as_matrix("outputs", outputs, self.num_outputs)
        points = self.eigenfunctions(features)
        check_rows(features=points, outputs=rows, targets=read.labels)
        hits = self._centers.hits(points, rows, read.labels)
        return np.asarray(hits / len(rows))
