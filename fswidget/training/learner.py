"""Network, data and optimiser of a run: one step at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from fswidget.probing.head import Head, find_head
from fswidget.probing.inference import Diverged
from fswidget.probing.linear_theory import LinearTheory
from fswidget.training.batches import Batches, Start
from fswidget.training.config import Config
from fswidget.training.copying import Copied
from fswidget.training.cuda_graphs import Replayed
from fswidget.training.datasets import Data, load
from fswidget.training.networks import build, centre, settle
from fswidget.training.optimisation import (
    adjust_optimizer,
    check_frozen,
    choose_threads,
    compiled,
    device_of,
    freeze,
    lay_out,
    make_optimizer,
    step_scale,
)
from fswidget.training.parametrization import growths
from fswidget.training.rules import follows_flow

#: Under which name a state keeps the time of the flow.
_TIME = "time of the flow"

_SETTLING = 512  # training samples that give batch normalisation its first statistics (our choice)


class Learner:
    """What `fswidget.training.Training` trains; see there."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.device = device_of(config)
        data = load(config, self.device)
        shape = tuple(data.inputs.shape[1:])
        self.model = build(config, shape, data.num_outputs).to(self.device)
        self.data = data = data.arranged(lay_out(self.model, data.inputs[:2]))
        self._batches = self._divide(Start())
        self.step = 0
        head = self._find_head()
        settle(self.model, data.inputs[:_SETTLING])
        self._initial: nn.Module | None = None
        if config.output_scale != 1:
            why = f"output_scale={config.output_scale!r}"
            self._initial = Copied(self.model, why, "1").model
            centre(self.model, head.name, self._initial, config.output_scale)
        self._head, self._num_features = head.name, head.num_features
        check_frozen(config.frozen, self.model)
        self._still = freeze(config, self.model, head.name)
        self._trained = compiled(self.model) if config.compile else self.model
        grown = growths(config, self.model, shape, data.num_outputs)
        self._optimizer = make_optimizer(config, self.model, grown)
        self._theory = self._theory_of(config)
        self._replayed: Replayed | None = None
        # A network of the user's own may do more than its kernels.
        if self.device.type == "cuda" and isinstance(config.model, str):
            self._replayed = Replayed(list(self.model.parameters()))
        self.threads = choose_threads(self.model, data.inputs[:1], self._batches.largest)

    def _theory_of(self, config: Config) -> LinearTheory | None:
        """What theory says of this run, where it says something; see `follows_flow`."""
        data = self.data
        if not (follows_flow(config, len(data.inputs)) and LinearTheory.reads(data.inputs)):
            return None
        return LinearTheory(self.model, data.inputs, _targets(config, data), data.probe_size)

    def _exact(self) -> NDArray[np.float64] | None:
        """The eigenvalues that theory gives the network as it is now."""
        return None if self._theory is None else self._theory.now()

    def _find_head(self) -> Head:
        """The last linear layer.

        Raises
        ------
        ValueError
            If the network cannot read the samples, has no such layer, or not the right outputs.
        """
        wanted, name = self.data.num_outputs, self.config.network.name
        inputs = self.data.inputs[:2]
        try:
            head = find_head(self.model, inputs)
        except RuntimeError as error:
            raise ValueError(
                f"model={name!r}: fails on samples of shape {tuple(inputs.shape[1:])} and "
                f"{inputs.dtype} ({error})"
            ) from error
        if head.num_outputs != wanted:
            raise ValueError(
                f"model={name!r}: its last layer {head.name!r} gives {head.num_outputs} outputs; "
                f"must be num_outputs = {wanted}"
            )
        return head

    def _divide(self, start: Start) -> Batches:
        """The batches from `start` on, as the settings in force have them."""
        config = self.config
        batches = Batches(
            self.data.inputs,
            _targets(config, self.data),
            config.batch_size,
            seed=config.seed,
            augment=config.augment,
            pairs=config.batchnorm,
            start=start,
        )
        self.steps_per_epoch = batches.steps_per_epoch
        steps = batches.steps(config.epochs)
        self.total_steps = steps if config.max_steps is None else min(steps, config.max_steps)
        return batches

    def _adopt(self, config: Config) -> bool:
        """Go on with other settings; whether the targets are others."""
        noisy = config.label_noise != self.config.label_noise
        same = (config.frozen, config.batch_size) == (self.config.frozen, self.config.batch_size)
        if noisy:
            self.data = replace(self.data, targets=load(config, self.device).targets)
        self.config = config
        if noisy or not follows_flow(config, len(self.data.inputs)):
            self._theory = None
        self._batches = self._divide(self._batches.place(self.step))
        self._still = freeze(config, self.model, self._head)
        adjust_optimizer(self._optimizer, config)
        if self._replayed is not None and not same:
            self._replayed.forget()
        return noisy

    def _initial_statistics(self) -> dict[str, Tensor]:
        """Of f₀ where the outputs are α(f − f₀): of it batches change these alone; and the time of
        the flow where theory follows it."""
        if self._theory is not None:
            return {_TIME: torch.tensor(self._theory.time, dtype=torch.float64)}
        if self._initial is None:
            return {}
        return {name: values.clone() for name, values in self._initial.named_buffers()}

    def _take_statistics(self, statistics: Mapping[str, Tensor]) -> None:
        if self._theory is not None:
            if _TIME in statistics:
                self._theory.time = float(statistics[_TIME])
            else:
                self._theory = None
        if self._initial is not None:
            self._initial.load_state_dict(statistics, strict=False)

    def _train_step(self, lr: float) -> tuple[Tensor, int]:
        """One update; the loss (detached, before the update) and the number of samples."""
        inputs, targets = self._batches(self.step)
        for group in self._optimizer.param_groups:
            group["lr"] = lr * step_scale(self.config) * group.get("times", 1.0)
        if self._replayed is None:
            loss = self._differentiate(inputs, targets)
        else:
            loss = self._replayed(self._differentiate, inputs, targets)
        self._optimizer.step()
        if self._theory is not None:
            self._theory.time += 2 * lr  # the loss is no half of the squared error
        return loss, len(inputs)

    def _differentiate(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Leave the gradients of a batch in the parameters; its loss, detached."""
        # Batch normalisation that follows the batch would move features that are not trained.
        self.model.train()
        for module in self._still:
            module.eval()
        mixed = self.config.precision == "bfloat16"
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=mixed):
            outputs = self._trained(inputs)
        loss = self._loss(outputs.float(), targets)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        if self.config.loss == "mse":
            loss = (outputs - targets).square().sum(1).mean()
        else:
            loss = F.cross_entropy(outputs, targets)
        return loss / self.config.output_scale**2

    def _check_finite(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise Diverged(
                f"the loss is {loss} at step {self.step} (epoch "
                f"{self._batches.epochs(self.step):.4g}): lr={self.config.lr!r} may be too large"
            )


def _targets(config: Config, data: Data) -> Tensor:
    """What the loss compares the outputs with: classes, or values of shape (n, C)."""
    if config.loss == "cross_entropy":
        return data.targets
    if not data.class_names:
        return data.targets
    return F.one_hot(data.targets, data.num_outputs).float() * config.target_scale
