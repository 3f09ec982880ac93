"""The built front end and BokehJS, as they are sent to a browser."""

from __future__ import annotations

import gzip
import os
from functools import cache
from importlib import resources
from pathlib import Path

STATIC = Path(str(resources.files("fswidget"))) / "static"


def built(name: str) -> Path:
    """Where a built front-end file lies.

    Raises
    ------
    ImportError
        If the front end was not built, with what to do.
    """
    path = STATIC / name
    if not path.is_file():
        raise ImportError(
            f"fswidget's front end is not built ({name} is missing in fswidget/static): install "
            "with `pip install .`, which needs Node.js with npm, or run `npm ci && npm run build` "
            "in the folder js. Numbers and recordings work without it."
        )
    return path


def bundle(name: str) -> str:
    """The text of a built front-end file; raises as `built` does."""
    return built(name).read_text(encoding="utf-8")


def served(name: str) -> Path | str:
    """What anywidget is given: the file, which it watches while ``make watch`` runs, or its text.

    A file that is watched keeps every widget that was ever made.
    """
    return built(name) if os.environ.get("ANYWIDGET_HMR") == "1" else bundle(name)


@cache
def bokehjs() -> bytes:
    """BokehJS as the installed bokeh package ships it, gzip'ed."""
    source = resources.files("bokeh") / "server" / "static" / "js" / "bokeh.min.js"
    return gzip.compress(source.read_bytes(), mtime=0)
