"""Files written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def with_suffix(path: str | os.PathLike[str], suffix: str) -> Path:
    """The file to write: `path`, with `suffix` where it has none."""
    path = as_path(path)
    return path if path.suffix or not path.name else path.with_suffix(suffix)


def as_path(path: str | os.PathLike[str]) -> Path:
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path={path!r}: must be a str or a path")
    return Path(path)


def atomic_write(path: Path, content: bytes) -> Path:
    """Write a file whole or not at all, and return its path.

    Raises
    ------
    OSError, ValueError
        If it cannot be written; what was there is still there.
    """
    try:
        _replace(path, content)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise type(error)(f"path={str(path)!r}: cannot be written ({reason})") from error
    return path


def _replace(path: Path, content: bytes) -> None:
    if path.is_dir():
        raise IsADirectoryError("a folder, not a file")
    # A name of its own and then a rename: a kill while writing leaves an older file untouched.
    handle, name = tempfile.mkstemp(prefix=".fswidget-", suffix=".tmp", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
