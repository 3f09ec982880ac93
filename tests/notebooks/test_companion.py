"""The companion notebook shows recorded runs where PyTorch is not installed."""

from __future__ import annotations

import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import fswidget as fs
from tests.unit.test_without_torch import REFUSE

# What the notebook says in words.
CLAIMS = """
regimes = {name: run[-1].labels["regime"] for name, run in runs.items()}
assert regimes == {"plain": "TRANSITION", "batchnorm": "EF", "last layer": "LAZY"}, regimes
assert [run.at(3).labels["regime"] for run in runs.values()] == ["MF", "EF", "LAZY"]
first, normalised, lazy = (run[-1].scalars for run in runs.values())
assert first["used_features"] <= 15 < 2 * 15 <= normalised["used_features"]
assert lazy["kernel_drift"] < 1e-3 < 0.1 < first["kernel_drift"]
assert min(run[-1].scalars["test_accuracy"] for run in runs.values()) > 0.9
assert len({tuple(run.info.labels) for run in runs.values()}) == 1
assert [len(run) for run in comparison.recordings.values()] == [31, 31, 31]
assert comparison.epoch == 3
import sys
assert "torch" not in sys.modules
try:
    import torch
except ModuleNotFoundError as refused:
    assert str(refused) == "No module named 'torch'"
else:
    raise AssertionError("nothing refuses torch here")
"""


@pytest.fixture
def notebooks(root: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(root / "notebooks", tmp_path / "notebooks"))


def test_it_runs_without_torch_and_tells_the_truth(notebooks: Path) -> None:
    notebook = nbformat.read(notebooks / "companion.ipynb", as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(REFUSE))
    notebook.cells.append(nbformat.v4.new_code_cell(CLAIMS))
    resources = {"metadata": {"path": str(notebooks)}}
    NotebookClient(notebook, kernel_name="python3", timeout=300, resources=resources).execute()
    assert (notebooks / "plain.html").stat().st_size < 2_500_000


def test_the_recordings_are_small(root: Path) -> None:
    files = sorted((root / "notebooks" / "recordings").glob("*.npz"))
    assert [file.stem for file in files] == ["batchnorm", "last_layer", "plain"]
    for file in files:
        assert file.stat().st_size <= 400_000
        assert "root" not in fs.load(file).config
