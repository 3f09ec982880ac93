"""Which samples each step takes, and how they are cropped: drawn from the seed and the step alone.

What is random is drawn on the CPU, so that every device draws the same, and goes to the device once
an epoch; between two epochs nothing is copied and nothing waits.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fswidget.training.datasets import Crops, crop


def generator(seed: int, stream: int, index: int) -> torch.Generator:
    """Random numbers that depend on the seed, what they are for, and when; on the CPU."""
    state = np.random.SeedSequence((seed, stream, index)).generate_state(1, np.uint64)
    return torch.Generator("cpu").manual_seed(int(state[0] >> np.uint64(1)))


class Start(NamedTuple):
    """Where in the order of an epoch a division into batches begins."""

    step: int = 0
    epoch: int = 0
    sample: int = 0
    #: Share of the epoch that was over.
    share: float = 0.0


_BEGINNING = Start()


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
    start : Start
        Where another division into batches ended.

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
        start: Start = _BEGINNING,
    ) -> None:
        self.inputs, self.targets = inputs, targets
        self.seed, self.augment, self.pairs, self.start = seed, augment, pairs, start
        self._ends = _batch_ends(0, len(inputs), batch_size, pairs)
        # What is left of the epoch in which it begins.
        self._rest = _batch_ends(start.sample, len(inputs), batch_size, pairs)
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
        epoch, index, ends = self._place(step)
        if epoch != self._epoch:
            self._draw(epoch, step - index, ends)
        first = self._first_sample(epoch)
        samples = slice(ends[index - 1] if index else first, ends[index])
        chosen = self._order[samples]
        inputs = self.inputs[chosen]
        if self._crops is not None:
            inputs = crop(inputs, self._crops[slice(samples.start - first, samples.stop - first)])
        return inputs, self.targets[chosen]

    def _place(self, step: int) -> tuple[int, int, list[int]]:
        """The epoch of a step, its number in it, and where the batches of the epoch end."""
        done = step - self.start.step
        if done < len(self._rest):
            return self.start.epoch, done, self._rest
        epochs, index = divmod(done - len(self._rest), self.steps_per_epoch)
        return self.start.epoch + 1 + epochs, index, self._ends

    def _first_sample(self, epoch: int) -> int:
        return self.start.sample if epoch == self.start.epoch else 0

    def _draw(self, epoch: int, step: int, ends: list[int]) -> None:
        device, samples = self.inputs.device, len(self.inputs)
        order = torch.randperm(samples, generator=generator(self.seed, 0, epoch), device="cpu")
        self._order, self._epoch = order.to(device), epoch
        if self.augment:
            begins = [self._first_sample(epoch), *ends]
            counts = [stop - start for start, stop in itertools.pairwise(begins)]
            drawn = (
                Crops.draw(count, generator(self.seed, 1, step + index))
                for index, count in enumerate(counts)
            )
            self._crops = Crops.cat(list(drawn)).to(device)

    def epochs(self, step: int) -> float:
        """Passes over the training set that `step` steps make."""
        epoch, index, ends = self._place(step)
        if epoch > self.start.epoch or self.start.share == 0:
            return (epoch * len(ends) + index) / len(ends)
        return epoch + self.start.share + (1 - self.start.share) * index / len(ends)

    def ends_epoch(self, step: int) -> bool:
        """Whether an epoch is over after `step` steps."""
        epoch, index, _ = self._place(step)
        return index == 0 and step > 0 and self._first_sample(epoch) == 0

    def steps(self, epochs: int) -> int:
        """Steps, from the first of the run on, that make so many epochs."""
        more = epochs - self.start.epoch - 1
        return self.start.step + len(self._rest) + more * self.steps_per_epoch

    def place(self, step: int) -> Start:
        """Where another division into batches would go on."""
        epoch, index, ends = self._place(step)
        sample = ends[index - 1] if index else self._first_sample(epoch)
        return Start(step, epoch, sample, self.epochs(step) - epoch)


def _batch_ends(first: int, samples: int, batch_size: int, pairs: bool) -> list[int]:
    """Where each batch ends in the order of an epoch, from sample `first` on."""
    ends = [*range(first + batch_size, samples, batch_size), samples]
    if pairs and len(ends) > 1 and samples - ends[-2] == 1:
        # Batch normalisation of a single sample is undefined: the batch before takes it in.
        del ends[-2]
    return ends
