"""What cannot be watched is named with its cause; sessions and inputs of every kind are read."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.ao.quantization import quantize_dynamic

import fswidget as fs

N, C = 60, 4
generator = torch.Generator().manual_seed(0)
TARGETS = torch.arange(N) % C
INPUTS = torch.randn(N, 6, generator=generator)
INPUTS += 3 * torch.randn(C, 6, generator=generator)[TARGETS]


def network() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, C))


def watch(model: Any = None, inputs: Any = INPUTS, targets: Any = TARGETS, **options: Any) -> Any:
    return fs.watch(network() if model is None else model, inputs, targets, **options)


class Total(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = network()

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x).sum()


class Nested(Total):
    def forward(self, x: Tensor) -> Any:
        return self.net(x).sum(), (self.net(x),)


BROKEN: dict[str, tuple[Callable[[], Any], str]] = {
    "held out": (lambda: watch(held_out=5), "held_out=int: must be a pair"),
    "device": (lambda: watch(device="x"), "device='x': must be a device that is there"),
    "no device": (lambda: watch(device="meta"), "device='meta': must be a device that is there"),
    "device away": (lambda: watch(device="xpu:7"), "device='xpu:7': must be a device that is the"),
    "features": (lambda: watch(features="x"), "features='x': no such module; must be one of 0, 1"),
    "no features": (lambda: watch(features=5), "features=5: must be the name of a module, or a f"),
    "outputs": (lambda: watch(outputs=3), "outputs=3: has no keys, for a model that returned Te"),
    "layers": (lambda: watch(layers=5), 'layers=5: must be None, "all" or a list'),
    "errors": (lambda: watch(errors="x"), "errors='x': must be True or False"),
    "top": (lambda: watch(top=-1), "top=-1: must be an integer ≥ 1"),
    "config": (lambda: watch(config="x"), "config='x': must be a Config or a dict"),
    "names": (lambda: watch(class_names={"a": "b"}), "class_names: for ['a']; must be for 0..3"),
    "few names": (lambda: watch(class_names={0: "b"}), "class_names: for [0]; must be for 0..3"),
    "checkpoint": (lambda: watch(reference="x.pt"), "path='x.pt': cannot be read as a state dict"),
    "scalar": (lambda: watch(Total()), "returns a scalar; must return one row of outputs per"),
    "nothing": (lambda: watch(Nested()), "in which no float tensor with rows was found; must"),
    "epoch": (lambda: watch().snapshot(epoch="x"), "epoch='x': must be a number"),
    "step": (lambda: watch().snapshot(step="x"), "step='x': must be an integer ≥ 0"),
    "regime": (lambda: watch().snapshot(regime=3.0), "regime=3.0: is measured in every frame"),
    "loss": (lambda: watch().snapshot(loss="x"), "loss='x': must be a number"),
    "scripted": (lambda: watch(torch.jit.script(network())), "it is TorchScript"),
    "traced": (lambda: watch(torch.jit.trace(network(), INPUTS)), "it is TorchScript"),
    "exported": (
        lambda: watch(torch.export.export(network(), (INPUTS,)).module()),
        "cannot be put into evaluation mode, as what torch.export gives",
    ),
    "quantised": (lambda: watch(quantize_dynamic(network(), {nn.Linear})), "it is quantised"),
    "masked": (
        lambda: watch(inputs=np.ma.masked_array(INPUTS.numpy(), INPUTS.numpy() > 2)),
        "inputs: a masked array; must be whole",
    ),
    "sparse": (lambda: watch(inputs=INPUTS.to_sparse_csr()), "inputs: sparse (torch.sparse_csr)"),
    "nested": (
        lambda: watch(inputs=torch.nested.nested_tensor(list(INPUTS))),
        "inputs: a Tensor, masked or nested; must be whole and dense",
    ),
    "ragged": (
        lambda: watch(inputs=[row[: 3 + i % 3] for i, row in enumerate(INPUTS)]),
        "a list of 60 arrays of different shapes; must be padded",
    ),
    "recorder": (lambda: fs.Recorder(num_shown=0), "num_shown=0: must be an integer ≥ 1"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_watched_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    call, message = BROKEN[name]
    with pytest.raises((TypeError, ValueError, OSError), match=re.escape(message)):
        call()


def without_statistics() -> nn.Module:
    """In evaluation mode, too, it normalises by the batch: one of one sample has no variance."""
    norm = nn.BatchNorm1d(16, track_running_stats=False)
    return nn.Sequential(nn.Linear(6, 16), norm, nn.ReLU(), nn.Linear(16, C))


def made_in_inference_mode() -> nn.Module:
    with torch.inference_mode():
        return network()


class Auxiliary(nn.Module):
    """A layer that only runs in training."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.extra, self.head = nn.Linear(6, 16), nn.Linear(16, 9), nn.Linear(16, C)

    def forward(self, x: Tensor) -> Tensor:
        z = self.body(x).relu()
        self.extra(z) if self.training else None
        return self.head(z)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("make", "options"),
    [
        (without_statistics, {"batch_size": 59}),
        (made_in_inference_mode, {}),
        (Auxiliary, {"layers": "all"}),
        (network, {"inputs": list(INPUTS), "targets": TARGETS.tolist()}),
        (network, {"class_names": {"3": "d", "0": "a", "2": "c", "1": "b"}}),
    ],
)
def test_networks_and_inputs_of_every_kind(make: Callable[[], nn.Module], options: Any) -> None:
    model = make()
    probe = watch(model, **options)
    frame = probe.snapshot()
    with torch.no_grad():
        predicted = model.eval()(INPUTS).argmax(1)
    agree = frame.arrays["predictions"] == predicted.numpy()
    # Batches without statistics of their own see other neighbours.
    assert agree.mean() > (0.8 if make is without_statistics else 0.999)
    if make is Auxiliary:
        assert probe.recording.info.layers == ("body", "head")
        # The mean is over layers of features: the one that gives the outputs is none.
        body = frame.arrays["layer_low_rank_measure"][0]
        assert frame.scalars["mean_layer_low_rank_measure"] == pytest.approx(body)
    if "class_names" in options:
        assert probe.recording.info.class_names == ("a", "b", "c", "d")


def test_scripted_parts_go_with_features_that_are_given() -> None:
    model = network()
    body, scripted = model[:2], torch.jit.script(model)
    frame = watch(scripted, features=lambda x: body(x)).snapshot()
    expected = watch(model).snapshot()
    np.testing.assert_allclose(frame.utilization, expected.utilization, atol=1e-5)


def test_a_session_on_another_device_is_neither_asked_nor_changed() -> None:
    expected = watch(layers="all").snapshot()
    model = network()
    torch.set_default_device("meta")
    try:
        frame = watch(model, layers="all", held_out=(INPUTS, TARGETS)).snapshot()
        fs.Recorder().snapshot(INPUTS, INPUTS[:, :C], TARGETS)
        assert torch.get_default_device().type == "meta"
    finally:
        torch.set_default_device(None)
    np.testing.assert_array_equal(frame.eigenvalues, expected.eigenvalues)
