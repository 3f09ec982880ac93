"""Which samples each step takes, and how they are cropped: drawn from the seed and the step alone.

What is random is drawn on the CPU, so that every device draws the same, and goes to the device once
an epoch; between two epochs nothing is copied and nothing waits.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from fswidget.training.datasets import Crops, crop


def generator(seed: int, stream: int, index: int) -> torch.Generator:
    """Random numbers that depend on the seed, what they are for, and when; on the CPU."""
    state = np.random.SeedSequence((seed, stream, index)).generate_state(1, np.uint64)
    return torch.Generator("cpu").manual_seed(int(state[0] >> np.uint64(1)))


class Batches:
    """The batches of a run, in order, from any step on.

    Parameters
    ----------
    inputs : Tensor, shape (n, …)
    targets : Tensor, shape (n,) or (n, d)
        What the loss compares the outputs with, on the same device.
    batch_size : int
    seed : int
    augment : bool
        Whether to crop and flip at random.
    pairs : bool
        Whether the network needs two samples in a batch (batch normalisation).

    Attributes
    ----------
    steps_per_epoch : int
    """

    def __init__(
        self,
        inputs: Tensor,
        targets: Tensor,
        batch_size: int,
        *,
        seed: int,
        augment: bool = False,
        pairs: bool = False,
    ) -> None:
        self.inputs, self.targets = inputs, targets
        self.seed, self.augment = seed, augment
        self._ends = _batch_ends(len(inputs), batch_size, pairs)
        self.steps_per_epoch = len(self._ends)
        self._epoch = -1  # whose draws are at hand
        self._order: Tensor
        self._crops: Crops | None = None

    @property
    def largest(self) -> int:
        """Samples in the first batch; none has more but, where two are needed, the last."""
        return self._ends[0]

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets of the step that follows `step` others."""
        epoch, index = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._draw(epoch)
        samples = slice(self._ends[index - 1] if index else 0, self._ends[index])
        chosen = self._order[samples]
        inputs = self.inputs[chosen]
        if self._crops is not None:
            inputs = crop(inputs, self._crops[samples])
        return inputs, self.targets[chosen]

    def _draw(self, epoch: int) -> None:
        device, samples = self.inputs.device, len(self.inputs)
        order = torch.randperm(samples, generator=generator(self.seed, 0, epoch), device="cpu")
        self._order, self._epoch = order.to(device), epoch
        if self.augment:
            self._crops = Crops.cat(list(self._draw_crops(epoch))).to(device)

    def _draw_crops(self, epoch: int) -> Iterator[Crops]:
        first, start = epoch * self.steps_per_epoch, 0
        for index, end in enumerate(self._ends):
            yield Crops.draw(end - start, generator(self.seed, 1, first + index))
            start = end

    def epochs(self, step: int) -> float:
        """Passes over the training set that `step` steps make."""
        return step / self.steps_per_epoch


def _batch_ends(samples: int, batch_size: int, pairs: bool) -> list[int]:
    """Where each batch ends in the order of an epoch."""
    ends = [*range(batch_size, samples, batch_size), samples]
    if pairs and len(ends) > 1 and samples - ends[-2] == 1:
        # Batch normalisation of a single sample is undefined: the batch before takes it in.
        del ends[-2]
    return ends
