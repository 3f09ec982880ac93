"""The settings of a run: every knob declared once, with what it does and where it applies."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fswidget.training import dataset_readers  # noqa: F401 (they register)
from fswidget.training.checks import as_json, check, read_setting, reads_own, unknown
from fswidget.training.knobs import knob
from fswidget.training.registry import (
    Builder,
    DataSource,
    Network,
    named,
    networks,
    own_again,
    sources,
)
from fswidget.training.rules import conflicts

#: What each squared error or cross-entropy loss means for the analysis of the outputs.
TASKS = {"cross_entropy": "cross_entropy", "mse": "squared_error"}


@reads_own
@dataclass(frozen=True, kw_only=True)
class Config:
    """What to train, on what, and how. Every value is checked when the object is made.

    Numbers and arrays of numpy and paths of pathlib are taken too, and kept as Python's own types.

    ``model`` takes a function of your own as well: ``build(config, shape, num_outputs)`` returns a
    ``torch.nn.Module`` for samples of `shape` that ends in a linear layer; p is what enters it, so
    ``width`` counts only if the function reads it. ``dataset`` takes a pair (inputs, targets) of
    arrays, a torch ``Dataset`` of such pairs, or two of either, (train, test); all samples are used
    unless `train_size` is given. See `fswidget.training.own`.

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

    Examples
    --------
    >>> config = fs.Config(model="mlp", width=64, loss="mse")
    >>> config.replace(batchnorm=True).batchnorm
    True
    >>> fs.Config(width=-1)
    Traceback (most recent call last):
    ValueError: width=-1: must be ...

    >>> from torch import nn
    >>> def build(config, shape, num_outputs):
    ...     hidden, last = nn.Linear(*shape, config.width), nn.Linear(config.width, num_outputs)
    ...     return nn.Sequential(hidden, nn.ReLU(), last)
    >>> inputs = np.random.default_rng(0).normal(size=(200, 8))
    >>> own = fs.Config(model=build, dataset=(inputs, inputs[:, 0] > 0), width=16, epochs=2)
    >>> recording = fs.record(own)
    >>> recording.config["model"], recording.config["dataset"], recording.config["train_size"]
    ('build', 'arrays (200, 8)', 160)
    """

    model: str | Network | Builder = knob(
        "mlp", "Network", "Which network learns the features.", group="main"
    )
    dataset: Any = knob("digits", "Data", "What the network learns from.", group="main")
    root: str = knob("data", "Data folder", "Folder with the files of the data set.", group=None)
    download: bool = knob(
        False, "Download", "Fetch missing files of the data set into the data folder.", group=None
    )
    pixels: int = knob(
        32,
        "Pixels",
        "Height and width to which pictures of a folder are resized and cropped.",
        group=None,
        min=4,
        limit=512,
    )
    grey: bool = knob(False, "Grey", "Read pictures of a folder without their colours.", group=None)
    held_out: float = knob(
        0.2,
        "Held out",
        "Share of each class that is kept for testing where a folder has no test pictures.",
        group=None,
        min=0.0,
        max=0.9,
        open_min=True,
    )
    width: int = knob(
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
    depth: int = knob(
        2,
        "Depth",
        "Hidden layers (MLP), convolutions (CNN) or blocks (transformer).",
        min=1,
        max=16,
        limit=512,
        slider=True,
    )
    batchnorm: bool = knob(
        False,
        "Batch norm",
        "Normalises each unit over the batch. Which way it moves the features depends on loss and "
        "network: it makes deep convolutional networks richer, and the default MLP with squared "
        "error use more features.",
        group="main",
    )
    activation: str = knob(
        "relu",
        "Activation",
        "Nonlinearity after each layer; Φ is what leaves the last one.",
        choices=("relu", "gelu", "tanh"),
    )
    train_size: int = knob(
        1000,
        "Training samples",
        "Size of the class-balanced training set; smaller ones are part of larger ones. More data "
        "leaves fewer ways to fit it, so features have to do more of the work.",
        group="main",
        min=2,
        log=True,
        slider=True,
    )
    test_size: int | None = knob(
        None, "Test samples", "Held-out samples; empty means at most 1,000.", min=2
    )
    probe_size: int | None = knob(
        None,
        "Probe samples",
        "Training samples on which the features are measured; empty means at most four per "
        "feature, within 1,000 to 4,000. Small probes make D_LR too small.",
        min=2,
    )
    label_noise: float = knob(
        0.0,
        "Label noise",
        "Share of the training labels that are shuffled among themselves. At 1 nothing can be "
        "learned that generalises, and yet the features may become just as low-rank.",
        min=0.0,
        max=1.0,
        step=0.05,
        slider=True,
    )
    label_pixels: bool = knob(
        False,
        "Label in pixels",
        "Writes the label into the first row of each training picture, and a random one into test "
        "pictures: a shortcut that a rich network takes and that then misleads it.",
    )
    target_scale: float = knob(
        1.0,
        "Target scale",
        "Multiplies the targets of the squared error. Small targets need small changes of the "
        "function, so features have more cause to move relative to it.",
        min=0.0,
        max=1000.0,
        log=True,
        open_min=True,
    )
    augment: bool = knob(
        False, "Augmentation", "Random crops (4 pixels of padding) and horizontal flips."
    )
    modulus: int = knob(97, "Modulus", "p of the arithmetic modulo p.", min=2, max=997, limit=997)
    operation: str = knob(
        "add",
        "Operation",
        "a ∘ b modulo p; division needs a prime p above 2.",
        choices=("add", "subtract", "multiply", "divide"),
    )
    train_fraction: float = knob(
        0.5,
        "Training fraction",
        "Share of all pairs (a, b) used for training; below about 0.3 nothing generalises.",
        min=0.0,
        max=1.0,
        open_min=True,
    )
    num_targets: int = knob(3, "Targets d", "Outputs of the synthetic teacher.", min=1, max=64)
    final_norm: bool = knob(
        False, "Final LayerNorm", "One more LayerNorm between the transformer and its head."
    )
    loss: str = knob(
        "cross_entropy",
        "Loss",
        "Cross-entropy, or the squared error to the one-hot class, summed over outputs. The "
        "squared error shows minimal features most clearly.",
        group="main",
        choices=("cross_entropy", "mse"),
    )
    optimizer: str = knob("adam", "Optimiser", "Update rule.", choices=("sgd", "adam", "adamw"))
    lr: float = knob(
        1e-3,
        "Learning rate",
        "Step size. Larger ones move the features further, until training breaks.",
        group="main",
        min=0.0,
        max=10.0,
        log=True,
        open_min=True,
    )
    momentum: float = knob(0.9, "Momentum", "Of SGD.", min=0.0, max=0.999)
    nesterov: bool = knob(False, "Nesterov", "Nesterov's form of SGD's momentum.")
    beta2: float = knob(0.999, "β₂", "Decay of Adam's second moment.", min=0.0, max=0.99999)
    weight_decay: float = knob(
        0.0,
        "Weight decay",
        "Pulls all parameters towards zero; in the long run it favours few, shared features.",
        min=0.0,
        max=10.0,
    )
    schedule: str = knob(
        "constant",
        "Schedule",
        "Learning rate over the run: constant, cosine to zero, or a tenth of it at one half and "
        "again at three quarters (step).",
        choices=("constant", "cosine", "step"),
    )
    warmup_steps: int = knob(0, "Warm-up", "Steps of linear warm-up.", min=0)
    batch_size: int = knob(64, "Batch size", "Samples per update.", min=1)
    epochs: int = knob(20, "Epochs", "Passes over the training set.", group="main", min=1)
    max_steps: int | None = knob(
        None, "Most steps", "Ends the run after this many updates, even within an epoch.", min=1
    )
    last_layer_only: bool = knob(
        False,
        "Last layer only",
        "Trains the last layer alone, which is coefficient learning: the features stay as they "
        "were drawn, which is as lazy as it gets.",
    )
    frozen: tuple[str, ...] | None = knob(
        None,
        "Frozen layers",
        "Modules, by name, whose parameters stay as they are.",
        group=None,
    )
    output_scale: float = knob(
        1.0,
        "Output scale α",
        "Trains α(f − f₀) with the loss divided by α². Large α makes training lazy: features "
        "hardly move while the function is learned. Adam's steps are 1/α as long where α > 1.",
        min=0.0,
        max=10000.0,
        log=True,
        open_min=True,
    )
    init_scale: float = knob(
        1.0,
        "Initial scale",
        "Multiplies all initial weights. Large ones make training lazy.",
        min=0.0,
        max=100.0,
        log=True,
        open_min=True,
    )
    parametrization: str = knob(
        "standard",
        "Parametrisation",
        "μP scales initial weights and steps with the width, so that features move as far at any: "
        "the width then changes nothing else. At p = 256 the two are the same.",
        choices=("standard", "mup"),
    )
    frame_every: str | int = knob(
        "auto",
        "Frames",
        "When to analyse: automatic (within the analysis budget), each epoch, log-spaced steps "
        "(at most eight per doubling), or every given number of steps.",
        choices=("auto", "epoch", "log"),
    )
    analysis_budget: float = knob(
        0.1,
        "Analysis budget",
        "Share of the wall time that the automatic schedule may spend on analysis where epochs "
        "take longer than a second. Frames become rarer, never less exact.",
        min=0.0,
        max=1.0,
        open_min=True,
    )
    precision: str = knob(
        "float32",
        "Precision",
        "bfloat16 trains in mixed precision (faster on recent GPUs); frames are made without it.",
        choices=("float32", "bfloat16"),
    )
    compile: bool = knob(
        False,
        "Compile",
        "torch.compile for the training steps: slow to start with, faster epochs of convolutional "
        "networks. For long runs; needs a C++ compiler.",
    )
    device: str = knob(
        "auto", "Device", "auto, cpu, mps, cuda or cuda:N; auto takes the fastest.", group=None
    )
    seed: int = knob(0, "Seed", "Draws subsets, initial weights and batch order.", min=0)
    layers: tuple[str, ...] | str | None = knob(
        None, "Layers", 'Further layers to watch, by name; "all" for every one.', group=None
    )
    num_eigenfunctions: int = knob(
        8, "Eigenfunctions", "How many eigenfunctions can be looked at.", min=2, max=64
    )
    num_shown: int = knob(2000, "Samples shown", "Samples in the scatter plot.", min=1)
    more_measures: bool = knob(
        False, "More measures", "NC4, accuracy with and without features, weight change."
    )
    ntk: bool = knob(
        False, "Tangent kernel", "How far the NTK moved, and its alignment with the targets: slow."
    )

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            object.__setattr__(
                self, field.name, read_setting(field.name, getattr(self, field.name))
            )
            check(field, getattr(self, field.name))
        for conflict in conflicts(self):
            value = getattr(self, conflict.field)
            if value != conflict.instead:
                raise conflict.error(value)

    @property
    def network(self) -> Network:
        """What `model` names, or is."""
        return named(networks, self.model)

    @property
    def source(self) -> DataSource:
        """What `dataset` names, or is."""
        return named(sources, self.dataset).of(self)

    @property
    def task(self) -> str:
        """How the analysis reads the outputs: ``"cross_entropy"`` or ``"squared_error"``."""
        return TASKS[self.loss]

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON types; a network or data set of your own by what it is called."""
        return {field.name: as_json(getattr(self, field.name)) for field in _FIELDS}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], like: Config | None = None) -> Config:
        """The inverse of `to_dict`; a network or data set of your own comes from `like`.

        Raises
        ------
        ValueError, TypeError
            As the constructor does, and where one of your own is in neither.
        """
        return cls(**own_again(values, vars(like) if like else {}))

    def replace(self, **changes: Any) -> Config:
        """A copy with some settings changed."""
        if "dataset" in changes:
            changes["dataset"] = read_setting("dataset", changes["dataset"])
            if isinstance(changes["dataset"], DataSource):
                changes.setdefault("train_size", None)  # all there is
        return dataclasses.replace(self, **changes)


_FIELDS = dataclasses.fields(Config)


def no_setting(name: str) -> str:
    """What to tell of a name that is none of the settings."""
    return unknown(name, [field.name for field in _FIELDS])
