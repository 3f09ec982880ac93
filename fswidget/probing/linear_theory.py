"""Where theory knows the eigenvalues of a network that trains: linear, with balanced weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from fswidget.analysis.linear_networks import BalancedFlow
from fswidget.recording.frame import Frame

#: With more inputs than this the flow takes longer than the training (our choice).
_MOST_INPUTS = 1024


class LinearTheory:
    """The exact eigenvalues of a linear network's features, as long as gradient flow is followed.

    Parameters
    ----------
    model : nn.Module
        At the start: linear layers without bias, one after the other, and nothing else that counts.
    inputs, targets : Tensor, shapes (n, …) and (n, C)
        All that it trains on.
    probe_size : int
        How many of the inputs, from the first on, the features are measured on.

    Attributes
    ----------
    time : float
        Of the flow, to be counted up: twice the learning rate at each step on E‖y − f‖².
    """

    def __init__(self, model: nn.Module, inputs: Tensor, targets: Tensor, probe_size: int) -> None:
        layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
        weights = [layer.weight.detach().double().cpu().numpy() for layer in layers]
        rows, goal = (values.flatten(1).cpu().double().numpy() for values in (inputs, targets))
        probe = rows[:probe_size]
        second, correlation = (left.T @ rows / len(rows) for left in (rows, goal))
        self._flow = BalancedFlow(weights, second, correlation)
        self._probe = probe.T @ probe / len(probe)
        self.time = 0.0

    @staticmethod
    def reads(inputs: Tensor) -> bool:
        """Whether inputs are few enough numbers each."""
        return inputs[:1].numel() <= _MOST_INPUTS

    def now(self) -> NDArray[np.float64]:
        """ρ_k, descending."""
        return self._flow.at(self.time, self._probe)


def with_theory(frame: Frame, exact: NDArray[np.float64] | None) -> Frame:
    """The frame with ``arrays["exact_eigenvalues"]``, and with ``theory_error``, the largest
    |ρ_k − ρ_k exact| / ρ_k exact; as it is where theory says nothing.

    Examples
    --------
    >>> frame = fs.Frame(0, 0, {}, {}, {"eigenvalues": [2.0, 1.01]})
    >>> round(with_theory(frame, np.array([2.0, 1.0])).scalars["theory_error"], 3)
    0.01
    """
    if exact is None:
        return frame
    exact = exact / frame.scalars.get("eigenvalue_scale", 1.0)
    known = min(len(exact), len(frame.eigenvalues))
    error = np.abs(frame.eigenvalues[:known] / exact[:known] - 1).max(initial=0.0)
    return replace(
        frame,
        scalars={**frame.scalars, "theory_error": float(error)},
        arrays={**frame.arrays, "exact_eigenvalues": exact.astype(np.float32)},
    )
