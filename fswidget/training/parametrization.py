"""Maximal update parametrisation (μP): initial weights and steps that follow the width.

Yang and Hu 2021; Yang et al. 2022, table 3. Which dimensions of a parameter grow with the width is
read from the same network at another one, so that it holds for networks of one's own too. At the
base width, 256, both parametrisations are the same (our choice).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import nn

from fswidget.training.isolation import own_numbers
from fswidget.training.registry import Settings, Shape

BASE_WIDTH = 256


class Growth(NamedTuple):
    """By what a parameter's dimensions are larger than at the base width."""

    out: float  # its first dimension: outputs, or the entries of a vector
    into: float  # its second: inputs

    @property
    def init(self) -> float:
        """What its initial values are multiplied by: those of an output layer fall as 1/width and
        not its root."""
        return self.into**-0.5 if self.out == 1 else 1.0

    def step(self, optimizer: str) -> float:
        """What its learning rate is multiplied by."""
        return self.out / self.into if optimizer == "sgd" else 1 / self.into


def growths(
    config: Settings, model: nn.Module, shape: Shape, num_outputs: int
) -> dict[str, Growth]:
    """How each parameter of a network grew from the base width on; none in the standard way."""
    if config.parametrization != "mup" or config.width == BASE_WIDTH:
        return {}
    with own_numbers(config.seed):
        base = config.network.build(config.replace(width=BASE_WIDTH), shape, num_outputs)
    then = {name: parameter.shape for name, parameter in base.named_parameters()}
    found = {}
    for name, parameter in model.named_parameters():
        ratios = [new / old for new, old in zip(parameter.shape, then[name], strict=True)]
        found[name] = Growth(*(*ratios[:2], 1.0, 1.0)[:2])
    return found


def scale_initial(model: nn.Module, grown: Mapping[str, Growth]) -> None:
    """Scale the initial weights, in place."""
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, growth in grown.items():
            parameters[name].mul_(growth.init)


def groups(model: nn.Module, grown: Mapping[str, Growth], optimizer: str) -> list[dict[str, Any]]:
    """The parameters for an optimiser, by what multiplies their learning rate (``times``)."""
    found: dict[float, list[nn.Parameter]] = defaultdict(list)
    for name, parameter in model.named_parameters():
        growth = grown.get(name, Growth(1.0, 1.0))
        found[growth.step(optimizer)].append(parameter)
    return [{"params": parameters, "times": times} for times, parameters in found.items()]
