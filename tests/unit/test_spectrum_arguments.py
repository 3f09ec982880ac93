"""What `analyze` reads its arguments as, and how it names what it cannot read."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import fswidget as fs

ONE_HOT = np.eye(3)


def sample(n=120, p=9, c=3, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % c
    features = rng.normal(size=(c, p))[labels] + rng.normal(size=(n, p))
    return features, features @ rng.normal(size=(p, c)), labels


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda y: y.astype(float), r"shape \(120,\), torch.float64"),
        (lambda y: torch.from_numpy(y).bfloat16(), r"shape \(120,\), torch.bfloat16"),
        (lambda y: y[:, None], r"shape \(120, 1\), torch.int64"),
        (lambda y: ONE_HOT[y][:, :2], r"shape \(120, 2\)"),
        (lambda y: ONE_HOT[y][None], r"shape \(1, 120, 3\)"),
    ],
)
def test_targets_that_name_no_classes_are_refused_for_cross_entropy(change, message):
    features, outputs, labels = sample()
    with pytest.raises(ValueError, match=f"^targets: {message}.*; must be class labels"):
        fs.analyze(features, outputs, change(labels))


@pytest.mark.parametrize("task", ["cross_entropy", "squared_error"])
@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda y: y + 1, "from 1 to 3"),
        (lambda y: y - 1, "from -1 to 1"),
        (lambda y: y * 10**6, "from 0 to 2000000"),
    ],
)
def test_labels_out_of_range_are_named(change, found, task):
    features, outputs, labels = sample()
    with pytest.raises(ValueError, match=rf"^targets: labels {found}; must lie in 0\.\.2"):
        fs.analyze(features, outputs, change(labels), task=task)


@pytest.mark.parametrize("kind", [np.int8, np.uint16, np.uint64, bool, object])
def test_labels_and_one_hot_rows_of_any_type_are_the_same_classes(kind):
    features, outputs, labels = sample(c=2)
    expected = fs.analyze(features, outputs, labels)
    for targets in (labels.astype(kind), np.eye(2)[labels].astype(kind)):
        found = fs.analyze(features, outputs, targets)
        assert found.classification
        assert found.errors == pytest.approx(expected.errors, nan_ok=True)


@pytest.mark.parametrize("values", [np.arange(120), np.arange(120) % 2, np.arange(120)[:, None]])
def test_with_one_output_integers_are_values(values):
    features, outputs, _ = sample()
    arguments = {"task": "squared_error", "errors": False}
    found = fs.analyze(features, outputs[:, :1], values, **arguments)
    expected = fs.analyze(features, outputs[:, :1], values.astype(float), **arguments)
    assert (found.classification, found.target_rank) == (False, 1)
    np.testing.assert_array_equal(found.quality, expected.quality)


def test_cross_entropy_of_one_output_is_refused():
    features, outputs, labels = sample()
    message = "^task='cross_entropy': a softmax over one output is constant; must be 'squared_err"
    with pytest.raises(ValueError, match=message):
        fs.analyze(features, outputs[:, :1], labels)
    with pytest.raises(ValueError, match=message):
        fs.FeatureMoments(9, 1, 3).update(features, outputs[:, :1], labels).spectrum()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": np.zeros((0, 9))}, "^features: 0 samples"),
        ({"features": None}, "^features=None"),
        ({"features": np.zeros((120, 0))}, r"^features: shape \(120, 0\)"),
        ({"outputs": 3.0}, "^outputs=3.0"),
        (
            {"targets": ["cat"] * 120},
            r"^targets=list: must be an array of numbers \(dtype <U3; np.unique",
        ),
        ({"targets": torch.tensor(1)}, "^targets=Tensor: must be an array whose first"),
        ({"reference": np.zeros(120)}, r"^reference: shape \(120,\); must be \(n, p_0\)"),
        ({"tolerance": None}, "^tolerance=None: must be a number from 1e-08"),
        ({"tolerance": 9e-9}, "^tolerance=9e-09: must be a number from 1e-08"),
        ({"tolerance": 1}, "^tolerance=1: must be"),
    ],
)
def test_wrong_arguments_are_named(change, message):
    arguments = dict(zip(("features", "outputs", "targets"), sample(), strict=True))
    with pytest.raises((TypeError, ValueError), match=message):
        fs.analyze(**(arguments | change))


@pytest.mark.parametrize("k", [2.0, "2", -1, 10])
def test_a_number_of_eigenfunctions_is_an_integer_in_range(k):
    data = sample()
    spectrum = fs.analyze(*data, errors=False)
    with pytest.raises(ValueError, match=rf"^k={k!r}: must be an integer in 0\.\.9"):
        spectrum.eigenfunctions(data[0], k)
    with pytest.raises(TypeError, match=r"^features=None"):
        spectrum.eigenfunctions(None)


def test_arrays_that_hold_less_than_their_shape_are_refused_by_name() -> None:
    scipy = pytest.importorskip("scipy.sparse")
    features, outputs, labels = np.eye(8), np.eye(8)[:, :2], np.arange(8) % 2
    masked = np.ma.masked_array(features, mask=features > 0)
    with pytest.raises(ValueError, match="features: a masked array"):
        fs.analyze(masked, outputs, labels)
    for sparse in (
        torch.eye(8).to_sparse(),
        torch.eye(8).to_sparse_csr(),
        scipy.csr_matrix(outputs),
    ):
        with pytest.raises(ValueError, match="outputs: sparse"):
            fs.analyze(features, sparse, labels)
