"""Build the front end into the package: the function that hatch-jupyter-builder calls."""

from pathlib import Path
from shutil import which

from hatch_jupyter_builder.utils import run

BUNDLE = [Path("fswidget/static/widget.js"), Path("fswidget/static/widget.css")]


def build(target_name: str, version: str) -> None:
    """Run npm in ``js/`` unless the bundle is there and newer than its sources.

    Raises
    ------
    RuntimeError
        If the bundle must be built and npm is not installed.
    """
    if not is_stale():
        return
    if which("npm") is None:
        raise RuntimeError(
            "fswidget's front end is built with Node.js, and npm was not found: install Node.js 20 "
            "or newer (nodejs.org, or on Debian and Ubuntu `apt install nodejs npm`) and install "
            "again, or install a wheel of fswidget, which holds the front end ready built."
        )
    if not Path("js/node_modules").is_dir():
        run(["npm", "ci"], cwd="js")
    run(["npm", "run", "build"], cwd="js")


def is_stale() -> bool:
    """Whether the bundle is missing or older than one of its sources."""
    if not all(path.is_file() for path in BUNDLE):
        return True
    sources = [Path("js/package-lock.json"), *Path("js/src").rglob("*")]
    newest = max(path.stat().st_mtime for path in sources if path.is_file())
    # A source archive gives every file the same time, so there the bundle counts as fresh.
    return newest > min(path.stat().st_mtime for path in BUNDLE)
