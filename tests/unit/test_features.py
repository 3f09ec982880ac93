"""The head is found by what produces the output, and its input is captured."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fswidget.probing.capture import capture, resolve_layers
from fswidget.probing.distributed import Communicator
from fswidget.probing.head import find_head, unwrap
from fswidget.probing.inference import Activations, run
from fswidget.probing.layouts import pool
from fswidget.probing.reading import Reader
from fswidget.probing.samples import Samples


class Twist(nn.Module):
    """Registers its layers in another order than it runs them, under unhelpful names."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier = nn.Linear(4, 6)
        self.stem = nn.Linear(6, 3)

    def forward(self, x):
        return {"loss": x.sum(), "logits": self.stem(torch.relu(self.classifier(x)))}


class Sequence(nn.Module):
    """A head over every position, of which the model returns one."""

    def __init__(self, position) -> None:
        super().__init__()
        self.body, self.head, self.position = nn.Linear(4, 5), nn.Linear(5, 3), position

    def forward(self, x):
        return self.head(torch.tanh(self.body(x)))[:, self.position]


@pytest.mark.parametrize(
    ("model", "shape", "name", "features"),
    [
        (nn.Linear(4, 3), (2, 4), "", 4),
        (nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), (2, 4), "2", 8),
        (nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 3), nn.LogSoftmax(-1)), (2, 4), "1", 8),
        (Twist(), (2, 4), "stem", 6),
        (Sequence(-1), (2, 7, 4), "head", 5),
        (nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 1), nn.Flatten(0)), (2, 4), "1", 4),
    ],
)
def test_finds_the_layer_that_makes_the_output(model, shape, name, features):
    model.train()
    for parameter in model.parameters():
        parameter.requires_grad_(False)  # a frozen network has a head too
    state = torch.get_rng_state()
    head = find_head(model, torch.randn(shape, generator=torch.Generator().manual_seed(0)))
    assert (head.name, head.num_features) == (name, features)
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (nn.Sequential(nn.Linear(4, 8), nn.ReLU()), "not the output of its last linear layer '0'"),
        (nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8)), "made from it"),
        (nn.Sequential(nn.Linear(4, 8), nn.Softmax(-1)), "made from it"),
        (nn.Sequential(nn.ReLU()), "no linear layer that ran"),
    ],
)
def test_says_when_there_is_no_head(model, why):
    with pytest.raises(ValueError, match=why):
        find_head(model, torch.randn(2, 4))


def read(model, inputs, layers=()) -> Activations:
    reader = Reader(model, find_head(model, inputs), shift=True)
    samples = Samples.of(inputs, torch.arange(len(inputs)) % 3)
    how = {"batch_size": 2, "device": torch.device("cpu"), "team": Communicator()}
    with torch.no_grad():
        return run(reader, samples, layers=layers, **how)


def test_capture_gives_what_enters_and_leaves_the_head():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    inputs = torch.randn(5, 4)
    with capture(model, find_head(model, inputs), ("0",)) as caught:
        model(inputs)
    ((features, outputs),) = caught.calls
    torch.testing.assert_close(features, torch.relu(model[0](inputs)).detach())
    torch.testing.assert_close(outputs, model(inputs).detach())
    torch.testing.assert_close(caught.layers["0"], model[0](inputs).detach())
    assert not model[2]._forward_hooks


@pytest.mark.parametrize("position", [0, 3, -1])
def test_features_come_from_the_positions_that_the_output_reads(position):
    torch.manual_seed(0)
    model, inputs = Sequence(position), torch.randn(5, 7, 4)
    rows = read(model, inputs)
    torch.testing.assert_close(rows.outputs, model(inputs).detach())
    expected = torch.tanh(model.body(inputs))[:, position].detach()
    torch.testing.assert_close(rows.features, expected)


def test_wrappers_are_looked_through():
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    assert unwrap(torch.compile(nn.DataParallel(model))) is model


def test_layers_and_pooling():
    model = nn.Sequential(nn.Sequential(nn.Linear(4, 8), nn.ReLU()), nn.Linear(8, 3))
    assert resolve_layers(model, "all") == ("0", "1")
    assert resolve_layers(model, None) == ()
    with pytest.raises(ValueError, match="layers='nope': no such module"):
        resolve_layers(model, ["nope"])
    assert pool(torch.ones(2, 3, 4, 5)).shape == (2, 3)
    assert pool(torch.ones(2, 7, 3)).shape == (2, 3)
