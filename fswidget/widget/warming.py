"""What a first run imports is loaded while its reader still looks at the controls."""

from __future__ import annotations

import logging
import threading
from functools import cache
from importlib import import_module

log = logging.getLogger("fswidget")

#: What torch's optimisers import when they are first used: seconds.
MODULES = ("torch._dynamo",)


@cache
def begin() -> threading.Thread:
    """Load them, once per process, in a thread."""
    thread = threading.Thread(target=_load, name="fswidget-warming", daemon=True)
    thread.start()
    return thread


def _load() -> None:
    for name in MODULES:
        try:
            import_module(name)
        except Exception:
            # Whoever needs it says so.
            log.debug("%s cannot be imported", name, exc_info=True)
