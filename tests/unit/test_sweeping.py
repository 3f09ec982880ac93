"""Sweeps: every run is kept, whatever becomes of it."""

import dataclasses
import json
import math
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fswidget as fs
from fswidget.experiments import workers
from fswidget.experiments.sweeping import Sweep, load
from fswidget.experiments.workers import Run
from fswidget.training.registry import sources
from tests import children
from tests.unit import sweep_tasks

CONFIG = fs.Config(train_size=40, test_size=40, epochs=1, width=8, device="cpu", num_shown=5)


class Here(Executor):
    """Runs at once, in this process; counts. After an interrupt, nothing runs any more."""

    def __init__(self, interrupt_at: int | None = None) -> None:
        self.count = 0
        self.interrupt_at = interrupt_at

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.count += 1
        future: Future[Any] = Future()
        if self.count == self.interrupt_at:
            future.set_exception(KeyboardInterrupt())
        elif self.interrupt_at is None or self.count < self.interrupt_at:
            future.set_result(fn(*args, **kwargs))
        return future


def test_the_grid_in_order() -> None:
    result = fs.sweep(CONFIG, width=[4, 8], seed=[0, 1], executor=Here())
    table = result.table()
    assert list(zip(table["width"], table["seed"], strict=True)) == [(4, 0), (4, 1), (8, 0), (8, 1)]
    assert result.failed == []
    assert "4 runs, 0 failed" in repr(result)
    alone = fs.record(CONFIG.replace(width=4, seed=1))
    for name in ("low_rank_measure", "test_accuracy", "effective_rank"):
        assert table[name][1] == pytest.approx(alone[-1].scalars[name], rel=1e-6)
    assert table["regime"][1] == alone[-1].labels["regime"]
    assert all(seconds > 0 for seconds in table["seconds"])


def test_processes_and_threads_agree() -> None:
    # One is enough: each imports torch, and tests of several are below.
    spawned = fs.sweep(CONFIG, width=[4])
    with ThreadPoolExecutor(2) as pool:
        threads = fs.sweep(CONFIG, width=[4], executor=pool)
        # The executor is not ours to close.
        assert pool.submit(int, 3).result() == 3
    for one, two in zip(spawned, threads, strict=True):
        assert one.error == two.error == ""
        assert one.scalars["low_rank_measure"] == pytest.approx(
            two.scalars["low_rank_measure"], rel=1e-5
        )


def test_failed_runs_keep_their_error_and_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fswidget.training import loop

    real = loop.train

    def fails(config: fs.Config) -> Any:
        if config.width == 8:
            raise MemoryError("p is too large for this test")
        return real(config)

    path = tmp_path / "sweep"
    with monkeypatch.context() as patch:
        patch.setattr(loop, "train", fails)
        broken = fs.sweep(CONFIG, width=[4, 8], executor=Here(), resume=path)
    table = broken.table()
    assert table["error"] == ["", "MemoryError: p is too large for this test"]
    assert "Traceback" in broken.failed[0].error
    assert math.isnan(table["low_rank_measure"][1])
    pool = Here()
    mended = fs.sweep(CONFIG, width=[4, 8], executor=pool, resume=path)
    assert (pool.count, mended.failed) == (1, [])
    np.testing.assert_equal(dict(mended.runs[0].scalars), dict(broken.runs[0].scalars))


def test_a_process_that_dies_takes_no_other_run_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_pool", children.pool)
    monkeypatch.setattr(workers, "_train", sweep_tasks.die_at_width_8)
    result = fs.sweep(CONFIG, width=[4, 8, 16], seed=[0, 1])
    assert [bool(run.error) for run in result] == [False, False, True, True, False, False]
    assert "BrokenProcessPool" in result.failed[0].error
    assert result.runs[-1].labels == {"regime": "alive"}


def test_an_interrupted_sweep_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "sweep.json"
    with pytest.warns(UserWarning, match="interrupted: 2 of 3 runs are missing"):
        part = fs.sweep(CONFIG, seed=[0, 1, 2], executor=Here(interrupt_at=2), resume=path)
    assert len(part) == 1
    assert len(load(path)) == 1
    pool = Here()
    whole = fs.sweep(CONFIG, seed=[0, 1, 2], executor=pool, resume=path)
    assert (len(whole), pool.count) == (3, 2)
    wider = fs.sweep(CONFIG, seed=[3], executor=pool, resume=path)
    assert (wider.axes, len(wider), pool.count) == ({"seed": [0, 1, 2, 3]}, 4, 3)
    with pytest.raises(ValueError, match=r"holds another sweep \(epochs differ\)"):
        fs.sweep(CONFIG.replace(epochs=2), seed=[0], executor=pool, resume=path)
    with pytest.raises(ValueError, match="holds another sweep"):
        fs.sweep(CONFIG, width=[4], executor=pool, resume=path)
    assert len(load(path)) == 4


def test_saving_keeps_everything_without_pickle(tmp_path: Path) -> None:
    settings = CONFIG.to_dict()
    runs = [
        Run({**settings, "seed": 0}, {"low_rank_measure": 0.25, "nc1": math.nan}, {"regime": "MF"}),
        Run({**settings, "seed": 1}, {"nc1": math.inf}, {}, 2.5, "Traceback\nValueError: <script>"),
    ]
    path = Sweep({}, {"seed": [0, 1]}, runs).save(tmp_path / "a")
    assert path.name == "a.json"
    json.loads(path.read_text(), parse_constant=pytest.fail)  # NaN is no JSON
    again = load(path)
    assert again.axes == {"seed": [0, 1]}
    assert again.runs[0].scalars["low_rank_measure"] == 0.25
    assert math.isnan(again.runs[0].scalars["nc1"])
    assert math.isnan(again.runs[0].seconds)
    assert again.runs[1] == runs[1]


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"format": "fswidget sweep"}', b"\xff", b'{"format": "x"}']
)
def test_foreign_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "sweep.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"sweep\.json'"):
        load(path)
    with pytest.raises(FileNotFoundError, match="nothing"):
        load(tmp_path / "nothing")


def test_a_newer_file_says_so(tmp_path: Path) -> None:
    path = Sweep({}, {"seed": [0]}, []).save(tmp_path / "a")
    path.write_text(path.read_text().replace('"version": 1', '"version": 2'))
    with pytest.raises(ValueError, match="format 2"):
        load(path)


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({}, "axes: none"),
        ({"widht": [1]}, r"widht=\[1\]: no such setting; did you mean width\? Settings: model, "),
        ({"seed": np.zeros((2, 2), int)}, r"(?s)seed=array.*: must be a list of values, not 2-dim"),
        ({"seed": np.array(3)}, r"seed=array\(3\): must be a list of values, not 0-dim"),
        ({"width": [[8]]}, r"width=\(8,\): must be an integer"),
        ({"model": [["mlp"]]}, r"model=\('mlp',\): must be one of"),
        ({"width": 8}, "width=8: must be a list"),
        ({"model": "mlp"}, "model='mlp': must be a list"),
        ({"width": []}, "width=..: must be at least one"),
        ({"width": [8, 8]}, "each of them once"),
        ({"width": [8, -1]}, "width=-1: must be an integer"),
        ({"lr": [0.1], "train_size": [10**9]}, "train_size=1000000000"),
    ],
)
def test_broken_axes_are_named_before_anything_runs(axes: dict[str, Any], message: str) -> None:
    pool = Here()
    with pytest.raises(ValueError, match=message):
        fs.sweep(CONFIG, executor=pool, **axes)
    assert pool.count == 0


@pytest.mark.parametrize("pool", [None, Here()])
def test_missing_data_is_named_before_anything_runs(
    pool: Here | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_train", lambda _: pytest.fail("a run began"))
    axes = {"width": [4, 8], "dataset": ["digits", "mnist"], "root": [tmp_path, "nowhere"]}
    with pytest.raises(FileNotFoundError, match=r"root='.*': mnist is not there .*download=True"):
        fs.sweep(CONFIG, executor=pool, **axes)
    assert pool is None or pool.count == 1


def test_data_is_read_once_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_train", lambda settings: Run(settings))
    roots: list[str] = []
    source = dataclasses.replace(sources["mnist"], read=lambda config: roots.append(config.root))
    monkeypatch.setitem(sources, "mnist", source)
    axes = {"dataset": ["digits", "mnist"], "width": [4, 8], "root": [tmp_path, "nowhere"]}
    for _ in range(2):  # the second time nothing is left to run
        fs.sweep(CONFIG, executor=Here(), resume=tmp_path / "sweep", **axes)
        assert roots == [str(tmp_path), "nowhere"]


def test_an_executor_must_be_one() -> None:
    with pytest.raises(TypeError, match=r"executor=4: must be a concurrent.futures.Executor"):
        fs.sweep(CONFIG, width=[8], executor=4)  # type: ignore[arg-type]


def test_tuples_and_lists_are_the_same_values(tmp_path: Path) -> None:
    pool, path = Here(), tmp_path / "sweep"
    for layers in ([None, ("0",)], [None, ["0"]]):
        result = fs.sweep(CONFIG, layers=layers, executor=pool, resume=path)
        assert (result.axes, pool.count, result.failed) == ({"layers": [None, ["0"]]}, 2, [])


def test_figure() -> None:
    settings = CONFIG.to_dict()
    runs = [
        Run(
            {**settings, "width": width, "lr": lr, "seed": seed},
            {"low_rank_measure": width / 100 + seed / 10},
            {"regime": "EF" if seed and lr == 0.1 else "MF"},
        )
        for width in (10, 20)
        for lr in (0.1, 0.2)
        for seed in (0, 1)
    ]
    runs.append(Run({**settings, "width": 10, "lr": 0.1, "seed": 2}, error="Traceback"))
    result = Sweep({}, {"seed": [0, 1, 2], "width": [10, 20], "lr": [0.1, 0.2]}, runs)
    plot = result.figure()
    cells = plot.renderers[0].data_source.data
    assert (plot.xaxis[0].axis_label, plot.yaxis[0].axis_label) == ("width", "lr")
    assert cells["x"] == ["10", "10", "20", "20"]
    assert cells["mean"] == pytest.approx([0.15, 0.15, 0.25, 0.25])
    assert cells["runs"] == [2, 2, 2, 2]
    assert cells["label"] == ["MF*", "MF", "MF*", "MF"]
    assert result.figure(x="lr").yaxis[0].axis_label == "width"
    one = Sweep({}, {"seed": [0, 1]}, runs[:2]).figure()
    assert one.renderers[0].data_source.data["x"] == ["0", "1"]
    # With fewer features than outputs it says what the sentence says, as the view does.
    features, labels = np.random.default_rng(0).normal(size=(30, 2)), np.arange(30) % 3
    regime = fs.analyze(features, features @ np.eye(2, 3), labels).regime
    said = {"regime": regime.label, "evidence": regime.evidence}
    few = Sweep({}, {"seed": [0]}, [Run({**settings, "seed": 0}, runs[0].scalars, said)]).figure()
    assert few.renderers[0].data_source.data["label"] == ["not defined"]
    for arguments, message in (
        ({"value": "speed"}, "value='speed': must be one of low_rank_measure"),
        ({"x": "depth"}, "x='depth': must be one of seed, width, lr"),
    ):
        with pytest.raises(ValueError, match=message):
            result.figure(**arguments)
    with pytest.raises(ValueError, match="no run of the sweep went well"):
        Sweep({}, {"seed": [2]}, runs[-1:]).figure()
