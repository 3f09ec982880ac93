"""The examples in docstrings run and give what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import fswidget as fs
from fswidget.training.registry import networks

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(fs.__path__, "fswidget.")
    if module.name != "fswidget.__main__"
)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL


def examples(name: str) -> list[doctest.DocTest]:
    """What a module's docstrings show; an example knows the module's names and three more."""
    module = importlib.import_module(name)
    known = {**vars(module), "fs": fs, "np": np, "torch": torch}
    return doctest.DocTestFinder(exclude_empty=True).find(module, globs=known)


@pytest.fixture
def same_networks() -> Iterator[None]:
    """Examples may add a network; no other test is to find it."""
    before = dict(networks)
    yield
    networks.clear()
    networks.update(before)


@pytest.mark.usefixtures("same_networks")
@pytest.mark.parametrize("name", MODULES)
def test_examples(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    for test in examples(name):
        torch.manual_seed(0)
        runner.run(test)
    assert runner.failures == 0, capsys.readouterr().out
