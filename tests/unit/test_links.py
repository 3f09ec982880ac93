"""A view's state as a link; js/tests/permalink.test.ts reads the same fixture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import fswidget as fs
from fswidget.widget.links import MAX_LENGTH, decode, encode
from tests.synthetic import make_recording
from tests.unit.test_explorable import make_sweep

CASES = json.loads((Path(__file__).parents[1] / "fixtures" / "links.json").read_text())


@pytest.mark.parametrize(("state", "link"), CASES)
def test_a_state_is_one_link_and_back(state: dict[str, Any], link: str) -> None:
    assert encode(state) == link
    assert decode(link) == state
    assert decode("https://example.org/explore.html" + link) == state


def test_what_no_link_can_hold_is_refused() -> None:
    with pytest.raises(ValueError, match=f"at most {MAX_LENGTH}"):
        encode({"word": "x" * MAX_LENGTH})
    for value in (float("nan"), float("inf"), make_recording, b"x"):
        with pytest.raises(ValueError, match="lr="):
            encode({"lr": value})
    with pytest.raises(TypeError, match="link=3"):
        decode(3)  # type: ignore[arg-type]
    assert decode("#a=NaN&b&=c&d=%zz") == {"a": "NaN", "": "c", "d": "%zz"}


def test_a_viewer_opens_where_another_was() -> None:
    viewer = fs.Viewer(make_recording(3), epoch=1, axes=(1, 4), panel="history", hide=["save"])
    assert viewer.link() == "#epoch=1&axes=1,4&panel=history&hide=save"
    other = fs.Viewer(make_recording(3))
    assert other.link() == ""
    other.show_link("run.html" + viewer.link() + "&batchnorn=true&lock=batchnorn")
    assert other.link() == viewer.link()
    other.show_link("")
    assert other.link() == ""
    with pytest.raises(ValueError, match="axes="):
        other.show_link("#axes=1")


def test_a_sweep_says_its_place() -> None:
    view = make_sweep().view()
    assert view.link() == "#width=8&batchnorm=false&seed=all"
    view.show_link("#width=64&batchnorm=true&seed=1&epoch=2")
    assert (view.width, view.batchnorm, view.seed, view.epoch) == (64, True, 1, 2)
    assert view.recording.info.num_features == 64
    assert view.link() == "#width=64&batchnorm=true&seed=1&epoch=2"


def test_an_explorer_is_made_from_a_link(tmp_path: Path) -> None:
    settings = {"width": 16, "epochs": 2, "train_size": 100, "lr": 1e-5, "root": str(tmp_path)}
    settings["frame_every"] = "epoch"  # how many frames there are is no matter of speed
    explorer = fs.Explorer(**settings, hide=["lr", "tour"], lock=["dataset"], axes=(1, 2))
    link = explorer.link()
    assert link.startswith("#width=16&train_size=100&lr=0.00001&epochs=2&frame_every=epoch&")
    assert link.endswith("&axes=1,2&hide=lr,tour&lock=dataset")
    again = fs.Explorer.from_link(link + "&epoch=1&seed=all")
    assert again.config == explorer.config.replace(root="data")
    assert (again.hide, again.lock, again.axes) == (["lr", "tour"], ["dataset"], [1, 2])
    again.start()
    assert again.wait() == "finished"
    assert again.epoch == 1  # and stays there while the run goes on
    assert again.link() == link.replace("&axes", "&epoch=1&axes")
    assert fs.Explorer.from_link(link, width=32, hide=[]).width == 32
    assert fs.Explorer.from_link(link, hide=[]).hide == []
    explorer.show_link("#batchnorm=true")
    assert (explorer.width, explorer.batchnorm, explorer.root) == (256, True, str(tmp_path))
    with pytest.raises(ValueError, match="width=-3"):
        fs.Explorer.from_link("#width=-3")


def test_a_link_of_every_control_hidden_still_fits() -> None:
    explorer = fs.Explorer(width=64, batchnorm=True, train_size=500, epochs=40, seed=7)
    explorer.hide = [n for n in explorer._control_names if n not in ("width", "batchnorm")]
    assert len(explorer.link()) <= MAX_LENGTH
