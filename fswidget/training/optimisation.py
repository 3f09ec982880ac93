"""The optimiser and what it runs on: device, threads, clock."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from fswidget.probing.modes import evaluating
from fswidget.probing.threads import threads
from fswidget.training.config import Config
from fswidget.training.parametrization import Growth, groups

#: Steps of fewer floating-point operations are faster on one thread: with two an MLP of width 256
#: took 1.1 to 2.9 times as long per step, one of width 1024 (0.4e9 operations) 0.6 to 0.8.
_ONE_THREAD_BELOW = 2e8


@dataclass(frozen=True)
class Progress:
    """How far a run is; times in seconds, of training and analysis but not of pauses."""

    epoch: float
    epochs: float
    step: int
    total_steps: int
    seconds: float
    seconds_left: float

    @property
    def fraction(self) -> float:
        """Share of the steps done, 0 to 1."""
        return self.step / self.total_steps


class Clock:
    """A stopwatch."""

    def __init__(self, first_step: int = 0, total: float = 0.0) -> None:
        self.first_step = first_step
        self._total = total
        self._began: float | None = None

    @property
    def seconds(self) -> float:
        now = time.perf_counter()
        return self._total + (0.0 if self._began is None else now - self._began)

    @contextmanager
    def running(self) -> Iterator[None]:
        self._began = time.perf_counter()
        try:
            yield
        finally:
            self._total, self._began = self.seconds, None

    @contextmanager
    def stopped(self) -> Iterator[None]:
        self._total, self._began = self.seconds, None
        try:
            yield
        finally:
            self._began = time.perf_counter()


def device_of(config: Config) -> torch.device:
    """The device that `config` asks for.

    Raises
    ------
    ValueError
        If it is not there.
    """
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if config.device == "auto":
        return torch.device("cuda" if cuda else "mps" if mps else "cpu")
    try:
        device = torch.device(config.device)
    except RuntimeError:
        raise ValueError(f"device={config.device!r}: must be auto, cpu, mps or cuda:N") from None
    count = {"cuda": torch.cuda.device_count() if cuda else 0, "mps": int(mps)}.get(device.type, 1)
    if (device.index or 0) >= count:
        raise ValueError(f"device={config.device!r}: this machine has {count} of that kind")
    return device


def make_optimizer(
    config: Config, model: nn.Module, grown: Mapping[str, Growth] | None = None
) -> torch.optim.Optimizer:
    """Of all parameters: those that are frozen have no gradient, and stay."""
    parameters = groups(model, grown or {}, config.optimizer)
    fused = parameters[0]["params"][0].device.type in ("cpu", "cuda")
    common: dict[str, Any] = {
        "lr": config.lr,
        "weight_decay": config.weight_decay,
        "fused": fused,
    }
    if config.optimizer == "sgd":
        return torch.optim.SGD(
            parameters, momentum=config.momentum, nesterov=config.nesterov, **common
        )
    kind = torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW
    return kind(parameters, betas=(0.9, config.beta2), eps=1e-8 * step_scale(config), **common)


def step_scale(config: Config) -> float:
    """What multiplies the learning rate where the outputs are α(f − f₀).

    Gradient descent on the loss divided by α² moves the parameters 1/α as far for the same change
    of the function, which is what makes it lazy (Chizat et al., 1812.07956); Adam's steps do not
    know the scale of the loss, and must be shortened. Our choice, as is leaving α < 1 alone.
    """
    return 1.0 if config.optimizer == "sgd" else 1 / max(1.0, config.output_scale)


def adjust_optimizer(optimizer: torch.optim.Optimizer, config: Config) -> None:
    """Other settings for an optimiser that goes on with what it has gathered."""
    for group in optimizer.param_groups:
        group["weight_decay"] = config.weight_decay
        if config.optimizer == "sgd":
            group["momentum"] = config.momentum


def freeze(config: Config, model: nn.Module, head: str) -> list[nn.Module]:
    """Have only what is to be trained take gradients; the modules that stay as they are.

    Batch normalisation in those must not follow the batch, which would move their features.
    """
    whole = [name for name, _ in model.named_modules()]
    still = whole if config.last_layer_only else _below(config.frozen or (), whole)
    frozen = [model.get_submodule(name) for name in still]
    model.requires_grad_(True)
    for module in frozen:
        module.requires_grad_(False)
    if config.last_layer_only:
        model.get_submodule(head).requires_grad_(True)
    for parameter in model.parameters():
        if not parameter.requires_grad:
            parameter.grad = None
    return frozen


def _below(names: Sequence[str], known: Sequence[str]) -> list[str]:
    return [k for k in known if any(k == name or k.startswith(f"{name}.") for name in names)]


def check_frozen(names: Sequence[str] | None, model: nn.Module) -> None:
    """Raise ValueError if one of `names` is no module of `model`."""
    known = dict(model.named_modules())
    for name in names or ():
        if name not in known or not name:
            raise ValueError(
                f"frozen={names!r}: no module {name!r}; must be of {', '.join(filter(None, known))}"
            )


def learning_rate(config: Config, step: int, total_steps: int) -> float:
    """The learning rate of the update that follows `step` others."""
    done = step / total_steps
    factor = min(1.0, (step + 1) / (config.warmup_steps + 1))
    if config.schedule == "cosine":
        factor *= (1 + math.cos(math.pi * done)) / 2
    elif config.schedule == "step":
        factor *= 0.1 ** ((done >= 0.5) + (done >= 0.75))
    return config.lr * factor


def choose_threads(model: nn.Module, example: Tensor, batch_size: int) -> int:
    """How many threads train fastest, judged by the operations of a step."""
    model.eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(example)
    # The backward pass costs twice the forward pass.
    operations = 3 * counter.get_total_flops() * batch_size
    return 1 if operations < _ONE_THREAD_BELOW else threads.given


def lay_out(model: nn.Module, example: Tensor) -> torch.memory_format:
    """The memory format in which a network trains fastest; its weights are put into it.

    Channels-last where there is a convolution of pictures: an epoch of ResNet18 takes 0.59 to 0.72
    times as long then, one of the small networks 0.82 to 0.98 times. The numbers are the same up to
    rounding, names and shapes of the parameters too. A network that cannot read such pictures (it
    calls ``view`` on them) keeps the usual format, and on a CPU one with a convolution that torch
    cannot train in it (`_overflows`).

    Parameters
    ----------
    model : nn.Module
    example : Tensor, shape (n, …)
        Samples on the model's device.
    """
    usual, last = torch.contiguous_format, torch.channels_last
    found = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    safe = example.device.type != "cpu" or not any(map(_overflows, found))
    if example.ndim != 4 or not found or not safe:
        return usual
    model.to(memory_format=last)
    try:
        with evaluating(model), torch.no_grad():
            model(example.contiguous(memory_format=last))
    except RuntimeError:
        model.to(memory_format=usual)
        return usual
    return last


def _overflows(convolution: nn.Conv2d) -> bool:
    """Whether oneDNN's gradient of the weights would write where it must not in channels-last:
    uxlfoundation/oneDNN#6035, of fewer channels than a register holds, 16 at most."""
    small = convolution.in_channels // convolution.groups < 16
    return small and max(convolution.kernel_size) == 1 and max(convolution.stride) > 1


def compiled(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """What a training step calls where ``compile=True``; parameters stay those of `model`.

    Raises
    ------
    RuntimeError
        At the first step, if there is no compiler or it cannot take the network.
    """
    # One graph for each batch size: there are two, the last batch of an epoch being smaller.
    faster = torch.compile(model, dynamic=False)

    def call(inputs: Tensor) -> Tensor:
        try:
            outputs: Tensor = faster(inputs)
        except torch._dynamo.exc.TorchDynamoException as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise RuntimeError(
                f"compile=True: torch.compile failed ({reason}); compile=False trains without it"
            ) from error
        return outputs

    return call
