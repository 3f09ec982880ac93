"""Runs that go on: for longer, on another day, another way, with other settings."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import traitlets

from fswidget.training.config import Config
from fswidget.training.run_folder import RunFolder
from fswidget.training.steering import STEERABLE, config_of
from fswidget.widget.runs import RunsView, described
from fswidget.widget.trainer import Job

_STEER = (
    "On: the settings marked ~ change the run that is on, from its next step. Off: they begin a "
    "new run, as the others do."
)

#: As `fswidget.widget.controls` describes settings; this one is none of a run.
CONTROL = {
    "name": "steer",
    "label": "~ steers this run",
    "help": _STEER,
    "group": "advanced",
    "kind": "checkbox",
    "value": True,
    "section": "Optimisation",
}


class Continuing(RunsView):
    """The part of an `Explorer` that does not begin from nothing; see there for its parameters."""

    _further: tuple[dict[str, Any], ...] = (CONTROL,)

    steer = traitlets.Bool(
        True, help="whether settings that a run can take up while it is on do not begin another"
    ).tag(sync=True)

    def __init__(self, settings: Any, foreground: bool, **traits: Any) -> None:
        # A run that was read from files, until it goes on.
        self._held: Job | None = None
        self._steered = False
        super().__init__(settings, foreground, **traits)

    def resume(self) -> None:
        """Go on with a paused run."""
        raise NotImplementedError

    def _begin(self, job: Job | None = None) -> None:
        raise NotImplementedError

    @property
    def _going(self) -> bool:
        """Whether there is a run that was not told to end."""
        return self._trainer.busy and not (self._control.stopping and not self._trainer.waiting)

    def go_on(self, epochs: int) -> None:
        """Train a run for more epochs, from where it is: one that has ended, or is on.

        Parameters
        ----------
        epochs : int
            How many more; `epochs` is then all of them.

        Raises
        ------
        ValueError
            If there is no run to go on with, or the number is impossible.

        Examples
        --------
        >>> explorer = fs.Explorer(width=16, epochs=2, train_size=100, frame_every="epoch")
        >>> explorer.start()
        >>> explorer.wait()
        'finished'
        >>> explorer.go_on(epochs=1)
        >>> explorer.wait(), [frame.epoch for frame in explorer.recording]
        ('finished', [0.0, 1.0, 2.0, 3.0])
        """
        with self._exclusive():
            training, held, recording = self._trainer.training, self._held, self.recording
            if recording is None or not (held or (training and self._trainer.entered)):
                raise ValueError(f"epochs={epochs!r}: there is no run to go on with")
            config = held.config if held else training.config  # type: ignore[union-attr]
            if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 1:
                raise ValueError(f"epochs={epochs!r}: must be an integer ≥ 1")
            config = config.replace(epochs=config.epochs + epochs)
            if held is not None:
                job = replace(held, config=config)
            else:
                assert training is not None
                training.change(epochs=config.epochs)
                job = Job(config, training=training, recording=recording)
            self._take_over(config, job)
            if self._going:
                self.resume()
            else:
                self._begin(job)

    def branch(self, epoch: float | None = None, **settings: Any) -> None:
        """Begin a run from the kept state of the run on show that is nearest to `epoch`.

        States are kept at the beginning and twice per doubling of the epoch, within
        `checkpoints.BYTE_BUDGET`. With nothing changed the branch is, on a CPU, its parent bit for
        bit.

        Parameters
        ----------
        epoch : float, optional
            The epoch on show, if not given.
        **settings
            Those that a run can take up (`fswidget.training.steering.STEERABLE`).

        Raises
        ------
        ValueError
            If no state is kept, or a setting would begin a new run.
        """
        with self._exclusive():
            wanted = self.epoch if epoch is None else epoch
            if self.recording is None:
                raise ValueError(f"epoch={epoch!r}: there is no run to branch from")
            if wanted is None:
                wanted = self.recording[-1].epoch
            found, state = self._trainer.checkpoints.nearest(wanted)
            training = self._trainer.training
            like = None if training is None else training.config
            config = Config.from_dict(state["config"], like=like).replace(**settings)
            for name in settings.keys() - set(STEERABLE):
                raise ValueError(
                    f"{name}={settings[name]!r}: begins a new run; a branch takes "
                    f"{', '.join(STEERABLE)}"
                )
            own = {"model": config.model, "dataset": config.dataset}
            changes = {"epochs": config.epochs, **settings, **own}
            frame = next((f for f in self.recording if f.step == state["step"]), None)
            origin = {"parent": self.run, "epoch": found, "frame": frame}
            job = Job(config, state=state, changes=changes, **origin)
            self._take_over(config, None)
            self._begin(job)

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Keep the run in a folder: network, optimiser, what draws at random, and the recording.

        May be called while the run is on; `load` goes on from there.

        Parameters
        ----------
        folder : path
            Made where it is missing; ``state.pt`` in it is read with ``weights_only=True``.

        Returns
        -------
        pathlib.Path
            The folder.

        Raises
        ------
        ValueError
            If there is no run yet.
        """
        training, recording = self._trainer.training, self.recording
        if training is None or recording is None or not self._trainer.entered:
            raise ValueError(f"folder={str(folder)!r}: there is no run to keep")
        kept = RunFolder(folder)
        self._trainer.between_steps(lambda: kept.keep(training, recording))
        return kept.path

    @classmethod
    def load(cls, folder: str | os.PathLike[str], **options: Any) -> Self:
        """An explorer with a run that `save` kept, paused where it was; on a CPU it goes on bit for
        bit as if it had not stopped.

        Parameters
        ----------
        folder : path
        **options
            Of the explorer, and ``root``, ``download`` and ``device``; ``model`` and ``dataset``
            again where they are your own, which no file keeps.

        Raises
        ------
        FileNotFoundError
            If the folder holds no run.
        ValueError
            If a file is damaged, or the network or data set was one of your own and is not given.
        """
        if not (Path(folder).expanduser() / "state.pt").is_file():
            raise FileNotFoundError(f"folder={str(folder)!r}: holds no run that save has kept")
        kept = RunFolder(folder)
        state, progress = kept.state(), kept.progress()
        assert state is not None
        config = config_of(state, options)
        made = cls(**{**vars(config), **options})
        recording = kept.recording()
        job = Job(made.config, state=state, recording=recording)
        made._enter(recording, job)
        done = progress is not None and progress.step >= progress.total_steps
        made._held = job
        made._tell(state="finished" if done else "paused", message=f"Read from {kept.path.name}.")
        made._tell(progress=described(progress))
        made.pack()
        return made

    def _take_over(self, config: Config, job: Job | None) -> None:
        """Show settings that a run has taken up."""
        self._steered = True
        try:
            self._adopt(config)
        finally:
            self._steered = False
        if job is not None and self._going:
            self._trainer.job = job

    def _take_up(self, former: Config) -> bool:
        """Have the run that is on go on with the present settings; whether it can."""
        training, config = self._trainer.training, self._config
        changed = {n: v for n, v in vars(config).items() if v != getattr(former, n)}
        job, on = self._trainer.job, self._going and not self._trainer.waiting
        if not (self.steer and on and self._trainer.entered and training and job):
            return False
        if job.base != former or changed.keys() - set(STEERABLE):
            return False
        try:
            training.change(**changed)
        except ValueError:
            return False
        config = config.replace(seed=job.config.seed)
        self._trainer.job = replace(job, config=config, first=job.first or job.config)
        return True
