"""Layers keep what left them, and the watched network is as it was."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable
from typing import Any

import loralib as lora
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.ao import quantization
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

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


class Running(nn.Module):
    """Moves its statistics at every call, in whatever a module may keep them."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(6))
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))
        self.largest, self.seen = torch.zeros(6), np.zeros(6)
        self.last: deque[float] = deque([0.5], maxlen=2)
        self.sizes: set[int] = set()
        self.nested: dict[str, Any] = {"counts": [0, [0]], "sum": (torch.zeros(6),)}

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.mean = 0.9 * self.mean + 0.1 * x.mean(0)
        self.largest = torch.maximum(self.largest, x.amax(0))
        self.seen += x.numpy().sum(0)
        self.last.append(float(x.mean()))
        self.sizes.add(len(x))
        self.nested["counts"][1].append(len(x))
        self.nested["sum"][0].add_(x.sum(0))
        self.cached = x
        return x - self.mean


def normalising() -> nn.Module:
    return nn.Sequential(Running(), nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, C))


def low_rank() -> nn.Module:
    """Merges its updates into the weights in evaluation mode."""
    model = nn.Sequential(
        lora.Linear(6, 18, r=4),
        nn.ReLU(),
        nn.Dropout(0.3),
        lora.MergedLinear(18, 18, r=3, enable_lora=[True, False, True]),
        nn.ReLU(),
        lora.Linear(18, C, r=2),
    )
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter)
    lora.mark_only_lora_as_trainable(model)
    return model


def quantising() -> nn.Module:
    """Trained for quantisation: observers move at every call, in evaluation mode too."""
    model = nn.Sequential(
        quantization.QuantStub(),
        nn.Linear(6, 16),
        nn.ReLU(),
        nn.Linear(16, C),
        quantization.DeQuantStub(),
    )
    model.train()
    model.qconfig = quantization.get_default_qat_qconfig("fbgemm")
    quantization.prepare_qat(model, inplace=True)
    model(inputs)
    return model


def averaged() -> nn.Module:
    model = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, C))
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    average.update_parameters(model)
    return average


def power_iterating() -> nn.Module:
    """Spectral norms, in which each training pass moves a vector."""
    return nn.Sequential(
        nn.utils.parametrizations.spectral_norm(nn.Linear(6, 16)),
        nn.ReLU(),
        nn.utils.spectral_norm(nn.Linear(16, C)),
    )


def everything(model: nn.Module) -> list[Any]:
    """All that a model holds, as values."""

    def plain(thing: Any) -> Any:
        if isinstance(thing, Tensor):
            return thing.tolist(), thing.requires_grad, str(thing.dtype)
        if isinstance(thing, np.ndarray):
            return thing.tolist()
        if isinstance(thing, dict):
            return {name: plain(value) for name, value in thing.items()}
        if isinstance(thing, (list, tuple, deque)):
            return [plain(value) for value in thing]
        return thing if isinstance(thing, (bool, int, float, str, set)) else type(thing)

    return [plain(vars(module)) for module in model.modules()]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("make", [normalising, low_rank, quantising, averaged, power_iterating])
def test_the_watched_model_is_as_it_was(make: Callable[[], nn.Module], training: bool) -> None:
    torch.manual_seed(0)
    model = make().train(training)
    model[1].eval() if make is normalising else None  # a frozen part stays frozen
    before = copy.deepcopy(everything(model))
    probe = fs.watch(model, inputs, labels, layers="all")
    assert everything(model) == before
    first, second = probe.snapshot(), probe.snapshot()
    assert everything(model) == before
    np.testing.assert_array_equal(first.eigenvalues, second.eigenvalues)
    with torch.no_grad():
        predicted = model.eval()(inputs).argmax(1)
    np.testing.assert_array_equal(first.arrays["predictions"], predicted)


def test_layers_without_weights_yet_are_named() -> None:
    model = nn.Sequential(nn.LazyLinear(16), nn.LazyBatchNorm1d(), nn.ReLU(), nn.Linear(16, C))
    with pytest.raises(ValueError, match="layers '0', '1' are lazy"):
        fs.watch(model, inputs, labels)


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
