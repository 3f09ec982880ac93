"""Moments add up, whatever the batches, the order and the number type."""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import fswidget as fs
from fswidget.analysis.targets import assign_blocks

MEASURES = (
    "eigenvalues",
    "quality",
    "utilization",
    "low_rank_measure",
    "low_rank_measure_debiased",
    "nc1",
    "kernel_drift",
    "effective_rank",
)


def sample(n=120, p=9, c=3, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, c, n)
    features = rng.normal(size=(n, p)) + 2.0 + 2 * rng.normal(size=(c, p))[labels]
    return features, features @ rng.normal(size=(p, c)), labels, rng.normal(size=(n, 4))


def moments() -> fs.FeatureMoments:
    return fs.FeatureMoments(9, 3, 3, num_reference=4)


def assert_same(one, other, rtol=1e-10):
    for name in MEASURES:
        np.testing.assert_allclose(
            getattr(one, name), getattr(other, name), rtol=rtol, err_msg=name
        )


@cache
def whole():
    return moments().update(*sample()).spectrum(errors=True)


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, 120), max_size=6), order=st.randoms(use_true_random=False))
def test_batches_and_merge_order_change_nothing(cuts, order):
    data = sample()
    edges = [0, *sorted(cuts), 120]
    streamed, parts = moments(), []
    for start, stop in itertools.pairwise(edges):
        batch = tuple(array[start:stop] for array in data)
        streamed.update(*batch)
        parts.append(moments().update(*batch))
    order.shuffle(parts)
    merged = moments()
    for part in parts:
        merged.merge(part)
    expected = whole()
    found = streamed.spectrum(errors=True)
    assert_same(expected, found)
    # The stream is the same, so the blocks are, and with them the error bars.
    for name, error in expected.errors.items():
        np.testing.assert_allclose(found.errors[name], error, rtol=1e-6, atol=1e-12, err_msg=name)
    assert_same(expected, merged.spectrum())
    assert merged.num_samples == 120


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_low_precision_input_is_summed_in_float64(dtype):
    features, outputs, labels, before = (torch.from_numpy(array) for array in sample())
    low = [value.to(dtype) for value in (features, outputs, before)]
    found = moments().update(low[0], low[1], labels, low[2]).spectrum()
    expected = moments().update(low[0].double(), low[1].double(), labels, low[2].double())
    assert_same(found, expected.spectrum())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.__setitem__(0, a[0][:, :5]), r"features: shape \(120, 5\); must be \(n, 9\)"),
        (lambda a: a.__setitem__(2, a[2] + 7), "labels from 7 to 9; must lie in 0..2"),
        (lambda a: a.__setitem__(2, a[2][:50]), "as many rows"),
        (lambda a: a.__setitem__(3, None), "reference=None"),
        (lambda a: a.__setitem__(2, a[2] - 1), "labels from -1 to 1; must lie in 0..2"),
        (lambda a: a.__setitem__(2, a[2] * 10**6), "labels from 0 to 2000000; must lie in 0..2"),
        (lambda a: a.__setitem__(2, a[2].astype(float)), r"targets: shape \(120,\); must be"),
        (lambda a: a[0].__setitem__((3, 2), np.nan), r"features\[3, 2\]=nan: must be finite"),
        (lambda a: a[1].__setitem__((5, 1), np.inf), r"outputs\[5, 1\]=inf"),
    ],
)
def test_bad_batches_are_named_and_leave_no_trace(change, message):
    arguments = list(sample())
    change(arguments)
    state = moments()
    with pytest.raises(ValueError, match=message):
        state.update(*arguments)
    assert state.num_samples == 0


CONVERTIBLE = {
    "rows reversed twice": lambda a: np.ascontiguousarray(a[::-1])[::-1],
    "other byte order": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "read-only": lambda a: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape),
    "objects": lambda a: a.astype(object),
    "nested lists": lambda a: a.tolist(),
    "tensors that require grad": lambda a: [
        torch.tensor(row, requires_grad=a.dtype == float) for row in a
    ],
    "longest": lambda a: a.astype(np.longdouble if a.dtype == float else np.uint64),
    "torch.uint16 labels": lambda a: (
        a if a.dtype == float else torch.from_numpy(a).to(torch.uint16)
    ),
}


@pytest.mark.parametrize("change", CONVERTIBLE.values(), ids=CONVERTIBLE)
@pytest.mark.filterwarnings("error")
def test_arrays_of_any_kind_are_read_alike(change):
    data = sample()
    expected = moments().update(*data).spectrum(errors=True)
    found = moments().update(*map(change, data)).spectrum(errors=True)
    assert_same(found, expected)
    np.testing.assert_array_equal(assign_blocks(change(data[2])), assign_blocks(data[2]))


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize(
    "value",
    [
        None,
        3.0,
        "abc",
        ["a", "b"],
        [[1, 2], [3]],
        [[1j]],
        [None],
        np.array(["2026-01-01"], "M8[D]"),
    ],
    ids=repr,
)
def test_what_is_no_array_of_numbers_is_named(place, value):
    arguments = list(sample())
    arguments[place] = value
    name = ("features", "outputs", "targets", "reference")[place]
    with pytest.raises((TypeError, ValueError), match=f"^{name}.*must be"):
        moments().update(*arguments)


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ([0] * 5, r"shape \(5,\), dtype int64; must be \(120,\) of int, from 0 to 7"),
        ([0.5] * 120, "dtype float64"),
        ([8] * 120, "from 8 to 8"),
        (None, None),
        ([0] * 120, None),
    ],
)
def test_blocks_are_any_integers_in_range(blocks, message):
    if message is None:
        assert moments().update(*sample(), blocks=blocks).num_samples == 120
        return
    with pytest.raises(ValueError, match=f"^blocks: .*{message}"):
        moments().update(*sample(), blocks=blocks)


def test_merging_something_else_is_named():
    with pytest.raises(TypeError, match="other=NoneType: must be a FeatureMoments"):
        moments().merge(None)


def test_integers_are_the_values_of_a_single_target():
    features, outputs, _, _ = sample()
    values = np.arange(120)
    found = fs.FeatureMoments(9, 3, 1).update(features, outputs, values)
    expected = fs.FeatureMoments(9, 3, 1).update(features, outputs, values[:, None] * 1.0)
    assert not found.classification
    assert_same(found.spectrum("squared_error"), expected.spectrum("squared_error"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device; none here")
def test_cuda_agrees_with_cpu():
    data = [torch.from_numpy(array) for array in sample()]
    on_cpu = moments().update(*data).spectrum()
    on_cuda = fs.FeatureMoments(9, 3, 3, num_reference=4, device="cuda")
    assert_same(on_cpu, on_cuda.update(*(array.cuda() for array in data)).spectrum(), rtol=1e-9)
