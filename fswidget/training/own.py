"""Networks and data sets that a configuration is given as such, not by name.

A part of a data set is a pair (inputs, targets) of arrays, or a torch ``Dataset`` of such pairs,
which is read once, so that what it draws at random is drawn once. Without a test part the same
share of each class (`held_out`) is kept for it. Inputs that are bytes of shape (n, h, w),
(n, c, h, w) or (n, h, w, c) are pictures, standardised as those of named data sets are; floats go
in as they are, in float32, and whole numbers as int64. Targets (n,) of int, bool or one-hot rows
are classes; floats (n,) or (n, d) are the values of a regression, as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

from fswidget.probing.samples import own_tensor
from fswidget.training.registry import (
    KINDS,
    DataSource,
    Network,
    Settings,
    Split,
    networks,
    sources,
)

_ALLOWED = (
    "the name of a data set ({names}), a pair (inputs, targets) of arrays, a torch Dataset of such "
    "pairs, or two of either: (train, test)"
)


def network_of_own(build: Callable[..., Any]) -> Network:
    """A network made by ``build(config, shape, num_outputs) -> torch.nn.Module``.

    Raises
    ------
    TypeError
        If it is a module, and makes none.
    """
    if isinstance(build, nn.Module):
        raise TypeError(
            f"model={type(build).__name__}: a module; must be a function (config, shape, "
            "num_outputs) -> torch.nn.Module that makes one, since every run begins with a new "
            "network; fs.watch measures one that is there"
        )
    function = getattr(build, "func", build)  # of a functools.partial
    name = str(getattr(function, "__name__", type(build).__name__))
    name = f"{name} (own)" if name in networks else name
    lines = (getattr(build, "__doc__", None) or "").strip().splitlines()
    return Network(name, lines[0] if lines else name, build, KINDS, True, True, True)


def source_of_own(given: Any) -> DataSource:
    """A data set from arrays or a torch Dataset, all of which is read at once.

    Raises
    ------
    TypeError, ValueError
        If it is neither, or inputs and targets do not fit; the message says what is allowed.
    """
    parts = given if _is_two_parts(given) else (given,)
    names = ("dataset train ", "dataset test ") if len(parts) == 2 else ("dataset ",)
    arrays = [_read(part, name) for part, name in zip(parts, names, strict=True)]
    (inputs, targets), test = arrays[0], arrays[1] if len(arrays) == 2 else None
    if test is not None:
        _check_alike(arrays)
    classes = _class_names(parts[0], arrays)
    kind = "vector" if inputs.is_floating_point() else "other"
    if inputs.dtype == torch.uint8 or _is_picture(inputs):
        kind = "image"
    word = type(parts[0]).__name__ if _is_dataset(parts[0]) else "arrays"
    name = f"{word} {tuple(inputs.shape)}"
    data = _OwnData(inputs, targets, test)
    shape = tuple(inputs.shape[1:])
    count = 0 if test is None else len(test[0])
    made = DataSource(
        name, "Brought along.", data.read, kind, shape, classes, len(inputs), count, given=True
    )
    return made if test is not None else replace(made, resolve=data.divided(made))


class _OwnData:
    """The samples themselves; equal to itself alone."""

    def __init__(self, inputs: Tensor, targets: Tensor, test: tuple[Tensor, Tensor] | None) -> None:
        self.inputs, self.targets, self.test = inputs, targets, test
        self._held: tuple[float, Tensor] | None = None

    def read(self, config: Settings) -> Split:
        if self.test is not None:
            return Split(self.inputs, self.targets, *self.test)
        held = self.held_out(config.held_out)
        return Split(self.inputs[~held], self.targets[~held], self.inputs[held], self.targets[held])

    def held_out(self, share: float) -> Tensor:
        """Which samples are kept for testing: the same share of each class, always the same."""
        if self._held is None or self._held[0] != share:
            labels = self.targets if self.targets.ndim == 1 else torch.zeros(len(self.targets))
            held = torch.zeros(len(labels), dtype=torch.bool)
            for label in torch.unique(labels):
                own = (labels == label).nonzero()[:, 0]
                count = min(max(round(share * len(own)), 1), len(own) - 1)
                held[own[np.random.default_rng(0).permutation(len(own))[:count]]] = True
            self._held = share, held
        return self._held[1]

    def divided(self, source: DataSource) -> _Divided:
        return _Divided(self, source)


class _Divided:
    """Tells how many samples are left to train on; a class, for closures do not pickle."""

    def __init__(self, data: _OwnData, source: DataSource) -> None:
        self._data, self._source = data, source

    def __call__(self, config: Settings) -> DataSource:
        test = int(self._data.held_out(config.held_out).sum())
        train = len(self._data.targets) - test
        if min(train, test) < 2:
            raise ValueError(
                f"dataset={self._source.name!r}: {train} samples to train on and {test} to test on "
                f"(held_out={config.held_out!r}); must be at least 2 each"
            )
        return replace(self._source, train_size=train, test_size=test)


def _is_dataset(value: Any) -> bool:
    if isinstance(value, Dataset):
        return True
    listed = (str, bytes, list, tuple, Mapping)
    return (
        hasattr(value, "__getitem__")
        and hasattr(value, "__len__")
        and not isinstance(value, listed)
        and not hasattr(value, "shape")
    )


def _is_two_parts(given: Any) -> bool:
    def is_part(value: Any) -> bool:
        pair = isinstance(value, (tuple, list)) and len(value) == 2
        return _is_dataset(value) or (pair and all(getattr(v, "ndim", 0) for v in value))

    return isinstance(given, (tuple, list)) and len(given) == 2 and all(map(is_part, given))


def _read(part: Any, name: str) -> tuple[Tensor, Tensor]:
    """Inputs and targets as the networks take them."""
    if isinstance(part, TensorDataset) and len(part.tensors) == 2:
        part = part.tensors
    elif _is_dataset(part):
        part = _all_of(part, name)
    if not (isinstance(part, (tuple, list)) and len(part) == 2):
        allowed = _ALLOWED.format(names=", ".join(sources))
        shown = repr(part) if isinstance(part, (str, int, float)) else type(part).__name__
        raise TypeError(f"{name.strip()}={shown}: must be {allowed}")
    inputs, targets = own_tensor(part[0], f"{name}inputs"), own_tensor(part[1], f"{name}targets")
    if inputs.ndim < 2 or targets.ndim not in (1, 2) or len(inputs) != len(targets):
        raise ValueError(
            f"{name}inputs of shape {tuple(inputs.shape)} and targets of shape "
            f"{tuple(targets.shape)}: must be (n, …) and (n,) or (n, d), with one n"
        )
    if len(inputs) < 2:
        raise ValueError(f"{name}inputs: {len(inputs)} samples; must be at least 2")
    return _as_inputs(inputs, name), _as_targets(targets, name)


def _all_of(dataset: Any, name: str) -> tuple[Any, Any]:
    """Every sample of a Dataset, asked for once."""
    inputs, targets = [], []
    for index in range(len(dataset)):
        sample = dataset[index]
        if not (isinstance(sample, (tuple, list)) and len(sample) == 2):
            raise TypeError(
                f"{name.strip()}={type(dataset).__name__}: its sample {index} is a "
                f"{type(sample).__name__}; must be a pair (input, target)"
            )
        inputs.append(torch.as_tensor(np.asarray(sample[0])))
        targets.append(torch.as_tensor(sample[1]))
        for kind, values in (("input", inputs), ("target", targets)):
            if values[-1].shape != values[0].shape:
                raise ValueError(
                    f"{name.strip()}={type(dataset).__name__}: its {kind} {index} has shape "
                    f"{tuple(values[-1].shape)}; must be {tuple(values[0].shape)}, as the first"
                )
    if not inputs:
        raise ValueError(f"{name.strip()}={type(dataset).__name__}: holds no samples")
    return torch.stack(inputs), torch.stack(targets)


def _as_inputs(values: Tensor, name: str) -> Tensor:
    """float32 or int64 as given, or pictures (n, c, h, w) of bytes."""
    if values.is_complex():
        raise ValueError(f"{name}inputs: {values.dtype}; must be real")
    if values.dtype == torch.uint8 and values.ndim in (3, 4):
        pictures = values[:, None] if values.ndim == 3 else values
        if pictures.shape[1] not in (1, 3) and pictures.shape[3] in (1, 3):
            pictures = pictures.permute(0, 3, 1, 2)
        return pictures.contiguous()
    if values.is_floating_point() or values.dtype in (torch.uint8, torch.bool):
        values = values.float()
        if not bool(values.isfinite().all()):
            raise ValueError(f"{name}inputs: holds NaN or infinity in float32; must be finite")
        return values
    return values.long()


def _as_targets(values: Tensor, name: str) -> Tensor:
    """Classes (n,) of int64, or values (n, d) of float32."""
    if values.ndim == 2 and values.shape[1] == 1 and not values.is_floating_point():
        values = values[:, 0]
    if values.ndim == 2:
        if bool(((values == 0) | (values == 1)).all() & (values.sum(1) == 1).all()):
            return values.argmax(1)
        values = values.float()
    elif values.is_floating_point():
        values = values.float()[:, None]
    if values.is_floating_point():
        if not bool(values.isfinite().all()):
            raise ValueError(f"{name}targets: holds NaN or infinity; must be finite")
        return values
    labels = values.long()
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high < 1 or high >= len(labels):
        raise ValueError(
            f"{name}targets: labels from {low} to {high} of {len(labels)} samples; must be classes "
            "0, 1, …, C − 1 with C ≥ 2 (np.unique(…, return_inverse=True) makes them), or floats "
            "for a regression"
        )
    return labels


def _check_alike(arrays: list[tuple[Tensor, Tensor]]) -> None:
    for name, train, test in zip(("inputs", "targets"), *arrays, strict=True):
        if train.shape[1:] != test.shape[1:] or train.dtype != test.dtype:
            raise ValueError(
                f"dataset test {name} of shape {tuple(test.shape)} and {test.dtype}: must be (n, "
                f"{', '.join(map(str, train.shape[1:]))}) and {train.dtype}, as in training"
            )


def _is_picture(inputs: Tensor) -> bool:
    small = inputs.ndim != 4 or min(inputs.shape[2:]) < 4
    return inputs.is_floating_point() and not small and inputs.shape[1] in (1, 3)


def _class_names(part: Any, arrays: list[tuple[Tensor, Tensor]]) -> tuple[str, ...] | None:
    """Of a Dataset's own ``classes``, or numbers; None for a regression."""
    if arrays[0][1].is_floating_point():
        return None
    count = 1 + max(int(targets.max()) for _, targets in arrays)
    given = getattr(part, "classes", None)
    fits = isinstance(given, (tuple, list)) and len(given) == count
    return tuple(map(str, given if fits else range(count)))  # type: ignore[arg-type]
