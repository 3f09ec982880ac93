"""Whether a model's outputs come from the head's rows, by value.

The learned functions are what the model returns. They must be an affine function of the captured
features, row by row, up to the normalisation of a log-softmax: else features and outputs would be
those of different samples, or the head would not be what makes the output. All of it our choice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

#: Rounding, in units of the coarser type's last place, and at most 3% (of half precision).
_UNITS, _MOST = 64, 0.03
WAY_OUT = (
    "pass features= (a module's name, or a callable that gives them) and, where the model returns "
    "several things, outputs="
)


class Disagreement(ValueError):
    """The model's outputs are not made from the captured features row by row."""


def rounding(*tensors: Tensor) -> float:
    """Relative difference that the coarsest of these types explains."""
    kinds = (tensor.dtype for tensor in tensors if tensor.is_floating_point())
    return min(_UNITS * max(torch.finfo(kind).eps for kind in kinds), _MOST)


def match_rows(final: Tensor, leaving: Tensor) -> Tensor | None:
    """For each row of the model's outputs, the row of the head's outputs that it is.

    Compared up to a common shift and a positive scale of each row, so that a log-softmax or a
    temperature does not matter.

    Parameters
    ----------
    final : Tensor, shape (n, C)
    leaving : Tensor, shape (n, m, C)
        What left the head in the m places that may have become each row.

    Returns
    -------
    Tensor of int64, shape (n,), or None
        None where some row is none of them.
    """
    if final.shape[-1] != leaving.shape[-1]:
        return None
    precision = rounding(final, leaving)
    forms = [_as_they_are, _centred]
    if final.shape[-1] > 2:  # of two outputs a shift and a scale leave the sign alone
        forms.append(_direction)
    for form in forms:
        wanted, given = form(final.double()), form(leaving.double())
        nearest, where = (wanted[:, None] - given).abs().amax(-1).min(1)
        if bool((nearest <= precision * wanted.abs().amax()).all()):
            return where
    return None


def _as_they_are(rows: Tensor) -> Tensor:
    return rows


def _centred(rows: Tensor) -> Tensor:
    return rows - rows.mean(-1, keepdim=True) if rows.shape[-1] > 1 else rows


def _direction(rows: Tensor) -> Tensor:
    centred = _centred(rows)
    tiny = torch.finfo(centred.dtype).tiny
    return centred / centred.abs().amax(-1, keepdim=True).clamp(min=tiny)


def explain(final: Tensor, leaving: Tensor) -> Tensor | None:
    """The learned functions in a model's outputs, or None where the head does not explain them.

    Parameters
    ----------
    final : Tensor, shape (n, C')
        What the model returned.
    leaving : Tensor, shape (n, C)
        What left the head, in the same order.

    Returns
    -------
    Tensor, shape (n, C')
        `final`; less its mean over classes where it is the logarithm of probabilities.
    """
    precision = rounding(final, leaving)
    if final.shape == leaving.shape:
        apart = (final.double() - leaving.double()).abs()
        if bool((apart <= _allowed(final.double(), precision)).all()):
            return final
    outputs = final
    if _are_log_probabilities(final, precision):
        outputs = final - final.mean(1, keepdim=True)
    y, z = outputs.double(), leaving.double()
    if outputs is not final:  # a softmax has lost the common shift of each row
        z = z - z.mean(1, keepdim=True)
    allowed = _allowed(y, precision)
    if len(z) > z.shape[1] + 2:
        columns = torch.cat([z - z.mean(0), torch.ones_like(z[:, :1])], 1)
        # Not by QR: of logits less their mean, or of dead outputs, not all columns are free.
        fit = columns @ (torch.linalg.pinv(columns) @ y)
        return outputs if bool(((y - fit).abs() <= allowed).all()) else None
    return outputs if _scaled_columns(y, z, allowed) else None


def _allowed(outputs: Tensor, precision: float) -> Tensor:
    sizes = outputs.abs().amax(0)
    return precision * sizes + 1e-12 * sizes.amax()


def _are_log_probabilities(outputs: Tensor, precision: float) -> bool:
    if outputs.shape[1] < 2:
        return False
    sums = torch.logsumexp(outputs.double(), 1)
    return bool((sums.abs() <= precision * max(1.0, math.log(outputs.shape[1]))).all())


def _scaled_columns(y: Tensor, z: Tensor, allowed: Tensor) -> bool:
    """Where samples are too few for a fit: each output an affine function of one of the head's."""
    if y.shape != z.shape or len(y) < 3:
        return len(y) < 3  # two rows are explained by anything
    centred = z - z.mean(0)
    slope = (centred * y).sum(0) / centred.square().sum(0).clamp(min=1e-300)
    return bool(((y - y.mean(0) - slope * centred).abs() <= allowed).all())


def difference(final: Tensor, leaving: Tensor) -> str:
    """What does not agree, in words."""
    if final.shape != leaving.shape:
        return f"outputs of shape {tuple(final.shape)}, the head's of shape {tuple(leaving.shape)}"
    apart = (final.double() - leaving.double()).abs().amax(1)
    row = int(apart.argmax())
    return (
        f"they differ by up to {float(apart[row]):.3g} (sample {row}), beyond a scale and a shift "
        "per output"
    )


@dataclass
class Pass:
    """What a head saw and what the model made of it, batch by batch, in order."""

    entering: list[Tensor]
    leaving: list[Tensor]
    final: list[Tensor]

    def settle(self, name: str) -> tuple[Tensor, Tensor]:
        """Features and outputs of all samples, row by row.

        Raises
        ------
        Disagreement
            If the outputs are not made from the head's rows, or not row by row.
        """
        features, leaving, final = map(torch.cat, (self.entering, self.leaving, self.final))
        outputs = explain(final, leaving)
        if outputs is not None:
            return features, outputs
        found = [_reordered(*batch) for batch in zip(self.final, self.leaving, strict=True)]
        orders = [order for order in found if order is not None]
        if len(orders) == len(found):
            ordered = [rows[order] for rows, order in zip(self.entering, orders, strict=True)]
            left = [rows[order] for rows, order in zip(self.leaving, orders, strict=True)]
            outputs = explain(final, torch.cat(left))
            if outputs is not None:
                return torch.cat(ordered), outputs
        raise Disagreement(
            f"model: its outputs are not those of its last linear layer {name!r}, row by row: "
            f"{difference(final, leaving)}. Something after it depends on the sample; {WAY_OUT}"
        )


def _reordered(final: Tensor, leaving: Tensor) -> Tensor | None:
    """Where each row of the outputs is among the head's, which came in another order."""
    if final.shape != leaving.shape:
        return None
    return match_rows(final, leaving.expand(len(final), *leaving.shape))
