"""A run neither reads nor changes what belongs to the session around it."""

import hashlib
import io
import pickle
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fswidget.probing.threads import threads
from fswidget.recording.recording import Recording
from fswidget.training import dataset_readers, networks
from fswidget.training.config import Config
from fswidget.training.datasets import load
from fswidget.training.isolation import own_numbers
from fswidget.training.loop import Training
from fswidget.training.run_folder import record

SMALL = {"width": 16, "train_size": 100, "test_size": 50, "epochs": 2, "frame_every": 1}
RUNS: dict[str, dict[str, Any]] = {
    "mlp": {"loss": "mse", "batchnorm": True},
    "cnn": {"model": "cnn", "augment": True, "label_noise": 0.2},
    "transformer": {"model": "transformer", "dataset": "modular", "modulus": 7},
    "teacher": {"dataset": "teacher", "loss": "mse"},
    "centred": {"output_scale": 10.0},
}


def config_of(**settings: Any) -> Config:
    values = {**SMALL, **settings}
    if values.get("dataset") == "modular":
        del values["train_size"], values["test_size"]
    return Config(**values)


@cache
def plainly(case: str) -> Recording:
    return record(config_of(**RUNS[case]))


def assert_same(first: Recording, second: Recording, rtol: float = 0) -> None:
    for left, right in zip(first, second, strict=True):
        for name in set(left.scalars) - {"seconds", "analysis_seconds"}:
            # Attention takes another path where a default device is set, and rounds otherwise.
            np.testing.assert_allclose(
                left.scalars[name], right.scalars[name], rtol, rtol, err_msg=name
            )


@contextmanager
def no_grad() -> Iterator[None]:
    with torch.no_grad():
        yield


@contextmanager
def inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


@contextmanager
def float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        assert torch.get_default_dtype() == torch.float64
        torch.set_default_dtype(torch.float32)


@contextmanager
def other_device() -> Iterator[None]:
    torch.set_default_device("meta")
    try:
        yield
    finally:
        assert torch.get_default_device().type == "meta"
        torch.set_default_device(None)


@contextmanager
def autocast() -> Iterator[None]:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        yield


@contextmanager
def seeded() -> Iterator[None]:
    torch.manual_seed(7)
    state = torch.get_rng_state()
    yield
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("case", RUNS)
@pytest.mark.parametrize("session", [no_grad, inference, float64, other_device, autocast, seeded])
def test_the_session_around_a_run_is_neither_read_nor_changed(
    case: str, session: Callable[[], Any]
) -> None:
    config, plain = config_of(**RUNS[case]), plainly(case)
    dataset_readers._read_files.cache_clear()
    with session():
        grad = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        rtol = 1e-2 if (case, session) == ("transformer", other_device) else 0
        assert_same(record(config), plain, rtol)
        assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == grad


def test_weights_are_those_that_a_seed_gives_without_using_it() -> None:
    for name in ("mlp", "cnn"):
        config = config_of(model=name, batchnorm=True)
        torch.manual_seed(config.seed)
        wanted = config.network.build(config, (1, 8, 8), 10).state_dict()
        for key, value in networks.build(config, (1, 8, 8), 10).state_dict().items():
            assert torch.equal(value, wanted[key])


def test_what_draws_in_a_builder_draws_from_the_seed() -> None:
    state = torch.get_rng_state()
    drawn = []
    for _ in range(2):
        with own_numbers(3):
            layer = nn.Linear(3, 2)
            nn.init.orthogonal_(layer.weight)
            nn.init.trunc_normal_(layer.bias)
            drawn.append(torch.cat([layer.weight.flatten(), layer.bias, torch.randperm(4)]))
    assert torch.equal(*drawn)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_run_in_the_background_leaves_the_global_generator_to_the_session() -> None:
    """Whoever draws meanwhile gets the numbers that the seed gives, each once."""
    started = threading.Event()

    def train() -> None:
        for _ in Training(config_of(epochs=4, model="cnn", augment=True)):
            started.set()

    thread = threading.Thread(target=train)
    torch.manual_seed(0)
    thread.start()
    started.wait(60)
    seen = []
    while thread.is_alive():
        seen.append(torch.rand(3))
    thread.join()
    torch.manual_seed(0)
    assert len(seen) > 10
    assert all(torch.equal(values, torch.rand(3)) for values in seen)


def test_threads_come_back_whichever_run_ends_first() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        inside, go, seen = threading.Event(), threading.Event(), []

        def hold() -> None:
            with threads.use(1):
                inside.set()
                go.wait(60)

        holder = threading.Thread(target=hold)
        holder.start()
        inside.wait(60)

        def late() -> None:
            seen.append(threads.given)
            with threads.use(1):
                go.set()
                holder.join()

        second = threading.Thread(target=late)
        second.start()
        second.join()
        fresh = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        fresh.start()
        fresh.join()
        assert seen == [2, 2]
    finally:
        torch.set_num_threads(before)


def test_a_frame_within_a_run_gives_the_threads_of_the_run_back() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        with threads.use(2):
            with threads.use(1):
                assert (torch.get_num_threads(), threads.given) == (1, 3)
            assert torch.get_num_threads() == 2
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("name", "value"), [("modulus", 2**61 - 1), ("depth", 10**9)])
def test_what_would_never_end_is_refused(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=rf"^{name}={value}: must be an integer .* ≤ "):
        config_of(**({"dataset": "modular", "model": "transformer"} | {name: value}))


def archive(rows: np.ndarray) -> bytes:
    text = "\n".join(",".join(map(str, row)) for row in rows).encode()
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as whole:
        member = tarfile.TarInfo("CaliforniaHousing/cal_housing.data")
        member.size = len(text)
        whole.addfile(member, io.BytesIO(text))
    return stream.getvalue()


def test_california_is_read_without_pickle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    (tmp_path / "cal_housing_py3.pkz").write_bytes(pickle.dumps(Trap()))
    config = Config(dataset="california", loss="mse", root=str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"california is not there.*download=True"):
        load(config)
    rows = np.random.default_rng(0).uniform(1, 9, (20_640, 9)).round(3)
    content = archive(rows)
    (tmp_path / "cal_housing.tgz").write_bytes(content)
    with pytest.raises(ValueError, match=r"cal_housing.tgz' is damaged, half downloaded"):
        load(config)
    checksum = hashlib.sha256(content).hexdigest()
    monkeypatch.setattr(dataset_readers, "_HOUSING_SHA256", checksum)
    inputs, values, *_ = config.source.read(config)
    assert inputs.shape == (16_640, 8)
    first = int(torch.randperm(20_640, generator=torch.Generator().manual_seed(0))[0])
    row = rows[first]
    # Income, age, rooms and bedrooms per household, people, people per household, where it is.
    wanted = [row[7], row[2], row[3] / row[6], row[4] / row[6], row[5], row[5] / row[6]]
    torch.testing.assert_close(inputs[0], torch.tensor([*wanted, row[1], row[0]]).float())
    assert float(values[0, 0]) == pytest.approx(row[8] / 100_000)
    assert not (tmp_path / "ran").exists()
