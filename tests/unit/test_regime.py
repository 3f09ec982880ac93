"""The label is read against random heads, and against whether the outputs hold the targets."""

from __future__ import annotations

import numpy as np
import pytest

import fswidget as fs
from fswidget.analysis.regime import classify, label

C = 12


def random_head(seed, n=400, p=64, classes=10, exponent=0.5):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, p)) * np.arange(1, p + 1.0) ** -exponent
    features += 0.5 * rng.normal(size=p)
    return features, features @ rng.normal(size=(p, classes)), np.arange(n) % classes


@pytest.mark.parametrize(
    ("p", "classes", "exponent"), [(64, 10, 0.5), (64, 10, 1.5), (40, 2, 0.5), (48, 40, 0.5)]
)
def test_one_random_head_in_twenty_is_below_the_band(p, classes, exponent):
    below = []
    for seed in range(120):
        data = random_head(seed, p=p, classes=classes, exponent=exponent)
        found = fs.analyze(*data, errors=False)
        below.append(found.low_rank_measure < found.null.low_rank_measure_low)
    assert 0.0 <= np.mean(below) < 0.05 + 4 * np.sqrt(0.05 * 0.95 / 120)
    assert found.null.used_features == pytest.approx(found.used_features, abs=0.2 * p)


def test_many_output_functions_take_the_normal_limit():
    drawn, found = [], None
    for seed in range(20):
        data = random_head(seed, n=600, p=200, classes=140)
        found = fs.analyze(*data, errors=False)
        drawn.append(found.low_rank_measure)
    assert found.null.low_rank_measure == pytest.approx(np.mean(drawn), abs=0.02)
    assert found.null.used_features == pytest.approx(found.used_features, abs=6)


@pytest.mark.parametrize("p", range(1, 2 * C + 1))
def test_random_features_are_never_minimal_whatever_their_number(p):
    for seed in range(4):
        found = fs.analyze(*random_head(seed, n=240, p=p, classes=C), errors=False).regime
        assert found.label != "MF"
        if p < C:
            assert found.evidence.startswith("Not defined: fewer features than outputs")


@pytest.mark.parametrize("p", range(C, 2 * C + 1))
def test_collapsed_features_are_minimal_where_there_are_as_many_as_outputs(p):
    rng = np.random.default_rng(p)
    means = np.linalg.qr(rng.normal(size=(p, C)))[0].T
    labels = np.arange(360) % C
    features = means[labels] + 1e-3 * rng.normal(size=(360, p))
    found = fs.analyze(features, features @ means.T, labels).regime
    assert found.label == "MF"
    assert ("Extended features cannot be told" in found.evidence) == (p < 2 * C)


def test_what_has_learned_nothing_is_not_minimal():
    rng = np.random.default_rng(0)
    labels = np.arange(600) % 10
    hidden = rng.normal(size=(600, 4))
    features = hidden @ rng.normal(size=(4, 64))  # few features, of no use
    found = fs.analyze(features, features @ rng.normal(size=(64, 10)), labels)
    assert found.used_features <= 10
    assert found.target_share < 0.1
    assert found.regime.label == "UNTRAINED"
    assert found.regime.evidence.startswith("Nothing has been learned yet")


def test_the_share_of_the_targets_is_one_minus_what_chance_leaves():
    rng = np.random.default_rng(0)
    labels = np.arange(600) % 10
    rows = np.eye(10)[labels]
    features = np.concatenate([rows, rng.normal(size=(600, 20))], 1)
    assert fs.analyze(features, features[:, :10], labels).target_share == pytest.approx(1)
    shares = [
        fs.analyze(f, f @ rng.normal(size=(30, 10)), labels, errors=False).target_share
        for f in (rng.normal(size=(600, 30)) for _ in range(20))
    ]
    assert abs(np.mean(shares)) < 0.01
    # A regression: the squared correlation.
    x, noise = rng.normal(size=(2, 100_000))
    found = fs.analyze(x[:, None], x, x + noise, task="squared_error", errors=False)
    assert found.target_share == pytest.approx(0.5, abs=0.01)


def test_the_lazy_twin_is_the_least_squares_head():
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 5
    features = rng.normal(size=(400, 24)) + rng.normal(size=(5, 24))[labels]
    twin = fs.analyze(features, features[:, :5], labels, task="squared_error").lazy_twin
    head = np.linalg.lstsq(features, np.eye(5)[labels], rcond=None)[0]
    refitted = fs.analyze(features, features @ head, labels, task="squared_error")
    assert twin.low_rank_measure == pytest.approx(refitted.low_rank_measure, rel=1e-9)
    assert twin.used_features == refitted.used_features


def test_a_label_stays_while_the_replicates_are_divided():
    numbers = {
        "num_features": 100,
        "num_outputs": 10,
        "classification": True,
        "low_rank_measure": 0.1,
        "top_share": 0.9,
    }
    divided = [(9.0, np.nan)] * 5 + [(11.0, np.nan)] * 3
    agreed = [(9.0, np.nan)] * 6 + [(11.0, np.nan)] * 2
    found = [
        classify(used_features=9, replicates=replicates, previous=previous, **numbers).label
        for replicates in (divided, agreed)
        for previous in (None, "MF", "TRANSITION", "EF")
    ]
    assert found == ["MF", "MF", "TRANSITION", "MF", "MF", "MF", "MF", "MF"]


@pytest.mark.parametrize(
    ("drift", "used", "expected"),
    [(0.09, 5, "LAZY"), (0.11, 5, "MF"), (0.11, 11, "LAZY"), (0.13, 11, "TRANSITION")],
)
def test_slow_features_are_lazy_where_more_are_in_use_than_is_minimal(drift, used, expected):
    assert label(used, 10, kernel_drift=drift) == expected
