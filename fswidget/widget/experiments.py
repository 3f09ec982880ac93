"""The experiments of the widget's menu: each runs an arm, then another beside its ghost."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from fswidget.experiments.catalogue import recipes
from fswidget.recording import file
from fswidget.recording.recording import Recording
from fswidget.training.config import Config

#: Handwritten digits and an MLP, with the loss that shows the regimes most clearly.
_DIGITS = Config(loss="mse")


#: By data set: where in the data folder its files lie, any of which will do, and how many megabytes
#: fetching them takes; those that cannot be fetched have none.
_FILES: dict[str, tuple[tuple[str, ...], float | None]] = {
    "mnist": (("MNIST/raw",), 12),
    "fashion_mnist": (("FashionMNIST/raw",), 31),
    "cifar10": (("cifar-10-batches-py",), 170),
    "cifar100": (("cifar-100-python", "cifar100"), 169),
    "california": (("cal_housing.tgz",), 0.4),
}

_RECORDINGS = resources.files("fswidget") / "experiments" / "recordings"


class Experiment(NamedTuple):
    """Runs, and what to look for in them.

    Parameters
    ----------
    title, claim : str
    arms : mapping of str to Config
        To be run one after the other.
    recorded : mapping of str to str
        In place of `arms`: files of runs that came with the package, see the README beside them.
    """

    title: str
    claim: str
    arms: Mapping[str, Config] = MappingProxyType({})
    recorded: Mapping[str, str] = MappingProxyType({})

    def recordings(self) -> list[Recording]:
        """What was recorded of each arm, in order."""
        return [
            Recording.restore(file.read((_RECORDINGS / f"{name}.npz").read_bytes()))
            for name in self.recorded.values()
        ]

    def configs(self) -> list[Config]:
        """The settings of each arm, in order."""
        if not self.recorded:
            return list(self.arms.values())
        return [Config.from_dict(recording.config) for recording in self.recordings()]

    def absent(self, root: str) -> list[str]:
        """Data sets that are not in the data folder."""
        names = {config.dataset for config in self.arms.values() if config.source.files}
        folder = Path(root).expanduser()
        return sorted(
            name
            for name in names
            if not any((folder / path).exists() for path in _FILES.get(name, ((".",), None))[0])
        )

    def missing(self, root: str) -> str:
        """What of the data is not there, in words; empty where all is."""
        names = self.absent(root)
        return f"Needs {' and '.join(names)}, not found in the folder {root!r}." if names else ""

    def fetch(self, root: str) -> str:
        """How much there is to fetch, in words; empty where nothing, or not all, can be."""
        sizes = [_FILES.get(name, ((), None))[1] for name in self.absent(root)]
        known = [size for size in sizes if size is not None]
        return f"{sum(known):g} MB" if known and len(known) == len(sizes) else ""


def _digits(title: str, claim: str, first: str, second: str, **changes: Any) -> Experiment:
    return Experiment(title, claim, {first: _DIGITS, second: _DIGITS.replace(**changes)})


_TEACHER = Config(dataset="teacher", loss="mse", num_targets=1)


#: None of these needs a file, and each ends within a minute on two CPU cores. Our choice.
AT_HAND: dict[str, Experiment] = {
    "digits_batchnorm": _digits(
        "Batch norm extends the features",
        "Look at the needle and at where utilization crosses 95%: with batch norm the last layer "
        "uses several times as many features.",
        "plain",
        "batch norm",
        batchnorm=True,
    ),
    "digits_last_layer": _digits(
        "Lazy: the last layer alone",
        "Look at “moved”: the features stay as they were drawn, the needle goes to LAZY, and the "
        "clouds of the classes overlap.",
        "all layers",
        "last layer only",
        last_layer_only=True,
    ),
    "digits_output_scale": _digits(
        "Lazy by a large output scale",
        "Look at “moved” and D_LR: the function is learned with features that hardly move.",
        "output scale 1",
        "output scale 100",
        output_scale=100.0,
    ),
    "digits_width": _digits(
        "Eight times wider",
        "Look at the end of the spectrum: many more features, and hardly more of them in use.",
        "width 64",
        "width 512",
        width=512,
    )._replace(
        arms={"width 64": _DIGITS.replace(width=64), "width 512": _DIGITS.replace(width=512)}
    ),
    "digits_few_samples": _digits(
        "A tenth of the data",
        "Look at test accuracy against D_LR: with few samples there are many ways to fit them.",
        "1000 samples",
        "100 samples",
        train_size=100,
        epochs=40,
    ),
    "digits_shuffled": _digits(
        "Shuffled labels",
        "Look at test accuracy, which falls to chance, and at k95: to learn labels by heart takes "
        "many more features than there are classes.",
        "true labels",
        "shuffled labels",
        label_noise=1.0,
        epochs=40,
    ),
    "digits_cross_entropy": _digits(
        "Another loss",
        "Look at D_LR and at the spectrum: cross-entropy reaches minimal features as well, and "
        "goes on growing its outputs.",
        "squared error",
        "cross-entropy",
        loss="cross_entropy",
    ),
    "teacher_targets": Experiment(
        "More targets, more features",
        "A regression of d targets needs d + 1 features: look at k95 beside it.",
        {"1 target": _TEACHER, "8 targets": _TEACHER.replace(num_targets=8)},
    ),
    "modular_decay": Experiment(
        "Modular addition, without and with weight decay",
        "Look at test accuracy: what is learned by heart, and what follows the rule.",
        {
            name: Config(
                model="transformer",
                dataset="modular",
                loss="mse",
                modulus=13,
                train_fraction=0.6,
                width=64,
                epochs=60,
                batch_size=32,
                optimizer="adamw",
                weight_decay=decay,
            )
            for name, decay in (("no decay", 0.0), ("decay 0.5", 0.5))
        },
    ),
}


#: Runs of hours on a GPU, which play at once and need neither data nor training.
RECORDED: dict[str, Experiment] = {
    "grokking_recorded": Experiment(
        "Grokking, recorded",
        "97 × 97 pairs of modular addition. Test accuracy stays at chance for 100 epochs, then "
        "goes to 1 within 60; look at the samples: pairs fall into place as the rule is found.",
        recorded={"weight decay 0.5": "grokking"},
    ),
    "resnet18_recorded": Experiment(
        "ResNet18 on all of CIFAR-10, recorded",
        "50,000 pictures. Look at k95: 76 before training, 11 of a minimum of 10 after two epochs, "
        "minimal from the fifth on.",
        recorded={"ResNet18": "resnet18"},
    ),
    "shuffled_recorded": Experiment(
        "ResNet18 learns shuffled labels by heart, recorded",
        "10,000 pictures. Both runs end with minimal features, and only one of them has learned "
        "something: look at test accuracy, and how much later k95 falls to 10.",
        recorded={
            "true labels": "resnet18_true_labels",
            "shuffled labels": "resnet18_shuffled_labels",
        },
    ),
    "vgg16_recorded": Experiment(
        "VGG16 with and without batch norm, recorded",
        "5,000 pictures. Without it VGG16 ends with minimal features and the better test accuracy; "
        "with it k95 jumps between 13 and all 256.",
        recorded={"plain": "vgg16_plain", "batch norm": "vgg16_batchnorm"},
    ),
}


def experiments() -> dict[str, Experiment]:
    """All of them: those at hand, the recorded ones, then the paper's at the size of a laptop."""
    paper = {
        name: Experiment(
            recipe.title,
            recipe.claim,
            {label: arm.laptop for label, arm in recipe.arms.items() if arm.laptop is not None},
        )
        for name, recipe in recipes.items()
    }
    return AT_HAND | RECORDED | paper


def menu(root: str) -> list[dict[str, Any]]:
    """The same for a front end, as JSON types: name, title, help and arms; what is missing, and
    what there is to fetch; and whether it is played."""
    return [
        {
            "name": name,
            "title": one.title,
            "help": one.claim,
            "arms": list(one.recorded or one.arms),
            "missing": one.missing(root) or None,
            "fetch": one.fetch(root) or None,
            "recorded": bool(one.recorded),
        }
        for name, one in experiments().items()
    ]
