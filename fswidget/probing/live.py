"""A recording that grows, with a live view of it: what `Watch` and `Recorder` share."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from fswidget.probing.distributed import Communicator, Diverged
from fswidget.probing.run_control import RunControl
from fswidget.recording.frame import Frame
from fswidget.recording.recording import Recording

if TYPE_CHECKING:
    from fswidget.widget.viewer import Viewer

#: Seconds of a pause after which the other processes hear that it goes on, lest they give up.
_HEARTBEAT = 5.0
_GO_ON, _STOP, _WAIT = 0, 1, 2


class StopTraining(Exception):
    """Stop was pressed in the view; raised by `Watch.snapshot` after its frame was recorded."""

    def _render_traceback_(self) -> list[str]:
        # IPython shows this in place of a traceback: a stop on request is no error.
        return [str(self)]


def check_on_frame(on_frame: Any) -> Callable[[Frame], object] | None:
    """Raise TypeError for what cannot be called with a frame."""
    if on_frame is not None and not callable(on_frame):
        raise TypeError(f"on_frame={on_frame!r}: must be callable, with a frame")
    found: Callable[[Frame], object] | None = on_frame
    return found


class LiveView:
    """Shows a recording while it grows, and does what the view's buttons ask.

    As a context manager it ends cleanly when Stop is pressed in the view: `StopTraining` goes no
    further than the ``with`` block, and the view is marked finished.
    """

    recording: Recording
    on_frame: Callable[[Frame], object] | None = None
    _viewer: Viewer | None = None

    @cached_property
    def _control(self) -> RunControl:
        """What the view's buttons ask of the loop."""
        control = RunControl()
        control.tell = self._tell
        return control

    def __getstate__(self) -> dict[str, Any]:
        # A copy in another process has no view.
        return {k: v for k, v in vars(self).items() if k not in ("_viewer", "_control")}

    def _show(self, frame: Frame, team: Communicator, device: Any = "cpu") -> None:
        """Show a frame that was recorded, and obey the buttons; blocks during a pause."""
        with team.together(device):
            if self.on_frame is not None and team.rank == 0:
                self.on_frame(frame)
            if self._viewer is not None:
                # Again, where an earlier cell or ``with`` block had ended.
                self._viewer.state, self._viewer.message = "running", ""
                self._viewer.push()
        self._control.frame_taken()
        asked = _WAIT
        while asked == _WAIT:
            if team.rank == 0:
                # Alone a pause lasts; with others each waits for a word now and then.
                go_on = self._control.asked(_HEARTBEAT if team.size > 1 else None)
                asked = _WAIT if go_on is None else _GO_ON if go_on else _STOP
            asked = team.follow(asked, device)
        if asked == _STOP:
            self._control.begin()
            self._finish("finished", "Stopped.")
            raise StopTraining(f"Training stopped from the view after epoch {frame.epoch:g}.")

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
