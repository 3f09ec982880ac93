"""Whether runs differ beyond their seeds and the samples that they were measured on."""

from __future__ import annotations

import dataclasses
import math
import warnings

import numpy as np
import pytest

from fswidget.recording import Recording, Run, Sweep, difference
from fswidget.recording.differences import _student
from fswidget.recording.seeds import mean_of
from tests.synthetic import make_recording


def runs(values, error=math.nan):
    return [{"x": value, "x_error": error} for value in values]


def test_quantiles_are_those_of_students_t():
    # From tables.
    for freedom, wanted in ((2, 4.303), (3, 3.182), (4, 2.776), (7, 2.365), (30, 2.042)):
        assert _student(freedom) == pytest.approx(wanted, rel=0.01)


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize(("spread", "error"), [(1.0, 0.0), (1.0, 0.5), (0.2, 1.0)])
def test_equal_groups_are_told_apart_one_time_in_twenty(seeds, spread, error):
    rng = np.random.default_rng(0)
    told = 0
    for _ in range(1500):
        groups = []
        for _ in range(2):
            shared = rng.normal() * error  # all seeds are measured on the same samples
            # The jackknife knows its error from eight blocks.
            known = error * math.sqrt(rng.chisquare(7) / 7)
            groups.append(runs(shared + spread * rng.normal(size=seeds), known))
        told += bool(difference(*groups, "x").differ)
    # Welch's approximation is cautious with three seeds.
    assert 0.02 < told / 1500 < 0.07


def test_both_sources_enter_and_groups_that_differ_are_told_apart():
    a, b = runs([1.0, 1.1, 0.9, 1.0], 0.02), runs([2.0, 2.1, 1.9, 2.0], 0.02)
    found = difference(a, b, "x")
    assert found.differ is True
    assert found.difference == pytest.approx(1)
    seeds = math.sqrt(2 * np.var([1.0, 1.1, 0.9, 1.0], ddof=1) / 4)
    assert found.seeds_error == pytest.approx(seeds)
    assert found.samples_error == pytest.approx(0.02 * math.sqrt(2))
    assert found.error == pytest.approx(math.hypot(found.seeds_error, found.samples_error))
    # As sure of the seeds, but hardly of the samples.
    unsure = difference(runs([1.0, 1.1, 0.9, 1.0], 1.0), runs([2.0, 2.1, 1.9, 2.0], 1.0), "x")
    assert unsure.differ is False
    assert unsure.text.startswith("no, beyond seeds and samples: ")
    assert difference(runs([1, 2, 3]), runs([7, 8, 9]), "x").text.startswith("yes, beyond seeds: ")


def test_too_few_seeds_decide_nothing():
    found = difference(runs([1.0], 0.1), runs([9.0, 9.1, 9.2], 0.1), "x")
    assert found.differ is None
    assert "3 seeds are the least, not 1" in found.text
    for wrong in ([], [{"y": 1.0}], runs([math.nan])):
        with pytest.raises(ValueError, match="name='x': must be a finite scalar"):
            difference(wrong, runs([1.0]), "x")
    recording = make_recording(3)
    same = difference([recording] * 3, [recording[-1]] * 3, "low_rank_measure")
    assert (same.difference, same.differ) == (0, False)


@pytest.mark.parametrize("scale", [1e-150, 1.0, 1e150])
def test_equal_runs_do_not_differ_whatever_they_round_to(scale):
    a, b = runs([0.3 * scale] * 3), runs([(0.1 + 0.2) * scale] * 3)
    assert difference(a, b, "x").differ is False
    spread = [runs(np.array([1, 2, 3]) * scale, error) for error in (math.inf, math.nan)]
    assert difference(*spread, "x").text.startswith("no, beyond seeds: ")
    found = difference(spread[0], runs(np.array([11, 12, 13]) * scale), "x")
    assert (found.differ, found.difference) == (True, pytest.approx(10 * scale))


def test_what_is_no_group_of_seeds_is_named():
    recordings = [make_recording(3, seed=seed) for seed in range(3)]
    # The frames of one recording are no seeds; the mean of several seeds is.
    alone = difference(recordings[0], recordings[1], "low_rank_measure")
    assert (alone.seeds, alone.differ) == ((1, 1), None)
    mean = mean_of(recordings)
    assert difference(mean, recordings, "low_rank_measure").seeds == (3, 3)
    wrong = {
        "run 2 of second has no such scalar, but y": ("x", runs([1]), [{"x": 1}, {"y": 1}]),
        "it is nan in run 1 of first": ("x", runs([math.nan]), runs([1])),
        "run 1 of first is a mean of 3 seeds": ("nc1", mean, recordings),
        "second holds a Recording without a frame": ("nc1", recordings, mean[:0]),
        "first holds none": ("x", [], runs([1])),
    }
    for message, (name, first, second) in wrong.items():
        with pytest.raises(ValueError, match=message):
            difference(first, second, name)
    with pytest.raises(TypeError, match="first='ab': must be Recordings, Frames or dicts"):
        difference("ab", runs([1]), "x")
    with pytest.warns(UserWarning, match="second: runs differ in epochs, last epoch, not in"):
        difference(recordings, [*recordings, make_recording(2)], "low_rank_measure")
    config = {name: value for name, value in mean.info.config.items() if name != "width"}
    earlier = Recording(dataclasses.replace(mean.info, config=config))
    earlier.append(recordings[0][-1])
    with warnings.catch_warnings(action="error"):  # a setting that did not exist is not unlike
        for runs_of_both in ([*recordings, earlier], [earlier, *recordings]):
            difference(runs_of_both, recordings, "low_rank_measure")
    small, large = (Recording(dataclasses.replace(mean.info, num_samples=n)) for n in (64, 512))
    small.append(mean[-1])
    large.append(mean[-1])
    with pytest.warns(UserWarning, match="the size of the probe, which is 64 and 512 here"):
        difference(small, large, "low_rank_measure")


def test_sweeps_tell_which_neighbours_differ():
    axes = {"width": [16, 32], "lr": [0.1, 0.2, 0.4], "seed": [0, 1, 2]}
    found = []
    for width in axes["width"]:
        for lr in axes["lr"]:
            for seed in axes["seed"]:
                value = 0.1 * seed + (5 if lr == 0.4 and width == 32 else 0)
                settings = {"width": width, "lr": lr, "seed": seed}
                found.append(Run(settings, {"x": value, "x_error": 0.01}))
    found[0] = Run(found[0].settings, error="failed")  # two seeds are left
    table = Sweep({}, axes, found).differences("lr", "x")
    assert table["width"] == [16, 16, 32, 32]
    assert list(zip(table["from"], table["to"], strict=True)) == 2 * [(0.1, 0.2), (0.2, 0.4)]
    assert table["differ"] == [None, False, False, True]
    with pytest.raises(ValueError, match="axis='seed': must be one of width, lr"):
        Sweep({}, axes, found).differences("seed", "x")
    with pytest.raises(ValueError, match="name='z': must be one of x, x_error"):
        Sweep({}, axes, found).differences("lr", "z")
    # A run that lacks the number leaves its neighbours undecided, and no others.
    found[3] = Run(found[3].settings, {"x": math.nan})
    table = Sweep({}, axes, found).differences("lr", "x")
    assert table["differ"] == [None, None, False, True]
    assert table["text"][1].endswith("it is nan in run 1 of first")
