"""The script for a machine with a GPU, rehearsed without one."""

import json
import runpy
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
import torch

from fswidget.analysis.eigensolvers import FASTER_FROM
from tests import children

#: What a bare machine lacks.
ABSENT = ("bokeh", "anywidget", "ipywidgets", "traitlets", "IPython")


class Absent:
    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.split(".")[0] in ABSENT:
            raise ModuleNotFoundError(name)


def rehearse(script: str, options: list[str]) -> None:
    """Run it on a bare machine."""
    assert not set(ABSENT) & sys.modules.keys()
    sys.meta_path.insert(0, Absent())
    sys.argv = [script, *options]
    runpy.run_path(script, run_name="__main__")


def test_a_rehearsal_at_toy_sizes(root: Path, tmp_path: Path) -> None:
    script = str(root / "scripts/gpu.py")
    store, output = tmp_path / "store", tmp_path / "output"
    options = ["--toy", "--store", str(store), "--output", str(output), "--workers", "1"]
    options += ["--parts", "timings,epoch,science"]
    process = children.start(rehearse, script, options)
    process.join()
    assert process.exitcode == 0
    results = json.loads((output / "RESULTS-gpu.json").read_text())
    assert results["timings"]["moments"]["float64 GEMM ms"] > 0
    assert {row["head"] for row in results["timings"]["errors"]} == {"trained", "random"}
    assert [row["network"] for row in results["timings"]["steps"]] == ["mlp"]
    assert results["epoch"]["with / without"] > 0
    assert results["epoch"]["overlapping / without"] > 0
    parts = [name for name in results["epoch"] if name.startswith("overlapping, ")]
    assert len(parts) == 3
    assert all(results["epoch"][name] > 0 for name in parts)
    assert {row["status"] for row in results["science"].values()} == {"finished"}
    page = (output / "RESULTS-gpu.md").read_text()
    assert "| toy / seed 0 / desk / 0 |" in page
    with tarfile.open(output / "recordings-0.tar") as tar:
        assert len(tar.getnames()) == 2


@pytest.fixture
def script(root: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What it defines, without a card and with timings that take no time."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    names = runpy.run_path(str(root / "scripts/gpu.py"))
    monkeypatch.setattr(names["gpu_timings"], "page", lambda results: "")
    return names


def test_without_cuda_it_says_so_and_leaves_what_a_card_measured(
    script: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script["main"](["--store", str(tmp_path), "--output", str(tmp_path)]) == 0
    assert "no CUDA here" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
    for wrong in (["--parts", "magic"], ["--minutes", "0"], ["--cpu-workers", "-1"]):
        with pytest.raises(SystemExit):
            script["main"](wrong)


def test_toy_sizes_are_kept_apart_and_what_failed_is_done_again(
    script: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[Any] = [RuntimeError("out of memory"), {"ms": 1}, {"ms": 2}]

    def timings(*_: Any, toy: bool) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(script["gpu_timings"], "timings", timings)
    options = ["--toy", "--parts", "timings", "--store", str(tmp_path)]
    assert [script["main"](options) for _ in range(3)] == [1, 0, 0]
    results = json.loads((tmp_path / "toy/RESULTS-gpu.json").read_text())
    assert results["timings"] == {"ms": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["toy"]
    rows = {"a run": {"status": "finished"}, "another": {"status": "failed"}}
    assert script["failed"]("science", rows)
    assert script["failed"]("tests", {"code": 1})
    assert not script["failed"]("tests", {"code": 5})


@pytest.mark.parametrize("where", ["store", "output", "results"])
def test_folders_that_cannot_be_used_are_named_before_anything_runs(
    where: str, script: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.write_text("{")
    store = file if where == "store" else tmp_path / "store"
    if where == "results":
        (store / "toy").mkdir(parents=True)
        file = file.rename(store / "toy/RESULTS-gpu.json")
    output = file if where == "output" else tmp_path / "output"
    assert script["main"](["--toy", "--store", str(store), "--output", str(output)]) == 2
    assert str(file) in capsys.readouterr().err


def test_every_run_that_is_listed_is_an_arm(root: Path, tmp_path: Path) -> None:
    names = runpy.run_path(str(root / "scripts/gpu.py"))
    for folder in ("cifar-10-batches-py", "cifar100", "MNIST"):
        (tmp_path / folder).mkdir()
    runs = list(names["science_runs"]("desk", 2, tmp_path))
    listed = {(name, arm) for name, arm, _ in runs}
    for name, arms in names["SCIENCE"]:
        assert {arm for _, arm in listed if _ == name} >= set(arms)
    assert [config.seed for *_, config in runs] == sorted(config.seed for *_, config in runs)
    (tmp_path / "cifar100").rmdir()
    assert all(c.dataset != "cifar100" for *_, c in names["science_runs"]("desk", 2, tmp_path))


def test_the_eigensolves_go_where_a_card_was_measured_faster(root: Path) -> None:
    results = json.loads((root / "benchmarks/RESULTS-gpu.json").read_text())
    for row in results["timings"]["eigensolve"]:
        assert (row["p"] >= FASTER_FROM["cuda"]) == (row["CPU / card"] > 1), row
