"""What is made once and kept for later processes, in the user's own cache folder."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from fswidget.recording.atomic import atomic_write


def cache_folder() -> Path:
    """``FSWIDGET_CACHE``, or ``fswidget`` in the user's own cache folder; it may not be there."""
    given = os.environ.get("FSWIDGET_CACHE")
    home = os.environ.get("LOCALAPPDATA") or os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    try:
        return Path(given).expanduser() if given else Path(home).expanduser() / "fswidget"
    except RuntimeError:  # whoever has no home folder keeps nothing
        return Path(os.devnull) / "fswidget"


def cache(path: Path, content: bytes | memoryview) -> None:
    """Keep what was made; what was kept of the same, up to the last dash of its name, goes."""
    same = f"{path.name.rpartition('-')[0]}-*{path.suffix}"
    with contextlib.suppress(OSError, ValueError):  # no reason to stop
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, content)
        for other in path.parent.glob(same):
            if other != path:
                other.unlink()
