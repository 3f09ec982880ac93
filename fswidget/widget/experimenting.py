"""The experiments of the menu: run arm after arm, or played from what was recorded."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fswidget.training.config import Config
from fswidget.widget.experiments import Experiment, experiments
from fswidget.widget.linked_explorer import LinkedExplorer
from fswidget.widget.settings import LOCAL
from fswidget.widget.trainer import Ending, Job


class Experimenting(LinkedExplorer):
    """The part of an `Explorer` that performs experiments; see there for its parameters."""

    def __init__(self, settings: Any, foreground: bool, **traits: Any) -> None:
        self._loading = False
        #: What an experiment has still to run, what is to be played once a run has ended, and the
        #: settings before.
        self._arms: list[Config] = []
        self._to_play: Experiment | None = None
        self._before: Config | None = None
        super().__init__(settings, foreground, **traits)

    def _command(self, name: str, value: Any) -> None:
        known = experiments()
        if name == "load" and value == "":
            self._leave_experiment()
        elif name in ("load", "experiment", "fetch") and isinstance(value, str) and value in known:
            experiment = known[value]
            if self._is_locked(experiment):
                return
            if experiment.recorded and name == "experiment":
                self._play(experiment)
            else:
                self._load(experiment, run=name != "load", download=name == "fetch")
        else:
            super()._command(name, value)

    def _load(self, experiment: Experiment, *, run: bool, download: bool = False) -> None:
        """Set the controls as for the first arm; `run` it, and then the others."""
        local = {name: getattr(self, name) for name in LOCAL}
        local["download"] |= download
        first, *others = (arm.replace(**local) for arm in experiment.configs())
        self._before = self._before or self._config
        self._show_settings(first)
        if run:
            self._begin()
            self._arms = others

    def _is_locked(self, experiment: Experiment) -> bool:
        """Whether it needs another value of a setting that is locked, which is then said."""
        locked = set(self.lock) & set(vars(self._config)) - LOCAL
        configs = experiment.configs() if locked else []  # which reads what was recorded
        for name in locked:
            if any(getattr(config, name) != getattr(self, name) for config in configs):
                self._tell(message=f"{name} is locked, and this experiment needs another one.")
                return True
        return False

    def _play(self, experiment: Experiment) -> None:
        """Show what was recorded, once no run is on."""
        self._arms.clear()
        with self._exclusive():
            if self._trainer.busy:
                self._to_play = experiment
                self._trainer.cancel()
            else:
                self._show(experiment)

    def _show(self, experiment: Experiment) -> None:
        """One arm as the ghost of the next; the controls say how it ran."""
        self._before = self._before or self._config
        self._trainer.leave()
        for recording in experiment.recordings():
            config = Config.from_dict(recording.config)
            self._show_settings(replace(config, root=self.root, device=self.device))
            self._enter(recording, Job(self._config))
        self._tell(state="finished", message="Played from a recording.", error_text="")
        self._tell(progress={})
        self.pack()

    def _leave_experiment(self) -> None:
        """Set the controls as they were before it."""
        self._arms.clear()
        if self._before is not None:
            self._show_settings(self._before)
            self._tell(message="The settings are those from before the experiment.")
        self._before = None

    def _show_settings(self, config: Config) -> None:
        """Set the controls; whoever calls decides whether that begins a run."""
        self._loading = True
        try:
            self._adopt(config)
        finally:
            self._loading = False

    def ended(self, ending: Ending) -> None:
        """No run is left; an experiment goes on with its next arm."""
        super().ended(ending)
        waiting, self._to_play = self._to_play, None
        if waiting is not None:
            self._show(waiting)
        elif self._arms and self.state == "finished" and not self._control.stopping:
            self._show_settings(self._arms[0])
            self._begin()
            del self._arms[0]
