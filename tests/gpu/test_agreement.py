"""The GPU agrees with the CPU: moments, spectrum, error bars, probe, training."""

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fswidget.analysis.api import FeatureMoments
from fswidget.analysis.eigensolvers import eigh_full, eigh_topk
from fswidget.probing.probe import Probe
from fswidget.training.config import Config
from fswidget.training.loop import Training
from fswidget.training.networks import build
from fswidget.training.overlap import OverlappedTraining

pytestmark = pytest.mark.gpu

WIDTHS = (64, 512, 2048, 4096)
CPU = torch.device("cpu")


def rows(
    width: int, decay: float = 1.0, mean: float = 0.0, samples: int | None = None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features whose k-th direction has variance k^(−decay), ten outputs of the first, classes."""
    n = samples or 2 * width + 320
    generator = torch.Generator().manual_seed(width)
    features = torch.randn(n, width, generator=generator)
    features *= torch.arange(1, width + 1) ** (-decay / 2)
    # Turned, so that no direction is an axis; a reflection keeps it cheap at 4,096.
    normal = torch.nn.functional.normalize(torch.randn(width, generator=generator), dim=0)
    features = features - 2 * torch.outer(features @ normal, normal) + mean
    outputs = features[:, :10] + 0.1 * torch.randn(n, 10, generator=generator)
    return features, outputs, torch.arange(n) % 10


def moments_on(
    device: torch.device, data: tuple[torch.Tensor, ...], blocks: int = 1
) -> FeatureMoments:
    moments = FeatureMoments(data[0].shape[1], 10, 10, num_blocks=blocks, device=device)
    half = len(data[0]) // 2  # two batches: sums are added up on the device too
    for part in (slice(0, half), slice(half, None)):
        moments.update(*(tensor[part].to(device) for tensor in data))
    return moments


def gram(moments: FeatureMoments) -> torch.Tensor:
    return moments._gram.sum(0).cpu()


@pytest.mark.parametrize("width", WIDTHS)
def test_moments(width: int, device: torch.device, widest: int) -> None:
    if width > widest:
        pytest.skip("too wide for a rehearsal")
    data = rows(width)
    there, here = gram(moments_on(device, data)), gram(moments_on(CPU, data))
    assert there.dtype == torch.float64
    # Sums of n products in another order: far from float32's 1e-7 and TF32's 1e-3.
    assert float((there - here).norm() / here.norm()) < 1e-12


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("decay", [1.0, 6.0], ids=["ordinary", "ill-conditioned"])
def test_spectrum(width: int, decay: float, device: torch.device, widest: int) -> None:
    if width > widest:
        pytest.skip("too wide for a rehearsal")
    data = rows(width, decay)
    there = moments_on(device, data).spectrum(task="squared_error")
    here = moments_on(CPU, data).spectrum(task="squared_error")
    largest = here.eigenvalues[0]
    count = min(len(there.eigenvalues), len(here.eigenvalues))
    difference = np.abs(there.eigenvalues[:count] - here.eigenvalues[:count]).max()
    assert difference < 1e-12 * largest * math.sqrt(width)
    for name in ("low_rank_measure", "low_rank_measure_debiased", "nc1", "kernel_drift"):
        a, b = getattr(there, name), getattr(here, name)
        # NC1 inverts the covariance of the class means, here with eigenvalues over ten decades.
        rel = 1e-3 if name == "nc1" and decay > 1 else 1e-6
        assert a == pytest.approx(b, rel=rel, abs=1e-8, nan_ok=True), name
    assert there.used_features == here.used_features
    assert there.output_rank == here.output_rank


def test_a_large_mean_keeps_small_directions(device: torch.device) -> None:
    """In float32, Σ(x − m)² of values near 1,000 would have no digit left."""
    data = rows(64, mean=1000.0)
    there = moments_on(device, data).spectrum(task="squared_error")
    here = moments_on(CPU, data).spectrum(task="squared_error")
    assert there.low_rank_measure == pytest.approx(here.low_rank_measure, rel=1e-6)
    assert there.eigenvalues[1:] == pytest.approx(here.eigenvalues[1:], rel=1e-5)


def test_moments_are_not_made_in_tf32(device: torch.device) -> None:
    data = rows(512 if device.type == "cuda" else 64)
    plain = gram(moments_on(device, data))
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        allowed = gram(moments_on(device, data))
    finally:
        torch.set_float32_matmul_precision(before)
    assert torch.equal(plain, allowed)


@pytest.mark.parametrize("width", [64, 512])
def test_error_bars(width: int, device: torch.device, widest: int) -> None:
    if width > widest:
        pytest.skip("too wide for a rehearsal")
    data = rows(width)
    there, here = (
        moments_on(where, data, blocks=8).spectrum(task="squared_error", errors=True)
        for where in (device, CPU)
    )
    assert set(there.errors) == set(here.errors)
    for name, error in here.errors.items():
        # Replicates are solved in float32: a k95 next to its threshold may differ by one.
        absolute = 1.0 if name == "used_features" else 1e-6
        wanted = pytest.approx(error, rel=2e-2, abs=absolute, nan_ok=True)
        assert there.errors[name] == wanted, name
    assert there.utilization_error == pytest.approx(here.utilization_error, rel=5e-2, abs=1e-4)


@pytest.mark.parametrize("width", WIDTHS[1:])
def test_leading_eigenpairs(width: int, device: torch.device, widest: int) -> None:
    width = min(width, max(widest, 512))
    generator = torch.Generator().manual_seed(0)
    half = torch.randn(2 * width, width, generator=generator, dtype=torch.float64).to(device)
    half *= (torch.arange(1, width + 1, device=device, dtype=torch.float64) ** -0.5)[None]
    matrix = half.T @ half / len(half)
    leading, full = eigh_topk(matrix, 20), eigh_full(matrix)
    assert leading is not None
    assert leading.values.device.type == full.values.device.type == device.type
    found, wanted = leading.values[:20].cpu(), full.values[: len(leading.values[:20])].cpu()
    assert torch.allclose(found, wanted, rtol=1e-9)
    residual = matrix @ full.vectors - full.vectors * full.values
    assert float(residual.norm() / matrix.norm()) < 1e-12
    assert full.solver == f"full, float64, {device.type}"  # on the device, and not failed


def pictures(model: str, **options: Any) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    config = Config(model=model, width=64, loss="mse", seed=3, **options)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(600, 1, 8, 8, generator=generator)
    return build(config, (1, 8, 8), 10), inputs, torch.arange(600) % 10


class Tagger(nn.Module):
    """A prediction of one of many for each token."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(80, 32), nn.Linear(32, 80)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(torch.relu(self.embedding(tokens)))
        return logits


def sequences() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    tokens = torch.arange(1200).view(60, 20) % 79
    return Tagger(), tokens, tokens.roll(1, 1)


#: A network with its inputs and targets, and how it is probed.
PROBES: dict[str, tuple[Callable[[], tuple[nn.Module, torch.Tensor, torch.Tensor]], dict[str, Any]]]
PROBES = {
    "mlp": (lambda: pictures("mlp"), {}),
    "cnn": (lambda: pictures("cnn"), {}),
    "measures by row": (lambda: pictures("mlp"), {"more_measures": True}),
    "leading eigenpairs": (lambda: pictures("mlp"), {"top": 12}),
    "tangent kernel": (lambda: pictures("mlp"), {"ntk": True}),
    "tokens of many outputs": (sequences, {"task": "cross_entropy", "num_positions": 400}),
}


@pytest.mark.parametrize("kind", PROBES)
def test_probe(kind: str, device: torch.device) -> None:
    make, options = PROBES[kind]
    network, inputs, targets = make()
    frames = []
    allowed = torch.backends.cudnn.allow_tf32
    try:
        torch.backends.cudnn.allow_tf32 = False
        for where in (device, CPU):
            model = copy.deepcopy(network).to(where)
            held_out = inputs[:100], targets[:100]
            how = {"task": "squared_error", "held_out": held_out, "device": where} | options
            probe = Probe(model, inputs, targets, **how)
            probe.frame(0.0, 0)
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter += 0.1 * parameter.abs().roll(1, 0)
            frames.append(probe.frame(1.0, 1))
    finally:
        torch.backends.cudnn.allow_tf32 = allowed
    there, here = frames
    assert there.scalars.keys() == here.scalars.keys()
    assert there.arrays.keys() == here.arrays.keys()
    for name, value in here.scalars.items():
        if "seconds" not in name:
            expected = pytest.approx(value, rel=1e-3, abs=1e-4, nan_ok=True)
            assert there.scalars[name] == expected, name
    assert there.labels["regime"] == here.labels["regime"]
    assert there.arrays["eigenvalues"] == pytest.approx(here.arrays["eigenvalues"], abs=1e-4)


def test_training_follows_the_cpu(device: torch.device) -> None:
    """Same data, weights, batches: what differs is rounding, little in 50 steps."""
    config = Config(width=64, loss="mse", epochs=2, lr=1e-3, frame_every="epoch", probe_size=500)
    there, here = (list(Training(config.replace(device=str(d)))) for d in (device, CPU))
    assert [f.step for f in there] == [f.step for f in here]
    for a, b in zip(there, here, strict=True):
        for name in ("loss", "train_accuracy", "low_rank_measure"):
            if name in b.scalars:
                assert a.scalars[name] == pytest.approx(b.scalars[name], rel=2e-2, abs=5e-3), name


def test_frames_made_while_training_goes_on_are_those_that_it_waits_for(
    device: torch.device,
) -> None:
    """Of a snapshot, on a stream of its own: a later step's weights would show in accuracy."""
    config = Config(width=64, epochs=2, lr=3e-3, frame_every=3, probe_size=500, device=str(device))
    waits, goes_on = (list(kind(config)) for kind in (Training, OverlappedTraining))
    assert [f.step for f in goes_on] == [f.step for f in waits]
    for a, b in zip(goes_on, waits, strict=True):
        for name in ("loss", "train_accuracy", "low_rank_measure"):
            if name in b.scalars:
                assert a.scalars[name] == pytest.approx(b.scalars[name], rel=1e-3, abs=2e-3), name


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"model": "cnn", "batchnorm": True, "loss": "mse", "augment": True},
        {"output_scale": 3.0, "optimizer": "sgd", "lr": 0.02},
    ],
    ids=["mlp", "cnn", "outputs as they change"],
)
def test_steps_that_are_replayed_are_those_that_are_launched(
    settings: dict[str, Any], device: torch.device
) -> None:
    """Twelve batches of two shapes each epoch, and a layer that stands still from the third on."""
    config = Config(width=32, epochs=6, batch_size=96, train_size=1100, device=str(device))
    ends = []
    for replays in (True, False):
        training = Training(config.replace(frame_every="epoch", **settings))
        training._replayed = training._replayed if replays else None
        for frame in training:
            if frame.epoch == 3:
                first = next(n for n, m in training.model.named_modules() if hasattr(m, "weight"))
                training.change(frozen=[first])
            last = frame
        values = torch.cat([p.detach().flatten() for p in training.model.state_dict().values()])
        ends.append((values.cpu(), last.scalars["loss"]))
        # On a card it was recorded, again after the change.
        if replays and device.type == "cuda":
            assert training._replayed is not None
            assert all(training._replayed._graphs.values())
            assert len(training._replayed._graphs) == 1
    (there, loss), (here, wanted) = ends
    assert loss == pytest.approx(wanted, rel=1e-4)
    # Convolutions add up their gradients in any order: some weights were off by 1e-4 on a card.
    assert float((there - here).norm() / here.norm()) < 1e-2


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_convolutional_network_learns(precision: str, device: torch.device) -> None:
    config = Config(
        model="cnn", width=32, epochs=6, precision=precision, device=str(device), batchnorm=True
    )
    training = Training(config)
    frames = list(training)
    assert next(training.model.parameters()).device.type == device.type
    assert frames[-1].scalars["test_accuracy"] > 0.8
    assert all(math.isfinite(f.scalars["low_rank_measure"]) for f in frames)


def test_the_state_of_a_run_goes_on_there(device: torch.device) -> None:
    config = Config(width=32, epochs=4, frame_every="epoch", device=str(device))
    whole = list(Training(config))[-1]
    training = Training(config)
    for frame in training:
        if frame.epoch == 2:
            state = training.state_dict()
            break
    resumed = list(Training(config, state=state))[-1]
    assert resumed.step == whole.step
    assert resumed.scalars["loss"] == pytest.approx(whole.scalars["loss"], rel=1e-2)
