"""What the page of questions quotes is what people are told."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import fswidget as fs
from fswidget.widget import assets

FAQ = (Path(__file__).resolve().parents[2] / "docs" / "faq.md").read_text(encoding="utf-8")
X, Y = torch.randn(60, 4), torch.arange(60) % 3
NET = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
RANDOM = np.random.default_rng(0)


def again() -> None:
    probe = fs.watch(NET, X, Y)
    for _ in range(2):
        probe.snapshot(epoch=1)


def unequal() -> None:
    targets = np.repeat([0, 1, 2], [40, 10, 10])
    with pytest.warns(UserWarning, match="per class") as told:
        fs.analyze(RANDOM.normal(size=(60, 8)), RANDOM.normal(size=(60, 3)), targets)
    raise UserWarning(str(told[0].message))


SAID: dict[str, Callable[[], object]] = {
    "cifar10 is not there": lambda: fs.record(fs.Config(dataset="cifar10", root="data", epochs=1)),
    "its output is not the output of its last linear layer": lambda: fs.watch(
        nn.Sequential(NET, nn.Softmax(1)), X, Y
    ).snapshot(epoch=0),
    "epoch=1: must be after 1, that of the last frame": again,
    "must be rows ≥ 0 that sum to 1": lambda: fs.analyze(
        RANDOM.normal(size=(60, 8)), RANDOM.normal(size=(60, 3)), -np.ones((60, 3))
    ),
    "targets: from 10 to 40 samples per class": unequal,
    "features[0, 0]=nan: must be finite": lambda: fs.analyze(
        np.full((60, 8), np.nan), RANDOM.normal(size=(60, 3)), np.arange(60) % 3
    ),
    "this machine has 0 of that kind": lambda: fs.record(fs.Config(device="cuda", epochs=1)),
    "fswidget's front end is not built": lambda: assets.built("nothing.js"),
}


def test_every_quoted_error_is_tried() -> None:
    quoted = re.findall(r"^### `(.*?)`", FAQ, re.MULTILINE)
    tried = [*SAID, "needs torch: pip install"]  # tests/unit/test_without_torch.py
    assert [quote for quote in quoted if not any(said in quote for said in tried)] == []


@pytest.mark.parametrize("said", SAID)
def test_it_is_said(said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if "that kind" in said and torch.cuda.is_available():
        pytest.skip("there is one")
    assert said in FAQ
    with pytest.raises(Exception) as raised:  # noqa: PT011 (its words are what counts)
        SAID[said]()
    assert said in str(raised.value)
