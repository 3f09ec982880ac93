"""Sweeps on executors of other packages; each is skipped where its package is not installed."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import fswidget as fs
from fswidget.experiments import workers
from tests.unit import sweep_tasks

CONFIG = fs.Config(train_size=40, test_size=40, epochs=1, width=8, device="cpu", num_shown=5)


def test_loky() -> None:
    loky = pytest.importorskip("loky")
    with loky.ProcessPoolExecutor(1) as pool:
        result = fs.sweep(CONFIG, width=[4, 8], executor=pool, keep="recordings")
    assert result.failed == []
    assert result.sel(width=8)[-1].epoch == 1


def test_dask_over_tcp_and_a_worker_that_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Three workers would each import what a run needs: that they train, loky shows.
    monkeypatch.setattr(workers, "_train", sweep_tasks.quickly)
    distributed = pytest.importorskip("distributed")
    options: dict[str, Any] = {"n_workers": 2, "threads_per_worker": 1, "protocol": "tcp"}
    with (
        distributed.LocalCluster(dashboard_address=None, **options) as cluster,
        distributed.Client(cluster) as client,
    ):
        lost = next(iter(client.run(os.getpid).values()))
        executor = client.get_executor()
        # Under way on both workers before one of them is gone.
        begun = [executor.submit(os.getpid) for _ in range(2)]
        assert all(future.result() for future in begun)
        os.kill(lost, signal.SIGKILL)
        path = tmp_path / "sweep"
        result = fs.sweep(CONFIG, width=[4, 8], seed=[0, 1], executor=executor, resume=path)
    assert (len(result), result.failed) == (4, [])
    assert len(fs.load(path)) == 4


_MPI = """
import fswidget as fs
from mpi4py.futures import MPIPoolExecutor

if __name__ == "__main__":
    config = fs.Config(train_size=40, test_size=40, epochs=1, width=8, device="cpu", num_shown=5)
    with MPIPoolExecutor() as pool:
        result = fs.sweep(config, width=[4, 8], executor=pool, keep="recordings")
    print(len(result), result.failed, result.sel(width=8)[-1].epoch)
"""


def test_mpi(tmp_path: Path) -> None:
    pytest.importorskip("mpi4py")
    beside = str(Path(sys.executable).parent)
    launcher = shutil.which("mpiexec", path=f"{beside}{os.pathsep}{os.environ['PATH']}")
    if launcher is None:
        pytest.skip("no mpiexec")
    script = tmp_path / "grid.py"
    script.write_text(_MPI)
    where = os.pathsep.join([str(Path(fs.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [launcher, "-n", "2", sys.executable, "-m", "mpi4py.futures", script],
        env={**os.environ, "PYTHONPATH": where, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.stdout.split("\n")[0] == "2 [] 1.0", done.stderr
