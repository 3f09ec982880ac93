"""Neural collapse, alignment and the exponent of the spectrum, against closed forms and rows."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import fswidget as fs
from fswidget.analysis.measures import measures_of
from fswidget.probing.frames import WeightChange, squared_norm

pytestmark = pytest.mark.filterwarnings("ignore:targets")


def simplex(classes, p):
    """Corners of a simplex of equal sides about the origin, of length 1."""
    frame = np.linalg.qr(np.random.default_rng(3).normal(size=(p, classes)))[0]
    corners = (np.eye(classes) - 1 / classes) @ frame.T
    return corners / np.linalg.norm(corners[0])


@pytest.mark.parametrize("task", ["cross_entropy", "squared_error"])
@pytest.mark.parametrize("counts", [[30, 30, 30, 30], [60, 20, 7, 3]])
def test_every_measure_of_collapse_is_0_where_there_is_collapse(task, counts):
    means, labels = simplex(4, 9) + 2.0, np.repeat(np.arange(4), counts)
    outputs = means[labels] @ simplex(4, 9).T * 5 + 1
    found = fs.analyze(means[labels], outputs, labels, task=task, errors=False)
    for name in ("nc1", "nc2", "nc3", "cdnv"):
        assert getattr(found, name) < 1e-6, name


@pytest.mark.parametrize(
    ("labels", "unknown"),
    [
        ([0, 1, 2, 3], {"nc1", "cdnv", "nc1_debiased"}),  # one sample of each
        ([0, 1, 1, 2, 2, 3, 3], {"cdnv"}),  # of one class: its variance is not known
        ([0, 1], {"nc1", "cdnv", "nc1_debiased", "kernel_drift"}),  # kernels of two are all alike
        ([0] * 9, {"nc1", "nc2", "nc3", "cdnv", "nc4", "nc1_debiased", "target_alignment"}),
    ],
)
def test_what_so_few_samples_do_not_tell_is_nan(labels, unknown):
    rng = np.random.default_rng(0)
    features, before = rng.normal(size=(2, len(labels), 6))
    outputs, labels = features @ rng.normal(size=(6, 4)), np.array(labels)
    found = fs.analyze(features, outputs, labels, reference=before, errors=False)
    names = ("nc1", "nc2", "cdnv", "target_alignment", "kernel_drift", "rank_me")
    values = {name: getattr(found, name) for name in names}
    values["nc4"] = found.nc4_of(features, outputs)
    assert {name for name, value in values.items() if math.isnan(value)} == unknown & {*values}
    assert math.isnan(found.nc1_debiased)
    # Nor do samples that are all the same say which mean is nearest.
    same = fs.analyze(np.ones((6, 3)), np.ones((6, 2)), np.arange(6) % 2, errors=False)
    assert math.isnan(same.nc4_of(np.ones((6, 3)), np.ones((6, 2))))


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1.0, 1e15, 1e25])
def test_norms_of_parameters_of_any_size_are_right(scale):
    model = torch.nn.Linear(3, 2, bias=False)
    torch.nn.init.constant_(model.weight, scale)
    change = WeightChange()
    change.refer_to(model, torch.device("cpu"))
    torch.nn.init.constant_(model.weight, 3 * scale)
    assert change.of(model, torch.device("cpu"))["weight_change"] == pytest.approx(2)
    assert squared_norm(model, torch.device("cpu")) == pytest.approx(54 * scale**2)


def test_cdnv_and_nc1_of_isotropic_noise_about_orthogonal_means():
    classes, p, length, noise = 5, 12, 3.0, 0.7
    means = length * np.linalg.qr(np.random.default_rng(0).normal(size=(p, classes)))[0].T
    # Both signs along each axis: means and covariances within classes are exact.
    cloud = noise * math.sqrt(p) * np.concatenate([np.eye(p), -np.eye(p)])
    features = np.concatenate([mean + cloud for mean in means])
    labels = np.repeat(np.arange(classes), 2 * p)
    found = fs.analyze(features, features @ means.T, labels, errors=False)
    assert found.cdnv == pytest.approx(p * noise**2 / (2 * length**2))
    assert found.nc1 == pytest.approx(noise**2 * (classes - 1) * classes / length**2)
    assert found.nc2 == pytest.approx(0, abs=1e-7)
    assert found.nc3 == pytest.approx(0, abs=1e-7)


def test_nc2_and_nc3_of_unequal_sides_and_turned_weights():
    # Three classes, one of length t: the Gram matrix of the centred means is known.
    t, labels = 3.0, np.arange(60) % 3
    means = np.diag([1.0, 1.0, t])
    centre = np.eye(3) - 1 / 3
    gram = centre @ np.diag([1, 1, t**2]) @ centre
    far = np.linalg.norm(gram / np.linalg.norm(gram) - centre / math.sqrt(2))
    found = fs.analyze(means[labels], means[labels], labels, errors=False)
    assert found.nc2 == pytest.approx(far)
    # Weights that point away from the means are as far as can be.
    equal = np.eye(3)[labels]
    assert fs.analyze(equal, -equal, labels, errors=False).nc3 == pytest.approx(2)
    # Weights along another class's mean: A is a turned simplex.
    turned = fs.analyze(equal, np.roll(equal, 1, 1), labels, errors=False)
    assert turned.nc3 == pytest.approx(
        math.sqrt(2 - 2 * np.trace(centre @ np.roll(centre, 1, 1)) / 2)
    )
    # As many outputs as classes are needed.
    two = fs.analyze(equal, equal, labels % 2, errors=False)
    assert math.isnan(two.nc3)
    assert two.nc2 == pytest.approx(0, abs=1e-7)


def test_measures_of_classes_from_moments_are_those_of_the_rows():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 4, 300)
    features = rng.normal(size=(300, 7)) + 40 + rng.normal(size=(4, 7))[labels]
    weights = rng.normal(size=(4, 7))
    outputs = features @ weights.T + 3
    means = np.stack([features[labels == c].mean(0) for c in range(4)])
    spread = [((features[labels == c] - means[c]) ** 2).sum(1).mean() for c in range(4)]
    pairs = [(a, b) for a in range(4) for b in range(a)]
    cdnv = np.mean(
        [(spread[a] + spread[b]) / 2 / ((means[a] - means[b]) ** 2).sum() for a, b in pairs]
    )
    centred, centre = (means - means.mean(0)).T, (np.eye(4) - 1 / 4) / math.sqrt(3)
    dual = weights @ centred
    distance = {}
    for task, matrix in (("squared_error", dual), ("cross_entropy", dual - dual.mean(0))):
        distance[task] = np.linalg.norm(matrix / np.linalg.norm(matrix) - centre)
    one_hot = np.eye(4)[labels]
    for task, nc3 in distance.items():
        found = fs.analyze(features, outputs, labels, task=task)
        assert found.cdnv == pytest.approx(cdnv)
        assert found.nc3 == pytest.approx(nc3)
        assert {"cdnv", "nc2", "nc3", "target_alignment"} < found.errors.keys()
        # Smoothed labels name the same classes.
        smooth = fs.analyze(features, outputs, 0.9 * one_hot + 0.025, task=task)
        assert (smooth.cdnv, smooth.nc3) == pytest.approx((cdnv, nc3))
    x, y = features - features.mean(0), one_hot - one_hot.mean(0)
    kernels = [x @ x.T, y @ y.T]
    norms = [np.linalg.norm(kernel) for kernel in kernels]
    assert found.target_alignment == pytest.approx((kernels[0] * kernels[1]).sum() / np.prod(norms))


def test_regressions_have_alignment_and_no_classes():
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(200, 6)) - 0)[0]
    basis = np.linalg.qr(basis - basis.mean(0))[0] * math.sqrt(200)
    # One feature of strength 2 is the target, five of strength 1 are not.
    features = basis * np.sqrt([2, 1, 1, 1, 1, 1])
    found = fs.analyze(features, basis[:, :1], basis[:, :1], task="squared_error", errors=False)
    assert found.target_alignment == pytest.approx(2 / 3)
    assert math.isnan(found.cdnv)
    frame = fs.Recorder(task="squared_error").snapshot(features, basis[:, :1], basis[:, :1])
    assert not frame.scalars.keys() & {"nc1", "nc2", "nc3", "cdnv", "nc1_debiased"}
    assert frame.scalars["target_alignment"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.3])
def test_alpha_req_is_the_exponent_of_a_power_law(alpha):
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(300, 64)))[0]
    values = np.arange(1, 65.0) ** -alpha
    values[:3] *= [5, 3, 2]  # the leading ones do not count
    features = basis * np.sqrt(300 * values)
    found = fs.analyze(features, features[:, :2], features[:, :2], task="squared_error")
    assert found.alpha_req == pytest.approx(alpha)
    few = fs.analyze(features[:, :19], features[:, :2], features[:, :2], task="squared_error")
    assert math.isnan(few.alpha_req)


def test_held_out_samples_have_their_own_collapse():

    model = torch.nn.Linear(5, 3)
    inputs = torch.randn(120, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(120) % 3
    probe = fs.watch(model, inputs[:60], labels[:60], held_out=(inputs[60:], labels[60:]))
    scalars = probe.snapshot(epoch=0).scalars
    other = fs.analyze(inputs[60:], model(inputs[60:]).detach(), labels[60:], errors=False)
    assert scalars["nc1_held_out"] == pytest.approx(other.nc1, rel=1e-5)
    assert scalars["cdnv_held_out"] == pytest.approx(other.cdnv, rel=1e-5)


@pytest.mark.parametrize("counts", [[600, 300, 150, 75, 60, 45, 40, 35, 32, 30], [3, 90, 5]])
def test_classes_of_equal_weight_have_no_low_rank_measure_at_collapse(counts):
    classes = len(counts)
    means, labels = simplex(classes, classes + 6), np.repeat(np.arange(classes), counts)
    outputs = means[labels] @ simplex(classes, classes + 6).T
    found = fs.analyze(means[labels] + 0.3, outputs, labels, errors=False)
    assert found.low_rank_measure_weighted <= 1e-6
    assert found.low_rank_measure > 0.1
    frame = fs.Recorder().snapshot(means[labels] + 0.3, outputs, labels)
    assert abs(frame.scalars["low_rank_measure_weighted"]) <= 1e-6
    assert frame.scalars["low_rank_measure"] == pytest.approx(found.low_rank_measure)


def test_weights_count_samples_as_often():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [40, 20, 10])
    features = rng.normal(size=(70, 6)) + 3 * rng.normal(size=(3, 6))[labels]
    outputs = features @ rng.normal(size=(6, 3))
    often = np.repeat(np.arange(70), np.repeat([1, 2, 4], [40, 20, 10]))
    wanted = fs.analyze(features[often], outputs[often], labels[often], errors=False)
    found = fs.analyze(features, outputs, labels, errors=False)
    assert found.low_rank_measure_weighted == pytest.approx(wanted.low_rank_measure)
    assert wanted.low_rank_measure_weighted == wanted.low_rank_measure
    weights = np.repeat([1.0, 2.0, 4.0], [40, 20, 10])
    moments = fs.FeatureMoments(6, 3, 3).update(features, outputs, labels, weights=weights)
    assert moments.num_samples == 120
    np.testing.assert_allclose(moments.spectrum().eigenvalues, wanted.eigenvalues)
    unequal = fs.FeatureMoments(6, 3, 3).update(features, outputs, labels).spectrum()
    assert math.isnan(unequal.low_rank_measure_weighted)
    for wrong in (np.ones(3), -weights, np.full(70, np.inf)):
        with pytest.raises(ValueError, match=r"weights: .*must be"):
            moments.update(features, outputs, labels, weights=wrong)


def test_frames_of_equal_classes_and_of_values_have_no_weighted_measure():
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(40, 4)), np.arange(40) % 2
    frame = fs.Recorder().snapshot(features, features[:, :2], labels)
    assert "low_rank_measure_weighted" not in frame.scalars
    values = fs.Recorder(task="squared_error").snapshot(features, features[:, :2], features[:, :2])
    assert "low_rank_measure_weighted" not in values.scalars


def test_nc4_counts_samples_nearer_to_another_mean():
    means = 4 * np.eye(3, 8)
    labels = np.array([0, 0, 0, 0, 2, 2, 2, 2])
    features = means[labels] + 100
    features[0] = means[2] + 100  # of class 0 in all but its features
    outputs = 2.0 * np.eye(3)[[0, 0, 0, 0, 2, 2, 2, 2]]
    found = fs.analyze(features, outputs, labels, errors=False)
    assert found.nc4_of(features, outputs) == pytest.approx(1 / 8)
    assert found.nc4_of(features[1:], outputs[1:]) == 0
    values = fs.analyze(features, outputs, -outputs, task="squared_error", errors=False)
    assert math.isnan(values.nc4_of(features, outputs))
    # Of one row and eight nothing is made by repeating the one.
    for one, rows in ((features[:1], outputs), (features, outputs[:1])):
        with pytest.raises(ValueError, match="must have as many rows as another, got"):
            found.nc4_of(one, rows)
        with pytest.raises(ValueError, match="must have as many rows as another, got"):
            found.truncated_accuracy(one, rows, labels)


@pytest.mark.parametrize("task", ["cross_entropy", "squared_error", "binary"])
def test_truncated_accuracy_is_that_of_the_network_less_its_later_features(task):
    rng = np.random.default_rng(2)
    classes = 1 if task == "binary" else 4
    labels = rng.integers(0, max(classes, 2), 90)
    features = rng.normal(size=(90, 12)) + 2 * rng.normal(size=(4, 12))[labels] + 3
    outputs = features @ rng.normal(size=(12, classes)) + rng.normal(size=classes)
    found = fs.analyze(features, outputs, labels, task=task, errors=False)
    curve = found.truncated_accuracy(features, outputs, labels)
    points = found.eigenfunctions(features)

    def guess(values):
        return values[:, 0] > 0 if task == "binary" else values.argmax(1)

    logits = outputs - outputs.mean(1, keepdims=True) if task == "cross_entropy" else outputs
    for k in range(12):
        later = points[:, k + 1 :]
        kept = logits - later @ (later.T @ logits / 90)
        assert curve[k] == pytest.approx(np.mean(guess(kept) == labels)), k
    assert curve[-1] == np.mean(guess(outputs) == labels)
    # Held-out samples, and more features than samples.
    few = fs.analyze(features[:8], outputs[:8], labels[:8], task=task, errors=False)
    assert few.truncated_accuracy(features[:8], outputs[:8], labels[:8])[-1] == np.mean(
        guess(outputs[:8]) == labels[:8]
    )
    with pytest.raises(ValueError, match="targets: are values"):
        fs.analyze(features, outputs, outputs, task="squared_error").truncated_accuracy(
            features, outputs, outputs
        )


def test_more_measures_are_made_where_they_are_asked_for():
    generator = torch.Generator().manual_seed(0)
    inputs, labels = torch.randn(2400, 5, generator=generator), torch.arange(2400) % 3
    model = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    probe = fs.watch(model, inputs, labels, more_measures=True)
    first = probe.snapshot(epoch=0)
    assert first.scalars["weight_change"] == 0
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= 1.5
    frame = probe.snapshot(epoch=1)
    assert frame.scalars["weight_change"] == pytest.approx(0.5)
    some = slice(None, None, 3)  # at most 1,000 of 2,400
    with torch.no_grad():
        features, outputs = model[:2](inputs), model(inputs)
    spectrum = fs.analyze(features, outputs, labels, errors=False)
    curve = spectrum.truncated_accuracy(features[some], outputs[some], labels[some])
    np.testing.assert_allclose(frame.arrays["truncated_accuracy"], curve, atol=2e-3)
    assert frame.scalars["nc4"] == pytest.approx(spectrum.nc4_of(features[some], outputs[some]))
    fewer = fs.watch(model, inputs, labels).snapshot(epoch=0)
    assert not fewer.scalars.keys() & {"nc4", "weight_change"}
    assert not fewer.arrays.keys() & {"truncated_accuracy", "ablated_score"}
    with pytest.raises(ValueError, match="more_measures='yes': must be True or False"):
        fs.Recorder(more_measures="yes")


def test_a_feature_that_is_ablated_takes_the_answers_that_it_carried():
    labels = np.arange(400) % 2
    # Two features without correlation: the first tells the classes apart, the second nothing.
    features = np.stack([6.0 * labels - 3, np.arange(400) // 2 % 2 * 2.0 - 1], 1)
    outputs = features[:, :1] * [-1, 1] + [0.1, 0]
    recorder = fs.Recorder(more_measures=True)
    score = recorder.snapshot(features, outputs, labels).arrays["ablated_score"]
    np.testing.assert_allclose(score, [0.5, 1])
    recorder = fs.Recorder(task="squared_error", more_measures=True)
    values = features @ [[1.0], [2.0]]
    frame = recorder.snapshot(features, values, values)
    assert frame.scalars["train_r2"] == 1
    np.testing.assert_allclose(frame.arrays["ablated_score"], [4 / 13, 9 / 13], rtol=1e-5)
    rotated = recorder.snapshot(features[:, ::-1].copy(), values, values, epoch=1)
    np.testing.assert_allclose(*(f.arrays["ablated_score"] for f in (frame, rotated)), atol=1e-5)


def test_a_run_whose_beginning_is_not_known_has_no_weight_change():
    model, inputs, labels = torch.nn.Linear(4, 2), torch.randn(40, 4), torch.arange(40) % 2
    states = [{k: (1 + i) * v for k, v in model.state_dict().items()} for i in range(3)]
    known = fs.replay(model, states, inputs, labels, more_measures=True)
    assert [f.scalars["weight_change"] for f in known] == pytest.approx([0, 1, 2])
    later = fs.replay(model, states[1:], inputs, labels, epochs=[5, 6], more_measures=True)
    assert not any("weight_change" in frame.scalars for frame in later)


def test_the_truncated_accuracy_is_drawn_beside_utilization():
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(60, 6)), np.arange(60) % 3
    for more in (False, True):
        recorder = fs.Recorder(more_measures=more)
        frame = recorder.snapshot(features, features[:, :3], labels)
        plot = recorder.recording.figure("cumulative")
        drawn = plot.select_one({"name": "truncated_accuracy:glyph"}).data_source.data["y"]
        np.testing.assert_array_equal(drawn, frame.arrays["truncated_accuracy"] if more else [])
        assert len(plot.legend[0].items) == 2 + more


def test_nc1_takes_the_noise_of_class_means_away():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 48)
    means = np.diag([4.0, 3.0, 2.4]) @ np.eye(3, 60)
    features = means[labels] + np.arange(1, 61) ** -0.25 * rng.normal(size=(48, 60))
    moments = fs.FeatureMoments(60, 3, 3).update(features, features @ means.T, labels)
    found = measures_of(moments, "cross_entropy").numbers["nc1_of_means"]
    counts = np.bincount(labels)
    centres = np.stack([features[labels == c].mean(0) for c in range(3)])
    within = (features - centres[labels]).T @ (features - centres[labels]) / 45
    apart = (centres - features.mean(0)).T
    noise = np.diag(1 / counts) - 1 / 48
    square = (within**2).sum() - np.trace(within) ** 2 / 45
    between = np.linalg.pinv(apart.T @ apart - np.trace(within) * noise, rcond=1e-9)
    inner = apart.T @ within @ apart - square * noise
    assert found == pytest.approx(3 * np.trace(inner @ between @ between))
