"""Experiments on single features, on layers and on how a network is parametrised."""

from __future__ import annotations

import numpy as np

from fswidget.experiments.recipe import Study
from fswidget.experiments.recipe_parts import (
    D_LR,
    MNIST_AT_DESK,
    MNIST_FULL,
    MNIST_SMALL,
    OTHERS,
    VGG_ADAM,
    VGG_AT_DESK,
    arm_of,
    recipe,
)
from fswidget.experiments.results import Check, Results
from fswidget.recording.recording import Recording
from fswidget.recording.strengths import agreement
from fswidget.training.config import Config


def _agreement_grown(run: Recording) -> float:
    return agreement(run[-1]) - agreement(run[0])


def _growth(results: Results, arm: str) -> float:
    """Of the agreement of quality and intensity from start to end, the mean over the seeds."""
    return float(results.each(arm, _agreement_grown).mean())


def _grows(arm: str) -> Check:
    return Check(f"{arm}: the rank correlation grows", lambda r: _growth(r, arm) > 0)


recipe(
    "quality_intensity",
    "Quality of features against their intensity",
    "During training stronger features become better ones: the paper's figure 5.",
    arms={
        "MLP, MNIST": arm_of(
            MNIST_SMALL.replace(optimizer="adamw"),
            MNIST_FULL,
            desk=MNIST_AT_DESK.replace(optimizer="adamw"),
        ),
        "the same, last layer only": arm_of(
            MNIST_SMALL.replace(optimizer="adamw", last_layer_only=True), MNIST_FULL
        ),
        "VGG16, CIFAR-10": arm_of(
            VGG_ADAM,
            {"width": 512, "train_size": 50_000, "epochs": 100},
            desk=VGG_AT_DESK.replace(lr=0.1, epochs=20),
        ),
    },
    checks=(
        _grows("MLP, MNIST"),
        _grows("VGG16, CIFAR-10"),
        Check(
            "last layer only: it stays what it was",
            lambda r: abs(_growth(r, "the same, last layer only")) < 0.01,
            OTHERS,
        ),
    ),
    note="Measured as Spearman's rank correlation of a feature's intensity and quality over "
    'features 2 to 64; `recording.figure("quality_intensity")` draws it. The VGG16 of the desk is '
    "the one that [batch normalisation](#batchnorm) is compared with on CIFAR-10.",
)


_DEPTH = 4
_LAYERS = tuple(str(2 + 2 * index) for index in range(_DEPTH))
_DEEP = MNIST_SMALL.replace(depth=_DEPTH, width=128, layers=_LAYERS, epochs=30, frame_every=160)


def _by_depth(results: Results, arm: str) -> list[float]:
    """D_LR after each hidden layer at the end, means over the seeds."""
    found = [run[-1].array("layer_low_rank_measure") for run in results[arm]]
    return [float(value) for value in np.mean(found, axis=0)]


def _mean_of_layers(results: Results, arm: str) -> float:
    """Over layers, and over seeds."""
    return float(np.mean(_by_depth(results, arm)))


_ARMS = ("ReLU", "tanh", "batch norm")


def _table(results: Results) -> list[str]:
    """D_LR after each layer, means over the seeds."""
    heads = [f"layer {depth + 1}" for depth in range(_DEPTH)]
    lines = [f"| D_LR after | {' | '.join(heads)} | mean of layers |", "|---" * (_DEPTH + 2) + "|"]
    for arm in (arm for arm in _ARMS if arm in results):
        values = [*_by_depth(results, arm), _mean_of_layers(results, arm)]
        lines.append(f"| {arm} | {' | '.join(f'{value:.3f}' for value in values)} |")
    return [*lines, ""]


def _last_is_lowest(arm: str) -> Check:
    def holds(results: Results) -> bool:
        *earlier, last = _by_depth(results, arm)
        return last < min(earlier)

    return Check(f"{arm}: D_LR is lowest after the last hidden layer", holds, OTHERS)


recipe(
    "layers",
    "D_LR layer by layer",
    "The last layer has the strongest low-rank bias.",
    arms={
        "ReLU": arm_of(_DEEP, MNIST_FULL),
        "tanh": arm_of(_DEEP.replace(activation="tanh"), MNIST_FULL),
        "batch norm": arm_of(
            _DEEP.replace(batchnorm=True, layers=tuple(str(3 + 3 * i) for i in range(_DEPTH))),
            MNIST_FULL,
        ),
    },
    checks=(
        *(_last_is_lowest(arm) for arm in _ARMS),
        Check(
            "ReLU: D_LR falls from layer to layer",
            lambda r: bool(np.all(np.diff(_by_depth(r, "ReLU")) < 0)),
            OTHERS,
        ),
        Check(
            "the mean over layers orders the three as the last layer does",
            lambda r: (
                sorted(_ARMS, key=lambda arm: _mean_of_layers(r, arm))
                == sorted(_ARMS, key=lambda arm: _by_depth(r, arm)[-1])
            ),
            OTHERS,
        ),
    ),
    study=Study(lines=_table),
    note="Measured after each nonlinearity of a network of four hidden layers, against the "
    "network's own outputs. The mean counts every layer alike, which is our choice: weights by the "
    "trace would follow the scale of each layer, which is free in a network of ReLU.",
)


_WIDE = Config(
    depth=3, loss="mse", train_size=1000, test_size=200, epochs=10, frame_every=160, num_shown=200
)
_WIDTHS = (64, 256, 512)


def _changes(results: Results, way: str, name: str) -> float:
    """By what factor a scalar differs between the widths, means over the seeds."""
    # At p = 256 both ways are the same.
    arms = [f"p = {p}, {'standard' if p == 256 else way}" for p in _WIDTHS]
    values = [results.mean(arm, name) for arm in arms]
    return max(values) / min(values)


def _less_changed(said: str, name: str) -> Check:
    return Check(
        f"{said} changes by a smaller factor with μP",
        lambda r: _changes(r, "μP", name) < _changes(r, "standard", name),
        OTHERS,
    )


recipe(
    "mup",
    "Width in the standard way and in μP",
    "With μP the width changes how many features there are, and less of how they are learned.",
    arms={
        f"p = {width}, {'μP' if way == 'mup' else way}": arm_of(
            _WIDE, {"epochs": 40}, width=width, parametrization=way
        )
        for way in ("standard", "mup")
        for width in _WIDTHS
        if (way, width) != ("mup", 256)
    },
    checks=(_less_changed("the training loss", "loss"), _less_changed("D_LR", D_LR)),
    note="Digits, three hidden layers, Adam. The coordinate check, how far features and outputs "
    "move in the first steps, is a test of this project.",
)


#: Whole batches and small steps, as gradient flow has them.
_LINEAR = Config(
    model="linear",
    depth=1,
    width=64,
    loss="mse",
    optimizer="sgd",
    momentum=0.0,
    lr=0.005,
    test_size=200,
    batch_size=1000,
    epochs=1000,
    frame_every=25,
    num_shown=200,
)
_HIDDEN = {
    "one hidden layer": _LINEAR,
    "three hidden layers": _LINEAR.replace(depth=3, epochs=1500),
    "one hidden layer, four times the rate": _LINEAR.replace(lr=0.02, epochs=250),
}


def _apart(run: Recording) -> float:
    """The largest difference from theory, over eigenvalues and frames."""
    return float(run.table()["theory_error"].max())


def _on_the_curves(arm: str) -> Check:
    return Check(
        f"{arm}: every eigenvalue within 2% of theory in every frame",
        lambda r: r.each(arm, _apart).max() <= 0.02,
        OTHERS,
    )


def _differences(results: Results) -> list[str]:
    lines = ["| largest difference from theory | mean over seeds | worst seed |", "|---" * 3 + "|"]
    for arm in (arm for arm in _HIDDEN if arm in results):
        apart = results.each(arm, _apart)
        lines.append(f"| {arm} | {apart.mean():.2%} | {apart.max():.2%} |")
    return [*lines, ""]


recipe(
    "linear_theory",
    "A linear network on the curves of theory",
    "The eigenvalues of a balanced linear network lie, at each moment, on the curves of theory: "
    "the rings in the spectrum.",
    arms={name: arm_of(config, {}) for name, config in _HIDDEN.items()},
    checks=tuple(_on_the_curves(arm) for arm in _HIDDEN),
    study=Study(lines=_differences),
    note="Digits, which are not whitened. What is left is the size of the steps, which gradient "
    'flow has not. `recording.figure("modes")` draws each eigenvalue over time on its curve.',
)
