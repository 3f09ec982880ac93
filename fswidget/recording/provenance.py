"""Where a recording comes from."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

CITATION = (
    "Nam, Fonseca, Lee, Mingard, Göring, El Harzli, Erturk, Hayou, Louis: Decoupling Dynamical "
    "Richness from Representation Learning, arXiv 2410.04264"
)


#: The settings that are named where there is no room for all, and the packages.
NAMED = ("model", "dataset", "width", "batchnorm", "train_size", "loss", "optimizer", "lr", "seed")
#: Further ones, which are named where they are anything but this.
USUAL = {
    "depth": 2, "activation": "relu", "init_scale": 1.0, "output_scale": 1.0,
    "parametrization": "standard", "last_layer_only": False, "final_norm": False,
    "precision": "float32", "label_noise": 0.0, "label_pixels": False, "target_scale": 1.0,
    "augment": False, "modulus": 97, "operation": "add", "train_fraction": 0.5, "num_targets": 3,
    "pixels": 32, "grey": False, "held_out": 0.2, "momentum": 0.9, "nesterov": False,
    "beta2": 0.999, "weight_decay": 0.0, "schedule": "constant", "warmup_steps": 0,
    "batch_size": 64,
}  # fmt: skip
VERSIONS = ("fswidget", "torch", "numpy")


METHOD = "arXiv:2410.04264"


def made_now() -> dict[str, str]:
    """Versions, date and citation of a recording that begins now; its licence is the author's."""
    import fswidget

    versions = {"fswidget": fswidget.__version__}
    for package in VERSIONS[1:]:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    date = datetime.now(UTC).isoformat(timespec="seconds")
    return {**versions, "date": date, "licence": "", "citation": CITATION}


def told(config: Mapping[str, Any], provenance: Mapping[str, str]) -> str:
    """Settings, seed, versions and what to cite, in a line."""
    unusual = [name for name, usual in USUAL.items() if config.get(name, usual) != usual]
    settings = [f"{name}={config[name]}" for name in (*NAMED, *unusual) if name in config]
    versions = [f"{name} {provenance[name]}" for name in VERSIONS if name in provenance]
    return " · ".join([*settings, *versions, f"method of {METHOD}"])


def words(given: object) -> dict[str, str]:
    """A copy, if it holds words by names."""
    if not isinstance(given, Mapping):
        raise TypeError(f"provenance={given!r}: must be a dict")
    for name, value in given.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(f"provenance[{name!r}]={value!r}: must be a str")
    return dict(given)


def cite() -> str:
    """What to cite, as BibTeX: the paper whose measures these are, and this software.

    Examples
    --------
    >>> print(fs.cite().splitlines()[0])
    @article{nam2024decoupling,
    """
    import fswidget

    return f"""@article{{nam2024decoupling,
  title = {{Decoupling Dynamical Richness from Representation Learning}},
  author = {{Nam and Fonseca and Lee and Mingard and G{{\\"o}}ring and {{El Harzli}} and Erturk and
            Hayou and Louis}},
  journal = {{arXiv:2410.04264}},
  year = {{2024}},
}}
@software{{fswidget,
  title = {{fswidget: see a network learn features}},
  author = {{{{The fswidget authors}}}},
  version = {{{fswidget.__version__}}},
}}"""
