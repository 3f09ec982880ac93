"""The measures against an independent slow reference and against known values."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import fswidget as fs
from fswidget.analysis.alignment import align
from fswidget.analysis.targets import assign_blocks


def orthonormal(functions: np.ndarray, tolerance: float = 1e-5) -> np.ndarray:
    """Orthonormal basis of the span of the columns, as functions on the samples."""
    u, s, _ = np.linalg.svd(functions, full_matrices=False)
    return u[:, s > tolerance * s[0]]


def reference(features, outputs, targets, task):
    """Every measure from plain SVDs and explicit n × n projectors, slowly."""
    n = len(features)
    one_hot = np.eye(targets.max() + 1)[targets] if targets.ndim == 1 else targets
    if task == "cross_entropy":
        outputs = outputs - outputs.mean(1, keepdims=True)
    u, s, _ = np.linalg.svd(features / math.sqrt(n), full_matrices=False)
    learned, wanted = orthonormal(outputs), orthonormal(one_hot)
    centre = np.eye(n) - 1 / n
    kernel = centre @ features @ features.T @ centre
    span = centre @ learned @ learned.T @ centre
    cka = (kernel * span).sum() / (np.linalg.norm(kernel) * np.linalg.norm(span))
    share = s**2 / (s**2).sum()
    found = {
        "eigenvalues": s**2,
        "quality": np.cumsum(((wanted.T @ u) ** 2).sum(0)) / wanted.shape[1],
        "utilization": np.cumsum(((learned.T @ u) ** 2).sum(0)) / learned.shape[1],
        "low_rank_measure": 1 - cka,
        "effective_rank": np.exp(-(share * np.log(share)).sum()),
        "participation_ratio": 1 / (share**2).sum(),
        "output_rank": learned.shape[1],
    }
    if targets.ndim == 1:
        classes = np.unique(targets)
        means = np.array([features[targets == c].mean(0) for c in classes])
        within = np.concatenate(
            [features[targets == c] - m for c, m in zip(classes, means, strict=True)]
        )
        between = means - features.mean(0)
        sigma_b = between.T @ between / len(classes)
        found["nc1"] = np.trace(within.T @ within / n @ np.linalg.pinv(sigma_b, rcond=1e-10))
    return found


def classification(n=300, p=20, c=4, seed=0, noise=1.0):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % c
    features = np.maximum(rng.normal(size=(c, p))[labels] + noise * rng.normal(size=(n, p)), 0)
    outputs = features @ rng.normal(size=(p, c)) + rng.normal(size=c)
    return features, outputs, labels


@pytest.mark.parametrize("task", ["cross_entropy", "squared_error"])
def test_agrees_with_svd_and_projectors(task):
    data = classification()
    spectrum = fs.analyze(*data, task=task)
    for name, value in reference(*data, task).items():
        np.testing.assert_allclose(getattr(spectrum, name), value, rtol=1e-9, err_msg=name)


def test_isotropic_features_give_the_closed_form():
    torch.manual_seed(0)
    features = torch.randn(32768, 512)
    spectrum = fs.analyze(
        features, features[:, :10], features[:, :10], task="squared_error", errors=False
    )
    assert spectrum.low_rank_measure == pytest.approx(1 - math.sqrt(10 / 512), abs=2e-3)


def test_span_of_leading_eigenspace_gives_the_closed_form():
    rng = np.random.default_rng(1)
    n, p, r = 400, 12, 3
    u = np.linalg.qr(np.column_stack([np.ones(n), rng.normal(size=(n, p))]))[0][:, 1:]
    rho = np.geomspace(1, 1e-3, p)
    features = math.sqrt(n) * u * np.sqrt(rho) + 3.0  # centred modes, and a common mean
    outputs = features[:, :r] - 3.0
    spectrum = fs.analyze(features, outputs, outputs, task="squared_error", errors=False)
    expected = 1 - rho[:r].sum() / math.sqrt(r * (rho**2).sum())
    assert spectrum.low_rank_measure == pytest.approx(expected, abs=1e-9)


def test_perfect_collapse_is_zero_when_balanced_and_not_otherwise():
    means = np.eye(10)
    labels = np.repeat(np.arange(10), 60)
    spectrum = fs.analyze(means[labels], 5 * means[labels], labels)
    assert spectrum.low_rank_measure < 1e-6
    assert spectrum.nc1 < 1e-6
    assert spectrum.regime.label == "MF"
    labels = np.repeat(np.arange(10), np.geomspace(600, 30, 10).astype(int))
    spectrum = fs.analyze(means[labels], 5 * means[labels], labels)
    assert spectrum.low_rank_measure == pytest.approx(0.23, abs=5e-3)


def test_unequal_rescaling_of_outputs_changes_nothing():
    means = np.eye(10)
    labels = np.repeat(np.arange(10), 60)
    outputs = means[labels] * np.geomspace(1, 30, 10)
    spectrum = fs.analyze(means[labels], outputs, labels, task="squared_error")
    assert spectrum.low_rank_measure < 1e-9


def test_eigenfunctions_are_orthonormal_on_the_probe():
    features, outputs, labels = classification()
    spectrum = fs.analyze(features, outputs, labels, errors=False)
    values = spectrum.eigenfunctions(features)
    np.testing.assert_allclose(values.T @ values / len(values), np.eye(20), atol=1e-10)


def test_held_out_curves_on_the_probe_itself_are_the_curves():
    features, outputs, labels = classification()
    moments = fs.FeatureMoments(20, 4, 4).update(features, outputs, labels)
    spectrum = moments.spectrum()
    quality, utilization = spectrum.held_out(moments)
    np.testing.assert_allclose(quality, spectrum.quality, atol=1e-10)
    np.testing.assert_allclose(utilization, spectrum.utilization, atol=1e-10)


def test_features_wider_than_the_probe_are_measured_in_its_span():
    features, outputs, labels = classification(n=60, p=90)
    features[:, 30:] = 0
    outputs[::7, 0] += 20  # beyond the span of the features: k95 is p, in replicates too
    before = np.random.default_rng(5).normal(size=(60, 80))
    found = fs.analyze(features, outputs, labels, reference=before)
    moments = fs.FeatureMoments(90, 4, 4, num_reference=80)
    moments.update(features, outputs, labels, before, blocks=assign_blocks(labels))
    expected = moments.spectrum(errors=True)
    for name in ("eigenvalues", "utilization", "used_features", "kernel_drift", "num_features"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-9)
    for name, error in expected.errors.items():
        assert found.errors[name] == pytest.approx(error, rel=1e-3, abs=1e-9), name
    assert {replicate["used_features"] for replicate in found._replicates} == {90}
    elsewhere = np.random.default_rng(6).normal(size=(7, 90))
    values, known = (np.abs(s.eigenfunctions(elsewhere, 20)) for s in (found, expected))
    np.testing.assert_allclose(values, known, rtol=1e-6)
    for curve, other in zip(found.held_out(moments), expected.held_out(moments), strict=True):
        np.testing.assert_allclose(curve, other, rtol=1e-6)


def test_kernel_drift_is_one_minus_cka():
    features, outputs, labels = classification()
    before = np.random.default_rng(5).normal(size=(300, 7))
    spectrum = fs.analyze(features, outputs, labels, reference=before)
    a, b = features - features.mean(0), before - before.mean(0)
    cka = np.linalg.norm(a.T @ b) ** 2 / (np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b))
    assert spectrum.kernel_drift == pytest.approx(1 - cka, rel=1e-10)
    assert fs.analyze(features, outputs, labels, reference=2 * features).regime.label == "LAZY"


def test_align_undoes_signs_and_rotations_inside_clusters():
    rng = np.random.default_rng(0)
    before = np.linalg.qr(rng.normal(size=(50, 5)))[0]
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    now = before.copy()
    now[:, :3] = before[:, :3] @ turn
    now[:, 3] *= -1
    now[:, 4] = np.nan
    rotation = align(np.array([1.0, 0.999, 0.998, 0.5, 0.1]), now, before)
    np.testing.assert_allclose(now[:, :4] @ rotation[:4, :4], before[:, :4], atol=1e-12)
    np.testing.assert_array_equal(rotation[4], [0, 0, 0, 0, 1])
