"""How a run is laid out in memory and computed: faster, and the same numbers."""

import functools

import pytest
import torch
from torch import Tensor, nn

from fswidget.training import learner, optimisation
from fswidget.training.batches import Batches, generator
from fswidget.training.config import Config
from fswidget.training.datasets import augment
from fswidget.training.loop import Training
from fswidget.training.registry import network, networks
from fswidget.training.run_folder import record

CNN = {"model": "cnn", "width": 16, "train_size": 200, "test_size": 50, "epochs": 1}
RESNET = {**CNN, "model": "resnet18", "width": 128, "batchnorm": True, "train_size": 60}
MEASURES = ("loss", "low_rank_measure", "effective_rank", "test_accuracy", "kernel_drift")
LAST = torch.channels_last


@pytest.mark.parametrize("settings", [CNN, RESNET, {**CNN, "augment": True}])
def test_channels_last_gives_the_same_numbers(
    settings: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Config(**settings)  # type: ignore[arg-type]
    ours = Training(config)
    assert ours.data.inputs.is_contiguous(memory_format=LAST)
    convolutions = [m for m in ours.model.modules() if isinstance(m, nn.Conv2d)]
    assert all(m.weight.is_contiguous(memory_format=LAST) for m in convolutions)
    assert ours._batches(0)[0].is_contiguous(memory_format=LAST)
    monkeypatch.setattr(learner, "lay_out", lambda *_: torch.contiguous_format)
    plain = Training(config)
    assert not all(
        m.weight.is_contiguous(memory_format=LAST)
        for m in plain.model[2:].modules()
        if isinstance(m, nn.Conv2d)
    )
    states = [training.model.state_dict() for training in (ours, plain)]
    assert list(states[0]) == list(states[1])
    weights = [training.model.parameters() for training in (ours, plain)]
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))
    last, other = list(ours)[-1], list(plain)[-1]
    for name in MEASURES:
        assert last.scalars[name] == pytest.approx(other.scalars[name], rel=1e-3, abs=1e-4)


@pytest.mark.parametrize(("width", "last"), [(16, False), (120, False), (128, True)])
def test_strided_convolutions_of_few_channels_keep_the_usual_layout(width: int, last: bool) -> None:
    training = Training(Config(**{**RESNET, "width": width}))  # type: ignore[arg-type]
    weights = [m.weight for m in training.model.modules() if isinstance(m, nn.Conv2d)]
    assert all(w.is_contiguous(memory_format=LAST) for w in weights) is last


def test_a_network_that_cannot_read_channels_last_keeps_the_usual_layout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Viewing(nn.Module):
        def __init__(self, channels: int, width: int, outputs: int) -> None:
            super().__init__()
            self.convolution = nn.Conv2d(channels, 2, 3, padding=1)
            self.hidden, self.head = nn.LazyLinear(width), nn.Linear(width, outputs)

        def forward(self, x: Tensor) -> Tensor:
            x = self.convolution(x)
            outputs: Tensor = self.head(self.hidden(x.view(len(x), -1)).relu())
            return outputs

    monkeypatch.setitem(networks, "viewing", None)  # taken away again afterwards

    @network("viewing", kinds=("image",))
    def viewing(config: Config, shape: tuple[int, ...], num_outputs: int) -> nn.Module:
        """Views its pictures as vectors."""
        model = Viewing(shape[0], config.width, num_outputs)
        model(torch.zeros(2, *shape))
        return model

    training = Training(Config(**{**CNN, "model": "viewing"}))  # type: ignore[arg-type]
    assert training.data.inputs.is_contiguous()
    assert len(list(training)) >= 2


def test_mixed_precision_goes_with_channels_last() -> None:
    frame = record(Config(**RESNET, precision="bfloat16"))[-1]  # type: ignore[arg-type]
    exact = record(Config(**RESNET))[-1]  # type: ignore[arg-type]
    assert frame.scalars["loss"] == pytest.approx(exact.scalars["loss"], rel=0.05)


def test_what_is_drawn_for_an_epoch_is_what_each_step_would_draw() -> None:
    inputs = torch.randn(50, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    batches = Batches(inputs, torch.arange(50), 16, seed=3, augment=True)
    for step in (5, 4, 0, 7):
        order = torch.randperm(50, generator=generator(3, 0, step // 4))
        chosen = order[step % 4 * 16 :][:16]
        got, targets = batches(step)
        assert torch.equal(targets, chosen)
        assert torch.equal(got, augment(inputs[chosen], generator(3, 1, step)))


def test_a_compiled_step_learns_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    # Traced, but not translated to C++, which would take a minute.
    compiler = functools.partial(torch.compile, backend="eager")
    monkeypatch.setattr(optimisation.torch, "compile", compiler)
    settings = {"width": 8, "train_size": 20, "test_size": 20, "batch_size": 20, "epochs": 1}
    plain, faster = (record(Config(**settings, compile=c))[-1] for c in (False, True))  # type: ignore[arg-type]
    assert faster.scalars["loss"] == pytest.approx(plain.scalars["loss"], rel=1e-4)
    assert faster.scalars["low_rank_measure"] == pytest.approx(
        plain.scalars["low_rank_measure"], rel=1e-3
    )


def test_a_compiler_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(model: nn.Module, **_: object) -> object:
        def call(inputs: Tensor) -> Tensor:
            raise torch._dynamo.exc.TorchDynamoException("no g++")

        return call

    monkeypatch.setattr(optimisation.torch, "compile", fails)
    with pytest.raises(RuntimeError, match=r"compile=True: .*no g\+\+.*compile=False"):
        record(Config(**CNN, compile=True))  # type: ignore[arg-type]
