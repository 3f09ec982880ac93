"""The paper's experiments as named recipes.

Each has a full size, near the paper's (hours on a GPU), and a laptop size (minutes on two CPU
cores, fewer samples and narrower networks). The paper is arXiv 2410.04264; its figures are given
as secondary notes give them, so directions count before magnitudes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fswidget.config import Config
from fswidget.recipe import Arm, Check, Recipe


class _Recipes(dict[str, Recipe]):
    def __missing__(self, name: object) -> Recipe:
        raise KeyError(f"recipes[{name!r}]: must be one of {', '.join(self)}")


#: The recipes by name.
recipes: dict[str, Recipe] = _Recipes()


def _recipe(name: str, title: str, claim: str, **rest: Any) -> None:
    recipes[name] = Recipe(name, title, claim, **rest)


def _arm(base: Config, full: Mapping[str, Any], reported: str = "", **changes: Any) -> Arm:
    laptop = base.replace(**changes)
    return Arm(laptop, laptop.replace(**full), reported)


def _falls(values: list[float]) -> bool:
    return bool(np.all(np.diff(values) < 0))


def _at_most(arm: str, limit: int) -> Check:
    return Check(f"{arm}: k95 ≤ {limit}", lambda r: r.mean(arm, K95) <= limit)


D_LR, TEST, K95 = "low_rank_measure", "test_accuracy", "used_features"
DRIFT = "kernel_drift"

_MNIST = Config(
    dataset="mnist",
    label_pixels=True,
    loss="mse",
    train_size=5000,
    test_size=2000,
    probe_size=2000,
    batch_size=128,
    frame_every=100,
)
_MNIST_FULL = {"width": 512, "depth": 4, "train_size": 60_000, "test_size": 10_000, "epochs": 50}
_recipe(
    "rich_is_not_better",
    "MNIST with the label in the pixels: rich against lazy",
    "A richer network can generalise worse: it takes the shortcut that a lazy one overlooks.",
    arms={
        "rich": _arm(_MNIST, _MNIST_FULL, "D_LR .0087 at 10.0%"),
        "lazy": _arm(_MNIST, _MNIST_FULL, "D_LR .63 at 74.4%", last_layer_only=True),
    },
    checks=(
        Check("rich: D_LR ≤ 0.05", lambda r: r.mean("rich", D_LR) <= 0.05),
        Check("rich: test accuracy ≤ 15%", lambda r: r.mean("rich", TEST) <= 0.15),
        Check(
            "lazy: D_LR at least ten times that of rich",
            lambda r: r.mean("lazy", D_LR) >= 10 * r.mean("rich", D_LR),
        ),
        Check("lazy: test accuracy ≥ 65%", lambda r: r.mean("lazy", TEST) >= 0.65),
    ),
    seeds=3,
    note="The paper's way of writing the label is not known to us. We light one of ten equal parts "
    "of the first row, and write a random class into test pictures.",
)

_SHARED = {"weight_decay": 5e-4, "schedule": "cosine", "batch_size": 128}
_FULL = {
    "width": 512,
    "train_size": 50_000,
    "test_size": 10_000,
    "epochs": 100,
    "augment": True,
    "frame_every": "epoch",
    **_SHARED,
}
# No CIFAR-100 in the laptop size: ten classes need ten times fewer samples to be told apart.
_CIFAR = Config(
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
_RESNET = _CIFAR.replace(model="resnet18", batchnorm=True)
_VGG = _CIFAR.replace(model="vgg16")
# The same network with Adam and squared error, which trains without batch normalisation too.
_VGG_ADAM = Config(
    model="vgg16",
    dataset="cifar10",
    loss="mse",
    width=64,
    train_size=1000,
    test_size=500,
    epochs=25,
    frame_every=50,
)

_recipe(
    "shuffled_labels",
    "CIFAR-10, ResNet18: true against fully shuffled labels",
    "Rich features do not mean that anything general was learned: on shuffled labels D_LR is "
    "almost the same.",
    arms={
        "true labels": _arm(_RESNET, _FULL, "D_LR .031 at 95.0%", lr=0.05),
        "shuffled labels": _arm(_RESNET, _FULL, "D_LR .034 at 9.5%", lr=0.05, label_noise=1.0),
    },
    checks=(
        Check(
            "D_LR differs by at most 0.05",
            lambda r: abs(r.mean("true labels", D_LR) - r.mean("shuffled labels", D_LR)) <= 0.05,
        ),
        Check(
            "shuffled: test accuracy within 5 points of chance",
            lambda r: abs(r.mean("shuffled labels", TEST) - 0.1) <= 0.05,
        ),
        Check(
            "true: test accuracy at least twice that of shuffled",
            lambda r: r.mean("true labels", TEST) >= 2 * r.mean("shuffled labels", TEST),
        ),
    ),
    seeds=3,
)

_recipe(
    "batchnorm",
    "VGG16 without and with batch normalisation",
    "Batch normalisation makes a deep convolutional network rich, and better.",
    arms={
        "without, SGD": _arm(_VGG, {**_FULL, "dataset": "cifar100"}, "D_LR .66 at 21.7%"),
        "with, SGD": _arm(
            _VGG, {**_FULL, "dataset": "cifar100"}, "D_LR .073 at 72.0%", batchnorm=True
        ),
        "without, Adam, squared error": _arm(_VGG_ADAM, {**_FULL, "dataset": "cifar100"}),
        "with, Adam, squared error": _arm(
            _VGG_ADAM, {**_FULL, "dataset": "cifar100"}, batchnorm=True
        ),
    },
    checks=(
        Check(
            "SGD: D_LR with batch normalisation at most half of that without",
            lambda r: r.mean("with, SGD", D_LR) <= 0.5 * r.mean("without, SGD", D_LR),
        ),
        Check(
            "SGD: test accuracy is higher with batch normalisation",
            lambda r: r.mean("with, SGD", TEST) > r.mean("without, SGD", TEST),
        ),
        Check(
            "Adam, squared error: D_LR with batch normalisation at most half of that without",
            lambda r: (
                r.mean("with, Adam, squared error", D_LR)
                <= 0.5 * r.mean("without, Adam, squared error", D_LR)
            ),
        ),
    ),
    note="The paper trains on CIFAR-100; the laptop size on CIFAR-10, 500 pictures with SGD and "
    "cross-entropy, 1,000 with Adam and squared error. Where it disagrees: the optimiser decides. "
    "SGD hardly gets the network without normalisation going (half the training set right in 250 "
    "steps), which keeps it close to its initial features. Adam trains it to the end, and it ends "
    "rich; with normalisation Adam leaves a strong direction that the outputs do not use (the "
    "second eigenvalue is seven times the third), so D_LR is high although k95 is about C. In this "
    "size the difference that batch normalisation makes is whether the network trains.",
)

_RATES = {0.005: "D_LR .053 at 66.3%", 0.05: "D_LR .025 at 78.3%", 0.2: "D_LR .039 at 74.5%"}
_recipe(
    "learning_rate",
    "ResNet18 over the learning rate",
    "D_LR against the learning rate has its minimum at the rate that generalises best.",
    arms={
        f"lr {rate:g}": _arm(_RESNET, {**_FULL, "dataset": "cifar100"}, reported, lr=rate)
        for rate, reported in _RATES.items()
    },
    checks=(
        Check(
            "the lowest D_LR is that of the middle rate",
            lambda r: r.mean("lr 0.05", D_LR) < min(r.mean(f"lr {x}", D_LR) for x in (0.005, 0.2)),
        ),
        Check(
            "the lowest D_LR and the highest test accuracy are at the same rate",
            lambda r: (
                min(_RATES, key=lambda x: r.mean(f"lr {x:g}", D_LR))
                == max(_RATES, key=lambda x: r.mean(f"lr {x:g}", TEST))
            ),
        ),
    ),
    seeds=3,
    note="The paper trains on CIFAR-100; the laptop size on 500 pictures of CIFAR-10. The smallest "
    "rate is far lazier and worse, as in the paper. The two larger rates differ by less than the "
    "spread over seeds in D_LR, and by less than 500 test pictures can tell apart (two points) in "
    "accuracy: that both claims hold between them is luck, and one seed alone gave the opposite.",
)

_GROKKING = Config(
    model="transformer",
    dataset="modular",
    width=128,
    optimizer="adamw",
    beta2=0.98,
    warmup_steps=10,
    batch_size=512,
    epochs=400,
    max_steps=3000,
    probe_size=4656,
    test_size=4656,
    frame_every=100,
)
_recipe(
    "grokking",
    "Grokking modular arithmetic: a transformer learns to generalise long after it memorised",
    "Grokking shows as a fall of D_LR, if loss and head are the paper's.",
    arms={
        "squared error, addition": _arm(
            _GROKKING,
            {},
            "D_LR .51 at 5.2% (step 200) → .11 at 99.8% (3,000)",
            loss="mse",
            weight_decay=0.5,
            probe_size=4704,
            test_size=4705,
        ),
        "cross-entropy, division": _arm(
            _GROKKING, {}, operation="divide", weight_decay=1.0, final_norm=True
        ),
    },
    checks=(
        Check(
            "squared error: test accuracy ≥ 99% within 3,000 steps",
            lambda r: r.mean("squared error, addition", TEST) >= 0.99,
        ),
        Check(
            "squared error: D_LR at the end at most half of that at step 200",
            lambda r: (
                r.mean("squared error, addition", D_LR)
                <= 0.5 * r.mean("squared error, addition", D_LR, step=200)
            ),
        ),
        Check(
            "squared error: D_LR falls by at least a quarter from its highest value",
            lambda r: (
                r.mean("squared error, addition", D_LR)
                <= 0.75 * r["squared error, addition"][0].table()[D_LR].max()
            ),
        ),
        Check(
            "cross-entropy: test accuracy ≥ 99% within 3,000 steps",
            lambda r: r.mean("cross-entropy, division", TEST) >= 0.99,
        ),
        Check(
            "cross-entropy: D_LR falls too",
            lambda r: (
                r.mean("cross-entropy, division", D_LR)
                < r.mean("cross-entropy, division", D_LR, step=200)
            ),
        ),
    ),
    note="Loss and head decide. Squared error: D_LR peaks (.62 at step 1,400) where the test "
    "accuracy jumps to 91% and falls from there (.41), as the paper says of grokking; at step 200 "
    "nothing is learned yet (training accuracy 1%), so that frame says little. The fall is smaller "
    "than the paper's: the outputs span 97 of 128 dimensions, and D_LR falls only as fast as the "
    "97 leading eigenvalues become equal, which is not done by step 3,000; the paper's head, loss "
    "scale and weight decay are not known to us. Cross-entropy: D_LR rises through grokking. The "
    "effective rank falls from 61 to 15, and 13 eigenvalues stand out (a few Fourier features that "
    "carry all outputs), but the span of the logits keeps rank 96, and D_LR compares with that.",
)

for _name, _model, _base in (("vgg16", "VGG16", _VGG), ("resnet18", "ResNet18", _RESNET)):
    _sizes = {100: 1000, 500: 50_000}
    _recipe(
        f"train_size_{_name}",
        f"{_model}: batch normalisation and the size of the training set",
        "More data leaves fewer ways to fit it; how D_LR follows depends on batch normalisation.",
        arms={
            f"{size} samples, {'with' if norm else 'no'} batch norm": _arm(
                _base.replace(batchnorm=norm),
                {**_FULL, "train_size": full},
                train_size=size,
                # As many steps, whatever the size.
                epochs=_base.epochs * 500 // size,
            )
            for size, full in _sizes.items()
            for norm in (False, True)
        },
        checks=(
            Check(
                "with batch normalisation D_LR is lower, at either size",
                lambda r: all(
                    r.mean(f"{n} samples, with batch norm", D_LR)
                    < r.mean(f"{n} samples, no batch norm", D_LR)
                    for n in (100, 500)
                ),
            ),
            Check(
                "more data, higher test accuracy, with and without",
                lambda r: all(
                    r.mean(f"500 samples, {norm} batch norm", TEST)
                    > r.mean(f"100 samples, {norm} batch norm", TEST)
                    for norm in ("with", "no")
                ),
            ),
        ),
        seeds=3,
        note="The direction that the paper reports is not known to us: these are our findings.",
    )

_MLP = Config(
    dataset="cifar10", loss="mse", train_size=2000, test_size=1000, epochs=20, frame_every=128
)
_MLP_FULL = {"train_size": 50_000, "test_size": 10_000, "epochs": 100, "frame_every": "epoch"}
_recipe(
    "regimes",
    "CIFAR-10: extended features of an MLP, minimal features of a convolutional network",
    "A fully connected network keeps more features in use than the classes need; a convolutional "
    "one comes down to about one a class.",
    arms={
        "MLP": _arm(_MLP, _MLP_FULL, "EF", width=512),
        "VGG16": _arm(
            _VGG_ADAM,
            {**_MLP_FULL, "width": 512},
            "MF within a few epochs",
        ),
    },
    checks=(
        Check("the MLP is EF", lambda r: set(r.regimes("MLP")) == {"EF"}),
        Check(
            "the convolutional network reaches MF",
            lambda r: all(
                any(frame.labels["regime"] == "MF" for frame in recording)
                for recording in r["VGG16"]
            ),
        ),
    ),
    note="k95 ≤ C names MF and k95 > 2C EF; the thresholds are our choice.",
)

_WIDTHS = (32, 128, 512)
_recipe(
    "width_mlp",
    "CIFAR-10: width of an MLP",
    "A wider MLP has more features in use.",
    arms={f"width {width}": _arm(_MLP, _MLP_FULL, width=width) for width in _WIDTHS},
    checks=(
        Check(
            "k95 grows with the width",
            lambda r: r.mean("width 32", K95) < r.mean("width 128", K95) < r.mean("width 512", K95),
        ),
    ),
    seeds=3,
    note="Not among the paper's figures that are known to us.",
)

_SMALL = Config(
    dataset="mnist",
    loss="mse",
    train_size=2000,
    test_size=1000,
    batch_size=128,
    epochs=20,
    frame_every=80,
)
_SCALES = ("α = 0.01", "α = 0.1", "α = 1")
_recipe(
    "target_scale",
    "Down-scaling the targets",
    "D_LR follows how rich training is; how far the kernel moved does not.",
    arms={
        f"α = {scale:g}": _arm(
            _SMALL.replace(target_scale=scale, optimizer="sgd", lr=0.01),
            _MNIST_FULL,
        )
        for scale in (0.01, 0.1, 1.0)
    },
    checks=(
        Check(
            "D_LR changes steadily with α",
            lambda r: len(set(np.sign(np.diff([r.mean(a, D_LR) for a in _SCALES])))) == 1,
        ),
        Check(
            "S_init does not",
            lambda r: len(set(np.sign(np.diff([r.mean(a, DRIFT) for a in _SCALES])))) == 2,
        ),
    ),
    seeds=3,
    note="The smaller the targets, the less of them is learned in the same time, and the closer "
    "the features stay to the initial ones in D_LR's sense.",
)
_DECAYS = ("weight decay 0", "weight decay 0.1", "weight decay 1")
_recipe(
    "weight_decay",
    "Weight decay",
    "Weight decay shrinks the parameters; whether it makes features richer is for D_LR to say.",
    arms={
        f"weight decay {decay:g}": _arm(
            _SMALL.replace(optimizer="adamw", weight_decay=decay), _MNIST_FULL
        )
        for decay in (0.0, 0.1, 1.0)
    },
    checks=(
        Check(
            "more weight decay, smaller ‖θ‖²",
            lambda r: _falls([r.mean(a, "parameter_norm_squared") for a in _DECAYS]),
        ),
        Check(
            "more weight decay, lower D_LR",
            lambda r: _falls([r.mean(a, D_LR) for a in _DECAYS]),
        ),
    ),
    seeds=3,
)

_TEACHER = Config(
    dataset="teacher",
    loss="mse",
    depth=3,
    train_size=2000,
    test_size=1000,
    optimizer="adamw",
    weight_decay=0.3,
    init_scale=0.5,
    schedule="cosine",
    epochs=60,
    frame_every=240,
)
_DIMENSIONS = (1, 3, 8)
_recipe(
    "regression",
    "Regression with d outputs",
    "A rich network comes down to d features, and one for the constant.",
    arms={
        **{
            f"teacher, d = {d}": _arm(_TEACHER, {"train_size": 20_000}, "rank d", num_targets=d)
            for d in _DIMENSIONS
        },
        "diabetes, d = 1": _arm(
            _TEACHER.replace(dataset="diabetes", train_size=353, test_size=89, frame_every=60), {}
        ),
    },
    checks=(
        *(_at_most(f"teacher, d = {d}", d + 1) for d in _DIMENSIONS),
        _at_most("diabetes, d = 1", 2),
    ),
    seeds=3,
    note="Rich means here: three hidden layers, half the usual initial weights and weight decay. "
    "With the usual initial weights and two layers k95 is 3 for d = 1 and 7 for d = 3.",
)
