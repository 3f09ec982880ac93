"""Files and functions that a person can take in: 400 lines, and 60 besides the docstring. Tests are
left out: what they list is long without being deep. Functions in TypeScript are held by biome."""

import ast
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILE, FUNCTION = 400, 60
FOLDERS = ("fswidget", "scripts", "benchmarks")
PYTHON = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
FRONT = sorted(path for path in (ROOT / "js/src").rglob("*") if path.suffix in (".ts", ".css"))


def long_functions(source: str) -> list[tuple[str, int]]:
    """Names and lengths of the functions that are too long."""
    functions = (
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    lengths = [(node.name, length(node)) for node in functions]
    return [(name, lines) for name, lines in lengths if lines > FUNCTION]


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring."""
    lines = (function.end_lineno or 0) - function.lineno + 1
    if ast.get_docstring(function) is None:
        return lines
    docstring = function.body[0]
    return lines - ((docstring.end_lineno or 0) - docstring.lineno + 1)


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", [*PYTHON, *FRONT], ids=named)
def test_no_file_is_too_long(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= FILE


@pytest.mark.parametrize("path", PYTHON, ids=named)
def test_no_function_is_too_long(path: Path) -> None:
    assert long_functions(path.read_text(encoding="utf-8")) == []


def test_a_function_that_is_too_long_is_seen() -> None:
    body = "    pass\n" * (FUNCTION - 1)
    assert long_functions("def fits():\n" + body) == []
    assert long_functions('def fits():\n    """Two\n    lines."""\n' + body) == []
    assert long_functions("class A:\n  def long(self):\n" + body + "    pass\n") == [
        ("long", FUNCTION + 1)
    ]


def test_biome_counts_lines_as_we_do() -> None:
    rules = json.loads((ROOT / "js/biome.json").read_text())["linter"]["rules"]
    rule = rules["complexity"]["noExcessiveLinesPerFunction"]
    assert rule == {"level": "error", "options": {"maxLines": FUNCTION}}
