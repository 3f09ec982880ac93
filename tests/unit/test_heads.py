"""What is measured is what the model returns: features are those that made it, or it is refused."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import fswidget as fs

N, C = 120, 4


def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(N) % C
    centres = 3 * torch.randn(C, 6, generator=generator)
    return torch.randn(N, 6, generator=generator) + centres[targets], targets


class Net(nn.Module):
    """A body, a head, and what a test does between and after them."""

    def __init__(self, then: Callable[[Net, Tensor], Any], outputs: int = C) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.body, self.head = nn.Linear(6, 16), nn.Linear(16, outputs)
        self.other, self.gate = nn.Linear(16, 5), nn.Linear(6, 2)
        self.second = nn.Linear(16, outputs)
        self.norm = nn.BatchNorm1d(outputs)
        self.norm.running_mean.normal_()
        self.norm.running_var.uniform_(0.5, 2)
        self.then = then

    def features(self, x: Tensor) -> Tensor:
        return self.body(x).relu()

    def logits(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))

    def forward(self, x: Tensor) -> Any:
        return self.then(self, x)


def sort(m: Net, x: Tensor) -> Tensor:
    order = x[:, 0].argsort()
    return m.logits(x[order])[order.argsort()]


def first_of_two_calls(m: Net, x: Tensor) -> Tensor:
    logits = m.logits(x)
    m.head(m.features(x).flip(1))
    return logits


def second_of_two_calls(m: Net, x: Tensor) -> Tensor:
    m.head(m.features(x).flip(1))
    return 3 * m.logits(x)


def in_halves(m: Net, x: Tensor) -> Tensor:
    half = len(x) // 2
    return torch.cat([m.logits(x[:half]), m.logits(x[half:])])


def positions(m: Net, x: Tensor, first: int) -> Tensor:
    steps = (torch.arange(5.0) - 4).to(x)
    z = x[:, None] + steps[:, None] if first else x[None] + steps[:, None, None]
    return m.logits(z)


def without_gradients(m: Net, x: Tensor) -> Tensor:
    with torch.inference_mode():
        return m.logits(x)


def scaled_without_gradients(m: Net, x: Tensor) -> Tensor:
    with torch.no_grad():
        return 3 * m.logits(x)


def in_place(m: Net, x: Tensor) -> Tensor:
    return m.logits(x).mul_(3).add_(1)


def softmax_in_place(m: Net, x: Tensor) -> Tensor:
    return m.logits(x).log_softmax(1).mul_(3).add_(1)


class _Opaque(torch.autograd.Function):
    """As a fused kernel that was made for inference only."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return 2 * x


RIGHT: dict[str, Callable[[Net, Tensor], Any]] = {
    "as it is": Net.logits,
    "sorted and put back": sort,
    "denormalised": lambda m, x: m.logits(x) * 50 + 7,
    "negative scale": lambda m, x: -2 * m.logits(x),
    "a scale for each class": lambda m, x: m.logits(x) * torch.tensor([1.0, 2, 3, -4]),
    "prior": lambda m, x: m.logits(x) + torch.tensor([0.1, 0.2, 0.3, 0.4]).log(),
    "batch normalisation": lambda m, x: m.norm(m.logits(x)),
    "temperature": lambda m, x: (m.logits(x) / 3).log_softmax(-1),
    "first of two calls": first_of_two_calls,
    "second of two calls": second_of_two_calls,
    "in halves": in_halves,
    "last position": lambda m, x: positions(m, x, 1)[:, -1],
    "log-softmax of the last position": lambda m, x: positions(m, x, 1)[:, -1].log_softmax(-1),
    "sequence first": lambda m, x: positions(m, x, 0)[-1],
    "inference mode inside": without_gradients,
    "no gradients inside": scaled_without_gradients,
    "in place": in_place,
    "in place on what the derivative needs": softmax_in_place,
    "sorted, and in place": lambda m, x: softmax_in_place(m, x.flip(0)).flip(0),
    "without a derivative": lambda m, x: _Opaque.apply(m.logits(x)),
    "loss first": lambda m, x: (m.logits(x).sum(), m.logits(x)),
    "a dict with the loss first": lambda m, x: {"loss": m.logits(x).sum(1), "out": m.logits(x)},
    "a column more": lambda m, x: m.logits(x)[:, :, None],
}


def outputs_of(model: nn.Module, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        returned = model.eval()(inputs)
    if isinstance(returned, dict):
        returned = returned["out"]
    return (returned[1] if isinstance(returned, tuple) else returned).flatten(1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", RIGHT)
def test_what_the_model_returns_is_measured(name: str, dtype: torch.dtype) -> None:
    inputs, targets = data()
    model = Net(RIGHT[name]).to(dtype)
    if dtype == torch.bfloat16 and name in ("batch normalisation", "sorted and put back"):
        pytest.skip("rounds as coarsely as the outputs differ")
    frame = fs.watch(model, inputs.to(dtype), targets).snapshot()
    outputs = outputs_of(model, inputs.to(dtype)).float()
    with torch.no_grad():
        features = model.features(inputs.to(dtype)).float()
    expected = fs.analyze(features, outputs, targets)
    np.testing.assert_array_equal(frame.arrays["predictions"], outputs.argmax(1))
    np.testing.assert_allclose(frame.eigenvalues, expected.eigenvalues, rtol=1e-4)
    np.testing.assert_allclose(frame.utilization, expected.utilization, atol=1e-4)
    measured = frame.scalars["low_rank_measure"]
    assert measured == pytest.approx(expected.low_rank_measure, rel=1e-4)


def test_columns_that_are_selected_are_the_classes() -> None:
    inputs, targets = data()
    model = Net(lambda m, x: m.logits(x)[:, 3 : 3 + C], outputs=20)
    probe = fs.watch(model, inputs, targets)
    assert probe.recording.info.num_outputs == C
    predictions = probe.snapshot().arrays["predictions"]
    np.testing.assert_array_equal(predictions, outputs_of(model, inputs).argmax(1))


def test_values_are_measured_as_they_are_returned() -> None:
    inputs, _ = data()
    goals = 50 * inputs[:, :2] + 7
    model = Net(lambda m, x: m.logits(x) * 50 + 7, outputs=2)
    frame = fs.watch(model, inputs, goals, task="squared_error").snapshot()
    residual = (outputs_of(model, inputs) - goals).double().square().sum()
    r2 = 1 - float(residual / (goals - goals.mean(0)).double().square().sum())
    assert frame.scalars["train_r2"] == pytest.approx(r2, rel=1e-4)


@pytest.mark.parametrize("kind", [torch.float64, torch.float16, torch.bfloat16])
def test_precision_that_is_lost_at_the_end(kind: torch.dtype) -> None:
    """Of what is returned, too, the coarser type counts."""
    inputs, targets = data()
    model = Net(lambda m, x: m.logits(x).to(torch.float32 if kind == torch.float64 else kind))
    probe = fs.watch(model.to(kind), inputs, targets)
    np.testing.assert_array_equal(
        probe.snapshot().arrays["predictions"], outputs_of(model, inputs.to(kind)).argmax(1)
    )


def test_a_low_rank_update_is_seen_also_beside_other_tensors() -> None:
    inputs, targets = data()
    model = Net(lambda m, x: {"logits": m.logits(x), "copy": m.logits(x).detach() * 2})
    model.head = LowRank()
    frame = fs.watch(model, inputs, targets).snapshot()
    with torch.no_grad():
        expected = fs.analyze(model.features(inputs), model.logits(inputs), targets)
    np.testing.assert_allclose(frame.utilization, expected.utilization, atol=1e-4)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_that_ends_in_float(kind: torch.dtype) -> None:
    inputs, targets = data()
    model = Net(lambda m, x: m.logits(x).float()).to(kind)
    probe = fs.watch(model, inputs, targets)
    first = probe.snapshot()
    assert first.labels["regime"] == "UNTRAINED"
    outputs = outputs_of(model, inputs.to(kind))
    np.testing.assert_array_equal(first.arrays["predictions"], outputs.argmax(1))


def experts(m: Net, x: Tensor) -> Tensor:
    h, one = m.features(x), torch.arange(len(x))[:, None] % 2 > 0
    return torch.where(one, m.head(h), m.second(h))


def routed(m: Net, x: Tensor) -> Tensor:
    h, out = m.features(x), torch.zeros(len(x), C)
    far = torch.arange(len(x)) > 60  # none of the first few samples
    out[~far] = m.head(h[~far])
    if far.any():
        out[far] = m.second(h[far])
    return out


def pushed(m: Net, x: Tensor) -> Tensor:
    """Right for the first samples, as a test on two of them cannot see."""
    return m.logits(x) + (torch.arange(len(x)) > 60)[:, None] * x[:, :C]


MIXED = {
    "skip": (lambda m, x: x[:, :C] + m.logits(x), "depends on more than"),
    "late skip": (pushed, "are no affine function"),
    "scaled by sample": (lambda m, x: m.logits(x) * x[:, :1].exp(), "depends on more than"),
    "masked by sample": (lambda m, x: m.logits(x).masked_fill(x[:, :C] > 2, -9), "more than"),
    "ReLU": (lambda m, x: m.logits(x).relu(), "but made from it"),
    "softmax": (lambda m, x: m.logits(x).softmax(-1), "but made from it"),
    "capped": (lambda m, x: 3 * (m.logits(x) / 3).tanh(), "but made from it"),
    "normalised": (lambda m, x: functional.normalize(m.logits(x)), "but made from it"),
    "experts, chosen": (experts, "mixes 2 linear layers"),
    "experts, routed": (routed, "61 of the 61 rows"),
    "experts, weighted": (
        lambda m, x: (
            m.gate(x).softmax(1)[:, :1] * m.logits(x)
            + m.gate(x).softmax(1)[:, 1:] * m.second(m.features(x))
        ),
        "mixes 3 linear layers",
    ),
    "two calls": (
        lambda m, x: m.logits(x) + m.head(m.features(x).flip(1)),
        "240 of the 240 rows",
    ),
    "mean of positions": (lambda m, x: positions(m, x, 1).mean(1), "600 of the 600 rows"),
    "cosine": (
        lambda m, x: (
            functional.normalize(m.features(x)) @ functional.normalize(m.head.weight, dim=1).T
        ),
        "but made from it",
    ),
    "masked classes": (
        lambda m, x: m.logits(x).masked_fill(torch.arange(C) > 1, -torch.inf),
        r"-inf for every sample in columns 2, 3.*outputs= .*z\[:, seen\]",
    ),
    "masked by a number": (
        lambda m, x: m.logits(x).masked_fill(torch.arange(C) > 2, -1e9),
        r"-1e\+09 for every sample in columns 3",
    ),
    "several": (
        lambda m, x: {"a": m.other(m.features(x)), "b": m.logits(x)},
        "several tensors .*outputs='a', or head=",
    ),
    "a scalar": (lambda m, x: m.logits(x).sum(), "scalar"),
    "a row short": (lambda m, x: m.logits(x)[1:], "1 rows of outputs for 2 samples"),
}


@pytest.mark.parametrize("name", MIXED)
def test_what_no_layer_made_is_refused_with_a_way_out(name: str) -> None:
    then, message = MIXED[name]
    with pytest.raises(ValueError, match=message) as caught:
        fs.watch(Net(then), *data()).snapshot()
    if name not in ("a scalar", "a row short"):
        assert "outputs=" in str(caught.value)


def test_features_and_outputs_may_be_given() -> None:
    inputs, targets = data()
    cosine = Net(MIXED["cosine"][0])

    def both(x: Tensor) -> tuple[Tensor, Tensor]:
        return functional.normalize(cosine.features(x)), cosine(x)

    frame = fs.watch(cosine, inputs, targets, features=both).snapshot()
    assert float(frame.eigenvalues.sum()) == pytest.approx(1, rel=1e-5)
    alone = fs.watch(cosine, inputs, targets, features=lambda x: both(x)[0]).snapshot()
    np.testing.assert_array_equal(alone.utilization, frame.utilization)
    with pytest.warns(UserWarning, match="no affine function of the features given.*sample"):
        frame = fs.watch(cosine, inputs, targets, features=cosine.features).snapshot()
    np.testing.assert_array_equal(frame.arrays["predictions"], cosine(inputs).argmax(1))
    assert frame.utilization[-1] < 0.999

    plain = Net(Net.logits)
    expected = fs.watch(plain, inputs, targets).snapshot()
    plain.features_layer = nn.ReLU()
    plain.then = lambda m, x: m.head(m.features_layer(m.body(x)))
    named = fs.watch(plain, inputs, targets, features="features_layer").snapshot()
    np.testing.assert_allclose(named.utilization, expected.utilization, atol=1e-6)


@pytest.mark.filterwarnings("ignore:model=Net. its outputs are no affine")
@pytest.mark.parametrize("name", sorted(MIXED))
def test_the_way_out_is_one(name: str) -> None:
    inputs, targets = data()
    model = Net(MIXED[name][0])
    if name in ("a scalar", "a row short"):
        pytest.skip("are no outputs of the samples")
    picked: dict[str, Any] = {"several": {"outputs": "b"}}.get(name, {})
    if name.startswith("masked ") and name != "masked by sample":
        seen = [0, 1] if name == "masked classes" else [0, 1, 2]
        picked, targets = {"outputs": lambda z: z[:, seen]}, targets % len(seen)

    def both(x: Tensor) -> tuple[Tensor, Tensor]:
        returned, pick = model(x), picked.get("outputs", lambda z: z)
        return model.features(x), pick(returned) if callable(pick) else returned[pick]

    frame = fs.watch(model, inputs, targets, features=model.features, **picked).snapshot()
    with torch.no_grad():
        features, outputs = both(inputs)
    np.testing.assert_array_equal(frame.arrays["predictions"], outputs.argmax(1))
    expected = fs.analyze(features, outputs, targets)
    np.testing.assert_allclose(frame.utilization, expected.utilization, atol=1e-4)
    given = fs.watch(model, inputs, targets, features=both).snapshot()
    np.testing.assert_array_equal(given.utilization, frame.utilization)


def test_one_of_several_outputs_by_head_or_by_key() -> None:
    inputs, targets = data()
    model = Net(lambda m, x: {"a": m.other(m.features(x)), "b": m.logits(x)})
    expected = fs.watch(Net(Net.logits), inputs, targets).snapshot()
    for options in ({"head": "head"}, {"outputs": "b"}, {"outputs": lambda out: out["b"]}):
        frame = fs.watch(model, inputs, targets, **options).snapshot()
        np.testing.assert_array_equal(frame.utilization, expected.utilization)
    with pytest.raises(ValueError, match="head='nope': no such module; the linear layers are body"):
        fs.watch(model, inputs, targets, head="nope")
    with pytest.raises(ValueError, match="outputs='c': has 'a', 'b'"):
        fs.watch(model, inputs, targets, outputs="c")


class LowRank(nn.Module):
    """A linear layer with a low-rank update beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.base, self.down = nn.Linear(16, C), nn.Linear(16, 2, bias=False)
        self.up = nn.Linear(2, C, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + 0.5 * self.up(self.down(x))


HEADS: dict[str, Callable[[], nn.Module]] = {
    "no bias": lambda: nn.Linear(16, C, bias=False),
    "weight-normed": lambda: nn.utils.parametrizations.weight_norm(nn.Linear(16, C)),
    "orthogonal": lambda: nn.utils.parametrizations.orthogonal(nn.Linear(16, C)),
    "low-rank update": LowRank,
    "pixel": lambda: nn.Sequential(nn.Unflatten(1, (16, 1, 1)), nn.Conv2d(16, C, 1), nn.Flatten()),
}


@pytest.mark.parametrize("name", HEADS)
def test_heads_of_every_kind(name: str) -> None:
    inputs, targets = data()
    model = Net(Net.logits)
    model.head = HEADS[name]()
    frame = fs.watch(model, inputs, targets).snapshot()
    with torch.no_grad():
        features, outputs = model.features(inputs), model(inputs)
    expected = fs.analyze(features, outputs, targets)
    np.testing.assert_allclose(frame.utilization, expected.utilization, atol=1e-4)
    np.testing.assert_array_equal(frame.arrays["predictions"], outputs.argmax(1))


def test_two_threads_may_look_for_heads_at_once() -> None:
    """One begins while the other is within its model."""
    found: list[int] = []
    second = threading.Thread(
        target=lambda: found.append(fs.watch(Net(Net.logits), *data()).num_features)
    )

    def meanwhile(net: Net, x: Tensor) -> Tensor:
        if not second.ident:
            second.start()
            second.join(0.1)  # it fails at once, or waits for its turn
        return Net.logits(net, x)

    found.append(fs.watch(Net(meanwhile), *data()).num_features)
    second.join()
    assert found == [16, 16]
