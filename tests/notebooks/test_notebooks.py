"""The notebooks run from top to bottom, say what is true, and carry no outputs in git."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))
# What the quickstart says in words.
CLAIMS = """
plain, normalised = (run[-1].scalars for run in (before, after))
assert plain["used_features"] <= 12, dict(plain)
assert normalised["used_features"] > 2 * 10, dict(normalised)
assert abs(plain["test_accuracy"] - normalised["test_accuracy"]) < 0.05
assert spectrum.low_rank_measure < 1e-6
"""


def named(path: Path) -> str:
    return path.name


@pytest.mark.parametrize("path", NOTEBOOKS, ids=named)
def test_git_holds_no_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
    assert "widgets" not in notebook.metadata


def test_the_quickstart_runs_and_tells_the_truth(root: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(root / "notebooks", tmp_path / "notebooks")
    notebook = nbformat.read(folder / "quickstart.ipynb", as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(CLAIMS))
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, kernel_name="python3", timeout=300, resources=resources).execute()
    warned = [
        output.text
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output.output_type == "stream" and output.name == "stderr"
    ]
    assert warned == []


def test_the_demo_ends_by_itself_without_a_terminal(root: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, root / "scripts" / "demo.py", tmp_path / "demo"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for name in ("run.html", "run.npz", "quickstart.ipynb"):
        assert str(tmp_path / "demo" / name) in done.stdout
    executed = nbformat.read(tmp_path / "demo" / "quickstart.ipynb", as_version=4)
    assert all(cell.execution_count for cell in executed.cells if cell.cell_type == "code")
    assert executed.metadata.widgets, "the notebook keeps its widgets, to be looked at later"
