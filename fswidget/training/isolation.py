"""A run neither reads nor changes what belongs to the session around it.

Torch's global generator, default dtype and device, grad mode and thread count are the user's: a run
may go on in a background thread while they are used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

#: What makes a tensor of the default dtype unless told otherwise.
_OF_DEFAULT_DTYPE: frozenset[Callable[..., Any]] = frozenset(
    {torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn, torch.eye, torch.linspace}
)
#: What draws from torch's global generator unless given another.
_DRAWS: frozenset[Callable[..., Any]] = frozenset(
    {
        *(torch.rand, torch.randn, torch.randint, torch.randperm, torch.normal),
        *(torch.bernoulli, torch.multinomial, torch.poisson),
        *(torch.Tensor.uniform_, torch.Tensor.normal_, torch.Tensor.exponential_),
        *(torch.Tensor.random_, torch.Tensor.bernoulli_, torch.Tensor.log_normal_),
        *(torch.Tensor.cauchy_, torch.Tensor.geometric_),
        # Those of nn.init that are asked as a whole; the others draw with the above.
        *(nn.init.uniform_, nn.init.normal_, nn.init.kaiming_uniform_),
    }
)


class _Own(TorchFunctionMode):
    """Float32, and a generator of one's own."""

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self._generator = generator

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func in _OF_DEFAULT_DTYPE and kwargs.get("dtype") is None:
            kwargs["dtype"] = torch.float32
        # nn.init passes its generator on by position or name: only an absent one is filled in.
        given = any(isinstance(value, torch.Generator) for value in (*args, *kwargs.values()))
        if func in _DRAWS and not given:
            kwargs["generator"] = self._generator
        return func(*args, **kwargs)


@contextmanager
def own_numbers(seed: int) -> Iterator[None]:
    """What is drawn inside depends on `seed` alone, in float32 on the CPU.

    The numbers are those that ``torch.manual_seed(seed)`` would give, but the global generator is
    not touched.
    """
    generator = torch.Generator("cpu").manual_seed(seed)
    with isolated(), torch.device("cpu"), _Own(generator):
        yield


@contextmanager
def isolated() -> Iterator[None]:
    """Gradients and precision as in a new session, new tensors on the CPU unless said otherwise."""
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for kind in ("cpu", "cuda", "mps"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        # A device costs time at every call; torch 2.6 cannot tell the default once it was reset.
        if torch.empty(0).device.type != "cpu":
            stack.enter_context(torch.device("cpu"))
        yield
