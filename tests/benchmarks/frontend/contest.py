"""What runs in the kernel: one contestant, fed with frames from a thread, as a trainer would."""

from __future__ import annotations

import json
import statistics
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import anywidget

from fswidget.recording.frame import Frame
from fswidget.recording.recording import Recording
from fswidget.widget import codec

from . import payload

#: Written beside the notebook when all frames of a `burst` or `pace` were handed over.
DONE = Path("done.json")


class Ours:
    """fswidget's own viewer, behind the interface of the peers."""

    def __init__(self, recording: Recording) -> None:
        from fswidget.widget.viewer import Viewer

        self.recording = recording
        self.widget = Viewer(recording)
        # A run in progress: nothing is packed yet.
        self.widget.state = "running"

    def show(self, number: int, frame: Frame) -> None:
        """Append a frame and push it."""
        self.recording.append(frame)
        self.widget.push()


def _bare_viewer(recording: Recording) -> Any:
    """A widget with all that our own carries, its module too, which a browser never forgets, and
    none of what it does in the page."""
    from fswidget.widget.assets import bundle
    from fswidget.widget.viewer import Viewer

    module, _, _ = bundle("widget.js").partition("export default")

    class BareViewer(Viewer):
        _esm = f"""{module};export default {{ render({{ el }}) {{
            el.textContent = "bare"; setTimeout(() => globalThis.bench?.painted(0));
        }} }}"""

    return BareViewer(recording)


class Contest:
    """One contestant.

    Parameters
    ----------
    name : {"canvas", "bokehjs", "plotly", "fswidget", "bare"}
    num_frames : int
        Frames to make ready beforehand.
    """

    def __init__(self, name: str, num_frames: int = 200) -> None:
        self.name = name
        self.frames = payload.frames(num_frames)
        self.sent = 0
        self.thread: threading.Thread | None = None
        self.result: dict[str, Any] = {}
        recording = payload.recording()
        if name == "fswidget":
            # Loading modules is the cell's own business, not the display's: the peer's are, too.
            from fswidget.widget import viewer  # noqa: F401
            from fswidget.widget.assets import bokehjs

            bokehjs()
        if name == "bokehjs":
            from .bokehjs import bokehjs

            bokehjs()
        self._make: Callable[[], Any] = lambda: self._contestant(recording)

    def _contestant(self, recording: Recording) -> Any:
        if self.name == "canvas":
            from .canvas import Canvas

            return Canvas(recording[0])
        if self.name == "bokehjs":
            from .bokehjs import BokehJS

            return BokehJS(recording[0])
        if self.name == "bare":
            return _bare_viewer(recording)
        if self.name == "plotly":
            from .plotly_peer import Plotly

            return Plotly(recording[0])
        return Ours(recording)

    def display(self) -> Any:
        """The widget, made anew; `result` says when."""
        self.result = {"start": time.time()}
        self.contestant = self._make()
        return getattr(self.contestant, "widget", self.contestant)

    def close(self) -> None:
        """Close the widget, here and in the page."""
        getattr(self.contestant, "widget", self.contestant).close()

    def burst(self, count: int) -> None:
        """Push frames as fast as they go."""
        self._run(count, 0.0)

    def pace(self, count: int, hertz: float) -> None:
        """Push frames at a steady pace."""
        self._run(count, 1 / hertz)

    def _run(self, count: int, interval: float) -> None:
        todo = self.frames[self.sent : self.sent + count]
        if len(todo) < count:
            raise ValueError(f"count={count}: only {len(todo)} frames are left")
        self.sent += count
        DONE.unlink(missing_ok=True)
        first = self.sent - count + 1
        arguments = (list(enumerate(todo, first)), interval)
        self.thread = threading.Thread(target=self._feed, args=arguments)
        self.thread.start()

    def _feed(self, numbered: Iterable[tuple[int, Frame]], interval: float) -> None:
        start = time.time()
        seconds = []
        for index, (number, frame) in enumerate(numbered):
            ahead = start + index * interval - time.time()
            if ahead > 0:
                time.sleep(ahead)
            before = time.thread_time()
            self.contestant.show(number, frame)
            seconds.append(time.thread_time() - before)
        result = {"start": start, "end": time.time(), "median": statistics.median(seconds)}
        # A file: a kernel that is asked is busy, and JupyterLab draws that.
        part = DONE.with_suffix(".part")
        part.write_text(json.dumps(result), encoding="utf-8")
        part.replace(DONE)


class Bare(anywidget.AnyWidget):
    """Takes messages and does nothing with them."""

    _esm = "export default { render({ el }) { el.textContent = 'bare'; } };"


class KernelCost:
    """The kernel's time per frame, ours against a bare `send` of the same bytes.

    Both are timed in turn, frame by frame, in one thread and at a pace at which the browser
    confirms every frame, so that each push sends one message.
    """

    def __init__(self, num_frames: int = 100) -> None:
        self.frames = payload.frames(num_frames)
        self.ours = Ours(payload.recording())
        self.bare = Bare()
        self.result: dict[str, Any] = {}

    def start(self, hertz: float = 10) -> None:
        """Feed all frames from a thread."""
        threading.Thread(target=self._feed, args=(1 / hertz,)).start()

    def _feed(self, interval: float) -> None:
        ours, bare, sizes = [], [], []
        for number, frame in enumerate(self.frames, 1):
            header, body = codec.encode_frame(frame, number, number - 1)
            message = {"type": "frames", "run": "run-1", "frames": [{**header, "offset": 0}]}
            sizes.append(len(body) + len(json.dumps(message)))
            # The order alternates: the second of two sends finds the socket's thread awake.
            for which in (0, 1) if number % 2 else (1, 0):
                time.sleep(interval / 2)
                # Time on the processor: other programs on the machine do not count.
                before = time.thread_time()
                if which == 0:
                    self.ours.show(number, frame)
                    ours.append(time.thread_time() - before)
                else:
                    self.bare.send(message, buffers=[body])
                    bare.append(time.thread_time() - before)
        self.result = {
            "ours": statistics.median(ours),
            "bare": statistics.median(bare),
            "bytes": statistics.median(sizes),
        }
