"""What a finite probe does to the estimates: bias, error bars, and how often they hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import fswidget as fs
from fswidget.analysis import eigensolvers, replicates
from fswidget.analysis.averages import Averages, Span
from fswidget.analysis.extrapolation import mixed, two_steps, used_features
from fswidget.analysis.jackknife import LeftOut
from fswidget.analysis.measures import crossing
from fswidget.analysis.moments import Moments
from fswidget.analysis.targets import assign_blocks


def collapsed(rng, n, p, classes, noise):
    """Orthogonal class means, drawn class by class, and D_LR of their population."""
    means = 5 * np.linalg.qr(np.random.default_rng(0).normal(size=(p, classes)))[0].T
    labels = np.arange(n) % classes
    features = means[labels] + noise * rng.normal(size=(n, p))
    r, strong = classes - 1, 25 / classes + noise**2
    truth = 1 - math.sqrt(r) * strong / math.sqrt(r * strong**2 + (p - r) * noise**4)
    return (features, features @ means.T, labels), truth


def power_law(rng, n, p, r, exponent):
    eigenvalues = np.arange(1, p + 1.0) ** -exponent
    features = rng.normal(size=(n, p)) * np.sqrt(eigenvalues)
    truth = 1 - eigenvalues[:r].sum() / math.sqrt(r * (eigenvalues**2).sum())
    return (features, features[:, :r], features[:, :r]), truth


@pytest.mark.parametrize(
    ("draw", "task", "plain_is_wrong"),
    [
        (lambda rng: power_law(rng, 256, 256, 9, 0), "squared_error", True),
        (lambda rng: power_law(rng, 256, 256, 9, 2), "squared_error", False),
        (lambda rng: collapsed(rng, 256, 256, 10, 0.05), "cross_entropy", False),
        (lambda rng: collapsed(rng, 256, 256, 10, 0.5), "cross_entropy", True),
    ],
    ids=["isotropic", "power law", "collapsed", "half collapsed"],
)
def test_debiased_low_rank_measure_is_right_at_n_equal_p(draw, task, plain_is_wrong):
    rng = np.random.default_rng(7)
    plain, debiased = [], []
    for _ in range(12):
        data, truth = draw(rng)
        spectrum = fs.analyze(*data, task=task, debias=True, errors=False)
        assert spectrum.low_rank_measure == spectrum.low_rank_measure_debiased
        debiased.append(spectrum.low_rank_measure - truth)
        plain.append(fs.analyze(*data, task=task, errors=False).low_rank_measure - truth)
    assert abs(np.mean(debiased)) < 0.01
    assert (abs(np.mean(plain)) > 0.02) == plain_is_wrong


def test_sampling_by_class_leaves_less_bias_than_one_error_bar():
    rng = np.random.default_rng(5)
    found = []
    for _ in range(60):
        data, truth = collapsed(rng, 640, 32, 5, 0.5)
        found.append(fs.analyze(*data, errors=False).low_rank_measure_debiased - truth)
    assert abs(np.mean(found)) < 0.7 * np.std(found)


def test_standard_errors_cover_the_truth():
    rng = np.random.default_rng(3)
    p, classes, noise, hits = 12, 4, 1.0, []
    strong = 25 / classes
    eigenvalues = np.full(p, noise**2)
    eigenvalues[:classes] += strong
    share = eigenvalues / eigenvalues.sum()
    truths = {
        "effective_rank": np.exp(-(share * np.log(share)).sum()),
        "nc1": noise**2 * (classes - 1) / strong,
    }
    for _ in range(150):
        data, truths["low_rank_measure"] = collapsed(rng, 640, p, classes, noise)
        spectrum = fs.analyze(*data, debias=True)
        found = {
            "low_rank_measure": spectrum.low_rank_measure,
            "effective_rank": spectrum.effective_rank_debiased,
            "nc1": spectrum.nc1,
        }
        hits.append([abs(found[n] - truth) <= spectrum.errors[n] for n, truth in truths.items()])
    # 68% nominal, 65% with eight blocks; four standard deviations of 150 draws either way.
    for share, name in zip(np.mean(hits, 0), truths, strict=True):
        assert 0.5 < share < 0.83, name


def test_blocks_share_out_every_class_of_a_balanced_probe():
    labels = np.random.default_rng(0).permutation(np.arange(800) % 10)
    blocks = assign_blocks(labels)
    for label in range(10):
        np.testing.assert_array_equal(np.bincount(blocks[labels == label], minlength=8), 10)
    # One-hot rows name the same classes.
    np.testing.assert_array_equal(assign_blocks(np.eye(10)[labels]), blocks)
    # Also where a class does not divide evenly: without a block, classes stay equally many.
    labels = np.random.default_rng(0).permutation(np.arange(1000) % 10)
    blocks = assign_blocks(labels)
    for block in range(8):
        assert len(set(np.bincount(labels[blocks != block]))) == 1
    # Sorted or cyclic classes of unequal number do not line up with the blocks either.
    labels = np.sort(np.random.default_rng(0).integers(0, 8, 801))
    assert np.bincount(assign_blocks(labels), minlength=8).max() == 101


def test_real_spectra_carry_a_confidence():
    data, _ = collapsed(np.random.default_rng(0), 400, 30, 10, 0.5)
    regime = fs.analyze(*data).regime
    assert (regime.label, regime.confidence) == ("MF", 1.0)
    assert math.isnan(fs.analyze(*data, errors=False).regime.confidence)


def rectified(rng, n, p):
    """What a ReLU gives of classes, and a head that reads along their means."""
    labels = np.arange(n) % 10
    hidden = 2 * rng.normal(size=(10, 40))[labels] + rng.normal(size=(n, 40))
    features = hidden @ rng.normal(size=(40, p)) / 6 + 0.5 * rng.normal(size=(n, p))
    features = np.maximum(features, 0)
    means = np.array([features[labels == label].mean(0) for label in range(10)])
    return features, (features - features.mean(0)) @ (means - features.mean(0)).T, labels


NEAR = {
    "slow decay": (lambda rng: power_law(rng, 1600, 160, 6, 0.5)[0], "squared_error"),
    "decay": (lambda rng: power_law(rng, 640, 160, 6, 1.0)[0], "squared_error"),
    "fast decay": (lambda rng: power_law(rng, 640, 160, 6, 2.0)[0], "squared_error"),
    "flat": (lambda rng: collapsed(rng, 1600, 160, 10, 0.3)[0], "cross_entropy"),
    "rectified": (lambda rng: rectified(rng, 1600, 160), "cross_entropy"),
    "fewer samples than features": (lambda rng: rectified(rng, 170, 250), "cross_entropy"),
    "each twice": (
        lambda rng: tuple(
            np.hstack([x, x]) if x.shape[1:] == (160,) else x for x in rectified(rng, 800, 160)
        ),
        "cross_entropy",
    ),
}


@pytest.mark.parametrize("case", NEAR)
def test_error_bars_from_known_eigenpairs_are_those_of_full_solves(case, monkeypatch):
    draw, task = NEAR[case]
    data = draw(np.random.default_rng(2))
    solved = []
    monkeypatch.setattr(replicates, "eigh_for_errors", lambda m: solved.append(m) or real(m))
    real = eigensolvers.eigh_full
    near = fs.analyze(*data, task=task)
    assert len(solved) in (0, 4)  # at most of the halves
    solved.clear()
    monkeypatch.setattr(replicates, "_NARROW", 10**6)
    full = fs.analyze(*data, task=task)
    assert len(solved) in (8, 12)
    for name, error in full.errors.items():
        assert near.errors[name] == pytest.approx(error, rel=0.02, nan_ok=True), name
    assert near.effective_rank_debiased == pytest.approx(full.effective_rank_debiased, rel=2e-3)
    assert near.used_features_debiased == pytest.approx(full.used_features_debiased, abs=0.05)
    lead = slice(0, near.used_features)
    for curve in ("quality_error", "utilization_error"):
        found, wanted = getattr(near, curve)[lead], getattr(full, curve)[lead]
        # What the others turn among themselves is left out: most, where samples are few.
        left_out = 0.16 if case == "fewer samples than features" else 0.03
        np.testing.assert_allclose(found, wanted, rtol=0.03, atol=left_out * wanted.max())


def test_of_sets_found_by_a_step_and_of_those_solved_for_each_has_its_own(monkeypatch):
    features, outputs, labels = rectified(np.random.default_rng(2), 1600, 160)
    moments = Moments(160, 10, 10, num_blocks=8)
    moments.update(features, outputs, labels)
    averages = Averages.of(moments)
    part = averages.columns.features
    known = eigensolvers.eigh_full(averages.second(part, part))
    near = replicates.Neighbourhood(averages, known, 10)
    left = LeftOut(moments._gram, averages).averages(range(8))
    rows = Span.of_outputs(left, "cross_entropy", 1e-5).cross
    stepped = torch.cat([found.coefficients for found in near.expand(left, rows)])
    squares = near._step(left).mixed.sort().values
    monkeypatch.setattr(replicates, "_MIXED", float(squares[3:5].mean()))
    monkeypatch.setitem(replicates._AT_ONCE, "cpu", 4 * 160**2)
    found = near.expand(left, rows)
    assert [place for some in found for place in some.places] == list(range(8))
    by_step = [some for some in found if some.entropy is not None]
    assert sum(len(some.places) for some in by_step) == 4
    for some in by_step:
        torch.testing.assert_close(some.coefficients, stepped[some.places], rtol=1e-4, atol=1e-5)


def test_error_bars_are_solved_for_where_one_step_does_not_do(monkeypatch):
    data, _ = power_law(np.random.default_rng(2), 320, 160, 6, 0.5)  # all couples to all
    solved = []
    monkeypatch.setattr(replicates, "eigh_for_errors", lambda m: solved.append(m) or real(m))
    real = eigensolvers.eigh_for_errors
    fs.analyze(*data, task="squared_error")
    assert len(solved) == 12  # four of halves


def test_k95_without_bias_holds_the_truth_where_the_plain_one_never_does():
    rng = np.random.default_rng(0)
    p, d = 64, 40
    weights, head = rng.normal(size=(d, p)) / math.sqrt(d), rng.normal(size=(p, 10))

    def draw(n):
        features = np.maximum(rng.normal(size=(n, d)) @ weights, 0)
        return features, features @ head, np.arange(n) % 10

    truth = fs.analyze(*draw(20_000), errors=False).used_features
    plain, debiased, errors = [], [], []
    for _ in range(40):
        found = fs.analyze(*draw(200))
        plain.append(found.used_features - truth)
        debiased.append(found.used_features_debiased - truth)
        errors.append(found.errors["used_features"])
    told = ~np.isnan(debiased)
    assert told.mean() >= 0.9
    assert np.mean(plain) < -4
    assert abs(np.mean(np.array(debiased)[told])) < 1.5
    assert 0.4 < np.mean((np.abs(debiased) <= np.array(errors))[told]) < 0.97
    data, _ = collapsed(rng, 640, 32, 10, 0.05)
    found = fs.analyze(*data)
    assert found.used_features_debiased == pytest.approx(10, abs=0.1)
    assert 0.2 < found.errors["used_features"] < 0.5


def test_what_a_probe_does_not_tell_is_withheld_with_the_reason():
    rng = np.random.default_rng(0)
    few = fs.analyze(*power_law(rng, 40, 32, 6, 1.0)[0], task="squared_error")
    assert math.isnan(few.used_features_debiased)
    assert math.isnan(few.errors["used_features"])
    assert few.regime.evidence.endswith("Too few samples to say how sure k95 is: 40.")
    assert math.isnan(few.regime.confidence)
    # A rank of 32 from 24 samples would be more than half extrapolated.
    flat = fs.analyze(*power_law(rng, 24, 32, 2, 0.0)[0], task="squared_error")
    assert math.isnan(flat.effective_rank_debiased)
    assert math.isnan(flat.errors["effective_rank"])
    more = fs.analyze(*power_law(rng, 64, 32, 6, 1.0)[0], task="squared_error")
    assert 6 <= more.used_features_debiased <= 32  # 0.95 of six functions need six
    assert "ow sure" not in more.regime.evidence
    # Neighbouring eigenvalues that differ by less than sampling tells: k95 is 57, and read as 97.
    close = fs.analyze(*power_law(rng, 512, 128, 60, 0.5)[0], task="squared_error")
    assert close.used_features > 90
    assert math.isnan(close.used_features_debiased)
    assert math.isnan(close.errors["used_features"])
    assert close.regime.evidence.endswith("weaker features mix with those in use.")


def test_k95_is_withheld_where_most_of_its_error_would_be_a_guess():
    known = {"least": 9.5, "most": 50}
    places = 19.5, [19.5] * 8, [19.5] * 4
    told = used_features(20, places, **known, leaked=1.0)
    assert told == (20, pytest.approx(math.hypot(1 / 4, math.sqrt(1 / 12))))
    assert math.isnan(used_features(20, places, **known, leaked=1.2).error)  # 0.3 > √(1/12)
    # As few as ten functions need: what leaks has made it no larger.
    least = used_features(10, (9.5, [9.5] * 8, [9.5] * 4), **known, leaked=1.2)
    assert least == (10, pytest.approx(math.hypot(0.3, math.sqrt(1 / 12))))
    # With few samples in halves, too, but where these find it to rise by more than what leaks:
    # most of its bias is not from there.
    for rise, told in ((0.9, False), (1.1, True)):
        halves = [19.5 - rise] * 4
        found = used_features(20, (19.5, [19.5] * 8, halves), **known, leaked=1.0, enough=False)
        assert math.isnan(found.value) != told
    # With enough of them half of what leaks will do.
    for rise, told in ((1.6, False), (2.4, True)):
        found = used_features(20, (19.5, [19.5] * 8, [19.5 - rise] * 4), **known, leaked=4.0)
        assert math.isnan(found.value) != told
    # Heavier tails mix as fewer samples do.
    values, shares = np.array([2.0, 1.0]), np.array([1.0, 0.0])
    assert mixed(values, shares, 1, 300, tails=3) == pytest.approx(mixed(values, shares, 1, 100))
    # Two that are wholly mixed say nothing: of the pairs (1, 3) and (2, 3) the first alone counts.
    values, shares = np.array([2.0, 1.01, 1.0]), np.array([0.5, 0.2, 0.3])
    assert mixed(values, shares, 2, 100) == pytest.approx(2 / 100 * 0.2 / (1 / 3))


def test_k95_is_withheld_where_halves_hold_less_than_two_samples_per_feature_used():
    rng = np.random.default_rng(4)
    features = rng.normal(size=(48, 24)) * np.arange(1, 25) ** -0.5
    found = fs.analyze(features, features @ rng.normal(size=(24, 2)), np.arange(48) % 2)
    assert 24 / 2 < found.used_features < 48 / 2
    assert math.isnan(found.used_features_debiased)


def test_nc1_is_withheld_where_class_means_do_not_stand_out_of_their_noise():
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 10
    for apart, told in ((2.0, False), (5.0, True)):
        features = apart * np.eye(10, 20)[labels] + rng.normal(size=(60, 20))
        found = fs.analyze(features, features[:, :10], labels)
        assert math.isnan(found.nc1_debiased) != told
        assert math.isnan(found.errors["nc1"]) != told
        why = "Too few samples for NC1 without its bias: classes lie too close together."
        assert (why in found.regime.evidence) != told
        # Six of each class cannot lose one of each to every block.
        assert math.isnan(found.effective_rank_debiased)
    few = fs.analyze(features[:15], features[:15, :10], labels[:15])
    assert few.regime.evidence.endswith("NC1 without its bias: 15, of 10 classes.")


def test_the_rank_of_equal_features_is_found_from_twice_as_many_samples():
    rng = np.random.default_rng(1)
    found = [
        fs.analyze(*power_law(rng, 64, 32, 4, 0.0)[0], task="squared_error") for _ in range(12)
    ]
    misses = np.array([spectrum.effective_rank_debiased - 32 for spectrum in found])
    errors = np.array([spectrum.errors["effective_rank"] for spectrum in found])
    assert abs(misses.mean()) < 0.6  # one jackknife step leaves it 1.0 too small
    assert np.mean(abs(misses) <= 2.365 * errors) >= 0.75


def test_the_error_of_a_rank_grows_as_its_square():
    def of(r, shaken=0.0):  # of n samples r equal eigenvalues have rank 1/(1/r + 1/n)
        value, left, half = (1 / (1 / r + 1 / n) for n in (80, 70, 40))
        share = math.exp(math.asinh(shaken / left))  # the mean of the logarithm stays
        return value, [left * share, left / share] * 4, [half] * 4

    still, shaken = two_steps(*of(20)), two_steps(*of(20, 0.1))
    assert still.value == pytest.approx(20, rel=0.02)
    own = math.sqrt(shaken.error**2 - still.error**2)
    assert own == pytest.approx(0.1 * math.sqrt(7) * (still.value / of(20)[0]) ** 2)
    assert math.isnan(two_steps(*of(20), 15.9).error)  # the plain one is 16


def test_the_crossing_is_k95_without_its_steps():
    line = np.arange(1, 201) / 200
    assert crossing(line, 300) == pytest.approx(190)
    shaken = line + 0.004 * np.where(np.arange(200) % 2, 1, -1)  # no single step carries it
    assert crossing(shaken, 300) == pytest.approx(190, abs=0.2)
    jumps = np.minimum(np.arange(1, 201) / 10 * 0.96, 0.96)  # ten features in use, and then none
    jumps[100:] = 1
    assert 9 < crossing(jumps, 300) <= 10
    assert crossing(np.full(5, 0.96), 300) == pytest.approx(0.95 / 0.96)
    assert crossing(np.full(5, 0.9), 300) == 300


def test_a_head_outside_the_features_uses_all_of_them_and_nc1_loses_its_bias():
    rng = np.random.default_rng(0)
    data, _ = collapsed(rng, 400, 12, 4, 1.0)
    outputs = rng.normal(size=(400, 4))
    lost = fs.analyze(data[0], outputs, data[2])
    assert lost.used_features_debiased == lost.used_features == 12
    found = [fs.analyze(*collapsed(rng, 64, 12, 4, 1.0)[0]) for _ in range(40)]
    truth = 3 / (25 / 4)
    plain, debiased = (np.mean([getattr(s, n) for s in found]) for n in ("nc1", "nc1_debiased"))
    assert abs(debiased - truth) < 0.015 < abs(plain - truth)
    assert math.isnan(fs.analyze(*data, errors=False).nc1_debiased)


def test_rank_me_counts_equal_directions():
    features = np.tile(np.eye(6), (10, 1)) * 2
    found = fs.analyze(features, features[:, :3], np.arange(60) % 3, errors=False)
    assert found.rank_me == pytest.approx(6)
    features = features * np.array([1, 1, 0.25, 0.25, 0, 0])
    found = fs.analyze(features, features[:, :3], np.arange(60) % 3, errors=False)
    share = np.array([0.4, 0.4, 0.1, 0.1])
    assert found.rank_me == pytest.approx(math.exp(-(share * np.log(share)).sum()))
