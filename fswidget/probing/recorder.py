"""Frames from arrays of any library, without a torch module."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from fswidget.analysis.arrays import as_matrix, as_tensor
from fswidget.analysis.positions import DRAWN, IGNORED, Positions, read_draw
from fswidget.analysis.targets import check_task, warn_unbalanced
from fswidget.probing.arguments import (
    check_counts,
    check_flags,
    check_scalars,
    names_of_classes,
    settings_of,
    when,
)
from fswidget.probing.distributed import Communicator
from fswidget.probing.frame_maker import FrameMaker
from fswidget.probing.inference import Activations
from fswidget.probing.live import LiveView, check_on_frame
from fswidget.probing.measures import with_given
from fswidget.probing.samples import Array, Samples, own_tensor
from fswidget.probing.thumbnails import thumbnails
from fswidget.recording.frame import Frame
from fswidget.recording.recording import Recording


class Recorder(LiveView):
    """Makes frames, a recording and a live view from arrays: of JAX, Keras, scikit-learn, a log.

    Parameters
    ----------
    task : {"cross_entropy", "squared_error", "multilabel", "binary"}
        What outputs and targets mean, as in `fswidget.analyze`.
    class_names : sequence of str or dict of int to str, optional
    images : array of uint8, shape (n, h, w) or (n, h, w, 3), optional
        Pictures of the samples.
    num_eigenfunctions, num_shown, errors, top, more_measures, byte_budget, config, title
        As `fswidget.watch` takes them.
    num_positions, ignore_index, positions_seed : int
        Of features (n, length, p), outputs (n, length, C) and targets (n, length), or the same of
        pictures, the tokens or pixels are the samples; see `fswidget.analyze`.
    on_frame : callable, optional
        Called with each frame after it was recorded.

    Notes
    -----
    Kernel drift is measured from the first snapshot if that is of epoch 0, the untrained network's;
    else it is left out.

    Examples
    --------
    >>> random, targets = np.random.default_rng(0), np.arange(300) % 3
    >>> features = random.normal(size=(300, 20)) + 5 * np.eye(3, 20)[targets]
    >>> recorder = fs.Recorder()
    >>> frame = recorder.snapshot(features, features[:, :3], targets, epoch=1, loss=0.2)
    >>> frame.labels["regime"], len(recorder.recording)
    ('MF', 1)
    """

    def __init__(
        self,
        *,
        task: str = "cross_entropy",
        class_names: Sequence[str] | Mapping[int, str] | None = None,
        images: Array | None = None,
        num_eigenfunctions: int = 8,
        num_shown: int = 2000,
        errors: bool = True,
        top: int | None = None,
        more_measures: bool = False,
        byte_budget: int | None = 256_000_000,
        config: Any = None,
        title: str = "",
        num_positions: int = DRAWN,
        ignore_index: int = IGNORED,
        positions_seed: int = 0,
        on_frame: Callable[[Frame], object] | None = None,
    ) -> None:
        counts = {"num_eigenfunctions": num_eigenfunctions, "num_shown": num_shown}
        check_counts(task, top, **counts)
        self._draw = read_draw(num_positions, ignore_index, positions_seed)
        self._positions: Positions | None = None
        self.task = task
        self.on_frame = check_on_frame(on_frame)
        self._names, self._images = class_names, images
        check_flags(errors=errors, more_measures=more_measures)
        self._how = {"num_eigenfunctions": num_eigenfunctions, "errors": errors, "top": top}
        self._how["more_measures"] = more_measures
        self._num_shown, self._byte_budget = num_shown, byte_budget
        self._about: dict[str, Any] = {"config": settings_of(config), "title": title}
        self._maker: FrameMaker | None = None
        self._targets: Tensor | None = None
        self._last_epoch, self._taken = -1.0, 0

    def __getattr__(self, name: str) -> Any:
        if name == "recording":
            raise RuntimeError("recording: begins with the first snapshot; none was taken yet")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def snapshot(
        self,
        features: Any,
        outputs: Any,
        targets: Any,
        *,
        epoch: float | None = None,
        step: int | None = None,
        **scalars: float,
    ) -> Frame:
        """Measure arrays, and append the frame to `recording`.

        Parameters
        ----------
        features : array, shape (n, p)
            What enters the last linear layer.
        outputs : array, shape (n, C)
            What it gives.
        targets : array, shape (n,) of int or (n, T) of float
            The same in every snapshot, as the samples are. All three may be of tokens or pixels.
        epoch, step, **scalars
            As in `fswidget.probing.probe.Probe.snapshot`.

        Raises
        ------
        TypeError, ValueError
            If an array does not fit the others or those of the first snapshot, or holds anything
            but finite numbers; if the epoch is not after the last one.
        StopTraining
            If Stop was pressed in the view.
        """
        epoch, step = when(epoch, step, self._last_epoch, self._taken)
        given = check_scalars(scalars)
        outputs, goal = as_tensor("outputs", outputs), own_tensor(targets, "targets")
        if self._maker is None:
            self._positions = Positions.among(outputs, goal, self.task, **self._draw)
        if self._positions is not None:
            features = self._positions.take(features, "features")
            outputs, goal = self._positions.take(outputs), self._positions.targets(goal)
        features = as_matrix("features", features, "p")
        outputs = as_matrix("outputs", outputs[:, None] if outputs.ndim == 1 else outputs, "C")
        for name, rows in (("outputs", outputs), ("targets", goal)):
            if len(rows) != len(features):
                raise ValueError(
                    f"{name}: {len(rows)} rows; must be {len(features)}, as in features"
                )
        maker = self._maker or self._begin(features, outputs, goal)
        if self._targets is None or not torch.equal(goal, self._targets):
            raise ValueError("targets: differ from the first snapshot's; must be the same samples")
        for name, rows, width in (
            ("features", features, maker.num_features),
            ("outputs", outputs, maker.num_outputs),
        ):
            if rows.shape[1] != width:
                raise ValueError(
                    f"{name}: shape {tuple(rows.shape)}; must be (n, {width}), as at first"
                )
        frame = maker.make(epoch, step, Activations(features, outputs, maker.samples.targets))
        frame = with_given(frame, {}, given)
        self._last_epoch, self._taken = epoch, self._taken + 1
        self.recording.append(frame)
        self._show(frame, Communicator())
        return frame

    def _begin(self, features: Tensor, outputs: Tensor, targets: Tensor) -> FrameMaker:
        """What stays the same from the first snapshot on."""
        check_task(self.task, outputs.shape[1])
        samples = Samples((), {}, targets, positions=self._positions)
        samples = samples.fit(outputs.shape[1], self.task, self._num_shown)
        if samples.labels is not None:
            warn_unbalanced(samples.labels, samples.num_targets, stacklevel=4)
        sizes: dict[str, Any] = {
            "num_features": features.shape[1],
            "num_outputs": outputs.shape[1],
            **self._how,
        }
        maker = FrameMaker(samples, None, **sizes)
        info = maker.describe(
            layers=(),
            class_names=names_of_classes(self._names, samples, outputs.shape[1]),
            pictures=thumbnails(samples, self._images),
            **self._about,
        )
        self.recording = Recording(info, byte_budget=self._byte_budget)
        self._maker, self._targets = maker, targets
        return maker
