"""What benchmarks keep of their results."""

import csv
from pathlib import Path

import pytest

from benchmarks import history


def test_a_second_run_forgets_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "HISTORY", tmp_path / "HISTORY.csv")
    history.keep("one", [("time against the floor", "1.06", "≤ 1.5")])
    history.keep("one", [("time against the floor", "1.04", "≤ 1.5")])
    rows = list(csv.DictReader((tmp_path / "HISTORY.csv").open(encoding="utf-8")))
    assert [row["measured"] for row in rows] == ["1.06", "1.04"]
    assert all(row[name] for row in rows for name in history.COLUMNS)
