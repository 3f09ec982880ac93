"""The named data sets: tensors on the device, nested class-balanced subsets, seeded throughout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fswidget.training.isolation import isolated
from fswidget.training.registry import Settings


@dataclass(frozen=True)
class Data:
    """The samples of one run, on its device.

    Parameters
    ----------
    inputs, test_inputs : Tensor
        float32 (n, …), standardised, or int64 tokens (n, length).
    targets, test_targets : Tensor
        int64 classes (n,), in training with the label noise, or float32 values (n, d),
        standardised and multiplied by the target scale.
    num_outputs : int
    class_names : tuple of str
        Empty for a regression.
    probe_size : int
        The probe is this many of the training samples, from the first on.
    images : ndarray of uint8, shape (probe_size, h, w) or (probe_size, h, w, 3), or None
        Pictures of the probe.
    """

    inputs: Tensor
    targets: Tensor
    test_inputs: Tensor
    test_targets: Tensor
    num_outputs: int
    class_names: tuple[str, ...]
    probe_size: int
    images: np.ndarray[Any, np.dtype[np.uint8]] | None

    def arranged(self, layout: torch.memory_format) -> Data:
        """The same samples, pictures in another memory format."""
        if self.inputs.ndim != 4:
            return self
        inputs, tests = (
            x.contiguous(memory_format=layout) for x in (self.inputs, self.test_inputs)
        )
        return replace(self, inputs=inputs, test_inputs=tests)


def load(config: Settings, device: torch.device | str = "cpu") -> Data:
    """The data of a configuration.

    Raises
    ------
    FileNotFoundError
        If the files of the data set are not in ``config.root``.
    ValueError
        If one of them is damaged.
    """
    with isolated(), torch.device("cpu"):
        return _load(config, device)


def probe_size(config: Settings) -> int:
    """How many training samples are measured: four per feature within bounds, if not told."""
    train_size, _ = config.source.sizes(config)
    return int(config.probe_size or min(max(4 * config.width, 1000), 4000, train_size))


def _load(config: Settings, device: torch.device | str) -> Data:
    source = config.source
    inputs, targets, test_inputs, test_targets = source.read(config)
    train_size, available = source.sizes(config)
    test_size = min(config.test_size or 1000, available)
    generator = torch.Generator().manual_seed(config.seed)
    chosen = balanced_order(targets, generator)[:train_size]
    held_out = balanced_order(test_targets, generator)[:test_size]
    inputs, targets = inputs[chosen], targets[chosen]
    test_inputs, test_targets = test_inputs[held_out], test_targets[held_out]
    targets = shuffle_labels(targets, config.label_noise, generator)

    probed = probe_size(config)
    images = None
    if source.kind == "image":
        if config.label_pixels:
            classes = len(source.class_names or ())
            # At test time the row misleads: it holds a class drawn at random.
            random = torch.randint(classes, (test_size,), generator=generator)
            inputs = write_labels(inputs, targets, classes)
            test_inputs = write_labels(test_inputs, random, classes)
        if not inputs.is_floating_point():
            images = _pictures(inputs[:probed])
            inputs, test_inputs = _standardise(
                inputs.float() / 255, test_inputs.float() / 255, (0, 2, 3)
            )
    elif source.kind == "vector" and not source.given:
        inputs, test_inputs = _standardise(inputs, test_inputs, (0,))

    names = source.class_names
    if source.kind == "tokens":
        names = tuple(str(value) for value in range(config.modulus))
    if names is None:
        if not source.given:
            targets, test_targets = _standardise(targets, test_targets, (0,))
        targets, test_targets = targets * config.target_scale, test_targets * config.target_scale
    outputs = targets.shape[1] if names is None else len(names)
    return Data(
        inputs.to(device),
        targets.to(device),
        test_inputs.to(device),
        test_targets.to(device),
        outputs,
        names or (),
        probed,
        images,
    )


def balanced_order(targets: Tensor, generator: torch.Generator) -> Tensor:
    """An order of the samples, shape (n,), any beginning of which is as class-balanced as can be.

    Subsets that are beginnings of it are nested. Without classes the order is random.
    """
    order = torch.randperm(len(targets), generator=generator)
    if targets.is_floating_point():
        return order
    shuffled = targets[order]
    # The rank of each sample within its class; sorting by it deals one of each class in turn.
    by_class = torch.argsort(shuffled, stable=True)
    counts = torch.bincount(shuffled)
    starts = torch.cumsum(counts, 0) - counts
    rank = torch.empty_like(order)
    rank[by_class] = torch.arange(len(order)) - starts[shuffled[by_class]]
    return order[torch.argsort(rank, stable=True)]


def shuffle_labels(targets: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Labels of which a random `share` is permuted, so that the class counts stay."""
    count = round(share * len(targets))
    if count == 0:
        return targets
    where = torch.randperm(len(targets), generator=generator)[:count]
    noisy = targets.clone()
    noisy[where] = targets[where[torch.randperm(count, generator=generator)]]
    return noisy


def write_labels(images: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Pictures (uint8, n × c × h × w) whose first row is the one-hot label, in white on black.

    The row is divided into as many equal parts as there are classes.
    """
    part = images.shape[-1] // num_classes
    columns = labels[:, None] * part + torch.arange(part)
    written = images.clone()
    written[:, :, 0] = 0
    written[torch.arange(len(labels))[:, None], :, 0, columns] = 255
    return written


@dataclass(frozen=True)
class Crops:
    """A crop and a flip for each of n pictures, as torchvision's v2 ``RandomCrop(size, padding)``
    and ``RandomHorizontalFlip`` would draw them.

    Those take no generator and treat a batch alike; one picture after the other they took 4.6 times
    as long (128 pictures of 32 × 32 on a CPU).

    Parameters
    ----------
    shifts : Tensor of int64, shape (2, n, 1)
        Rows and columns by which each picture is shifted, from 0 to 2 × `padding`.
    flip : Tensor of bool, shape (n, 1)
    padding : int
        Pixels of zeros around a picture.
    """

    shifts: Tensor
    flip: Tensor
    padding: int

    @classmethod
    def draw(cls, count: int, generator: torch.Generator, padding: int = 4) -> Crops:
        """Draw for `count` pictures with a generator of the CPU."""
        device = torch.device("cpu")
        size = (2, count, 1)
        shifts = torch.randint(0, 2 * padding + 1, size, generator=generator, device=device)
        drawn = torch.rand(count, 1, generator=generator, device=device, dtype=torch.float32)
        return cls(shifts, drawn < 0.5, padding)

    @classmethod
    def cat(cls, crops: Sequence[Crops]) -> Crops:
        """Those of several batches, one after another."""
        shifts = torch.cat([part.shifts for part in crops], 1)
        return cls(shifts, torch.cat([part.flip for part in crops]), crops[0].padding)

    def to(self, device: torch.device) -> Crops:
        return Crops(self.shifts.to(device), self.flip.to(device), self.padding)

    def __getitem__(self, samples: slice) -> Crops:
        return Crops(self.shifts[:, samples], self.flip[samples], self.padding)


def crop(images: Tensor, crops: Crops) -> Tensor:
    """Pictures shifted and flipped as drawn, on their device, in the memory format they have.

    Parameters
    ----------
    images : Tensor, shape (n, c, h, w)
    crops : Crops
        Of n pictures, on the same device.
    """
    n, _, height, width = images.shape
    device = images.device
    rows = crops.shifts[0] + torch.arange(height, device=device)
    columns = torch.arange(width, device=device).expand(n, width)
    columns = crops.shifts[1] + torch.where(crops.flip, columns.flip(1), columns)
    padded = torch.nn.functional.pad(images, [crops.padding] * 4)
    sample = torch.arange(n, device=device)[:, None, None]
    # Indices around a full slice put the indexed axes first: (n, h, w, c), which is channels-last.
    cropped = padded[sample, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    last = images.is_contiguous(memory_format=torch.channels_last)
    return cropped if last else cropped.contiguous()


def augment(images: Tensor, generator: torch.Generator, padding: int = 4) -> Tensor:
    """Random crop with zero padding and random horizontal flip, each sample on its own.

    Parameters
    ----------
    images : Tensor, shape (n, c, h, w)
    generator : torch.Generator
        On the CPU, so that every device draws the same.
    """
    return crop(images, Crops.draw(len(images), generator, padding).to(images.device))


def _pictures(images: Tensor) -> np.ndarray[Any, np.dtype[np.uint8]] | None:
    if images.shape[1] not in (1, 3):
        return None
    array: np.ndarray[Any, np.dtype[np.uint8]] = images.permute(0, 2, 3, 1).contiguous().numpy()
    return array[..., 0] if array.shape[-1] == 1 else array


def _standardise(train: Tensor, test: Tensor, axes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    mean = train.mean(axes, keepdim=True)
    std = train.std(axes, keepdim=True, correction=0)
    std = torch.where(std > 0, std, torch.ones_like(std))
    return (train - mean) / std, (test - mean) / std
