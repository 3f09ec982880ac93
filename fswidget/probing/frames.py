"""What of a spectrum goes into a frame: scalars, and eigenfunctions at the shown samples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fswidget.analysis.alignment import align
from fswidget.analysis.api import FeatureMoments
from fswidget.analysis.basis import fewer_outputs
from fswidget.analysis.diagonalization import diagonalize
from fswidget.analysis.linear_outputs import LinearOutputs, as_whole, pieces
from fswidget.analysis.nulls import Band
from fswidget.analysis.spectrum import Spectrum
from fswidget.probing.samples import widened
from fswidget.recording.scalars import ESTIMATES, SCALARS
from fswidget.recording.strengths import agreement_of

# Wider features are not diagonalised in full, which takes seconds for each frame (our choice).
_MAX_WIDTH = 1024
#: What is measured on every layer watched; the arrays of a frame are named ``layer_…``.
LAYER_MEASURES = (
    "low_rank_measure",
    "low_rank_measure_debiased",
    "effective_rank",
    "used_features",
)


#: A regression has no classes, which is not the same as NaN.
_OF_CLASSES = {"nc1", "nc1_debiased", "nc1_error", "nc2", "nc3", "cdnv"}


def spectrum_of(
    moments: FeatureMoments,
    task: str,
    top: int | None,
    start: Any = None,
    weighted: FeatureMoments | None = None,
    bands: bool = True,
) -> Spectrum:
    """The spectrum of a frame, found from the eigenvectors `start` where they fit."""
    if top is None and moments.num_features > _MAX_WIDTH:
        top = max(64, 4 * moments.num_outputs)
    if start is not None and len(start) != moments.num_features:
        start = None
    how: dict[str, Any] = {"errors": moments.num_blocks > 1, "top": top, "start": start}
    return diagonalize(moments, task, **how, weighted=weighted, bands=bands)


def scalars_of(spectrum: Spectrum) -> dict[str, float]:
    found = {name: getattr(spectrum, name, None) for name in SCALARS}
    found |= {f"{name}_error": value for name, value in spectrum.errors.items()}
    found["quality_total"] = total_quality(spectrum.quality)
    if not math.isnan(agreed := agreement_of(spectrum.quality)):
        found["quality_agreement"] = agreed
    found |= bands_of(spectrum.null, "null")
    absent = set() if spectrum.classification else set(_OF_CLASSES)
    weighted = spectrum.low_rank_measure_weighted
    if math.isnan(weighted) or weighted == spectrum.low_rank_measure_plain:
        absent.add("low_rank_measure_weighted")
    # Too few features have none, and too few samples do not tell.
    unknown = ("alpha_req", "used_features_debiased", "used_features_error", "effective_rank_error")
    absent |= {name for name in unknown if math.isnan(found[name] or 0.0)}
    return {
        name: float(value)
        for name, value in found.items()
        if name in SCALARS and name not in absent and value is not None
    }


def bands_of(band: Band, name: str) -> dict[str, float]:
    """The scalars of a band; none where it is not known."""
    found = {
        f"{name}_used_features": band.used_features,
        f"{name}_low_rank_measure": band.low_rank_measure,
    }
    return {} if math.isnan(band.used_features) else found


def within_float32(
    eigenvalues: NDArray[np.float64],
) -> tuple[NDArray[np.float64], dict[str, float]]:
    """Eigenvalues that float32 can hold, and the scalar that tells what they were divided by."""
    largest = float(eigenvalues[0]) if len(eigenvalues) else 1.0
    if 1e-25 < largest < 1e35:
        return eigenvalues, {}
    scale = 2.0 ** round(math.log2(largest))
    return eigenvalues / scale, {"eigenvalue_scale": scale}


def turned(points: NDArray[np.float64], rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    known = np.isfinite(points).all(0)
    turned = np.full_like(points, np.nan)
    turned[:, known] = points[:, known] @ rotation[np.ix_(known, known)]
    return turned


def total_quality(quality: NDArray[np.floating[Any]]) -> float:
    """Quality of all features; 0 where every one is constant."""
    return float(quality[-1]) if len(quality) else 0.0


def eigenfunctions(spectrum: Spectrum, features: Tensor, count: int) -> NDArray[np.float64]:
    """Values e_1..e_m, shape (n, m); NaN where there are fewer eigenvalues than m."""
    known = min(count, len(spectrum.eigenvalues))
    points = np.full((len(features), count), np.nan)
    if known:
        points[:, :known] = spectrum.eigenfunctions(features, known)
    return points


def rotation_towards(
    previous: NDArray[np.float64] | None, spectrum: Spectrum, points: NDArray[np.float64]
) -> NDArray[np.float64]:
    """What turns eigenfunctions towards those that the frame before showed."""
    if previous is None:
        return np.eye(points.shape[1])
    return align(spectrum.eigenvalues[: points.shape[1]], points, previous)


def layer_arrays(spectra: Sequence[Spectrum]) -> dict[str, NDArray[Any]]:
    """The measures of the watched layers, one entry per layer; empty where there are none."""
    if not spectra:
        return {}
    return {
        f"layer_{name}": np.array([getattr(spectrum, name) for spectrum in spectra])
        for name in LAYER_MEASURES
    }


def layer_means(
    arrays: Mapping[str, Any], layers: Sequence[str], head: str | None
) -> dict[str, float]:
    """D_LR, mean over those of `layers` that have it; none where none has.

    The layers of features count, each alike; the one that gives the outputs, which is the head or
    holds it, does not. Weights by the features' trace would follow the scale of each layer, which
    networks of ReLU may shift between layers without any change of function. Our choice.

    Examples
    --------
    >>> arrays = {"layer_low_rank_measure": np.array([0.5, np.nan, 0.1, 0.9])}
    >>> layer_means(arrays, ["0", "2", "4", "top"], "top.fc")
    {'mean_layer_low_rank_measure': 0.3}
    """
    outputs = [head is not None and f"{head}.".startswith(f"{name}.") for name in layers]
    counted, means = ~np.array(outputs, bool), {}
    for name in ESTIMATES:
        values = np.asarray(arrays.get(f"layer_{name}", [math.nan] * len(layers)), np.float64)
        if (known := values[np.isfinite(values) & counted]).size:
            means[f"mean_layer_{name}"] = float(known.mean())
    return means


@dataclass(frozen=True, eq=False)
class Reference:
    """The untrained network's features, and its outputs."""

    features: Tensor
    outputs: Tensor | LinearOutputs

    @classmethod
    def of(cls, features: Tensor, outputs: Tensor | LinearOutputs) -> Reference:
        """What stays as it is, however the network is trained."""
        return cls(features, outputs.kept() if isinstance(outputs, LinearOutputs) else outputs)

    @cached_property
    def fewer_outputs(self) -> Tensor:
        """The outputs in the few numbers in which many vary."""
        fewer: Any = fewer_outputs(self.features, self.outputs)
        return as_whole(self.outputs) if fewer is None else fewer.reduce(self.outputs)

    @cached_property
    def size(self) -> float:
        """The sum of the squares of the outputs."""
        return float(sum(widened(part).square().sum() for part in pieces(self.outputs)))


class WeightChange:
    """How far parameters are from those of the untrained network, of which it keeps a copy."""

    def __init__(self) -> None:
        self._first: list[Tensor] = []

    def __bool__(self) -> bool:
        return bool(self._first)

    def refer_to(self, model: nn.Module, device: torch.device) -> None:
        """Measure from these parameters on; they stay where they are."""
        self._first = [parameter.detach().clone() for parameter in model.parameters()]

    def of(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """‖θ − θ₀‖ / ‖θ₀‖, under its name in a frame; nothing where θ₀ is not known."""
        now = [parameter.detach() for parameter in model.parameters()]
        if not now or [p.shape for p in now] != [p.shape for p in self._first]:
            return {}
        first = [p.to(q.device) for p, q in zip(self._first, now, strict=True)]
        moved = [q.float() - p.float() for p, q in zip(first, now, strict=True)]
        size = _squared_norm(first, device)
        change = _squared_norm(moved, device)
        return {"weight_change": math.sqrt(change / size) if size > 0 else math.nan}


def squared_norm(model: nn.Module, device: torch.device) -> float:
    """Of all parameters, read at once."""
    return _squared_norm([parameter.detach() for parameter in model.parameters()], device)


def _squared_norm(parameters: Sequence[Tensor], device: torch.device) -> float:
    norms = [
        # Sums of squares overflow in float16.
        torch.linalg.vector_norm(p.float() if p.itemsize < 4 else p).to(device)
        for p in parameters
    ]
    if not norms:
        return 0.0
    # Joined, since parameters may be of different types.
    found = torch.cat([norm[None] for norm in norms]).tolist()
    for place, norm in enumerate(found):
        if not 1e-15 < norm < 1e18:  # of float32 squares may, too, or vanish
            found[place] = float(torch.linalg.vector_norm(parameters[place].cpu().double()))
    return float(sum(norm**2 for norm in found))
