"""A step's forward and backward pass as a CUDA graph: one launch in the place of hundreds."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

#: What makes the gradients of a batch and returns its loss.
Work = Callable[[Tensor, Tensor], Tensor]

#: Batches of a shape, one after another, before its kernels are recorded: what libraries choose and
#: allocate when they are first called cannot be.
_FIRST = 3


class Replayed:
    """What makes the gradients of a batch on a GPU, recorded once for their shape.

    Of small networks, and of large ones on a fast card, launching the kernels takes longer than
    running them; a replay launches all at once and leaves Python to whatever else runs. The numbers
    are those of the same kernels. What is recorded must do the same each time, and read nothing
    back. Where that is not so it cannot be recorded, and is called as before; so is the last batch
    of an epoch, where it is smaller. Memory: the activations of one batch.

    Parameters
    ----------
    parameters : sequence of Parameter
        Which gradients are left in.
    """

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self._parameters = parameters
        self.forget()

    def forget(self) -> None:
        """Record anew: what makes the gradients has changed."""
        self._kind: Hashable = None
        self._in_a_row = 0
        self._graphs: dict[Hashable, _Graph | None] = {}

    def __call__(self, work: Work, inputs: Tensor, targets: Tensor) -> Tensor:
        """As ``work(inputs, targets)``, always of the same work."""
        # A network that was moved lies elsewhere than what was recorded.
        kind = inputs.shape, targets.shape, self._parameters[0].data_ptr()
        self._in_a_row = self._in_a_row + 1 if kind == self._kind else 1
        self._kind = kind
        if self._in_a_row > _FIRST and kind not in self._graphs:
            self._graphs[kind] = None
            with suppress(RuntimeError):  # it reads back, say, or memory is short
                self._graphs[kind] = _Graph(work, self._parameters, inputs, targets)
        graph = self._graphs.get(kind)
        return work(inputs, targets) if graph is None else graph(inputs, targets)


class _Graph:
    """The kernels of one call, which read and write the same memory each time."""

    def __init__(
        self, work: Work, parameters: Sequence[nn.Parameter], inputs: Tensor, targets: Tensor
    ) -> None:
        self._inputs, self._targets = inputs.clone(), targets.clone()
        self._graph = torch.cuda.CUDAGraph()
        # Of the device that computes, which need not be the session's.
        stream: Any = torch.cuda.Stream(inputs.device)  # type: ignore[no-untyped-call]
        # Nothing runs yet. The thread that analyses, or another run, may go on meanwhile.
        with torch.cuda.graph(self._graph, stream=stream, capture_error_mode="thread_local"):
            self._loss = work(self._inputs, self._targets)
        self._gradients = [(one, one.grad) for one in parameters]

    def __call__(self, inputs: Tensor, targets: Tensor) -> Tensor:
        self._inputs.copy_(inputs)
        self._targets.copy_(targets)
        self._graph.replay()
        for parameter, gradient in self._gradients:  # a call between may have left its own
            parameter.grad = gradient
        return self._loss.clone()
