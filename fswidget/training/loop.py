"""Training: a plain iterator of frames, without thread or widget."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from fswidget.probing.linear_theory import with_theory
from fswidget.probing.probe import Probe
from fswidget.probing.threads import threads
from fswidget.recording.frame import Frame, RunInfo
from fswidget.training.batches import Start
from fswidget.training.config import Config
from fswidget.training.frame_schedule import FrameSchedule
from fswidget.training.isolation import isolated
from fswidget.training.learner import Learner
from fswidget.training.optimisation import Clock, Progress, check_frozen, learning_rate
from fswidget.training.steering import AT_START, Steering, config_of, restoring, shows_the_same

#: Settings that the probe has under the same names.
_MEASURED = ("layers", "num_eigenfunctions", "num_shown", "more_measures", "ntk")


class Training(Learner):
    """One run, to be iterated over once; iterating trains.

    Parameters
    ----------
    config : Config
    keep_going : callable, optional
        Called before every batch and every analysis. It may block, which pauses the run; when it
        returns False the iteration ends, and `model` stays as it is.
    state : mapping, optional
        An earlier run's `state_dict`: the run goes on from there, on a CPU bit for bit as if it had
        not stopped. Its first frame is of the restored network.
    on_epoch : callable, optional
        Called after each epoch, once its frame, where it has one, has been made use of: a good
        moment to keep `state_dict`.
    planned : sequence of (int, dict)
        Settings that change by themselves and at which steps, as ``steering.history`` of another
        run has them; `change` takes their place.

    Attributes
    ----------
    info : RunInfo
    model : torch.nn.Module
    step, total_steps, steps_per_epoch : int
    progress : Progress
        May be read from another thread.
    cadence : FrameSchedule
        When frames come and what they cost; ``str(training.cadence)`` says it in words, as does
        ``frame.labels["cadence"]``.
    threads : int
        Threads of the CPU that the training uses, fewer for small networks; torch's own setting is
        put back whenever a frame is handed out.

    Raises
    ------
    FileNotFoundError
        If the files of the data set are missing.
    ValueError
        If one of them is damaged, the device is not there, or `state` is of another run.
    TypeError
        If `config` is no `Config`.
    Diverged
        While iterating, if the loss or the features are no longer finite.

    Notes
    -----
    Batch order and augmentation depend on the seed and the step alone, so neither the cadence of
    the frames nor a pause changes what is learned. A network of your own that draws random numbers
    (dropout) draws them from torch's global generator.
    """

    def __init__(
        self,
        config: Config,
        *,
        keep_going: Callable[[], bool] | None = None,
        state: Mapping[str, Any] | None = None,
        on_epoch: Callable[[], None] | None = None,
        planned: Sequence[tuple[int, Mapping[str, Any]]] = (),
    ) -> None:
        if not isinstance(config, Config):
            raise TypeError(f"config={config!r}: must be a fswidget.Config")
        self._keep_going = keep_going or (lambda: True)
        self._on_epoch = on_epoch or (lambda: None)
        self.steering = Steering(config, planned)
        with isolated():
            with threads.use(1):  # what data and first statistics round to is no matter of threads
                super().__init__(config)
            with threads.use(self.threads):
                self._begin(state)

    def _begin(self, state: Mapping[str, Any] | None) -> None:
        config = self.config
        self._told = 0  # of the last epoch that `on_epoch` was told of
        # Since the last frame, and whether one is owed.
        self._loss_sum = torch.zeros((), device=self.device, dtype=torch.float32)
        self._loss_samples = 0
        self._lr, self.due = config.lr, False
        # Reading a loss makes a GPU wait; a CPU has it at hand.
        self._reads_each_loss = self.device.type == "cpu"
        self.cadence = FrameSchedule(
            config.frame_every, config.analysis_budget, self.steps_per_epoch, self.total_steps
        )
        self.probe = self._make_probe(self.model)
        self._clock = Clock()
        if state is not None:
            self._restore(state)
        self.progress = self._progress()

    def _make_probe(self, model: nn.Module) -> Probe:
        config, data = self.config, self.data
        return Probe(
            model,
            data.inputs[: data.probe_size],
            data.targets[: data.probe_size],
            task=config.task,
            class_names=data.class_names or None,
            images=data.images,
            held_out=(data.test_inputs, data.test_targets),
            **{name: getattr(config, name) for name in _MEASURED},
            device=self.device,
            config=config.to_dict(),
            title=f"{config.model} on {config.dataset}, p = {self._num_features}",
        )

    def change(self, **settings: Any) -> Config:
        """Change settings while the run goes on; they come into force before its next step.

        May be called from any thread, and after the run's end: a larger `epochs` lets it go on,
        with ``training.frames(first=False)``. Each change is written into ``labels["changes"]`` of
        the frames that follow, one line per change.

        Parameters
        ----------
        **settings
            Of those in `fswidget.training.steering.STEERABLE`.

        Returns
        -------
        Config
            As it will be in force.

        Raises
        ------
        ValueError
            If a setting cannot change during a run, or a value is impossible beside the others.
        TypeError
            If there is no such setting.

        Examples
        --------
        >>> config = fs.Config(width=16, epochs=2, train_size=100, probe_size=100)
        >>> training = Training(config)
        >>> frames = iter(training)
        >>> first, changed = next(frames), training.change(lr=1e-4)
        >>> [frame.labels["changes"] for frame in frames][-1]
        'step 0 (epoch 0): lr 0.001 → 0.0001'
        """
        check_frozen(settings.get("frozen"), self.model)
        return self.steering.want(settings)

    def _take_up(self) -> None:
        """Bring into force what was asked for."""
        old, new = self.config, self.steering.due(self.step)
        if new is old or new == old:
            return
        self.steering.note(old, new, self.step, self._batches.epochs(self.step))
        if self._adopt(new):
            self.probe.retarget(self.data.targets[: self.data.probe_size])
        self.cadence.follow(
            new.frame_every, new.analysis_budget, self.steps_per_epoch, self.total_steps
        )

    @classmethod
    def branch(
        cls,
        state: Mapping[str, Any],
        *,
        keep_going: Callable[[], bool] | None = None,
        on_epoch: Callable[[], None] | None = None,
        **settings: Any,
    ) -> Training:
        """A run that goes on from an earlier one's `state_dict` with other settings.

        With none changed it is the earlier run, on a CPU bit for bit.

        Parameters
        ----------
        state : mapping
        keep_going, on_epoch
            As for `Training`.
        **settings
            As for `change`, and those that say where it runs and what it shows (``device``, …);
            a ``model`` or ``dataset`` of your own again, which no state keeps.

        Raises
        ------
        ValueError, TypeError
            As `Training` and `change` do.
        """
        config = config_of(state, settings)
        free = {name: settings.pop(name) for name in AT_START & settings.keys()}
        training = cls(
            config.replace(**free), keep_going=keep_going, state=state, on_epoch=on_epoch
        )
        training.change(**settings)
        training._take_up()
        training.probe.recording.info = replace(training.info, config=training.config.to_dict())
        return training

    @property
    def info(self) -> RunInfo:
        """What does not change during the run."""
        return self.probe.recording.info

    @property
    def finished(self) -> bool:
        """Whether all steps are done, and all frames made."""
        return self.step >= self.total_steps and not self.due

    def __iter__(self) -> Iterator[Frame]:
        return self.frames()

    def frames(self, *, first: bool = True) -> Iterator[Frame]:
        """Train and yield frames, the first of them of the network as it is, if `first`."""
        with self._running():
            if first and not self.due:
                frame = self._frame() if self._may_go_on() else None
            else:
                frame = self._advance()
        while frame is not None:
            yield frame
            with self._running():
                frame = self._advance()

    def _advance(self) -> Frame | None:
        """Train until the next frame is due; None where the run ends."""
        while True:
            if self.due:
                return self._frame_of_interval() if self._may_go_on() else None
            self._end_epoch()
            self._take_up()
            if not self._learn():
                return None

    def _learn(self) -> bool:
        """One step, unless the run is at its end or is to end."""
        if not (self.step < self.total_steps and self._may_go_on()):
            return False
        self._take_up()  # what was asked for in a pause
        self._lr = learning_rate(self.config, self.step, self.total_steps)
        loss, count = self._train_step(self._lr)
        self.step += 1
        self._loss_sum += loss * count
        self._loss_samples += count
        if self._reads_each_loss:
            self._check_finite(float(loss))
        self.progress = self._progress()
        ended = self._batches.ends_epoch(self.step)
        self.due = self.cadence.due(self.step, self._clock.seconds, ended)
        if ended and not (self.due or self._reads_each_loss):
            # The sum is finite only if every loss was.
            self._check_finite(float(self._loss_sum))
        return True

    def _end_epoch(self) -> None:
        if self._batches.ends_epoch(self.step) and self.step > self._told:
            self._told = self.step
            with self._clock.stopped():
                self._on_epoch()

    def _frame_of_interval(self) -> Frame:
        """A frame with the mean loss of a sample since the last one."""
        frame = self._frame(loss=self._mean_loss(), lr=self._lr)
        self._begin_interval()  # only now: an interrupt leaves the frame due
        return frame

    def _mean_loss(self) -> float:
        self._check_finite(mean := float(self._loss_sum) / self._loss_samples)
        return mean

    def _begin_interval(self) -> None:
        self._loss_sum, self._loss_samples = torch.zeros_like(self._loss_sum), 0
        self.due = False

    def _frame(self, **scalars: float) -> Frame:
        before = self._clock.seconds
        scalars.setdefault("lr", learning_rate(self.config, self.step, self.total_steps))
        frame = self.probe.frame(
            self._batches.epochs(self.step), self.step, seconds=before, **scalars
        )
        after = self._clock.seconds
        self.cadence.took(before, after)
        self.progress = self._progress()
        labels = {**frame.labels, "cadence": str(self.cadence), **self._labels()}
        return with_theory(replace(frame, labels=labels), self._exact())

    def _labels(self) -> dict[str, str]:
        return {"changes": "\n".join(self.steering.events)} if self.steering.events else {}

    def _may_go_on(self) -> bool:
        with self._clock.stopped():
            return self._keep_going()

    @contextmanager
    def _running(self) -> Iterator[None]:
        """The clock runs, and the threads are those chosen for this network."""
        with isolated(), threads.use(self.threads), self._clock.running():
            yield

    def _progress(self) -> Progress:
        seconds, epochs = self._clock.seconds, self._batches.epochs
        done = self.step - self._clock.first_step
        left = (self.total_steps - self.step) * seconds / done if done else math.nan
        steps = self.step, self.total_steps
        return Progress(epochs(self.step), epochs(self.total_steps), *steps, seconds, left)

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on later: a copy that ``torch.save`` takes.

        ``torch.load(path, weights_only=True)`` reads it back.
        """
        return {
            "config": self.config.to_dict(),
            "step": self.step,
            "model": copy.deepcopy(self.model.state_dict()),
            "optimizer": copy.deepcopy(self._optimizer.state_dict()),
            "loss": (self._loss_sum.clone(), self._loss_samples),
            "lr": self._lr,
            "due": self.due,
            "batches": tuple(self._batches.start),
            "changes": list(self.steering.events),
            "seconds": self._clock.seconds,
            "cadence": self.cadence.state_dict(),
            "probe": [torch.tensor(array) for array in self.probe.previous or ()],
            "regime": self.probe.regime,
            "initial": self._initial_statistics(),
        }

    def _restore(self, state: Mapping[str, Any]) -> None:
        if state.get("probe", True):  # else the first frame is still to be made
            with self._running():
                self.probe.frame(0.0, 0)  # of the untrained network: kernel drift is from there
        with restoring(state, self.config) as earlier:
            self.model.load_state_dict(state["model"])
            self._optimizer.load_state_dict(state["optimizer"])
            self._take_statistics(state.get("initial", {}))
            self.step = self._told = int(state["step"])
            self._clock = Clock(self.step)
            self.cadence.resume(self.step)
            if "loss" in state:
                self._continue(state, earlier)

    def _continue(self, state: Mapping[str, Any], earlier: Config) -> None:
        """Take over what only numbers about the run depend on: loss, time and alignment."""
        loss, self._loss_samples = state["loss"]
        self._lr, self.due = state["lr"], state["due"]
        self._batches = self._divide(Start(*state["batches"]))
        self.steering.events = list(state["changes"])
        self._loss_sum = loss.to(self.device, copy=True)
        self._clock = Clock(total=float(state["seconds"]))
        self.cadence.load_state_dict(state["cadence"])
        if state["probe"] and shows_the_same(earlier, self.config):
            vectors, points = (tensor.numpy() for tensor in state["probe"])
            self.probe.previous, self.probe.regime = (vectors, points), state.get("regime")


def train(config: Config, *, state: Mapping[str, Any] | None = None) -> Iterator[Frame]:
    """Train a network and yield its frames; frame 0 is the untrained network.

    Parameters
    ----------
    config : Config
    state : mapping, optional
        An earlier run's `Training.state_dict`, to go on from.

    Raises
    ------
    FileNotFoundError, ValueError, TypeError
        At once, as `Training` does.
    Diverged
        While iterating, if the loss or the features are no longer finite.

    Examples
    --------
    >>> config = fs.Config(width=16, epochs=2, train_size=100, probe_size=100, frame_every="epoch")
    >>> [frame.epoch for frame in fs.train(config)]
    [0.0, 1.0, 2.0]
    """
    return iter(Training(config, state=state))
