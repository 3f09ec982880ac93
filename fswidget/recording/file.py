"""How a recording is kept in a file: one ``.npz`` without pickle, readable with numpy alone.

``meta`` is UTF-8 JSON (format version, run description, names, labels); ``sequence``, ``epoch`` and
``step`` have one entry per frame, ``scalars`` one row; ``frames.NAME`` holds an array of all frames
end to end and ``frames.NAME.shape`` (n_frames, ndim) its shape in each, −1 where a frame has none;
``run.NAME`` are the arrays of the run. A reader of an older version finds ``version`` too high.
"""

from __future__ import annotations

import io
import json
import math
import os
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fswidget.recording.atomic import as_path
from fswidget.recording.frame import Frame, RunInfo

FORMAT_VERSION = 1


class Contents(NamedTuple):
    """What a file holds of a recording."""

    info: RunInfo
    entries: Sequence[tuple[int, Frame]]
    byte_budget: int | None


def to_bytes(contents: Contents) -> bytes:
    """The content of the file that `Recording.save` writes."""
    stream = io.BytesIO()
    np.savez_compressed(stream, allow_pickle=False, **_members(contents))
    return stream.getvalue()


def _members(contents: Contents) -> dict[str, NDArray[Any]]:
    sequence = [number for number, _ in contents.entries]
    frames = [frame for _, frame in contents.entries]
    scalar_names = list(dict.fromkeys(name for frame in frames for name in frame.scalars))
    array_names = sorted({name for frame in frames for name in frame.arrays})
    meta = {
        "format": "fswidget recording",
        "version": FORMAT_VERSION,
        "run": contents.info.describe(),
        "byte_budget": contents.byte_budget,
        "scalars": scalar_names,
        "arrays": array_names,
        "labels": [frame.labels for frame in frames],
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
        members[f"frames.{name}"] = np.concatenate([array.ravel() for array in present])
        members[f"frames.{name}.shape"] = np.array(shapes, np.int64).reshape(-1, ndim)
    for name, array in contents.info.arrays().items():
        members[f"run.{name}"] = array
    return members


def read(path: str | os.PathLike[str]) -> Contents:
    """Read a recording that `Recording.save` wrote; needs numpy alone and runs nothing.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    IsADirectoryError
        If it is a folder.
    ValueError
        If the file is damaged, is no recording, or was written by a newer version.
    """
    path = as_path(path)
    if path.is_dir():
        raise IsADirectoryError(f"path={str(path)!r}: a folder, not a file")
    if not path.is_file():
        raise FileNotFoundError(f"path={str(path)!r}: no such file")
    try:
        with np.load(path, allow_pickle=False) as archive:
            # The zip's own check sums tell a file that was cut or changed.
            members = {name: archive[name] for name in archive.files}
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, AttributeError, KeyError) as error:
        raise ValueError(
            f"path={str(path)!r}: not a whole .npz file ({error}); expected a file that "
            "Recording.save wrote, and this one is cut short or something else"
        ) from error
    except Exception as error:  # zlib.error and friends derive from Exception alone
        raise ValueError(f"path={str(path)!r}: damaged ({error})") from error
    try:
        meta = json.loads(bytes(members["meta"]).decode())
        if meta["format"] != "fswidget recording":
            raise KeyError("format")
        version = int(meta["version"])
    except (KeyError, ValueError, TypeError) as error:
        raise ValueError(
            f"path={str(path)!r}: an .npz file, but not a recording that Recording.save wrote"
        ) from error
    if version > FORMAT_VERSION:
        raise ValueError(
            f"path={str(path)!r}: written in format {version}, this fswidget reads up to "
            f"{FORMAT_VERSION}: a newer fswidget opens it"
        )
    try:
        return _unpack(meta, members)
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise ValueError(f"path={str(path)!r}: a damaged recording ({error!r})") from error


def _unpack(meta: Mapping[str, Any], members: Mapping[str, NDArray[Any]]) -> Contents:
    run_arrays = {
        name.removeprefix("run."): array
        for name, array in members.items()
        if name.startswith("run.")
    }
    count = len(members["sequence"])
    if np.any(np.diff(members["sequence"]) <= 0):
        raise ValueError("frames out of order")
    arrays: list[dict[str, NDArray[np.float32]]] = [{} for _ in range(count)]
    for name in meta["arrays"]:
        flat, start = members[f"frames.{name}"], 0
        for index, shape in enumerate(members[f"frames.{name}.shape"]):
            if shape.size and shape[0] < 0:
                continue
            size = int(np.prod(shape))
            arrays[index][name] = flat[start : start + size].reshape(shape)
            start += size
    entries = []
    for index in range(count):
        present = members["scalars.present"][index]
        values = members["scalars"][index]
        epoch = float(members["epoch"][index])
        frame = Frame(
            epoch=int(epoch) if epoch.is_integer() else epoch,
            step=int(members["step"][index]),
            scalars={n: v for n, v, p in zip(meta["scalars"], values, present, strict=True) if p},
            labels=meta["labels"][index],
            arrays=arrays[index],
        )
        entries.append((int(members["sequence"][index]), frame))
    return Contents(RunInfo.restore(meta["run"], run_arrays), entries, meta["byte_budget"])
