"""The label is read against random heads, and against whether the outputs hold the targets."""

from __future__ import annotations

import math

import numpy as np
import pytest

import fswidget as fs
from fswidget.analysis.nulls import Features, _low_rank, random_heads
from fswidget.analysis.regime import classify, label
from fswidget.figures.theme import regime_zones

C = 12


def random_head(seed, n=400, p=64, classes=10, exponent=0.5):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, p)) * np.arange(1, p + 1.0) ** -exponent
    features += 0.5 * rng.normal(size=p)
    return features, features @ rng.normal(size=(p, classes)), np.arange(n) % classes


@pytest.mark.parametrize(
    ("p", "rank", "exponent"),
    [
        (64, 9, 0.5),
        (64, 9, 1.5),
        (40, 1, 0.5),
        (16, 2, 0.5),
        (256, 4, 1.0),
        (48, 39, 2.0),
        (30, 13, 1.0),
    ],
)
def test_five_random_heads_in_a_hundred_are_below_the_band(p, rank, exponent):
    values = np.arange(1, p + 1.0) ** -exponent
    means = 0.8 * np.eye(p)[0] + 0.02
    root = np.sqrt(values)
    covariance = np.diag(values) - np.outer(means * root, means * root)
    features = Features(values, means, float(np.linalg.norm(covariance)))
    low = random_heads(features, rank).low_rank_measure_low
    heads = np.random.default_rng(1).normal(size=(5000, rank, p)) * root
    below = np.mean([(_low_rank(features, part) < low).mean() for part in np.split(heads, 10)])
    assert below == pytest.approx(0.05, abs=0.01 if rank <= 12 else 0.015)


def test_the_band_is_of_the_features_that_were_given():
    below = []
    for seed in range(200):
        found = fs.analyze(*random_head(seed), errors=False)
        below.append(found.low_rank_measure < found.null.low_rank_measure_low)
    assert np.mean(below) == pytest.approx(0.05, abs=0.045)
    assert found.null.used_features == pytest.approx(found.used_features, abs=0.2 * 64)


def test_many_output_functions_take_the_normal_limit():
    drawn, found = [], None
    for seed in range(20):
        data = random_head(seed, n=600, p=200, classes=140)
        found = fs.analyze(*data, errors=False)
        drawn.append(found.low_rank_measure)
    assert found.null.low_rank_measure == pytest.approx(np.mean(drawn), abs=0.02)
    assert found.null.used_features == pytest.approx(found.used_features, abs=6)


@pytest.mark.parametrize(
    ("used", "target_share", "said"),
    [(16, 0.99, True), (27, 0.99, True), (27, 0.84, False), (10, 0.99, False), (60, 0.99, False)],
)
def test_a_label_that_only_the_last_of_the_loss_moves_says_so(used, target_share, said):
    """Squared error and α = 1: k95 goes from 16 to 27 while the loss goes from small to nothing."""
    found = classify(
        used_features=used,
        num_features=256,
        num_outputs=10,
        classification=True,
        low_rank_measure=0.2,
        top_share=0.8,
        task="squared_error",
        target_share=target_share,
        kernel_drift=0.38,
    )
    assert ("nothing changes but the last of the loss" in found.evidence) == said


@pytest.mark.parametrize("p", range(1, 2 * C + 1))
def test_random_features_are_never_minimal_whatever_their_number(p):
    for seed in range(4):
        found = fs.analyze(*random_head(seed, n=240, p=p, classes=C), errors=False).regime
        assert found.label != "MF"
        if p < C:
            assert found.evidence.startswith("Not defined: fewer features than outputs")


@pytest.mark.parametrize("n", [2, C - 1, C, 2 * C - 1])
def test_nor_are_those_of_few_samples(n):
    for seed in range(4):
        found = fs.analyze(*random_head(seed, n=n, p=40, classes=C), errors=False).regime
        assert found.label != "MF"
        if n < C:
            assert found.evidence.startswith(f"Not defined: fewer samples than outputs, {n} of")


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


def test_heads_on_little_but_a_constant_have_no_band() -> None:
    # An eigenvalue of 1e16 beside 1: in double precision, one function alone is the constant.
    values, means = np.array([1e16, 1.0, 0.5]), np.array([1.0, 0.0, 0.0])
    with np.errstate(all="raise"):
        band = random_heads(Features(values, means, 1.0), 1)
    assert band.used_features == 1
    assert np.isnan([band.low_rank_measure, band.low_rank_measure_low]).all()


def test_the_lazy_twin_is_the_least_squares_head():
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 5
    features = rng.normal(size=(400, 24)) + rng.normal(size=(5, 24))[labels]
    twin = fs.analyze(features, features[:, :5], labels, task="squared_error").lazy_twin
    head = np.linalg.lstsq(features, np.eye(5)[labels], rcond=None)[0]
    refitted = fs.analyze(features, features @ head, labels, task="squared_error")
    assert twin.low_rank_measure == pytest.approx(refitted.low_rank_measure, rel=1e-9)
    assert twin.used_features == refitted.used_features


NUMBERS = {
    "num_features": 100,
    "num_outputs": 10,
    "classification": True,
    "low_rank_measure": 0.1,
    "top_share": 0.9,
}


@pytest.mark.parametrize(
    ("k95", "expected"),
    [
        # Little more than one in two that it is at most 10, and none that it is above 20.
        ((10.3, 1.2), ["MF", "MF", "TRANSITION", "MF"]),
        ((9.0, 1.2), ["MF", "MF", "MF", "MF"]),
        ((math.nan, math.nan), ["MF", "MF", "MF", "MF"]),
    ],
)
def test_a_label_stays_while_the_former_is_likely(k95, expected):
    found = [
        classify(used_features=9, k95=k95, previous=previous, **NUMBERS).label
        for previous in (None, "MF", "TRANSITION", "EF")
    ]
    assert found == expected


@pytest.mark.parametrize(
    ("k95", "error", "expected"),
    [(9.0, 12**-0.5, 1.0), (10.5, 4.0, 0.5), (21.0, 1.0, 0.0), (14.0, 3.0, 0.11)],
)
def test_confidence_is_the_probability_of_the_label(k95, error, expected):
    found = classify(used_features=9, k95=(k95, error), **NUMBERS)
    assert found.label == "MF"
    assert found.confidence == pytest.approx(expected, abs=0.05)


def test_a_small_probe_says_what_its_bias_hides():
    found = classify(used_features=9, k95=(24.0, 5.0), **NUMBERS)
    assert "Without the bias of so small a probe k95 is 24 ± 5." in found.evidence
    assert found.confidence < 0.05


@pytest.mark.parametrize(
    ("drift", "outputs", "expected"),
    [
        (0.0, 0.0, "LAZY"),  # the last layer alone, after its first step
        (0.008, 1.0, "LAZY"),
        (0.008, 0.5, "EF"),  # on its way: the outputs have done half of theirs
        (0.04, 1.0, "EF"),
        (math.nan, 1.0, "EF"),
    ],
)
def test_features_are_unmoved_beside_what_the_outputs_moved(drift, outputs, expected):
    assert label(21, 10, kernel_drift=drift, output_drift=outputs) == expected


@pytest.mark.parametrize(
    ("used", "expected"), [(10, "MF"), (11, "TRANSITION"), (20, "TRANSITION"), (21, "EF")]
)
def test_the_limits_are_c_and_twice_c(used, expected):
    assert classify(used_features=used, **NUMBERS).label == expected
    assert classify(used_features=used, outputs_moved=False, **NUMBERS).label == "UNTRAINED"
    # A regression with one output has two: the output and the constant.
    regression = NUMBERS | {"classification": False, "num_outputs": 1}
    assert classify(used_features=2, **regression).label == "MF"


def test_confidence_in_lazy_is_that_of_the_drift():
    known = {"used_features": 30, "k95": (30.0, 1.0), "kernel_drift": 0.01}
    found = classify(kernel_drift_error=0.003, **known, **NUMBERS)
    assert found.label == "LAZY"
    assert found.confidence == pytest.approx(0.5, abs=0.05)


def random_network(seed):
    """Features of any spectrum, fewer or more than the outputs need, as samples, with outputs of
    any kind."""
    rng = np.random.default_rng(seed)
    classes, regression = int(rng.integers(2, 9)), bool(rng.integers(2))
    p = int(rng.integers(1, 2 * classes + 1) if seed % 2 else rng.integers(1, 65))
    n = 240 if seed % 3 else int(rng.integers(2, 2 * classes + 2))
    labels = np.arange(n) % classes
    features = rng.normal(size=(n, p)) * np.arange(1, p + 1.0) ** -rng.uniform(0, 2)
    features += rng.uniform(0, 3) * rng.normal(size=(classes, p))[labels] + rng.normal(size=p)
    outputs = features @ rng.normal(size=(p, classes)) * rng.uniform(0, 1, classes)
    targets = outputs + rng.normal(size=outputs.shape) if regression else labels
    return features, outputs, targets, "squared_error" if regression else "cross_entropy"


@pytest.mark.parametrize("seed", range(60))
def test_label_sentence_gauge_and_figure_go_by_one_limit(seed):
    features, outputs, targets, task = random_network(seed)
    recorder = fs.Recorder(task=task)
    recorder.snapshot(features, outputs, targets, epoch=1)
    frame, limit = recorder.recording[-1], recorder.recording.info.minimal_features
    spectrum = fs.analyze(features, outputs, targets, task=task)
    regime, used = spectrum.regime, frame.scalars["used_features"]
    assert (frame.labels["regime"], used) == (regime.label, spectrum.used_features)
    assert regime.numbers["limit"] == spectrum.minimal_features == limit
    assert f"uses {used:.0f} of {features.shape[1]} features" in frame.labels["evidence"]
    zone = "MF" if used <= limit else "TRANSITION" if used <= 2 * limit else "EF"
    directions = recorder.recording.info.directions
    assert directions == min(features.shape)
    others = {"UNTRAINED"} if zone == "MF" else set()  # where nothing was learned
    others |= {"TRANSITION"} if directions < 2 * limit else set()
    assert regime.label in {zone} | others
    assert ("Somewhat more features" in regime.evidence) == (
        regime.label == "TRANSITION" and used > limit and directions >= limit
    )
    for name, low, high in regime_zones(recorder.recording.info, frame):
        if low < used <= high and regime.label != "UNTRAINED":
            assert name == ("UNDEFINED" if directions <= limit else regime.label)
    if seed < 4:
        for name in ("spectrum", "cumulative"):
            line = recorder.recording.figure(name).select_one({"name": "outputs"})
            assert line.location == limit
