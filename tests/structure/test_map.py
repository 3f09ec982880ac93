"""CONTRIBUTING's map, the folders' own words and the imports say the same."""

import ast
import re
from pathlib import Path

import pytest

import fswidget as fs
from tests.structure.imports import PACKAGE
from tests.structure.test_imports import MAY_USE

MAP = (PACKAGE.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")


def row(folder: Path) -> str:
    """The line of the map on a folder."""
    start = "| top |" if folder == PACKAGE else f"| `{folder.name}/` |"
    return next(line for line in MAP.splitlines() if line.startswith(start))


@pytest.mark.parametrize("folder", [PACKAGE, *(PACKAGE / name for name in MAY_USE)])
def test_the_map_names_what_is_there_and_nothing_else(folder: Path) -> None:
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__", "__main__"}
    named = set(re.findall(r"`(\w+)`", row(folder)))
    assert modules <= named
    # What is no module is one of the names that lie in it.
    assert {name for name in named - modules if name.islower()} <= set(fs.__all__)


@pytest.mark.parametrize("name", MAY_USE)
def test_a_folder_says_what_it_may_use_and_what_it_never_does(name: str) -> None:
    text = ast.get_docstring(ast.parse((PACKAGE / name / "__init__.py").read_text())) or ""
    _, may_use = re.split(r"^May use: ", text, flags=re.MULTILINE)
    # A façade is named in brackets.
    listed = re.sub(r"\(.*?\)", "", may_use.partition("Never here: ")[0], flags=re.DOTALL)
    assert set(re.findall(r"\w+", listed)) & set(MAY_USE) == MAY_USE[name]
    assert re.search(r"^Never here: .", text, re.MULTILINE)


def test_contributing_lists_the_same_arrows() -> None:
    line = next(line for line in MAP.splitlines() if line.startswith("`widget` → "))
    arrows = re.findall(r"((?:`\w+`(?:, )?)+) → ((?:`\w+`(?:, )?)+)", line)
    said = {re.findall(r"\w+", one)[0]: set(re.findall(r"\w+", many)) for one, many in arrows}
    assert said == {name: used for name, used in MAY_USE.items() if used}
