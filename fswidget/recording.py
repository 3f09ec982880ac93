"""Frames and recordings: what a run leaves behind, readable with numpy alone.

A `Frame` is one immutable snapshot of a network's features. A `Recording` is the frames of one run
together with its `RunInfo`, all that does not change while the run goes on. Neither imports torch.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from bokeh.models import Plot

FORMAT_VERSION = 1

#: Every scalar that a frame may carry: its unit and what it says.
SCALARS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "loss": ("loss", "training loss, mean over the samples since the last frame"),
        "train_accuracy": ("fraction", "accuracy on the probe"),
        "test_accuracy": ("fraction", "accuracy on held-out samples"),
        "train_r2": ("R²", "coefficient of determination on the probe"),
        "test_r2": ("R²", "coefficient of determination on held-out samples"),
        "low_rank_measure": ("D_LR", "low-rank measure, 0 rich to 1 lazy"),
        "low_rank_measure_error": ("D_LR", "jackknife standard error of the low-rank measure"),
        "low_rank_measure_debiased": ("D_LR", "low-rank measure, debiased for the finite probe"),
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
        ``layer_low_rank_measure``, ``layer_effective_rank``, ``layer_used_features`` (L,).
        K is the number of eigenvalues above the numerical floor, or fewer with a top-k solver.
    """

    epoch: float
    step: int
    scalars: Mapping[str, float]
    labels: Mapping[str, str] = field(default_factory=dict)
    arrays: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        arrays = {}
        for name, value in self.arrays.items():
            # A copy: a caller's buffer that is reused must not change a frame afterwards.
            array = np.array(value, dtype=np.float32, order="C")
            array.setflags(write=False)
            arrays[name] = array
        scalars = {name: float(value) for name, value in self.scalars.items()}
        object.__setattr__(self, "scalars", MappingProxyType(scalars))
        object.__setattr__(self, "labels", MappingProxyType(dict(self.labels)))
        object.__setattr__(self, "arrays", MappingProxyType(arrays))

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
        # Read-only mappings do not pickle; sweeps send frames between processes.
        parts = (dict(self.scalars), dict(self.labels), dict(self.arrays))
        return Frame, (self.epoch, self.step, *parts)

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
        known = dict(description)
        known["class_names"] = tuple(known["class_names"])
        known["layers"] = tuple(known["layers"])
        return cls(**known, **arrays)


class Recording:
    """The frames of one run, in order.

    Parameters
    ----------
    info : RunInfo
    byte_budget : int, optional
        Memory that the frames may take. Beyond it the recording thins itself: the first and the last
        frame stay, and of the others the one goes whose neighbours lie closest in log(1 + step),
        which leaves the steps spaced evenly on a log axis (our choice). None keeps everything.

    Notes
    -----
    Every frame keeps the sequence number under which it was appended, so that a reader can tell a
    frame that was thinned out from one that was lost on the way.
    """

    def __init__(self, info: RunInfo, *, byte_budget: int | None = 256_000_000) -> None:
        if byte_budget is not None and byte_budget <= 0:
            raise ValueError(f"byte_budget={byte_budget!r}: must be positive, or None for no bound")
        self.info = info
        self.byte_budget = byte_budget
        self._frames: list[Frame] = []
        self._sequence: list[int] = []
        self._appended = 0
        self._nbytes = 0

    @property
    def config(self) -> Mapping[str, Any]:
        """The settings of the run."""
        return self.info.config

    @property
    def appended(self) -> int:
        """Frames ever appended; the next sequence number."""
        return self._appended

    @property
    def sequence(self) -> tuple[int, ...]:
        """Sequence numbers of the kept frames, ascending."""
        return tuple(self._sequence)

    @property
    def nbytes(self) -> int:
        """Memory that the frames take, in bytes."""
        return self._nbytes

    def append(self, frame: Frame) -> int:
        """Add a frame at the end and return its sequence number."""
        sequence = self._appended
        self._frames.append(frame)
        self._sequence.append(sequence)
        self._appended += 1
        self._nbytes += frame.nbytes
        if self.byte_budget is not None:
            while self._nbytes > self.byte_budget and len(self._frames) > 2:
                self._drop_one()
        return sequence

    def _drop_one(self) -> None:
        position = np.log1p([frame.step for frame in self._frames])
        # min() takes the first of equals: the earlier of two equally crowded frames goes.
        index = 1 + int(np.argmin(position[2:] - position[:-2]))
        self._nbytes -= self._frames[index].nbytes
        del self._frames[index], self._sequence[index]

    def __len__(self) -> int:
        return len(self._frames)

    def __iter__(self) -> Iterator[Frame]:
        return iter(tuple(self._frames))

    @overload
    def __getitem__(self, index: int) -> Frame: ...
    @overload
    def __getitem__(self, index: slice) -> Recording: ...
    def __getitem__(self, index: int | slice) -> Frame | Recording:
        if isinstance(index, slice):
            part = Recording(self.info, byte_budget=self.byte_budget)
            part._frames = self._frames[index]
            part._sequence = self._sequence[index]
            part._appended = self._appended
            part._nbytes = sum(frame.nbytes for frame in part._frames)
            return part
        return self._frames[index]

    def __repr__(self) -> str:
        title = f" {self.info.title!r}" if self.info.title else ""
        last = f", last {self[-1]!r}" if self._frames else ""
        return f"<Recording{title}: {len(self)} frames{last}>"

    def at(self, epoch: float) -> Frame:
        """The newest frame at or before `epoch`; negative counts frames from the end.

        Raises
        ------
        IndexError
            If there is no such frame.
        """
        if not self._frames:
            raise IndexError(f"epoch={epoch!r}: the recording has no frames yet")
        if epoch < 0:
            if -epoch > len(self):
                raise IndexError(f"epoch={epoch!r}: the recording has {len(self)} frames")
            return self._frames[int(epoch)]
        before = [frame for frame in self._frames if frame.epoch <= epoch]
        if not before:
            first = self._frames[0].epoch
            raise IndexError(f"epoch={epoch!r}: the recording starts at epoch {first:g}")
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

        The file holds no pickle. ``meta`` is UTF-8 JSON (format version, run description, names,
        labels); ``frames.NAME`` holds an array of all frames end to end and ``frames.NAME.shape``
        (n_frames, ndim) its shape in each, −1 where a frame has none; ``run.NAME`` the arrays of
        the run.

        Returns
        -------
        pathlib.Path
            The file written; ``.npz`` is appended where `path` has no suffix.
        """
        path = Path(path)
        if not path.suffix:
            path = path.with_suffix(".npz")
        return _write_whole(path, self._pack())

    def _pack(self) -> dict[str, NDArray[Any]]:
        frames = self._frames
        scalar_names = sorted({name for frame in frames for name in frame.scalars})
        array_names = sorted({name for frame in frames for name in frame.arrays})
        meta = {
            "format": "fswidget recording",
            "version": FORMAT_VERSION,
            "run": self.info.describe(),
            "appended": self._appended,
            "byte_budget": self.byte_budget,
            "scalars": scalar_names,
            "arrays": array_names,
            "labels": [dict(frame.labels) for frame in frames],
        }
        members: dict[str, NDArray[Any]] = {
            "meta": np.frombuffer(json.dumps(meta, allow_nan=False).encode(), np.uint8),
            "sequence": np.array(self._sequence, np.int64),
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
        for name, array in self.info.arrays().items():
            members[f"run.{name}"] = array
        return members


def _write_whole(path: Path, members: Mapping[str, NDArray[Any]]) -> Path:
    # A name of its own and then a rename: a kill while writing leaves an older file untouched.
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            np.savez_compressed(stream, allow_pickle=False, **members)
            stream.flush()
            os.fsync(stream.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return path


def load(path: str | os.PathLike[str]) -> Recording:
    """Read a recording that `Recording.save` wrote. Needs numpy alone, and runs no code of the file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, is no recording, or was written by a newer version.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"path={str(path)!r}: no such file")
    try:
        with np.load(path, allow_pickle=False) as archive:
            # The zip's own check sums tell a file that was cut or changed.
            members = {name: archive[name] for name in archive.files}
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, AttributeError, KeyError) as error:
        raise ValueError(
            f"path={str(path)!r}: not a whole .npz file ({error}); it may be cut short or something "
            "else: expected a file that Recording.save wrote"
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


def _unpack(meta: Mapping[str, Any], members: Mapping[str, NDArray[Any]]) -> Recording:
    run_arrays = {
        name.removeprefix("run."): array
        for name, array in members.items()
        if name.startswith("run.")
    }
    recording = Recording(
        RunInfo.restore(meta["run"], run_arrays), byte_budget=meta["byte_budget"]
    )
    count = len(members["sequence"])
    arrays: list[dict[str, ArrayLike]] = [{} for _ in range(count)]
    for name in meta["arrays"]:
        flat, start = members[f"frames.{name}"], 0
        for index, shape in enumerate(members[f"frames.{name}.shape"]):
            if shape.size and shape[0] < 0:
                continue
            size = int(np.prod(shape))
            arrays[index][name] = flat[start : start + size].reshape(shape)
            start += size
    for index in range(count):
        present = members["scalars.present"][index]
        values = members["scalars"][index]
        epoch = float(members["epoch"][index])
        frame = Frame(
            epoch=int(epoch) if epoch.is_integer() else epoch,
            step=int(members["step"][index]),
            scalars={n: v for n, v, p in zip(meta["scalars"], values, present, strict=True) if p},
            labels=meta["labels"][index],
            arrays=arrays[index],  # type: ignore[arg-type]
        )
        recording._frames.append(frame)
        recording._sequence.append(int(members["sequence"][index]))
        recording._nbytes += frame.nbytes
    recording._appended = int(meta["appended"])
    return recording
