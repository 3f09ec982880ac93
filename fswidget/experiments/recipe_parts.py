"""What recipes are made of: arms in both sizes, checks, and the settings that many share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fswidget.experiments.recipe import Arm, Check, Recipe
from fswidget.training.config import Config


class _Recipes(dict[str, Recipe]):
    def __missing__(self, name: object) -> Recipe:
        raise KeyError(f"recipes[{name!r}]: must be one of {', '.join(self)}")


#: The recipes by name.
recipes: dict[str, Recipe] = _Recipes()


def recipe(name: str, title: str, claim: str, **rest: Any) -> None:
    recipes[name] = Recipe(name, title, claim, **rest)


def arm_of(base: Config, full: Mapping[str, Any], reported: str = "", **changes: Any) -> Arm:
    laptop = base.replace(**changes)
    return Arm(laptop, laptop.replace(**full), reported)


def falls(values: list[float]) -> bool:
    return bool(np.all(np.diff(values) < 0))


def at_most(arm: str, limit: int) -> Check:
    return Check(f"{arm}: k95 ≤ {limit}", lambda r: r.mean(arm, K95) <= limit)


D_LR, TEST, K95 = "low_rank_measure", "test_accuracy", "used_features"


DRIFT = "kernel_drift"


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
