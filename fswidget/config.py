"""The settings of a run: every knob declared once, with what it does and where it applies."""

from __future__ import annotations

import dataclasses
import difflib
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, NamedTuple

from fswidget.data import DataSource, sources
from fswidget.models import Network, networks

#: What each squared error or cross-entropy loss means for the analysis of the outputs.
TASKS = {"cross_entropy": "cross_entropy", "mse": "squared_error"}


def _knob(
    default: Any,
    label: str,
    help: str,
    *,
    group: str | None = "advanced",
    choices: tuple[Any, ...] | None = None,
    min: float | None = None,
    max: float | None = None,
    step: float | None = None,
    log: bool = False,
    slider: bool = False,
    open_min: bool = False,
) -> Any:
    described = {
        "label": label,
        "help": help,
        "group": group,
        "choices": choices,
        "min": min,
        "max": max,
        "step": step,
        "log": log,
        "slider": slider,
        "open_min": open_min,
    }
    return dataclasses.field(default=default, metadata=described)


def _name_unknown(cls: type[Config]) -> type[Config]:
    """Have the constructor say which settings there are where it is given another."""
    init = cls.__init__

    @wraps(init)
    def checked(self: Config, **settings: Any) -> None:
        for name, value in settings.items():
            if name not in cls.__dataclass_fields__:
                raise TypeError(f"{name}={value!r}: {no_setting(name)}")
        init(self, **settings)

    cls.__init__ = checked  # type: ignore[method-assign]
    return cls


@_name_unknown
@dataclass(frozen=True, kw_only=True)
class Config:
    """What to train, on what, and how. Every value is checked when the object is made.

    Numbers and arrays of numpy and paths of pathlib are taken too, and kept as Python's own types.

    A setting that can have no effect beside the others (batch normalisation for the transformer,
    momentum for Adam) must be left at its default. Each setting is described where it is declared;
    `controls` gives the descriptions.

    Raises
    ------
    ValueError
        If a value, or a combination of values, is impossible; the message names the setting, its
        value and what is allowed.
    TypeError
        If there is no such setting.
    """

    model: str = _knob("mlp", "Network", "Which network learns the features.", group="main")
    dataset: str = _knob("digits", "Data", "What the network learns from.", group="main")
    root: str = _knob("data", "Data folder", "Folder with the files of the data set.", group=None)
    download: bool = _knob(
        False, "Download", "Fetch missing files of the data set into the data folder.", group=None
    )
    width: int = _knob(
        256,
        "Width p",
        "Dimension of the feature map, and with it the width of every layer. Wide networks have "
        "more features to choose from; whether they use few or many of them is the question.",
        group="main",
        min=1,
        max=1024,
        log=True,
        slider=True,
    )
    depth: int = _knob(
        2,
        "Depth",
        "Hidden layers (MLP), convolutions (CNN) or blocks (transformer).",
        min=1,
        max=16,
        slider=True,
    )
    batchnorm: bool = _knob(
        False,
        "Batch normalisation",
        "Normalises each unit over the batch. Which way it moves the features depends on loss and "
        "network: it makes deep convolutional networks richer, and the default MLP with squared "
        "error use more features.",
        group="main",
    )
    activation: str = _knob(
        "relu",
        "Activation",
        "Nonlinearity after each layer; Φ is what leaves the last one.",
        choices=("relu", "gelu", "tanh"),
    )
    train_size: int = _knob(
        1000,
        "Training samples",
        "Size of the class-balanced training set; smaller ones are part of larger ones. More data "
        "leaves fewer ways to fit it, so features have to do more of the work.",
        group="main",
        min=2,
        log=True,
        slider=True,
    )
    test_size: int | None = _knob(
        None, "Test samples", "Held-out samples; empty means at most 1,000.", min=2
    )
    probe_size: int | None = _knob(
        None,
        "Probe samples",
        "Training samples on which the features are measured; empty means at most four a feature, "
        "within 1,000 to 4,000. Small probes make D_LR too small.",
        min=2,
    )
    label_noise: float = _knob(
        0.0,
        "Label noise",
        "Share of the training labels that are shuffled among each other. At 1 nothing can be "
        "learned that generalises, and yet the features may become just as low-rank.",
        min=0.0,
        max=1.0,
        step=0.05,
        slider=True,
    )
    label_pixels: bool = _knob(
        False,
        "Label in pixels",
        "Writes the label into the first row of each training picture, and a random one into test "
        "pictures: a shortcut that a rich network takes and that then misleads it.",
    )
    target_scale: float = _knob(
        1.0,
        "Target scale",
        "Multiplies the targets of the squared error. Small targets need small changes of the "
        "function, so features have more cause to move relative to it.",
        min=0.0,
        max=1000.0,
        log=True,
        open_min=True,
    )
    augment: bool = _knob(
        False, "Augmentation", "Random crops (4 pixels of padding) and horizontal flips."
    )
    modulus: int = _knob(97, "Modulus", "p of the arithmetic modulo p.", min=2, max=997)
    operation: str = _knob(
        "add",
        "Operation",
        "a ∘ b modulo p; division needs a prime p above 2.",
        choices=("add", "subtract", "multiply", "divide"),
    )
    train_fraction: float = _knob(
        0.5,
        "Training fraction",
        "Share of all pairs (a, b) used for training; below about 0.3 nothing generalises.",
        min=0.0,
        max=1.0,
        open_min=True,
    )
    num_targets: int = _knob(3, "Targets d", "Outputs of the synthetic teacher.", min=1, max=64)
    final_norm: bool = _knob(
        False, "Final LayerNorm", "One more LayerNorm between the transformer and its head."
    )
    loss: str = _knob(
        "cross_entropy",
        "Loss",
        "Cross-entropy, or the squared error to the one-hot class, summed over outputs. The "
        "squared error shows minimal features most clearly.",
        group="main",
        choices=("cross_entropy", "mse"),
    )
    optimizer: str = _knob(
        "adam", "Optimiser", "Rule of the update.", choices=("sgd", "adam", "adamw")
    )
    lr: float = _knob(
        1e-3,
        "Learning rate",
        "Step size. Larger ones move the features further, until training breaks.",
        group="main",
        min=0.0,
        max=10.0,
        log=True,
        open_min=True,
    )
    momentum: float = _knob(0.9, "Momentum", "Of SGD.", min=0.0, max=0.999)
    nesterov: bool = _knob(False, "Nesterov", "Nesterov's form of SGD's momentum.")
    beta2: float = _knob(0.999, "β₂", "Decay of Adam's second moment.", min=0.0, max=0.99999)
    weight_decay: float = _knob(
        0.0,
        "Weight decay",
        "Pulls all parameters towards zero; in the long run it favours few, shared features.",
        min=0.0,
        max=10.0,
    )
    schedule: str = _knob(
        "constant",
        "Schedule",
        "Learning rate over the run: constant, cosine to zero, or a tenth of it at one half and "
        "again at three quarters (step).",
        choices=("constant", "cosine", "step"),
    )
    warmup_steps: int = _knob(0, "Warm-up", "Steps of linear warm-up.", min=0)
    batch_size: int = _knob(64, "Batch size", "Samples an update.", min=1)
    epochs: int = _knob(20, "Epochs", "Passes over the training set.", group="main", min=1)
    max_steps: int | None = _knob(
        None, "Most steps", "Ends the run after so many updates, even within an epoch.", min=1
    )
    last_layer_only: bool = _knob(
        False,
        "Train the last layer only",
        "Coefficient learning: the features stay as they were drawn, which is as lazy as it gets.",
    )
    output_scale: float = _knob(
        1.0,
        "Output scale α",
        "Trains α(f − f₀) with the loss divided by α². Large α makes training lazy: the function "
        "is learned with features that hardly move. At 1 the network is left as it is.",
        min=0.0,
        max=10000.0,
        log=True,
        open_min=True,
    )
    init_scale: float = _knob(
        1.0,
        "Initial scale",
        "Multiplies all initial weights. Large ones make training lazy.",
        min=0.0,
        max=100.0,
        log=True,
        open_min=True,
    )
    frame_every: str | int = _knob(
        "auto",
        "Frames",
        "When to analyse: automatic (within the analysis budget), each epoch, log-spaced steps "
        "(eight a doubling at most), or every so many steps.",
        choices=("auto", "epoch", "log"),
    )
    analysis_budget: float = _knob(
        0.1,
        "Analysis budget",
        "Share of the wall time that the automatic cadence may spend on analysis where epochs take "
        "longer than a second. Frames become rarer, never less exact.",
        min=0.0,
        max=1.0,
        open_min=True,
    )
    precision: str = _knob(
        "float32",
        "Precision",
        "bfloat16 trains in mixed precision (faster on recent GPUs); analysis stays in float32.",
        choices=("float32", "bfloat16"),
    )
    device: str = _knob(
        "auto", "Device", "auto, cpu, mps, cuda or cuda:N; auto takes the fastest.", group=None
    )
    seed: int = _knob(0, "Seed", "Draws subsets, initial weights and batch order.", min=0)
    layers: tuple[str, ...] | str | None = _knob(
        None, "Layers", 'Further layers to watch, by name; "all" for every one.', group=None
    )
    num_eigenfunctions: int = _knob(
        8, "Eigenfunctions", "How many eigenfunctions can be looked at.", min=2, max=64
    )
    num_shown: int = _knob(2000, "Samples shown", "Samples in the scatter plot.", min=1)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, plain(getattr(self, field.name)))
            _check(field, getattr(self, field.name))
        for conflict in _conflicts(self):
            value = getattr(self, conflict.field)
            if value != conflict.instead:
                raise ValueError(f"{conflict.field}={value!r}: {conflict.reason}")

    @property
    def network(self) -> Network:
        """What `model` names."""
        return networks[self.model]

    @property
    def source(self) -> DataSource:
        """What `dataset` names."""
        return sources[self.dataset]

    @property
    def task(self) -> str:
        """How the analysis reads the outputs: ``"cross_entropy"`` or ``"squared_error"``."""
        return TASKS[self.loss]

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON types."""
        values = dataclasses.asdict(self)
        if isinstance(self.layers, tuple):
            values["layers"] = list(self.layers)
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Config:
        """The inverse of `to_dict`."""
        return cls(**values)

    def replace(self, **changes: Any) -> Config:
        """A copy with some settings changed."""
        return dataclasses.replace(self, **changes)


_FIELDS = dataclasses.fields(Config)


def plain(value: Any) -> Any:
    """A setting in Python's own types: numpy's numbers, arrays, lists and paths become those."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return tuple(map(plain, value)) if isinstance(value, (list, tuple)) else value


def no_setting(name: str) -> str:
    """What to tell of a name that is none of the settings."""
    names = [field.name for field in _FIELDS]
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"no such setting; {hint}Settings: {', '.join(names)}"


def _check(field: dataclasses.Field[Any], value: Any) -> None:
    """Raise ValueError if `value` is impossible for the setting on its own."""
    name, meta, default = field.name, field.metadata, field.default

    def wrong(allowed: str) -> ValueError:
        return ValueError(f"{name}={value!r}: must be {allowed}")

    if name in ("model", "dataset"):
        known = networks if name == "model" else sources
        if not _is_str(value) or value not in known:
            raise wrong(f"one of {', '.join(known)}")
    elif name == "root":
        if not isinstance(value, str):
            raise wrong("the path of a folder, as a string")
    elif name == "device":
        if not isinstance(value, str) or value.split(":")[0] not in ("auto", "cpu", "cuda", "mps"):
            raise wrong("auto, cpu, mps, cuda or cuda:N")
    elif name == "layers":
        names = value if isinstance(value, tuple) else ()
        if not (value is None or value == "all" or (names and all(map(_is_str, names)))):
            raise wrong('None, "all" or a list of layer names')
    elif name == "frame_every":
        word = _is_str(value) and value in meta["choices"]
        if not word and not (_is_int(value) and value >= 1):
            raise wrong("auto, epoch, log or a number of steps ≥ 1")
    elif name == "seed":
        # What torch's generators take.
        if not _is_int(value) or not 0 <= value < 2**64:
            raise wrong("an integer ≥ 0 and < 2**64")
    elif meta["choices"] is not None:
        if not _is_str(value) or value not in meta["choices"]:
            raise wrong(f"one of {', '.join(map(str, meta['choices']))}")
    elif isinstance(default, bool):
        if not isinstance(value, bool):
            raise wrong("True or False")
    elif not (value is None and default is None):
        integer = not isinstance(default, float)
        low, high, above = meta["min"], meta["max"], ">" if meta["open_min"] else "≥"
        right_type = _is_int(value) if integer else _is_number(value)
        too_low = right_type and (value <= low if meta["open_min"] else value < low)
        # Upper ends of integers are the reach of a slider, not a limit.
        too_high = right_type and not integer and high is not None and value > high
        if not right_type or too_low or too_high:
            kind = "an integer" if integer else "a finite number"
            top = f" and ≤ {high:g}" if not integer and high is not None else ""
            raise wrong(f"{kind} {above} {low:g}{top}")


def _is_str(value: Any) -> bool:
    return isinstance(value, str)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return _is_int(value) or (isinstance(value, float) and math.isfinite(value))


class Conflict(NamedTuple):
    """A setting that cannot have its own way beside the others."""

    field: str
    reason: str
    instead: Any  # the value that it must, or had better, have


def _default(name: str) -> Any:
    return Config.__dataclass_fields__[name].default


def _conflicts(config: Config) -> Iterator[Conflict]:
    """What the other settings forbid, in the order in which to put it right."""
    network, source = config.network, config.source

    def idle(reason: str, *names: str) -> Iterator[Conflict]:
        for name in names:
            yield Conflict(name, reason, _default(name))

    if not network.reads(source):
        fitting = [name for name, other in networks.items() if other.reads(source)]
        yield Conflict(
            "model",
            f"cannot read dataset={source.name!r} ({source.kind}, shape {source.shape}); "
            f"these can: {', '.join(fitting)}",
            fitting[0],
        )
        return
    if config.width % network.width_multiple:
        multiple = network.width_multiple
        yield Conflict(
            "width",
            f"must be a multiple of {multiple} for model={network.name!r}",
            max(multiple, config.width // multiple * multiple),
        )
    if not network.batchnorm:
        yield from idle(f"model={network.name!r} has no batch normalisation", "batchnorm")
    if not network.depth:
        yield from idle(f"model={network.name!r} has a fixed depth", "depth")
    if not network.activation:
        yield from idle(f"model={network.name!r} has a fixed activation", "activation")
    if network.name != "transformer":
        yield from idle("only the transformer has it", "final_norm")

    if source.kind != "tokens":
        reason = "applies to dataset='modular' only"
        yield from idle(reason, "modulus", "operation", "train_fraction")
        if config.train_size > source.train_size:
            reason = f"dataset={source.name!r} has {source.train_size} training samples"
            yield Conflict("train_size", reason, source.train_size)
    else:
        yield from idle("train_fraction decides for modular arithmetic", "train_size")
        # Division modulo 2 has two pairs in all, too few for training and test.
        prime = all(config.modulus % k for k in range(2, math.isqrt(config.modulus) + 1))
        if config.operation == "divide" and not (prime and config.modulus > 2):
            reason = f"needs a prime modulus above 2, not {config.modulus}"
            yield Conflict("operation", reason, "add")
    train_size, test_size = source.sizes(config)
    if min(train_size, test_size) < 2:
        yield Conflict(
            "train_fraction",
            f"leaves {train_size} of {train_size + test_size} pairs for training; "
            "both parts need at least two",
            _default("train_fraction"),
        )
        return
    if config.test_size is not None and config.test_size > test_size:
        reason = f"dataset={source.name!r} has {test_size} test samples"
        yield Conflict("test_size", reason, test_size)
    if config.probe_size is not None and config.probe_size > train_size:
        reason = f"is taken from the {train_size} training samples"
        yield Conflict("probe_size", reason, None)
    if source.name != "teacher":
        yield from idle("applies to dataset='teacher' only", "num_targets")

    if source.class_names is None:
        if config.loss != "mse":
            reason = f"dataset={source.name!r} is a regression, which needs loss='mse'"
            yield Conflict("loss", reason, "mse")
        yield from idle("a regression has no labels", "label_noise", "label_pixels")
    if source.kind != "image":
        yield from idle(f"dataset={source.name!r} has no pictures", "augment", "label_pixels")
    elif len(source.class_names or ()) > source.shape[-1]:
        yield from idle("the picture has fewer columns than classes", "label_pixels")
    if config.loss == "cross_entropy":
        yield from idle("applies to loss='mse' only", "target_scale")

    if config.optimizer == "sgd":
        yield from idle("applies to Adam and AdamW only", "beta2")
        if config.nesterov and config.momentum == 0:
            yield Conflict("nesterov", "needs momentum > 0", False)
    else:
        yield from idle("applies to optimizer='sgd' only", "momentum", "nesterov")
    if config.batchnorm and config.batch_size == 1:
        reason = "batch normalisation needs at least two samples in a batch"
        yield Conflict("batch_size", reason, _default("batch_size"))


def settle(values: Mapping[str, Any], keep: str | Iterable[str] = ()) -> tuple[Config, list[str]]:
    """The valid settings nearest to `values`, changing as little as possible.

    For menus: choosing another data set must not end in an error because of a knob set before.

    Parameters
    ----------
    values : mapping
        Settings by name.
    keep : str or iterable of str
        Settings that must stay, usually the one just chosen.

    Returns
    -------
    config : Config
    adjustments : list of str
        What was changed and why, one sentence each; empty if `values` were valid.

    Raises
    ------
    ValueError
        If a value is impossible on its own, or the kept ones exclude each other.
    """
    kept = {keep} if isinstance(keep, str) else set(keep)
    values = {**{field.name: field.default for field in _FIELDS}, **values}
    values = {name: plain(value) for name, value in values.items()}
    for field in _FIELDS:
        _check(field, values[field.name])
    adjustments: list[str] = []

    def adjust(name: str, value: Any, reason: str) -> None:
        before, after = _show(name, values[name]), _show(name, value)
        adjustments.append(f"{name} {before} → {after}: {reason}.")
        values[name] = value

    network, source = networks[values["model"]], sources[values["dataset"]]
    if "model" in kept and "dataset" not in kept and not network.reads(source):
        fitting = next(name for name, other in sources.items() if network.reads(other))
        adjust("dataset", fitting, f"model={network.name!r} cannot read {source.name!r}")
    while True:
        draft = object.__new__(Config)
        for name, value in values.items():
            object.__setattr__(draft, name, value)
        wrong = [c for c in _conflicts(draft) if values[c.field] != c.instead]
        free = next((conflict for conflict in wrong if conflict.field not in kept), None)
        if free is None:
            return Config(**values), adjustments
        adjust(free.field, free.instead, free.reason)


def controls(config: Config) -> list[dict[str, Any]]:
    """Descriptions of the controls that change a configuration, as JSON types.

    Returns
    -------
    list of dict
        ``name``, ``label``, ``help``, ``group`` ("main" or "advanced"), ``kind`` ("slider",
        "number", "select" or "checkbox"), ``value``, ``choices``, ``min``, ``max``, ``step`` (a
        whole number where the setting is one), ``log`` and ``disabled``: None, or why the control
        has no effect beside the others.
    """
    obstacles: dict[str, str] = {}
    for conflict in _conflicts(config):
        # A bound still leaves a choice; only what must keep one value is disabled.
        if conflict.instead == getattr(config, conflict.field):
            obstacles.setdefault(conflict.field, conflict.reason)
    specs = []
    for field in dataclasses.fields(config):
        meta = dict(field.metadata)
        if meta.pop("group") is None:
            continue
        slider = meta.pop("slider")
        meta.pop("open_min")
        choices = meta.pop("choices")
        if field.name == "model":
            choices = tuple(networks)
        elif field.name == "dataset":
            choices = tuple(sources)
        if choices is not None:
            kind = "select"
        elif isinstance(field.default, bool):
            kind = "checkbox"
        else:
            kind = "slider" if slider else "number"
        if field.name == "train_size":
            meta["max"] = config.source.train_size
        if field.name == "width":
            meta["step"] = config.network.width_multiple
        elif kind in ("slider", "number") and not isinstance(field.default, float):
            meta["step"] = 1  # JSON does not tell whole numbers from others
        value = getattr(config, field.name)
        if choices is not None and value not in choices:
            choices = (*choices, value)
        specs.append(
            {
                "name": field.name,
                "group": field.metadata["group"],
                "kind": kind,
                "value": value,
                "choices": None if choices is None else list(choices),
                **meta,
                "disabled": obstacles.get(field.name),
            }
        )
    return specs


def describe_change(old: Config, new: Config) -> str:
    """What changed from one configuration to another, such as ``"batchnorm off → on"``."""
    changed = []
    for field in dataclasses.fields(old):
        before, after = getattr(old, field.name), getattr(new, field.name)
        if before != after:
            shown = _show(field.name, before), _show(field.name, after)
            changed.append(f"{field.name} {shown[0]} → {shown[1]}")
    return ", ".join(changed)


def _show(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if value is None:
        return "none" if name in ("layers", "max_steps") else "automatic"
    return f"{value:g}" if isinstance(value, float) else str(value)
