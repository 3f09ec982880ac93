"""From a network and a fixed set of samples to one `Frame`, leaving the network as it was."""

from __future__ import annotations

import dataclasses
import math
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn

from fswidget import features as finder
from fswidget.moments import FeatureMoments
from fswidget.recording import SCALARS, Frame, Recording, RunInfo
from fswidget.samples import Array, Inputs, Samples, thumbnails
from fswidget.spectrum import align

if TYPE_CHECKING:
    from fswidget.spectrum import Spectrum

TASKS = ("cross_entropy", "squared_error")
_NUM_BLOCKS = 8


class Diverged(FloatingPointError):
    """The network gave numbers that are not finite; the message says where."""


class Probe:
    """Turns a network into frames, by one pass over the same samples each time.

    Parameters
    ----------
    model : torch.nn.Module
        Any network that ends in a linear layer; wrappers of ``torch.compile`` and
        ``DistributedDataParallel`` are looked through.
    inputs : array, dict or sequence of arrays, first dimension n
        What the model is called with: ``model(inputs)``, ``model(**inputs)`` for a dict,
        ``model(*inputs)`` for a tuple or list. Tensors or numpy arrays.
    targets : array, shape (n,) of int or (n,) or (n, T) of float
        Class labels, or the values of a regression. Choose as many samples of each class: with
        unequal counts the low-rank measure of a collapsed network is not 0.
    task : {"cross_entropy", "squared_error"}
        What the outputs mean: logits, of which a common shift does not matter, or values.
    class_names : sequence of str, optional
    images : array of uint8, shape (n, h, w) or (n, h, w, 3), optional
        Pictures of the samples; made from `inputs` where those look like pictures.
    held_out : tuple (inputs, targets), optional
        Samples that the training does not see.
    layers : None, "all" or sequence of str
        Layers to measure besides the features.
    num_eigenfunctions : int
        m, how many eigenfunctions are evaluated at the shown samples.
    num_shown : int
        At most so many samples are shown as points, evenly spread over the probe.
    batch_size : int
    device : torch.device or str, optional
        Where the pass runs; where the model's parameters are, if not given.
    config : Config or mapping, optional
        Settings of the run, JSON types only, kept with the recording.
    title : str
    errors : bool
        Whether to compute jackknife standard errors.
    top : int, optional
        Compute so many leading eigenvalues only.
    byte_budget : int, optional
        See `Recording`.
    group : torch.distributed.ProcessGroup, optional
        Processes that share the work. Each is given the same samples, takes its part of them, and
        returns the same frame; only the first appends it to its recording.

    Raises
    ------
    ValueError
        If the arguments do not fit each other, or the model has no linear head.
    TypeError
        If `model` is no module or `inputs` no array.
    Diverged
        If the network's features are not finite.
    """

    def __init__(
        self,
        model: nn.Module,
        inputs: Inputs,
        targets: Array,
        *,
        task: str = "cross_entropy",
        class_names: Sequence[str] | None = None,
        images: Array | None = None,
        held_out: tuple[Inputs, Array] | None = None,
        layers: str | Sequence[str] | None = None,
        num_eigenfunctions: int = 8,
        num_shown: int = 2000,
        batch_size: int = 512,
        device: torch.device | str | None = None,
        config: Any = None,
        title: str = "",
        errors: bool = True,
        top: int | None = None,
        byte_budget: int | None = 256_000_000,
        group: dist.ProcessGroup | None = None,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"model={type(model).__name__}: must be a torch.nn.Module")
        if task not in TASKS:
            raise ValueError(f"task={task!r}: must be one of {', '.join(map(repr, TASKS))}")
        counts = {"num_eigenfunctions": num_eigenfunctions, "num_shown": num_shown}
        for name, value in {**counts, "batch_size": batch_size}.items():
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name}={value!r}: must be an integer ≥ 1")
        self.model = model
        self.task = task
        self.num_eigenfunctions = num_eigenfunctions
        self.batch_size = batch_size
        self.errors = errors
        self.top = top
        self._device = None if device is None else torch.device(device)
        # Features and outputs of the first frame, batch by batch.
        self._first: list[tuple[Tensor, Tensor]] | None = None
        self.share(group)
        self._bare = finder.unwrap(model)
        self._began = time.perf_counter()
        self._previous: tuple[Spectrum, NDArray[np.float64]] | None = None
        self._last_epoch: float = -1
        self._taken = 0

        samples = Samples.of(inputs, targets)
        names = self._look(samples, layers)
        self._probe = samples.fit(self.num_outputs, task, num_shown)
        self._held_out = None
        if held_out is not None:
            other = Samples.of(*held_out, prefix="held_out ")
            self._held_out = other.fit(self.num_outputs, task, num_shown, "held_out targets")
            if self._held_out.num_targets != self._probe.num_targets:
                raise ValueError(
                    f"held_out targets: {self._held_out.num_targets} values a sample; must be "
                    f"{self._probe.num_targets}, as in targets"
                )
        classes = self._warn_unbalanced()
        if class_names is not None and len(class_names) != classes:
            raise ValueError(f"class_names: {len(class_names)} names; must be {classes}")
        if class_names is None:
            class_names = [str(index) for index in range(classes)]
        info = RunInfo(
            config=_json(config),
            task=task,
            num_features=self.num_features,
            num_outputs=self.num_outputs,
            labels=self._probe.marks(),
            class_names=tuple(map(str, class_names)),
            thumbnails=thumbnails(self._probe, images),
            held_out_labels=None if self._held_out is None else self._held_out.marks(),
            layers=names,
            title=title,
        )
        self.recording = Recording(info, byte_budget=byte_budget)

    @property
    def device(self) -> torch.device:
        """Where the pass runs."""
        if self._device is not None:
            return self._device
        parameter = next(self._bare.parameters(), None)
        return torch.device("cpu") if parameter is None else parameter.device

    def share(self, group: dist.ProcessGroup | None) -> None:
        """Share the work with the processes of `group`, or with none; before the first frame."""
        if self._first is not None:
            raise RuntimeError("share: the first frame was taken; must be called before it")
        self._group = group
        self._rank = 0 if group is None else dist.get_rank(group)
        self._world = 1 if group is None else dist.get_world_size(group)

    def snapshot(
        self, epoch: float | None = None, step: int | None = None, **scalars: float
    ) -> Frame:
        """Measure the network now and append the frame to `recording`.

        Parameters
        ----------
        epoch : float, optional
            Passes over the training set so far; one more than in the last frame if not given, and 0
            in the first.
        step : int, optional
            Optimiser steps so far; the number of earlier snapshots if not given.
        **scalars : float or tensor of shape ()
            Further numbers to keep, such as ``loss``; `recording.SCALARS` has the names shown.

        Returns
        -------
        Frame

        Raises
        ------
        Diverged
            If the network's features or outputs are not finite; nothing is appended.
        """
        if epoch is None:
            epoch = self._last_epoch + 1
        if step is None:
            step = self._taken
        frame = self.frame(epoch, step, **scalars)
        # Counted here, because only the first of several processes records.
        self._last_epoch, self._taken = epoch, self._taken + 1
        if self._rank == 0:
            self.recording.append(frame)
        return frame

    def frame(self, epoch: float, step: int = 0, **scalars: float) -> Frame:
        """Measure the network now; the frame is not appended to `recording`."""
        start = time.perf_counter()
        given = {name: _number(name, value) for name, value in scalars.items()}
        with self._undisturbed():
            frame = self._measure(epoch, step)
        norm = sum(_squared_norm(parameter) for parameter in self._bare.parameters())
        now = time.perf_counter()
        measured = {
            **frame.scalars,
            "parameter_norm_squared": norm,
            "seconds": now - self._began,
            "analysis_seconds": now - start,
        }
        return dataclasses.replace(frame, scalars={**measured, **given})

    def _measure(self, epoch: float, step: int) -> Frame:
        where = f"epoch {epoch:g}, step {step}"
        seen = self._pass(self._probe, where, main=True)
        first = self._first is None
        if first:
            self._first = seen.batches
        spectrum = seen.moments.spectrum(
            task=self.task,
            errors=self.errors,
            top=self.top,
            start=None if self._previous is None else self._previous[0].eigenvectors,
        )
        moved = not (epoch == 0 and step == 0) if first else seen.outputs_moved
        regime = spectrum.classify(outputs_moved=moved)
        points = self._eigenfunctions(spectrum, seen.shown_features)
        rotation = self._rotation(spectrum, points)
        points = _turned(points, rotation)
        self._previous = (spectrum, points)
        arrays: dict[str, NDArray[Any] | None] = {
            "eigenvalues": spectrum.eigenvalues,
            "quality": spectrum.quality,
            "utilization": spectrum.utilization,
            "quality_error": spectrum.quality_error,
            "utilization_error": spectrum.utilization_error,
            "projections": points,
            "predictions": self._probe.predictions(seen.shown_outputs),
        }
        scalars = _scalars(spectrum) | self._probe.score(seen.error, "train")
        if self.errors:
            scalars["regime_confidence"] = regime.confidence
        if first:
            scalars["kernel_drift"] = 0.0
        if self._held_out is not None:
            held = self._pass(self._held_out, f"{where}, held-out samples", main=False)
            quality, utilization = spectrum.held_out(held.moments)
            scalars |= self._held_out.score(held.error, "test")
            scalars["quality_total_held_out"] = float(quality[-1])
            scalars["used_features_held_out"] = _used(utilization, self.num_features)
            points = self._eigenfunctions(spectrum, held.shown_features)
            arrays["held_out_projections"] = _turned(points, rotation)
        arrays |= self._measure_layers(seen)
        labels = {
            "regime": regime.label,
            "evidence": regime.evidence,
            "solver": spectrum.solver,
        }
        present = {name: value for name, value in arrays.items() if value is not None}
        return Frame(epoch=epoch, step=step, scalars=scalars, labels=labels, arrays=present)

    def _look(self, samples: Samples, layers: str | Sequence[str] | None) -> tuple[str, ...]:
        """Find the head by a pass over two samples; the names of the layers in forward order."""
        batch = samples.batch(slice(0, 2), self.device, self._dtype)
        with self._undisturbed():
            self.head = finder.find_head(self._bare, *batch.args, **batch.kwargs)
            wanted = finder.resolve_layers(self._bare, layers)
            with finder.capture(self._bare, self.head, wanted) as captured:
                self._bare(*batch.args, **batch.kwargs)
        self.num_features = self.head.num_features
        self.num_outputs = self.head.num_outputs
        if len(captured.outputs) != 2:
            raise ValueError(
                f"model: gives {len(captured.outputs)} rows of outputs for 2 samples; must be one "
                "row a sample"
            )
        if self.task == "cross_entropy" and self.num_outputs < 2:
            raise ValueError(
                "task='cross_entropy': a softmax over the model's one output is constant; must be "
                "'squared_error' for this model"
            )
        return tuple(captured.layers)

    def _pass(self, samples: Samples, where: str, *, main: bool) -> _Seen:
        """One pass over this process's part of the samples, and the sums over all processes."""
        part, start = samples.part(self._rank, self._world)
        layers = self.recording.info.layers if main else ()
        first = self._first if main else None
        seen: _Seen | None = None
        with finder.capture(self._bare, self.head, layers) as captured:
            for index, batch in enumerate(part.batches(self.batch_size, self.device, self._dtype)):
                self._bare(*batch.args, **batch.kwargs)
                features, outputs = captured.features, captured.outputs
                _check_finite({**captured.layers, self.head.name: features}, outputs, where)
                if seen is None:
                    seen = self._start(samples, captured, start, main)
                before = None if first is None else first[index]
                reference = None if before is None else before[0]
                seen.moments.update(features, outputs, batch.targets, reference)
                for name, moments in seen.layers.items():
                    moments.update(captured.layers[name], outputs, batch.targets)
                seen.rows.append(torch.cat([features, outputs], 1)[batch.shown])
                seen.sums[0] += samples.error(outputs, batch.targets)
                if before is not None:
                    seen.sums[1] += float((outputs - before[1]).square().sum())
                    seen.sums[2] += float(before[1].square().sum())
                elif main:
                    seen.batches.append((features.clone(), outputs.clone()))
        assert seen is not None
        self._combine(seen, samples)
        return seen

    def _start(self, samples: Samples, captured: finder.Capture, start: int, main: bool) -> _Seen:
        device = captured.features.device
        outputs, targets = self.num_outputs, samples.num_targets
        reference = self.num_features if main and self._first is not None else 0
        blocks = _NUM_BLOCKS if main and self.errors else 1
        return _Seen(
            moments=FeatureMoments(
                self.num_features,
                outputs,
                targets,
                num_reference=reference,
                num_blocks=blocks,
                first_sample=start,
                device=device,
            ),
            layers={
                name: FeatureMoments(x.shape[1], outputs, targets, num_blocks=1, device=device)
                for name, x in captured.layers.items()
            },
            num_features=self.num_features,
        )

    def _combine(self, seen: _Seen, samples: Samples) -> None:
        seen.shown = torch.cat(seen.rows)
        if self._world == 1:
            return
        seen.moments = seen.moments.all_reduce(self._group)
        seen.layers = {k: moments.all_reduce(self._group) for k, moments in seen.layers.items()}
        sums = torch.tensor(seen.sums, device=seen.shown.device)
        dist.all_reduce(sums, group=self._group)
        seen.sums = sums.tolist()
        # all_gather wants equal shapes: pad, then cut.
        parts = [samples.part(rank, self._world)[0] for rank in range(self._world)]
        counts = [int(part.shown.sum()) for part in parts]
        padded = seen.shown.new_zeros(max(counts), seen.shown.shape[1])
        padded[: len(seen.shown)] = seen.shown
        gathered = [torch.empty_like(padded) for _ in parts]
        dist.all_gather(gathered, padded, group=self._group)
        seen.shown = torch.cat([r[:count] for r, count in zip(gathered, counts, strict=True)])

    def _measure_layers(self, seen: _Seen) -> dict[str, NDArray[Any]]:
        if not seen.layers:
            return {}
        spectra = [moments.spectrum(task=self.task) for moments in seen.layers.values()]
        return {
            f"layer_{name}": np.array([getattr(spectrum, name) for spectrum in spectra])
            for name in ("low_rank_measure", "effective_rank", "used_features")
        }

    def _eigenfunctions(self, spectrum: Spectrum, features: Tensor) -> NDArray[np.float64]:
        """Values e_1..e_m, shape (n, m); NaN where there are fewer eigenvalues than m."""
        count = min(self.num_eigenfunctions, self.num_features)
        known = min(count, len(spectrum.eigenvalues))
        points = np.full((len(features), count), np.nan)
        points[:, :known] = spectrum.eigenfunctions(features, known)
        return points

    def _rotation(self, spectrum: Spectrum, points: NDArray[np.float64]) -> NDArray[np.float64]:
        if self._previous is None:
            return np.eye(points.shape[1])
        return align(spectrum.eigenvalues[: points.shape[1]], points, self._previous[1])

    def _warn_unbalanced(self) -> int:
        """The number of classes, 0 for a regression; warns once where their counts differ much."""
        labels = self._probe.labels
        if labels is None:
            return 0
        counts = torch.bincount(labels.cpu(), minlength=self.num_outputs)
        low, high = int(counts.min()), int(counts.max())
        if high > 1.5 * max(low, 1) and high - low > 4 * math.sqrt(high):
            warnings.warn(
                f"targets: from {low} to {high} samples a class; with unequal counts the low-rank "
                "measure of a collapsed network is not 0: choose as many of each class",
                stacklevel=4,
            )
        return self.num_outputs

    @property
    def _dtype(self) -> torch.dtype:
        kinds = (p.dtype for p in self._bare.parameters() if p.dtype.is_floating_point)
        return next(kinds, torch.get_default_dtype())

    @contextmanager
    def _undisturbed(self) -> Iterator[None]:
        """Eval mode without gradients or autocast; modes, random states and buffers come back."""
        device = self.device
        modes = [(module, module.training) for module in self._bare.modules()]
        others = [device.index or 0] if device.type in ("cuda", "xpu") else []
        with ExitStack() as stack:
            kind = device.type if others else "cuda"
            stack.enter_context(torch.random.fork_rng(devices=others, device_type=kind))
            stack.enter_context(torch.no_grad())
            stack.enter_context(torch.autocast(device.type, enabled=False))
            if any(getattr(module, "_compiled_call_impl", None) for module, _ in modes):
                # Compiled in place: run as written, or eval mode and our hooks would recompile it.
                stack.enter_context(torch.compiler.set_stance("force_eager"))
            stack.enter_context(self._buffers_of_rank_0())
            self._bare.eval()
            try:
                yield
            finally:
                for module, training in modes:
                    module.training = training

    @contextmanager
    def _buffers_of_rank_0(self) -> Iterator[None]:
        """Between two steps the running statistics differ by process; the first one's count."""
        if self._group is None:
            yield
            return
        # .data: no version counter moves, so a backward pass under way is not spoiled.
        kept = [(buffer, buffer.data.clone()) for buffer in self._bare.buffers()]
        for buffer, _ in kept:
            dist.broadcast(buffer.data, dist.get_global_rank(self._group, 0), group=self._group)
        try:
            yield
        finally:
            for buffer, value in kept:
                buffer.data.copy_(value)


@dataclasses.dataclass
class _Seen:
    """What one pass over the samples leaves."""

    moments: FeatureMoments
    layers: dict[str, FeatureMoments]
    num_features: int
    #: Features and outputs of the shown samples side by side, by batch and then all together.
    rows: list[Tensor] = dataclasses.field(default_factory=list)
    shown: Tensor = dataclasses.field(default_factory=lambda: torch.zeros(0, 0))
    #: Total error, Σ‖f − f_first‖², Σ‖f_first‖².
    sums: list[float] = dataclasses.field(default_factory=lambda: [0.0, 0.0, 0.0])
    batches: list[tuple[Tensor, Tensor]] = dataclasses.field(default_factory=list)

    @property
    def shown_features(self) -> Tensor:
        return self.shown[:, : self.num_features]

    @property
    def shown_outputs(self) -> Tensor:
        return self.shown[:, self.num_features :]

    @property
    def error(self) -> float:
        return self.sums[0]

    @property
    def outputs_moved(self) -> bool:
        """Whether the outputs left those of the first frame by 0.1% of their size (our choice)."""
        return self.sums[1] > 1e-6 * self.sums[2]


def _check_finite(layers: Mapping[str, Tensor], outputs: Tensor, where: str) -> None:
    for name, values in {**layers, "": outputs}.items():
        bad = int((~values.isfinite()).any(1).sum())
        if bad:
            what = f"what enters {name!r} is" if name else "the outputs are"
            raise Diverged(f"{where}: {what} not finite for {bad} of {len(values)} samples")


def _scalars(spectrum: Spectrum) -> dict[str, float]:
    found = {name: getattr(spectrum, name, None) for name in SCALARS}
    found |= {f"{name}_error": value for name, value in spectrum.errors.items()}
    found["quality_total"] = float(spectrum.quality[-1])
    return {name: float(v) for name, v in found.items() if name in SCALARS and v is not None}


def _turned(points: NDArray[np.float64], rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    known = np.isfinite(points).all(0)
    turned = np.full_like(points, np.nan)
    turned[:, known] = points[:, known] @ rotation[np.ix_(known, known)]
    return turned


def _used(utilization: NDArray[np.floating[Any]], num_features: int) -> int:
    """k95 of a cumulative utilization; p where it never gets there."""
    above = np.flatnonzero(utilization >= 0.95)
    return int(above[0]) + 1 if len(above) else num_features


def _squared_norm(parameter: Tensor) -> float:
    dtype = torch.float32 if parameter.dtype.itemsize < 4 else None
    return float(torch.linalg.vector_norm(parameter.detach(), dtype=dtype)) ** 2


def _number(name: str, value: Any) -> float:
    try:
        return float(value.detach() if isinstance(value, Tensor) else value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name}={value!r}: must be a number") from error


def _json(config: Any) -> dict[str, Any]:
    if config is None:
        return {}
    return dict(config.to_dict() if hasattr(config, "to_dict") else config)
