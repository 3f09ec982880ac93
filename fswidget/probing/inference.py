"""One pass of a network over fixed samples, shared by processes or not, without a trace in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from fswidget.analysis.linear_outputs import LinearOutputs
from fswidget.probing.distributed import Communicator
from fswidget.probing.distributed import Diverged as Diverged
from fswidget.probing.modes import param_dtype
from fswidget.probing.outputs import check_masked
from fswidget.probing.reading import Reader, Reading
from fswidget.probing.samples import Batch, Samples


@dataclass
class Activations:
    """What a pass saw, in this process: a row for each of its samples."""

    features: Tensor
    outputs: Tensor | LinearOutputs
    targets: Tensor
    layers: dict[str, Tensor] = field(default_factory=dict)
    #: Number of the first row among the samples of all processes.
    start: int = 0


def run(
    reader: Reader,
    samples: Samples,
    *,
    layers: Sequence[str] = (),
    batch_size: int,
    device: torch.device,
    team: Communicator,
    where: str = "",
    by_weights: bool = False,
) -> Activations:
    """Run a model over this process's part of the samples; `by_weights`, outputs are kept as what
    makes them where the head's weights do.

    Raises
    ------
    Diverged
        If features or outputs are not finite; the message begins with `where`. Every process of the
        team raises then.
    ValueError
        If the outputs do not come from the features as they should.
    """
    part, start = samples.part(team.rank, team.size)

    def batches() -> Iterator[Batch]:
        return part.batches(batch_size, device, param_dtype(reader.model))

    def read(tracing: bool) -> Reading:
        return reader.read(batches(), layers, tracing=tracing)

    with team.together(device):
        if not len(part):
            raise ValueError(f"inputs: {len(samples)} samples; must be at least one per process")
        found = reader.by_weights(batches(), layers) if by_weights else None
        if found is not None:
            outputs, reading = found
            _check_finite(reading, reader.name, where)
            return Activations(outputs.features, outputs, reading.targets, reading.layers, start)
        reading = read(False)
        same = reader.same(reading)
        index = -1
        # One question for the whole pass: each answer makes a GPU wait.
        if not bool(_finite(reading).all() & same.any().to(reading.outputs.device)):
            check_masked(reading.outputs)
            _check_finite(reading, reader.name, where)
            if reader.head is not None:
                reading = read(True)
                _check_finite(reading, reader.name, where)
            reader.check(reading.outputs, reading.calls[0][1], start)
        elif len(reading.calls) > 1:
            # Of calls that gave the same, the last: what came before it may have been discarded.
            index = int(same.nonzero()[-1])
        features = reading.calls[index][0]
    wanted = {name: reading.layers[name] for name in reading.layers if name in layers}
    return Activations(features, reading.outputs, reading.targets, wanted, start)


def _parts(reading: Reading, name: str = "") -> list[tuple[str, Tensor]]:
    features = [(f"the features at {name!r} are", call[0]) for call in reading.calls[-1:]]
    layers = [(f"the features at {n!r} are", values) for n, values in reading.layers.items()]
    return [*layers, *features, ("the outputs are", reading.outputs)]


def _finite(reading: Reading) -> Tensor:
    return torch.stack([values.isfinite().all() for _, values in _parts(reading)])


def _check_finite(reading: Reading, name: str, where: str) -> None:
    if bool(_finite(reading).all()):  # one question of a GPU
        return
    for what, values in _parts(reading, name):
        bad = int((~values.isfinite()).any(1).sum())
        if bad:
            raise Diverged(f"{where}: {what} not finite for {bad} of {len(values)} samples")
