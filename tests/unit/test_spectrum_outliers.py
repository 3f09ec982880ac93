"""One huge value, or a huge common one, takes no digits from the others."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

import fswidget as fs
from fswidget.analysis.eigensolvers import eigh_for_errors
from tests.left_out import NAMES, errors_by_hand

N, P, C = 120, 6, 4


def sample(seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(N) % C
    features = rng.normal(size=(N, P)) + 3 * rng.normal(size=(C, P))[labels]
    return features, features @ rng.normal(size=(P, C)), labels


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("size", [1e3, 1e5, 1e8, 1e12, 1e20, 1e30, -1e8])
def test_error_bars_beside_an_outlier_are_those_of_leaving_out_by_hand(size, seed):
    features, outputs, labels = sample(seed)
    features[17 + seed, seed] = size
    found = fs.analyze(features, outputs, labels).errors
    for name, error in errors_by_hand(features, outputs, labels).items():
        assert found[name] == pytest.approx(error, rel=1e-4, nan_ok=True), name
    assert math.isfinite(found["low_rank_measure"])
    assert math.isfinite(found["used_features"])


def test_class_means_that_differ_by_rounding_alone_do_not_differ():
    features, outputs, labels = sample()
    labels %= 2
    features[:2, 0] = 1e28  # one in each class: their means are the same, but for rounding
    found = fs.analyze(features, outputs, labels)
    assert np.isnan([found.nc1, found.errors["nc1"], found.cdnv]).all()


@pytest.mark.parametrize("seed", [0, 42])
def test_what_float32_cannot_diagonalise_float64_does(seed):
    """Beside numbers below 1e-38 the float32 solver raises (seed 0) or gives NaN (42), at times."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(80, 10, generator=generator, dtype=torch.float64)
    features[3, 1] = features[25, 3] = 2e26
    values = eigh_for_errors(features.T @ features).values
    np.testing.assert_allclose(values, [4e52, 4e52], rtol=1e-6)


@pytest.mark.parametrize("size", [1e8, 1e20])
def test_a_watched_network_with_an_outlier_has_error_bars(size):
    features, _, labels = sample()
    features[3, 1] = size
    torch.manual_seed(0)
    model = nn.Sequential(nn.Identity(), nn.Linear(P, C, bias=False)).double()
    frame = fs.watch(model, torch.from_numpy(features), torch.from_numpy(labels)).snapshot()
    assert math.isfinite(frame.scalars["low_rank_measure_error"])


@pytest.mark.parametrize("offset", [1e4, 1e8, -1e8])
@pytest.mark.parametrize("columns", [slice(None), slice(2, 3)])
def test_a_large_constant_in_the_features_costs_nothing(offset, columns):
    features, outputs, labels = sample()
    moved = features.copy()
    moved[:, columns] += offset
    expected, found = (fs.analyze(f, outputs, labels) for f in (features, moved))
    for name in ("low_rank_measure", "low_rank_measure_debiased", "nc1"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-7), name
        assert found.errors[name] == pytest.approx(expected.errors[name], rel=1e-5), name
    # The constant function is the first feature then; the others are found beside it.
    assert len(found.eigenvalues) == P
    features[:, columns] += math.copysign(300, offset)
    known = fs.analyze(features, outputs, labels)
    np.testing.assert_allclose(found.utilization, known.utilization, atol=5e-3)
    for curve in ("quality_error", "utilization_error"):
        np.testing.assert_allclose(getattr(found, curve), getattr(known, curve), atol=1e-3)
    assert found.errors["used_features"] == pytest.approx(known.errors["used_features"], rel=0.05)


@pytest.mark.parametrize("shift", ["common", "of each sample"])
def test_a_large_shift_of_the_logits_costs_nothing(shift):
    features, outputs, labels = sample()
    size = 1e8 if shift == "common" else 1e8 * np.random.default_rng(1).normal(size=(N, 1))
    expected, found = (fs.analyze(features, o, labels) for o in (outputs, outputs + size))
    for name in NAMES:
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-7), name
    assert found.errors == pytest.approx(expected.errors, rel=1e-4, nan_ok=True)
    np.testing.assert_allclose(found.utilization, expected.utilization, atol=1e-7)


def test_constants_are_judged_by_the_rounding_of_their_number_type():
    features, outputs, labels = sample()
    dead = np.full((N, P), 0.3) + np.array([1e3, 0, 0, 0, 0, 0])
    assert fs.analyze(dead.astype(np.float32), outputs, labels).regime.label == "CONSTANT"
    assert fs.analyze(dead, outputs, labels).regime.label == "CONSTANT"
    for still in (0 * outputs + 5, 0 * outputs + np.arange(C)):
        found = fs.analyze(features, still, labels, task="squared_error")
        assert found.regime.label == "CONSTANT"
    dead[:, 3] += 1e-4 * features[:, 3]
    assert fs.analyze(dead, outputs, labels).regime.label != "CONSTANT"


def test_few_samples_are_said_to_be_few_and_not_constant():
    rng = np.random.default_rng(0)
    features, outputs = rng.normal(size=(10, 20)), rng.normal(size=(10, 10))
    found = fs.analyze(features, outputs, np.arange(10), debias=True)
    assert math.isnan(found.low_rank_measure)
    assert found.regime.label != "CONSTANT"
    assert "Too few samples for the debiased D_LR: 10 samples" in found.regime.evidence
    one = fs.analyze(features[:1], outputs[:1], [3], errors=False)
    assert one.regime.evidence == "Too few samples to tell: 1 sample."


@pytest.mark.parametrize("scale", [1e20, 1e-20, 1e30])
def test_frames_keep_eigenvalues_of_any_scale(scale):
    class Scaled(nn.Module):
        def __init__(self, factor: float) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.factor = factor
            self.body, self.head = nn.Linear(P, 16), nn.Linear(16, C, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.body(x).relu() * self.factor)

    features, _, labels = sample()
    inputs, labels = torch.from_numpy(features).float(), torch.from_numpy(labels)
    frames = []
    for factor in (1.0, scale):
        probe = fs.watch(Scaled(factor), inputs, labels)
        probe.snapshot()
        with torch.no_grad():
            probe.model.head.weight += 1
        frames.append(probe.snapshot())
    one, other = frames
    ratio = other.eigenvalues / other.eigenvalues[0]
    np.testing.assert_allclose(ratio, one.eigenvalues / one.eigenvalues[0], rtol=1e-3)
    size = other.scalars["eigenvalue_scale"] * float(other.eigenvalues[0])
    assert size == pytest.approx(scale**2 * float(one.eigenvalues[0]), rel=1e-4)
    assert other.labels["regime"] == one.labels["regime"] != "UNTRAINED"
    assert other.scalars["train_accuracy"] == one.scalars["train_accuracy"]
