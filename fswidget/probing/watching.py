"""Frames from a user's own network in a user's own training loop."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from torch import nn
from torch.nn.parallel import DistributedDataParallel

from fswidget.probing.inference import Diverged
from fswidget.probing.probe import Probe
from fswidget.probing.run_control import RunControl
from fswidget.probing.samples import Array, Inputs
from fswidget.recording.frame import Frame

if TYPE_CHECKING:
    from fswidget.widget.viewer import Viewer


class StopTraining(Exception):
    """Stop was pressed in the view; raised by `Watch.snapshot` after its frame was recorded."""

    def _render_traceback_(self) -> list[str]:
        # IPython shows this in place of a traceback: a stop on request is no error.
        return [str(self)]


def watch(
    model: nn.Module,
    inputs: Inputs,
    targets: Array,
    *,
    task: str = "cross_entropy",
    layers: str | Sequence[str] | None = None,
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
        set. One or two per feature are enough; a snapshot with n of them takes about n / (3 N) of
        the time of an epoch of N samples. In a distributed job every process passes the same ones.
    task : {"cross_entropy", "squared_error", "multilabel", "binary"}
        What the outputs and targets mean, as in `fswidget.analyze`.
    layers : None, "all" or sequence of str
        Layers to measure besides the features, by their names in ``model.named_modules()``.
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
    # What drift is measured from, also where the first snapshot comes after an epoch.
    probe._refer()
    return probe


class Watch(Probe):
    """A `Probe` with a live view, made by `watch`.

    As a context manager it ends cleanly when Stop is pressed in the view: `StopTraining` goes no
    further than the ``with`` block, and the view is marked finished.
    """

    _viewer: Viewer | None = None

    @cached_property
    def _control(self) -> RunControl:
        """What the view's buttons ask of the loop."""
        control = RunControl()
        control.tell = self._tell
        return control

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
        viewer = self._viewer
        if viewer is not None:
            viewer.state = "running"
        try:
            frame = super().snapshot(epoch, step, **scalars)
        except Diverged as error:
            self._finish("diverged", str(error))
            raise
        if viewer is not None:
            viewer.push()
        if self._team.follow(self._stop_asked(), self.device):
            self._finish("finished", "Stopped.")
            raise StopTraining(f"Training stopped from the view after epoch {frame.epoch:g}.")
        return frame

    def view(self) -> Viewer:
        """A live widget that shows the recording while it grows; the same one at every call.

        Notes
        -----
        Frames reach it while the cell with the loop runs. Its buttons reach the loop where the
        kernel reads messages beside a running cell, as ipykernel ≥ 7 with JupyterLab ≥ 4.4 or
        Notebook ≥ 7.4 does; elsewhere, interrupt the kernel.
        """
        if self._viewer is None:
            # Only here: numbers need no widget.
            from fswidget.widget.viewer import Viewer

            self._viewer = Viewer(self.recording, control=self._control)
            self._viewer.state = "running"
            self._pack_after_cells(self._viewer)
        return self._viewer

    def finish(self) -> None:
        """Mark the view as finished, and keep the recording in the saved notebook."""
        self._finish("finished", "")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if error is None or isinstance(error, KeyboardInterrupt):
            self.finish()
        elif not isinstance(error, (StopTraining, Diverged)):
            self._finish("error", f"{type(error).__name__}: {error}")
        return isinstance(error, StopTraining)

    def _stop_asked(self) -> bool:
        """Obey the buttons; blocks during a pause."""
        self._control.frame_taken()
        if self._control.may_go_on():
            return False
        self._control.begin()
        return True

    def _tell(self, state: str) -> None:
        if self._viewer is None:
            return
        if state == "paused":
            self._viewer.pack()
        self._viewer.state = state

    def _finish(self, state: str, message: str) -> None:
        if self._viewer is not None:
            self._viewer.push()
            self._viewer.state, self._viewer.message = state, message
            self._viewer.pack()

    def _pack_after_cells(self, viewer: Viewer) -> None:
        """Keep what a cell recorded in the notebook, also where no ``with`` block ends it."""
        import sys

        shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
        if shell is None:
            return
        packed = 0

        def pack(_: Any) -> None:
            nonlocal packed
            if self.recording.appended > packed:
                packed = self.recording.appended
                if viewer.state == "running":
                    viewer.state = "finished"
                viewer.pack()

        shell.events.register("post_run_cell", pack)
