"""Where a recording comes from."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata

CITATION = (
    "Nam, Fonseca, Lee, Mingard, Göring, El Harzli, Erturk, Hayou, Louis: Decoupling Dynamical "
    "Richness from Representation Learning, arXiv 2410.04264"
)


def made_now() -> dict[str, str]:
    """Versions, date and citation of a recording that begins now; its licence is the author's."""
    import fswidget

    versions = {"fswidget": fswidget.__version__}
    for package in ("torch", "numpy"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    date = datetime.now(UTC).isoformat(timespec="seconds")
    return {**versions, "date": date, "licence": "", "citation": CITATION}


def words(given: object) -> dict[str, str]:
    """A copy, if it holds words by names."""
    if not isinstance(given, Mapping):
        raise TypeError(f"provenance={given!r}: must be a dict")
    for name, value in given.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(f"provenance[{name!r}]={value!r}: must be a str")
    return dict(given)
