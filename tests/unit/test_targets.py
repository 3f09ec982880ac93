"""What targets mean is read in one place, alike for arrays and for a watched network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import fswidget as fs
from fswidget.analysis.targets import coding_of

N, C = 120, 4
LABELS = torch.arange(N) % C
ROWS = torch.eye(C)[LABELS]
SOFT = torch.softmax(torch.randn(N, C, generator=torch.Generator().manual_seed(1)), 1)
BITS = torch.rand(N, C, generator=torch.Generator().manual_seed(2)) > 0.5

CLASSES = {
    "labels": LABELS,
    "one-hot": ROWS,
    "one-hot of integers": ROWS.long(),
    "one-hot of bools": ROWS.bool(),
    "α·one-hot": 0.05 * ROWS,
    "many·one-hot": 97 * ROWS,
    "smoothed": 0.9 * ROWS + 0.1 / C,
    "α·smoothed": 3 * (0.9 * ROWS + 0.1 / C),
    "half precision": (0.9 * ROWS + 0.1 / C).bfloat16(),
}
NO_CLASSES = {
    "multi-hot": BITS.float(),
    "two labels each": ROWS + ROWS.roll(1, 1),
    "±1": 2 * ROWS - 1,
    "values": torch.randn(N, C, generator=torch.Generator().manual_seed(3)),
    "probabilities of 2": 2 * SOFT,
    "zeros": torch.zeros(N, C),
}


def network(outputs: int = C) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, outputs))


INPUTS = torch.randn(N, 6, generator=torch.Generator().manual_seed(0)) + LABELS[:, None]


def measured(
    task: str, targets: torch.Tensor, model: nn.Sequential
) -> tuple[fs.Spectrum, fs.Watch]:
    with torch.no_grad():
        features = model[:2](INPUTS)
        spectrum = fs.analyze(features, model(INPUTS), targets, task=task)
    return spectrum, fs.watch(model, INPUTS, targets, task=task)


@pytest.mark.parametrize("task", ["cross_entropy", "squared_error"])
@pytest.mark.parametrize("kind", CLASSES)
def test_every_way_to_write_classes_is_the_same_classes(kind: str, task: str) -> None:
    expected, _ = measured(task, LABELS, network())
    found, watched = measured(task, CLASSES[kind], network())
    frame = watched.snapshot()
    rel = 0.02 if kind == "half precision" else 1e-6
    for name in ("low_rank_measure", "nc1", "used_features", "minimal_features"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=rel), name
    assert found.errors == pytest.approx(expected.errors, rel=rel, nan_ok=True)
    assert found.regime.label == expected.regime.label
    assert found.minimal_features == watched.recording.info.minimal_features == C
    right = (network()(INPUTS).argmax(1) == LABELS).double().mean()
    assert frame.scalars["train_accuracy"] == pytest.approx(float(right))
    assert frame.scalars["nc1"] == pytest.approx(found.nc1, rel=1e-4)


@pytest.mark.parametrize("kind", NO_CLASSES)
def test_rows_that_are_no_classes_name_the_task(kind: str) -> None:
    with pytest.raises(ValueError, match=r"^targets: row \d+ .*task='cross_entropy'; use task='mu"):
        measured("cross_entropy", NO_CLASSES[kind], network())
    with pytest.raises(ValueError, match=r"^targets: row \d+ .*task='cross_entropy'"):
        fs.watch(network(), INPUTS, NO_CLASSES[kind])
    moments = fs.FeatureMoments(6, C, C).update(INPUTS, INPUTS[:, :C], NO_CLASSES[kind])
    with pytest.raises(ValueError, match=r"^task='cross_entropy': the targets were no classes"):
        moments.spectrum()
    found, watched = measured("squared_error", NO_CLASSES[kind], network())
    assert found.minimal_features == watched.recording.info.minimal_features == C + 1
    assert "train_accuracy" not in watched.snapshot().scalars


def test_probabilities_are_classes_without_a_variability_within() -> None:
    found, watched = measured("cross_entropy", SOFT, network())
    assert (found.classification, found.minimal_features) == (True, C)
    assert np.isnan(found.nc1)
    right = (network()(INPUTS).argmax(1) == SOFT.argmax(1)).double().mean()
    assert watched.snapshot().scalars["train_accuracy"] == pytest.approx(float(right))


def test_batches_that_name_classes_in_two_ways_are_values() -> None:
    moments = fs.FeatureMoments(6, C, C)
    for rows in (ROWS, 3 * ROWS):
        moments.update(INPUTS, INPUTS[:, :C], rows)
    assert not moments.classification
    assert coding_of(SOFT).joined(coding_of(3 * ROWS)) is None
    assert not coding_of(SOFT).joined(coding_of(ROWS)).hard


class Exact(nn.Module):
    """A network whose every logit has the sign of its bit."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.head = nn.Linear(outputs, outputs)
        nn.init.eye_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.head(inputs)


def test_every_bit_right_reads_one() -> None:
    logits = 8 * BITS.float() - 4
    frame = fs.watch(Exact(C), logits, BITS, task="multilabel").snapshot()
    assert frame.scalars["train_label_accuracy"] == 1.0
    assert not {"train_accuracy", "train_r2", "nc1"} & frame.scalars.keys()
    np.testing.assert_array_equal(frame.arrays["label_accuracy"], np.ones(C))
    wrong = BITS.clone()
    wrong[: N // 2, 1] ^= True
    probe = fs.watch(Exact(C), logits, BITS, task="multilabel", held_out=(logits, wrong))
    scalars = probe.snapshot().scalars
    assert scalars["test_label_accuracy"] == pytest.approx(1 - 0.5 / C)
    spectrum = fs.analyze(logits, logits, BITS, task="multilabel")
    assert (spectrum.minimal_features, spectrum.output_rank) == (C + 1, C)


@pytest.mark.parametrize("write", [torch.Tensor.long, torch.Tensor.float, torch.Tensor.bool])
def test_a_single_logit_tells_two_classes_apart(write) -> None:
    bits = write(LABELS > 1)
    logits = torch.where(LABELS > 1, 3.0, -3.0)[:, None] + 0.1 * INPUTS[:, :1]
    for targets in (bits, bits[:, None]):
        probe = fs.watch(Exact(1), logits, targets, task="binary", class_names=["no", "yes"])
        scalars = probe.snapshot().scalars
        assert scalars["train_accuracy"] == 1.0
        assert probe.recording.info.minimal_features == 2
        found = fs.analyze(INPUTS, logits[:, 0], targets, task="binary")
        assert (found.target_rank, found.minimal_features) == (2, 2)
        # The same features with two logits have the same variability.
        two = fs.analyze(INPUTS, torch.cat([-logits, logits], 1), (LABELS > 1).long())
        assert found.nc1 == pytest.approx(two.nc1)


@pytest.mark.parametrize(
    ("task", "outputs", "targets", "message"),
    [
        ("binary", 1, LABELS, r"^targets: from 0 to 3; must be .* for task='binary'"),
        ("binary", 1, ROWS, r"^targets: shape \(120, 4\)"),
        ("binary", 2, LABELS > 1, "^task='binary': 2 outputs; must be 1"),
        ("multilabel", C, 2 * ROWS - 1, "^targets: from -1 to 1; must be labels from 0 to 1"),
        ("multilabel", C, LABELS, r"^targets: shape \(120,\).*must be rows \(n, 4\) of 0 and 1"),
    ],
)
def test_bits_that_are_none_are_named(task, outputs, targets, message) -> None:
    with pytest.raises(ValueError, match=message):
        fs.watch(network(outputs), INPUTS, targets, task=task)
    with pytest.raises(ValueError, match=message):
        fs.analyze(INPUTS, INPUTS[:, :outputs], targets, task=task)
