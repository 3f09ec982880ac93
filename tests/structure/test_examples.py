"""Every public name shows how it is used; `tests/unit/test_docstrings.py` runs the examples."""

import ast

import pytest

import fswidget as fs
from tests.structure.imports import PACKAGE


@pytest.mark.parametrize("name", fs.__all__)
def test_every_public_name_has_an_example(name: str) -> None:
    path = PACKAGE / f"{fs._HOME[name].replace('.', '/')}.py"
    module = ast.parse(path.read_text(encoding="utf-8"))
    found = [node for node in module.body if getattr(node, "name", None) == name]
    # A name that is neither a class nor a function is shown where its module is described.
    assert ">>> " in (ast.get_docstring(found[0] if found else module) or "")
