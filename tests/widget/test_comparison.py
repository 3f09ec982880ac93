"""Several recordings in one widget."""

from __future__ import annotations

import json

import pytest

import fswidget as fs
from tests.synthetic import make_recording
from tests.widget.conftest import FrontEnd


def test_several_recordings_are_one_widget(front_end: FrontEnd) -> None:
    one, two, three = make_recording(3), make_recording(2), make_recording(1, title="")
    both = fs.compare(one, two, three, named=one)
    assert list(both.recordings) == ["synthetic", "synthetic (2)", "(3)", "named"]
    views = json.loads(both._compared)
    assert [view["title"] for view in views] == list(both.recordings)
    assert [view["num_frames"] for view in views] == [4, 3, 2, 4]
    # BokehJS travels once, in one message that opens one widget besides its layout.
    states = [message["state"] for message, _ in front_end.sent if "state" in message]
    assert sum("_bokehjs" in str(message) for message, _ in front_end.sent) == 1
    assert len(states) == 2


def test_a_comparison_is_a_page(tmp_path) -> None:
    both = fs.compare(a_name_of_its_own=make_recording(2), wide=make_recording(2))
    assert both.to_html(tmp_path / "both").read_text().count("a_name_of_its_own") >= 1


def test_single_runs_differ_on_their_samples_at_most() -> None:
    both = fs.compare(plain=make_recording(2), wide=make_recording(2))
    (told,) = both.differences("low_rank_measure").values()
    assert told.startswith("undecided: ")
    assert list(both.differences("low_rank_measure")) == ["wide"]


def test_seeds_are_shown_as_their_mean_and_compared_beyond_themselves() -> None:
    seeds = [make_recording(2, seed=seed) for seed in range(3)]
    both = fs.compare(seeds, other=seeds[::-1])
    assert list(both.recordings) == ["synthetic", "other"]
    assert "seeds" in both.recordings["other"][-1].labels
    (told,) = both.differences("low_rank_measure").values()
    assert told.startswith("no, beyond seeds")
    assert told.endswith("(3 seeds)")


def test_what_cannot_be_compared_is_named() -> None:
    empty = fs.Recording(make_recording(0).info)
    with pytest.raises(ValueError, match="has no frame to show"):
        fs.compare(make_recording(1), empty)
    with pytest.raises(TypeError, match="wide='run'"):
        fs.compare(make_recording(1), wide="run")
    with pytest.raises(TypeError, match=r"wide=\[\]: must be a Recording"):
        fs.compare(make_recording(1), wide=[])
