"""The span of few samples with many features, in which every measure stays what it is."""

from __future__ import annotations

import torch
from torch import Tensor

from fswidget.analysis.arrays import default_device


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
