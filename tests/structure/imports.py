"""Which module of the package imports which, read from the source."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "fswidget"


def modules() -> dict[str, Path]:
    """Every module by its dotted name within the package; a folder stands for its ``__init__``."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(known: Mapping[str, Path]) -> Iterator[tuple[str, str]]:
    """Pairs (importer, imported), also of imports within functions and for annotations."""
    for name, path in known.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                wanted = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: relative imports are not read"
                wanted = [f"{node.module}.{alias.name}" for alias in node.names]
            else:
                continue
            for target in wanted:
                if target.split(".")[0] == PACKAGE.name:
                    yield name, _module(target.split(".")[1:], known)


def _module(parts: list[str], known: Mapping[str, Path]) -> str:
    """The module that a dotted name is, or is in."""
    while ".".join(parts) not in known:
        parts = parts[:-1]
    return ".".join(parts)
