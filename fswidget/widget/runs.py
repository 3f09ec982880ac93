"""A view of the runs that a trainer makes: what it tells, and the runs before."""

from __future__ import annotations

import dataclasses
import json
import math
import uuid
import weakref
from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from fswidget.probing.run_control import RunControl
from fswidget.recording.frame import Frame
from fswidget.recording.recording import Recording
from fswidget.training.changes import describe_change
from fswidget.training.config import Config
from fswidget.training.loop import Training
from fswidget.training.optimisation import Progress
from fswidget.widget import warming
from fswidget.widget.settings import SettingsView
from fswidget.widget.trainer import Ending, Job, Trainer
from fswidget.widget.viewer import log, weak

#: Earlier runs that can still be looked at and compared with.
KEPT_RUNS = 8

#: Measuring more features than these takes long enough to be announced (our choice).
WIDE = 1024
MEASURING = "Measuring"


class RunsView(SettingsView):
    """A view with a trainer, which says what happens to the runs it is given.

    Parameters
    ----------
    settings : mapping
        Those of `Config`.
    foreground : bool
        See `Trainer`.
    **traits
        Of the viewer.
    """

    def __init__(self, settings: Mapping[str, Any], foreground: bool, **traits: Any) -> None:
        self._error: BaseException | None = None
        self._clearing = False
        self._past: list[dict[str, Any]] = []
        self._configs: dict[str, Config] = {}
        control = RunControl()
        self._trainer = Trainer(weakref.ref(self), control, foreground=foreground)
        super().__init__(settings, control=control, state="idle", **traits)
        control.tell = weak(self._halted)

    def _handle_custom_msg(self, content: Any, buffers: Any) -> None:
        super()._handle_custom_msg(content, buffers)
        # A view asks for what there is: somebody looks at it, and may press Start.
        if self.state == "idle" and isinstance(content, dict) and content.get("type") == "sync":
            warming.begin()

    @property
    def error(self) -> BaseException | None:
        """What ended the last run, if something did."""
        return self._error

    @property
    def network(self) -> nn.Module | None:
        """The network of the run on show; it stays when a run is stopped."""
        training = self._trainer.training
        return None if training is None else training.model

    # What the trainer tells.

    def entered(self, training: Training, job: Job) -> None:
        """A run begins, or goes on."""
        if job.recording is not None:
            job.recording.info = training.info
            return
        self._enter(Recording(training.info), job)
        if job.frame is not None:
            self.took(job.frame)

    def _enter(self, recording: Recording, job: Job) -> None:
        """Show another run."""
        # One that was left before it got anywhere is nothing to look back at.
        self._forget([old for old in self._past if len(self._recordings[old["run"]]) < 2])
        run = uuid.uuid4().hex[:12]
        config = job.config
        before = self._configs[self._past[-1]["run"]] if self._past else config
        changed = describe_change(before, config)
        self._configs[run] = config
        label = f"{config.dataset}, {config.model}, p = {recording.info.num_features}"
        # Frames of a recording that goes on, or is only played, are there already.
        entry = {"run": run, "label": label, "changed": changed, "frames": len(recording)}
        if job.parent:
            entry |= {"parent": job.parent, "epoch": job.epoch}
            entry["changed"] = f"branch at epoch {job.epoch:g}" + (changed and f", {changed}")
        self._past.append(entry)
        self._forget(self._past[: -KEPT_RUNS - 1])
        self._open(run, recording)
        self._tell(_runs=json.dumps(self._past))

    def _forget(self, entries: Iterable[dict[str, Any]]) -> None:
        for old in entries:
            self._past.remove(old)
            del self._recordings[old["run"]], self._configs[old["run"]]

    def progressed(self) -> None:
        """A batch follows, or a frame."""
        self._tell_sometimes(progress=self._progress())
        training, recording = self._trainer.training, self.recording
        if training is not None and recording is not None and (training.due or not len(recording)):
            p = recording.info.num_features
            if p > WIDE:
                last = recording[-1].scalars["analysis_seconds"] if len(recording) else 0.0
                took = f", which took {last:.0f} s last time" if last >= 1 else ""
                self._tell(message=f"{MEASURING} {p:,} features{took} …")

    def took(self, frame: Frame) -> None:
        """A frame was taken."""
        if self.recording is not None:
            self.recording.append(frame)
            self.push()
        if self.message.startswith(MEASURING):
            self._tell(message="")

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
        self._tell(_packed=b"", progress={}, epoch=None)

    def _progress(self) -> dict[str, Any]:
        training = self._trainer.training
        return described(None if training is None else training.progress)


def described(progress: Progress | None) -> dict[str, Any]:
    """How far a run is, as JSON types."""
    if progress is None:
        return {}
    values = {**dataclasses.asdict(progress), "fraction": progress.fraction}
    # JSON has no NaN, which is how long the first step will take.
    return {name: value if math.isfinite(value) else None for name, value in values.items()}
