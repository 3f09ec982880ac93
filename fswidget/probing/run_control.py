"""Pause, resume, step and stop of a training loop, for `fswidget.watch` and the explorer alike."""

from __future__ import annotations

import threading
from collections.abc import Callable

#: Seconds after which a halted loop looks whether Python has an interrupt for it: on Windows none
#: reaches a thread that blocks without end.
_SLICE = 1.0


class RunControl:
    """What was asked of a loop, from whatever thread, and where the loop waits.

    The loop asks `may_go_on` wherever it can halt, and says `frame_taken` after each frame.

    Attributes
    ----------
    condition : threading.Condition
        Guards what is asked, and is notified of every change of it.
    tell : callable
        Called with ``"paused"`` where the loop halts and with ``"running"`` where it was told to go
        on, under the lock of `condition`.

    Examples
    --------
    >>> from fswidget.probing.run_control import RunControl
    >>> control = RunControl()
    >>> control.may_go_on()
    True
    >>> control.stop()
    >>> control.may_go_on()
    False
    """

    def __init__(self) -> None:
        self.condition = threading.Condition()
        self.tell: Callable[[str], None] = lambda state: None
        self._pausing = self._stepping = self._stopping = self._superseded = False
        self._halted = False

    def pause(self) -> None:
        """Halt at the next opportunity, until `resume`, `step` or `stop`."""
        self._ask(pausing=True)

    def resume(self) -> None:
        """Go on, where the loop was paused."""
        self._ask()

    def step(self) -> None:
        """Go on up to the next frame, and pause there."""
        self._ask(stepping=True)

    def stop(self) -> None:
        """Leave the loop."""
        self._ask(stopping=True)

    def supersede(self, *, stepping: bool = False) -> None:
        """Leave the loop, since another one is to follow; what is asked from now on is of that.

        Parameters
        ----------
        stepping : bool
            Whether the next loop is to pause at its first frame.
        """
        with self.condition:
            self._pausing = self._stopping = False
            self._stepping, self._superseded = stepping, True
            self.condition.notify_all()

    def begin(self) -> None:
        """The next loop begins."""
        with self.condition:
            self._stopping = self._superseded = self._halted = False

    @property
    def stopping(self) -> bool:
        """Whether the loop was told to stop."""
        return self._stopping

    @property
    def leaving(self) -> bool:
        """Whether the loop is to be left, for good or for another run."""
        return self._stopping or self._superseded

    @property
    def halted(self) -> bool:
        """Whether the loop waits."""
        return self._halted

    def may_go_on(self) -> bool:
        """Whether to go on; blocks while paused, and an interrupt ends the pause."""
        with self.condition:
            if self._halting:
                self._halt()
            return not self.leaving

    def asked(self, patience: float | None = None) -> bool | None:
        """The same, but None where the pause lasts for more than `patience` seconds."""
        if patience is None:
            return self.may_go_on()
        with self.condition:
            if self._halting:
                self._wait(patience)
                if self._halting:
                    return None
                self._halted = False
            return not self.leaving

    def frame_taken(self) -> None:
        """A frame was taken: where a single step was asked for, the loop pauses."""
        with self.condition:
            if self._stepping:
                self._pausing, self._stepping = True, False

    def _ask(
        self, *, pausing: bool = False, stepping: bool = False, stopping: bool = False
    ) -> None:
        with self.condition:
            self._pausing, self._stepping = pausing, stepping
            self._stopping = self._stopping or stopping
            self.condition.notify_all()
            if self._halted and not pausing:
                self._halted = False
                self.tell("running")

    @property
    def _halting(self) -> bool:
        return self._pausing and not self.leaving

    def _wait(self, seconds: float) -> None:
        if not self._halted:
            self._halted = True
            self.tell("paused")
            self.condition.notify_all()
        self.condition.wait(seconds)

    def _halt(self) -> None:
        try:
            while self._halting:
                self._wait(_SLICE)
        finally:
            # An interrupt, or a display that failed: nobody halts here any more.
            self._halted = self._pausing = False
