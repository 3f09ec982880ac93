"""Recordings from arrays, from checkpoints, and gone on with."""

from __future__ import annotations

import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import fswidget as fs
from fswidget.callbacks import to_tensorboard, to_wandb

C, N = 3, 60


def data() -> tuple[Tensor, Tensor]:
    targets = torch.arange(N) % C
    return torch.randn(N, 4, generator=torch.Generator().manual_seed(0)) + targets[:, None], targets


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, C))


def move(model: nn.Module) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.5 * torch.ones_like(parameter).cumsum(0).sin())


def arrays(model: nn.Sequential) -> tuple[Any, Any]:
    with torch.no_grad():
        features = model[:-1](data()[0])
        return features.numpy(), model[-1](features).numpy()


def test_arrays_give_the_frames_of_watch() -> None:
    model, (inputs, targets) = network(), data()
    probe, recorder = fs.watch(model, inputs, targets), fs.Recorder()
    for epoch in (0, 1):
        watched = probe.snapshot(epoch, epoch)
        frame = recorder.snapshot(*arrays(model), targets.numpy(), epoch=epoch, loss=0.5)
        for name in ("low_rank_measure", "used_features", "train_accuracy", "kernel_drift"):
            assert frame.scalars[name] == pytest.approx(watched.scalars[name], rel=1e-5, abs=1e-6)
        np.testing.assert_allclose(frame.projections, watched.projections, atol=1e-4)
        assert frame.labels["regime"] == watched.labels["regime"]
        move(model)
    assert recorder.recording.table()["epoch"].tolist() == [0, 1]


def test_what_a_recorder_cannot_take_is_named() -> None:
    features, outputs = arrays(network())
    recorder = fs.Recorder()
    with pytest.raises(RuntimeError, match="recording: begins with the first snapshot"):
        _ = recorder.recording
    with pytest.raises(ValueError, match="outputs: 59 rows; must be 60"):
        recorder.snapshot(features, outputs[1:], data()[1])
    recorder.snapshot(features, outputs, data()[1], epoch=2)
    with pytest.raises(ValueError, match="epoch=2: must be after 2"):
        recorder.snapshot(features, outputs, data()[1], epoch=2)
    with pytest.raises(ValueError, match="targets: differ"):
        recorder.snapshot(features, outputs, data()[1].flip(0))
    with pytest.raises(ValueError, match="low_rank_measure=3: is measured"):
        recorder.snapshot(features, outputs, data()[1], low_rank_measure=3)
    with pytest.raises(ValueError, match="regime=3: is measured"):
        recorder.snapshot(features, outputs, data()[1], regime=3)


def test_a_recording_goes_on_another_day(tmp_path: Path) -> None:
    model = network()
    untrained = {name: value.clone() for name, value in model.state_dict().items()}
    probe = fs.watch(model, *data())
    probe.snapshot(0)
    move(model)
    probe.snapshot(1)
    saved = probe.recording.save(tmp_path / "run.npz")
    move(model)
    expected = probe.snapshot(2)
    again = fs.watch(model, *data(), recording=fs.load(saved), reference=untrained)
    with pytest.raises(ValueError, match="epoch=1: must be after 1"):
        again.snapshot(1)
    frame = again.snapshot(2)
    drift = expected.scalars["kernel_drift"]
    assert frame.scalars["kernel_drift"] == pytest.approx(drift, rel=1e-5)
    np.testing.assert_allclose(frame.projections, expected.projections, atol=1e-4)
    assert [kept.epoch for kept in again.recording] == [0, 1, 2]
    blind = fs.watch(model, *data(), recording=fs.load(saved)).snapshot(5)
    assert "kernel_drift" not in blind.scalars
    assert blind.labels["regime"] != "LAZY"
    with pytest.raises(ValueError, match="recording: shows other samples"):
        fs.watch(model, data()[0], data()[1].flip(0), recording=fs.load(saved))


def test_a_reference_is_taken_when_watching_begins() -> None:
    model = network()
    probe = fs.watch(model, *data())
    move(model)
    frame = probe.snapshot(1)
    assert frame.scalars["kernel_drift"] > 0.01
    late = fs.watch(model, *data())
    frame = late.snapshot(7)  # trained already: what it was before nobody knows
    assert "kernel_drift" not in frame.scalars
    assert frame.labels["regime"] not in ("LAZY", "UNTRAINED")


def test_checkpoints_are_replayed(tmp_path: Path) -> None:
    model, paths = network(), []
    probe = fs.watch(model, *data())
    for epoch in (0, 5, 10):
        paths.append(tmp_path / f"epoch-{epoch}.pt")
        torch.save({"state_dict": model.state_dict()}, paths[-1])
        probe.snapshot(epoch)
        move(model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    recording = fs.replay(model, paths, *data())
    assert [frame.epoch for frame in recording] == [0, 5, 10]
    for name in ("low_rank_measure", "kernel_drift"):
        expected = probe.recording.table()[name]
        np.testing.assert_allclose(recording.table()[name], expected, rtol=1e-5, atol=1e-6)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    with pytest.raises(ValueError, match="epochs: 5 after 10"):
        fs.replay(model, paths[::-1], *data())


def test_measures_of_ones_own() -> None:
    @fs.measure("norm", unit="a unit")
    def norm(features: Any, outputs: Any, targets: Any) -> float:
        assert targets.shape == (len(features),)
        return float((features**2).sum(1).mean())

    try:
        frame = fs.watch(network(), *data()).snapshot()
        same = fs.Recorder().snapshot(np.ones((40, 3)), np.ones((40, 2)), np.arange(40) % 2)
    finally:
        fs.measure.forget("norm")
    assert same.scalars["norm"] == 3
    assert np.isnan(same.scalars["norm_error"])  # of samples that are all the same: not 0
    features, _ = arrays(network())
    assert frame.scalars["norm"] == pytest.approx(float((features**2).sum(1).mean()), rel=1e-5)
    assert frame.scalars["norm_error"] > 0
    with pytest.raises(ValueError, match="name='nc1': is measured"):
        fs.measure("nc1")


def test_every_frame_is_told_and_logged() -> None:
    seen: list[Any] = []
    writer = SimpleNamespace(add_scalar=lambda *args: seen.append(args))
    probe = fs.watch(network(), *data(), on_frame=to_tensorboard(writer))
    frame = probe.snapshot(0, 7)
    assert ("fswidget/low_rank_measure", frame.scalars["low_rank_measure"], 7) in seen
    logged: list[Any] = []
    recorder = fs.Recorder(on_frame=to_wandb(SimpleNamespace(log=logged.append)))
    recorder.snapshot(*arrays(network()), data()[1])
    assert logged[0]["fswidget/epoch"] == 0
    with pytest.raises(TypeError, match="on_frame=3"):
        fs.watch(network(), *data(), on_frame=3)


def test_loggers_of_the_real_packages() -> None:
    tensorboard = pytest.importorskip("torch.utils.tensorboard", reason="needs tensorboard")
    assert callable(to_tensorboard(tensorboard.SummaryWriter))


def test_lists_batches_and_pictures() -> None:
    inputs, targets = data()
    expected = fs.watch(network(), inputs, targets, batch_size=59).snapshot()
    frame = fs.watch(network(), list(inputs), targets).snapshot()
    np.testing.assert_allclose(frame.eigenvalues, expected.eigenvalues, rtol=1e-5)
    grey = nn.Sequential(nn.Flatten(), nn.Linear(64, C))
    names = {"0": "a", "1": "b", "2": "c"}
    info = fs.watch(grey, torch.rand(N, 8, 8), targets, class_names=names).recording.info
    assert info.thumbnails.shape == (N, 8, 8)
    assert info.class_names == ("a", "b", "c")
    colours = nn.Sequential(nn.Flatten(), nn.Linear(192, C))
    info = fs.watch(colours, torch.rand(N, 8, 8, 3), targets).recording.info
    assert info.thumbnails.shape == (N, 8, 8, 3)
    alone = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8, track_running_stats=False))
    alone.append(nn.Linear(8, C))
    fs.watch(alone, inputs, targets, batch_size=N - 1).snapshot()


def test_the_hidden_layer_of_a_classifier_of_scikit_learn() -> None:
    neural = pytest.importorskip("sklearn.neural_network")
    inputs, targets = (np.asarray(array) for array in data())
    classifier = neural.MLPClassifier((8,), max_iter=1, warm_start=True, random_state=0)
    recorder = fs.Recorder()
    for epoch in range(1, 4):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # one step does not converge
            classifier.fit(inputs, targets)
        (first, last), (bias, shift) = classifier.coefs_, classifier.intercepts_
        features = np.maximum(inputs @ first + bias, 0)
        probabilities = classifier.predict_proba(inputs)
        outputs = features @ last + shift
        losses = -np.log(probabilities[np.arange(len(targets)), targets])
        frame = recorder.snapshot(features, outputs, targets, epoch=epoch, loss=losses)
    assert frame.scalars["loss"] == pytest.approx(losses.mean())
    assert frame.scalars["train_accuracy"] == pytest.approx(classifier.score(inputs, targets))
    assert [of.epoch for of in recorder.recording] == [1, 2, 3]
    with pytest.raises(TypeError, match="lr="):
        recorder.snapshot(features, outputs, targets, epoch=9, lr=losses)


def test_held_out_samples_have_a_low_rank_measure_of_their_own() -> None:
    inputs, targets = data()
    probe = fs.watch(network(), inputs[:30], targets[:30], held_out=(inputs[30:], targets[30:]))
    found = probe.snapshot().scalars["low_rank_measure_held_out"]
    features, outputs = arrays(network())
    expected = fs.analyze(features[30:], outputs[30:], targets[30:], errors=False)
    assert found == pytest.approx(expected.low_rank_measure, rel=1e-4)
