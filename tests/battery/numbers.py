"""Features and outputs with outliers, offsets and scales: numbers as by hand, or one sentence."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import fswidget as fs
from tests.left_out import errors_by_hand


def _sample(
    random: np.random.Generator,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    classes, width = int(random.integers(2, 7)), int(random.integers(2, 12))
    count = int(random.integers(8 * classes, 160))
    labels = np.arange(count) % classes
    features = random.normal(size=(count, width))
    features += random.uniform(0, 4) * random.normal(size=(classes, width))[labels]
    return features, features @ random.normal(size=(width, classes)), labels


def trial(random: np.random.Generator, folder: Path) -> str:
    """One set of arrays, analysed whole and with each block left out."""
    features, outputs, labels = _sample(random)
    word = str(random.choice(["outlier", "outliers", "offset", "logit shift", "scale", "broken"]))
    if word == "broken":
        return _broken(random, features, outputs, labels)
    size = 10 ** random.uniform(3, 30) * random.choice([-1, 1])
    if word.startswith("outlier"):
        for _ in range(1 if word == "outlier" else 3):
            features[random.integers(len(features)), random.integers(features.shape[1])] = size
    elif word == "offset":
        plain = fs.analyze(features, outputs, labels)
        features[:, random.integers(features.shape[1])] += math.copysign(
            10 ** random.uniform(0, 8), size
        )
        _agree(fs.analyze(features, outputs, labels), plain, 1e-5)
    elif word == "logit shift":
        plain = fs.analyze(features, outputs, labels)
        shifted = outputs + 10 ** random.uniform(0, 8) * random.normal(size=(len(outputs), 1))
        _agree(fs.analyze(features, shifted, labels), plain, 1e-4)
    else:
        scale = 10 ** random.uniform(-20, 20)
        _agree(fs.analyze(features * scale, outputs, labels), fs.analyze(features, outputs, labels))
        features *= scale
    found = fs.analyze(features, outputs, labels).errors
    for name, error in errors_by_hand(features, outputs, labels).items():
        same = math.isnan(error) and math.isnan(found[name])
        rel = 0.02 if name == "effective_rank" else 1e-3  # from float32, as promised
        close = abs(found[name] - error) <= rel * max(abs(error), abs(found[name])) + 1e-9
        assert same or close, f"{word} {size:g}: error of {name} is {found[name]}, by hand {error}"
    return word


def _agree(found: fs.Spectrum, expected: fs.Spectrum, rel: float = 1e-6) -> None:
    for name in ("low_rank_measure", "low_rank_measure_debiased"):
        a, b = getattr(found, name), getattr(expected, name)
        assert abs(a - b) <= rel * max(abs(b), 1e-3) or np.isnan([a, b]).all(), f"{name}: {a}, {b}"
    assert np.isfinite(found.eigenvalues).all()


def _broken(
    random: np.random.Generator,
    features: NDArray[np.float64],
    outputs: NDArray[np.float64],
    labels: NDArray[np.int64],
) -> str:
    """Something that no array should be: refused in words, or measured."""
    bad = float(random.choice([np.nan, np.inf, -np.inf]))
    given: list[object] = [features, outputs, labels]
    place = int(random.integers(3))
    array = np.asarray(given[place])
    match random.integers(10):
        case 0 | 1:
            changed = array.astype(float)
            changed.flat[random.integers(changed.size)] = bad
            given[place] = changed
        case 2:
            given[place] = array[: random.integers(len(array))]
        case 3:
            given[place] = array.astype(complex)
        case 4:
            given[place] = np.ma.masked_array(array, array > 0)
        case 5:
            given[place] = array.astype(object)
        case 6:
            given[place] = random.choice([None, "x", 3.0, {}])
        case 7:
            given[place] = array[..., None, None]
        case 8:
            given[place] = np.zeros_like(array)
        case _:
            given[place] = -array
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            spectrum = fs.analyze(*given, debias=bool(random.random() < 0.5))  # type: ignore[arg-type]
        except (TypeError, ValueError) as error:
            said = str(error)
            assert any(name in said for name in ("features", "outputs", "targets")), said
            return "refused"
    assert spectrum.regime.label
    if spectrum.regime.label == "CONSTANT":
        assert not (features.var() and outputs.var()) or not np.asarray(given[place]).any()
    return "measured"
