"""Loggers with the packages themselves, offline; each is skipped where its package is missing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fswidget as fs
from fswidget import callbacks


def watched(on_frame: Any) -> fs.Recording:
    """Two frames of arrays, the second with half the noise."""
    random, labels = np.random.default_rng(0), np.arange(60) % 3
    recorder = fs.Recorder(task="cross_entropy", on_frame=on_frame)
    for epoch in range(2):
        features = np.eye(3, 8)[labels] + random.normal(size=(60, 8)) / (2 + 2 * epoch)
        recorder.snapshot(features, features[:, :3], labels, epoch=epoch, step=10 * epoch)
    return recorder.recording


def test_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(tmp_path) as writer:  # type: ignore[no-untyped-call]
        recording = watched(callbacks.to_tensorboard(writer))
    kept = EventAccumulator(str(tmp_path))
    kept.Reload()
    found = kept.Scalars("fswidget/low_rank_measure")
    assert [point.step for point in found] == [0, 10]
    wanted = [frame.scalars["low_rank_measure"] for frame in recording]
    np.testing.assert_allclose([point.value for point in found], wanted, rtol=1e-6)


def test_wandb(tmp_path: Path) -> None:
    wandb = pytest.importorskip("wandb")
    with wandb.init(mode="offline", project="fswidget", dir=tmp_path) as run:
        recording = watched(callbacks.to_wandb(run))
        summary = dict(run.summary)
    assert summary["fswidget/step"] == 10
    assert summary["fswidget/nc1"] == pytest.approx(recording[-1].scalars["nc1"])


def test_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/runs.db")
    with mlflow.start_run() as run:
        recording = watched(callbacks.to_mlflow())
    history = mlflow.MlflowClient().get_metric_history(run.info.run_id, "fswidget/low_rank_measure")
    assert [point.step for point in history] == [0, 10]
    assert history[-1].value == pytest.approx(recording[-1].scalars["low_rank_measure"])


def test_trackio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path))
    trackio = pytest.importorskip("trackio")
    trackio.init(project="fswidget", embed=False)
    recording = watched(callbacks.to_trackio())
    trackio.finish()
    runs = trackio.Api().runs("fswidget")
    assert len(list(runs)) == 1
    assert len(recording) == 2
