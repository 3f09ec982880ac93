"""The live widget: a `Viewer` with a trainer behind it.

Training runs in one background thread. What arrives from a front end or from the user's own code
only leaves a wish behind, which the thread reads between two batches. What the thread finds out
leaves through the viewer's stream and traits.
"""

from __future__ import annotations

import inspect
import json
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, get_type_hints

from fswidget.recording.frame import Frame
from fswidget.training.config import Config
from fswidget.training.signatures import takes_settings
from fswidget.widget import lifetime
from fswidget.widget.experimenting import Experimenting
from fswidget.widget.experiments import menu
from fswidget.widget.linked_explorer import BASE
from fswidget.widget.presenting import DEFAULTS, Presentation
from fswidget.widget.trainer import Ending, Job

#: Seconds without another change before a run starts anew: a dragged slider starts one, not many.
QUIET = 0.15


class Explorer(Experimenting):
    """Train a network and see its features while it learns.

    Parameters
    ----------
    theme, captions, height, scale, hide, lock, panels, panel, axes, reveal, questions, presets
        As for `Viewer`.
    seeds : int
        Runs that differ in their seed alone, trained in turn: the first is on show while it trains,
        then the mean of those that have ended, with one standard deviation as a band.
    foreground : bool, optional
        Train within `start`, which then returns when the run has ended. None (the default) does so
        only where messages of a background thread do not reach the browser (Google Colab).
    **settings
        Those of `fswidget.Config`, except that ``loss`` is ``"mse"`` unless given: what a control
        does shows most clearly with the squared error. Each is a trait of the explorer; changing
        one while a run is on show begins another run, and the former stays for comparison.

    Attributes
    ----------
    state : {"idle", "running", "paused", "finished", "diverged", "error"}
    recording : Recording or None
        The run on show; the mean, once there are several seeds.
    recordings : list of Recording
        Those of each seed.
    error : BaseException or None
        What ended the last run, if something did; also what an observer of yours raised.
    network : torch.nn.Module or None
        The network of the run on show; it stays when a run is stopped.

    Raises
    ------
    TypeError
        If a setting is unknown.
    ValueError
        If a setting, or a combination of settings, is impossible.

    Notes
    -----
    A run ends with its explorer: when the last reference to one that was never displayed goes, when
    a notebook cell is run again that made another, and when Python exits.

    Examples
    --------
    >>> explorer = fs.Explorer(width=16, epochs=2, train_size=100)  # shown by a cell, press Start
    >>> explorer.start()
    >>> explorer.wait()
    'finished'
    >>> explorer.recording[-1].epoch
    2.0
    """

    def __init__(
        self,
        *,
        theme: str = "auto",
        seeds: int = 1,
        foreground: bool | None = None,
        **settings: Any,
    ) -> None:
        # What the cell of a notebook has to do with it; see `lifetime`.
        self._cell: tuple[str, int] | None = None
        self._named = False
        foreground = "google.colab" in sys.modules if foreground is None else foreground
        options = {name: settings.pop(name) for name in DEFAULTS if name in settings}
        settings = {**BASE, **settings}
        shown = {"theme": theme, "seeds": seeds, **options}
        super().__init__(settings, foreground, _can_train=True, **shown)
        self._presets = json.dumps(menu(self.root))
        lifetime.enrol(self)

    # What a user, or a button, asks for.

    def start(self) -> None:
        """Begin a run with the present settings, or go on with a paused one."""
        with self._exclusive():
            if self.state == "paused":
                self.resume()
            elif not self._going:
                self._begin()

    def pause(self) -> None:
        """Halt before the next batch; `resume` goes on."""
        if self._trainer.busy:
            self._control.pause()

    def resume(self) -> None:
        """Go on with a paused run; with other settings by now, begin one with those."""
        with self._exclusive():
            if self._outdated or (self._held and self.state == "paused"):
                self._begin(self._held)
            elif self._trainer.busy:
                self._control.resume()

    def step(self) -> None:
        """Go on to the next frame and pause there; begins a run where there is none."""
        with self._exclusive():
            if not self._going or self._outdated:
                self._begin(self._held, stepping=True)
            else:
                self._control.step()

    def stop(self) -> None:
        """End the run; its recording and its network stay."""
        self._arms.clear()
        if self._trainer.busy:
            self._trainer.cancel()

    def reset(self) -> None:
        """End the run and clear the view; settings and earlier runs stay."""
        self._arms.clear()
        with self._exclusive():
            if self._trainer.busy:
                self._clearing = True
                self._trainer.cancel()
            else:
                self._clear()

    def wait(self, timeout: float | None = None) -> str:
        """Block until the run has ended or is paused.

        An interrupt (Ctrl-C, or the kernel's) stops the run and returns.

        Parameters
        ----------
        timeout : float, optional
            Seconds after which to return in any case.

        Returns
        -------
        str
            The state.

        Raises
        ------
        RuntimeError
            If the run is one that ``async for`` steps in this thread: it would wait for itself.
        """
        if self._trainer.waits_for_caller and not self._is_settled():
            raise RuntimeError("wait: the run goes on by async for, in this thread")
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._is_settled() and (deadline is None or time.monotonic() < deadline):
            left = 0.2 if deadline is None else min(0.2, deadline - time.monotonic())
            try:
                with self._condition:
                    # In slices: an interrupt does not reach a thread that blocks without end.
                    self._condition.wait_for(self._is_settled, left)
            except KeyboardInterrupt:
                self.stop()
        return str(self.state)

    def close(self) -> None:
        """End the run and close every view."""
        if hasattr(self, "_condition"):  # not where the settings were refused
            self.stop()
        super().close()

    @property
    def _outdated(self) -> bool:
        """Whether a run is paused whose settings are no longer those of the controls."""
        job = self._trainer.job
        return self.state == "paused" and job is not None and job.base != self._config

    def _is_settled(self) -> bool:
        return not self._trainer.busy or (self.state == "paused" and not self._control.leaving)

    async def __aiter__(self) -> AsyncIterator[Frame]:
        """Train without a thread: each frame as it is made, on the caller's event loop.

        The run is that of `start`, bit for bit. Between two frames the loop's other tasks get their
        turn, so that a front end can pause the run or change settings where the loop hears it: in a
        notebook within a task, as a cell that awaits hears nothing. Leaving the loop stops the run.

        Raises
        ------
        RuntimeError
            If a run is on.

        Examples
        --------
        >>> import asyncio
        >>> async def train():
        ...     async for frame in fs.Explorer(width=16, epochs=1, train_size=100):
        ...         print(frame.epoch)
        >>> asyncio.run(train())
        0.0
        1.0
        """
        with self._exclusive():
            if self._going:
                raise RuntimeError(f"state={self.state!r}: a run is on; stop it before async for")
            job = self._prepare(self._held)
        async with aclosing(self._trainer.frames(job)) as frames:
            async for frame in frames:
                yield frame

    def _begin(self, job: Job | None = None, *, stepping: bool = False, quiet: float = 0.0) -> None:
        job = self._prepare(job, quiet)
        try:
            self._trainer.begin(job, stepping=stepping, quiet=quiet)
        except Exception as error:
            self.ended(Ending("error", error))

    def _prepare(self, job: Job | None, quiet: float = 0.0) -> Job:
        """Tell that a run begins: `job`, or one with other settings where those have changed."""
        self._clearing, self._held = False, None
        self._error = self._trainer.fault = None
        if job is None or job.config != self._config:
            job = Job(self._config)
        forgotten = lifetime.others_of_cell(self)
        for other in forgotten:
            other.stop()
        said = "The run that this cell began before was stopped." if forgotten else ""
        message = said or (self.message if quiet else "")
        self._tell(state="running", message=message, error_text="")
        return job

    def _released(self) -> None:
        self._trainer.run_pending()

    def _settings_changed(self, former: Config) -> None:
        if self._loading:
            return
        self._arms.clear()
        if self._steered or self._take_up(former):
            return
        if self.state == "paused":
            # A pause is not ended by moving a control.
            self._tell(message=f"{self.message} Paused: going on begins a new run.".strip())
        elif self.state != "idle":
            self._begin(quiet=QUIET)

    def _command(self, name: str, value: Any) -> None:
        if name in ("start", "pause", "resume", "step", "stop", "reset"):
            getattr(self, name)()
        elif name in ("go_on", "branch"):
            try:
                getattr(self, name)(value)
                if name == "branch":  # so that settings can be changed before its first step
                    self._control.pause()
                    self._tell(message="Branched: change what is marked ~, then Resume.")
            except (ValueError, TypeError) as error:
                self._tell(message=str(error))
        elif name == "defaults":
            self._before = None
            self._aside.clear()
            self._adopt(self._first)
        else:
            super()._command(name, value)

    # Beginning and end of its own life.

    def _repr_mimebundle_(self, **options: Any) -> Any:
        lifetime.keep(self)
        return super()._repr_mimebundle_(**options)

    def _forked(self) -> None:
        """In a child process, which has none of the threads, and locks that nobody will release."""
        self._control.condition = threading.Condition()
        self._share_lock()
        self._trainer.forget()
        if self.state in ("running", "paused"):
            self._trait_values["state"] = "finished"


takes_settings(Explorer.__init__)
_own, *_others = list(inspect.signature(Explorer.__init__).parameters.values())[1:]
_presented = [
    inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=value,
        annotation=get_type_hints(Presentation)[name],
    )
    for name, value in DEFAULTS.items()
]
Explorer.__signature__ = inspect.Signature([_own, *_presented, *_others])
