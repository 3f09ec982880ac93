"""Files written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

try:
    import fcntl
except ImportError:  # Windows, which has no such locks but deletes no file that is open
    fcntl = None  # type: ignore[assignment]

_TEMPORARY = ".fswidget-{}.tmp"

#: Seconds after which a temporary file has no writer any more, where locks cannot tell.
_FORGOTTEN = 86_400


def as_path(path: str | os.PathLike[str]) -> Path:
    """The path meant: ``~`` is the home folder."""
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path={path!r}: must be a str or a path")
    return Path(os.path.expanduser(path))


def with_suffix(path: str | os.PathLike[str], suffix: str) -> Path:
    """The file to write: `path`, with `suffix` where it has none."""
    path = as_path(path)
    return path if path.suffix or not path.name else path.with_suffix(suffix)


def existing(path: str | os.PathLike[str], *suffixes: str) -> Path:
    """The file to read: what `with_suffix` would write, or else `path` itself.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    IsADirectoryError
        If it is a folder.
    ValueError
        If it is a pipe or a device, cannot be looked at, or two files may be meant.
    """
    path = as_path(path)
    names = dict.fromkeys([*(with_suffix(path, suffix) for suffix in suffixes), path])
    try:
        found = [name for name in names if (mode := _mode(name)) and not stat.S_ISDIR(mode)]
    except (OSError, ValueError) as error:
        raise ValueError(f"path={str(path)!r}: cannot be read ({_reason(error)})") from error
    if len(found) > 1 and found[1] != path:
        either = " or ".join(repr(str(name)) for name in found)
        raise ValueError(f"path={str(path)!r}: say which is meant, {either}")
    if not found:
        if path.is_dir():
            raise IsADirectoryError(f"path={str(path)!r}: a folder, not a file")
        raise FileNotFoundError(f"path={str(path)!r}: no such file")
    _require_regular(found[0])
    return found[0]


def _mode(path: Path) -> int | None:
    """The kind of what is there; None where nothing is."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None


def _require_regular(path: Path) -> None:
    mode = _mode(path)
    if mode is None or stat.S_ISREG(mode):
        return
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(f"path={str(path)!r}: a folder, not a file")
    raise ValueError(f"path={str(path)!r}: a pipe or a device, not a regular file")


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


class NewerFormat(ValueError):
    """A file that is whole, as far as can be told, but from a later version."""


@contextlib.contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Whatever is wrong with a file, in one sentence with its path."""
    try:
        yield
    except NewerFormat as error:
        raise ValueError(f"path={str(path)!r}: {error}") from error
    except Exception as error:  # a file may be anything, and so may the errors
        words = " ".join(_reason(error).split())[:200]
        reason = f"{type(error).__name__}: {words}" if words else type(error).__name__
        raise ValueError(f"path={str(path)!r}: not a whole {what} ({reason})") from error


def check_version(given: Any, newest: int) -> None:
    """Raise if a file's format is later than the newest that is read here."""
    if not isinstance(given, int) or not 1 <= given <= 1000:
        raise ValueError("no version")
    if given > newest:
        raise NewerFormat(
            f"written in format {given}, this fswidget reads up to {newest}: a newer one opens it"
        )


def atomic_write(path: Path, content: bytes | memoryview) -> Path:
    """Write a file whole or not at all, and return its path.

    A link is followed, the mode of a file that is replaced is kept, and what writers that were
    killed left behind in the folder is removed.

    Raises
    ------
    OSError, ValueError
        If it cannot be written, or is no regular file; what was there is still there.
    """
    with _named(path), _temporary(path) as (stream, target):
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
        if (mode := _mode(target)) is not None:
            os.chmod(stream.name, stat.S_IMODE(mode))
        if fcntl is None:
            stream.close()
        os.replace(stream.name, target)
    return path


def require_writable(path: Path) -> None:
    """Raise what `atomic_write` would, before there is anything to write."""
    with _named(path), _temporary(path):
        pass


@contextlib.contextmanager
def locked(path: Path) -> Iterator[IO[bytes]]:
    """A file open for reading and writing, made if need be, that one process at a time has."""
    with _named(path):
        _require_regular(path)
        while True:
            stream = open(path, "a+b")  # noqa: SIM115 (closed below)
            _lock(stream, wait=True)
            if _is_there(stream, path):
                break
            stream.close()  # replaced while we waited
    with stream:
        yield stream


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[bool]:
    """Whether this has a folder to itself until the end; True too where no lock can tell."""
    if fcntl is None:
        yield True
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield _lock(descriptor, wait=False) is not False
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Errors that name the argument."""
    try:
        yield
    except (OSError, ValueError) as error:
        if str(error).startswith("path="):
            raise
        kind = type(error) if isinstance(error, OSError) else ValueError
        raise kind(f"path={str(path)!r}: cannot be written ({_reason(error)})") from error


@contextlib.contextmanager
def _temporary(path: Path) -> Iterator[tuple[IO[bytes], Path]]:
    """A new file, and what it is to replace; it is gone in the end unless it was renamed."""
    _require_regular(path)
    target = Path(os.path.realpath(path))
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    _sweep(target.parent)
    # A name of its own and then a rename: a kill while writing leaves an older file untouched.
    while True:
        name = target.parent / _TEMPORARY.format(secrets.token_hex(8))
        stream = open(name, "xb")  # noqa: SIM115 (closed below)
        _lock(stream, wait=True)
        if _is_there(stream, name):
            break
        stream.close()  # another writer took it for a leftover before it was locked
    try:
        with stream:
            yield stream, target
    finally:
        with contextlib.suppress(FileNotFoundError):
            name.unlink()


def _sweep(folder: Path) -> None:
    """Remove what killed writers left behind: temporary files that nobody has locked."""
    for name in folder.glob(_TEMPORARY.format("*")):
        with contextlib.suppress(OSError):
            if not stat.S_ISREG(name.lstat().st_mode):
                continue
            with open(name, "rb") as stream:
                free = _lock(stream, wait=False)
                if free is None:
                    free = time.time() - name.stat().st_mtime > _FORGOTTEN
                if free:
                    name.unlink()


def _lock(stream: IO[bytes] | int, *, wait: bool) -> bool | None:
    """Whether this process has the file to itself, until it closes it; None where none can tell."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return None
    return True


def _is_there(stream: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except FileNotFoundError:
        return False
