"""The tangent kernel on few samples, against closed forms."""

import numpy as np
import pytest
import torch
from torch import nn

import fswidget as fs
from fswidget.probing.samples import Samples
from fswidget.probing.tangent import TangentKernel

CPU = torch.device("cpu")


def deep_linear(hidden: int, outputs: int) -> nn.Sequential:
    torch.manual_seed(0)
    layers = nn.Linear(4, hidden, bias=False), nn.Linear(hidden, outputs, bias=False)
    return nn.Sequential(*layers).double()


def closed_form(model: nn.Sequential, x: torch.Tensor) -> torch.Tensor:
    """Of f = A B x, summed over outputs: C (Bx)·(Bx') + ‖A‖² x·x'."""
    b, a = (layer.weight.detach() for layer in model)
    return len(a) * (x @ b.T) @ (x @ b.T).T + a.square().sum() * x @ x.T


def cka(first: torch.Tensor, second: torch.Tensor) -> float:
    h = torch.eye(len(first)).double() - 1 / len(first)
    first, second = h @ first @ h, h @ second @ h
    return float((first * second).sum() / (first.norm() * second.norm()))


def test_the_kernel_of_a_deep_linear_network_has_its_closed_form():
    model, x = deep_linear(5, 3), torch.randn(30, 4).double()
    samples = Samples.of(x, torch.randn(30, 3)).fit(3, "squared_error", 30)
    found = TangentKernel(samples, 3).kernel(model, CPU)
    torch.testing.assert_close(found, closed_form(model, x))
    # Frozen parameters have no part in it.
    model[0].requires_grad_(False)
    features = x @ model[0].weight.detach().T
    found = TangentKernel(samples, 3).kernel(model, CPU)
    torch.testing.assert_close(found, 3 * features @ features.T)


def test_drift_and_alignment_of_frames_are_those_of_the_closed_form():
    model, x = deep_linear(5, 3), torch.randn(30, 4).double()
    y = torch.randn(30, 3).double()
    probe = fs.watch(model, x, y, task="squared_error", ntk=True)
    before = closed_form(model, x)
    with torch.no_grad():
        model[0].weight[:2] *= 5
    scalars = probe.snapshot(epoch=1).scalars
    now = closed_form(model, x)
    assert scalars["ntk_drift"] == pytest.approx(1 - cka(now, before))
    assert scalars["ntk_drift"] > 0.01
    assert scalars["ntk_alignment"] == pytest.approx(cka(now, y @ y.T))
    assert all(parameter.grad is None for parameter in model.parameters())
    with pytest.raises(ValueError, match="ntk=1: must be True or False"):
        fs.watch(model, x, y, task="squared_error", ntk=1)


def test_a_common_shift_of_logits_has_no_part_in_the_kernel():
    kernels = []
    for outputs in (3, 40):  # every one, or random sums of them
        model, x = deep_linear(5, outputs), torch.randn(50, 4).double()
        samples = Samples.of(x, torch.arange(50) % outputs).fit(outputs, "cross_entropy", 50)
        few = TangentKernel(samples, outputs)
        assert float(few._directions.sum(1).abs().max()) < 1e-12
        kernels.append(few.kernel(model, CPU))
    assert kernels[0].shape == kernels[1].shape == (50, 50)


def test_few_samples_hold_each_class_as_often():
    labels = torch.arange(200) % 10
    few = Samples.of(torch.zeros(200, 2), labels).fit(10, "cross_entropy", 5).spread(20)
    assert few.labels.bincount().tolist() == [2] * 10
    assert len(few.args[0]) == len(few.targets) == len(few.shown) == 20


def test_training_the_last_layer_alone_leaves_the_tangent_kernel_and_the_rest_moves_it():
    config = fs.Config(
        width=16, epochs=1, train_size=60, probe_size=60, test_size=20, lr=0.05, ntk=True
    )
    drifts = {}
    for lazy in (True, False):
        frame = list(fs.train(config.replace(last_layer_only=lazy)))[-1]
        drifts[lazy] = frame.scalars["ntk_drift"]
        assert 0 < frame.scalars["ntk_alignment"] < 1
    assert abs(drifts[True]) < 1e-9 < 0.01 < drifts[False]


def test_what_cannot_be_differentiated_sample_by_sample_is_refused():
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(2, 2)

        def forward(self, x):
            return self.head(x if x.sum() > 0 else -x)

    inputs, labels = np.ones((8, 2), "float32"), np.arange(8) % 2
    with pytest.raises(ValueError, match=r"ntk=True: torch\.func cannot differentiate Branches"):
        fs.watch(Branches(), inputs, labels, ntk=True)
