"""A recorded run opens where torch is not installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import fswidget
from tests.synthetic import make_recording

REFUSE = """
import importlib.abc, sys

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "torchvision", "lightning", "transformers"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Refuse())
import fswidget as fs
"""


def run_without_torch(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    package = str(Path(fswidget.__file__).parents[1])
    return subprocess.run(
        [sys.executable, "-c", REFUSE + code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": package},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_recording(3, num_layers=2).save(tmp_path / "run.npz")
    return tmp_path


def test_load_view_compare_and_export(folder: Path) -> None:
    done = run_without_torch(
        """
recording = fs.load("run.npz")
assert recording[-1].epoch == 3
viewer = fs.Viewer(recording)
assert viewer.recording is recording and viewer.num_frames == 4
assert len(fs.compare(recording, recording[:2]).recordings) == 2
assert recording.figure("spectrum") is not None
assert list(recording.table()["epoch"]) == [0, 1, 2, 3]
print(recording.to_html("page"), recording.save("again"))
""",
        folder,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["page.html", "again.npz"]
    assert (folder / "page.html").stat().st_size > 100_000


@pytest.mark.parametrize("name", ["record", "watch", "analyze", "Explorer"])
def test_what_needs_torch_says_so(name: str, folder: Path) -> None:
    done = run_without_torch(f"fs.{name}", folder)
    assert done.returncode == 1
    assert "No module named 'torch'" in done.stderr.splitlines()[-1]
