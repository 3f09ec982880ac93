"""How runs and frames travel: a JSON header and one binary body.

The same two encodings serve the live widget (custom messages), the state saved in a notebook and
the exported page, and ``js/src/wire.ts`` reads them; ``tests/fixtures/golden.json`` holds both to
it.

A body is arrays end to end, little-endian, each at a multiple of 8 bytes. Its layout is a list of
``{"name", "dtype", "shape", "offset"}``. Floats never travel in JSON, which has no NaN.
"""

from __future__ import annotations

import bisect
import gzip
import io
import json
import math
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fswidget.recording.frame import Frame, RunInfo
from fswidget.recording.provenance import told
from fswidget.recording.recording import Recording

MAGIC = b"FSW1"


# By numpy's one-letter code: asking a dtype for its name takes as long as all the rest.
_DTYPES = {
    "d": ("float64", "<f8"),
    "f": ("float32", "<f4"),
    "h": ("int16", "<i2"),
    "B": ("uint8", "|u1"),
}


# Point clouds are drawn, not computed with: 16 bits a value, scaled per column, is 1/65000 of the
# plot's height and halves the frame. The recording in the kernel keeps float32.
_CLOUDS = ("projections", "held_out_projections")


_CURVES = (
    *("eigenvalues", "quality", "utilization", "quality_error", "utilization_error"),
    *("truncated_accuracy", "exact_eigenvalues"),
)


_MISSING = -32768


_LIMIT = 32767


# A packed recording is looked at only, and noise in the last bits does not compress: 1/1023 of a
# cloud's reach is less than a pixel.
_ROUNDED_LIMIT = 1023


def encode_arrays(arrays: Mapping[str, NDArray[Any]]) -> tuple[list[dict[str, Any]], bytes]:
    """Lay arrays end to end; returns the layout and the body."""
    layout: list[dict[str, Any]] = []
    parts: list[bytes] = []
    offset = 0
    for name, array in arrays.items():
        dtype, sent = _DTYPES[array.dtype.char]
        data = array.astype(sent, copy=False).tobytes()
        layout.append({"name": name, "dtype": dtype, "shape": list(array.shape), "offset": offset})
        padding = -len(data) % 8
        parts += [data, bytes(padding)]
        offset += len(data) + padding
    return layout, b"".join(parts)


def quantize(
    values: NDArray[np.float32], limit: int = _LIMIT, largest: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.int16], NDArray[np.float32]]:
    """Columns as whole numbers from −`limit` to `limit`, and the factor of each.

    `limit` stands for `largest`, by default the largest magnitude in the column. NaN and infinities
    become −32768.
    """
    # Columns as rows: numpy is slow along a short last axis. In float32, whose rounding is far less
    # than a step, and in few calls: this is most of what a frame costs the kernel.
    columns = np.array(values.T, np.float32, order="C")
    magnitude = np.abs(columns).max(axis=1, initial=0)
    missing = None
    if not math.isfinite(magnitude.sum()):
        missing = ~np.isfinite(columns)
        columns[missing] = 0
        magnitude = np.abs(columns).max(axis=1, initial=0)
    # The least scale keeps clear of numbers so small that their quotients lose precision.
    scale = np.maximum((magnitude if largest is None else largest) / limit, 1e-33)
    scale = scale.astype(np.float32, copy=False)
    columns /= scale[:, None]
    steps = np.rint(columns, out=columns).astype(np.int16)
    if missing is not None:
        steps[missing] = _MISSING
    return np.ascontiguousarray(steps.T), scale


def _largest(values: NDArray[np.float32]) -> NDArray[np.float64]:
    magnitude = np.abs(np.where(np.isfinite(values), values, 0.0))
    return np.asarray(np.max(magnitude, axis=0, initial=0.0), np.float64)


def round_curve(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Values to 13 significant bits, 1/8000; NaN and infinities as they are."""
    mantissa, exponent = np.frexp(values)
    rounded: NDArray[np.float32] = np.ldexp(np.rint(mantissa * 8192) / 8192, exponent)
    return rounded


def encode_frame(frame: Frame, sequence: int, previous: int) -> tuple[dict[str, Any], bytes]:
    """A frame's header and body.

    Parameters
    ----------
    frame : Frame
    sequence : int
        The frame's number in its run.
    previous : int
        The number of the frame kept before it, −1 where it is the first: whoever holds an older one
        has missed something.
    """
    arrays: dict[str, NDArray[Any]] = {}
    for name, array in frame.arrays.items():
        if name in _CLOUDS:
            arrays[name], arrays[f"{name}:scale"] = quantize(array)
        else:
            arrays[name] = array
    return _frame(frame, sequence, previous, arrays)


def _frame(
    frame: Frame, sequence: int, previous: int, arrays: Mapping[str, NDArray[Any]]
) -> tuple[dict[str, Any], bytes]:
    scalars = np.array([frame.epoch, frame.step, *frame.scalars.values()], np.float64)
    layout, body = encode_arrays({"scalars": scalars, **arrays})
    header = {
        "seq": sequence,
        "previous": previous,
        "scalars": ["epoch", "step", *frame.scalars],
        "labels": dict(frame.labels),
        "layout": layout,
    }
    return header, body


def encode_frames(
    recording: Recording, start: int = 0, max_bytes: int | None = None
) -> tuple[list[dict[str, Any]], bytes, int]:
    """Frames numbered `start` and later, at least one where there is one, up to `max_bytes`.

    Returns
    -------
    headers : list of dict
        Each with its ``"offset"`` in the body.
    body : bytes
    next : int
        The number to go on from.
    """
    headers: list[dict[str, Any]] = []
    parts: list[bytes] = []
    size = 0
    entries = recording.entries
    first = bisect.bisect_left(entries, start, key=lambda entry: entry[0])
    following = entries[-1][0] + 1 if entries else 0
    for index in range(first, len(entries)):
        sequence, frame = entries[index]
        if parts and max_bytes is not None and size + frame.nbytes > max_bytes:
            following = sequence
            break
        previous = entries[index - 1][0] if index else -1
        header, body = encode_frame(frame, sequence, previous)
        headers.append({**header, "offset": size})
        parts.append(body)
        size += len(body)
    return headers, b"".join(parts), following


def encode_sprite(thumbnails: NDArray[np.uint8]) -> tuple[dict[str, Any], bytes]:
    """All pictures as one image file, row by row in a square of tiles.

    Greys are kept exactly (PNG); colours as WebP, a tenth of their size and alike to the eye.

    Returns
    -------
    sprite : dict
        ``mime``, ``columns``, and the ``height`` and ``width`` of a tile in pixels.
    content : bytes
    """
    count, height, width = thumbnails.shape[:3]
    columns = max(1, math.ceil(math.sqrt(count)))
    rows = max(1, -(-count // columns))
    tiles = np.zeros((rows * columns, *thumbnails.shape[1:]), np.uint8)
    tiles[:count] = thumbnails
    grid = tiles.reshape(rows, columns, *thumbnails.shape[1:]).swapaxes(1, 2)
    image = Image.fromarray(grid.reshape(rows * height, columns * width, *thumbnails.shape[3:]))
    stream = io.BytesIO()
    if thumbnails.ndim == 3:
        mime = "image/png"
        image.save(stream, "PNG")
    else:
        mime = "image/webp"
        image.save(stream, "WEBP", quality=80, method=2)
    sprite = {"mime": mime, "columns": columns, "height": height, "width": width}
    return sprite, stream.getvalue()


def encode_run(
    info: RunInfo, provenance: Mapping[str, str] | None = None
) -> tuple[dict[str, Any], bytes]:
    """The header and body of what does not change during a run.

    The header is `RunInfo.describe` with the ``layout`` of the body, where it is known the
    ``provenance`` in a line and, where there are pictures, ``sprite``; the image file is
    then the array ``sprite`` of the body.
    """
    arrays = info.arrays()
    header = info.describe()
    if provenance:
        header["provenance"] = told(info.config, provenance)
    thumbnails = arrays.pop("thumbnails", None)
    if thumbnails is not None and len(thumbnails):
        header["sprite"], content = encode_sprite(thumbnails)
        arrays["sprite"] = np.frombuffer(content, np.uint8)
    header["layout"], body = encode_arrays(arrays)
    return header, body


def pack(recording: Recording, run: str, limit: int = _ROUNDED_LIMIT) -> bytes:
    """A whole recording as one gzip'ed block, for saved notebooks and exported pages.

    ``FSW1``, the length of the JSON header (uint32), the header, padding to a multiple of 8 bytes,
    the body. Offsets count from the start of the body.

    Curves are rounded to 1/8000 of their values and clouds to 1/`limit` of their reach, less than a
    screen shows; scalars stay exact. An entry of a layout with ``"delta"`` holds the differences,
    modulo 2^16, from the same array of the frame before: clouds move little, and halve.
    """
    run_header, body = encode_run(recording.info, recording.provenance)
    headers: list[dict[str, Any]] = []
    parts, size = [body], len(body)
    # One scale a column for all frames, or there would be no differences to take.
    largest = {name: _common_largest(recording, name) for name in _CLOUDS}
    before: dict[str, NDArray[np.int16]] = {}
    previous = -1
    for sequence, frame in recording.entries:
        arrays: dict[str, NDArray[Any]] = {}
        steps: dict[str, NDArray[np.int16]] = {}
        for name, array in frame.arrays.items():
            if name in _CLOUDS:
                values, scale = quantize(array, limit, largest[name])
                if largest[name] is not None:
                    steps[name] = values
                arrays[name] = values - before[name] if name in before else values
                arrays[f"{name}:scale"] = scale
            else:
                arrays[name] = round_curve(array) if name in _CURVES else array
        header, body = _frame(frame, sequence, previous, arrays)
        for entry in header["layout"]:
            if entry["name"] in before:
                entry["delta"] = True
        headers.append({**header, "offset": size})
        parts.append(body)
        size += len(body)
        before, previous = steps, sequence
    text = json.dumps(
        {"run": run, "info": run_header, "frames": headers}, allow_nan=False, separators=(",", ":")
    ).encode()
    text += b" " * (-len(text) % 8)
    block = b"".join([MAGIC, struct.pack("<I", len(text)), text, *parts])
    # mtime=0: the same recording gives the same bytes.
    return gzip.compress(block, compresslevel=6, mtime=0)


def _common_largest(recording: Recording, name: str) -> NDArray[np.float64] | None:
    """The largest magnitude of each column over all frames; None where their shapes differ."""
    clouds = [frame.arrays[name] for frame in recording if name in frame.arrays]
    if len({cloud.shape for cloud in clouds}) != 1:
        return None
    return np.asarray(np.max([_largest(cloud) for cloud in clouds], axis=0), np.float64)
