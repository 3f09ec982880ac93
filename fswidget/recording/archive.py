"""Arrays in an ``.npz`` file: named, without pickle, and never larger than they may be."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

#: How many times larger than its file an archive may declare itself, and what is always allowed.
_RATIO, _FLOOR = 100, 16_000_000

#: By numpy's code: what a recording may consist of.
_DTYPES = {"<f2", "<f4", "<f8", "<i8", "|u1", "|b1"}

#: Bytes of an array's header; numpy's own are below 200.
_HEADER = 10_000


def pack(members: Mapping[str, NDArray[Any]]) -> bytes:
    """The content of an ``.npz`` file that `Archive` reads."""
    stream = io.BytesIO()
    np.savez_compressed(stream, allow_pickle=False, **members)
    if sum(array.nbytes for array in members.values()) > _limit(len(stream.getvalue())):
        # So much of a sameness that a reader would take it for a trap: not compressed.
        stream = io.BytesIO()
        np.savez(stream, allow_pickle=False, **members)
    return stream.getvalue()


def _limit(size: int) -> int:
    return _FLOOR + _RATIO * size


class Archive:
    """An ``.npz`` file, of which members are read by name.

    Raises
    ------
    ValueError
        If it is none, or declares itself out of proportion to its size. Reading a member raises
        whatever `zipfile` and numpy do where it is damaged.
    """

    def __init__(self, content: bytes) -> None:
        self._zip = zipfile.ZipFile(io.BytesIO(content))
        self._sizes = {info.filename: info.file_size for info in self._zip.infolist()}
        self._left = _limit(len(content))

    def __contains__(self, name: str) -> bool:
        return f"{name}.npy" in self._sizes

    def read(self, name: str) -> NDArray[Any]:
        """One array, read-only; all that are read together stay within the limit."""
        if name not in self:
            raise KeyError(name)
        self._left -= self._sizes[f"{name}.npy"]
        if self._left < 0:
            raise ValueError(f"{name!r} declares more than a file of this size can hold")
        return _array(self._zip.read(f"{name}.npy"), name)

    def read_all(self, names: Iterable[str]) -> dict[str, NDArray[Any]]:
        return {name: self.read(name) for name in names}


def _array(content: bytes, name: str) -> NDArray[Any]:
    stream = io.BytesIO(content)
    version = npy.read_magic(stream)
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"{name!r} is in version {version} of numpy's format")
    shape, by_column, dtype = readers[version](stream, max_header_size=_HEADER)
    if dtype.hasobject:
        raise ValueError(f"{name!r} holds Python objects (pickle), which are never read")
    if dtype.str not in _DTYPES:
        raise ValueError(f"{name!r} holds {dtype.str}")
    start = stream.tell()
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(content) - start:
        raise ValueError(f"{name!r} is not of the shape that it declares")
    return np.ndarray(shape, dtype, content, start, order="F" if by_column else "C")
