"""How a recording is kept in a file: one ``.npz`` without pickle, readable with numpy alone.

``meta`` is UTF-8 JSON (format version, run description, names, labels, provenance); ``sequence``,
``epoch`` and ``step`` have one entry per frame, ``scalars`` one row; ``frames.NAME`` holds an array
of all frames end to end and ``frames.NAME.shape`` (n_frames, ndim) its shape in each, −1 where a
frame has none; ``run.NAME`` are the arrays of the run. Members of other names are not read. A
reader of an older version finds ``version`` too high.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fswidget.recording.archive import Archive, pack
from fswidget.recording.atomic import check_version
from fswidget.recording.frame import RUN_ARRAYS, Frame, RunInfo

FORMAT_VERSION = 1

#: The arrays of a run, as `RunInfo.arrays` names them.

DTYPES = ("float32", "float16")

#: Positions of samples, most of a file.
CLOUDS = ("projections", "held_out_projections")

_TABLES = ("scalars", "scalars.present")

_PER_FRAME = ("sequence", "epoch", "step", *_TABLES)


class Contents(NamedTuple):
    """What a file holds of a recording."""

    info: RunInfo
    entries: Sequence[tuple[int, Frame]]
    byte_budget: int | None
    provenance: Mapping[str, str]


def left_out(pictures: bool, projections: bool, dtype: str) -> list[str]:
    """What `Recording.save` does not write, with its arguments checked."""
    for name, flag in (("pictures", pictures), ("projections", projections)):
        if not isinstance(flag, bool):
            raise TypeError(f"{name}={flag!r}: must be True or False")
    if dtype not in DTYPES:
        raise ValueError(f"dtype={dtype!r}: must be one of {', '.join(DTYPES)}")
    return [*(() if pictures else ("thumbnails",)), *(() if projections else CLOUDS)]


def to_bytes(
    contents: Contents,
    *,
    leave_out: Sequence[str] = (),
    dtype: str = "float32",
) -> bytes:
    """The content of the file that `Recording.save` writes.

    Parameters
    ----------
    contents : Contents
    leave_out : sequence of str
        Arrays of frames or of the run that do not go into the file.
    dtype : {"float32", "float16"}
        Of the frames' arrays; see `Recording.save`.
    """
    return pack(_members(contents, set(leave_out), dtype))


def _members(contents: Contents, leave_out: set[str], dtype: str) -> dict[str, NDArray[Any]]:
    sequence = [number for number, _ in contents.entries]
    frames = [frame for _, frame in contents.entries]
    scalar_names = list(dict.fromkeys(name for frame in frames for name in frame.scalars))
    array_names = sorted({name for frame in frames for name in frame.arrays} - leave_out)
    meta = {
        "format": "fswidget recording",
        "version": FORMAT_VERSION,
        "run": contents.info.describe(),
        "byte_budget": contents.byte_budget,
        "scalars": scalar_names,
        "arrays": array_names,
        "labels": [frame.labels for frame in frames],
        "provenance": dict(contents.provenance),
    }
    members: dict[str, NDArray[Any]] = {
        "meta": np.frombuffer(json.dumps(meta, allow_nan=False).encode(), np.uint8),
        "sequence": np.array(sequence, np.int64),
        "epoch": np.array([frame.epoch for frame in frames], np.float64),
        "step": np.array([frame.step for frame in frames], np.int64),
        "scalars": np.array(
            [[frame.scalars.get(name, math.nan) for name in scalar_names] for frame in frames],
            np.float64,
        ).reshape(len(frames), len(scalar_names)),
        "scalars.present": np.array(
            [[name in frame.scalars for name in scalar_names] for frame in frames], bool
        ).reshape(len(frames), len(scalar_names)),
    }
    for name in array_names:
        present = [frame.arrays[name] for frame in frames if name in frame.arrays]
        ndim = present[0].ndim
        missing = (-1,) * ndim
        shapes = [f.arrays[name].shape if name in f.arrays else missing for f in frames]
        flat = np.concatenate([array.ravel() for array in present])
        members[f"frames.{name}"] = _halved(name, flat) if dtype == "float16" else flat
        members[f"frames.{name}.shape"] = np.array(shapes, np.int64).reshape(-1, ndim)
    for name, array in contents.info.arrays().items():
        if name not in leave_out:
            members[f"run.{name}"] = array
    return members


def _halved(name: str, values: NDArray[np.float32]) -> NDArray[Any]:
    """Values with the 11 significant bits of float16.

    Eigenvalues span more than float16 does: they stay float32, whose other bits are 0 and compress.
    """
    finite = np.abs(values[np.isfinite(values)])
    if name != "eigenvalues" and finite.max(initial=0) <= np.finfo(np.float16).max:
        return values.astype(np.float16)
    mantissa, exponent = np.frexp(values)
    rounded: NDArray[np.float32] = np.ldexp(np.rint(mantissa * 2048) / 2048, exponent)
    return rounded


def read(content: bytes, shared: Mapping[str, NDArray[Any]] | None = None) -> Contents:
    """Read what `to_bytes` wrote; needs numpy alone and runs nothing.

    Parameters
    ----------
    content : bytes
    shared : mapping of str to ndarray, optional
        The arrays of the run, where they are kept elsewhere.

    Raises
    ------
    Exception
        Any, if it is damaged.
    """
    archive = Archive(content)
    meta = json.loads(bytes(archive.read("meta")))
    if meta["format"] != "fswidget recording":
        raise ValueError("another format")
    check_version(meta["version"], FORMAT_VERSION)
    members = archive.read_all(_PER_FRAME)
    run_arrays = {n: archive.read(f"run.{n}") for n in RUN_ARRAYS if f"run.{n}" in archive}
    count = len(members["sequence"])
    scalar_names, labels = _names(meta["scalars"]), meta["labels"]
    table = (count, len(scalar_names))
    for name, shape in (
        *((n, (count,)) for n in ("epoch", "step")),
        *((n, table) for n in _TABLES),
    ):
        if members[name].shape != shape:
            raise ValueError(f"{name!r} of shape {members[name].shape}, must be {shape}")
    if len(labels) != count or np.any(np.diff(members["sequence"]) <= 0):
        raise ValueError("frames are missing or out of order")
    arrays: list[dict[str, NDArray[Any]]] = [{} for _ in range(count)]
    for name in _names(meta["arrays"]):
        for index, array in _unravel(archive, f"frames.{name}", count):
            arrays[index][name] = array
    entries = []
    for index in range(count):
        present = members["scalars.present"][index]
        values = members["scalars"][index]
        epoch = float(members["epoch"][index])
        frame = Frame(
            epoch=int(epoch) if epoch.is_integer() else epoch,
            step=int(members["step"][index]),
            scalars={n: v for n, v, p in zip(scalar_names, values, present, strict=True) if p},
            labels=labels[index],
            arrays=arrays[index],
        )
        entries.append((int(members["sequence"][index]), frame))
    info = RunInfo.restore(meta["run"], {**(shared or {}), **run_arrays})
    return Contents(info, entries, meta["byte_budget"], meta.get("provenance", {}))


def _names(given: Any) -> list[str]:
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        raise TypeError("names that are no strings")
    return given


def _unravel(archive: Archive, name: str, count: int) -> Iterator[tuple[int, NDArray[Any]]]:
    """The array of each frame that has one, and the frame's place."""
    flat, shapes = archive.read(name), archive.read(f"{name}.shape")
    if flat.ndim != 1 or shapes.ndim != 2 or len(shapes) != count:
        raise ValueError(f"{name!r} does not fit {count} frames")
    start = 0
    for index, shape in enumerate(shapes.tolist()):
        if shape and max(shape) < 0:
            continue
        if min(shape, default=0) < 0:
            raise ValueError(f"{name!r} is of shape {shape}")
        end = start + math.prod(shape)
        yield index, flat[start:end].reshape(shape)
        start = end
    if start != len(flat):
        raise ValueError(f"{name!r} holds {len(flat)} numbers, {start} are declared")
