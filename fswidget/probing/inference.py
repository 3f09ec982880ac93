"""One pass of a network over fixed samples, shared by processes or not, without a trace in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from fswidget.probing.agreement import Pass
from fswidget.probing.capture import Capture, capture
from fswidget.probing.distributed import Communicator
from fswidget.probing.head import Head, OutputSelector
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


@dataclass(frozen=True)
class Source:
    """Where features and outputs of a model come from.

    Parameters
    ----------
    head : Head, optional
        The layer that features enter; needed unless `features` gives them.
    features : str or callable, optional
        The module whose output they are, or ``features(*args, **kwargs)`` that gives them, or
        features and outputs, of what the model is called with.
    outputs
        Which of several outputs counts, as for `main_output`.
    """

    head: Head | None = None
    features: str | Callable[..., Any] | None = None
    outputs: OutputSelector = None

    @property
    def name(self) -> str:
        """What errors call the features."""
        if self.head is not None and self.features is None:
            return self.head.name
        return self.features if isinstance(self.features, str) else "features="


def run(
    model: nn.Module,
    source: Source,
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
    Disagreement
        If the model's outputs are not made from the head's rows.
    ValueError
        If a layer did not run, or gives other rows than samples.
    """
    part, start = samples.part(team.rank, team.size)
    seen: list[Activations] = []
    left: list[Tensor] = []
    named = source.features if isinstance(source.features, str) else None
    head = None if source.features is not None else source.head
    with capture(model, head, layers, features=named, select=source.outputs) as captured:
        for batch in part.batches(batch_size, device, param_dtype(model)):
            features, outputs = _called(model, source, captured, batch.args, batch.kwargs)
            found = {name: captured.layers[name] for name in captured.layers}
            _check_rows(found, layers, len(batch.targets))
            seen.append(Activations(features, outputs, batch.targets, found))
            if captured.leaving is not None:
                left.append(captured.leaving)
    if not seen:
        raise ValueError(f"inputs: {len(samples)} samples; must be at least one per process")
    entering, final = [rows.features for rows in seen], [rows.outputs for rows in seen]
    rows = Activations(
        torch.cat(entering),
        torch.cat(final),
        torch.cat([rows.targets for rows in seen]),
        {name: torch.cat([rows.layers[name] for rows in seen]) for name in seen[0].layers},
        start,
    )
    _check_finite({**rows.layers, source.name: rows.features}, rows.outputs, where)
    if left:
        rows.features, rows.outputs = Pass(entering, left, final).settle(source.name)
    return rows


def _called(
    model: nn.Module,
    source: Source,
    captured: Capture,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> tuple[Tensor, Tensor]:
    """Features and outputs of one batch."""
    if not callable(source.features):
        model(*args, **kwargs)
        return captured.features, captured.outputs
    given = source.features(*args, **kwargs)
    pair = isinstance(given, (tuple, list)) and len(given) == 2
    if not pair:
        model(*args, **kwargs)
    features, outputs = given if pair else (given, captured.outputs)
    for name, value in (("features", features), ("outputs", outputs)):
        if not isinstance(value, Tensor) or value.ndim != 2:
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(f"features=: gave {name} of {shape}; must be a tensor (n, {name[0]})")
    return features.detach(), outputs.detach()


def _check_rows(found: Mapping[str, Tensor], layers: Sequence[str], count: int) -> None:
    for name in layers:
        if name not in found:
            raise ValueError(f"layers={name!r}: did not run in evaluation mode; leave it out")
        if len(found[name]) != count:
            raise ValueError(
                f"layers={name!r}: gives {len(found[name])} rows for {count} samples; only layers "
                "whose first dimension is the samples can be measured"
            )


def _check_finite(layers: Mapping[str, Tensor], outputs: Tensor, where: str) -> None:
    parts = {**layers, "": outputs}
    # One question for the whole pass: each answer makes a GPU wait.
    if bool(torch.stack([values.isfinite().all() for values in parts.values()]).all()):
        return
    masked = torch.isneginf(outputs).all(0)
    if bool(masked.any()) and bool(outputs[:, ~masked].isfinite().all()):
        raise ValueError(
            f"model: its outputs are −∞ for every sample in columns "
            f"{masked.nonzero()[:, 0].tolist()}, as a mask of classes makes them; leave them out, "
            "as outputs=lambda out: out[:, …], or mask after watching"
        )
    for name, values in parts.items():
        bad = int((~values.isfinite()).any(1).sum())
        if bad:
            what = f"the features at {name!r} are" if name else "the outputs are"
            raise Diverged(f"{where}: {what} not finite for {bad} of {len(values)} samples")
