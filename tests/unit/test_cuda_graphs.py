"""When a step is recorded, and what goes on where it cannot be; replays themselves need a GPU."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fswidget.training import cuda_graphs
from fswidget.training.config import Config
from fswidget.training.cuda_graphs import Replayed
from fswidget.training.loop import Training


class Recorded:
    """In the place of a graph: what it was made of, and its calls."""

    made: list[tuple[int, ...]]

    def __init__(self, work: Any, parameters: Any, inputs: Tensor, targets: Tensor) -> None:
        Recorded.made.append(tuple(inputs.shape))

    def __call__(self, inputs: Tensor, targets: Tensor) -> Tensor:
        return torch.tensor(-1.0)


@pytest.fixture
def replayed(monkeypatch: pytest.MonkeyPatch) -> Replayed:
    Recorded.made = []
    monkeypatch.setattr(cuda_graphs, "_Graph", Recorded)
    return Replayed([nn.Parameter(torch.ones(2))])


def work(inputs: Tensor, targets: Tensor) -> Tensor:
    return inputs.sum()


def losses(replayed: Replayed, count: int, rows: int = 4) -> list[float]:
    inputs = torch.ones(rows, 2)
    return [float(replayed(work, inputs, inputs[:, 0])) for _ in range(count)]


def test_a_step_is_recorded_after_three_in_a_row_of_its_shape(replayed: Replayed) -> None:
    for _ in range(4):  # epochs of three batches and a smaller one
        assert losses(replayed, 3) == [8.0, 8.0, 8.0]
        assert losses(replayed, 1, rows=3) == [6.0]
    assert Recorded.made == []
    assert losses(replayed, 5) == [8.0, 8.0, 8.0, -1.0, -1.0]
    assert losses(replayed, 1, rows=3) == [6.0]
    assert losses(replayed, 1) == [-1.0]
    assert Recorded.made == [(4, 2)]


def test_what_has_changed_is_recorded_anew(replayed: Replayed) -> None:
    losses(replayed, 4)
    replayed.forget()
    assert losses(replayed, 4) == [8.0, 8.0, 8.0, -1.0]
    assert Recorded.made == [(4, 2), (4, 2)]


def test_what_cannot_be_recorded_goes_on_as_before(
    replayed: Replayed, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def fails(*_: Any) -> None:
        tried.append(1)
        raise torch.OutOfMemoryError("no memory left")

    monkeypatch.setattr(cuda_graphs, "_Graph", fails)
    assert losses(replayed, 6) == [8.0] * 6
    assert tried == [1]


def test_a_network_that_was_moved_is_recorded_again(replayed: Replayed) -> None:
    assert losses(replayed, 4)[-1] == -1.0
    replayed._parameters[0].data = replayed._parameters[0].data.clone()
    assert losses(replayed, 4) == [8.0, 8.0, 8.0, -1.0]


@pytest.mark.parametrize(
    ("settings", "kept"),
    [({"lr": 1e-4}, True), ({"frozen": ["0"]}, False), ({"batch_size": 10}, False)],
)
def test_settings_that_change_what_a_step_does_record_it_anew(
    settings: dict[str, Any], kept: bool, replayed: Replayed
) -> None:
    training = Training(Config(width=8, train_size=40, probe_size=40, batch_size=20))
    name = next(n for n, m in training.model.named_modules() if isinstance(m, nn.Linear))
    settings = {n: [name] if n == "frozen" else v for n, v in settings.items()}
    losses(replayed, 4)
    training._replayed = replayed
    training.change(**settings)
    training._take_up()
    assert bool(replayed._graphs) == kept
