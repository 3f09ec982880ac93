"""The frames of one run."""

from __future__ import annotations

import bisect
import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from fswidget.recording import file
from fswidget.recording.atomic import atomic_write, with_suffix
from fswidget.recording.frame import Frame, RunInfo
from fswidget.recording.provenance import made_now, words
from fswidget.recording.scalars import SCALARS
from fswidget.recording.thinning import Thinning

if TYPE_CHECKING:
    from bokeh.models import Plot
    from matplotlib.axes import Axes
    from pandas import DataFrame


class Recording:
    """The frames of one run, in order.

    Parameters
    ----------
    info : RunInfo
    byte_budget : int, optional
        Memory that the frames may take. Beyond it the recording thins itself: the first and the
        last frame stay, and of the others the one goes whose neighbours lie closest in
        log(1 + step), which leaves the steps spaced evenly on a log axis (our choice). None keeps
        everything.
    provenance : mapping of str to str, optional
        Where it comes from; versions and date of now, if not given. Entries may be added or
        changed (``recording.provenance["licence"] = "CC BY 4.0"``) and are kept in files and pages.

    Notes
    -----
    Every frame keeps the sequence number under which it was appended, so that a reader can tell a
    frame that was thinned out from one that was lost on the way.

    Examples
    --------
    >>> recording = fs.record(fs.Config(width=16, epochs=1, train_size=100, probe_size=100))
    >>> recording.config["width"], recording[-1].epoch
    (16, 1.0)
    >>> recording.table()["epoch"].tolist()
    [0.0, 1.0]
    """

    def __init__(
        self,
        info: RunInfo,
        *,
        byte_budget: int | None = 256_000_000,
        provenance: Mapping[str, str] | None = None,
    ) -> None:
        if not isinstance(info, RunInfo):
            raise TypeError(f"info={info!r}: must be a RunInfo")
        if byte_budget is not None and not (isinstance(byte_budget, Real) and byte_budget > 0):
            raise ValueError(f"byte_budget={byte_budget!r}: must be positive, or None for no bound")
        self.info = info
        self.byte_budget = byte_budget
        self.provenance = made_now() if provenance is None else words(provenance)
        # One list, so that a thread that copies it sees numbers and frames that belong together.
        self._entries: list[tuple[int, Frame]] = []
        self._nbytes = 0
        self._thinning: Thinning | None = None  # made once there is too much

    @property
    def config(self) -> Mapping[str, Any]:
        """The settings of the run."""
        return self.info.config

    @property
    def changes(self) -> list[tuple[float, str]]:
        """Settings that changed while the run was on, in order: the epoch, and what in words."""
        lines = self[-1].labels.get("changes", "").splitlines() if len(self) else []
        found = [re.fullmatch(r"step \d+ \(epoch (.+?)\): (.+)", line) for line in lines]
        return [(float(match[1]), match[2]) for match in found if match]

    @property
    def entries(self) -> tuple[tuple[int, Frame], ...]:
        """The kept frames, each behind its sequence number, ascending."""
        return tuple(self._entries)

    @property
    def appended(self) -> int:
        """Frames ever appended; the next sequence number."""
        return self._entries[-1][0] + 1 if self._entries else 0

    @property
    def nbytes(self) -> int:
        """Memory that the frames take, in bytes."""
        return self._nbytes

    def append(self, frame: Frame) -> int:
        """Add a frame at the end and return its sequence number."""
        if not isinstance(frame, Frame):
            raise TypeError(f"frame={frame!r}: must be a Frame")
        sequence = self.appended
        self._add(sequence, frame)
        if self.byte_budget is not None:
            self._thin(self.byte_budget)
        return sequence

    @classmethod
    def restore(cls, contents: file.Contents) -> Recording:
        """The recording that a file holds."""
        recording = cls(
            contents.info, byte_budget=contents.byte_budget, provenance=contents.provenance
        )
        for sequence, frame in contents.entries:
            contents.info.check(frame)
            recording._add(sequence, frame)
        return recording

    def _like(self, byte_budget: int | None) -> Recording:
        return Recording(self.info, byte_budget=byte_budget, provenance=self.provenance)

    def _add(self, sequence: int, frame: Frame) -> None:
        self._entries.append((sequence, frame))
        self._nbytes += frame.nbytes
        if self._thinning is not None:
            self._thinning.append(sequence, frame.step)

    def _thin(self, byte_budget: int) -> None:
        while self._nbytes > byte_budget and len(self._entries) > 2:
            if self._thinning is None:
                self._thinning = Thinning((number, frame.step) for number, frame in self._entries)
            sequence = self._thinning.pop()
            index = bisect.bisect_left(self._entries, sequence, key=lambda entry: entry[0])
            self._nbytes -= self._entries.pop(index)[1].nbytes

    def thinned(self, byte_budget: int) -> Recording:
        """A copy that takes at most `byte_budget` bytes, thinned as the class describes."""
        copy = self._like(byte_budget)
        for sequence, frame in self.entries:
            copy._add(sequence, frame)
        copy._thin(byte_budget)
        return copy

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Pickled before recordings said where they come from.
        self.__dict__.update({"provenance": {}, "_thinning": None, **state})

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Frame]:
        return iter([frame for _, frame in self.entries])

    @overload
    def __getitem__(self, index: int) -> Frame: ...
    @overload
    def __getitem__(self, index: slice) -> Recording: ...
    def __getitem__(self, index: int | slice) -> Frame | Recording:
        if isinstance(index, slice):
            part = self._like(self.byte_budget)
            for sequence, frame in self._entries[index]:
                part._add(sequence, frame)
            return part
        return self._entries[index][1]

    def __repr__(self) -> str:
        title = f" {self.info.title!r}" if self.info.title else ""
        last = f", last {self[-1]!r}" if len(self) else ""
        samples = f" of {self.info.samples}" if self.info.samples else ""
        return f"<Recording{title}: {len(self)} frames{samples}{last}>"

    def at(self, epoch: float) -> Frame:
        """The newest frame at or before `epoch`; −1 is the last frame, −2 the one before.

        Raises
        ------
        ValueError
            If `epoch` is negative and no whole number.
        IndexError
            If there is no such frame.
        """
        if not isinstance(epoch, Real):
            raise TypeError(f"epoch={epoch!r}: must be a number")
        frames = list(self)
        if not frames:
            raise IndexError(f"epoch={epoch!r}: the recording has no frames yet")
        if epoch < 0:
            if not float(epoch).is_integer():
                raise ValueError(f"epoch={epoch!r}: must be ≥ 0, or −1, −2, … from the last frame")
            if -epoch > len(frames):
                raise IndexError(f"epoch={epoch!r}: the recording has {len(frames)} frames")
            return frames[int(epoch)]
        before = [frame for frame in frames if frame.epoch <= epoch]
        if not before:
            raise IndexError(f"epoch={epoch!r}: the recording starts at epoch {frames[0].epoch:g}")
        return before[-1]

    def table(self) -> dict[str, NDArray[Any]]:
        """The numbers of all frames, one column per name, one row per frame.

        Returns
        -------
        dict of str to ndarray, shape (n_frames,)
            ``epoch``, ``step``, ``regime`` and every scalar; NaN where a frame lacks it. The unit
            of a column is ``fswidget.recording.SCALARS[name][0]``.
        """
        names = list(dict.fromkeys(name for frame in self for name in frame.scalars))
        columns: dict[str, NDArray[Any]] = {
            "epoch": np.array([frame.epoch for frame in self], float),
            "step": np.array([frame.step for frame in self], np.int64),
            "regime": np.array([frame.labels.get("regime", "") for frame in self], str),
        }
        for name in names:
            columns[name] = np.array([f.scalars.get(name, math.nan) for f in self], np.float64)
        return columns

    def figure(self, name: str, epoch: float = -1) -> Plot:
        """A Bokeh figure of the recording; see `fswidget.figures.drawing.figure`."""
        from fswidget.figures.drawing import figure

        return figure(self, name, epoch)

    def plot(self, name: str, epoch: float = -1, ax: Axes | None = None, **style: Any) -> Axes:
        """A matplotlib figure of the recording; see `fswidget.figures.paper.plot`."""
        from fswidget.figures.paper import plot

        return plot(self, name, epoch, ax, **style)

    def to_pandas(self) -> DataFrame:
        """`table` as a pandas DataFrame; ``attrs`` holds the units and what the run was.

        Raises
        ------
        ImportError
            If pandas is not installed: ``pip install "fswidget[paper]"``.

        Examples
        --------
        >>> recording = fs.record(fs.Config(width=16, epochs=1, train_size=100, probe_size=100))
        >>> frame = recording.to_pandas()
        >>> frame["epoch"].tolist(), frame.attrs["units"]["low_rank_measure"]
        ([0.0, 1.0], 'D_LR')
        """
        try:
            from pandas import DataFrame
        except ImportError as error:
            raise ImportError('to_pandas needs pandas: pip install "fswidget[paper]"') from error
        frame = DataFrame(self.table())
        units = {"epoch": "passes over the training set", "step": "updates"}
        units |= {name: SCALARS[name][0] for name in frame if name in SCALARS}
        frame.attrs = {
            "units": units,
            "title": self.info.title,
            "config": dict(self.config),
            "provenance": dict(self.provenance),
        }
        return frame

    def to_html(self, path: str | os.PathLike[str], **options: Any) -> Path:
        """Write one self-contained interactive page; see `fswidget.widget.html.to_html`."""
        from fswidget.widget.html import to_html

        return to_html(self, path, **options)

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        pictures: bool = True,
        projections: bool = True,
        dtype: str = "float32",
    ) -> Path:
        """Write the recording to one ``.npz`` file, whole or not at all.

        Parameters
        ----------
        path : str or path-like
            ``.npz`` is appended where it has no suffix; ``~`` is the home folder.
        pictures : bool
            Whether the samples' pictures go into the file.
        projections : bool
            Whether the samples' positions on the eigenfunctions do: most of the file.
        dtype : {"float32", "float16"}
            Precision of curves and positions; float16 keeps 11 significant bits (three decimal
            digits) and halves the file. Scalars stay float64.

        Returns
        -------
        pathlib.Path
            The file written.
        """
        content = self.to_bytes(pictures=pictures, projections=projections, dtype=dtype)
        return atomic_write(with_suffix(path, ".npz"), content)

    def to_bytes(
        self, *, pictures: bool = True, projections: bool = True, dtype: str = "float32"
    ) -> bytes:
        """The content of the file that `save` writes."""
        left_out = file.left_out(pictures, projections, dtype)
        return file.to_bytes(self.contents(), leave_out=left_out, dtype=dtype)

    def contents(self) -> file.Contents:
        """What a file holds of this recording."""
        return file.Contents(self.info, self.entries, self.byte_budget, self.provenance)

    def without_pictures(self) -> Recording:
        """A copy that holds no pictures of the samples."""
        return Recording.restore(self.contents()._replace(info=replace(self.info, thumbnails=None)))
