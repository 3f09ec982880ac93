"""What the settings forbid each other."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from fswidget.training.registry import DataSource, Network, Settings, networks


class Conflict(NamedTuple):
    """A setting that cannot have its own way beside the others."""

    field: str
    reason: str
    instead: Any  # the value that it must, or had better, have

    def error(self, value: Any) -> ValueError:
        """What to raise where the setting has this value."""
        shown = value.name if isinstance(value, Network | DataSource) else value
        return ValueError(f"{self.field}={shown!r}: {self.reason}")


def default_of(config: Settings, name: str) -> Any:
    return type(config).__dataclass_fields__[name].default


def conflicts(config: Settings) -> Iterator[Conflict]:
    """What the other settings forbid, in the order in which to put it right."""
    network, source = config.network, config.source
    if not network.reads(source):
        fitting = [name for name, other in networks.items() if other.reads(source)]
        what = f"dataset={source.name!r} ({source.kind}, shape {source.shape})"
        if fitting:
            can = f"these can: {', '.join(fitting)}"
            yield Conflict("model", f"cannot read {what}; {can}", fitting[0])
        else:
            reason = f"no network that has a name reads {what}; give model= a function of your own"
            yield Conflict("dataset", reason, default_of(config, "dataset"))
        return
    yield from _of_network(config)
    yield from _of_samples(config)
    train_size, test_size = source.sizes(config)
    if min(train_size, test_size) < 2:
        yield Conflict(
            "train_fraction",
            f"leaves {train_size} of {train_size + test_size} pairs for training; "
            "both parts need at least two",
            default_of(config, "train_fraction"),
        )
        return
    if config.test_size is not None and config.test_size > test_size:
        reason = f"dataset={source.name!r} has {test_size} test samples"
        yield Conflict("test_size", reason, test_size)
    if config.probe_size is not None and config.probe_size > train_size:
        reason = f"is taken from the {train_size} training samples"
        yield Conflict("probe_size", reason, None)
    yield from _of_targets(config)
    yield from _of_optimisation(config)


def _idle(config: Settings, reason: str, *names: str) -> Iterator[Conflict]:
    """These settings have no effect, so they must stay at their defaults."""
    for name in names:
        yield Conflict(name, reason, default_of(config, name))


def _of_network(config: Settings) -> Iterator[Conflict]:
    network = config.network
    if config.width % network.width_multiple:
        multiple = network.width_multiple
        yield Conflict(
            "width",
            f"must be a multiple of {multiple} for model={network.name!r}",
            max(multiple, config.width // multiple * multiple),
        )
    if not network.batchnorm:
        yield from _idle(config, f"model={network.name!r} has no batch normalisation", "batchnorm")
    if not network.depth:
        yield from _idle(config, f"model={network.name!r} has a fixed depth", "depth")
    if not network.activation:
        yield from _idle(config, f"model={network.name!r} has a fixed activation", "activation")
    if network.name == "transformer":
        yield from _idle(config, "attention has no μP here", "parametrization")
    if network.name != "transformer" and isinstance(config.model, str):
        yield from _idle(config, "only the transformer has it", "final_norm")


def _of_samples(config: Settings) -> Iterator[Conflict]:
    source = config.source
    if source.kind != "tokens":
        reason = "applies to dataset='modular' only"
        yield from _idle(config, reason, "modulus", "operation", "train_fraction")
        if config.train_size > source.train_size:
            reason = f"dataset={source.name!r} has {source.train_size} training samples"
            yield Conflict("train_size", reason, source.train_size)
    else:
        yield from _idle(config, "train_fraction decides for modular arithmetic", "train_size")
        # Division modulo 2 has two pairs in all, too few for training and test.
        prime = all(config.modulus % k for k in range(2, math.isqrt(config.modulus) + 1))
        if config.operation == "divide" and not (prime and config.modulus > 2):
            reason = f"needs a prime modulus above 2, not {config.modulus}"
            yield Conflict("operation", reason, "add")


def _of_targets(config: Settings) -> Iterator[Conflict]:
    source = config.source
    if source.name != "folder":
        reason = "applies to dataset='folder' only"
        yield from _idle(config, reason, "pixels", "grey")
        if not source.given:
            yield from _idle(config, reason, "held_out")
        elif source.resolve is None:
            yield from _idle(config, "the data set has a test part", "held_out")
    if source.name != "teacher":
        yield from _idle(config, "applies to dataset='teacher' only", "num_targets")

    if source.class_names is None:
        if config.loss != "mse":
            reason = f"dataset={source.name!r} is a regression, which needs loss='mse'"
            yield Conflict("loss", reason, "mse")
        yield from _idle(config, "a regression has no labels", "label_noise", "label_pixels")
    if source.given:
        yield from _idle(config, "applies to data sets that have a name only", "label_pixels")
    if source.kind != "image":
        yield from _idle(
            config, f"dataset={source.name!r} has no pictures", "augment", "label_pixels"
        )
    elif len(source.class_names or ()) > source.shape[-1]:
        yield from _idle(config, "the picture has fewer columns than classes", "label_pixels")
    if config.loss == "cross_entropy":
        yield from _idle(config, "applies to loss='mse' only", "target_scale")


def _of_optimisation(config: Settings) -> Iterator[Conflict]:
    if config.optimizer == "sgd":
        yield from _idle(config, "applies to Adam and AdamW only", "beta2")
        if config.nesterov and config.momentum == 0:
            yield Conflict("nesterov", "needs momentum > 0", False)
    else:
        yield from _idle(config, "applies to optimizer='sgd' only", "momentum", "nesterov")
    if config.batchnorm and config.batch_size == 1:
        reason = "batch normalisation needs at least two samples in a batch"
        yield Conflict("batch_size", reason, default_of(config, "batch_size"))


def follows_flow(config: Settings, count: int) -> bool:
    """Whether a run of `count` samples follows the gradient flow of a balanced linear network, up
    to the size of its steps: no noise of batches, no momentum, no decay."""
    return bool(
        config.network is networks.get("linear")
        and config.loss == "mse"
        and config.optimizer == "sgd"
        and config.batch_size >= count
        and config.momentum == config.weight_decay == 0
        and config.output_scale == 1
        and config.parametrization == "standard"
        and config.precision == "float32"
        and not (config.augment or config.last_layer_only or config.frozen)
    )
