"""More outputs than features or samples: the same numbers from fewer columns."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import fswidget as fs
from fswidget.analysis.basis import FewerOutputs
from fswidget.analysis.diagonalization import diagonalize
from fswidget.analysis.linear_outputs import FewerOfLinear
from fswidget.analysis.moments import Moments
from fswidget.probing.frame_maker import FrameMaker

RANDOM = np.random.default_rng(0)


def data(n: int, p: int, size: int, *, linear: bool = True) -> tuple[Any, Any, Any]:
    features = torch.from_numpy(RANDOM.normal(size=(n, p)))
    weights = torch.from_numpy(RANDOM.normal(size=(p, size)))
    outputs = features @ weights if linear else torch.tanh(features @ weights)
    # In float32, beside a large common shift.
    return features, (outputs + 3).float(), torch.arange(n) % 7


@pytest.mark.parametrize(
    ("n", "p", "linear", "columns"), [(60, 200, True, 60), (300, 20, True, 21), (60, 20, False, 60)]
)
@pytest.mark.parametrize("task", ["cross_entropy", "squared_error"])
def test_the_numbers_are_those_of_all_outputs(
    n: int, p: int, linear: bool, columns: int, task: str
) -> None:
    features, outputs, labels = data(n, p, 150, linear=linear)
    few = FewerOutputs.of(features, outputs)
    assert few is not None
    assert few.axes.shape == (150, columns)
    whole = Moments(p, 150, 150).update(features, outputs, labels)
    short = few.reduce(outputs)
    less = Moments(p, short.shape[1], 7).update(features, short, labels)
    one, other = (diagonalize(moments, task, errors=True) for moments in (whole, less))
    assert other.output_rank == one.output_rank
    for name in ("utilization", "quality", "utilization_error"):
        np.testing.assert_allclose(getattr(other, name), getattr(one, name), atol=1e-9)
    for name in ("low_rank_measure", "nc1", "target_share"):
        assert getattr(other, name) == pytest.approx(getattr(one, name), abs=1e-9, nan_ok=True)
    # Leverages are looked at in ten fixed combinations of the outputs, others now.
    debiased = pytest.approx(one.low_rank_measure_debiased, abs=1e-4, nan_ok=True)
    assert other.low_rank_measure_debiased == debiased
    assert other.errors["low_rank_measure"] == pytest.approx(one.errors["low_rank_measure"])


def test_it_is_left_alone_where_nothing_is_won() -> None:
    features, outputs, _ = data(60, 20, 40)
    assert FewerOutputs.of(features, outputs) is None
    features, outputs, _ = data(300, 20, 150, linear=False)
    assert FewerOutputs.of(features, outputs) is None


def test_analyze_says_of_all_outputs_how_many_there_are() -> None:
    features, outputs, labels = data(100, 12, 2000)
    spectrum = fs.analyze(features, outputs, labels * 250)
    assert (spectrum.num_outputs, spectrum.minimal_features) == (2000, 2000)
    assert spectrum.output_rank == 12
    assert np.isnan(spectrum.nc3)
    assert spectrum.errors["low_rank_measure"] > 0


def test_many_classes_need_no_eigenvectors(monkeypatch: pytest.MonkeyPatch) -> None:
    features, outputs, _ = data(200, 8, 90)
    labels = RANDOM.integers(0, 90, 200)
    found = fs.analyze(features, outputs, labels)
    monkeypatch.setattr("fswidget.analysis.measures._MANY", 10_000)
    expected = fs.analyze(features, outputs, labels)
    for name in ("quality", "target_share", "target_rank", "nc1", "quality_error"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), atol=1e-9)
    assert found.errors == pytest.approx(expected.errors, nan_ok=True)


def watched(last: list[nn.Module], n: int = 120) -> list[fs.Frame]:
    """Frames of a network before and after a step, with samples held out."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 10), nn.ReLU(), nn.Linear(10, 3000), *last)
    inputs, targets = torch.randn(n, 5), torch.randint(3000, (n,))
    held_out = torch.randn(50, 5), torch.randint(3000, (50,))
    probe = fs.watch(model, inputs, targets, held_out=held_out, layers=["0"])
    probe.snapshot(epoch=0)
    with torch.no_grad():
        model[0].weight += 0.2 * torch.randn(10, 5)
        model[2].weight *= 1.3
    probe.snapshot(epoch=1)
    assert probe.recording.info.num_outputs == 3000
    return list(probe.recording)


@pytest.mark.parametrize("last", [[], [nn.LogSoftmax(-1)]])
def test_watch_makes_outputs_of_the_weights_and_measures_the_same(
    last: list[nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    of = FewerOfLinear.of
    monkeypatch.setattr(FewerOfLinear, "of", lambda outputs: made.append(1) or of(outputs))
    found = watched(last)
    assert len(made) == 3  # of two frames and of the reference
    monkeypatch.setattr(FrameMaker, "by_weights", False)
    for frame, other in zip(found, watched(last), strict=True):
        assert frame.scalars["low_rank_measure_error"] > 0
        assert frame.arrays["predictions"].max() > 10
        assert "used_features_held_out" in frame.scalars
        # Of a layer that is not the head's, leverages are looked at in other combinations.
        expected = {
            n: v for n, v in other.scalars.items() if "seconds" not in n and "layer" not in n
        }
        same = {name: frame.scalars[name] for name in expected}
        assert same == pytest.approx(expected, rel=1e-6, abs=1e-7, nan_ok=True)
        for name in ("utilization", "quality", "predictions", "layer_low_rank_measure"):
            np.testing.assert_allclose(frame.arrays[name], other.arrays[name], atol=1e-5)
    assert len(made) == 3


def test_what_bends_many_outputs_is_still_refused() -> None:
    class Bent(nn.Module):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return z + (torch.arange(len(z))[:, None] > 60) * torch.randn(len(z), 3000)

    with pytest.raises(ValueError, match=r"no affine function|mixes|depends on more than"):
        watched([Bent()])


def test_samples_of_one_class_only_are_classes_still() -> None:
    features, outputs, labels = data(30, 4, 200)
    one = np.full(len(labels), 7)
    assert fs.analyze(features, outputs, one).regime.label
    assert fs.Recorder().snapshot(features, outputs, one).scalars["train_accuracy"] < 1


@pytest.mark.filterwarnings("ignore:targets")
def test_many_outputs_have_nc4_by_the_names_of_the_classes_and_no_truncated_accuracy():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(5, 16), torch.nn.ReLU(), torch.nn.Linear(16, 60))
    inputs = torch.randn(50, 5)
    with torch.no_grad():
        features, outputs = model[:2](inputs), model(inputs)
    labels = torch.where(torch.arange(50) % 3 > 0, outputs.argmax(1), 41)
    names = labels.unique()
    means = torch.stack([features[labels == name].mean(0) for name in names])
    wrong = names[torch.cdist(features, means).argmin(1)] != outputs.argmax(1)
    expected = pytest.approx(float(wrong.double().mean()))
    spectrum = fs.analyze(features, outputs, labels, errors=False)
    assert spectrum.nc4_of(features, outputs) == expected
    with pytest.raises(ValueError, match="outputs: 60; must be at most twice"):
        spectrum.truncated_accuracy(features, outputs, labels)
    frame = fs.watch(model, inputs, labels, more_measures=True).snapshot(epoch=0)
    assert frame.scalars["nc4"] == expected
    assert "truncated_accuracy" not in frame.arrays
    assert "ablated_score" in frame.arrays
