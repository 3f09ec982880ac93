"""The first look at a network: where its features and outputs come from."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from fswidget.probing.arguments import check_source
from fswidget.probing.capture import resolve_layers
from fswidget.probing.distributed import Communicator
from fswidget.probing.head import find_head
from fswidget.probing.inference import Activations, Source, run
from fswidget.probing.modes import inference_mode, param_dtype
from fswidget.probing.samples import Samples


@dataclass(frozen=True)
class Look:
    """What was found.

    Parameters
    ----------
    source : Source
    layers : tuple of str
        The watched layers, in the order of the forward pass.
    num_features, num_outputs : int
        p and C.
    """

    source: Source
    layers: tuple[str, ...]
    num_features: int
    num_outputs: int


def look_at(
    model: nn.Module,
    samples: Samples,
    layers: str | Sequence[str] | None,
    head: str | None,
    source: Source,
    device: torch.device,
    batch_size: int,
) -> Look:
    """Find the head by a pass over two samples, and see by some more that the outputs are its.

    Raises
    ------
    ValueError
        If there is no such head, or outputs and features do not agree.
    """
    check_source(model, head, source.features)
    wanted = resolve_layers(model, layers)
    batch = next(samples.first(2).batches(2, device, param_dtype(model)))

    def run_over(count: int, names: Sequence[str]) -> Activations:
        return run(
            model,
            source,
            samples.first(count),
            layers=names,
            batch_size=batch_size,
            device=device,
            team=Communicator(),
            where="before the first frame",
        )

    with inference_mode(model, device):
        if source.features is None:
            named: dict[str, Any] = {"name": head, "select": source.outputs, **batch.kwargs}
            source = dataclasses.replace(source, head=find_head(model, *batch.args, **named))
        rows = run_over(2, wanted)
        if len(rows.outputs) != 2:
            raise ValueError(
                f"model: gives {len(rows.outputs)} rows of outputs for 2 samples; must be one row "
                "per sample"
            )
        num_features, num_outputs = rows.features.shape[1], rows.outputs.shape[1]
        # As many as tell an affine function from another, within reason.
        run_over(min(max(32, num_outputs + 8), batch_size, len(samples)), ())
    return Look(source, tuple(rows.layers), num_features, num_outputs)
