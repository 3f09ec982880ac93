"""Networks and data sets given to a configuration as such: functions, arrays, torch Datasets."""

import json
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset

import fswidget as fs
from fswidget.recording.file import to_bytes
from fswidget.training import Training
from fswidget.widget.controls import controls
from tests import children

NUMBERS = np.random.default_rng(0)
INPUTS = NUMBERS.normal(size=(120, 6))
LABELS = (INPUTS @ NUMBERS.normal(size=(6, 3))).argmax(1)
SMALL: dict[str, Any] = {"width": 8, "epochs": 2, "device": "cpu", "frame_every": "epoch"}


def build(config: Any, shape: tuple[int, ...], num_outputs: int) -> nn.Module:
    layers: list[nn.Module] = [nn.Flatten()]
    inputs = math.prod(shape)
    for _ in range(config.depth):
        layers += [nn.Linear(inputs, config.width), nn.ReLU()]
        layers += [nn.BatchNorm1d(config.width)] if config.batchnorm else []
        inputs = config.width
    return nn.Sequential(*layers, nn.Linear(inputs, num_outputs))


def own(**settings: Any) -> fs.Config:
    return fs.Config(model=build, dataset=(INPUTS, LABELS), **SMALL | settings)


def test_a_function_and_arrays_stand_where_names_do() -> None:
    config = own(depth=3, batchnorm=True)
    training = Training(config)
    kinds = [type(module) for module in training.model.modules()]
    assert (kinds.count(nn.Linear), kinds.count(nn.BatchNorm1d)) == (4, 3)
    recording = fs.record(config)
    assert recording.config["model"] == "build"
    assert recording.config["dataset"] == "arrays (120, 6)"
    assert recording.info.title == "build on arrays (120, 6), p = 8"
    assert json.loads(json.dumps(config.to_dict())).items() >= recording.config.items()
    assert config == own(depth=3, batchnorm=True).replace(dataset=config.dataset)
    # Held out: a fifth of each class; floats go in as they are.
    assert config.train_size == 120 - config.source.test_size == len(training.data.inputs)
    given = {tuple(row) for row in INPUTS.astype(np.float32).tolist()}
    assert {tuple(row) for row in training.data.inputs.tolist()} <= given
    counts = torch.bincount(training.data.test_targets).tolist()
    assert counts == [round(0.2 * int((label == LABELS).sum())) for label in range(3)]


def test_p_is_what_enters_the_last_layer() -> None:
    def wide(config: Any, shape: tuple[int, ...], num_outputs: int) -> nn.Module:
        return nn.Sequential(nn.Linear(shape[0], 20), nn.ReLU(), nn.Linear(20, num_outputs))

    recording = fs.record(own().replace(model=wide))
    assert recording.info.num_features == 20
    assert recording.info.title.endswith("p = 20")


class Pairs(Dataset[Any]):
    classes = ("low", "middle", "high")

    def __len__(self) -> int:
        return len(INPUTS)

    def __getitem__(self, index: int) -> Any:
        return INPUTS[index], int(LABELS[index])


def test_a_torch_dataset_gives_the_same_run_and_its_class_names() -> None:
    arrays = fs.record(own())
    dataset = fs.record(fs.Config(model=build, dataset=Pairs(), **SMALL))
    assert dataset.config["dataset"] == "Pairs (120, 6)"
    assert dataset.info.class_names == Pairs.classes
    assert dataset[-1].scalars["low_rank_measure"] == arrays[-1].scalars["low_rank_measure"]
    tensors = TensorDataset(torch.from_numpy(INPUTS), torch.from_numpy(LABELS))
    assert fs.Config(dataset=tensors).source.class_names == ("0", "1", "2")


def test_a_test_part_is_not_trained_on() -> None:
    parts = ((INPUTS[:80], LABELS[:80]), (INPUTS[80:], LABELS[80:]))
    config = fs.Config(model=build, dataset=parts, **SMALL)
    assert (config.train_size, config.source.test_size) == (80, 40)
    with pytest.raises(ValueError, match=r"held_out=0.5: the data set has a test part"):
        config.replace(held_out=0.5, dataset=config.dataset)
    both = (TensorDataset(*map(torch.from_numpy, parts[0])), Pairs())
    assert fs.Config(dataset=both).source.test_size == 120


def test_pictures_of_bytes_are_standardised_and_floats_are_not() -> None:
    pictures = NUMBERS.integers(0, 256, (60, 9, 9, 3), dtype=np.uint8)
    labels = np.arange(60) % 3
    config = fs.Config(model="cnn", dataset=(pictures, labels), **SMALL)
    assert config.source.shape == (3, 9, 9)
    training = Training(config)
    assert abs(float(training.data.inputs.mean())) < 1e-6
    thumbnails = training.info.thumbnails
    assert thumbnails is not None
    assert {p.tobytes() for p in thumbnails} <= {p.tobytes() for p in pictures}
    floats = pictures.transpose(0, 3, 1, 2) / 255
    raw = Training(fs.Config(model="cnn", dataset=(floats, labels), **SMALL))
    assert float(raw.data.inputs.min()) >= 0
    assert raw.info.thumbnails is not None


def test_values_are_a_regression_and_whole_numbers_go_to_functions() -> None:
    values = 100 + INPUTS[:, :2]
    config = fs.Config(model=build, dataset=(INPUTS, values), loss="mse", **SMALL)
    training = Training(config)
    assert (training.data.num_outputs, training.data.class_names) == (2, ())
    assert float(training.data.targets.mean()) == pytest.approx(100, abs=1)

    def embed(config: Any, shape: tuple[int, ...], num_outputs: int) -> nn.Module:
        return nn.Sequential(nn.Embedding(5, 4), nn.Flatten(), nn.Linear(4 * shape[0], num_outputs))

    tokens = NUMBERS.integers(0, 5, (60, 3))
    recording = fs.record(fs.Config(model=embed, dataset=(tokens, tokens[:, 0]), **SMALL))
    assert recording.info.num_features == 12


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": nn.Linear(2, 3)}, r"model=Linear: a module; must be a function"),
        ({"dataset": 3}, r"dataset=3: must be the name .* torch Dataset"),
        ({"dataset": (INPUTS, LABELS[:10])}, r"dataset inputs of shape \(120, 6\) and targets of"),
        ({"dataset": (INPUTS, LABELS + 900)}, r"labels from 900 to 902 .* must be classes 0, 1"),
        ({"dataset": (INPUTS * np.nan, LABELS)}, r"dataset inputs: holds NaN"),
        ({"dataset": (INPUTS, INPUTS[:, 0])}, r"loss='cross_entropy': .* is a regression"),
        ({"dataset": (INPUTS, LABELS), "train_size": 120}, r"train_size=120: .* has 96 training"),
        ({"dataset": (INPUTS, LABELS), "held_out": 0}, r"held_out=0: must be"),
        ({"dataset": (INPUTS[:3], LABELS[:3] > 0)}, r"to train on and . to test on"),
        (
            {"dataset": ((INPUTS, LABELS), (INPUTS[:, :2], LABELS))},
            r"dataset test inputs of shape \(120, 2\) .*: must be \(n, 6\)",
        ),
        ({"dataset": (LABELS[:, None], LABELS)}, r"no network that has a name reads"),
    ],
)
def test_what_is_none_is_named_before_anything_runs(settings: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        fs.Config(**settings)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda *_: 3, r"model='<lambda>': returned a int; must return a torch.nn.Module"),
        (
            lambda *_: nn.LazyLinear(3),
            r"model='<lambda>': its layers '' are lazy .* it is returned",
        ),
        (lambda *_: nn.Linear(6, 5), r"gives 5 outputs; must be num_outputs = 3"),
        (lambda *_: nn.Linear(7, 3), r"model='<lambda>': fails on samples of shape \(6,\)"),
        (lambda *_: nn.Tanh(), r"model=Tanh: it has no linear layer that ran"),
    ],
)
def test_a_function_that_makes_no_network_is_named(model: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        Training(own().replace(model=model))


def test_a_state_goes_on_with_the_function_given_again(tmp_path: Path) -> None:
    whole = fs.record(own())
    half = iter([True] * 4)
    store = tmp_path / "run"
    fs.record(own(), store=store, keep_going=lambda: next(half, False))
    assert to_bytes(fs.record(own(), store=store).contents())
    resumed = fs.load(store / "recording.npz")
    assert resumed[-1].scalars["loss"] == whole[-1].scalars["loss"]
    training = Training(own())
    list(training)
    state = training.state_dict()
    with pytest.raises(ValueError, match=r"model='build': .* pass it again, as model="):
        Training.branch(state, epochs=3)
    data = training.config.dataset
    longer = Training.branch(state, model=build, dataset=data, epochs=3)
    assert [frame.epoch for frame in longer.frames(first=False)] == [3.0]


def test_sweeps_take_them_to_other_processes() -> None:
    config = own(epochs=1)
    with children.pool(1) as pool:
        result = fs.sweep(config, width=[4, 8], executor=pool)
    assert [run.error for run in result] == ["", ""]
    assert [run.settings["model"] for run in result] == ["build", "build"]
    alone = fs.record(config.replace(width=4))
    assert result.runs[0].scalars["low_rank_measure"] == pytest.approx(
        alone[-1].scalars["low_rank_measure"]
    )


def test_a_sweep_says_before_it_starts_that_a_function_does_not_pickle(tmp_path: Path) -> None:
    def local(config: Any, shape: tuple[int, ...], num_outputs: int) -> nn.Module:
        return build(config, shape, num_outputs)

    with pytest.raises(ValueError, match=r"model='local': .*local .* cannot be used by the proc"):
        fs.sweep(own(epochs=1).replace(model=local), width=[4])
    with ThreadPoolExecutor(1) as pool:
        path = tmp_path / "sweep"
        result = fs.sweep(own(epochs=1), model=[local, build], executor=pool, resume=path)
        assert result.axes == {"model": ["local", "build"]}
        again = fs.sweep(own(epochs=1), model=[local, build], executor=pool, resume=path)
    assert [run.seconds for run in again] == [run.seconds for run in result]


def test_a_control_of_ones_own_is_described() -> None:
    described = {entry["name"]: entry for entry in controls(own())}
    assert described["model"]["value"] == "build"
    assert described["model"]["choices"][-1] == "build"
    assert described["batchnorm"]["disabled"] is None
