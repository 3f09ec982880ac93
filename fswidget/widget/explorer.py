"""The live widget: a `Viewer` with a trainer behind it.

Training runs in one background thread. What arrives from a front end or from the user's own code
only leaves a wish behind, which the thread reads between two batches. What the thread finds out
leaves through the viewer's stream and traits.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
import sys
import threading
import time
import uuid
import weakref
from typing import Any

from torch import nn

from fswidget.probing.run_control import RunControl
from fswidget.recording.frame import Frame
from fswidget.recording.recording import Recording
from fswidget.training.changes import describe_change
from fswidget.training.config import Config
from fswidget.training.loop import Training
from fswidget.training.signatures import takes_settings
from fswidget.widget import lifetime
from fswidget.widget.experiments import Experiment, experiments, menu
from fswidget.widget.settings import SettingsView
from fswidget.widget.trainer import Ending, Job, Trainer
from fswidget.widget.viewer import log, weak

#: Seconds without another change before a run starts anew: a dragged slider starts one, not many.
QUIET = 0.15


#: Earlier runs that can still be looked at and compared with.
KEPT_RUNS = 8


class Explorer(SettingsView):
    """Train a network and see its features while it learns.

    Parameters
    ----------
    theme, captions
        As for `Viewer`.
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
        The run on show.
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
        captions: bool = True,
        foreground: bool | None = None,
        **settings: Any,
    ) -> None:
        self._error: BaseException | None = None
        # What the cell of a notebook has to do with it; see `lifetime`.
        self._cell: tuple[str, int] | None = None
        self._named = self._clearing = self._loading = False
        #: What an experiment has still to run.
        self._arms: list[Config] = []
        self._past: list[dict[str, Any]] = []
        self._last_config: Config | None = None
        control = RunControl()
        foreground = "google.colab" in sys.modules if foreground is None else foreground
        self._trainer = Trainer(weakref.ref(self), control, foreground=foreground)
        # What happens when a control moves shows most clearly with the squared error.
        settings = {"loss": "mse", **settings}
        super().__init__(
            settings,
            control=control,
            theme=theme,
            captions=captions,
            state="idle",
            _can_train=True,
        )
        self._presets = json.dumps(menu(self.root))
        control.tell = weak(self._halted)
        lifetime.enrol(self)

    @property
    def error(self) -> BaseException | None:
        """What ended the last run, if something did."""
        return self._error

    @property
    def network(self) -> nn.Module | None:
        """The network of the run on show; it stays when a run is stopped."""
        training = self._trainer.training
        return None if training is None else training.model

    # What a user, or a button, asks for.

    def start(self) -> None:
        """Begin a run with the present settings, or go on with a paused one."""
        with self._exclusive():
            if not self._going:
                self._begin()
            elif self.state == "paused":
                self.resume()

    def pause(self) -> None:
        """Halt before the next batch; `resume` goes on."""
        if self._trainer.busy:
            self._control.pause()

    def resume(self) -> None:
        """Go on with a paused run; with other settings by now, begin one with those."""
        with self._exclusive():
            if self._outdated:
                self._begin()
            elif self._trainer.busy:
                self._control.resume()

    def step(self) -> None:
        """Go on to the next frame and pause there; begins a run where there is none."""
        with self._exclusive():
            if not self._going or self._outdated:
                self._begin(stepping=True)
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
        """
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
    def _going(self) -> bool:
        """Whether there is a run that was not told to end."""
        return self._trainer.busy and not (self._control.stopping and not self._trainer.waiting)

    @property
    def _outdated(self) -> bool:
        """Whether a run is paused whose settings are no longer those of the controls."""
        job = self._trainer.job
        return self.state == "paused" and job is not None and job.config != self._config

    def _is_settled(self) -> bool:
        return not self._trainer.busy or (self.state == "paused" and not self._control.leaving)

    def _begin(self, *, stepping: bool = False, quiet: float = 0.0) -> None:
        self._clearing = False
        self._error = self._trainer.fault = None
        forgotten = lifetime.others_of_cell(self)
        for other in forgotten:
            other.stop()
        said = "The run that this cell began before was stopped." if forgotten else ""
        message = said or (self.message if quiet else "")
        self._tell(state="running", message=message, error_text="")
        try:
            self._trainer.begin(Job(self._config), stepping=stepping, quiet=quiet)
        except Exception as error:
            self.ended(Ending("error", error))

    def _released(self) -> None:
        self._trainer.run_pending()

    def _settings_changed(self, former: Config) -> None:
        if self._loading:
            return
        self._arms.clear()
        if self.state == "paused":
            # A pause is not ended by moving a control.
            self._tell(message=f"{self.message} Paused: going on begins a new run.".strip())
        elif self.state != "idle":
            self._begin(quiet=QUIET)

    # What the trainer tells.

    def entered(self, training: Training, job: Job) -> None:
        """A run begins."""
        recording = Recording(training.info)
        run = uuid.uuid4().hex[:12]
        changed = describe_change(self._last_config, job.config) if self._last_config else ""
        self._last_config = job.config
        label = f"{job.config.dataset}, {job.config.model}, p = {recording.info.num_features}"
        self._past.append({"run": run, "label": label, "changed": changed, "frames": 0})
        for old in self._past[: -KEPT_RUNS - 1]:
            self._recordings.pop(old["run"], None)
            self._past.remove(old)
        self._open(run, recording)
        self._tell(_runs=json.dumps(self._past))

    def progressed(self) -> None:
        """A batch follows."""
        self._tell_sometimes(progress=self._progress())

    def took(self, frame: Frame) -> None:
        """A frame was taken."""
        if self.recording is not None:
            self.recording.append(frame)
            self.push()

    def ended(self, ending: Ending) -> None:
        """No run is left."""
        try:
            self._leave()
        except Exception as error:
            if ending.error is None:
                ending = Ending("error", error)
        fault = self._trainer.fault
        if ending.error is not None:
            self._error = ending.error
            if ending.state == "error" and ending.error is not fault:
                log.error("a run failed", exc_info=ending.error)
        if self._clearing:
            self._clear()
            return
        self._tell(state=ending.state, message=self._summary(ending), error_text=ending.traceback)
        if self._trainer.fault is not fault and ending.state != "error":
            # An observer of yours failed at the very end.
            ending = Ending("error", self._trainer.fault)
            self._tell(state="error", message=self._summary(ending), error_text=ending.traceback)
        if self._arms and ending.state == "finished" and not self._control.stopping:
            self._take_over(self._arms[0])
            self._begin()
            del self._arms[0]

    def _summary(self, ending: Ending) -> str:
        if ending.state == "diverged":
            return f"Diverged: {ending.error}. The last good frame stays."
        if ending.error is not None:
            return f"{type(ending.error).__name__}: {ending.error}"
        word = "Stopped" if self._control.stopping else "Finished"
        recording = self.recording
        return f"{word} at epoch {recording[-1].epoch:g}." if recording else f"{word}."

    def _halted(self, state: str) -> None:
        """The run pauses, or goes on."""
        self._tell(state=state, progress=self._progress())
        if state == "paused":
            if self._trainer.fault is not None:
                raise self._trainer.fault
            self.pack()

    def _tell(self, **traits: Any) -> None:
        """Set traits. What an observer raises ends the run, and not the thread that told."""
        try:
            super()._tell(**traits)
        except Exception as error:
            log.error("an observer failed", exc_info=error)
            self._error = self._trainer.fault = error

    def _leave(self) -> None:
        for entry in self._past:
            kept = self._recordings.get(entry["run"])
            entry["frames"] = len(kept) if kept is not None else 0
        self._tell(_runs=json.dumps(self._past), progress=self._progress())
        self.pack()

    def _clear(self) -> None:
        self._clearing = False
        self._recording = None
        self._tell(state="idle", message="", error_text="", run="", num_frames=0)
        self._tell(_packed=b"", progress={}, shown=-1, epoch=None)

    def _progress(self) -> dict[str, Any]:
        training = self._trainer.training
        if training is None:
            return {}
        progress = training.progress
        values = {**dataclasses.asdict(progress), "fraction": progress.fraction}
        # JSON has no NaN, which is how long the first step will take.
        return {name: value if math.isfinite(value) else None for name, value in values.items()}

    def _command(self, name: str, value: Any) -> None:
        if name in ("start", "pause", "resume", "step", "stop", "reset"):
            getattr(self, name)()
        elif name in ("load", "experiment") and isinstance(value, str) and value in experiments():
            self._load(experiments()[value], run=name == "experiment")
        else:
            super()._command(name, value)

    def _load(self, experiment: Experiment, *, run: bool) -> None:
        """Set the controls as for the first arm; `run` it, and then the others."""
        local = {name: getattr(self, name) for name in ("root", "device", "download")}
        first, *others = (arm.replace(**local) for arm in experiment.arms.values())
        self._take_over(first)
        if run:
            self._begin()
            self._arms = others

    def _take_over(self, config: Config) -> None:
        """Set the controls; whoever calls decides whether that begins a run."""
        self._loading = True
        try:
            self._adopt(config)
        finally:
            self._loading = False

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
Explorer.__signature__ = inspect.signature(Explorer.__init__).replace(
    parameters=list(inspect.signature(Explorer.__init__).parameters.values())[1:]
)
