"""What recipes are made of: arms in both sizes, checks, and the settings that many share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fswidget.experiments.recipe import Arm, Recipe
from fswidget.experiments.results import Check
from fswidget.training.config import Config


class _Recipes(dict[str, Recipe]):
    def __missing__(self, name: object) -> Recipe:
        raise KeyError(f"recipes[{name!r}]: must be one of {', '.join(self)}")

    def __repr__(self) -> str:
        return f"<{len(self)} recipes: {', '.join(self)}>"


#: The recipes by name.
recipes: dict[str, Recipe] = _Recipes()


def recipe(name: str, title: str, claim: str, **rest: Any) -> None:
    recipes[name] = Recipe(name, title, claim, **rest)


def arm_of(
    base: Config,
    full: Mapping[str, Any],
    reported: str = "",
    *,
    desk: Config | None = None,
    **changes: Any,
) -> Arm:
    """An arm; its full size is the laptop's with the settings of `full`."""
    laptop = base.replace(**changes)
    return Arm(laptop, laptop.replace(**full), reported, desk)


def at_desk(config: Config, reported: str = "") -> Arm:
    """An arm that the desk size alone has."""
    return Arm(None, None, reported, config)


def falls(values: list[float]) -> bool:
    return bool(np.all(np.diff(values) < 0))


def at_most(arm: str, limit: int) -> Check:
    return Check(f"{arm}: k95 ≤ {limit}", lambda r: r.mean(arm, K95) <= limit)


D_LR, TEST, K95 = "low_rank_measure", "test_accuracy", "used_features"

TRAIN = "train_accuracy"

#: Sizes of a claim about arms that only these have.
DESK, OTHERS = ("desk",), ("laptop", "full")


DRIFT, NC1 = "kernel_drift", "nc1"


SHARED = {"weight_decay": 5e-4, "schedule": "cosine", "batch_size": 128}


FULL = {
    "width": 512,
    "train_size": 50_000,
    "test_size": 10_000,
    "epochs": 100,
    "augment": True,
    "frame_every": "epoch",
    **SHARED,
}


# No CIFAR-100 in the laptop size: ten classes need ten times fewer samples to be told apart.
CIFAR = Config(
    dataset="cifar10",
    optimizer="sgd",
    lr=0.02,
    weight_decay=5e-4,
    schedule="cosine",
    width=64,
    train_size=500,
    test_size=500,
    batch_size=50,
    epochs=25,
    frame_every=50,
)


RESNET = CIFAR.replace(model="resnet18", batchnorm=True)


VGG = CIFAR.replace(model="vgg16")

MNIST = Config(
    dataset="mnist",
    label_pixels=True,
    loss="mse",
    train_size=5000,
    test_size=2000,
    probe_size=2000,
    batch_size=128,
    frame_every=100,
)

MNIST_FULL = {"width": 512, "depth": 4, "train_size": 60_000, "test_size": 10_000, "epochs": 50}

# The same network with Adam and squared error, which trains without batch normalisation too.
VGG_ADAM = Config(
    model="vgg16",
    dataset="cifar10",
    loss="mse",
    width=64,
    train_size=1000,
    test_size=500,
    epochs=25,
    frame_every=50,
)


#: What desk-size runs share: whole test sets, and few points and pictures, so that a recording of
#: thirty epochs stays small.
AT_DESK: dict[str, Any] = {
    "test_size": 10_000,
    "probe_size": 2000,
    "frame_every": "epoch",
    "num_shown": 100,
    "num_eigenfunctions": 4,
    "batch_size": 128,
}


# Squared error summed over outputs moves a network several times as far a step as cross-entropy
# does, so that the first steps want a warm-up.
_SGD_AT_DESK: dict[str, Any] = {
    **AT_DESK,
    "optimizer": "sgd",
    "lr": 0.05,
    "weight_decay": 5e-4,
    "schedule": "cosine",
    "warmup_steps": 400,
    "train_size": 50_000,
    "epochs": 30,
    "augment": True,
}


RESNET_AT_DESK = Config(
    model="resnet18", dataset="cifar10", width=128, batchnorm=True, loss="mse", **_SGD_AT_DESK
)


VGG_AT_DESK = Config(model="vgg16", dataset="cifar10", width=256, loss="mse", **_SGD_AT_DESK)


MLP_AT_DESK = Config(
    dataset="cifar10",
    loss="mse",
    depth=3,
    **{**_SGD_AT_DESK, "lr": 0.02, "epochs": 20, "augment": False, "weight_decay": 0.0},
)


MNIST_AT_DESK = Config(
    dataset="mnist", loss="mse", width=512, train_size=60_000, epochs=10, **AT_DESK
)


#: A small MLP on MNIST with squared error.
MNIST_SMALL = Config(
    dataset="mnist",
    loss="mse",
    train_size=2000,
    test_size=1000,
    batch_size=128,
    epochs=20,
    frame_every=80,
)
