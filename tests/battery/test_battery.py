"""The battery: a short form with fixed seeds, and a long one with new seeds each time.

``FSWIDGET_SEED=n`` repeats what a failure names, ``FSWIDGET_SOAK_SECONDS`` says how long the long
one lasts, over all kinds.
"""

from __future__ import annotations

import os
import secrets
import time
import warnings
from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.battery import files, meanings, models, numbers, processes, recordings, settings

#: Each kind, and how many trials its short form has: about a second or two.
KINDS: dict[str, tuple[Any, int]] = {
    "models": (models, 24),
    "numbers": (numbers, 25),
    "meanings": (meanings, 30),
    "files": (files, 400),
    "recordings": (recordings, 2),
    "settings": (settings, 4),
    "processes": (processes, 1),
}


def attack(kind: str, first: int, folder: Path, go_on: Callable[[int], bool]) -> Counter[str]:
    """Trials of one kind, seed after seed."""
    met: Counter[str] = Counter()
    number = list(KINDS).index(kind)
    for seed in count(first):
        if not go_on(seed - first):
            return met
        inside = folder / str(seed)
        inside.mkdir()
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", category=UserWarning)
                met[KINDS[kind][0].trial(np.random.default_rng([seed, number]), inside)] += 1
        except Exception as error:
            raise AssertionError(f"{kind}, FSWIDGET_SEED={seed}: {error!r}") from error
        for entry in inside.iterdir():
            entry.unlink()
        inside.rmdir()
    raise AssertionError("unreachable")


@pytest.mark.parametrize("kind", KINDS)
def test_a_few_trials(kind: str, tmp_path: Path) -> None:
    first = int(os.environ.get("FSWIDGET_SEED", "0"))
    trials = 1 if "FSWIDGET_SEED" in os.environ else KINDS[kind][1]
    met = attack(kind, first, tmp_path, lambda done: done < trials)
    assert met.total() == trials


@pytest.mark.soak
@pytest.mark.parametrize("kind", KINDS)
def test_trials_for_minutes(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = int(os.environ.get("FSWIDGET_SEED", secrets.randbelow(10**9)))
    seconds = float(os.environ.get("FSWIDGET_SOAK_SECONDS", "600")) / len(KINDS)
    end = time.monotonic() + seconds
    met: Counter[str] = Counter()
    try:
        met = attack(kind, first, tmp_path, lambda _: time.monotonic() < end)
    finally:
        with capsys.disabled():
            print(f"\n{kind}: {met.total()} trials from seed {first} on: {dict(met)}")
