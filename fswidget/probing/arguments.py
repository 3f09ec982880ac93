"""Reading what a probe is made with, and what a snapshot is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from fswidget.analysis.targets import TASKS
from fswidget.probing.samples import Array, Inputs, Samples


def check_arguments(model: Any, task: Any, **counts: Any) -> None:
    """Raise TypeError or ValueError for what no probe can be made with."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"model={type(model).__name__}: must be a torch.nn.Module")
    if task not in TASKS:
        raise ValueError(f"task={task!r}: must be one of {', '.join(map(repr, TASKS))}")
    for name, value in counts.items():
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name}={value!r}: must be an integer ≥ 1")


def check_source(model: nn.Module, head: str | None, features: Any) -> None:
    """Raise for what cannot say where the features are."""
    if head is not None and features is not None:
        raise ValueError(f"head={head!r}, features={features!r}: one of the two says it")
    known = {name for name, _ in model.named_modules() if name}
    for name, value in (("head", head), ("features", features)):
        if value is None or (name == "features" and callable(value)):
            continue
        if not isinstance(value, str):
            raise TypeError(f"{name}={value!r}: must be the name of a module")
        if value not in known:
            raise ValueError(
                f"{name}={value!r}: no such module; must be one of {', '.join(sorted(known))}"
            )


def held_out_samples(
    held_out: tuple[Inputs, Array], probe: Samples, num_outputs: int, task: str, num_shown: int
) -> Samples:
    """Samples that the training does not see, read as those of the probe are."""
    other = Samples.of(*held_out, prefix="held_out ")
    samples = other.fit(num_outputs, task, num_shown, "held_out targets")
    if samples.num_targets != probe.num_targets:
        raise ValueError(
            f"held_out targets: {samples.num_targets} values per sample; must be "
            f"{probe.num_targets}, as in targets"
        )
    return samples


def names_of_classes(
    names: Sequence[str] | None, samples: Samples, num_outputs: int
) -> tuple[str, ...]:
    """As given, or numbers; none for bits and values."""
    classes = 0 if samples.labels is None else max(num_outputs, samples.num_targets)
    if names is not None and len(names) != classes:
        raise ValueError(f"class_names: {len(names)} names; must be {classes}")
    return tuple(map(str, range(classes) if names is None else names))


def number(name: str, value: Any) -> float:
    try:
        return float(value.detach() if isinstance(value, Tensor) else value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name}={value!r}: must be a number") from error


def settings_of(config: Any) -> dict[str, Any]:
    if config is None:
        return {}
    return dict(config.to_dict() if hasattr(config, "to_dict") else config)
