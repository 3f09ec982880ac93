"""Watching a run of Lightning's or Hugging Face's trainer.

Both libraries are optional and imported when a callback is made. In a loop of your own no callback
is needed: ``with fs.watch(...) as probe`` is a plain context manager.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch.distributed as dist
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from fswidget.probing.watching import StopTraining, Watch
from fswidget.recording.frame import Frame

if TYPE_CHECKING:
    from lightning.pytorch import Callback, Trainer
    from transformers import TrainerCallback


class _Snapshots:
    """Takes the snapshots of a trainer's runs; each run goes on with the numbers of the last."""

    def __init__(self, probe: Watch, every_n_steps: int | None) -> None:
        if not isinstance(probe, Watch):
            raise TypeError(f"probe={probe!r}: must be what fs.watch returns")
        if every_n_steps is not None and (not isinstance(every_n_steps, int) or every_n_steps < 1):
            raise ValueError(f"every_n_steps={every_n_steps!r}: must be an integer ≥ 1, or None")
        self.probe = probe
        self.every_n_steps = every_n_steps
        self._broken = False
        self._before = 0.0, 0
        self._losses: Tensor | float = 0.0
        self._num_losses = 0

    @contextmanager
    def harmless(self) -> Iterator[None]:
        """Whatever fails within ends the watching with a warning, and not the training."""
        try:
            yield
        except Exception as error:
            warnings.warn(f"watching ended: {error or type(error).__name__}", stacklevel=4)
            self._broken = True

    def begin(
        self, epoch: float, step: int, lr: float | None, group: dist.ProcessGroup | None
    ) -> bool:
        """A run begins, at an epoch and a step as the trainer counts; whether it may go on."""
        self._broken = False
        self._losses, self._num_losses = 0.0, 0
        last_epoch, last_step = self.probe.last
        self._before = max(0.0, last_epoch - epoch), max(0, last_step - step)
        if group is not None:
            self.probe.share(group)
        if self.probe.sent_here:
            warnings.warn(
                "the frames of this run stay in the process that the trainer started, and the one "
                "that started it gets none: keep them with watch(on_frame=…)",
                stacklevel=4,
            )
        return self.take(epoch, step, lr)

    def add_loss(self, loss: Any) -> None:
        # A running sum where the loss lives: reading it at every step would wait for the GPU.
        self._losses = self._losses + (loss.detach() if isinstance(loss, Tensor) else loss)
        self._num_losses += 1

    def take(self, epoch: float, step: int, lr: float | None = None) -> bool:
        """One snapshot, unless there was one since the last step; whether the run may go on."""
        epoch, step = epoch + self._before[0], step + self._before[1]
        if self._broken or epoch <= self.probe.last[0] or step <= self.probe.last[1]:
            return True
        scalars = {} if lr is None else {"lr": lr}
        if self._num_losses:
            scalars["loss"] = float(self._losses) / self._num_losses
            self._losses, self._num_losses = 0.0, 0
        try:
            self.probe.snapshot(epoch, step, **scalars)
        except StopTraining:
            return False
        return True

    def finish(self) -> None:
        if not self._broken:
            self.probe.finish()


@contextmanager
def _needs(package: str) -> Iterator[None]:
    """Say what to install where an import within fails."""
    try:
        yield
    except ImportError as error:
        raise ImportError(
            f"{package}_callback: needs {package}; install it with "
            f"`pip install 'fswidget[{package}]'`"
        ) from error


def lightning_callback(probe: Watch, *, every_n_steps: int | None = None) -> Callback:
    """A Lightning callback that takes a snapshot before training and after every epoch.

    Parameters
    ----------
    probe : Watch
        What ``fs.watch(module, inputs, targets)`` returned; `module` may be the LightningModule
        whose ``forward`` gives the outputs, or a network in it.
    every_n_steps : int, optional
        Optimiser steps from one snapshot to the next; by default one snapshot per epoch.

    Returns
    -------
    lightning.pytorch.Callback
        Stop in the view ends the run as ``trainer.should_stop`` does. With DDP the work is shared.
        Another ``fit`` goes on with the numbers of the last frame. What fails here is a warning.

    Raises
    ------
    ImportError
        If ``lightning`` is not installed.
    """
    with _needs("lightning"):
        from lightning.pytorch import Callback, LightningModule

    snapshots = _Snapshots(probe, every_n_steps)

    class FeatureSpectrum(Callback):
        """Feature spectra of a Trainer's run."""

        def __reduce__(self) -> tuple[Any, ...]:
            return partial(lightning_callback, every_n_steps=every_n_steps), (probe,)

        def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
            with snapshots.harmless():
                wrapped = trainer.strategy.model
                group = None
                if isinstance(wrapped, DistributedDataParallel):
                    group = wrapped.process_group
                now = trainer.current_epoch, trainer.global_step, _lr(trainer)
                self._obey(trainer, snapshots.begin(*now, group))

        def on_train_batch_end(
            self,
            trainer: Trainer,
            module: LightningModule,
            outputs: Any,
            batch: Any,
            batch_idx: int,
        ) -> None:
            with snapshots.harmless():
                loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
                if loss is not None:
                    snapshots.add_loss(loss)
                if every_n_steps is not None and trainer.global_step % every_n_steps == 0:
                    self._take(trainer, _share(trainer, batch_idx + 1))

        def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
            if every_n_steps is None:
                with snapshots.harmless():
                    self._take(trainer, 1)

        def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
            with snapshots.harmless():
                snapshots.finish()

        def _take(self, trainer: Trainer, share: float) -> None:
            now = trainer.current_epoch + share, trainer.global_step, _lr(trainer)
            self._obey(trainer, snapshots.take(*now))

        def _obey(self, trainer: Trainer, go_on: bool) -> None:
            if not go_on:
                trainer.should_stop = True

    return FeatureSpectrum()


def _lr(trainer: Trainer) -> float | None:
    return trainer.optimizers[0].param_groups[0]["lr"] if trainer.optimizers else None


def _share(trainer: Trainer, batches: int) -> float:
    """Of an epoch, that so many batches are; of a stream without end it grows towards one."""
    total: float = trainer.num_training_batches
    return batches / total if math.isfinite(total) else batches / (batches + 1)


def transformers_callback(probe: Watch, *, every_n_steps: int | None = None) -> TrainerCallback:
    """A callback for Hugging Face's ``Trainer``: a snapshot before training and after every epoch.

    Parameters
    ----------
    probe : Watch
        What ``fs.watch(model, inputs, targets)`` returned, with the same `model` as the trainer's;
        `inputs` may be the dict that a tokenizer returns.
    every_n_steps : int, optional
        Optimiser steps from one snapshot to the next; by default one snapshot per epoch.

    Returns
    -------
    transformers.TrainerCallback
        Stop in the view ends the run as ``control.should_training_stop`` does. ``loss`` is the
        mean of what the trainer logged since. In a distributed run the processes share the work.
        Another ``train`` goes on with the numbers of the last frame. What fails here is a warning.

    Raises
    ------
    ImportError
        If ``transformers`` is not installed.
    """
    with _needs("transformers"):
        from transformers import TrainerCallback

    snapshots = _Snapshots(probe, every_n_steps)

    class FeatureSpectrum(TrainerCallback):
        """Feature spectra of a Trainer's run."""

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            with snapshots.harmless():
                shared = args.world_size > 1 and dist.is_initialized()
                group = dist.group.WORLD if shared else None
                self._obey(control, snapshots.begin(*self._now(state, kwargs), group))

        def on_log(
            self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any
        ) -> None:
            with snapshots.harmless():
                if logs and "loss" in logs:
                    snapshots.add_loss(float(logs["loss"]))

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if every_n_steps is not None and state.global_step % every_n_steps == 0:
                self._take(state, control, kwargs)

        def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if every_n_steps is None:
                self._take(state, control, kwargs)

        def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            with snapshots.harmless():
                snapshots.finish()

        def _take(self, state: Any, control: Any, kwargs: dict[str, Any]) -> None:
            with snapshots.harmless():
                self._obey(control, snapshots.take(*self._now(state, kwargs)))

        def _now(self, state: Any, kwargs: Any) -> tuple[float, int, float | None]:
            scheduler = kwargs.get("lr_scheduler")
            lr = None if scheduler is None else float(scheduler.get_last_lr()[0])
            return float(state.epoch or 0), state.global_step, lr

        def _obey(self, control: Any, go_on: bool) -> None:
            if not go_on:
                control.should_training_stop = True

    return FeatureSpectrum()


def _finite(frame: Frame) -> dict[str, float]:
    return {name: value for name, value in frame.scalars.items() if math.isfinite(value)}


def to_tensorboard(writer: Any, prefix: str = "fswidget/") -> Callable[[Frame], None]:
    """Log each frame's scalars to a ``SummaryWriter``: ``fs.watch(…, on_frame=to_tensorboard(w))``.

    Numbers that are not finite are left out, here and in the other loggers.
    """

    def log(frame: Frame) -> None:
        for name, value in _finite(frame).items():
            writer.add_scalar(f"{prefix}{name}", value, frame.step)

    return log


def to_wandb(run: Any, prefix: str = "fswidget/") -> Callable[[Frame], None]:
    """Log each frame's scalars to a run of Weights & Biases, beside ``epoch`` and ``step``.

    They are logged under their own ``fswidget/step``, since a run's step must not go back.
    """

    def log(frame: Frame) -> None:
        numbers = {f"{prefix}{name}": value for name, value in _finite(frame).items()}
        run.log({**numbers, f"{prefix}epoch": frame.epoch, f"{prefix}step": frame.step})

    return log


def to_mlflow(prefix: str = "fswidget/") -> Callable[[Frame], None]:
    """Log each frame's scalars to the active run of MLflow."""
    import mlflow

    def log(frame: Frame) -> None:
        numbers = {f"{prefix}{name}": value for name, value in _finite(frame).items()}
        mlflow.log_metrics(numbers, step=frame.step)

    return log


def to_trackio(prefix: str = "fswidget/") -> Callable[[Frame], None]:
    """Log each frame's scalars to the run that ``trackio.init`` began."""
    import trackio

    def log(frame: Frame) -> None:
        trackio.log({f"{prefix}{name}": value for name, value in _finite(frame).items()})

    return log
