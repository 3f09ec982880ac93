"""The widget that shows a recording; `fswidget.Explorer` adds a trainer to it.

Nothing here imports torch, so a recorded run opens on a machine that has none.
"""

from __future__ import annotations

import base64
import difflib
import logging
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import traitlets

from fswidget.figures.layout import layout_json
from fswidget.figures.still import picture, sentence
from fswidget.probing.run_control import RunControl
from fswidget.recording.recording import Recording
from fswidget.widget import codec
from fswidget.widget.assets import bokehjs
from fswidget.widget.html import page, require_recording
from fswidget.widget.linking import LinkedView
from fswidget.widget.stream import Stream

#: Bytes of a recording that are kept in a saved notebook; beyond it, frames are thinned.
SAVED_BYTES = 4_000_000


#: Seconds between two messages of what changes all the time.
_SOMETIMES = 0.5

#: What was pressed and not yet read by a loop of one's own; older ones go.
MAX_COMMANDS = 100

log = logging.getLogger("fswidget")
log.addHandler(logging.NullHandler())  # nothing prints unless the user asks for it


def weak(method: Callable[..., Any]) -> Callable[..., Any]:
    """Call a bound method as long as its object is there, without keeping it alive."""
    reference = weakref.WeakMethod(method)

    def call(*args: Any) -> Any:
        found = reference()
        return None if found is None else found(*args)

    return call


class Viewer(LinkedView):
    """Show a recording: the same view as the `Explorer`, without a trainer.

    Parameters
    ----------
    recording : Recording
    epoch : float, optional
        The epoch to begin at, as `Recording.at` takes it; None shows, and follows, the newest.
    theme : {"auto", "light", "dark"}
        ``"auto"`` follows JupyterLab, VS Code or the operating system.
    captions : bool or dict of str to str
        Whether the panels carry a sentence that explains them; words of your own by panel.
    can_control : bool
        Whether Pause, Resume, Step and Stop are offered, for a loop that the recording comes from;
        what is pressed arrives in `commands`.
    control : RunControl, optional
        What is pressed goes there at once; implies `can_control`.
    **traits
        ``height``, ``scale``, ``hide``, ``lock``, ``panels``, ``panel``, ``axes``, ``reveal``,
        ``questions``, ``presets``: see `fswidget.widget.presenting.Presentation`.

    Raises
    ------
    TypeError, ValueError, IndexError
        If an argument is not one of these, or the recording has no such epoch.

    Notes
    -----
    Frames that are appended to `recording` later reach the front end with `push`.

    Examples
    --------
    >>> recording = fs.record(fs.Config(width=16, epochs=1, train_size=100, probe_size=100))
    >>> viewer = fs.Viewer(recording, epoch=1)  # as the last line of a cell, it is shown
    >>> viewer.num_frames == len(recording)
    True
    """

    def __init__(
        self,
        recording: Recording | None = None,
        *,
        epoch: float | None = None,
        theme: str = "auto",
        captions: bool | Mapping[str, str] = True,
        can_control: bool = False,
        control: RunControl | None = None,
        **traits: Any,
    ) -> None:
        if recording is not None:
            require_recording(recording)
        if epoch is not None:
            if recording is None:
                raise ValueError(f"epoch={epoch!r}: needs a recording")
            epoch = recording.at(epoch).epoch
        elif recording is not None and len(recording) and traits.get("reveal"):
            epoch = recording[0].epoch
        # ipywidgets would take any name in silence.
        for name in traits.keys() - set(self.class_trait_names()):
            raise TypeError(f"{name}={traits[name]!r}: {type(self).__name__} has no such argument")
        self._control = control or RunControl()
        self._share_lock()
        self._recordings: dict[str, Recording] = {}
        self._settings = [] if recording is None else list(recording.config)
        self._recording: Recording | None = None
        self._last_told = 0.0
        self._untold: dict[str, Any] = {}
        self._teller: threading.Timer | None = None
        self._commands: deque[str] = deque(maxlen=MAX_COMMANDS)
        super().__init__(
            _bokehjs=bokehjs(),
            _can_control=can_control or control is not None,
            theme=theme,
            captions=captions,
            **traits,
        )
        # Only now: a front end evaluates BokehJS meanwhile, and draws no view before it has both.
        self._figures = layout_json()
        if hasattr(self.comm, "_reply_subshell_for"):
            # ipykernel 7.4 would have messages read by the shell that sent last, which may be busy
            # with a cell, and not by the subshell that the front end sends them to.
            self.comm._reply_subshell_for = lambda data, default: default
        if recording is not None:
            self._open("run-1", recording)
            self.epoch = epoch
            self.pack()

    def _share_lock(self) -> None:
        """One lock for all that is told, heard and asked, and for who waits on it.

        ipywidgets has none: of two threads that set traits at once, what one told could get lost.
        """
        self._condition = self._control.condition
        self._depth = 0
        self._stream = Stream(weak(self._post))

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse names that are none: a misspelt one must not be taken in silence."""
        if not (name.startswith("_") or hasattr(type(self), name)):
            known = [*self._names, *(n for n in dir(type(self)) if not n.startswith("_"))]
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            # anywidget makes each widget a class of its own, of the same name.
            kind = type(self).__name__
            raise AttributeError(f"{name}={value!r}: {kind} has no such attribute{hint}")
        super().__setattr__(name, value)

    #: Names that are likelier meant than others.
    _names: Sequence[str] = ()

    @property
    def _setting_names(self) -> list[str]:
        return list(dict.fromkeys([*self._control_names, *self._settings]))

    @property
    def commands(self) -> deque[str]:
        """What the buttons asked for, oldest first: "pause", "resume", "step" or "stop"."""
        return self._commands

    @property
    def recording(self) -> Recording | None:
        """The recording on show; None before there is one."""
        return self._recording

    @property
    def shown(self) -> int:
        """Number of the frame on show; −1 follows the newest. It is what `epoch` means here."""
        recording = self.recording
        if self.epoch is None or recording is None:
            return -1
        return max(
            (number for number, frame in recording.entries if frame.epoch <= self.epoch + 1e-9),
            default=0,
        )

    @shown.setter
    def shown(self, number: int) -> None:
        recording = self.recording
        entries = () if recording is None else recording.entries
        before = [frame for kept, frame in entries if kept <= number]
        self.epoch = before[-1].epoch if before else None

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """The widget, and for where none can be shown a picture of the run and a sentence."""
        bundle = super()._repr_mimebundle_(**options)
        recording = self.recording
        if bundle is None or recording is None:
            return bundle
        data, metadata = bundle
        data = {**data, "text/plain": sentence(recording)}
        if len(recording):
            shown = -1 if self.epoch is None else self.epoch
            data["image/png"] = base64.b64encode(picture(recording, shown)).decode()
        return data, metadata

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
        with self._exclusive(), super().hold_sync():
            yield

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """Take over what a front end has set; what only the kernel tells stays as it is."""
        allowed = {
            name: value
            for name, value in sync_data.items()
            if name in self.keys and not self.trait_metadata(name, "told")
        }
        # What is locked is for presets alone to set.
        locked = [
            name
            for name in self.lock
            if name in allowed
            and not any(name in p and p[name] == allowed[name] for p in self.presets.values())
        ]
        for name in locked:
            del allowed[name]
        with self._exclusive():
            try:
                super().set_state(allowed)
            except (traitlets.TraitError, ValueError, TypeError) as error:
                self._tell(message=str(error))
                self.send_state(list(allowed))  # the front end shows what was refused
            if locked:
                self.send_state(locked)

    def notify_change(self, change: Any) -> None:
        """Tell front ends and observers of a trait's new value."""
        with self._exclusive():
            super().notify_change(change)

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Only this thread tells and hears; `_released` follows once it is through."""
        with self._condition:
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                outermost = self._depth == 0
        if outermost:
            self._released()

    def _released(self) -> None:
        """The lock was let go: what must not happen under it can happen now."""

    def _open(self, run: str, recording: Recording) -> None:
        self._recordings[run] = self._recording = recording
        self._tell(run=run, epoch=None, num_frames=recording.appended)
        self._stream.open(run, recording)

    def _send(self, msg: Any, buffers: Any = None) -> None:
        """Every message leaves here; a front end that cannot be reached is no reason to stop."""
        try:
            super()._send(msg, buffers)
        except Exception as error:
            self._stream.error = error

    def _post(self, message: dict[str, Any], buffers: list[bytes]) -> None:
        self.send(message, buffers=buffers)

    def _tell(self, **traits: Any) -> None:
        """Set traits, all of them also where an observer raises; its exception comes then."""
        raised: list[Exception] = []
        with self.hold_sync():
            for name, value in traits.items():
                self._untold.pop(name, None)  # older than what is told now
                try:
                    setattr(self, name, value)
                except Exception as error:
                    raised.append(error)
        if raised:
            raise raised[0]

    def _tell_sometimes(self, **traits: Any) -> None:
        """Like `_tell`, but at most twice a second: frames must not cost two messages. The
        last is told in any case."""
        with self._exclusive():
            self._untold.update(traits)
            left = self._last_told + _SOMETIMES - time.monotonic()
            if left < 0:
                self._tell_untold()
            elif left <= _SOMETIMES and not (self._teller and self._teller.is_alive()):
                self._teller = threading.Timer(left, weak(self._tell_untold))
                self._teller.daemon = True
                with suppress(RuntimeError):  # where there are no threads
                    self._teller.start()

    def _tell_untold(self) -> None:
        with self._exclusive():
            self._last_told = time.monotonic()
            self._tell(**self._untold)

    def _handle_custom_msg(self, content: Any, buffers: Any) -> None:
        super()._handle_custom_msg(content, buffers)
        match content:  # what has another form is ignored
            case {"type": "ack", "run": str(run), "next": int(following)}:
                self._stream.confirm(run, following)
            case {"type": "sync", "run": str(run), "next": int(following)}:
                described = content.get("described") is True
                self._stream.sync(self._recordings, run, max(0, following), described)
            case {"type": "command", "name": str(name)}:
                self._command(name, content.get("value"))

    def _command(self, name: str, value: Any) -> None:
        recording = self.recording
        if name in ("pause", "resume", "step", "stop"):
            self._commands.append(name)
            getattr(self._control, name)()
        elif recording is not None and name == "save_recording":
            self._offer("run.npz", "application/octet-stream", recording.to_bytes())
        elif recording is not None and name == "save_page":
            self._offer("run.html", "text/html", page(self._page()).encode())

    def _page(self) -> Any:
        """What a page of this view shows."""
        return self.recording

    def _offer(self, name: str, mime: str, content: bytes) -> None:
        self._post({"type": "file", "name": name, "mime": mime}, [content])
