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
    settings = [f"{name}={config[name]}" for name in NAMED if name in config]
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
