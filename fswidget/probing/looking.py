"""The first look at a network, by passes over few samples: its head, its outputs, its layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from fswidget.analysis.positions import Layout
from fswidget.analysis.targets import check_task
from fswidget.probing.capture import resolve_layers
from fswidget.probing.head import find
from fswidget.probing.modes import inference_mode, param_dtype
from fswidget.probing.reading import Reader
from fswidget.probing.samples import Batch, Samples


@dataclass(frozen=True)
class Look:
    """What a network is found to have.

    Parameters
    ----------
    num_features, num_outputs : int
        p and C.
    layers : tuple of str
        Those watched, in forward order.
    layout : Layout or None
        Where its outputs have rows for tokens or pixels; None where they have one for each sample.
    """

    num_features: int
    num_outputs: int
    layers: tuple[str, ...]
    layout: Layout | None


def look(
    reader: Reader,
    samples: Samples,
    task: str,
    device: torch.device,
    *,
    layers: str | Sequence[str] | None = None,
    head: str | None = None,
) -> Look:
    """Find the head, which `reader` then has, and what goes with it.

    Raises
    ------
    ValueError
        If no layer is found whose output the outputs are an affine function of; see `find_head`.
    """
    kind = param_dtype(reader.model)
    # Of two counts: no length of a sequence equals both.
    few = [samples.first(count) for count in sorted({2, min(3, len(samples))})]

    def batches(some: list[Samples]) -> list[Batch]:
        return [next(one.batches(one.num_inputs, device, kind)) for one in some]

    wanted = list(resolve_layers(reader.model, layers))
    with inference_mode(reader.model, device):
        batch = batches(few)[-1]
        if reader.features is None:
            reader.head = find(
                reader.model,
                batch.args,
                batch.kwargs,
                name=head,
                select=reader.select,
                shift=reader.shift,
            )
            if reader.head.select is not None:
                reader.select = reader.head.select
        elif head is not None:
            raise ValueError(f"head={head!r}: must not be given beside features=")
        layout = None
        if samples.targets.ndim > 1:
            axis = None if reader.head is None else reader.head.axis
            layout = Layout.of(reader.returned(batches(few)[-1]), few[-1].targets, task, axis)
        few = [one.at_positions(layout, ignored=None) for one in few]
        if layers == "all":
            wanted = reader.watchable(batches(few), wanted)
        for batch in batches(few):
            reading = reader.read([batch], wanted)
    num_outputs = reading.outputs.shape[1]
    check_task(task, num_outputs)
    num_features = reading.calls[0][0].shape[1] if reader.head is None else reader.head.num_features
    return Look(num_features, num_outputs, tuple(n for n in reading.layers if n in wanted), layout)
