"""Networks and data sets of one's own in the live widget."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import fswidget as fs
from tests.unit.test_own import INPUTS, LABELS, build


def test_in_the_widget_they_are_choices_beside_the_named_ones(
    make: Callable[..., fs.Explorer], tmp_path: Path
) -> None:
    explorer = make(model=build, dataset=(INPUTS, LABELS), epochs=2, frame_every="epoch")
    assert (explorer.model, explorer.dataset) == ("build", "arrays (120, 6)")
    now = explorer._controls_now
    assert (now["model"]["choices"][-1], now["train_size"]["max"]) == ("build", 96)
    explorer.start()
    assert explorer.wait(60) == "finished"
    assert explorer.recording is not None
    assert explorer.recording.config["dataset"] == "arrays (120, 6)"
    explorer.branch(epoch=1.0, lr=1e-4)
    assert explorer.wait(60) == "finished"
    explorer.save(tmp_path / "run")
    with pytest.raises(ValueError, match=r"model='build': .* pass it again"):
        fs.Explorer.load(tmp_path / "run")
    again = fs.Explorer.load(tmp_path / "run", model=build, dataset=(INPUTS, LABELS))
    again.go_on(epochs=1)
    assert again.wait(60) == "finished"
    assert again.recording is not None
    assert again.recording[-1].epoch == 3.0
    again.close()


def test_a_function_of_the_same_name_is_another_choice(make: Callable[..., fs.Explorer]) -> None:
    explorer = make(model=build, dataset=(INPUTS, LABELS))

    def other(config: Any, shape: tuple[int, ...], num_outputs: int) -> nn.Module:
        return nn.Linear(shape[0], num_outputs)

    other.__name__ = "build"
    explorer.model = other
    assert (explorer.model, explorer.config.network.build) == ("build (2)", other)
    explorer.model = "build"  # as a front end sets it
    assert explorer.config.network.build is build
    explorer.dataset = "digits"
    assert explorer.config.source.name == "digits"
    explorer.train_size = 1000
    explorer.dataset = "arrays (120, 6)"
    assert explorer.config.train_size == 96
    assert "train_size" in explorer.message
