"""Sweeps that several processes work on, that keep recordings, and that cannot begin."""

import itertools
import json
import multiprocessing
import os
import re
import subprocess
import sys
import types
from concurrent.futures import Executor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest

import fswidget as fs
from fswidget.experiments import workers
from fswidget.recording.grid import Run, content_of
from fswidget.recording.journal import Journal
from fswidget.training.registry import networks
from tests import children
from tests.unit.test_sweeping import CONFIG, Here

KEPT = Path(__file__).parents[1] / "fixtures" / "before_rooms"


def _quick(settings: dict[str, Any], kept_bytes: int | None = None) -> Run:
    return Run(settings, {"low_rank_measure": 0.5}, {"regime": "MF"}, 0.1)


def _one_of_two(path: str, seeds: list[int], barrier: Any) -> None:
    workers._train = _quick
    barrier.wait()
    fs.sweep(CONFIG, seed=seeds, executor=Here(), resume=path)


def test_two_processes_keep_all_runs_in_one_file(tmp_path: Path) -> None:
    path = tmp_path / "sweep.json"
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    barrier = context.Barrier(2)
    shares = [list(range(30)), list(range(20, 50))]
    both = [context.Process(target=_one_of_two, args=(path, s, barrier)) for s in shares]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert sorted(run.settings["seed"] for run in fs.load(path)) == list(range(50))


def test_another_process_s_runs_are_in_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "sweep.json"

    def meanwhile(settings: dict[str, Any]) -> Run:
        if settings["seed"] == 0:
            fs.sweep(CONFIG, seed=[1], executor=Here(), resume=path)
            raise MemoryError("lost")
        return _quick(settings)

    monkeypatch.setattr(workers, "_train", meanwhile)
    result = fs.sweep(CONFIG, seed=[1, 2], executor=Here(), resume=path)
    assert [run.settings["seed"] for run in result] == [1, 2]


def test_a_run_costs_the_same_whether_first_or_last(tmp_path: Path) -> None:
    path = tmp_path / "sweep.json"
    axes = {"seed": list(range(1000, 1200))}
    kept = Journal(path, {}, axes)
    sizes = [0]
    for seed in axes["seed"]:
        kept.add(content_of(Run({"seed": seed}, {"nc1": 0.5}, {}, 1.0)))
        sizes.append(path.stat().st_size)
    added = {after - before for before, after in itertools.pairwise(sizes[1:])}
    assert len(added) == 1  # bytes for each run: nothing else is written again
    assert len(fs.load(path)) == 200


def test_a_line_that_was_cut_off_is_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_train", _quick)
    path = tmp_path / "sweep.json"
    fs.sweep(CONFIG, seed=[0, 1, 2], executor=Here(), resume=path)
    path.write_bytes(path.read_bytes()[:-100])
    assert len(fs.load(path)) == 2
    pool = Here()
    assert len(fs.sweep(CONFIG, seed=[0, 1, 2], executor=pool, resume=path)) == 3
    assert pool.count == 1
    assert len(fs.load(path)) == 3


def test_a_sweep_of_the_former_format_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = fs.load(KEPT / "sweep.json")
    path = tmp_path / "sweep.json"
    path.write_bytes((KEPT / "sweep.json").read_bytes())
    monkeypatch.setattr(workers, "_train", _quick)
    config = fs.Config(**{**old.base, "width": 8})
    pool = Here()
    result = fs.sweep(config, width=[8, 12, 16], seed=[0], executor=pool, resume=path)
    assert (pool.count, len(result)) == (1 + len(old.failed), 3)
    again = fs.load(path)
    assert again.axes == {"width": [8, 12, 16], "seed": [0]}
    assert again.failed == []
    assert "root" not in again.base


def test_a_file_from_before_a_setting_was_there_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_train", _quick)
    path = tmp_path / "sweep.json"
    fs.sweep(CONFIG, width=[4, 8], executor=Here(), resume=path)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        for settings in (line.get("base", {}), line.get("run", {}).get("settings", {})):
            settings.pop("compile", None)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    pool = Here()
    result = fs.sweep(CONFIG, width=[4, 8, 16], executor=pool, resume=path)
    assert (pool.count, len(result), len(fs.load(path))) == (1, 3, 3)
    with pytest.raises(ValueError, match="compile differ"):
        fs.sweep(CONFIG.replace(compile=True), width=[4], executor=pool, resume=path)


def test_recordings_are_kept_within_the_budget(tmp_path: Path) -> None:
    path = tmp_path / "sweep"
    config = CONFIG.replace(epochs=3, frame_every="epoch")  # or frames come as time allows
    result = fs.sweep(config, width=[4, 8], executor=Here(), keep="recordings", resume=path)
    whole = fs.record(config.replace(width=8))
    kept = result.sel(width=8)
    assert [frame.epoch for frame in kept] == [frame.epoch for frame in whole]
    again = fs.load(path).sel(width=8)
    assert again[-1].scalars["low_rank_measure"] == whole[-1].scalars["low_rank_measure"]
    thin = fs.sweep(config, width=[4, 8], executor=Here(), keep="recordings", byte_budget=2)
    assert [frame.epoch for frame in thin.sel(width=4)] == [0, 3]
    with pytest.raises(ValueError, match="keep='all': must be 'recordings' or None"):
        fs.sweep(config, width=[4], keep="all")
    with pytest.raises(ValueError, match=r'sel: no recording .*keep="recordings"\) keeps them'):
        fs.sweep(config, width=[4], executor=Here()).sel(width=4)


def test_no_local_path_is_kept(tmp_path: Path) -> None:
    config = CONFIG.replace(root=str(tmp_path / "secret"))
    path = tmp_path / "sweep"
    result = fs.sweep(config, seed=[0], executor=Here(), keep="recordings", resume=path)
    assert "root" not in result.runs[0].settings
    assert b"secret" not in result.sel(seed=0).to_bytes()
    assert b"secret" not in (tmp_path / "sweep.json").read_bytes()


def test_that_all_runs_failed_is_raised_with_the_first_cause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from fswidget.training import loop

    def fails(config: fs.Config) -> Any:
        raise MemoryError(f"no room for {config.width}")

    monkeypatch.setattr(loop, "train", fails)
    message = "sweep: all 2 runs failed, the first with MemoryError: no room for 4"
    with pytest.raises(RuntimeError, match=re.escape(message)) as raised:
        fs.sweep(CONFIG, width=[4, 8], executor=Here())
    assert "Traceback" in raised.value.__notes__[0]


NOTEBOOK = """
import fswidget as fs
from fswidget.training.registry import network
from torch import nn

@network("mine", kinds=["image"])
def mine(config, shape, num_outputs):
    "A network of one's own."
    return nn.Sequential(nn.Flatten(), nn.Linear(64, config.width), nn.Linear(config.width, 10))

config = fs.Config(model="mine", train_size=40, test_size=40, epochs=1, width=8, device="cpu")
try:
    fs.sweep(config, seed=[0, 1])
except ValueError as error:
    print(error)
"""


def test_a_network_of_a_notebook_is_refused_before_anything_starts() -> None:
    done = subprocess.run(
        [sys.executable, "-c", NOTEBOOK],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(fs.__file__).parents[1])},
    )
    assert done.stdout.startswith("model='mine': mine of module __main__ cannot be used by the")
    assert "notebook" in done.stdout


def test_a_network_of_ones_own_is_sent_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = NOTEBOOK.split("config =")[0]
    (tmp_path / "my_networks.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    known = dict(networks)
    try:
        import my_networks  # type: ignore[import-not-found]

        assert isinstance(my_networks, types.ModuleType)
        config = CONFIG.replace(model="mine")
        monkeypatch.setattr(workers, "_pool", children.pool)
        for pool in (None, ThreadPoolExecutor(1)):
            assert fs.sweep(config, seed=[0], executor=pool).failed == []
    finally:
        networks.clear()
        networks.update(known)


def test_what_cannot_be_pickled_is_refused_by_name() -> None:
    from fswidget.training.registry import network

    known = dict(networks)
    try:

        @network("local", kinds=["image"])
        def local(config: Any, shape: Any, num_outputs: int) -> Any:
            """Within a function."""

        with pytest.raises(ValueError, match=r"model='local': .*<locals>.*cannot be used by the"):
            fs.sweep(CONFIG.replace(model="local"), seed=[0])
    finally:
        networks.clear()
        networks.update(known)


def test_a_script_whose_processes_cannot_begin_is_told_so_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried: list[Any] = []

    class Broken(Executor):
        def submit(self, function: Any, /, *given: Any, **named: Any) -> Any:
            tried.append(function)
            raise BrokenProcessPool("a child process terminated abruptly")

    monkeypatch.setattr(workers, "_pool", lambda count: Broken())
    with pytest.raises(RuntimeError, match="if __name__ == ") as raised:
        fs.sweep(CONFIG, seed=[0, 1, 2])
    assert isinstance(raised.value.__cause__, BrokenProcessPool)
    assert len(tried) == 1
