"""The whole path in a real JupyterLab: what a person does in the first five minutes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import expect

from .jupyter import JupyterServer, Notebook
from .widget import Widget

# Three trainings, many steps in a browser; the machine may be small and busy.
pytestmark = pytest.mark.timeout(900)


# What the notebook says in words.
CLAIMS = """
plain, normalised = (run[-1].scalars for run in (before, after))
assert plain["used_features"] <= 12, dict(plain)
assert normalised["used_features"] > 2 * 10, dict(normalised)
assert abs(plain["test_accuracy"] - normalised["test_accuracy"]) < 0.05
assert spectrum.low_rank_measure < 1e-6
"""


def test_the_first_five_minutes(
    open_notebook: Callable[..., Notebook],
    lab: JupyterServer,
    root: Path,
    complaints: list[str],
) -> None:
    notebook = open_notebook("quickstart.ipynb", root / "notebooks" / "quickstart.ipynb")
    # A laptop of 1440 × 900, less the browser's own bars.
    notebook.page.set_viewport_size({"width": 1440, "height": 780})
    cells = nbformat.read(root / "notebooks" / "quickstart.ipynb", as_version=4).cells
    for cell in cells:
        views = notebook.page.locator(".fswidget").count()
        notebook.step()
        if cell.cell_type == "code" and re.search("explorer|compare", cell.source):
            # What a cell speaks of is on show as it ends, all of it.
            view = notebook.page.locator(".fswidget").nth(views)
            expect(view).to_be_in_viewport(ratio=0.99)
    assert notebook.printed("stderr") == []
    notebook.page.set_viewport_size({"width": 1400, "height": 1000})
    notebook.run_code(CLAIMS)
    widget = Widget(notebook.page)
    widget.wait_for("state", "finished")
    widget.wait_newest()
    # However many of the frames between there was time for.
    expect(widget.root.locator(".fsw-time output")).to_have_text("epoch 20")
    seen = {widget.says("run")}

    def new_run() -> str:
        run = widget.wait_for("run", lambda value: value not in {"", *seen})
        seen.add(run)
        return run

    with lab.kernel("quickstart.ipynb") as kernel:
        # Long enough that every step below happens while it trains. A changed setting begins a
        # run by itself, which is not the one to look at.
        kernel.evaluate("setattr(explorer, 'epochs', 500)")
        new_run()
        widget.press("Stop")
        widget.wait_for("state", "finished")

        # Run, as Start is called from the first run on: a new one, and the spectrum moves.
        widget.press("Run")
        new_run()
        widget.wait_drawn(1)
        early = widget.picture("spectrum")
        widget.wait_drawn(10)
        assert widget.picture("spectrum") != early
        assert kernel.evaluate("explorer.state") == "running", "the kernel answers while it trains"

        # The width slider: one new run with another width, no frame of the old one.
        width = kernel.evaluate("explorer.width")
        widget.nudge(widget.control("width"), "ArrowLeft", 3)
        second = new_run()
        widget.wait_drawn(3)
        changed = kernel.evaluate("explorer.width")
        assert changed < width
        assert kernel.evaluate("explorer.recording.config['width']") == changed
        assert widget.says("run") == second
        expect(widget.root.get_by_test_id("ghost")).to_be_visible()

        # Pause: no more frames.
        widget.press("Pause")
        widget.wait_for("state", "paused")
        count = kernel.evaluate("len(explorer.recording)")
        widget.wait_for("frames", str(count))
        widget.wait_drawn(count - 1)
        assert kernel.evaluate("len(explorer.recording)") == count

        # Scrub back to the untrained network, and return.
        now = widget.picture("spectrum")
        widget.scrub(0)
        widget.wait_for("drawn", "0")
        widget.wait_for("live", "false")
        assert widget.picture("spectrum") != now
        assert "Nothing learned yet" in widget.root.get_by_test_id("regime").inner_text()
        widget.press("Live")
        widget.wait_for("drawn", str(count - 1))

        # A second view has all frames too.
        notebook.run_code("explorer")
        views = notebook.page.locator(".fswidget")
        second_view = Widget(notebook.page, views.count() - 1)
        second_view.wait_for("run", second)
        second_view.wait_for("frames", str(count))
        second_view.wait_drawn(count - 1)

        # A reloaded page catches up from the kernel, and goes on.
        notebook.save()
        notebook.open()
        again = Widget(notebook.page)
        again.wait_for("state", "paused")
        again.wait_for("frames", str(count))
        again.wait_drawn(count - 1)
        again.press("Resume")
        again.wait_drawn(count + 2)
        again.press("Stop")
        kernel.wait("explorer.state in ('idle', 'finished')")
    assert complaints == []
