"""From a network and a fixed set of samples to one `Frame`, leaving the network as it was."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn

from fswidget.analysis.positions import DRAWN, IGNORED, read_draw
from fswidget.analysis.targets import warn_unbalanced
from fswidget.probing.arguments import (
    check_counts,
    check_flags,
    check_model,
    check_scalars,
    device_of,
    held_out_samples,
    names_of_classes,
    settings_of,
    when,
)
from fswidget.probing.distributed import Communicator
from fswidget.probing.frame_maker import FrameMaker
from fswidget.probing.frames import WeightChange, squared_norm
from fswidget.probing.head import unwrap
from fswidget.probing.inference import Activations, run
from fswidget.probing.looking import look
from fswidget.probing.measures import with_given
from fswidget.probing.modes import inference_mode
from fswidget.probing.outputs import Select
from fswidget.probing.reading import Reader
from fswidget.probing.samples import Array, Inputs, Samples
from fswidget.probing.tangent import TangentKernel
from fswidget.probing.threads import BESIDE_A_GPU, threads
from fswidget.probing.thumbnails import thumbnails
from fswidget.recording.frame import Frame
from fswidget.recording.recording import Recording


class Probe:
    """Turns a network into frames, by one pass over the same samples each time.

    Parameters
    ----------
    model : torch.nn.Module
        Any network whose outputs are an affine function of some features, as those that end in a
        linear layer; wrappers of ``torch.compile``, ``DistributedDataParallel`` and Fabric are
        looked through.
    inputs : array, dict or sequence of arrays, first dimension n
        What the model is called with: ``model(inputs)``, ``model(**inputs)`` for a dict,
        ``model(*inputs)`` for a tuple or list. Tensors or numpy arrays.
    targets : array, shape (n,) of int or (n,) or (n, T) of float
        As `fswidget.analyze` reads them; or one for each token or pixel, see Notes. Choose as many
        samples of each class: with unequal counts the low-rank measure of a collapsed network is
        not 0; frames then carry ``low_rank_measure_weighted`` too, for one more pass of the
        moments.
    task : {"cross_entropy", "squared_error", "multilabel", "binary"}
        What the outputs mean: logits, of which a common shift does not matter, values, a logit for
        each of several labels, or a single logit.
    class_names : sequence of str or dict of int to str, optional
    images : array of uint8, shape (n, h, w) or (n, h, w, 3), optional
        Pictures of the samples; made from `inputs` where those look like pictures.
    held_out : tuple (inputs, targets), optional
        Samples that the training does not see.
    head : str, optional
        The last linear layer, by its name in ``model.named_modules()``; it is found where not
        given.
    features : str or callable, optional
        What stands for the features instead of a head's input: the name of the module whose output
        they are (averaged over positions), or a function that is called as the model is and returns
        them, shape (n, p), alone or in a pair with the outputs, shape (n, C). Outputs that are no
        affine function of them are measured all the same, with a warning.
    outputs : str, int or callable, optional
        Which of what the model returns are its outputs: a key, an index, or a function of it that
        returns a tensor of shape (n, C).
    layers : None, "all" or sequence of str
        Layers to measure besides the features; of the scalars that are means over them the output
        layer is no part.
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
        where both the features and the samples are more than 1,024. All the same where those do not
        reach 95% utilization, as of a random head: tens of seconds for 4,096, minutes for 8,192.
    more_measures : bool
        Whether frames carry what costs more: ``ablated_score``, the accuracy or R² on the probe
        without each of the eigenfunctions shown; for classes ``nc4`` and the curve
        ``truncated_accuracy`` (of at most 1,000 samples, evenly spread over the probe; not of more
        outputs than twice the samples, or the features and 1), and
        ``weight_change``, for which the untrained network's parameters are kept.
    ntk : bool
        Whether frames carry ``ntk_drift`` and ``ntk_alignment`` of the tangent kernel on at most
        100 samples; see `TangentKernel`. As slow as ten backward passes over them.
    num_positions : int
        At most so many tokens or pixels are drawn, where those are the samples; see Notes.
    ignore_index : int
        Tokens or pixels with this target are left out.
    positions_seed : int
        Of the draw.
    byte_budget : int, optional
        See `Recording`.
    group : torch.distributed.ProcessGroup, optional
        Processes that share the work. Each is given the same samples, takes its part of them, and
        returns the same frame; only the first appends it to its recording.

    Raises
    ------
    ValueError
        If the arguments do not fit each other, or no layer is found whose output the outputs are an
        affine function of, alike for every sample. `snapshot` checks the numbers of the whole probe
        each time.
    TypeError
        If `model` is no module or `inputs` no array.
    Diverged
        If the network's features are not finite.

    Notes
    -----
    Outputs with a row for each token, (n, length, C), or pixel, (n, C, height, width), and targets
    of shape (n, length) or (n, height, width) make those the samples: `num_positions` are drawn
    from all whose target is not `ignore_index`, each as likely as another, the same in every frame.
    `batch_size` then counts positions. Errors leave out whole sequences or pictures, in eight
    blocks of nearly as many tokens or pixels, since those of one are not independent; debiased
    estimates take them for independent. Layers are read at the same positions. Our choice.
    ``recording.info.samples`` says how many were drawn.

    On a GPU convolutions and products are made as torch's own settings have them. With TF32, its
    default for convolutions, features of a ResNet18 were off by 8e-4 of their size and eigenvalues
    by 5e-4, without it (``torch.backends.cudnn.allow_tf32 = False``) features by 2e-6; a pass over
    3,000 pictures took 24 ms and 152 ms (p = 512, NVIDIA H200). Moments and eigenpairs are made in
    float64 always.
    """

    #: Epoch and step of the last frame; −1 where there is none.
    last: tuple[float, int] = (-1, -1)
    _taken = 0

    def __init__(
        self,
        model: nn.Module,
        inputs: Inputs,
        targets: Array,
        *,
        task: str = "cross_entropy",
        class_names: Sequence[str] | Mapping[int, str] | None = None,
        images: Array | None = None,
        head: str | None = None,
        features: str | Callable[..., Any] | None = None,
        outputs: Select | None = None,
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
        more_measures: bool = False,
        ntk: bool = False,
        num_positions: int = DRAWN,
        ignore_index: int = IGNORED,
        positions_seed: int = 0,
        byte_budget: int | None = 256_000_000,
        group: dist.ProcessGroup | None = None,
    ) -> None:
        check_model(model, features)
        sizes = {"num_eigenfunctions": num_eigenfunctions, "num_shown": num_shown}
        check_counts(task, top, batch_size=batch_size, **sizes)
        draw = read_draw(num_positions, ignore_index, positions_seed)
        self.model, self.task, self.batch_size = model, task, batch_size
        self._device = device_of(device)
        self._bare = unwrap(model)
        device_of(self.device)
        self._began = time.perf_counter()
        given = Samples.of(inputs, targets)
        self._reader = Reader(self._bare, None, task == "cross_entropy", outputs, features)
        found = look(self._reader, given, task, self.device, layers=layers, head=head)
        num_outputs = found.num_outputs
        samples = given.at_positions(found.layout, **draw).fit(num_outputs, task, num_shown)
        warn_unbalanced(samples.named, samples.num_targets, stacklevel=3)
        held = held_out_samples(held_out, samples, num_outputs, task, num_shown, found.layout, draw)
        how: dict[str, Any] = {"errors": errors, "top": top, "more_measures": more_measures}
        how |= {"num_features": found.num_features, "num_outputs": num_outputs}
        how["head"] = None if self.head is None else self.head.name
        self._maker = FrameMaker(samples, held, num_eigenfunctions=num_eigenfunctions, **how)
        info = self._maker.describe(
            config=settings_of(config),
            title=title,
            layers=found.layers,
            class_names=names_of_classes(class_names, samples, num_outputs),
            pictures=thumbnails(samples, images),
        )
        self.recording = Recording(info, byte_budget=byte_budget)
        self._since = [WeightChange()] * more_measures + self._tangent(ntk)
        self.share(group)

    def _tangent(self, ntk: bool) -> list[Any]:
        check_flags(ntk=ntk)
        maker = self._maker
        if ntk and maker.samples.positions is not None:
            raise ValueError("ntk=True: is not made of tokens or pixels; must be False")
        return [TangentKernel(maker.samples, maker.num_outputs, self._reader.select)] if ntk else []

    @property
    def head(self) -> Any:
        """The last linear layer; None where features are given."""
        return self._reader.head

    @property
    def _team(self) -> Communicator:
        return self._maker.team

    @property
    def num_features(self) -> int:
        """p"""
        return self._maker.num_features

    @property
    def num_outputs(self) -> int:
        """C"""
        return self._maker.num_outputs

    @property
    def previous(self) -> tuple[NDArray[np.float64] | None, NDArray[np.float64]] | None:
        """Eigenvectors and eigenfunctions of the last frame, which the next one goes on from."""
        return self._maker.previous

    @previous.setter
    def previous(self, value: tuple[NDArray[np.float64], NDArray[np.float64]]) -> None:
        self._maker.previous = value

    @property
    def device(self) -> torch.device:
        """Where the pass runs."""
        if self._device is not None:
            return self._device
        parameter = next(self._bare.parameters(), None)
        return torch.device("cpu") if parameter is None else parameter.device

    @property
    def regime(self) -> str | None:
        """The label of the last frame."""
        return self._maker.regime

    @regime.setter
    def regime(self, value: str | None) -> None:
        self._maker.regime = value

    def retarget(self, targets: Tensor) -> None:
        """Measure against other targets of the same kind from now on."""
        self._maker.retarget(targets)

    def share(self, group: dist.ProcessGroup | None) -> None:
        """Share the work with the processes of `group`, or with none.

        Raises
        ------
        RuntimeError
            After the first frame, if they are more or fewer than before.
        ValueError
            In every process, if they were given different samples.
        """
        team = Communicator(group)
        if self._taken and team.size != self._team.size:
            raise RuntimeError(
                f"share: the first frame was taken by {self._team.size} processes; must be as many"
            )
        held = self._maker.held_out
        arrays = self._maker.samples.arrays("") | ({} if held is None else held.arrays("held_out "))
        team.check_alike(arrays, self.device)
        self._maker.team = team
        if self._maker.reference is not None and not self._taken:
            self._refer()

    def _refer(self) -> None:
        """Measure drift from the network as it is now."""
        bare = self._bare
        with inference_mode(bare, self.device):
            self._team.same_buffers(bare)
            self._maker.refer_to(self._run(self._maker.samples, "before the first frame"))
            for one in self._since:
                one.refer_to(bare, self.device)

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
        epoch, step = when(epoch, step, self.last[0], self._taken)
        frame = self.frame(epoch, step, **scalars)
        # Counted here, because only the first of several processes records.
        self.last, self._taken = (epoch, step), self._taken + 1
        if self._team.rank == 0:
            self.recording.append(frame)
        return frame

    def frame(self, epoch: float, step: int = 0, **scalars: float) -> Frame:
        """Measure the network now; the frame is not appended to `recording`."""
        start = time.perf_counter()
        given = check_scalars(scalars)
        bare, where = self._bare, f"epoch {epoch:g}, step {step}"
        with _few_threads(self.device), inference_mode(bare, self.device):
            self._team.same_buffers(bare)
            rows, held = self._both(where)
            frame = self._maker.make(epoch, step, rows, held)
            since = self._measured_since(begins=epoch == step == 0)
        measured = since | {
            "parameter_norm_squared": squared_norm(bare, self.device),
            "seconds": time.perf_counter() - self._began,
            "analysis_seconds": time.perf_counter() - start,
        }
        return with_given(frame, measured, given)

    def _measured_since(self, *, begins: bool) -> dict[str, float]:
        """What is measured of the network itself, beside the untrained one."""
        measured: dict[str, float] = {}
        for one in self._since:
            if begins and not one:
                one.refer_to(self._bare, self.device)
            measured |= one.of(self._bare, self.device)
        return measured

    def _both(self, where: str) -> tuple[Activations, Activations | None]:
        """The rows of the probe and of the samples held out, outputs of both kept alike."""
        rows = self._run(self._maker.samples, where, self.recording.info.layers)
        if self._maker.held_out is None:
            return rows, None
        held = self._run(self._maker.held_out, f"{where}, held-out samples")
        if type(held.outputs) is not type(rows.outputs):
            rows = self._run(self._maker.samples, where, self.recording.info.layers)
        return rows, held

    def _run(self, samples: Samples, where: str, layers: Sequence[str] = ()) -> Activations:
        return run(
            self._reader,
            samples,
            layers=layers,
            batch_size=self.batch_size,
            device=self.device,
            team=self._team,
            where=where,
            by_weights=self._maker.by_weights,
        )


def _few_threads(device: torch.device) -> AbstractContextManager[None]:
    few = min(BESIDE_A_GPU, threads.given)
    return nullcontext() if device.type == "cpu" else threads.use(few)
