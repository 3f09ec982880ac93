"""Copies of a network, whatever it holds."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from fswidget.probing.modes import find_changeable

#: Of a module's attributes, those that a copy has once and for all: hooks, and what torch keeps.
_OF_TORCH = vars(nn.Module()).keys() - {"_buffers", "_modules"}


class Copied:
    """A copy of a network, which can follow it.

    What hooks or functions of the network's own keep elsewhere than in it, the two share.

    Parameters
    ----------
    original : torch.nn.Module
    why, instead : str
        The setting that needs the copy, and the value that needs none.

    Raises
    ------
    TypeError
        If it cannot be copied.
    """

    def __init__(self, original: nn.Module, why: str, instead: str) -> None:
        self._original = original
        self._words = (
            f"{why}: needs a copy of model={type(original).__name__}, which cannot be made (",
            f"); must be {instead}",
        )
        known = _tensors(original)
        self.model: nn.Module = self._copy(original, known)
        self._modules = [(m, known.get(id(m), m)) for m in original.modules()]
        self._parameters = [(p, known.get(id(p), p)) for p in original.parameters()]
        for one, other in (*self._modules, *self._parameters):
            if one is other:
                raise TypeError(f"its {type(one).__name__} is its own copy".join(self._words))

    def follow(self) -> None:
        """Hold what the network holds now: parameters, buffers and plain attributes."""
        known = _tensors(self._original)
        known |= {id(module): copied for module, copied in self._modules}
        known |= {id(one): other for one, other in self._parameters}
        with torch.no_grad():
            for one, other in self._parameters:
                other.copy_(one)
                other.requires_grad_(one.requires_grad)
        for module, copied in self._modules:
            held = {name: value for name, value in vars(module).items() if name not in _OF_TORCH}
            vars(copied).update(self._copy(held, known))

    def _copy(self, thing: Any, known: dict[int, Any]) -> Any:
        try:
            return copy.deepcopy(thing, known)
        except Exception as error:  # what is in a network of one's own may raise any
            raise TypeError(str(error).join(self._words)) from error


def _tensors(model: nn.Module) -> dict[int, Any]:
    """Copies of all but parameters, by identity: of what has a gradient `copy` makes none."""
    found: dict[int, Any] = {}
    for module in model.modules():
        find_changeable(vars(module), found)
    held = {id_: thing for id_, thing in found.items() if isinstance(thing, Tensor)}
    return {id_: tensor.detach().clone() for id_, tensor in held.items()}
