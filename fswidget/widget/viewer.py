"""The widget that shows a recording; `fswidget.Explorer` adds a trainer to it.

Nothing here imports torch, so a recorded run opens on a machine that has none.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import traitlets
from ipywidgets import HBox, Layout, jslink

from fswidget.figures.drawing import layout_json
from fswidget.recording.recording import Recording
from fswidget.widget import codec
from fswidget.widget.assets import bokehjs
from fswidget.widget.html import page
from fswidget.widget.state import ViewState
from fswidget.widget.stream import Stream

#: Bytes of a recording that are kept in a saved notebook; beyond it, frames are thinned.
SAVED_BYTES = 4_000_000


class Viewer(ViewState):
    """Show a recording: the same view as the `Explorer`, without a trainer.

    Parameters
    ----------
    recording : Recording
    theme : {"auto", "light", "dark"}
        ``"auto"`` follows JupyterLab, VS Code or the operating system.
    captions : bool
        Whether the panels carry a sentence that explains them.
    can_control : bool
        Whether Pause, Resume and Stop are offered, for a loop that the recording comes from; what
        is pressed arrives in `commands`.

    Notes
    -----
    Frames that are appended to `recording` later reach the front end with `push`.

    Examples
    --------
    >>> recording = fs.record(fs.Config(width=16, epochs=1, train_size=100, probe_size=100))
    >>> viewer = fs.Viewer(recording)  # as the last line of a cell, it is shown
    >>> viewer.num_frames == len(recording)
    True
    """

    def __init__(
        self,
        recording: Recording | None = None,
        *,
        theme: str = "auto",
        captions: bool = True,
        can_control: bool = False,
        **traits: Any,
    ) -> None:
        if recording is not None and not isinstance(recording, Recording):
            raise TypeError(
                f"recording={recording!r}: must be a Recording, as fs.load and fs.record return"
            )
        # ipywidgets would take any name in silence.
        for name in traits.keys() - set(self.class_trait_names()):
            raise TypeError(f"{name}={traits[name]!r}: {type(self).__name__} has no such argument")
        # One lock for all that is told and heard, and for who waits on it. ipywidgets has none: of
        # two threads that set traits at once, what one told could get lost.
        self._condition = threading.Condition()
        super().__init__(
            _bokehjs=bokehjs(),
            _figures=layout_json(),
            _can_control=can_control,
            theme=theme,
            captions=captions,
            **traits,
        )
        #: What the viewer's buttons asked for, oldest first: "pause", "resume", "step" or "stop".
        self.commands: deque[str] = deque()
        self._recordings: dict[str, Recording] = {}
        self._stream = Stream(self._post)
        self._last_told = 0.0
        self._untold: dict[str, Any] = {}
        self.on_msg(self._receive)
        if hasattr(self.comm, "_reply_subshell_for"):
            # ipykernel 7.4 would have messages read by the shell that sent last, which may be busy
            # with a cell, and not by the subshell that the front end sends them to.
            self.comm._reply_subshell_for = lambda data, default: default
        if recording is not None:
            self._open("run-1", recording)
            self.pack()

    @property
    def recording(self) -> Recording | None:
        """The recording on show; None before there is one."""
        return self._recordings.get(self.run)

    def push(self) -> None:
        """Send the frames that were appended since. May be called from any thread."""
        recording = self.recording
        if recording is None:
            return
        self._stream.push()
        self._tell_sometimes(num_frames=recording.appended)

    def pack(self) -> None:
        """Keep the recording in the widget's state, so that a saved notebook replays it."""
        recording = self.recording
        if recording is not None and len(recording):
            self._tell(
                _packed=codec.pack(recording.thinned(SAVED_BYTES), self.run),
                num_frames=recording.appended,
            )

    @contextmanager
    def hold_sync(self) -> Iterator[None]:
        """Send what is set meanwhile in one message, and let no other thread in between."""
        with self._condition, super().hold_sync():
            yield

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """Take over what a front end has set."""
        with self._condition:
            super().set_state(sync_data)

    def notify_change(self, change: Any) -> None:
        """Tell front ends and observers of a trait's new value."""
        with self._condition:
            super().notify_change(change)

    def _open(self, run: str, recording: Recording) -> None:
        self._recordings[run] = recording
        self._tell(run=run, shown=-1, epoch=None, num_frames=recording.appended)
        self._stream.open(run, recording)

    def _post(self, message: dict[str, Any], buffers: list[bytes]) -> None:
        self.send(message, buffers=buffers)

    def _tell(self, **traits: Any) -> None:
        """Set traits; a front end that cannot be reached is no reason to stop."""
        try:
            with self.hold_sync():
                for name, value in traits.items():
                    self._untold.pop(name, None)  # older than what is told now
                    setattr(self, name, value)
        except traitlets.TraitError:
            raise
        except Exception as error:
            self._stream.error = error

    def _tell_sometimes(self, **traits: Any) -> None:
        """Like `_tell`, but at most four times a second: frames must not cost two messages."""
        with self._condition:
            self._untold.update(traits)
            now = time.monotonic()
            if now - self._last_told > 0.25:
                self._last_told = now
                self._tell(**self._untold)

    def _receive(self, _: Any, content: Any, __: list[memoryview]) -> None:
        match content:  # what has another form is ignored
            case {"type": "ack", "run": str(run), "next": int(following)}:
                self._stream.confirm(run, following)
            case {"type": "sync", "run": str(run), "next": int(following)}:
                self._stream.sync(self._recordings, run, max(0, following))
            case {"type": "command", "name": str(name)}:
                self._command(name, content.get("value"))

    def _command(self, name: str, value: Any) -> None:
        recording = self.recording
        if name in ("pause", "resume", "step", "stop"):
            self.commands.append(name)
        elif recording is not None and name == "save_recording":
            self._offer("run.npz", "application/octet-stream", recording.to_bytes())
        elif recording is not None and name == "save_page":
            self._offer("run.html", "text/html", page(recording).encode())

    def _offer(self, name: str, mime: str, content: bytes) -> None:
        self._post({"type": "file", "name": name, "mime": mime}, [content])


def compare(*recordings: Recording, link: bool = True, theme: str = "auto") -> HBox:
    """Viewers side by side.

    Parameters
    ----------
    *recordings : Recording
        Two or more.
    link : bool
        Whether the viewers go through the epochs together: where one has no frame of an epoch, it
        shows the last one before.
    theme : {"auto", "light", "dark"}

    Returns
    -------
    ipywidgets.HBox
        Its ``children`` are the `Viewer` objects, in the order given.

    Raises
    ------
    ValueError
        If fewer than two recordings are given.

    Examples
    --------
    >>> config = fs.Config(width=16, epochs=1, train_size=100, probe_size=100)
    >>> both = fs.compare(fs.record(config), fs.record(config.replace(batchnorm=True)))
    >>> len(both.children)
    2
    """
    if len(recordings) < 2:
        raise ValueError(f"recordings: got {len(recordings)}, compare takes two or more")
    viewers = [Viewer(recording, theme=theme, captions=False) for recording in recordings]
    if link:
        for viewer in viewers[1:]:
            jslink((viewers[0], "epoch"), (viewer, "epoch"))
    for viewer in viewers:
        viewer.layout = Layout(flex="1 1 520px", min_width="0")
    # No GridBox: in a reopened notebook ipywidgets' mark for "no kernel" would take its first cell.
    return HBox(viewers, layout=Layout(flex_flow="row wrap", grid_gap="12px"))
