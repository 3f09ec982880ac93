"""Sends a recording's frames to whoever shows it, never more than a few messages ahead.

Jupyter drops messages silently when too many are under way, so a front end confirms what it has and
asks for what it misses. What waits for room is sent together, in order; nothing is skipped.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from fswidget.recording.recording import Recording
from fswidget.widget import codec

Send = Callable[[dict[str, Any], list[bytes]], None]


class Stream:
    """The way of one run's frames to its front ends.

    Parameters
    ----------
    send : callable
        Takes a JSON message and its binary buffers. What it raises is kept in `error` and ends
        nothing: training must not die of a lost display.

    Notes
    -----
    One lock orders all that is sent. A front end that runs ahead drives the stream; a slower one,
    or one that joins later, asks with `sync`, and frames that another already has are sent again:
    every front end leaves out what it holds.
    """

    #: Messages under way before the stream waits for a confirmation.
    window = 8
    #: Frames that waited are sent together in messages of at most about this many bytes.
    max_bytes = 500_000
    #: Seconds after which one more message goes out unconfirmed: a kernel that is busy with the
    #: user's own loop may not get to read confirmations at all.
    patience = 0.5
    #: Seconds within which a front end that asks again for the same gets no second answer: the
    #: first is on its way.
    answer_time = 0.5
    #: Requests remembered for that.
    max_requests = 64

    def __init__(self, send: Send) -> None:
        self.error: Exception | None = None
        self._send = send
        self._lock = threading.RLock()
        self._run = ""
        self._recording: Recording | None = None
        self._next = 0
        self._unconfirmed: deque[int] = deque(maxlen=self.window)
        self._last_sent = -float("inf")
        self._answered: dict[tuple[Any, ...], float] = {}
        # Pictures take long to encode, and every front end that joins wants the same.
        self._described: tuple[str, dict[str, Any], bytes] | None = None

    def open(self, run: str, recording: Recording) -> None:
        """Begin another run: its description goes out at once, its frames with `push`."""
        with self._lock:
            self._run, self._recording = run, recording
            self._rewind(0)
            self._send_run(run, recording)
            self.push()

    def push(self) -> None:
        """Send what has not been sent, as far as there is room."""
        with self._lock:
            if self._recording is None:
                return
            while self._next < self._recording.appended and self._has_room():
                self._next = self._send_frames(self._run, self._recording, self._next)
                self._unconfirmed.append(self._next)
                self._last_sent = time.monotonic()

    def confirm(self, run: str, following: int) -> None:
        """A front end holds every frame of `run` before number `following`."""
        with self._lock:
            if run != self._run:
                return
            while self._unconfirmed and self._unconfirmed[0] <= following:
                self._unconfirmed.popleft()
            self.push()

    def sync(
        self,
        runs: Mapping[str, Recording],
        run: str,
        following: int,
        described: bool = False,
    ) -> None:
        """A front end lacks the frames of `run` from number `following` on.

        Parameters
        ----------
        runs : mapping of str to Recording
            The runs that can still be asked for.
        run : str
            Empty, or unknown, means the present one.
        following : int
        described : bool
            Whether the front end has the description of the run, its pictures among it.
        """
        with self._lock:
            if run not in runs:
                run, following, described = self._run, 0, False
            recording = runs.get(run)
            if recording is None or self._answers(run, following, described):
                return
            if following == 0 and not described:
                self._send_run(run, recording)
            if run == self._run:
                self._rewind(following)
                self.push()
                return
            while following < recording.appended:
                following = self._send_frames(run, recording, following)

    def _answers(self, *request: Any) -> bool:
        """Whether the answer to this request is on its way already."""
        now = time.monotonic()
        if now - self._answered.get(request, -float("inf")) < self.answer_time:
            return True
        self._answered.pop(request, None)  # the newest stands last
        self._answered[request] = now
        while len(self._answered) > self.max_requests:
            del self._answered[next(iter(self._answered))]
        return False

    def _rewind(self, following: int) -> None:
        self._next = following
        self._unconfirmed.clear()

    def _has_room(self) -> bool:
        waited = time.monotonic() - self._last_sent > self.patience
        return len(self._unconfirmed) < self.window or waited

    def _send_run(self, run: str, recording: Recording) -> None:
        if self._described is None or self._described[0] != run:
            self._described = (run, *codec.encode_run(recording.info, recording.provenance))
        _, info, body = self._described
        self._deliver({"type": "run", "run": run, "info": info}, body)

    def _send_frames(self, run: str, recording: Recording, start: int) -> int:
        headers, body, following = codec.encode_frames(recording, start, self.max_bytes)
        self._deliver({"type": "frames", "run": run, "frames": headers}, body)
        return following

    def _deliver(self, message: dict[str, Any], body: bytes) -> None:
        try:
            self._send(message, [body])
        except Exception as error:
            self.error = error
