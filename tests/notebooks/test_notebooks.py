"""The notebooks run from top to bottom, say what is true, and carry no outputs in git."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

import fswidget as fs
from scripts import demo

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))
#: What a demo shows, without the minute that the quickstart takes.
SMALL = """
import fswidget as fs
from tests.synthetic import make_recording
fs.Viewer(make_recording(2))
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


@pytest.fixture
def small(root: Path, tmp_path: Path) -> Path:
    """A notebook of one cell."""
    notebook = nbformat.read(root / "notebooks" / "quickstart.ipynb", as_version=4)
    notebook.cells = [nbformat.v4.new_code_cell(SMALL)]
    nbformat.write(notebook, tmp_path / "quickstart.ipynb")
    return tmp_path / "quickstart.ipynb"


def test_the_demo_ends_by_itself_without_a_terminal(
    root: Path,
    tmp_path: Path,
    small: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The quickstart itself runs in a browser's test, and in a soak."""
    record = fs.record
    monkeypatch.setattr(fs, "record", lambda config, **how: record(config.replace(epochs=1), **how))
    monkeypatch.setenv("PYTHONPATH", str(root))
    assert demo.main(tmp_path / "demo", small) == 0
    look_at(tmp_path / "demo", capsys.readouterr().out)


@pytest.mark.soak
def test_the_whole_demo(root: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, root / "scripts" / "demo.py", tmp_path / "demo"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert done.returncode == 0, done.stderr
    look_at(tmp_path / "demo", done.stdout)


def look_at(made: Path, told: str) -> None:
    """At what the demo made and said."""
    for name in ("run.html", "run.npz", "quickstart.ipynb"):
        assert str(made / name) in told
        assert (made / name).is_file()
    executed = nbformat.read(made / "quickstart.ipynb", as_version=4)
    cells = [cell for cell in executed.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in cells)
    printed = [
        output for cell in cells for output in cell.outputs if output.output_type == "stream"
    ]
    assert [output.text for output in printed if output.name == "stderr"] == []
    assert executed.metadata.widgets, "the notebook keeps its widgets, to be looked at later"
