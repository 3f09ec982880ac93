"""What stays and what goes: saved notebooks, several views, closed views, long runs."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageChops
from playwright.sync_api import CDPSession, Page, expect

from .front import RECORDING, Stage, staged
from .jupyter import JupyterServer, wait_until
from .reopening import SLIDER, go_together, reopen
from .widget import Widget

COMPARE = """
whole = recording(8)
every_other = whole[:0]
for each in whole[::2]:
    every_other.append(each)
fs.compare(whole, every_other)
"""


def test_a_saved_notebook_shows_the_run_without_a_kernel(desk: Page, lab: JupyterServer) -> None:
    cells = [RECORDING, f"viewer = fs.Viewer(recording(8))\n{SLIDER}\nviewer", COMPARE]
    with staged(desk, lab, "kept-saved", cells) as stage:
        widget = stage.widget()
        widget.wait_drawn(8)
        stage.widget(1).wait_for("drawn", "8 4")
        names = ("spectrum", "cumulative", "projections", "history", "extremes", "layers")
        before = {name: widget.picture(name) for name in names}
        # What a person ticks once: Settings, Save Widget State Automatically.
        stage.notebook.save_with_widgets()
        stage.notebook.command("kernelmenu:shutdown")
        reopen(stage.notebook)
        # The kernel that comes with the reopened notebook knows nothing of the widget.
        widget = stage.widget()
        widget.wait_drawn(8)
        for name, picture in before.items():
            wait_until(lambda n=name, p=picture: alike(widget.picture(n), p), f"{name} as saved")
        widget.scrub(0)
        widget.wait_for("drawn", "0")
        widget.panel("projections").get_by_test_id("axis-x").select_option("3")
        widget.wait_for("drawn", "0")
        # Two runs beside each other go through time together.
        stage.page.set_viewport_size({"width": 1800, "height": 1800})
        comparison = stage.widget(1)
        comparison.wait_for("drawn", "8 4")
        go_together(comparison)
        with lab.kernel(stage.notebook.name) as kernel:
            assert kernel.evaluate("'fs' in globals()") is False


def alike(one: bytes, other: bytes) -> bool:
    """Whether two pictures show the same; what is saved is rounded, which edges of lines show."""
    pictures = [Image.open(io.BytesIO(data)).convert("RGB") for data in (one, other)]
    if pictures[0].size != pictures[1].size:
        return False
    difference = np.asarray(ImageChops.difference(*pictures)).max(axis=-1)
    return bool((difference > 64).sum() < 20)


#: The benchmark does 50.
CYCLES = 15


class Memory:
    """The page's listeners, nodes and heap after garbage collection."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.devtools: CDPSession = stage.page.context.new_cdp_session(stage.page)
        self.devtools.send("Performance.enable")

    def read(self) -> dict[str, float]:
        for _ in range(3):
            self.devtools.send("HeapProfiler.collectGarbage")
        usage: Any = self.devtools.send("Runtime.getHeapUsage")
        answer: Any = self.devtools.send("Performance.getMetrics")
        metrics = {entry["name"]: entry["value"] for entry in answer["metrics"]}
        return {
            "heap": usage["usedSize"] + usage.get("backingStorageSize", 0),
            "listeners": metrics["JSEventListeners"],
            "nodes": metrics["Nodes"],
        }


#: A widget with all that a viewer carries and none of what it does in the page.
BARE = """
class Bare(fs.Viewer):
    _esm = '''export default { render({ el }) {
        const root = document.createElement("p");
        root.className = "fswidget"; root.textContent = "bare"; root.dataset.drawn = "8";
        el.append(root);
    } }'''
    _css = ""

shown = recording(8)
"""


@pytest.fixture(scope="module")
def stage(desk: Page, lab: JupyterServer) -> Iterator[Stage]:
    """A notebook with a recording and nothing on show."""
    with staged(desk, lab, "kept", [RECORDING, BARE]) as stage:
        yield stage


@pytest.fixture(autouse=True)
def nothing_shown(request: pytest.FixtureRequest) -> None:
    """Begin without what another test has left in the notebook."""
    if "stage" in request.fixturenames:
        stage: Stage = request.getfixturevalue("stage")
        stage.notebook.command("notebook:clear-all-cell-outputs")
        expect(stage.page.locator(".fswidget")).to_have_count(0)


def test_two_views_show_the_same_and_one_may_go(stage: Stage) -> None:
    stage.notebook.run_code("viewer = fs.Viewer(recording(8))\nviewer")
    stage.notebook.run_code("viewer")
    first, second = stage.widget(0), stage.widget(1)
    for widget in (first, second):
        widget.wait_drawn(8)
    # What a link holds belongs to the model.
    first.scrub(2)
    second.wait_for("drawn", "2")
    first.root.get_by_test_id("axis-x").select_option("4")
    expect(second.root.get_by_test_id("axis-x")).to_have_value("4")
    # One view goes, the other goes on.
    stage.notebook.command("notebook:clear-cell-output")
    expect(stage.page.locator(".fswidget")).to_have_count(1)
    first.press("Live")
    stage.kernel.evaluate("viewer.recording.append(frame(9)) and viewer.push()")
    first.wait_drawn(9)
    stage.kernel.evaluate("viewer.close()")
    expect(stage.page.locator(".fswidget")).to_have_count(0)


def test_the_doctor_finds_that_this_host_carries_all(stage: Stage) -> None:
    stage.notebook.run_code("found = fs.doctor()\nfound")
    stage.notebook.run_code("found")
    passed = "sum(state == 'PASS' for state, _ in found.results.values())"
    stage.kernel.wait(f"{passed} == len(found.results) - 1")
    assert stage.kernel.evaluate("found.results['reload'][0]") == "open"
    stage.notebook.save()
    stage.notebook.open()
    stage.kernel.wait(f"{passed} == len(found.results)")
    report = stage.page.locator(".fswidget-doctor").first
    expect(report).to_contain_text("PASS  reload")
    expect(report).not_to_contain_text("open  ")


def cycle(stage: Stage, code: str, count: int) -> None:
    """Show and close a widget, again and again in one cell."""
    stage.notebook.run_code(code)
    for turn in range(count):
        if turn:
            stage.notebook.command("notebook:run-cell")
        Widget(stage.page).wait_drawn(8)
        stage.kernel.evaluate("viewer.close()")
        expect(stage.page.locator(".fswidget")).to_have_count(0)
    stage.notebook.command("notebook:clear-cell-output")


@pytest.mark.soak
def test_views_that_came_and_went_leave_nothing(stage: Stage) -> None:
    """Beyond what JupyterLab and anywidget keep of any widget with the same data."""
    memory = Memory(stage)
    left = {}
    for name in ("Bare", "fs.Viewer"):
        code = f"viewer = {name}(shown)\nviewer"
        cycle(stage, code, 3)
        before = memory.read()
        cycle(stage, code, CYCLES)
        after = memory.read()
        left[name] = {key: (after[key] - before[key]) / CYCLES for key in before}
    bare, ours = left.values()
    assert ours["listeners"] <= bare["listeners"] + 1, left
    assert ours["nodes"] <= bare["nodes"] + 10, left
    # BokehJS alone is ten times this.
    assert ours["heap"] <= bare["heap"] + 0.6e6, left


@pytest.mark.soak
def test_2000_frames_take_what_their_recording_takes(stage: Stage) -> None:
    memory = Memory(stage)
    stage.notebook.run_code("viewer = fs.Viewer(recording(0))\nviewer")
    widget = stage.widget()
    widget.wait_drawn(0)
    before = memory.read()
    stage.kernel.evaluate(
        "[viewer.recording.append(frame(number / 20)) and viewer.push()"
        " for number in range(1, 2001)] and None",
        120,
    )
    widget.wait_drawn(2000, 120)
    widget.wait_for("frames", "2001")
    after = memory.read()
    size = stage.kernel.evaluate("viewer.recording.nbytes")
    assert after["heap"] - before["heap"] < 2 * size
    assert after["listeners"] <= before["listeners"] + 10
    # Every one of them is there to be looked at.
    widget.scrub(1234)
    widget.wait_for("drawn", "1234")
    stage.kernel.evaluate("viewer.close()")
