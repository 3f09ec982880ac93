"""From a network and a fixed set of samples to one `Frame`, leaving the network as it was."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn

from fswidget.analysis.api import FeatureMoments
from fswidget.analysis.basis import orthonormal_basis, project
from fswidget.analysis.measures import first_at
from fswidget.analysis.targets import assign_blocks, check_task, minimal_features, warn_unbalanced
from fswidget.probing.arguments import (
    check_arguments,
    held_out_samples,
    names_of_classes,
    number,
    settings_of,
)
from fswidget.probing.distributed import Communicator
from fswidget.probing.frames import (
    bands_of,
    eigenfunctions,
    layer_arrays,
    rotation_towards,
    scalars_of,
    spectrum_of,
    squared_norm,
    total_quality,
    turned,
    within_float32,
)
from fswidget.probing.head import OutputSelector, unwrap
from fswidget.probing.inference import Activations, Source, run
from fswidget.probing.looking import look_at
from fswidget.probing.modes import inference_mode
from fswidget.probing.samples import Array, Inputs, Samples, widened
from fswidget.probing.thumbnails import thumbnails
from fswidget.recording.frame import Frame, RunInfo
from fswidget.recording.recording import Recording

_NUM_BLOCKS = 8
# Sums of all jackknife blocks may take so much; beyond it there are no error bars (our choice).
_MAX_BYTES = 1_000_000_000


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
        As `fswidget.analyze` reads them. Choose as many samples of each class: with
        unequal counts the low-rank measure of a collapsed network is not 0.
    task : {"cross_entropy", "squared_error", "multilabel", "binary"}
        What the outputs mean: logits, of which a common shift does not matter, values, a logit for
        each of several labels, or a single logit.
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
        At most this many samples are shown as points, evenly spread over the probe.
    batch_size : int
    device : torch.device or str, optional
        Where the pass runs; where the model's parameters are, if not given.
    config : Config or mapping, optional
        Settings of the run, JSON types only, kept with the recording.
    title : str
    errors : bool
        Whether to compute jackknife standard errors.
    top : int, optional
        Compute only this many leading eigenvalues; by default all, or four per class (64 at least)
        where both the features and the samples are more than 1,024.
    byte_budget : int, optional
        See `Recording`.
    head : str, optional
        The layer that the features enter, by name; found by what makes the output, if not given.
    features : str or callable, optional
        For a network that ends in no linear layer: the module whose output they are, or
        ``features(*args, **kwargs)`` that gives them, (n, p), or them and the outputs, of what the
        model is called with.
    outputs : str, int or callable, optional
        Which of several things that the model returns the outputs are: a key or an attribute, a
        position, or a function of it.
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
        head: str | None = None,
        features: str | Callable[..., Any] | None = None,
        outputs: OutputSelector = None,
    ) -> None:
        counts = {"num_eigenfunctions": num_eigenfunctions, "num_shown": num_shown}
        check_arguments(model, task, **counts, batch_size=batch_size)
        self.model = model
        self.task = task
        self.num_eigenfunctions = num_eigenfunctions
        self.batch_size = batch_size
        self.errors, self.top = errors, top
        self._device = None if device is None else torch.device(device)
        # Features and outputs of the first frame.
        self._first: tuple[Tensor, Tensor] | None = None
        self.share(group)
        self._bare = unwrap(model)
        self._began = time.perf_counter()
        # Eigenvectors, eigenfunctions and label of the last frame, from which the next goes on.
        self.previous: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
        self.regime: str | None = None
        self._last_epoch: float = -1
        self._taken = 0

        samples = Samples.of(inputs, targets)
        source = Source(None, features, outputs)
        look = look_at(self._bare, samples, layers, head, source, self.device, batch_size)
        self._source, self.head = look.source, look.source.head
        self.num_features, self.num_outputs = look.num_features, look.num_outputs
        check_task(task, self.num_outputs)
        self._probe = samples.fit(self.num_outputs, task, num_shown)
        self._blocks = assign_blocks(self._probe.named, _NUM_BLOCKS)
        self._held_out: Samples | None = None
        if held_out is not None:
            given = held_out, self._probe, self.num_outputs, task, num_shown
            self._held_out = held_out_samples(*given)
        warn_unbalanced(self._probe.named, self._probe.num_targets, stacklevel=3)
        names = names_of_classes(class_names, self._probe, self.num_outputs)
        info = self._describe(settings_of(config), title, look.layers, names, images)
        self.recording = Recording(info, byte_budget=byte_budget)

    def _describe(
        self,
        config: dict[str, Any],
        title: str,
        layers: tuple[str, ...],
        class_names: tuple[str, ...],
        images: Array | None,
    ) -> RunInfo:
        held_out, classes = self._held_out, self._probe.labels is not None
        return RunInfo(
            config=config,
            task=self.task,
            num_features=self.num_features,
            num_outputs=self.num_outputs,
            labels=self._probe.display_labels(),
            class_names=class_names,
            thumbnails=thumbnails(self._probe, images),
            held_out_labels=None if held_out is None else held_out.display_labels(),
            layers=layers,
            title=title,
            minimal_features=minimal_features(self.task, classes, self.num_outputs),
        )

    @property
    def device(self) -> torch.device:
        """Where the pass runs."""
        if self._device is not None:
            return self._device
        parameter = next(self._bare.parameters(), None)
        return torch.device("cpu") if parameter is None else parameter.device

    def retarget(self, targets: Tensor) -> None:
        """Measure against other targets of the same kind from now on."""
        goal = dataclasses.replace(self._probe, targets=targets)
        self._probe = goal.fit(self.num_outputs, self.task, int(goal.shown.sum()))
        self._blocks = assign_blocks(self._probe.targets, _NUM_BLOCKS)

    def share(self, group: dist.ProcessGroup | None) -> None:
        """Share the work with the processes of `group`, or with none; before the first frame."""
        if self._first is not None:
            raise RuntimeError("share: the first frame was taken; must be called before it")
        self._team = Communicator(group)

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
        if self._team.rank == 0:
            self.recording.append(frame)
        return frame

    def frame(self, epoch: float, step: int = 0, **scalars: float) -> Frame:
        """Measure the network now; the frame is not appended to `recording`."""
        start = time.perf_counter()
        given = {name: number(name, value) for name, value in scalars.items()}
        bare = self._bare
        with inference_mode(bare, self.device), self._team.same_buffers(bare):
            frame = self._measure(epoch, step)
        norm = squared_norm(bare, self.device)
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
        rows = self._run(self._probe, where, self.recording.info.layers)
        basis = self._basis(rows.features)
        features = project(rows.features, basis)
        if self._first is None:
            reference, moved = None, not (epoch == 0 and step == 0)
            self._first = (features, rows.outputs)
        else:
            reference, moved = self._first[0], self._moved(rows.outputs, self._first[1])
        moments = self._moments(features, rows, self._probe, reference, self.errors)
        start = None if self.previous is None else self.previous[0]
        spectrum = spectrum_of(moments, self.task, self.top, start)
        whole = dataclasses.replace(spectrum, num_features=self.num_features)
        regime = whole.classify(outputs_moved=moved, previous=self.regime)
        self.regime = regime.label
        count = min(self.num_eigenfunctions, self.num_features)
        points = eigenfunctions(spectrum, self._shown(features, self._probe), count)
        previous = None if self.previous is None else self.previous[1]
        rotation = rotation_towards(previous, spectrum, points)
        points = turned(points, rotation)
        self.previous = (spectrum.eigenvectors, points)
        eigenvalues, scale = within_float32(spectrum.eigenvalues)
        errors = self._errors(rows, self._probe)
        arrays: dict[str, NDArray[Any] | None] = {
            "eigenvalues": eigenvalues,
            "quality": spectrum.quality,
            "utilization": spectrum.utilization,
            "quality_error": spectrum.quality_error,
            "utilization_error": spectrum.utilization_error,
            "projections": points,
            "predictions": self._probe.predictions(self._shown(rows.outputs, self._probe)),
            "label_accuracy": self._probe.label_accuracy(errors),
        }
        scalars = scalars_of(whole) | scale | self._probe.score(errors, "train")
        if moments.num_blocks > 1:
            scalars["regime_confidence"] = regime.confidence
        if reference is None:
            scalars |= {"kernel_drift": 0.0, **bands_of(spectrum.lazy_twin, "twin")}
        if self._held_out is not None:
            held = self._run(self._held_out, f"{where}, held-out samples")
            features = project(held.features, basis)
            quality, utilization = spectrum.held_out(self._moments(features, held, self._held_out))
            scalars |= self._held_out.score(self._errors(held, self._held_out), "test")
            scalars["quality_total_held_out"] = total_quality(quality)
            scalars["used_features_held_out"] = first_at(utilization, self.num_features)
            points = eigenfunctions(spectrum, self._shown(features, self._held_out), count)
            arrays["held_out_projections"] = turned(points, rotation)
        arrays |= self._measure_layers(rows)
        labels = {"regime": regime.label, "evidence": regime.evidence, "solver": spectrum.solver}
        known = {name: value for name, value in arrays.items() if value is not None}
        return Frame(epoch=epoch, step=step, scalars=scalars, labels=labels, arrays=known)

    def _run(
        self,
        samples: Samples,
        where: str,
        layers: Sequence[str] = (),
        team: Communicator | None = None,
    ) -> Activations:
        return run(
            self._bare,
            self._source,
            samples,
            layers=layers,
            batch_size=self.batch_size,
            device=self.device,
            team=team or self._team,
            where=where,
        )

    def _basis(self, features: Tensor) -> Tensor | None:
        # The processes of a team would each find a basis of their own samples.
        return orthonormal_basis(features) if self._team.size == 1 else None

    def _moments(
        self,
        features: Tensor,
        rows: Activations,
        samples: Samples,
        reference: Tensor | None = None,
        errors: bool = False,
    ) -> FeatureMoments:
        """Moments over all processes."""
        width, widest = features.shape[1], 0 if reference is None else reference.shape[1]
        outputs, targets = self.num_outputs, samples.num_targets
        nbytes = 8 * _NUM_BLOCKS * (width + widest + outputs + targets) ** 2
        moments = FeatureMoments(
            width,
            outputs,
            targets,
            num_reference=widest,
            num_blocks=_NUM_BLOCKS if errors and nbytes <= _MAX_BYTES else 1,
            device=features.device,
        )
        # The same blocks however many processes share the probe.
        mine = self._blocks[rows.start : rows.start + len(features)]
        blocks = mine if moments.num_blocks > 1 else None
        moments.update(features, rows.outputs, rows.targets, reference, blocks=blocks)
        return moments if self._team.group is None else moments.all_reduce(self._team.group)

    def _shown(self, values: Tensor, samples: Samples) -> Tensor:
        """The rows of the shown samples, of all processes."""
        parts = [samples.part(rank, self._team.size)[0].shown for rank in range(self._team.size)]
        # Numbered on the CPU: finding them on a GPU would make it wait.
        mine = values[parts[self._team.rank].nonzero()[:, 0].to(values.device)]
        return self._team.gather(mine, [int(part.sum()) for part in parts])

    def _errors(self, rows: Activations, samples: Samples) -> list[float]:
        """The errors of `Samples.error` over all processes."""
        return self._team.sum(samples.error(rows.outputs, rows.targets), rows.outputs.device)

    def _moved(self, outputs: Tensor, first: Tensor) -> bool:
        """Whether the outputs left those of the first frame by 0.1% of their size (our choice)."""
        first, outputs = widened(first), widened(outputs)
        sums = torch.stack([(outputs - first).square().sum(), first.square().sum()])
        change, size = self._team.sum(sums.tolist(), outputs.device)
        return change > 1e-6 * size

    def _measure_layers(self, rows: Activations) -> dict[str, NDArray[Any]]:
        spectra = []
        for values in rows.layers.values():
            features = project(values, self._basis(values))
            moments = self._moments(features, rows, self._probe)
            spectra.append(spectrum_of(moments, self.task, self.top, None))
        return layer_arrays(spectra)
