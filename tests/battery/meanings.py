"""Targets of every coding: the same classes give the same numbers, others are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

import fswidget as fs


def trial(random: np.random.Generator, folder: Path) -> str:
    """One coding of classes, bits or values."""
    classes, width = int(random.integers(2, 6)), int(random.integers(3, 10))
    count = int(random.integers(6 * classes, 90))
    labels = random.permutation(np.arange(count) % classes)
    features = random.normal(size=(count, width)) + 3 * random.normal(size=(classes, width))[labels]
    outputs = features @ random.normal(size=(width, classes))
    hot = np.eye(classes)[labels]
    expected = fs.analyze(features, outputs, labels)
    alpha = float(random.choice([1, 0.01, 4.6, 300]))
    smooth = float(random.uniform(0.01, 0.4))
    codings = {
        "integers": (labels.astype(random.choice(["i1", "u1", "i4", "i8"])), True),
        "one-hot": (hot.astype(random.choice(["f2", "f4", "f8", "i8", "?"])), True),
        "scaled": (alpha * hot, True),
        "smoothed": ((1 - smooth) * hot + smooth / classes, True),
        "signs": (2 * hot - 1, False),
        "several": (np.maximum(hot, np.eye(classes)[(labels + 1) % classes]), classes == 2),
        "values": (random.normal(size=(count, classes)), False),
        "too large": (labels + 1, None),
        "negative": (labels - 1, None),
    }
    word = str(random.choice(list(codings)))
    rows, same = codings[word]
    given = torch.from_numpy(rows) if random.random() < 0.5 else rows
    if word == "several" and same:
        return "skipped"  # of two labels both are none
    if not same:
        try:
            fs.analyze(features, outputs, given)
        except ValueError as error:
            named = "task=" in str(error) if same is False else "labels from" in str(error)
            assert named, str(error)
        else:
            raise AssertionError(f"{word} passed as classes")
        if word == "several":
            found = fs.analyze(features, outputs, given, task="multilabel")
            assert np.isfinite(found.low_rank_measure)
            return "multilabel"
        return "refused"
    found = fs.analyze(features, outputs, given)
    for name in ("low_rank_measure", "nc1", "effective_rank"):
        a, b = getattr(found, name), getattr(expected, name)
        assert abs(a - b) <= 1e-3 * abs(b) + 1e-9, f"{word}: {name} is {a}, {b} with labels"
    assert found.regime.label == expected.regime.label, word
    return word
