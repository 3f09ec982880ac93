"""A recorded run opens where only the core is installed, without threads, processes or locks."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

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

#: Where Python runs in a browser there are neither threads nor processes nor file locks.
CORE_ONLY = """
import errno, os, subprocess, sys, threading
from importlib.machinery import PathFinder
try:
    import fcntl
except ImportError:
    pass

class Core(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition(".")[0] not in OTHERS:
            return super().find_spec(name, path, target)

def refuse(*_, **__):
    raise RuntimeError("neither threads nor processes here")

def no_locks(*_):
    raise OSError(errno.ENOSYS, "no file locks here")

sys.meta_path[:] = [Core if finder is PathFinder else finder for finder in sys.meta_path]
import fswidget as fs
threading.Thread.start = subprocess.Popen.__init__ = refuse
if "fcntl" in sys.modules:
    os.fork, fcntl.flock = refuse, no_locks
"""

VIEWING = """
recording = fs.load("run.npz")
assert recording[-1].epoch == 3
viewer = fs.Viewer(recording)
assert viewer.recording is recording and viewer.num_frames == 4
assert len(fs.compare(recording, recording[:2]).recordings) == 2
assert recording.figure("spectrum") is not None
assert list(recording.table()["epoch"]) == [0, 1, 2, 3]
print(recording.to_html("page"), recording.save("again"))
"""


def run_python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    package = str(Path(fswidget.__file__).parents[1])
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": package},
        capture_output=True,
        text=True,
        check=False,
    )


def run_without_torch(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return run_python(REFUSE + code, folder)


def others() -> set[str]:
    """Modules of packages that neither are dependencies in pyproject.toml nor needed by those."""
    project = Path(fswidget.__file__).parents[1] / "pyproject.toml"
    wanted = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["dependencies"]
    core = {"fswidget"}
    while wanted:
        requirement = Requirement(wanted.pop())
        name = canonicalize_name(requirement.name)
        if name not in core and (not requirement.marker or requirement.marker.evaluate()):
            core.add(name)
            wanted += requires(name) or []
    modules = packages_distributions().items()
    return {m for m, names in modules if not core & {canonicalize_name(name) for name in names}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_recording(3, num_layers=2).save(tmp_path / "run.npz")
    return tmp_path


def test_load_view_compare_and_export(folder: Path) -> None:
    modules = others()
    assert {"torch", "torchvision", "sklearn", "scipy", "pytest"} <= modules
    assert not modules & {"anywidget", "bokeh", "ipywidgets", "numpy", "PIL", "tqdm"}
    code = f"OTHERS = {modules}\n{CORE_ONLY}\n{VIEWING}"
    done = run_python(code, folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["page.html", "again.npz"]
    assert (folder / "page.html").stat().st_size > 100_000


def test_what_needs_torch_says_so_in_one_sentence(folder: Path) -> None:
    names = ["Config", "Explorer", "analyze", "recipes", "record", "sweep", "train", "watch"]
    code = f"""
import traceback
for name in {names}:
    try:
        getattr(fs, name)
    except ImportError as error:
        print(error, len([*traceback.TracebackException.from_exception(error).format()]))
"""
    done = run_without_torch(code, folder)
    needs = 'needs torch: pip install "fswidget[train]"'
    # One traceback: a heading, two places and the sentence.
    assert done.stdout.splitlines() == [f"fswidget.{name} {needs} 4" for name in names]


def test_commands_that_need_torch_say_so_in_one_line(folder: Path) -> None:
    code = """
from fswidget.__main__ import main
for command in (["run", "--quiet"], ["sweep"], ["recipe"], ["run", "--help"]):
    print(main(command))
"""
    done = run_without_torch(code, folder)
    assert done.stdout.split() == ["2"] * 4
    said = r'fswidget: fswidget\.\w+ needs torch: pip install "fswidget\[train\]"'
    lines = done.stderr.splitlines()
    assert len(lines) == 4
    assert all(re.fullmatch(said, line) for line in lines), lines


def test_a_file_may_bear_the_name_of_a_command(folder: Path) -> None:
    (folder / "run.npz").rename(folder / "run")
    code = "from fswidget.__main__ import main; sys.exit(main(['view', 'run', '--html=a.html']))"
    done = run_without_torch(code, folder)
    assert done.returncode == 0, done.stderr


def test_a_data_set_of_scikit_learn_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError) as refused:
        fswidget.record(fswidget.Config(dataset="diabetes", loss="mse", train_size=99))
    said = "dataset='diabetes' needs scikit-learn: pip install \"fswidget[train]\""
    assert (refused.type, str(refused.value)) == (ImportError, said)
