"""Layers keep what left them, and the watched network is as it was."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import fswidget as fs

C, n = 4, 120
labels = torch.arange(n) % C
generator = torch.Generator().manual_seed(0)
inputs = torch.randn(n, 6, generator=generator)
inputs += 3 * torch.randn(C, 6, generator=generator)[labels]


class Base(nn.Module):
    """Features, a head, and what a subclass makes of them."""

    def __init__(self, outputs: int = C) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.b, self.h = nn.Linear(6, 16), nn.Linear(16, outputs)

    def features(self, x: Tensor) -> Tensor:
        return self.b(x).relu()

    def forward(self, x: Tensor) -> Any:
        return self.after(self.h(self.features(x)), x)

    def after(self, z: Tensor, x: Tensor) -> Any:
        return z


def test_a_head_that_stops_being_one_is_refused_at_that_snapshot() -> None:
    class Late(Base):
        gate = False

        def after(self, z: Tensor, x: Tensor) -> Tensor:
            return z * x[:, :1] if self.gate else z

    model = Late()
    probe = fs.watch(model, inputs, labels)
    probe.snapshot()
    model.gate = True
    with pytest.raises(ValueError, match="are no affine function"):
        probe.snapshot()
    assert len(probe.recording) == 1


def test_a_layer_keeps_what_left_it_although_the_next_works_in_place() -> None:
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(inplace=True), nn.Linear(8, C))
    probe = fs.watch(model, inputs, labels, layers=["0"], errors=False)
    found = probe._run(probe._maker.samples, "", ["0"]).layers["0"]
    torch.testing.assert_close(found, model[0](inputs).detach())
    assert bool((found < 0).any())


def test_layers_that_cannot_be_measured_are_named_before_the_first_frame() -> None:
    class Odd(Base):
        def __init__(self) -> None:
            super().__init__()
            self.unused, self.other = nn.Linear(6, 2), nn.Identity()

        def features(self, x: Tensor) -> Tensor:
            self.other(x[:1])
            return super().features(x)

    with pytest.raises(ValueError, match="layers='unused': did not run"):
        fs.watch(Odd(), inputs, labels, layers=["unused"])
    with pytest.raises(ValueError, match="layers='other': gives 1 rows for 2 samples"):
        fs.watch(Odd(), inputs, labels, layers=["other"])


class Merging(nn.Linear):
    """As LoRA layers do: evaluation merges a second matrix into the weight."""

    merged = False

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__(inside, outside)
        self.a = nn.Parameter(torch.randn(outside, 2) * 0.37)
        self.c = nn.Parameter(torch.randn(2, inside) * 0.73)

    def train(self, mode: bool = True) -> Merging:
        super().train(mode)
        if mode == self.merged:
            with torch.no_grad():
                self.weight += (-1 if mode else 1) * self.a @ self.c
            self.merged = not mode
        return self


class Running(nn.Module):
    """Moves its statistics whenever it is called, in a buffer and in a plain attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(6))
        self.calls, self.largest = 0, torch.zeros(6)

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.largest = torch.maximum(self.largest, x.amax(0))
        self.mean.mul_(0.9).add_(0.1 * x.mean(0))
        return x


def test_the_watched_model_is_as_it_was() -> None:
    model = nn.Sequential(Running(), Merging(6, 8), nn.ReLU(), nn.Linear(8, C))
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    probe = fs.watch(model, inputs, labels)
    probe.snapshot()
    assert model.training
    assert (model[0].calls, model[1].merged) == (0, False)
    assert not bool(model[0].largest.any())
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_the_generators_are_left_alone_by_a_thread_in_the_background() -> None:
    import threading

    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(6, C))
    probe = fs.watch(model, inputs, labels, errors=False)
    stop = threading.Event()

    def snapshots() -> None:
        while not stop.is_set():
            probe.snapshot()

    thread = threading.Thread(target=snapshots)
    thread.start()
    try:
        drawn = [float(torch.rand(())) for _ in range(2000)]
    finally:
        stop.set()
        thread.join()
    # Of so many float32 numbers a few are equal by chance.
    assert len(set(drawn)) > 1990
