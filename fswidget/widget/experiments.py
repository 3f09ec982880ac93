"""The experiments of the widget's menu: each runs an arm, then another beside its ghost."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from fswidget.experiments.catalogue import recipes
from fswidget.training.config import Config

#: Handwritten digits and an MLP, with the loss that shows the regimes most clearly.
_DIGITS = Config(loss="mse")


class Experiment(NamedTuple):
    """Two or more runs, and what to look for."""

    title: str
    claim: str
    arms: Mapping[str, Config]

    def missing(self, root: str) -> str:
        """What of the data is not there, in words; empty where all is."""
        names = {config.dataset for config in self.arms.values() if config.source.files}
        if not names or Path(root).expanduser().is_dir():
            return ""
        return f"Needs {' and '.join(sorted(names))} in the folder {root!r}, which is not there."


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


def experiments() -> dict[str, Experiment]:
    """All of them: those at hand, then the paper's at the size of a laptop."""
    paper = {
        name: Experiment(
            recipe.title,
            recipe.claim,
            {label: arm.laptop for label, arm in recipe.arms.items() if arm.laptop is not None},
        )
        for name, recipe in recipes.items()
    }
    return AT_HAND | paper


def menu(root: str) -> list[dict[str, Any]]:
    """The same for a front end, as JSON types: name, title, help, arms and what is missing."""
    return [
        {
            "name": name,
            "title": one.title,
            "help": one.claim,
            "arms": list(one.arms),
            "missing": one.missing(root) or None,
        }
        for name, one in experiments().items()
    ]
