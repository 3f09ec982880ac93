"""What is measured is what the model returns: features are the rows that made the outputs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import fswidget as fs
from fswidget.probing.agreement import Disagreement, match_rows
from fswidget.probing.capture import pool

C, n = 4, 120
labels = torch.arange(n) % C
generator = torch.Generator().manual_seed(0)
inputs = torch.randn(n, 6, generator=generator)
inputs += 3 * torch.randn(C, 6, generator=generator)[labels]


class Base(nn.Module):
    """Features, a head, and what a subclass makes of them."""

    def __init__(self, outputs: int = C) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.b, self.h = nn.Linear(6, 16), nn.Linear(16, outputs)

    def features(self, x: Tensor) -> Tensor:
        return self.b(x).relu()

    def forward(self, x: Tensor) -> Any:
        return self.after(self.h(self.features(x)), x)

    def after(self, z: Tensor, x: Tensor) -> Any:
        return z


class Sorted(Base):
    def forward(self, x: Tensor) -> Tensor:
        order = x[:, 0].argsort()
        return self.h(self.features(x[order]))[order.argsort()]


class SortedByFeature(Base):
    """The order of each row depends on what the network makes of it."""

    def forward(self, x: Tensor) -> Tensor:
        z = self.features(x)
        order = z[:, 0].argsort()
        return F.log_softmax(self.h(z[order]), -1)[order.argsort()]


class Twice(Base):
    def forward(self, x: Tensor) -> Tensor:
        first = self.h(self.features(x))
        self.h(self.features(-x))
        return first


def after(what: Any, outputs: int = C) -> Base:
    class Model(Base):
        def after(self, z: Tensor, x: Tensor) -> Any:
            return what(self, z, x)

    return Model(outputs)


class Normalised(Base):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(C)
        self.norm.running_mean += 3
        self.norm.running_var *= 7

    def after(self, z: Tensor, x: Tensor) -> Tensor:
        return self.norm(z)


RIGHT = {
    "as it is": Base(),
    "sorted": Sorted(),
    "sorted, log-softmax": SortedByFeature(),
    "second call dropped": Twice(),
    "BatchNorm": Normalised(),
    "fewer columns": after(lambda s, z, x: z[:, :C], 20),
    "columns in another order": after(lambda s, z, x: z[:, [2, 0, 3, 1]]),
    "scale and shift": after(lambda s, z, x: z * 50 + 7),
    "negative scale": after(lambda s, z, x: -z),
    "scale of each output": after(lambda s, z, x: z * torch.tensor([1.0, 2, 3, 4]) + 1),
    "prior": after(lambda s, z, x: z + torch.tensor([0.1, 0.2, 0.3, 0.4]).log()),
    "temperature, log-softmax": after(lambda s, z, x: (z / 0.7).log_softmax(-1)),
    "class masked by a large number": after(
        lambda s, z, x: z.masked_fill(torch.tensor([0, 0, 0, 1]).bool(), -1e9)
    ),
    "loss first": after(lambda s, z, x: (z.sum(), z)),
    "loss first, by name": after(lambda s, z, x: {"loss": z.sum(), "scores": z}),
}


@pytest.mark.parametrize("name", RIGHT)
def test_scores_are_those_of_what_the_model_returns(name: str) -> None:
    model = RIGHT[name]
    frame = fs.watch(model, inputs, labels, errors=False).snapshot()
    with torch.no_grad():
        returned = model.eval()(inputs)
    if isinstance(returned, dict):
        returned = returned["scores"]
    elif isinstance(returned, tuple):
        returned = returned[1]
    right = float((returned.argmax(1) == labels).float().mean())
    assert frame.scalars["train_accuracy"] == pytest.approx(right)
    torch.testing.assert_close(
        torch.as_tensor(frame.arrays["predictions"]), returned.argmax(1).float()
    )


@pytest.mark.parametrize("name", ["sorted", "sorted, log-softmax", "second call dropped"])
def test_features_are_the_rows_that_made_the_outputs(name: str) -> None:
    model = RIGHT[name]
    frame = fs.watch(model, inputs, labels, errors=False).snapshot()
    with torch.no_grad():
        features, outputs = model.features(inputs), model.h(model.features(inputs))
    wanted = fs.analyze(features, outputs, labels, errors=False)
    assert frame.scalars["low_rank_measure"] == pytest.approx(wanted.low_rank_measure, abs=1e-5)


WRONG = {
    "skip": (after(lambda s, z, x: z + x, 6), "beyond a scale and a shift"),
    "prior of each sample": (after(lambda s, z, x: z + x[:, :C]), "depends on the sample"),
    "gate": (after(lambda s, z, x: z * x[:, :1]), "depends on the sample"),
    "ReLU": (after(lambda s, z, x: z.relu()), "made from it"),
    "softmax": (after(lambda s, z, x: z.softmax(-1)), "made from it"),
    "normalised rows": (after(lambda s, z, x: F.normalize(z, dim=-1)), "made from it"),
    "difference of two calls": (after(lambda s, z, x: z - s.h(s.features(-x))), "mixes 2 calls"),
    "two outputs": (after(lambda s, z, x: (z, 2 * z)), "2 tensors.*outputs="),
    "classes masked": (
        after(lambda s, z, x: z.masked_fill(torch.tensor([0, 0, 0, 1]).bool(), -torch.inf)),
        r"−∞ for every sample in columns \[3\]",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_head_is_refused_before_the_first_frame(name: str) -> None:
    model, why = WRONG[name]
    with pytest.raises(ValueError, match=why):
        fs.watch(model, inputs, labels)


@pytest.mark.parametrize("name", ["skip", "ReLU", "softmax"])
def test_the_refusal_names_the_way_out(name: str) -> None:
    with pytest.raises(ValueError, match="features="):
        fs.watch(WRONG[name][0], inputs, labels)


def test_a_head_that_stops_being_one_is_refused_at_that_snapshot() -> None:
    class Late(Base):
        gate = False

        def after(self, z: Tensor, x: Tensor) -> Tensor:
            return z * x[:, :1] if self.gate else z

    model = Late()
    probe = fs.watch(model, inputs, labels)
    probe.snapshot()
    model.gate = True
    with pytest.raises(Disagreement, match="depends on the sample"):
        probe.snapshot()
    assert len(probe.recording) == 1


def test_features_and_outputs_can_be_said() -> None:
    skip, _ = WRONG["prior of each sample"]
    by_name = fs.watch(skip, inputs, labels, features="b", errors=False)
    assert by_name.num_features == 16
    given = fs.watch(skip, inputs, labels, features=skip.features, errors=False).snapshot()
    both = fs.watch(
        skip, inputs, labels, features=lambda x: (skip.features(x), skip(x)), errors=False
    ).snapshot()
    assert given.scalars["low_rank_measure"] == both.scalars["low_rank_measure"]
    with torch.no_grad():
        right = float((skip(inputs).argmax(1) == labels).float().mean())
    assert given.scalars["train_accuracy"] == pytest.approx(right)
    two, _ = WRONG["two outputs"]
    first = fs.watch(two, inputs, labels, outputs=0, errors=False).snapshot()
    last = fs.watch(two, inputs, labels, outputs=lambda out: out[-1], errors=False).snapshot()
    assert first.scalars["low_rank_measure"] == pytest.approx(last.scalars["low_rank_measure"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head": "q"}, "head='q': no such module; must be one of b, h"),
        ({"features": "q"}, "features='q': no such module"),
        ({"head": "h", "features": "b"}, "one of the two says it"),
        ({"outputs": "logits"}, "outputs='logits': the model's Tensor has no such entry"),
        ({"head": "b"}, "made from it"),
    ],
)
def test_what_cannot_be_taken_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fs.watch(Base(), inputs, labels, **options)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("widened", [False, True])
def test_half_precision(dtype: torch.dtype, widened: bool) -> None:
    model = after(lambda s, z, x: z.float() if widened else z).to(dtype)
    frame = fs.watch(model, inputs, labels, errors=False).snapshot()
    with torch.no_grad():
        right = float((model(inputs.to(dtype)).argmax(1) == labels).float().mean())
    assert frame.scalars["train_accuracy"] == pytest.approx(right)


def test_rows_are_matched_up_to_a_softmax() -> None:
    z = torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(3))
    where = torch.tensor([2, 0, 1, 1, 0])
    chosen = z[torch.arange(5), where]
    for final in (chosen, chosen.log_softmax(-1), 3 * chosen + 1):
        torch.testing.assert_close(match_rows(final, z), where)
    assert match_rows(torch.randn(5, 4), z) is None


def test_a_layer_keeps_what_left_it_although_the_next_works_in_place() -> None:
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(inplace=True), nn.Linear(8, C))
    probe = fs.watch(model, inputs, labels, layers=["0"], errors=False)
    found = probe._run(probe._probe, "", ["0"]).layers["0"]
    torch.testing.assert_close(found, model[0](inputs).detach())
    assert bool((found < 0).any())


def test_maps_are_averaged_over_space_wherever_the_channels_are() -> None:
    values = torch.randn(3, 5, 7, 4)
    torch.testing.assert_close(pool(values, nn.Conv2d(2, 5, 1)), values.mean((2, 3)))
    torch.testing.assert_close(pool(values, nn.LayerNorm(4)), values.mean((1, 2)))
    block = nn.Sequential(nn.Conv2d(2, 5, 1), nn.Linear(4, 20), nn.Linear(20, 5))
    torch.testing.assert_close(pool(values, block), values.mean((2, 3)))


def test_layers_that_cannot_be_measured_are_named_before_the_first_frame() -> None:
    class Odd(Base):
        def __init__(self) -> None:
            super().__init__()
            self.unused, self.other = nn.Linear(6, 2), nn.Identity()

        def features(self, x: Tensor) -> Tensor:
            self.other(x[:1])
            return super().features(x)

    with pytest.raises(ValueError, match="layers='unused': did not run"):
        fs.watch(Odd(), inputs, labels, layers=["unused"])
    with pytest.raises(ValueError, match="layers='other': gives 1 rows for 2 samples"):
        fs.watch(Odd(), inputs, labels, layers=["other"])


class Merging(nn.Linear):
    """As LoRA layers do: evaluation merges a second matrix into the weight."""

    merged = False

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__(inside, outside)
        self.a = nn.Parameter(torch.randn(outside, 2) * 0.37)
        self.c = nn.Parameter(torch.randn(2, inside) * 0.73)

    def train(self, mode: bool = True) -> Merging:
        super().train(mode)
        if mode == self.merged:
            with torch.no_grad():
                self.weight += (-1 if mode else 1) * self.a @ self.c
            self.merged = not mode
        return self


class Running(nn.Module):
    """Moves its statistics whenever it is called, in a buffer and in a plain attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(6))
        self.calls, self.largest = 0, torch.zeros(6)

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.largest = torch.maximum(self.largest, x.amax(0))
        self.mean.mul_(0.9).add_(0.1 * x.mean(0))
        return x


def test_the_watched_model_is_as_it_was() -> None:
    model = nn.Sequential(Running(), Merging(6, 8), nn.ReLU(), nn.Linear(8, C))
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    probe = fs.watch(model, inputs, labels)
    probe.snapshot()
    assert model.training
    assert (model[0].calls, model[1].merged) == (0, False)
    assert not bool(model[0].largest.any())
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_the_generators_are_left_alone_by_a_thread_in_the_background() -> None:
    import threading

    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(6, C))
    probe = fs.watch(model, inputs, labels, errors=False)
    stop = threading.Event()

    def snapshots() -> None:
        while not stop.is_set():
            probe.snapshot()

    thread = threading.Thread(target=snapshots)
    thread.start()
    try:
        drawn = [float(torch.rand(())) for _ in range(2000)]
    finally:
        stop.set()
        thread.join()
    # Of so many float32 numbers a few are equal by chance.
    assert len(set(drawn)) > 1990
