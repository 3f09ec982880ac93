"""One pass of a network over fixed samples, shared by processes or not, without a trace in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from fswidget.probing.capture import capture
from fswidget.probing.distributed import Communicator
from fswidget.probing.head import Head
from fswidget.probing.modes import param_dtype
from fswidget.probing.samples import Samples


class Diverged(FloatingPointError):
    """The network gave numbers that are not finite; the message says where."""


@dataclass
class Activations:
    """What a pass saw, in this process: a row for each of its samples."""

    features: Tensor
    outputs: Tensor
    targets: Tensor
    layers: dict[str, Tensor] = field(default_factory=dict)
    #: Number of the first row among the samples of all processes.
    start: int = 0


def run(
    model: nn.Module,
    head: Head,
    samples: Samples,
    *,
    layers: Sequence[str] = (),
    batch_size: int,
    device: torch.device,
    team: Communicator,
    where: str = "",
) -> Activations:
    """Run a model over this process's part of the samples.

    Raises
    ------
    Diverged
        If features or outputs are not finite; the message begins with `where`.
    """
    part, start = samples.part(team.rank, team.size)
    seen: list[Activations] = []
    with capture(model, head, layers) as captured:
        for batch in part.batches(batch_size, device, param_dtype(model)):
            model(*batch.args, **batch.kwargs)
            seen.append(
                Activations(
                    captured.features, captured.outputs, batch.targets, dict(captured.layers)
                )
            )
    if not seen:
        raise ValueError(f"inputs: {len(samples)} samples; must be at least one per process")
    rows = Activations(
        torch.cat([rows.features for rows in seen]),
        torch.cat([rows.outputs for rows in seen]),
        torch.cat([rows.targets for rows in seen]),
        {name: torch.cat([rows.layers[name] for rows in seen]) for name in seen[0].layers},
        start,
    )
    _check_finite({**rows.layers, head.name: rows.features}, rows.outputs, where)
    return rows


def _check_finite(layers: Mapping[str, Tensor], outputs: Tensor, where: str) -> None:
    parts = {**layers, "": outputs}
    # One question for the whole pass: each answer makes a GPU wait.
    if bool(torch.stack([values.isfinite().all() for values in parts.values()]).all()):
        return
    for name, values in parts.items():
        bad = int((~values.isfinite()).any(1).sum())
        if bad:
            what = f"the features at {name!r} are" if name else "the outputs are"
            raise Diverged(f"{where}: {what} not finite for {bad} of {len(values)} samples")
