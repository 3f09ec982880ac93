"""Several runs that differ in their seed, trained in turn and shown as one."""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path
from typing import Any

import traitlets

from fswidget.recording.frame import Frame
from fswidget.recording.grid import Sweep
from fswidget.recording.recording import Recording
from fswidget.recording.seeds import mean_of, sweep_of
from fswidget.training.changes import describe_change
from fswidget.training.config import Config
from fswidget.training.loop import Training
from fswidget.widget.continuing import Continuing
from fswidget.widget.trainer import Ending, Job

#: More are a sweep's business.
MOST = 20

_HELP = (
    "Runs that differ in their seed alone, one after the other. Curves show their mean, with one "
    "standard deviation as a band, and the gauge a needle for each. What steers one steers all, at "
    "the same step: those that had ended are trained again. Go on and Branch need a single one."
)

#: As `fswidget.widget.controls` describes settings; this one is none of a single run.
CONTROL = {
    "name": "seeds",
    "label": "Seeds",
    "help": _HELP,
    "group": "advanced",
    "kind": "number",
    "value": 1,
    "choices": None,
    "min": 1,
    "max": MOST,
    "step": 1,
    "log": False,
    "above": False,
    "section": "Measurement",
}


class _Impossible(traitlets.TraitError, ValueError):
    """A value that the trait cannot have."""


class _Count(traitlets.TraitType[int, int]):
    def validate(self, obj: Any, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST:
            raise _Impossible(f"seeds={value!r}: must be an integer from 1 to {MOST}")
        return value


class SeedsView(Continuing):
    """The part of an `Explorer` that trains a run once per seed; see there.

    The first seed's run is on show while it trains. The others train behind it, and each that ends
    joins the mean, which is then on show in its place. A setting that is changed while one is on is
    changed in all, at the same step: those that follow take it up there, and those that had ended
    without it are trained again.
    """

    _further = (*Continuing._further, CONTROL)

    seeds = _Count(1, help=_HELP).tag(sync=True)

    def __init__(self, settings: Any, foreground: bool, **traits: Any) -> None:
        #: By the number of the seed.
        self._done: dict[int, Recording] = {}
        self._behind: Recording | None = None
        super().__init__(settings, foreground, **traits)

    @property
    def recordings(self) -> list[Recording]:
        """The recording of each seed of the runs on show, those that ended and the one that is on;
        `recording` is their mean once there are two.
        """
        with self._exclusive():
            done = self._ended
            on = self._behind if self._done else self.recording
            return done if on is None else [*done, on]

    @property
    def _ended(self) -> list[Recording]:
        return [self._done[nth] for nth in sorted(self._done) if nth < self.seeds]

    def entered(self, training: Training, job: Job) -> None:
        """A run begins, or goes on; of a further seed, behind the one on show."""
        self._behind = None
        if job.following:
            self._behind = Recording(training.info)
            return
        self._done = {}
        super().entered(training, job)

    def took(self, frame: Frame) -> None:
        """A frame was taken."""
        if self._behind is None:
            super().took(frame)
        else:
            self._behind.append(frame)

    def ended(self, ending: Ending) -> None:
        """No run is left, unless further seeds are to follow."""
        whole = ending.error is None and not self._control.stopping and not self._clearing
        ended, job = self._behind or self.recording, self._trainer.job
        if whole and ended is not None and job is not None and self._trainer.entered:
            self._done[job.nth] = ended
            self._show_mean()
            if len(self._ended) < self.seeds and not self._why_single():
                self._begin_next()
                return
        self._behind = None
        super().ended(ending)

    def _summary(self, ending: Ending) -> str:
        said = super()._summary(ending)
        count = len(self._ended)
        return f"{said} Mean of {count} seeds." if count > 1 else said

    def _why_single(self) -> str:
        """Why the run on show cannot be repeated with other seeds; empty where it can."""
        job = self._trainer.job
        if job is None or job.state is not None or job.training is not None:
            return "it went on from an earlier state"
        return ""

    def _begin_next(self) -> None:
        """Train the first seed that is missing, which takes up what those before took up."""
        job, training = self._trainer.job, self._trainer.training
        assert job is not None
        assert training is not None
        nth = min(set(range(self.seeds)) - self._done.keys())
        seed = (job.base.seed + nth) % 2**64
        first = (job.first or job.config).replace(seed=seed)
        config = job.base.replace(seed=seed)
        following = Job(
            config, nth=nth, first=first, history=training.steering.history, following=True
        )
        self._tell(state="running", message=f"Seed {nth + 1} of {self.seeds}.", error_text="")
        self._trainer.begin(following)

    def _show_mean(self) -> None:
        """Show the mean of what has ended in place of what is on show, at the same epoch."""
        ended = self._ended
        shown = mean_of(ended)
        if shown is self.recording or not self._past:
            return
        label = f", mean of {len(ended)} seeds" if len(ended) > 1 else ""
        self._replace(f"{self._past[-1]['run'].split('-')[0]}-{len(ended)}", label, shown)

    def _replace(self, run: str, label: str, shown: Recording) -> None:
        """Show a recording in place of the one on show, at the same epoch."""
        entry, epoch = self._past[-1], self.epoch
        former = entry["run"]
        entry["run"] = run
        entry["label"] = entry["label"].split(", mean")[0] + label
        entry |= {"replaces": former, "frames": len(shown)}
        self._configs[entry["run"]] = self._configs.pop(former)
        del self._recordings[former]
        self._tell(_runs=json.dumps(self._past))
        self._open(entry["run"], shown)
        self._tell(epoch=epoch)

    @traitlets.observe("seeds")
    def _seeds_changed(self, _: Any) -> None:
        """More seeds join what has ended, fewer leave it; the others count from the next run on."""
        with self._exclusive():
            if self.state != "finished" or not self._done or self._trainer.busy:
                return
            why = self._why_single()
            if why and self.seeds > len(self._done):
                self._tell(message=f"One seed, since {why}; the next run has {self.seeds}.")
                return
            job = self._trainer.job
            if job is None or job.base != self._config:
                return
            self._show_mean()
            if self.seeds > len(self._done):
                self._begin_next()
            else:
                self.pack()

    def _page(self) -> Recording | Sweep | None:
        """With a control for the seeds, where there are several."""
        ended = self._ended
        shown = super()._page()
        return sweep_of(ended) if len(ended) > 1 else shown

    # What goes on from the state of one network.

    def _require_one(self, argument: str) -> None:
        if self.seeds > 1:
            raise ValueError(
                f"{argument}: {self.seeds} seeds are on show; must be one run (seeds=1)"
            )

    def go_on(self, epochs: int) -> None:
        self._require_one(f"epochs={epochs!r}")
        super().go_on(epochs)

    def branch(self, epoch: float | None = None, **settings: Any) -> None:
        self._require_one(f"epoch={epoch!r}")
        super().branch(epoch, **settings)

    def save(self, folder: str | os.PathLike[str]) -> Path:
        self._require_one(f"folder={str(folder)!r}")
        return super().save(folder)

    def _take_up(self, former: Config) -> bool:
        if not super()._take_up(former):
            return False
        if self._behind is not None:
            # Those that ended did so without it.
            again, self._done = len(self._ended), {}
            shown, self._behind = self._behind, None
            self._replace(uuid.uuid4().hex[:12], "", shown)
            what = describe_change(former, self._config)
            self._tell(message=f"{what}: {again} of {self.seeds} seeds had ended, and train again.")
        return True


for _name in ("go_on", "branch", "save"):
    getattr(SeedsView, _name).__doc__ = getattr(Continuing, _name).__doc__
