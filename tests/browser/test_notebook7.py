"""Jupyter Notebook 7, whose pages are its own: all that is asked of it, in one notebook."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.synthetic import make_recording

from .jupyter import JupyterServer, Notebook
from .pages import heard
from .reopening import SLIDER, go_together, reopen
from .test_harness import COUNTER, count
from .widget import Widget

pytestmark = pytest.mark.timeout(600)

COMPARE = f"""
import fswidget as fs
{SLIDER}
recording = fs.load("run.npz")
every_other = recording[:0]
for frame in recording[::2]:
    every_other.append(frame)
fs.compare(recording, every_other)
"""


def test_a_click_reaches_the_kernel_and_runs_are_replayed_with_nothing_run(
    notebook7: JupyterServer, desk: Page, artifacts: Path, complaints: list[str]
) -> None:
    recording = make_recording(6, num_features=64, num_shown=200, num_eigenfunctions=4)
    recording.save(notebook7.work / "run.npz")
    desk.set_viewport_size({"width": 1800, "height": 1000})
    with heard(desk, complaints):
        notebook = Notebook(desk, notebook7, notebook7.write("saved.ipynb", [COUNTER, COMPARE]))
        notebook.run_all()
        count(notebook)
        Widget(desk).wait_for("drawn", "6 3")
        notebook.save_with_widgets()
        desk.goto("about:blank")
        notebook7.end("saved.ipynb")
        (notebook7.work / "run.npz").unlink()
        reopen(notebook)
        widget = Widget(desk)
        widget.wait_for("drawn", "6 3")
        go_together(widget)
        desk.screenshot(path=artifacts / "saved-notebook7.png")
        with notebook7.kernel("saved.ipynb") as kernel:
            assert kernel.evaluate("'fs' in globals()") is False
        notebook.leave()
    assert complaints == []
