"""Many outputs of a linear head, kept as the features and the weights that make them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from fswidget.analysis.arrays import default_device
from fswidget.analysis.gram import householder

#: So many outputs are made at once.
_NUMBERS = 1 << 22
#: Squared singular values of the outputs below this share of the largest are rounding: far below
#: the tolerance of ranks, 1e-5, and the root of float64's own.
_ROUNDING = 1e-14


@dataclass(frozen=True, eq=False)
class LinearOutputs:
    """Outputs W Φ + b of n samples, shape (n, C), which are made where they are asked for.

    Parameters
    ----------
    features : Tensor, shape (n, p)
    weight : Tensor, shape (C, p)
    bias : Tensor, shape (C,), or None
    shift : Tensor of float64, shape (n,)
        What is added to all outputs of a sample, as a log-softmax does.
    guesses : Tensor of int64, shape (n,)
        The largest output of each sample.
    """

    features: Tensor
    weight: Tensor
    bias: Tensor | None
    shift: Tensor
    guesses: Tensor

    def __len__(self) -> int:
        return len(self.features)

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.features), len(self.weight)

    @property
    def dtype(self) -> torch.dtype:
        return self.weight.dtype

    @property
    def device(self) -> torch.device:
        return self.features.device

    def __getitem__(self, rows: Tensor | slice) -> LinearOutputs:
        some = {name: getattr(self, name)[rows] for name in ("features", "shift", "guesses")}
        return replace(self, **some)

    @classmethod
    def joined(cls, parts: Sequence[LinearOutputs]) -> LinearOutputs:
        """Of the same weights, one after another."""
        names = ("features", "shift", "guesses")
        return replace(parts[0], **{n: torch.cat([getattr(p, n) for p in parts]) for n in names})

    def argmax(self, dim: int) -> Tensor:
        """As a tensor's, over the outputs of each sample."""
        assert dim == 1
        return self.guesses

    def kept(self) -> LinearOutputs:
        """The same, whatever becomes of the network."""
        bias = None if self.bias is None else self.bias.clone()
        return replace(self, weight=self.weight.clone(), bias=bias)

    def whole(self) -> Tensor:
        """All of them, shape (n, C)."""
        return functional.linear(self.features, self.weight, self.bias) + self.shift[:, None].to(
            self.features
        )


def pieces(outputs: Tensor | LinearOutputs) -> Iterator[Tensor]:
    """The outputs of some samples after the others, so that no large copies are made of them."""
    count = max(1, _NUMBERS // outputs.shape[1])
    for start in range(0, len(outputs), count):
        some = outputs[start : start + count]
        yield some.whole() if isinstance(some, LinearOutputs) else some


def as_whole(outputs: Tensor | LinearOutputs) -> Tensor:
    """The outputs as one tensor."""
    return outputs.whole() if isinstance(outputs, LinearOutputs) else outputs


@dataclass(frozen=True)
class FewerOfLinear:
    """What `FewerOutputs` does, from the weights and the features alone: nothing is n × C or C × C.

    With R of the QR factorisation of [1, Φ] and W' = [b, W] less its mean over outputs, the
    outputs' products over samples are those of B = R W'ᵀ, and over B Bᵀ the axes follow.

    Parameters
    ----------
    transform : Tensor of float64, shape (p + 1, k)
        From [1, Φ] to the coordinates on the axes.
    common : Tensor of float64, shape (p + 1,)
        From [1, Φ] to the mean over outputs.
    """

    transform: Tensor
    common: Tensor

    @classmethod
    def of(cls, outputs: LinearOutputs) -> FewerOfLinear:
        """The work is C × p²."""
        affine = _affine(outputs)
        corner = torch.linalg.qr(affine, mode="r").R
        width, rank = corner.shape[1], len(corner)
        common = sum((part.sum(1) for part in _weights(outputs, affine)), affine.new_zeros(width))
        common = common / len(outputs.weight)
        gram, mixed = affine.new_zeros(rank, rank), affine.new_zeros(width, rank)
        for part in _weights(outputs, affine):
            rest = part - common[:, None]
            made = corner @ rest
            gram.addmm_(made, made.T)
            mixed.addmm_(rest, made.T)
        values, vectors = torch.linalg.eigh(gram)
        # Counted: a mask would make a GPU wait for each array.
        least = int((values <= _ROUNDING * values[-1].clamp(min=1e-300)).sum())
        return cls(mixed @ (vectors[:, least:] / values[least:].sqrt()), common)

    def reduce(self, outputs: LinearOutputs) -> Tensor:
        """Outputs, shape (n, C), of the same weights, in k + 1 numbers, of float64."""
        affine = _affine(outputs)
        common = affine @ self.common + outputs.shift.to(affine)
        along = affine @ self.transform
        apart = torch.cat([math.sqrt(outputs.shape[1]) * common[:, None], along], 1)
        # Turned so that their mean is the common shift, as it is of outputs as they are.
        return householder(apart.T).T


def _affine(outputs: LinearOutputs) -> Tensor:
    """[1, Φ] in float64, shape (n, p + 1)."""
    features = outputs.features.to(default_device(outputs.device)).double()
    return torch.cat([features.new_ones(len(features), 1), features], 1)


def _weights(outputs: LinearOutputs, like: Tensor) -> Iterator[Tensor]:
    """[b, W]ᵀ of some outputs after the others, shape (p + 1, c)."""
    count = max(1, _NUMBERS // (outputs.weight.shape[1] + 1))
    for start in range(0, len(outputs.weight), count):
        rows = slice(start, start + count)
        weight = outputs.weight[rows].to(like)
        bias = weight.new_zeros(len(weight)) if outputs.bias is None else outputs.bias[rows]
        yield torch.cat([bias.to(like)[:, None], weight], 1).T
