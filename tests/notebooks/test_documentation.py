"""What the documentation shows exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import fswidget as fs

TEXTS = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"]


def test_the_readme_uses_public_names_only(root: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (root / "README.md").read_text(), re.DOTALL)
    assert len(blocks) >= 5
    used = {
        node.attr
        for block in blocks
        for node in ast.walk(ast.parse(block))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "fs"
    }
    # `fs.plot` is a module of functions.
    assert used <= {*fs.__all__, "plot"}
    assert {"Explorer", "train", "analyze", "watch", "load"} <= used


@pytest.mark.parametrize("name", TEXTS)
def test_links_within_the_repository_lead_somewhere(root: Path, name: str) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", (root / name).read_text())
    inside = [link for link in links if "://" not in link]
    assert [link for link in inside if not (root / link).exists()] == []
