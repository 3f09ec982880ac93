"""Reading what a probe is made with, and what a snapshot is given."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from fswidget.analysis.arrays import as_tensor
from fswidget.analysis.positions import Layout
from fswidget.analysis.targets import TASKS
from fswidget.probing.head import unwrap
from fswidget.probing.samples import Samples


def check_model(model: Any, features: Any) -> None:
    """Raise TypeError or ValueError for what is no network, or has no such features."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"model={type(model).__name__}: must be a torch.nn.Module")
    check_weights(model, type(model).__name__, "call model(inputs[:2]) before")
    if isinstance(features, str):
        check_module("features", features, unwrap(model))
    elif features is not None and not callable(features):
        raise TypeError(f"features={features!r}: must be the name of a module, or a function")


def check_weights(model: nn.Module, name: str, how: str) -> None:
    """Raise ValueError where layers have none yet; `how` they get some."""
    lazy = [name for name, module in model.named_modules() if _is_lazy(module)]
    if lazy:
        raise ValueError(
            f"model={name}: its layers {', '.join(map(repr, lazy))} are lazy and have no weights "
            f"yet; must have run once: {how}"
        )


def check_module(what: str, name: Any, model: nn.Module) -> None:
    """Raise ValueError for a name that no module of the model bears."""
    known = [name for name, _ in model.named_modules() if name]
    if name not in known:
        raise ValueError(f"{what}={name!r}: no such module; must be one of {', '.join(known)}")


def check_counts(task: Any, top: Any, **counts: Any) -> None:
    """Raise TypeError or ValueError for what no frame can be made with."""
    if task not in TASKS:
        raise ValueError(f"task={task!r}: must be one of {', '.join(map(repr, TASKS))}")
    for name, value in {**counts, **({} if top is None else {"top": top})}.items():
        if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
            raise ValueError(f"{name}={value!r}: must be an integer ≥ 1")


def check_flags(**flags: Any) -> None:
    """Raise ValueError for what is neither True nor False."""
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise ValueError(f"{name}={value!r}: must be True or False")


def _is_lazy(module: nn.Module) -> bool:
    own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
    return any(is_lazy(tensor) for tensor in own)


def device_of(device: Any) -> torch.device | None:
    """A device as torch names it."""
    if device is None:
        return None
    try:
        torch.zeros(1, device=device).cpu()  # it is known, there, and holds numbers
        return torch.device(device)
    except (RuntimeError, TypeError, AssertionError, NotImplementedError) as error:
        why = str(error).split("\n", 1)[0]
        raise ValueError(f"device={device!r}: must be a device that is there ({why})") from error


def held_out_samples(
    held_out: Any,
    probe: Samples,
    num_outputs: int,
    task: str,
    num_shown: int,
    layout: Layout | None,
    draw: Mapping[str, Any],
) -> Samples | None:
    """Samples that the training does not see, read and drawn as those of the probe are."""
    if held_out is None:
        return None
    if not isinstance(held_out, (tuple, list)) or len(held_out) != 2:
        raise TypeError(f"held_out={type(held_out).__name__}: must be a pair (inputs, targets)")
    inputs, targets = held_out
    other = Samples.of(inputs, targets, "held_out ").at_positions(layout, **draw)
    samples = other.fit(num_outputs, task, num_shown, "held_out targets")
    if samples.num_targets != probe.num_targets:
        raise ValueError(
            f"held_out targets: {samples.num_targets} values per sample; must be "
            f"{probe.num_targets}, as in targets"
        )
    return samples


def names_of_classes(
    names: Sequence[str] | Mapping[Any, str] | None, samples: Samples, num_outputs: int
) -> tuple[str, ...]:
    """As given, in a list or by number as Hugging Face's ``id2label``, or numbers; none for bits
    and values."""
    classes = 0 if samples.labels is None else max(num_outputs, samples.num_targets)
    if isinstance(names, str):
        raise TypeError(f"class_names={names!r}: must be a list of names, or a dict by number")
    if isinstance(names, Mapping):
        by_number = {str(number): name for number, name in names.items()}
        if set(by_number) != set(map(str, range(classes))):
            raise ValueError(f"class_names: for {list(names)}; must be for 0..{classes - 1}")
        names = [by_number[str(number)] for number in range(classes)]
    if names is not None and len(names) != classes:
        raise ValueError(f"class_names: {len(names)} names; must be {classes}")
    return tuple(map(str, range(classes) if names is None else names))


def when(epoch: Any, step: Any, last_epoch: float, taken: int) -> tuple[float, int]:
    """Epoch and step of the next frame.

    Raises
    ------
    TypeError
        If they are no numbers.
    ValueError
        If the epoch is not after that of the last frame.
    """
    epoch = last_epoch + 1 if epoch is None else number("epoch", epoch)
    step = taken if step is None else step
    if not isinstance(step, Integral) or step < 0:
        raise ValueError(f"step={step!r}: must be an integer ≥ 0")
    if not 0 <= epoch < math.inf:
        raise ValueError(f"epoch={epoch!r}: must be a finite number ≥ 0")
    if epoch <= last_epoch:
        raise ValueError(
            f"epoch={epoch:g}: must be after {last_epoch:g}, that of the last frame: they never "
            "decrease or repeat"
        )
    return epoch, int(step)


def check_scalars(scalars: Mapping[str, Any]) -> dict[str, float]:
    """What a user adds to a frame, as numbers."""
    for name in ("regime", "evidence", "solver"):
        if name in scalars:
            raise ValueError(
                f"{name}={scalars[name]!r}: is measured in every frame; must be given another name"
            )
    return {
        name: number(name, _mean(value) if name == "loss" else value)
        for name, value in scalars.items()
    }


def _mean(value: Any) -> Any:
    """Of a loss for each sample, the mean."""
    return as_tensor("loss", value).double().mean() if getattr(value, "ndim", 0) == 1 else value


def number(name: str, value: Any) -> float:
    """A number, also of a tensor; a text is none."""
    try:
        if isinstance(value, str):
            raise TypeError
        return float(value.detach() if isinstance(value, Tensor) else value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name}={value!r}: must be a number") from error


def settings_of(config: Any) -> dict[str, Any]:
    """Settings as a dict."""
    if config is None:
        return {}
    config = config.to_dict() if hasattr(config, "to_dict") else config
    if not isinstance(config, Mapping):
        raise TypeError(f"config={config!r}: must be a Config or a dict of settings")
    return dict(config)
