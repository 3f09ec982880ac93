"""Files that were damaged or made up: one sentence with the path, never more."""

from __future__ import annotations

import io
import json
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import fswidget as fs
from fswidget.recording import journal
from fswidget.recording.grid import Run, content_of
from tests.synthetic import make_recording, make_sweep


@cache
def _whole(kind: str) -> bytes:
    if kind == "recording":
        return make_recording(2, num_layers=2).to_bytes()
    sweep = make_sweep()
    if kind == "sweep":
        return journal.to_bytes({}, sweep.axes, [content_of(run) for run in sweep])
    bare = [Run(run.settings, run.scalars, run.labels, 1.0) for run in sweep]
    whole = journal.to_bytes({}, sweep.axes, [content_of(run) for run in bare])
    return json.dumps(json.loads(whole)).encode()


def trial(random: np.random.Generator, folder: Path) -> str:
    """One mutated file."""
    kind = str(random.choice(["recording", "sweep", "old sweep"]))
    path = folder / "file"
    path.write_bytes(_mutate(_whole(kind), random))
    try:
        found = fs.load(path)
        found.table()
        repr(found)
        found.save(folder / "again")
    except ValueError as error:
        said = str(error)
        assert said.startswith(f"path={str(path)!r}: "), said
        assert "\n" not in said, said
        assert len(said) < 400 + len(str(path)), said
        return f"{kind} refused"
    return f"{kind} read"


def _mutate(content: bytes, random: np.random.Generator) -> bytes:
    """Another file: bytes changed, or its parts replaced and put together again."""
    kind = random.integers(4)
    if kind == 0:
        return content[: random.integers(len(content))]
    if kind == 1:
        changed = bytearray(content)
        for place in random.integers(len(content), size=random.integers(1, 20)):
            changed[place] = random.integers(256)
        return bytes(changed)
    if not content.startswith(b"PK"):
        lines = [json.loads(line) for line in content.splitlines()]
        index = int(random.integers(len(lines)))
        lines[index] = _other(lines[index], random)
        return b"".join(_dump(line) + b"\n" for line in lines)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    name = str(random.choice(list(parts)))
    if name == "meta.npy" or kind == 2:
        stream = io.BytesIO(parts["meta.npy"])
        meta = json.loads(bytes(np.load(stream)))
        parts["meta.npy"] = _npy(np.frombuffer(_dump(_other(meta, random)), np.uint8))
    else:
        parts[name] = _other_array(parts[name], random)
    if random.random() < 0.1:
        del parts[str(random.choice(list(parts)))]
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in parts.items():
            archive.writestr(name, part)
    return stream.getvalue()


VALUES: list[Any] = [
    None, True, -1, 0, 3, 10**400, 1.5, 1e308, "", "x", "run", [], [1], [None], {}, {"x": 1},
    {"x": {}}, [[]], "x" * 1000,
]  # fmt: skip


def _other(value: Any, random: np.random.Generator) -> Any:
    """A JSON value with one place in it changed; at times it is very deep."""
    if random.random() < 0.02:
        for _ in range(100_000):
            value = [value]
        return value
    if isinstance(value, dict) and value and random.random() < 0.85:
        name = str(random.choice(list(value)))
        if random.random() < 0.1:
            return {**{n: v for n, v in value.items() if n != name}, "other": value[name]}
        return {**value, name: _other(value[name], random)}
    if isinstance(value, list) and value and random.random() < 0.85:
        index = int(random.integers(len(value)))
        return [*value[:index], _other(value[index], random), *value[index + 1 :]]
    return VALUES[random.integers(len(VALUES))]


def _dump(value: Any) -> bytes:
    depth, inner = 0, value
    while isinstance(inner, list) and len(inner) == 1:
        depth, inner = depth + 1, inner[0]
    if depth > 1000:  # deeper than json.dumps goes
        return b"[" * depth + json.dumps(inner).encode() + b"]" * depth
    try:
        return json.dumps(value).encode()
    except RecursionError:
        return b"[" * 100_000 + b"]" * 100_000


def _npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def _other_array(content: bytes, random: np.random.Generator) -> bytes:
    array = np.load(io.BytesIO(content))
    match random.integers(8):
        case 0:
            return content[10:]  # no magic
        case 1:
            return _npy(array[:-1] if array.ndim else array)
        case 2:
            return _npy(array.astype(object))
        case 3:
            return _npy(array.astype(random.choice(["c16", "U3", "i2", "f8", "M8[s]", "?"])))
        case 4:
            return _npy(array[None])
        case 5:
            header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({10**30},), }}".encode()
            return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + content
        case 6:
            return _npy(
                np.full_like(array, random.choice([0, 1])) if array.dtype != bool else array
            )
        case _:
            return _npy(-array.astype(float))
