"""Degenerate, huge, tiny and ill-conditioned input, and the solvers behind it."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import fswidget as fs
from fswidget.analysis import eigensolvers


def sample(n=200, p=16, c=3, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % c
    features = rng.normal(size=(c, p))[labels] + rng.normal(size=(n, p)) + 1
    return features, features @ rng.normal(size=(p, c)) + 1, labels


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), scale=st.floats(-12, 12), common=st.floats(-100, 100))
def test_low_rank_measure_is_invariant(seed, scale, common):
    features, outputs, labels = sample()
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(16, 16)))[0]
    mix = np.linalg.qr(rng.normal(size=(3, 3)))[0] * [1, 3, 0.2]
    moved = 10**scale * features @ turn
    for task, changed in (
        ("squared_error", outputs @ mix),
        ("cross_entropy", outputs + common * rng.normal(size=(len(labels), 1))),
    ):
        one = fs.analyze(features, outputs, labels, task=task, errors=False)
        other = fs.analyze(moved, changed, labels, task=task, errors=False)
        for name in ("low_rank_measure", "low_rank_measure_debiased", "nc1", "effective_rank"):
            assert getattr(other, name) == pytest.approx(getattr(one, name), rel=1e-7), name


@pytest.mark.filterwarnings("ignore:targets")
@settings(max_examples=20, deadline=None)
@given(st.integers(2, 40), st.integers(1, 12), st.integers(2, 4), st.integers(0, 2**31))
def test_curves_rise_within_zero_and_one(n, p, c, seed):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, p)) * np.logspace(0, -8, p)
    labels = rng.integers(0, c, n)
    spectrum = fs.analyze(features, rng.normal(size=(n, c)), labels, task="squared_error")
    for curve in (spectrum.quality, spectrum.utilization):
        assert (np.diff(curve) >= 0).all()
        assert curve[0] >= 0
        assert curve[-1] <= 1
    assert (np.diff(spectrum.eigenvalues) <= 0).all()
    assert spectrum.eigenvalues[-1] > spectrum.floor >= 0


def test_dead_and_constant_features_are_said_to_be_so():
    _, outputs, labels = sample()
    for features in (np.zeros((200, 16)), np.full((200, 16), 0.3, np.float32)):
        spectrum = fs.analyze(features, outputs, labels)
        assert math.isnan(spectrum.low_rank_measure)
        assert spectrum.regime.label == "CONSTANT"
        assert spectrum.used_features == 16
    features, outputs, labels = sample()
    features[:, 5:] = 0
    spectrum = fs.analyze(features, outputs, labels)
    assert len(spectrum.eigenvalues) == 5


@pytest.mark.parametrize(("n", "p", "c"), [(1, 3, 2), (2, 5, 2), (10, 1, 3), (30, 200, 4)])
def test_small_shapes(n, p, c):
    features, outputs, labels = sample(n, p, c)
    spectrum = fs.analyze(features, outputs, labels, task="squared_error", errors=n > 2)
    assert len(spectrum.eigenvalues) == min(n, p)


def test_one_output_and_one_class():
    features, outputs, labels = sample()
    one = fs.analyze(features, outputs[:, 0], outputs[:, 0], task="squared_error")
    assert one.output_rank == 1
    assert 0 <= one.low_rank_measure <= 1
    single = fs.analyze(features, outputs, np.zeros_like(labels))
    assert math.isnan(single.nc1)


def test_duplicates_change_no_plain_estimate():
    data = sample()
    twice = [np.concatenate([array, array]) for array in data]
    one, two = fs.analyze(*data, errors=False), fs.analyze(*twice, errors=False)
    np.testing.assert_allclose(one.eigenvalues, two.eigenvalues, rtol=1e-10)
    assert one.low_rank_measure == pytest.approx(two.low_rank_measure, rel=1e-10)


@pytest.mark.filterwarnings("ignore:targets")
@pytest.mark.parametrize("distinct", [1, 10])
@pytest.mark.parametrize("task", ["cross_entropy", "squared_error"])
def test_samples_that_repeat_each_other_tell_no_errors(distinct, task):
    data = [np.repeat(array, 80 // distinct, 0) for array in sample(distinct)]
    data[2] = data[2] if task == "cross_entropy" else data[1]
    found = fs.analyze(*data, task=task)
    assert all(math.isnan(error) for error in found.errors.values())
    assert np.isnan([*found.quality_error, *found.utilization_error]).all()
    assert math.isnan(found.used_features_debiased)
    assert math.isnan(found.regime.confidence)
    assert "repeat each other" in found.regime.evidence
    # One more, and they differ; nor is anything withheld of classes that have collapsed.
    other = [np.concatenate([array, sample()[at][:1]]) for at, array in enumerate(data[:2])]
    labels = np.append(np.repeat(np.arange(distinct), 80 // distinct) % 3, 0)
    assert fs.analyze(*other, labels).errors["low_rank_measure"] > 0 or distinct == 1
    one_hot = np.eye(3)[np.arange(81) % 3]
    assert fs.analyze(one_hot, one_hot, np.arange(81) % 3).errors["effective_rank"] < 1e-6


def test_unequal_classes_warn_with_their_counts():
    features, outputs, labels = sample()
    labels = np.where(np.arange(200) < 10, 0, 1 + labels % 2)
    with pytest.warns(UserWarning, match="from 10 to"):
        fs.analyze(features, outputs, labels)


def test_unknown_task_and_empty_moments_are_named():
    with pytest.raises(ValueError, match="task='hinge': must be one of cross_entropy"):
        fs.analyze(*sample(), task="hinge")
    with pytest.raises(ValueError, match="no samples"):
        fs.FeatureMoments(3, 2, 2).spectrum()


def test_mean_of_five_and_twelve_decades_in_float32():
    rng = np.random.default_rng(0)
    n, p = 1024, 128
    u = np.linalg.qr(rng.normal(size=(n, p)))[0] * math.sqrt(n)
    turn = np.linalg.qr(rng.normal(size=(p, p)))[0]
    features = ((u * np.logspace(0, -6, p)) @ turn.T + 5).astype(np.float32)
    outputs = features[:, :3]
    spectrum = fs.analyze(features, outputs, outputs, task="squared_error", errors=False)
    exact = np.linalg.svd(features.astype(float) / math.sqrt(n), compute_uv=False) ** 2
    assert (spectrum.eigenvalues > 0).all()
    assert len(spectrum.eigenvalues) > 0.8 * p
    half = slice(0, p // 2)
    np.testing.assert_allclose(spectrum.eigenvalues[half], exact[half], rtol=1e-6)


def test_rank_tolerance_is_reported():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(500, 20))
    outputs = features @ rng.normal(size=(20, 97)) + 1e-4 * rng.normal(size=(500, 97))
    moments = fs.FeatureMoments(20, 97, 97).update(features, outputs, outputs)
    coarse, fine = (moments.spectrum("squared_error", tolerance=t) for t in (1e-2, 1e-8))
    assert (coarse.output_rank, fine.output_rank) == (20, 97)
    assert fine.low_rank_measure - coarse.low_rank_measure > 0.3


def test_leading_pairs_agree_with_the_full_solve():
    rng = np.random.default_rng(0)
    n, p = 1500, 800
    labels = np.arange(n) % 6
    means = 4 * rng.normal(size=(6, p))
    features = means[labels] + rng.normal(size=(n, p))
    moments = fs.FeatureMoments(p, 6, 6).update(features, features @ means.T, labels)
    full, top = moments.spectrum(errors=True), moments.spectrum(top=20, errors=True)
    assert not top.complete
    assert top.solver.startswith("leading")
    size = len(top.eigenvalues)
    np.testing.assert_allclose(top.eigenvalues, full.eigenvalues[:size], rtol=1e-8)
    np.testing.assert_allclose(top.utilization, full.utilization[:size], atol=1e-4)
    assert top.used_features == full.used_features
    assert top.low_rank_measure == full.low_rank_measure
    assert top.regime.confidence == full.regime.confidence
    again = fs.analyze(features, features @ means.T, labels, errors=False, top=20)
    np.testing.assert_allclose(again.utilization, top.utilization)
    assert again.solver == top.solver
    with pytest.raises(ValueError, match="top=0: must be an integer ≥ 1"):
        moments.spectrum(top=0)
    # Outputs mixed at random lie everywhere: no few leading pairs can hold them.
    moments = fs.FeatureMoments(p, 6, 6)
    moments.update(features, rng.normal(size=(n, 6)), labels)
    fallen = moments.spectrum(top=20)
    assert fallen.complete
    assert "20 leading" in fallen.solver


def test_warm_start_saves_cycles():
    p = 700
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(p, p)))[0]
    matrix = torch.from_numpy((turn * np.arange(1, p + 1.0) ** -1.5) @ turn.T)
    cold = eigensolvers.eigh_topk(matrix, 30)
    assert cold is not None
    np.testing.assert_allclose(cold.values, np.arange(1, 31.0) ** -1.5, rtol=1e-9)
    warm = eigensolvers.eigh_topk(matrix, 30, start=cold.vectors)
    assert warm is not None
    assert "1 cycles" in warm.solver


@pytest.mark.parametrize(
    "names", [("features",), ("outputs",), ("reference",), ("features", "outputs")]
)
@pytest.mark.parametrize("factor", [1e-200, 1e-90, 1e-68, 1e68, 1e77, 1e200])
def test_an_extreme_scale_is_right_or_named(names, factor):
    features, outputs, labels = sample()
    given = {"features": features, "outputs": outputs, "reference": np.sin(features)}
    expected = fs.analyze(targets=labels, debias=True, **given)
    given |= {name: factor * given[name] for name in names}
    if not 1e-69 < factor < 1e69:
        with pytest.raises(ValueError, match=f"^{names[0]}: largest root mean square .*; must be"):
            fs.analyze(targets=labels, **given)
        return
    found = fs.analyze(targets=labels, debias=True, **given)
    for name in expected.errors:
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-7), name
    assert found.errors == pytest.approx(expected.errors, rel=1e-3)


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda whole: pickle.loads(pickle.dumps(whole))])
def test_a_spectrum_and_its_regime_can_be_copied_and_pickled(clone):
    features, outputs, labels = sample()
    spectrum = fs.analyze(features, outputs, labels, reference=np.sin(features))
    again = clone(spectrum)
    assert again.errors == spectrum.errors
    assert again.regime == spectrum.regime == clone(spectrum.regime)
    np.testing.assert_array_equal(again.eigenvectors, spectrum.eigenvectors)


@pytest.mark.parametrize("rank", [0, 40, 256])
@pytest.mark.parametrize("scale", [1e-60, 1.0])
def test_sizes_that_are_diagonalised_a_little_larger_give_the_same(rank, scale, monkeypatch):
    """256 columns lie on the same lines of a cache; a matrix of rank 0 is that of the constant."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(rank, 256)) * np.arange(1, 257) ** -1.0
    matrix = scale * torch.from_numpy(rows.T @ rows + (rank == 0))
    found = eigensolvers.eigh_full(matrix), eigensolvers.eigh_for_errors(matrix)
    monkeypatch.setattr(eigensolvers, "_ALIGNED", 10**6)
    wanted = eigensolvers.eigh_full(matrix), eigensolvers.eigh_for_errors(matrix)
    for one, other, eps in zip(found, wanted, (1e-15, 1e-6), strict=True):
        assert one.values.shape == other.values.shape
        largest = float(other.values[0])
        torch.testing.assert_close(one.values, other.values, rtol=0, atol=30 * eps * largest)
        inner = one.vectors.T @ one.vectors
        torch.testing.assert_close(inner, torch.eye(len(inner)).to(inner), rtol=0, atol=300 * eps)
        made = (one.vectors * one.values) @ one.vectors.T.double()
        torch.testing.assert_close(made, matrix, rtol=0, atol=60 * eps * largest)
