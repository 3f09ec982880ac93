"""What the front end draws with: the live figures, colours and words.

Figures are kept for later processes: importing Bokeh and making them takes most of what a new view
waits for.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fswidget.figures.theme import style
from fswidget.figures.words import words
from fswidget.recording import caching


@cache
def layout_json() -> str:
    """The live figures, empty, as one JSON string.

    ``figures`` maps a figure's name to what ``bokeh.embed`` draws; ``style`` holds colours, shapes
    and what scalars mean, ``words`` titles and captions. A string, because Bokeh's JSON depends on
    the order of keys, which a saved notebook sorts.
    """
    return json.dumps({"figures": _figures(), "style": style(), "words": words()})


def _figures() -> dict[str, Any]:
    path = caching.cache_folder() / f"figures-{version('bokeh')}-{_key()}.json"
    try:
        kept: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError):  # not there, or damaged
        from fswidget.figures import drawing

        kept = drawing.live()
        caching.cache(path, json.dumps(kept).encode())
    return kept


def _key() -> str:
    """Of all that says how figures look, this room."""
    room = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in room)).hexdigest()[:16]
