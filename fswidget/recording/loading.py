"""Files of recordings and of sweeps, opened alike."""

from __future__ import annotations

import os

from fswidget.recording import file, grid
from fswidget.recording.atomic import existing, reading
from fswidget.recording.grid import Sweep
from fswidget.recording.recording import Recording

_RECORDING = "file that Recording.save wrote"
_SWEEP = "file that Sweep.save wrote"


def load(path: str | os.PathLike[str]) -> Recording | Sweep:
    """Read what `Recording.save` or `Sweep.save` wrote; needs numpy alone and runs nothing.

    Parameters
    ----------
    path : str or path-like
        ``~`` is the home folder; the suffix may be left out, as in saving.

    Returns
    -------
    Recording or Sweep
        Which of them, the content of the file decides.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    IsADirectoryError
        If it is a folder.
    ValueError
        If the file is damaged, is neither, cannot be read, or was written by a newer version.

    Examples
    --------
    >>> recording = fs.record(fs.Config(width=16, epochs=1, train_size=100, probe_size=100))
    >>> path = recording.save("run")
    >>> len(fs.load("run")) == len(recording)
    True
    """
    found = existing(path, ".npz", ".json")
    with reading(found, f"{_RECORDING.removesuffix(' wrote')} or Sweep.save wrote"):
        content = found.read_bytes()
        if content[:2] != b"PK" and content.lstrip()[:1] != b"{":
            raise ValueError("something else")
    if content.startswith(b"PK"):
        with reading(found, _RECORDING):
            return Recording.restore(file.read(content))
    with reading(found, _SWEEP):
        return grid.read(content)


def load_recording(path: str | os.PathLike[str]) -> Recording:
    """Like `load`, of recordings alone."""
    recording = load(path)
    if not isinstance(recording, Recording):
        raise ValueError(f"path={str(path)!r}: a sweep, not a recording")
    return recording


def load_sweep(path: str | os.PathLike[str]) -> Sweep:
    """Like `load`, of sweeps alone."""
    sweep = load(path)
    if not isinstance(sweep, Sweep):
        raise ValueError(f"path={str(path)!r}: a recording, not a sweep")
    return sweep
