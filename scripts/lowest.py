"""Print the lowest versions that pyproject.toml declares, one requirement per line: what
``make test-lowest`` installs. Resolvers' own "lowest" modes leave dependencies of dependencies at
their newest, so each is named here."""

import re
import tomllib
from itertools import chain
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"


def lowest() -> list[str]:
    """Every dependency and every optional one, at its bound."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    declared = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    return [re.sub(r">=([^,]+).*", r"==\1", requirement) for requirement in declared]


if __name__ == "__main__":
    print(*lowest(), sep="\n")
