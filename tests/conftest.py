"""What all tests share."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

# A test, its kernel and its browser share few cores: threads that wait for each other slow all
# three down. Before torch is imported, and for the processes that tests start too.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

# A grammar of addresses that jsonschema makes while nbformat imports it: it takes more than a
# second, and no test asks for it.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]

ROOT = Path(__file__).resolve().parents[1]
ARTIFACTS = ROOT / "artifacts"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what waits longest."""
    items.sort(key=lambda item: ROOT / "tests" / "browser" not in item.path.parents)


@pytest.fixture(autouse=True)
def _no_measure_stays() -> Iterator[None]:
    """A measure that a test or an example registers is in no frame of the next ones."""
    yield
    measures = sys.modules.get("fswidget.probing.measures")
    if measures is not None:
        measures._registered.clear()


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def artifacts() -> Path:
    """Where screenshots and the like are left for a person to look at."""
    ARTIFACTS.mkdir(exist_ok=True)
    return ARTIFACTS


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Real image data sets, in torchvision's layout."""
    if "FSWIDGET_DATA" not in os.environ:
        pytest.skip("FSWIDGET_DATA names no folder with torchvision's data sets")
    return Path(os.environ["FSWIDGET_DATA"])


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser's executable."""
    names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]
    found = [shutil.which(name) for name in [os.environ.get("FSWIDGET_CHROMIUM", ""), *names]]
    path = next(filter(None, found), None)
    # Not a skip: a suite that is green because it saw no browser says nothing about the widget.
    assert path, "install Chromium, or name one in FSWIDGET_CHROMIUM"
    return path
