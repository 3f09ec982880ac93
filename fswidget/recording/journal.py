"""How a sweep is kept in a file: JSON, or JSON lines where it grows or holds recordings.

Version 1 is one JSON document: ``base`` (the settings that all runs share), ``axes`` and ``runs``.
Version 2 has a line for each of them: the first, and any that adds values to the axes, holds
``base`` and ``axes``; ``{"shared": NAME, "arrays": …}`` the arrays that several runs show, in
base64 the ``.npz`` of a recording's ``run.*``; ``{"run": …}`` a run, with ``recording`` the
``.npz`` of the rest and ``shared`` the name of its arrays. A line is written at once, so that
several processes may add runs to one file; a last line without its end is one that was cut off.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from numpy.typing import NDArray

from fswidget.recording import archive, file
from fswidget.recording.atomic import atomic_write, check_version, locked
from fswidget.recording.frame import RUN_ARRAYS
from fswidget.recording.recording import Recording

FORMAT = "fswidget sweep"

FORMAT_VERSION = 2

#: A run's fields, and its recording where one was kept.
Content = tuple[dict[str, Any], Recording | None]

Axes = Mapping[str, Sequence[Any]]


def to_bytes(
    base: Mapping[str, Any],
    axes: Axes,
    runs: Sequence[Content],
    *,
    leave_out: Sequence[str] = (),
    dtype: str = "float32",
) -> bytes:
    """The content of a file: version 1 where no recording was kept.

    `leave_out` and `dtype` are those of `file.to_bytes`, for arrays of frames.
    """
    if any(recording is not None for _, recording in runs):
        lines = Lines(leave_out, dtype)
        return b"".join([lines.head(base, axes), *map(lines.run, runs)])
    content = {
        "format": FORMAT,
        "version": 1,
        "base": base,
        "axes": axes,
        "runs": [_plain(fields) for fields, _ in runs],
    }
    return json.dumps(content, allow_nan=False, indent=1).encode()


class Lines:
    """The lines of version 2; arrays that several runs share are written once."""

    def __init__(self, leave_out: Sequence[str] = (), dtype: str = "float32") -> None:
        self._leave_out, self._dtype = (*RUN_ARRAYS, *leave_out), dtype
        self._known: set[str] = set()

    def head(self, base: Mapping[str, Any], axes: Axes) -> bytes:
        return _line({"format": FORMAT, "version": FORMAT_VERSION, "base": base, "axes": axes})

    def run(self, content: Content) -> bytes:
        """The line of a run, after one of its arrays where they are new."""
        fields, recording = content
        run, before = _plain(fields), b""
        if recording is not None:
            arrays = {f"run.{name}": a for name, a in recording.info.arrays().items()}
            name = _digest(arrays)
            if name not in self._known:
                before = _line({"shared": name, "arrays": _text(archive.pack(arrays))})
                self._known.add(name)
            contents = recording.contents()
            rest = file.to_bytes(contents, leave_out=self._leave_out, dtype=self._dtype)
            run |= {"recording": _text(rest), "shared": name}
        return before + _line({"run": run})


class Journal:
    """A file to which runs are added one by one, at a cost that does not grow with it.

    Parameters
    ----------
    path : Path
    base, axes
        Of the sweep; the axes may have more values than the file.

    Raises
    ------
    ValueError
        If the file holds another sweep.
    """

    def __init__(self, path: Path, base: Mapping[str, Any], axes: Axes) -> None:
        self._path, self._base, self._axes = path, base, axes
        self._lines = Lines()
        self._begun = False

    def add(self, content: Content) -> None:
        """Write a run; it is on the disk when this returns."""
        self._begin()
        with locked(self._path) as stream:
            _append(stream, self._lines.run(content))

    def _begin(self) -> None:
        while not self._begun:
            with locked(self._path) as stream:
                stream.seek(0)
                first = stream.readline()
                if first and not _is_head(first):  # version 1: rewritten, and opened anew
                    stream.seek(0)
                    _, axes, runs = read(stream.read())
                    if "root" not in axes:  # which version 1 kept
                        for fields, _ in runs:
                            fields["settings"].pop("root", None)
                    lines = Lines()
                    whole = b"".join([lines.head(self._base, axes), *map(lines.run, runs)])
                    atomic_write(self._path, whole)
                    continue
                _append(stream, self._lines.head(self._base, self._axes))
                self._begun = True


def _append(stream: IO[bytes], lines: bytes) -> None:
    """Write at the end, in place of a line that was cut off."""
    end = stream.seek(0, os.SEEK_END)
    step = 1
    while end and step:
        start = max(0, end - step)
        stream.seek(start)
        found = stream.read(end - start).rfind(b"\n")
        if found >= 0 or not start:
            stream.truncate(start + found + 1)
            break
        step *= 4
    stream.seek(0, os.SEEK_END)
    stream.write(lines)
    stream.flush()
    os.fsync(stream.fileno())


def _is_head(line: bytes) -> bool:
    try:
        content = json.loads(line)
    except ValueError:
        return False
    return isinstance(content, dict) and "runs" not in content


def read(content: bytes) -> tuple[dict[str, Any], dict[str, list[Any]], list[Content]]:
    """Base, axes and runs of a file of either version.

    Raises
    ------
    Exception
        Any, if it is damaged.
    """
    first, _, _ = content.partition(b"\n")
    if not _is_head(first):
        document = json.loads(content)
        _check_head(document, 1)
        runs: list[Content] = [(_fields(run), None) for run in document["runs"]]
        return _checked(dict(document["base"]), _axes(document["axes"]), runs)
    return _read_lines(line for line in content.splitlines(keepends=True) if line.endswith(b"\n"))


def _read_lines(
    lines: Iterable[bytes],
) -> tuple[dict[str, Any], dict[str, list[Any]], list[Content]]:
    base: dict[str, Any] | None = None
    axes: dict[str, list[Any]] = {}
    shared: dict[str, Mapping[str, NDArray[Any]]] = {}
    found: dict[str, Content] = {}
    for line in lines:
        content = json.loads(line)
        if "format" in content:
            _check_head(content, FORMAT_VERSION)
            head = dict(content["base"])
            # A later version may know more settings, which are then at their defaults.
            if base is not None and any(base[k] != head[k] for k in base.keys() & head.keys()):
                raise ValueError("two sweeps in one file")
            base = {**(base or {}), **head}
            axes = _union(axes, _axes(content["axes"]))
        elif "shared" in content:
            shared[content["shared"]] = _arrays(_bytes(content["arrays"]))
        else:
            run = dict(content["run"])
            recording = None
            if "recording" in run:
                arrays = shared[run.pop("shared")]
                contents = file.read(_bytes(run.pop("recording")), arrays)
                recording = Recording.restore(contents)
            fields = _fields(run)
            key = json.dumps([fields["settings"].get(name) for name in axes])
            # A run that failed and went well later counts once, whichever process wrote last.
            if key not in found or not fields["error"]:
                found[key] = fields, recording
    if base is None:
        raise ValueError("no settings")
    return _checked(base, axes, list(found.values()))


def _check_head(content: Mapping[str, Any], newest: int) -> None:
    if content["format"] != FORMAT:
        raise ValueError("another format")
    check_version(content["version"], newest)


def _axes(given: Any) -> dict[str, list[Any]]:
    if not all(isinstance(values, list) for values in given.values()):
        raise TypeError("axes that are no lists")
    return dict(given)


def _union(axes: dict[str, list[Any]], more: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    if axes and set(axes) != set(more):
        raise ValueError("two sweeps in one file")
    return {n: [*axes.get(n, ()), *(v for v in more[n] if v not in axes.get(n, ()))] for n in more}


def _fields(run: Any) -> dict[str, Any]:
    """A run's fields, if each is of its type."""
    words = {name: dict(run[name]) for name in ("settings", "scalars", "labels")}
    if not all(isinstance(word, str) for word in (*words["labels"].values(), run["error"])):
        raise TypeError("labels that are no words")
    words["scalars"] = {name: float(value) for name, value in words["scalars"].items()}
    return {**words, "seconds": float(run["seconds"]), "error": run["error"]}


def _checked(
    base: dict[str, Any], axes: dict[str, list[Any]], runs: list[Content]
) -> tuple[dict[str, Any], dict[str, list[Any]], list[Content]]:
    for fields, _ in runs:
        for name, values in axes.items():
            if fields["settings"][name] not in values:
                raise ValueError(f"a run with {name}={fields['settings'][name]!r}")
    return base, axes, runs


def _arrays(content: bytes) -> dict[str, NDArray[Any]]:
    held = archive.Archive(content)
    return {name: held.read(f"run.{name}") for name in RUN_ARRAYS if f"run.{name}" in held}


def _digest(arrays: Mapping[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256()
    for name, array in arrays.items():
        digest.update(f"{name}{array.dtype.str}{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()[:16]


def _line(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, allow_nan=False, separators=(",", ":")).encode() + b"\n"


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers that JSON has no word for, as words."""

    def number(value: float) -> float | str:
        return value if math.isfinite(value) else str(value)

    scalars = {name: number(value) for name, value in fields["scalars"].items()}
    return {**fields, "scalars": scalars, "seconds": number(fields["seconds"])}
