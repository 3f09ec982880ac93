"""Frames and recordings: what a run leaves behind, readable with numpy alone.

A `Frame` is one snapshot of a network's features. A `Recording` is the frames of one run
together with its `RunInfo`, all that does not change while the run goes on. Neither imports torch.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from bokeh.models import Plot

#: Every scalar that a frame may carry: its unit and what it says.
SCALARS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "loss": ("loss", "training loss, mean over the samples since the last frame"),
        "train_accuracy": ("fraction", "accuracy on the probe"),
        "test_accuracy": ("fraction", "accuracy on held-out samples"),
        "train_r2": ("R²", "coefficient of determination on the probe"),
        "test_r2": ("R²", "coefficient of determination on held-out samples"),
        "low_rank_measure": (
            "D_LR",
            "low-rank measure, 0 rich to 1 lazy: the paper's plain estimate",
        ),
        "low_rank_measure_error": ("D_LR", "jackknife standard error of the plain D_LR"),
        "low_rank_measure_debiased": (
            "D_LR",
            "low-rank measure, 0 rich to 1 lazy, without the bias of a finite probe",
        ),
        "low_rank_measure_debiased_error": (
            "D_LR",
            "jackknife standard error of the debiased D_LR",
        ),
        "used_features": ("features", "k95: features that hold 95% of what the last layer uses"),
        "used_features_error": ("features", "jackknife standard error of k95"),
        "used_features_held_out": ("features", "k95 on held-out samples"),
        "effective_rank": ("features", "exponential of the entropy of the eigenvalues"),
        "effective_rank_error": ("features", "jackknife standard error of the effective rank"),
        "participation_ratio": ("features", "(Σρ)²/Σρ²"),
        "output_rank": ("dimensions", "rank of the span of the learned functions"),
        "nc1": ("ratio", "neural collapse: variability within against between classes"),
        "nc1_error": ("ratio", "jackknife standard error of NC1"),
        "kernel_drift": ("1 − CKA", "how far the features moved from the first frame"),
        "quality_total": ("fraction", "how much of the targets all features together express"),
        "quality_total_held_out": ("fraction", "the same on held-out samples"),
        "top_share": ("fraction", "share of the trace in the C largest eigenvalues"),
        "regime_confidence": ("fraction", "share of jackknife replicates that agree on the regime"),
        "parameter_norm_squared": ("‖θ‖²", "sum of the squared parameters"),
        "lr": ("per step", "learning rate"),
        "seconds": ("s", "wall time since the run began"),
        "analysis_seconds": ("s", "wall time of this frame's analysis"),
    }
)


@dataclass(frozen=True, eq=False, slots=True)
class Frame:
    """One snapshot of a network's features.

    Parameters
    ----------
    epoch : float
        Passes over the training set so far; fractional where frames come within an epoch.
    step : int
        Optimiser steps so far.
    scalars : dict of str to float
        Single numbers, float64; `SCALARS` names each with its unit. A number that does not exist
        for a run is absent; one that could not be computed is NaN.
    labels : dict of str to str
        Words: ``regime`` (the label), ``evidence`` (one sentence), ``solver`` (which eigensolver).
    arrays : dict of str to ndarray of float32
        ``eigenvalues`` (K,), ``quality`` (K,), ``utilization`` (K,) and, where known,
        ``quality_error`` and ``utilization_error`` (K,), ``projections`` (n_shown, m),
        ``predictions`` (n_shown,), ``held_out_projections`` (n_held_out, m), and per layer
        ``layer_low_rank_measure``, ``layer_low_rank_measure_debiased``, ``layer_effective_rank``,
        ``layer_used_features`` (L,).
        K is the number of eigenvalues above the numerical floor, or fewer with a top-k solver.
    """

    epoch: float
    step: int
    scalars: dict[str, float]
    labels: dict[str, str] = field(default_factory=dict)
    arrays: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.epoch, Real) or not 0 <= self.epoch < math.inf:
            raise ValueError(f"epoch={self.epoch!r}: must be a finite number ≥ 0")
        if not isinstance(self.step, Integral) or self.step < 0:
            raise ValueError(f"step={self.step!r}: must be an integer ≥ 0")
        scalars: dict[str, float] = {}
        for name, scalar in self.scalars.items():
            try:
                scalars[name] = float(scalar)
            except (TypeError, ValueError) as error:
                raise TypeError(f"scalars[{name!r}]={scalar!r}: must be a number") from error
        for name, label in self.labels.items():
            if not isinstance(label, str):
                raise TypeError(f"labels[{name!r}]={label!r}: must be a str")
        arrays = {name: _frozen(f"arrays[{name!r}]", array) for name, array in self.arrays.items()}
        # Copies too, and dicts, which json.dumps takes.
        object.__setattr__(self, "scalars", scalars)
        object.__setattr__(self, "labels", dict(self.labels))
        object.__setattr__(self, "arrays", arrays)

    @property
    def eigenvalues(self) -> NDArray[np.float32]:
        """Eigenvalues ρ_k of the feature operator, shape (K,), descending."""
        return self.arrays["eigenvalues"]

    @property
    def quality(self) -> NDArray[np.float32]:
        """Cumulative quality Π*(k), shape (K,), from 0 to 1."""
        return self.arrays["quality"]

    @property
    def utilization(self) -> NDArray[np.float32]:
        """Cumulative utilization Π̂(k), shape (K,), from 0 to 1."""
        return self.arrays["utilization"]

    @property
    def projections(self) -> NDArray[np.float32]:
        """Eigenfunction values of the shown samples, shape (n_shown, m), aligned over time."""
        return self.arrays["projections"]

    @property
    def nbytes(self) -> int:
        """Memory that the frame's arrays take, in bytes."""
        return sum(array.nbytes for array in self.arrays.values()) + 8 * len(self.scalars)

    def __reduce__(self) -> tuple[Any, ...]:
        # Arrays come out of a pickle writable; made anew they are read-only again.
        return Frame, (self.epoch, self.step, self.scalars, self.labels, self.arrays)

    def __repr__(self) -> str:
        regime = self.labels.get("regime", "?")
        d_lr = self.scalars.get("low_rank_measure", math.nan)
        return f"Frame(epoch={self.epoch:g}, step={self.step}, regime={regime}, D_LR={d_lr:.3g})"


@dataclass(frozen=True, eq=False, slots=True)
class RunInfo:
    """What does not change during a run.

    Parameters
    ----------
    config : dict
        The settings, JSON types only.
    task : {"cross_entropy", "squared_error"}
    num_features : int
        p, the dimension of Φ.
    num_outputs : int
        C, the number of outputs.
    labels : ndarray, shape (n_shown,)
        Class index of each shown sample, or its (first) target value for a regression; float32.
    class_names : sequence of str
        One name a class; empty for a regression.
    thumbnails : ndarray of uint8, shape (n_shown, h, w) or (n_shown, h, w, 3), optional
        Pictures of the shown samples.
    held_out_labels : ndarray, shape (n_held_out,), optional
    layers : sequence of str
        Names of the watched layers, in the order of the forward pass.
    title : str
    """

    config: Mapping[str, Any]
    task: str
    num_features: int
    num_outputs: int
    labels: NDArray[np.float32]
    class_names: tuple[str, ...] = ()
    thumbnails: NDArray[np.uint8] | None = None
    held_out_labels: NDArray[np.float32] | None = None
    layers: tuple[str, ...] = ()
    title: str = ""

    def __post_init__(self) -> None:
        # What cannot be saved must be refused now, not when hours of training are to be kept.
        object.__setattr__(self, "config", _json("config", self.config))
        if self.task not in ("cross_entropy", "squared_error"):
            raise ValueError(f"task={self.task!r}: must be cross_entropy or squared_error")
        for name in ("num_features", "num_outputs"):
            if not isinstance(getattr(self, name), Integral) or getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)!r}: must be an integer ≥ 1")
        for name in ("class_names", "layers"):
            words = tuple(getattr(self, name))
            if not all(isinstance(word, str) for word in words):
                raise TypeError(f"{name}={words!r}: must be names")
            object.__setattr__(self, name, words)
        if not isinstance(self.title, str):
            raise TypeError(f"title={self.title!r}: must be a str")
        object.__setattr__(self, "labels", _frozen("labels", self.labels, ndim=1))
        if self.held_out_labels is not None:
            held_out = _frozen("held_out_labels", self.held_out_labels, ndim=1)
            object.__setattr__(self, "held_out_labels", held_out)
        if self.thumbnails is not None:
            pictures = np.asarray(self.thumbnails)
            grey_or_rgb = pictures.ndim == 3 or (pictures.ndim == 4 and pictures.shape[3] == 3)
            if pictures.dtype != np.uint8 or not grey_or_rgb or len(pictures) != len(self.labels):
                raise ValueError(
                    f"thumbnails: {pictures.dtype} of shape {pictures.shape}, must be uint8 of "
                    f"shape ({len(self.labels)}, h, w) or ({len(self.labels)}, h, w, 3)"
                )

    def describe(self) -> dict[str, Any]:
        """Everything but the arrays, as JSON types."""
        return {
            "config": dict(self.config),
            "task": self.task,
            "num_features": self.num_features,
            "num_outputs": self.num_outputs,
            "class_names": list(self.class_names),
            "layers": list(self.layers),
            "title": self.title,
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays that are present, by name."""
        arrays: dict[str, NDArray[Any]] = {"labels": np.asarray(self.labels, np.float32)}
        if self.thumbnails is not None:
            arrays["thumbnails"] = np.asarray(self.thumbnails, np.uint8)
        if self.held_out_labels is not None:
            arrays["held_out_labels"] = np.asarray(self.held_out_labels, np.float32)
        return arrays

    @classmethod
    def restore(cls, description: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> RunInfo:
        """The inverse of `describe` and `arrays`."""
        return cls(
            config=description["config"],
            task=description["task"],
            num_features=description["num_features"],
            num_outputs=description["num_outputs"],
            labels=arrays["labels"],
            class_names=tuple(description["class_names"]),
            thumbnails=arrays.get("thumbnails"),
            held_out_labels=arrays.get("held_out_labels"),
            layers=tuple(description["layers"]),
            title=description["title"],
        )


def _frozen(name: str, values: object, ndim: int | None = None) -> NDArray[np.float32]:
    """A read-only copy: a caller's buffer that is reused must not change what was recorded."""
    try:
        array = np.array(values, dtype=np.float32, order="C")
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name}={values!r}: must be an array of numbers") from error
    if ndim is not None and array.ndim != ndim:
        raise ValueError(f"{name}: of shape {array.shape}, must have {ndim} dimension")
    array.setflags(write=False)
    return array


def _json(name: str, value: object) -> Any:
    """A copy in JSON types; numpy's numbers become Python's."""
    try:
        text = json.dumps(value, allow_nan=False, default=lambda number: number.item())
    except (AttributeError, TypeError, ValueError) as error:
        raise TypeError(f"{name}={value!r}: must be JSON types, without NaN") from error
    if not isinstance(value, Mapping):
        raise TypeError(f"{name}={value!r}: must be a dict")
    return json.loads(text)


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

    Notes
    -----
    Every frame keeps the sequence number under which it was appended, so that a reader can tell a
    frame that was thinned out from one that was lost on the way.
    """

    def __init__(self, info: RunInfo, *, byte_budget: int | None = 256_000_000) -> None:
        if not isinstance(info, RunInfo):
            raise TypeError(f"info={info!r}: must be a RunInfo")
        if byte_budget is not None and not (isinstance(byte_budget, Real) and byte_budget > 0):
            raise ValueError(f"byte_budget={byte_budget!r}: must be positive, or None for no bound")
        self.info = info
        self.byte_budget = byte_budget
        # One list, so that a thread that copies it sees numbers and frames that belong together.
        self._entries: list[tuple[int, Frame]] = []
        self._nbytes = 0

    @property
    def config(self) -> Mapping[str, Any]:
        """The settings of the run."""
        return self.info.config

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
            while self._nbytes > self.byte_budget and len(self._entries) > 2:
                self._drop_one()
        return sequence

    def _add(self, sequence: int, frame: Frame) -> None:
        self._entries.append((sequence, frame))
        self._nbytes += frame.nbytes

    def _drop_one(self) -> None:
        position = np.log1p([frame.step for _, frame in self._entries])
        # argmin takes the first of equals: of two equally crowded frames the earlier one goes.
        index = 1 + int(np.argmin(position[2:] - position[:-2]))
        self._nbytes -= self._entries.pop(index)[1].nbytes

    def thinned(self, byte_budget: int) -> Recording:
        """A copy that takes at most `byte_budget` bytes, thinned as the class describes."""
        copy = Recording(self.info, byte_budget=byte_budget)
        for sequence, frame in self.entries:
            copy._add(sequence, frame)
        while copy._nbytes > byte_budget and len(copy._entries) > 2:
            copy._drop_one()
        return copy

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
            part = Recording(self.info, byte_budget=self.byte_budget)
            for sequence, frame in self._entries[index]:
                part._add(sequence, frame)
            return part
        return self._entries[index][1]

    def __repr__(self) -> str:
        title = f" {self.info.title!r}" if self.info.title else ""
        last = f", last {self[-1]!r}" if len(self) else ""
        return f"<Recording{title}: {len(self)} frames{last}>"

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
        """The numbers of all frames, one column a name, one row a frame.

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
        """A Bokeh figure of the recording; see `fswidget.figures.figure`."""
        from fswidget import figures

        return figures.figure(self, name, epoch)

    def to_html(self, path: str | os.PathLike[str], **options: Any) -> Path:
        """Write one self-contained interactive page; see `fswidget.export.to_html`."""
        from fswidget import export

        return export.to_html(self, path, **options)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the recording to one ``.npz`` file, whole or not at all.

        Returns
        -------
        pathlib.Path
            The file written; ``.npz`` is appended where `path` has no suffix.
        """
        from fswidget import storage

        return storage.save(self, path)
