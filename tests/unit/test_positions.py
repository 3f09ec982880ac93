"""Tokens and pixels as samples: the drawn ones, measured as rows are, left out by whole inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import fswidget as fs
from fswidget.analysis.positions import Layout, Positions
from fswidget.analysis.targets import assign_blocks
from fswidget.probing.samples import Samples
from tests.left_out import left_out

N, T, V = 24, 10, 13


class Language(nn.Module):
    """A transformer whose head is its embedding."""

    def __init__(self, then: Any = lambda z: z) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(V, 8)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, dropout=0, batch_first=True)
        self.head = nn.Linear(8, V, bias=False)
        self.head.weight = self.embedding.weight
        self.then = then

    def features(self, tokens: Tensor) -> Tensor:
        return self.block(self.embedding(tokens))

    def forward(self, tokens: Tensor) -> Any:
        return self.then(self.head(self.features(tokens)))


def text() -> tuple[Tensor, Tensor]:
    """Sequences, of which what follows is to be told: of the last token nothing does."""
    tokens = torch.randint(V, (N, T), generator=torch.Generator().manual_seed(1))
    return tokens, torch.cat([tokens[:, 1:], torch.full((N, 1), -100)], 1)


def by_hand(model: Language, tokens: Tensor, targets: Tensor, count: int) -> dict[str, float]:
    """Rows of the drawn tokens, whole sequences left out at a time."""
    known = (targets != -100).flatten().nonzero()[:, 0]
    drawn = np.random.default_rng(0).choice(len(known), count, replace=False, shuffle=False)
    flat = known[np.sort(drawn)]
    with torch.no_grad():
        features = model.eval().features(tokens).reshape(-1, 8)[flat]
        outputs = features @ model.embedding.weight.T
    rows = features, outputs, targets.flatten()[flat]
    whole = fs.analyze(*rows, errors=False)
    _, errors = left_out(*rows, groups=(flat // T).numpy())
    return {
        "low_rank_measure": whole.low_rank_measure,
        "low_rank_measure_error": errors["low_rank_measure"],
        "effective_rank": whole.effective_rank,
        "quality_total": float(whole.quality[-1]),
        "train_accuracy": float((outputs.argmax(1) == rows[2]).double().mean()),
    }


@pytest.mark.filterwarnings("ignore:targets. from")
def test_tokens_are_samples_as_a_calculation_by_hand_has_them() -> None:
    model, (tokens, targets) = Language(), text()
    options: dict[str, Any] = {"num_positions": 150, "batch_size": 30, "layers": ["block"]}
    probe = fs.watch(model, tokens, targets, held_out=(tokens, targets), **options)
    frame = probe.snapshot(epoch=0)
    probe.retarget(targets)
    for name, value in probe.snapshot(epoch=1).scalars.items():
        if "quality" in name:
            assert value == pytest.approx(frame.scalars[name])
    held_out = frame.scalars["low_rank_measure_held_out"]  # the same are drawn
    assert held_out == pytest.approx(frame.scalars["low_rank_measure"])
    expected = by_hand(model, tokens, targets, 150)
    assert {name: frame.scalars[name] for name in expected} == pytest.approx(expected, rel=1e-5)
    assert frame.labels["samples"] == "150 of 216 tokens in 24 sequences"
    assert frame.labels["samples"] in repr(probe.recording)
    assert len(frame.projections) == 150
    # The features are what that layer gives, at the same tokens.
    alike = frame.arrays["layer_low_rank_measure"][0]
    assert alike == pytest.approx(frame.scalars["low_rank_measure"], abs=1e-6)

    states = [model.state_dict(), {k: 1.5 * v for k, v in model.state_dict().items()}]
    first, second = fs.replay(model, states, tokens, targets, num_positions=150)
    assert first.scalars["low_rank_measure"] == pytest.approx(expected["low_rank_measure"])
    assert second.scalars["output_drift"] > 0  # of the same tokens: it has something to compare

    with torch.no_grad():
        arrays = model.features(tokens).numpy(), model(tokens).numpy(), targets.numpy()
    recorder = fs.Recorder(num_positions=150)
    taken = recorder.snapshot(*arrays, epoch=0)
    same = {name: frame.scalars[name] for name in taken.scalars}
    assert same == pytest.approx(taken.scalars, rel=1e-5, nan_ok=True)
    other = fs.analyze(*arrays, num_positions=150, positions_seed=1, errors=False)
    assert other.low_rank_measure != pytest.approx(expected["low_rank_measure"], rel=1e-4)
    spectrum = fs.analyze(*arrays, num_positions=150)
    assert spectrum.errors["low_rank_measure"] == pytest.approx(expected["low_rank_measure_error"])


@pytest.mark.filterwarnings("ignore:targets. from")
def test_pixels_are_samples_of_a_convolution_over_single_ones(tmp_path: Any) -> None:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU())
    model = nn.Sequential(body, nn.Conv2d(6, 4, 1))
    pictures, targets = torch.randn(10, 3, 6, 5), torch.randint(4, (10, 6, 5))
    targets[:, 0] = 255
    held_out = pictures[:4] + 1, targets[:4]
    options = {"ignore_index": 255, "layers": ["0.0"], "held_out": held_out}
    frame = (probe := fs.watch(model, pictures, targets, **options)).snapshot(epoch=0)
    with torch.no_grad():
        features = body(pictures).movedim(1, -1)[:, 1:].reshape(-1, 6)
        outputs = model(pictures).movedim(1, -1)[:, 1:].reshape(-1, 4)
    rows = features, outputs, targets[:, 1:].flatten()
    expected = fs.analyze(*rows, errors=False)
    np.testing.assert_allclose(frame.eigenvalues, expected.eigenvalues, rtol=1e-4)
    assert frame.scalars["low_rank_measure"] == pytest.approx(expected.low_rank_measure)
    assert frame.scalars["low_rank_measure_error"] > 0
    assert 0 < frame.scalars["low_rank_measure_held_out"] < 1
    probe.recording.save(tmp_path / "run.npz")
    info = fs.load(tmp_path / "run.npz").info
    assert info.samples == "250 of 250 pixels in 10 pictures"
    assert info.thumbnails is not None
    assert info.thumbnails.shape[:3] == (250, 6, 5)
    assert len(np.unique(info.thumbnails, axis=0)) == 10  # of each the picture that it lies in


def single(model: Language) -> Any:
    """One logit per token, of a head of its own."""
    model.then = nn.Identity()
    model.head = nn.Linear(8, 1)
    return model


@pytest.mark.parametrize(
    ("then", "options"),
    [
        (lambda z: z.log_softmax(-1), {}),
        (lambda z: z.transpose(1, 2), {}),  # as torch's cross-entropy takes them
        (lambda z: z.reshape(-1, V), {}),
        (lambda z: (z.sum(), z.transpose(0, 1)), {"outputs": lambda r: r[1].transpose(0, 1)}),
    ],
)
@pytest.mark.filterwarnings("ignore:targets. from")
def test_rows_of_positions_are_found_where_they_lie(then: Any, options: Any) -> None:
    tokens, targets = text()
    expected = fs.watch(Language(), tokens, targets, num_positions=60).snapshot(epoch=0)
    found = fs.watch(Language(then), tokens, targets, num_positions=60, **options).snapshot(epoch=0)
    for name in ("low_rank_measure", "quality_total", "train_accuracy"):
        assert found.scalars[name] == pytest.approx(expected.scalars[name], rel=1e-4)


@pytest.mark.filterwarnings("ignore:targets. from")
def test_one_logit_several_labels_and_values_for_each_token() -> None:
    tokens, targets = text()
    bits = (targets % 2).where(targets >= 0, -100)
    frame = fs.watch(single(Language()), tokens, bits, task="binary").snapshot()
    assert frame.labels["samples"].startswith("216 of 216")
    labels = (torch.arange(V) % (tokens[..., None] + 2) == 0).float()
    frame = fs.watch(Language(), tokens, labels, task="multilabel", num_positions=60).snapshot()
    assert frame.arrays["label_accuracy"].shape == (V,)
    frame = fs.watch(Language(), tokens, labels, task="squared_error").snapshot()
    assert "train_r2" in frame.scalars


@pytest.mark.filterwarnings("ignore:targets. from")
def test_positions_that_cannot_be_told_or_drawn_are_refused() -> None:
    model, (tokens, targets) = Language(), text()
    with pytest.raises(ValueError, match="targets of the shape of the positions"):
        fs.watch(model, tokens, targets[:, 0])
    with pytest.raises(ValueError, match="all are ignore_index=-100"):
        fs.watch(model, tokens, torch.full((N, T), -100))
    with pytest.raises(ValueError, match="num_positions=1: must be an integer ≥ 2"):
        fs.watch(model, tokens, targets, num_positions=1)
    with pytest.raises(ValueError, match="ntk=True: is not made of tokens"):
        fs.watch(model, tokens, targets.clamp(min=0), ntk=True)
    square = torch.zeros(6, 4, 4)
    with pytest.raises(ValueError, match="of which axis 1 or the last"):
        fs.analyze(square, square, square[..., 0].long())


def test_parts_and_blocks_keep_sequences_whole() -> None:
    tokens, targets = text()
    layout = Layout.of(torch.zeros(N, T, V), targets, "cross_entropy")
    assert layout is not None
    samples = Samples.of(tokens, targets).at_positions(layout, most=101).fit(V, "cross_entropy", 50)
    parts = [samples.part(rank, 3) for rank in range(3)]
    assert [start for _, start in parts] == [0, *np.cumsum([len(p) for p, _ in parts])[:-1]]
    assert torch.equal(torch.cat([part.targets for part, _ in parts]), samples.targets)
    for part, _ in parts:
        assert part.positions is not None
        rows = part.positions.take(part.args[0])[:, 0]
        assert torch.equal(rows, part.args[0].flatten()[part.positions.flat])
    batches = samples.batches(40, torch.device("cpu"), torch.float32)
    assert [len(batch.args[0]) for batch in batches] == [4] * 6
    few = Samples.of(tokens[:, :8], targets[:, :8]).at_positions(layout).fit(V, "cross_entropy", 50)
    shown = few.display_tokens()
    assert shown is not None
    assert len(np.unique(shown, axis=0)) == len(np.unique(few.shown_inputs))
    groups = samples.groups
    assert groups is not None
    blocks = assign_blocks(samples.named, groups=groups)
    assert all(len(set(blocks[groups == group])) == 1 for group in set(groups))
    assert np.ptp(np.bincount(blocks, minlength=8)) <= T
    again = Positions.draw(targets, layout, most=101, seed=1)
    assert not torch.equal(again.flat, Positions.draw(targets, layout, most=101).flat)
