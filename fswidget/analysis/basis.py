"""Few axes in the place of many features or outputs, in which every measure stays what it is."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fswidget.analysis.arrays import default_device
from fswidget.analysis.gram import householder
from fswidget.analysis.linear_outputs import FewerOfLinear, LinearOutputs
from fswidget.analysis.spectrum import Spectrum


def orthonormal_basis(features: Tensor) -> Tensor | None:
    """Orthonormal basis, (p, n), of what n samples with more features than that span; else None.

    Inner products between samples stay in its coordinates, and with them every measure; what is
    diagonalised is n × n and no longer p × p.
    """
    if len(features) >= features.shape[1]:
        return None
    device = default_device(features.device)
    basis: Tensor = torch.linalg.qr(features.to(device, torch.float64).T).Q
    return basis


def project(features: Tensor, basis: Tensor | None) -> Tensor:
    """Features on the axes of a basis; as they are where there is none."""
    return features if basis is None else features.to(basis) @ basis


#: Of the outputs' energy, what is rounding: the square of the tolerance of ranks.
_ROUNDING = 1e-10
#: Outputs taken at once in float64.
_CHUNK = 1024


@dataclass(frozen=True)
class FewerOutputs:
    """Axes of what many outputs do: an isometry from their span to a few numbers.

    Ĥ, with its singular values and its basis, is the same in these; what is summed over pairs of
    outputs no longer is C × C. Their common shift stays an axis of its own.

    Parameters
    ----------
    axes : Tensor of float64, shape (C, k)
        Orthonormal, and orthogonal to the common shift.
    """

    axes: Tensor

    @classmethod
    def of(cls, features: Tensor, outputs: Tensor) -> FewerOutputs | None:
        """Of samples with features (n, p) and outputs (n, C); None where C is not much larger than
        n, and not than p + 1 where the outputs are linear in the features.

        Where they are (a linear head: up to rounding they lie in the span of the features and 1),
        the work is that of C × p² and n × p × C; else of C × n².
        """
        n, size = outputs.shape
        width = features.shape[1] + 1
        if not are_many(n, width - 1, size):
            return None
        device = default_device(outputs.device)
        common = _common(outputs, device)
        if width < n:
            affine = torch.cat([features.new_ones(n, 1), features], 1).to(device, torch.float64)
            rows, total = _against(torch.linalg.qr(affine).Q, outputs, common)
            rounding = _ROUNDING
            if outputs.is_floating_point():
                rounding = max(rounding, torch.finfo(outputs.dtype).eps ** 2)
            if bool(total - rows.square().sum() <= rounding * total):
                return cls(torch.linalg.qr(rows.T).Q)
            if size <= 2 * n:
                return None
        rest = outputs.to(device, torch.float64) - common
        return cls(torch.linalg.qr(rest.T).Q)

    def reduce(self, outputs: Tensor) -> Tensor:
        """Outputs, shape (n, C), in k + 1 numbers, of float64."""
        device = self.axes.device
        common = _common(outputs, device)
        parts = zip(torch.split(outputs, _CHUNK, 1), torch.split(self.axes, _CHUNK), strict=True)
        along = sum((part.to(device, torch.float64) - common) @ axes for part, axes in parts)
        apart = torch.cat([math.sqrt(outputs.shape[1]) * common, torch.as_tensor(along)], 1)
        # Turned so that their mean is the common shift, as it is of outputs as they are.
        return householder(apart.T).T


def fewer_outputs(
    features: Tensor, outputs: Tensor | LinearOutputs
) -> FewerOutputs | FewerOfLinear | None:
    """`FewerOutputs.of`, from the weights alone where they are known."""
    if isinstance(outputs, LinearOutputs):
        return FewerOfLinear.of(outputs)
    return FewerOutputs.of(features, outputs)


def are_many(num_samples: int, num_features: int, num_outputs: int) -> bool:
    """Whether outputs of a linear head are so many that fewer numbers hold what they do."""
    return num_outputs > 2 * min(num_samples, num_features + 1)


def _common(outputs: Tensor, device: torch.device) -> Tensor:
    """The mean of each sample's outputs, shape (n, 1)."""
    sums = [
        part.to(device, torch.float64).sum(1, keepdim=True)
        for part in torch.split(outputs, _CHUNK, 1)
    ]
    return torch.stack(sums).sum(0) / outputs.shape[1]


def _against(basis: Tensor, outputs: Tensor, common: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs less their common shift on the axes of a basis of the samples' space, and their
    energy."""
    rows, total = basis.new_empty(basis.shape[1], outputs.shape[1]), basis.new_zeros(())
    for part, place in zip(
        torch.split(outputs, _CHUNK, 1), torch.split(rows, _CHUNK, 1), strict=True
    ):
        rest = part.to(basis) - common
        place.copy_(basis.T @ rest)
        total += rest.square().sum()
    return rows, total


def of_many_outputs(spectrum: Spectrum, num_outputs: int, there: Tensor | None) -> Spectrum:
    """A spectrum of fewer outputs as that of all, and of the classes `there` by their own names.

    NC3 needs a class for each output; what each is made of, C numbers for every feature, is not
    kept.
    """
    errors = {name: math.nan if name == "nc3" else e for name, e in spectrum.errors.items()}
    centers = spectrum.centers_without_outputs(there)
    return replace(spectrum, num_outputs=num_outputs, nc3=math.nan, errors=errors, _centers=centers)
