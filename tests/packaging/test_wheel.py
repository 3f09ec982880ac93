"""What a user installs: the wheel made from the source archive, in an environment of its own."""

from __future__ import annotations

import email
import os
import re
import runpy
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.synthetic import make_recording

BUNDLE_LIMIT = 100_000  # bytes of our own front end; BokehJS comes from the bokeh package
TRAIN = (
    *("torch", "nvidia", "triton", "functorch", "lightning", "pytorch_lightning", "timm"),
    *("sklearn", "scikit_learn"),
)
#: What everybody installs; the extra `train` is for those who train.
CORE = {"anywidget", "bokeh", "ipywidgets", "numpy", "pillow", "tqdm"}


def run(*command: str | Path, **options: object) -> str:
    """The output of a command that must succeed."""
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        **options,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def without_node(folder: Path) -> dict[str, str]:
    """An environment in which only Python is found."""
    return {**os.environ, "PATH": str(folder)}


@pytest.fixture(scope="session")
def sdist(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source archive."""
    out = tmp_path_factory.mktemp("sdist")
    run(sys.executable, "-m", "build", "--no-isolation", "--sdist", "--outdir", out, root)
    return next(out.glob("fswidget-*.tar.gz"))


@pytest.fixture(scope="session")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, made from the source archive where there is no Node.js."""
    folder = tmp_path_factory.mktemp("wheel")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    source = next(folder.glob("fswidget-*"))
    command = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", folder]
    run(*command, source, env=without_node(folder))
    return next(folder.glob("*.whl"))


def install(wheel: Path, folder: Path, shares: Callable[[str], bool]) -> Path:
    """Install the wheel in a new environment that shares packages with this one.

    The shared packages are links, so that nothing is downloaded and this environment's own
    fswidget stays out.
    """
    venv.create(folder, with_pip=False)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        name = entry.name
        if "fswidget" not in name and not name.endswith(".pth") and shares(name):
            (site / name).symlink_to(entry)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install"]
    run(*pip, "--quiet", "--no-deps", "--no-index", wheel)
    return python


@pytest.fixture(scope="session")
def clean(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of an environment in which the wheel is installed."""
    return install(wheel, tmp_path_factory.mktemp("clean"), lambda name: True)


@pytest.fixture(scope="session")
def torchless(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same without what the extra `train` brings, and everything that belongs to it."""
    folder = tmp_path_factory.mktemp("torchless")
    return install(wheel, folder, lambda name: not name.startswith(TRAIN))


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {"fswidget/static/widget.js", "fswidget/static/widget.css", "fswidget/py.typed"} <= names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"fswidget"}
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert wheel.stat().st_size < 1_500_000  # of which recordings take 600,000


def test_tools_of_development_do_not_reach_users(wheel: Path, root: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith("METADATA"))
        metadata = email.message_from_bytes(archive.read(name))
    needs = metadata.get_all("Requires-Dist", [])
    offered = {re.split(r"[^\w-]", need)[0] for need in needs}
    groups = tomllib.loads((root / "pyproject.toml").read_text())["dependency-groups"]
    tools = {
        re.split(r"[^\w-]", need)[0]
        for needs in groups.values()
        for need in needs
        if isinstance(need, str)
    }
    assert {re.split(r"[^\w-]", need)[0] for need in needs if "extra ==" not in need} == CORE
    assert {"torch", "torchvision", "scikit-learn"} <= offered
    assert "pytest" in tools
    assert offered & tools == set()


def test_the_source_archive_holds_what_a_build_needs(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"fswidget/static/widget.js", "js/src/index.ts", "js/package-lock.json", "README.md"}
    assert wanted <= names
    assert {"tests/conftest.py", "tests/unit/test_regime.py", "tests/fixtures/golden.json"} <= names
    assert not [name for name in names if "node_modules" in name or "__pycache__" in name]
    assert sdist.stat().st_size < 3_000_000


def test_tests_run_from_the_source_archive(sdist: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    source = next(tmp_path.glob("fswidget-*"))
    told = run(sys.executable, "-m", "pytest", "-q", "tests/unit/test_wire.py", cwd=source)
    assert "passed" in told


def test_an_index_page_shows_links_that_lead_somewhere(root: Path, tmp_path: Path) -> None:
    hook = runpy.run_path(str(root / "scripts" / "metadata.py"))
    text = (root / "README.md").read_text(encoding="utf-8")
    made = hook["absolute"](text, "https://host/us/fswidget")
    assert "](https://host/us/fswidget/blob/HEAD/CONTRIBUTING.md)" in made
    assert "](https://host/us/fswidget/raw/HEAD/docs/screenshot.png)" in made
    assert "](https://arxiv.org/abs/2410.04264)" in made
    assert not re.findall(r"\]\((?!https?:)[^)]+\)", made)


def test_the_wheel_shows_the_readme_and_no_address_that_nobody_gave(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith("METADATA"))
        metadata = email.message_from_bytes(archive.read(name))
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload().lstrip().startswith("# fswidget")
    assert metadata.get_all("Project-URL") == ["Paper, https://arxiv.org/abs/2410.04264"]


def test_the_front_end_stays_small(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        sizes = {i.filename: i.file_size for i in archive.infolist() if "/static/" in i.filename}
    assert sum(sizes.values()) <= BUNDLE_LIMIT, sizes


def test_installed_it_is_the_wheel_and_imports_light(clean: Path, tmp_path: Path) -> None:
    code = (
        "import sys, fswidget; print(fswidget.__file__);"
        "print(*sorted({'torch', 'anywidget', 'ipywidgets', 'bokeh', 'sklearn'} & {*sys.modules}))"
    )
    file, *loaded = run(clean, "-c", code, cwd=tmp_path).splitlines()
    assert clean.parents[1] in Path(file).parents
    assert loaded == []


def test_every_public_name_imports(clean: Path, tmp_path: Path) -> None:
    code = "import fswidget; [getattr(fswidget, name) for name in fswidget.__all__]"
    run(clean, "-c", code, cwd=tmp_path)


def test_the_command_is_installed(clean: Path, tmp_path: Path) -> None:
    assert "recipe" in run(clean.parent / "fswidget", "--help", cwd=tmp_path)


def test_a_recording_opens_where_torch_is_not_installed(torchless: Path, tmp_path: Path) -> None:
    make_recording(3).save(tmp_path / "run.npz")
    code = """
import importlib.util, sys
assert importlib.util.find_spec("torch") is None
import fswidget as fs
recording = fs.load("run.npz")
viewer = fs.Viewer(recording)
assert viewer.num_frames == len(recording) == 4
fs.compare(recording, recording)
recording.figure("spectrum")
page = recording.to_html("run.html")
print(page.stat().st_size)
"""
    assert int(run(torchless, "-c", code, cwd=tmp_path)) > 100_000


def test_training_without_torch_says_what_is_missing(torchless: Path, tmp_path: Path) -> None:
    code = "import fswidget as fs; fs.record(fs.Config(epochs=1))"
    done = subprocess.run(
        [torchless, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    said = 'ImportError: fswidget.record needs torch: pip install "fswidget[train]"'
    assert done.stderr.splitlines()[-1] == said


def test_a_build_without_node_says_what_to_do(root: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in ("fswidget", "js/src", "scripts"):
        ignored = shutil.ignore_patterns("static", "__pycache__")
        shutil.copytree(root / name, source / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE", "js/package-lock.json"):
        shutil.copy(root / name, source / name)
    done = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--wheel", source],
        env=without_node(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "install Node.js 20 or newer" in done.stdout + done.stderr
