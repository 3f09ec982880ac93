"""What of the samples themselves travels with a run: several targets, and short tokens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import fswidget as fs
from fswidget.recording.frame import RunInfo

SMALL = {"width": 16, "epochs": 1, "probe_size": 60}


def test_all_targets_of_a_regression_travel_and_are_kept(tmp_path: Path) -> None:
    config = fs.Config(dataset="teacher", loss="mse", num_targets=3, train_size=60, **SMALL)
    recording = fs.record(config)
    info = recording.info
    assert info.targets is not None
    assert info.targets.shape == (len(info.labels), 3)
    assert np.array_equal(info.targets[:, 0], info.labels)
    assert info.tokens is None
    again = fs.load(recording.save(tmp_path / "run")).info
    assert again.targets is not None
    assert np.array_equal(again.targets, info.targets)


def test_pairs_of_modular_arithmetic_travel() -> None:
    config = fs.Config(
        model="transformer", dataset="modular", loss="mse", modulus=11, max_steps=1, **SMALL
    )
    info = fs.record(config).info
    assert info.targets is None
    assert info.tokens is not None
    a, b = info.tokens[:, 0], info.tokens[:, 2]
    assert np.array_equal((a + b) % 11, info.labels)


def test_rows_that_are_too_few_are_refused() -> None:
    run = {"config": {}, "task": "squared_error", "num_features": 4, "num_outputs": 2}
    with pytest.raises(ValueError, match="targets: 2 rows, must be 3"):
        RunInfo(**run, labels=np.zeros(3), targets=np.zeros((2, 2)))
