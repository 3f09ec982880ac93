"""Frames from a user's own network in a user's own training loop."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn
from torch.nn.parallel import DistributedDataParallel

from fswidget.probing.continuing import go_on, refer_to
from fswidget.probing.inference import Diverged
from fswidget.probing.live import LiveView, check_on_frame
from fswidget.probing.live import StopTraining as StopTraining
from fswidget.probing.probe import Probe
from fswidget.probing.samples import Array, Inputs
from fswidget.recording.frame import Frame
from fswidget.recording.recording import Recording


def watch(
    model: nn.Module,
    inputs: Inputs,
    targets: Array,
    *,
    task: str = "cross_entropy",
    layers: str | Sequence[str] | None = None,
    recording: Recording | None = None,
    reference: Any = None,
    on_frame: Callable[[Frame], object] | None = None,
    **options: Any,
) -> Watch:
    """Watch a network in a training loop of one's own.

    Parameters
    ----------
    model : torch.nn.Module
        A network that ends in a linear layer. Wrappers of ``torch.compile`` and of
        ``DistributedDataParallel`` may be passed: the pass runs the network as written, and the
        processes of the latter share the work.
    inputs, targets
        The probe, a fixed set of samples with as many of each class, usually from the training
        set. One or two per feature are enough; a snapshot with n of them takes about 2 n / (3 N) of
        the time of an epoch of N samples. In a distributed job every process passes the same ones.
    task : {"cross_entropy", "squared_error", "multilabel", "binary"}
        What the outputs and targets mean, as in `fswidget.analyze`.
    layers : None, "all" or sequence of str
        Layers to measure besides the features, by their names in ``model.named_modules()``.
    recording : Recording, optional
        Go on with an earlier recording of the same network and samples: its frames stay, the new
        ones are aligned to its last one and must have later epochs.
    reference : state dict, path, torch.nn.Module or array of shape (n, p), optional
        The untrained network, or its features on `inputs`: what kernel drift is measured from. By
        default the network as it is now; beside `recording` none is known then, so that drift is
        left out and LAZY not said. Batch norm that has seen no batch normalises nothing in eval
        mode: pass one through in train mode first, or its first statistics count as drift.
    on_frame : callable, optional
        Called with each frame after it was recorded; `fswidget.callbacks` has loggers.
    **options
        Further arguments of `fswidget.probe.Probe`.

    Returns
    -------
    Watch
        ``snapshot()`` takes a frame, ``recording`` keeps them, ``view()`` shows them live.

    Examples
    --------
    ::

        with fs.watch(model, inputs, targets) as probe:
            display(probe.view())
            probe.snapshot(epoch=0)
            for epoch in range(1, epochs + 1):
                loss = train_one_epoch(model)
                probe.snapshot(epoch=epoch, loss=loss)

    >>> inputs, targets = torch.randn(60, 4), torch.arange(60) % 3
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    >>> probe = fs.watch(model, inputs, targets)
    >>> probe.snapshot(epoch=0).labels["regime"]
    'UNTRAINED'
    >>> len(probe.recording)
    1
    """
    group = options.pop("group", None)
    if group is None and isinstance(model, DistributedDataParallel):
        group = model.process_group
    probe = Watch(model, inputs, targets, task=task, layers=layers, group=group, **options)
    probe.on_frame = check_on_frame(on_frame)
    if recording is not None:
        go_on(probe, recording)
    # Also where the first snapshot comes after an epoch, drift is measured from here.
    if reference is not None or recording is None:
        refer_to(probe, reference)
    return probe


class Watch(LiveView, Probe):
    """A `Probe` with a live view, made by `watch`.

    As a context manager it ends cleanly when Stop is pressed in the view: `StopTraining` goes no
    further than the ``with`` block, and the view is marked finished.
    """

    recording: Recording

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._made_in = os.getpid()

    @property
    def sent_here(self) -> bool:
        """Whether frames are recorded here, in another process than the one that watches."""
        return self._team.rank == 0 and os.getpid() != self._made_in

    def snapshot(
        self, epoch: float | None = None, step: int | None = None, **scalars: float
    ) -> Frame:
        """Measure the network, record and show the frame, and do what the view's buttons ask.

        Pause blocks here until Resume, Step or Stop; an interrupt of the kernel ends the pause too.
        See `Probe.snapshot` for the parameters.

        Raises
        ------
        StopTraining
            If Stop was pressed since the last snapshot. In a distributed job every process raises.
        Diverged
            If the network's features or outputs are not finite; nothing is recorded.
        """
        try:
            frame = super().snapshot(epoch, step, **scalars)
        except Diverged as error:
            self._finish("diverged", str(error))
            raise
        self._show(frame, self._team, self.device)
        return frame
