"""What a run leaves behind at one moment, and what does not change while it goes on."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fswidget.recording.regimes import regime_said
from fswidget.recording.scalars import SCALARS as SCALARS

#: Arrays with one entry per eigenvalue.
_CURVES = (
    *("eigenvalues", "quality", "utilization", "quality_error", "utilization_error"),
    *("truncated_accuracy", "exact_eigenvalues"),
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
        Words: ``regime`` (the label), ``evidence`` (one sentence), ``solver`` (which eigensolver)
        and, where tokens or pixels are the samples, ``samples`` (how many of which).
    arrays : dict of str to ndarray of float32
        ``eigenvalues`` (K,), ``quality`` (K,), ``utilization`` (K,) and, where known,
        ``quality_error`` and ``utilization_error`` (K,) and ``truncated_accuracy`` (K,), see
        `Spectrum.truncated_accuracy`, of a linear network that theory follows
        ``exact_eigenvalues``, see `BalancedFlow`, ``projections`` (n_shown, m),
        ``ablated_score`` (m,), the accuracy or R² on the probe without each of them,
        ``predictions`` (n_shown,), ``held_out_projections`` (n_held_out, m), for several labels
        ``label_accuracy`` (C,), and per layer
        ``layer_low_rank_measure``, ``layer_low_rank_measure_debiased``, ``layer_effective_rank``,
        ``layer_used_features`` (L,).
        K is the number of eigenvalues above the numerical floor, or fewer with a top-k solver.

    Examples
    --------
    >>> frame = fs.Frame(1, 10, {"loss": 0.5}, {}, {"eigenvalues": [2.0, 1.0]})
    >>> frame.scalars["loss"], frame.eigenvalues
    (0.5, array([2., 1.], dtype=float32))
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
        for group in ("scalars", "labels", "arrays"):
            given = getattr(self, group)
            if not isinstance(given, Mapping) or not all(isinstance(n, str) for n in given):
                raise TypeError(f"{group}: must be a dict by names")
        scalars: dict[str, float] = {}
        for name, scalar in self.scalars.items():
            try:
                scalars[name] = float(scalar)
            except (TypeError, ValueError, OverflowError) as error:
                raise TypeError(f"scalars[{name!r}]={scalar!r}: must be a number") from error
        for name, label in self.labels.items():
            if not isinstance(label, str):
                raise TypeError(f"labels[{name!r}]={label!r}: must be a str")
        arrays = {name: _frozen(f"arrays[{name!r}]", array) for name, array in self.arrays.items()}
        # Copies too, and dicts, which json.dumps takes.
        object.__setattr__(self, "scalars", scalars)
        object.__setattr__(self, "labels", dict(self.labels))
        object.__setattr__(self, "arrays", arrays)

    def array(self, name: str) -> NDArray[np.float32]:
        """The array of this name.

        Raises
        ------
        ValueError
            If the frame has none, as those of other libraries or of small files may not.
        """
        if name not in self.arrays:
            held = ", ".join(self.arrays) or "none"
            raise ValueError(
                f"arrays[{name!r}]: not in the frame of epoch {self.epoch:g}, which has {held}"
            )
        return self.arrays[name]

    @property
    def eigenvalues(self) -> NDArray[np.float32]:
        """Eigenvalues ρ_k of the feature operator, shape (K,), descending; divided by the scalar
        ``eigenvalue_scale`` where there is one."""
        return self.array("eigenvalues")

    @property
    def quality(self) -> NDArray[np.float32]:
        """Cumulative quality Π*(k), shape (K,), from 0 to 1."""
        return self.array("quality")

    @property
    def utilization(self) -> NDArray[np.float32]:
        """Cumulative utilization Π̂(k), shape (K,), from 0 to 1."""
        return self.array("utilization")

    @property
    def projections(self) -> NDArray[np.float32]:
        """Eigenfunction values of the shown samples, shape (n_shown, m), aligned over time."""
        return self.array("projections")

    @property
    def nbytes(self) -> int:
        """Memory that the frame takes, in bytes, names left out: all frames share those."""
        groups: tuple[dict[str, Any], ...] = (self.scalars, self.labels, self.arrays)
        kept = [self, *groups, *(value for group in groups for value in group.values())]
        data = sum(array.nbytes for array in self.arrays.values() if array.base is not None)
        return data + sum(map(sys.getsizeof, kept))

    def __reduce__(self) -> tuple[Any, ...]:
        # Arrays come out of a pickle writable; made anew they are read-only again.
        return Frame, (self.epoch, self.step, self.scalars, self.labels, self.arrays)

    def __repr__(self) -> str:
        regime = regime_said(self.labels)
        d_lr = self.scalars.get("low_rank_measure", math.nan)
        return f"Frame(epoch={self.epoch:g}, step={self.step}, regime={regime}, D_LR={d_lr:.3g})"


#: The arrays of `RunInfo`.
RUN_ARRAYS = ("labels", "thumbnails", "held_out_labels", "targets", "tokens")

_TASKS = ("cross_entropy", "squared_error", "multilabel", "binary")


@dataclass(frozen=True, eq=False, slots=True, repr=False)
class RunInfo:
    """What does not change during a run.

    Parameters
    ----------
    config : dict
        The settings, JSON types only. Where data lay on this machine (``root``) is left out.
    task : {"cross_entropy", "squared_error", "multilabel", "binary"}
    num_features : int
        p, the dimension of Φ.
    num_outputs : int
        C, the number of outputs.
    labels : ndarray, shape (n_shown,)
        Class index of each shown sample, or its (first) target value for a regression; float32.
    class_names : sequence of str
        One name per class; empty for a regression.
    thumbnails : ndarray of uint8, shape (n_shown, h, w) or (n_shown, h, w, 3), optional
        Pictures of the shown samples.
    held_out_labels : ndarray, shape (n_held_out,), optional
    samples : str
        What the samples are, where they are not one for each input: ``"4,096 of 8,192 tokens in
        64 sequences"``.
    targets : ndarray, shape (n_shown, d), optional
        All target values of the shown samples, where there are several.
    tokens : ndarray, shape (n_shown, length), optional
        The shown samples themselves, where they are short sequences of tokens.
    layers : sequence of str
        Names of the watched layers, in the order of the forward pass.
    title : str
    minimal_features : int, optional
        Up to how many used features a run counts as minimal; in recordings of earlier versions,
        which do not have it, C for classes and d + 1 otherwise.
    num_samples : int, optional
        n, the size of the probe; None in recordings of earlier versions.
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
    minimal_features: int | None = None
    targets: NDArray[np.float32] | None = None
    tokens: NDArray[np.float32] | None = None
    samples: str = ""
    num_samples: int | None = None

    def __post_init__(self) -> None:
        # What cannot be saved must be refused now, not when hours of training are to be kept.
        settings = _json("config", self.config)
        settings.pop("root", None)
        object.__setattr__(self, "config", settings)
        if self.task not in _TASKS:
            raise ValueError(f"task={self.task!r}: must be one of {', '.join(_TASKS)}")
        if self.minimal_features is None:
            classes = len(self.class_names) > 0 or self.task == "cross_entropy"
            object.__setattr__(self, "minimal_features", self.num_outputs + (not classes))
        known = () if self.num_samples is None else ("num_samples",)
        for name in ("num_features", "num_outputs", "minimal_features", *known):
            if not isinstance(getattr(self, name), Integral) or getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)!r}: must be an integer ≥ 1")
        for name in ("class_names", "layers"):
            words = tuple(getattr(self, name))
            if not all(isinstance(word, str) for word in words):
                raise TypeError(f"{name}={words!r}: must be names")
            object.__setattr__(self, name, words)
        for name in ("title", "samples"):
            if not isinstance(getattr(self, name), str):
                raise TypeError(f"{name}={getattr(self, name)!r}: must be a str")
        object.__setattr__(self, "labels", _frozen("labels", self.labels, ndim=1))
        if self.held_out_labels is not None:
            held_out = _frozen("held_out_labels", self.held_out_labels, ndim=1)
            object.__setattr__(self, "held_out_labels", held_out)
        for name in ("targets", "tokens"):
            if (rows := getattr(self, name)) is not None:
                object.__setattr__(self, name, _frozen(name, rows, ndim=2))
                if len(rows) != len(self.labels):
                    raise ValueError(f"{name}: {len(rows)} rows, must be {len(self.labels)}")
        if self.thumbnails is not None:
            pictures = np.asarray(self.thumbnails)
            grey_or_rgb = pictures.ndim == 3 or (pictures.ndim == 4 and pictures.shape[3] == 3)
            if pictures.dtype != np.uint8 or not grey_or_rgb or len(pictures) != len(self.labels):
                raise ValueError(
                    f"thumbnails: {pictures.dtype} of shape {pictures.shape}, must be uint8 of "
                    f"shape ({len(self.labels)}, h, w) or ({len(self.labels)}, h, w, 3)"
                )

    @property
    def directions(self) -> int:
        """How many directions the features can have: p, or the samples where those are fewer."""
        return min(self.num_features, self.num_samples or self.num_features)

    @property
    def all_needed(self) -> bool:
        """Whether the features, or samples, are no more than the outputs need: how many are in use
        says nothing then."""
        return self.directions <= (self.minimal_features or 1)

    def check(self, frame: Frame) -> None:
        """Raise if a frame cannot be of this run.

        Raises
        ------
        ValueError
            If arrays do not have one row per shown sample or one entry per layer, or curves are no
            curves.
        """
        held_out = () if self.held_out_labels is None else self.held_out_labels
        rows = {
            "projections": len(self.labels),
            "predictions": len(self.labels),
            "held_out_projections": len(held_out),
        }
        for name, array in frame.arrays.items():
            if name.startswith("layer_"):
                expected, what = len(self.layers), "layers"
            elif name in rows:
                expected, what = rows[name], "shown samples"
            elif name in _CURVES:
                expected, what = array.size, "curves"
            else:
                continue
            if array.ndim != (2 if name.endswith("projections") else 1) or len(array) != expected:
                raise ValueError(
                    f"arrays[{name!r}]: of shape {array.shape}, the run has {expected} {what}"
                )

    def __repr__(self) -> str:
        title = f" {self.title!r}" if self.title else ""
        return (
            f"<RunInfo{title}: {self.task}, {self.num_features} features, {self.num_outputs} "
            f"outputs, {self.samples + ', ' if self.samples else ''}"
            f"{len(self.labels)} samples shown>"
        )

    def describe(self) -> dict[str, Any]:
        """Everything but the arrays, as JSON types."""
        return {
            "config": dict(self.config),
            "task": self.task,
            "num_features": self.num_features,
            "num_outputs": self.num_outputs,
            "minimal_features": self.minimal_features,
            "class_names": list(self.class_names),
            "layers": list(self.layers),
            "title": self.title,
            **({"samples": self.samples} if self.samples else {}),
            **({} if self.num_samples is None else {"num_samples": self.num_samples}),
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays that are present, by name."""
        return {
            name: np.asarray(array, np.uint8 if name == "thumbnails" else np.float32)
            for name in RUN_ARRAYS
            if (array := getattr(self, name)) is not None
        }

    @classmethod
    def restore(cls, description: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> RunInfo:
        """The inverse of `describe` and `arrays`."""
        return cls(
            config=description["config"],
            task=description["task"],
            num_features=description["num_features"],
            num_outputs=description["num_outputs"],
            **{name: arrays.get(name) for name in RUN_ARRAYS if name != "labels"},
            labels=arrays["labels"],
            class_names=tuple(description["class_names"]),
            layers=tuple(description["layers"]),
            title=description["title"],
            minimal_features=description.get("minimal_features"),
            samples=description.get("samples", ""),
            num_samples=description.get("num_samples"),
        )


def _frozen(name: str, values: Any, ndim: int | None = None) -> NDArray[np.float32]:
    """A read-only copy, unless it is one: a buffer that is reused must not change the past."""
    try:
        frozen = _is_frozen(values)
        array = values if frozen else np.array(values, dtype=np.float32, order="C")
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name}={values!r}: must be an array of numbers") from error
    if ndim is not None and array.ndim != ndim:
        raise ValueError(f"{name}: of shape {array.shape}, must have {ndim} dimension")
    array.setflags(write=False)
    return array


def _is_frozen(values: Any) -> bool:
    """Whether it is an array of this module's making, which nobody else writes to."""
    return bool(
        type(values) is np.ndarray
        and values.dtype == np.float32
        and values.base is None
        and values.flags.c_contiguous
        and not values.flags.writeable
    )


def _json(name: str, value: object) -> Any:
    """A copy in JSON types; numpy's numbers become Python's."""
    try:
        text = json.dumps(value, allow_nan=False, default=lambda number: number.item())
    except (AttributeError, TypeError, ValueError) as error:
        raise TypeError(f"{name}={value!r}: must be JSON types, without NaN") from error
    if not isinstance(value, Mapping):
        raise TypeError(f"{name}={value!r}: must be a dict")
    return json.loads(text)
