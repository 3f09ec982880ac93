"""Config: what it accepts, what it refuses, and what it tells the controls."""

import inspect
import json
import typing
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fswidget.training.changes import describe_change
from fswidget.training.changes import nearest_valid as settle
from fswidget.training.config import Config
from fswidget.training.registry import networks, sources
from fswidget.widget.controls import controls

MODULAR = {"model": "transformer", "dataset": "modular"}
REGRESSION = {"dataset": "teacher", "loss": "mse"}


def test_defaults_are_the_embedded_digits() -> None:
    config = Config()
    assert (config.model, config.dataset, config.width, config.train_size) == (
        "mlp",
        "digits",
        256,
        1000,
    )
    assert (config.loss, config.epochs, config.lr, config.seed) == ("cross_entropy", 20, 1e-3, 0)
    assert config.task == "cross_entropy"
    assert Config(loss="mse").task == "squared_error"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "perceptron"}, r"model='perceptron': must be one of mlp, cnn"),
        ({"dataset": "imagenet"}, r"dataset='imagenet': must be one of digits, mnist"),
        ({"width": 0}, r"width=0: must be an integer ≥ 1"),
        ({"width": 2.5}, r"width=2.5: must be an integer"),
        ({"width": np.ones(2)}, r"width=\(1.0, 1.0\): must be an integer"),
        ({"model": ["mlp"]}, r"model=\('mlp',\): must be one of mlp"),
        ({"loss": ["mse"]}, r"loss=\('mse',\): must be one of cross_entropy"),
        ({"frame_every": ["log"]}, r"frame_every=\('log',\): must be auto"),
        ({"lr": 10**400}, r"lr=10+: must be a finite number > 0 and ≤ 10"),
        ({"seed": -1}, r"seed=-1: must be an integer ≥ 0 and < 2\*\*64"),
        ({"seed": 2**64}, rf"seed={2**64}: must be an integer ≥ 0 and < 2\*\*64"),
        ({"train_size": 1}, r"train_size=1: must be an integer ≥ 2"),
        ({"test_size": 1}, r"test_size=1: must be an integer ≥ 2"),
        ({"root": b"data"}, r"root=b'data': must be the path of a folder"),
        ({"width": True}, r"width=True: must be an integer"),
        ({"batchnorm": 1}, r"batchnorm=1: must be True or False"),
        ({"loss": "hinge"}, r"loss='hinge': must be one of cross_entropy, mse"),
        ({"lr": 0}, r"lr=0: must be a finite number > 0"),
        ({"lr": float("nan")}, r"lr=nan: must be a finite number"),
        ({"label_noise": 1.5}, r"label_noise=1.5: .* ≥ 0 and ≤ 1"),
        ({"frame_every": 0}, r"frame_every=0: must be auto, epoch, log or a number of steps"),
        ({"layers": "some"}, r'layers=\'some\': must be None, "all"'),
        ({"device": "tpu"}, r"device='tpu': must be auto"),
        ({"train_size": 1438}, r"train_size=1438: dataset='digits' has 1437 training samples"),
        ({"test_size": 361}, r"test_size=361: dataset='digits' has 360 test samples"),
        ({"probe_size": 1001}, r"probe_size=1001: is taken from the 1000 training samples"),
        ({"batchnorm": True, "batch_size": 1}, r"batch_size=1: .* at least two samples"),
        ({"model": "vgg16"}, r"model='vgg16': cannot read dataset='digits'"),
        ({"model": "transformer"}, r"model='transformer': cannot read dataset='digits'"),
        ({"model": "resnet18", "width": 100}, r"width=100: must be a multiple of 8"),
        ({"momentum": 0.5}, r"momentum=0.5: applies to optimizer='sgd' only"),
        ({"optimizer": "sgd", "momentum": 0.0, "nesterov": True}, r"nesterov=True: needs"),
        ({"target_scale": 0.1}, r"target_scale=0.1: applies to loss='mse' only"),
        ({**MODULAR, "batchnorm": True}, r"batchnorm=True: .* no batch normalisation"),
        ({**MODULAR, "train_fraction": 0.0}, r"train_fraction=0.0: must be .* > 0"),
        ({**MODULAR, "train_fraction": 1.0}, r"train_fraction=1.0: leaves 9409 of 9409 pairs"),
        ({**MODULAR, "modulus": 2, "train_fraction": 0.25}, r".*0.25: leaves 1 of 4 pairs .* two"),
        ({**MODULAR, "modulus": 10, "operation": "divide"}, r"operation='divide': needs a prime"),
        (
            {**MODULAR, "modulus": 2, "operation": "divide"},
            r"operation='divide': .* above 2, not 2",
        ),
        ({**REGRESSION, "label_noise": 0.5}, r"label_noise=0.5: a regression has no labels"),
        ({"dataset": "teacher"}, r"loss='cross_entropy': .* regression, which needs loss='mse'"),
        ({**REGRESSION, "augment": True}, r"augment=True: dataset='teacher' has no pictures"),
        ({"label_pixels": True}, r"label_pixels=True: the picture has fewer columns than classes"),
    ],
)
def test_impossible_values_name_the_setting(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        Config(**settings)


@pytest.mark.parametrize(
    "settings",
    [
        MODULAR,
        REGRESSION,
        {"dataset": "diabetes", "loss": "mse", "train_size": 353},
        {"dataset": "cifar10", "model": "vgg16", "train_size": 50_000, "augment": True},
        {"frame_every": 7, "layers": ["1", "3"]},
    ],
)
def test_settings_survive_json(settings: dict) -> None:
    config = Config(**settings)
    assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({"width": np.int64(64), "seed": np.uint64(2**64 - 1)}, {"width": 64, "seed": 2**64 - 1}),
        ({"lr": np.float32(0.5), "batchnorm": np.True_}, {"lr": 0.5, "batchnorm": True}),
        ({"root": Path("a") / "b"}, {"root": str(Path("a") / "b")}),
        ({"layers": np.array(["1", "3"])}, {"layers": ("1", "3")}),
    ],
)
def test_values_of_numpy_and_paths_are_kept_as_pythons_own(settings: dict, kept: dict) -> None:
    for config in (Config(**settings), Config().replace(**settings), settle(settings)[0]):
        assert config == Config(**kept)
        assert json.dumps(config.to_dict()) == json.dumps(Config(**kept).to_dict())


@pytest.mark.parametrize("make", [Config, Config().replace, lambda **s: Config.from_dict(s)])
def test_an_unknown_setting_is_named_with_the_nearest(make: Callable[..., Config]) -> None:
    with pytest.raises(TypeError, match=r"^lrr=1: no such setting; did you mean lr\? .*width, dep"):
        make(lrr=1)
    assert "width" in inspect.signature(Config).parameters


def test_types_of_the_fields_resolve() -> None:
    hints = typing.get_type_hints(Config)
    assert hints["width"] is int
    assert hints["max_steps"] == int | None


def test_controls_describe_what_a_front_end_needs() -> None:
    specs = {spec["name"]: spec for spec in controls(Config(loss="mse"))}
    json.dumps(list(specs.values()), allow_nan=False)
    assert specs["model"]["choices"] == list(networks)
    assert specs["dataset"]["choices"] == list(sources)
    assert specs["train_size"]["max"] == 1437
    assert (specs["width"]["kind"], specs["batchnorm"]["kind"]) == ("slider", "checkbox")
    assert specs["epochs"]["step"] == specs["max_steps"]["step"] == specs["seed"]["step"] == 1
    assert specs["weight_decay"]["step"] is None
    assert specs["momentum"]["disabled"] == "applies to optimizer='sgd' only"
    assert specs["target_scale"]["disabled"] is None
    assert {spec["group"] for spec in specs.values()} == {"main", "advanced"}
    assert all(spec["label"] and spec["help"] for spec in specs.values())
    assert "root" not in specs


@pytest.mark.parametrize("settings", [{}, {"dataset": "mnist"}, MODULAR, REGRESSION])
def test_disabled_checkboxes_are_those_that_config_refuses(settings: dict[str, str]) -> None:
    config = Config(**settings)
    for spec in controls(config):
        if spec["kind"] != "checkbox":
            continue
        change = {spec["name"]: not spec["value"]}
        if spec["disabled"] is None:
            config.replace(**change)
        else:
            with pytest.raises(ValueError, match=f"^{spec['name']}="):
                config.replace(**change)


@pytest.mark.parametrize("dataset", list(sources))
@pytest.mark.parametrize("model", list(networks))
def test_every_menu_entry_can_be_reached_from_every_other(model: str, dataset: str) -> None:
    start, _ = settle({"model": model}, keep="model")
    values = {**start.to_dict(), "batchnorm": start.network.batchnorm, "train_size": 1000}
    config, changes = settle({**values, "dataset": dataset}, keep="dataset")
    assert config.dataset == dataset
    assert config.network.reads(config.source)
    assert bool(changes) == (config.to_dict() != {**values, "dataset": dataset})
    back, _ = settle({**config.to_dict(), "model": model}, keep="model")
    assert back.model == model


def test_settle_says_what_it_changed() -> None:
    config, changes = settle({"dataset": "diabetes"}, keep="dataset")
    assert (config.train_size, config.loss) == (353, "mse")
    assert changes[0] == "train_size 1000 → 353: dataset='diabetes' has 353 training samples."
    with pytest.raises(ValueError, match=r"^width=0"):
        settle({"width": 0})
    with pytest.raises(ValueError, match=r"^batchnorm=True"):
        settle({**MODULAR, "batchnorm": True}, keep=("model", "dataset", "batchnorm"))


def test_describe_change() -> None:
    old = Config()
    new = old.replace(batchnorm=True, lr=0.1, test_size=100)
    assert describe_change(old, new) == (
        "batchnorm off → on, test_size automatic → 100, lr 0.001 → 0.1"
    )
    assert describe_change(old, old) == ""
