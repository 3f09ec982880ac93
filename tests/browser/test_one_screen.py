"""Cause and effect in one screen, and the story that the first minute tells."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from .front import Stage, staged
from .jupyter import JupyterServer
from .widget import Widget

#: What has to be in sight at once.
PARTS = [
    *(f"[data-panel='{name}']" for name in ("regime", "spectrum", "cumulative", "projections")),
    *("[data-panel='history']", "[data-panel='extremes']", "[data-testid='scrubber']", ".fsw-go"),
    *(
        f"[data-control='{name}']"
        for name in ("width", "batchnorm", "train_size", "model", "epochs")
    ),
]


@pytest.fixture(scope="module")
def stage(desk: Page, lab: JupyterServer) -> Iterator[Stage]:
    """The default explorer on a laptop of 1440 × 900, less the browser's own bars; five frames of a
    run tell its story, and it is drawn while it trains in other tests."""
    cells = ["import fswidget as fs\nexplorer = fs.Explorer(frame_every=80)\nexplorer"]
    with staged(desk, lab, "screen", cells, width=1440, height=780) as stage:
        stage.widget().wait_for("state", "idle")
        yield stage


def tops(widget: Widget) -> dict[str, float]:
    """Where each part begins, from the top of the widget."""
    found: dict[str, float] = widget.root.evaluate(
        """(root, parts) => Object.fromEntries(parts.map(part => [part, Math.round(
            root.querySelector(part).getBoundingClientRect().top
                - root.getBoundingClientRect().top)]))""",
        PARTS,
    )
    return found


def test_one_click_after_the_first_run_is_the_event(stage: Stage, artifacts: Path) -> None:
    widget = stage.widget()
    before = tops(widget)
    widget.press("Start")
    widget.wait_for("state", "finished")
    widget.wait_newest()
    regime = widget.root.get_by_test_id("regime")
    expect(regime).to_contain_text("Minimal features")
    assert stage.kernel.evaluate("explorer.recording[-1].scalars['used_features']") <= 12
    run = widget.says("run")
    widget.press("Try: batch norm")
    widget.wait_for("run", lambda value: value != run)
    widget.wait_for("state", "finished")
    widget.wait_newest()
    assert stage.kernel.evaluate("explorer.recording[-1].scalars['used_features']") >= 30
    expect(regime).to_contain_text("Extended features")
    expect(regime).to_contain_text("was 10")
    expect(widget.root.get_by_test_id("ghost")).to_contain_text("before: batch norm off")
    expect(widget.button("Try: last layer only")).to_be_visible()
    # Nothing has moved over start, restart and finish.
    assert tops(widget) == before
    widget.root.screenshot(path=artifacts / "one-screen.png")


@pytest.mark.parametrize(
    ("width", "height", "sidebar", "most"),
    [(1440, 780, False, 640), (1440, 780, True, 640), (1280, 720, False, 580)],
)
def test_everything_is_in_sight_at_once(
    stage: Stage, width: int, height: int, sidebar: bool, most: int
) -> None:
    stage.page.set_viewport_size({"width": width, "height": height})
    stage.notebook.sidebar(shown=sidebar)
    widget = stage.widget()
    widget.root.evaluate("root => root.scrollIntoView({ block: 'start' })")
    box = widget.root.bounding_box()
    assert box
    assert box["width"] >= 900
    assert box["height"] <= most
    # JupyterLab would put a scroll bar beside what reaches beyond its output.
    output = widget.root.locator("xpath=ancestor::div[contains(@class, 'jp-OutputArea-output')]")
    beyond = "o => [o.scrollWidth - o.clientWidth, o.scrollHeight - o.clientHeight]"
    assert output.evaluate(beyond) == [0, 0]
    for part in PARTS:
        inside = widget.root.locator(part).bounding_box()
        assert inside, part
        assert inside["y"] >= 0, part
        assert inside["y"] + inside["height"] <= height, part
    stage.notebook.sidebar(shown=False)


def test_the_tour_has_five_steps_and_can_be_left(stage: Stage) -> None:
    stage.page.set_viewport_size({"width": 1440, "height": 780})
    widget = stage.widget()
    card = widget.root.get_by_role("dialog", name="Guided tour")
    widget.press("Guided tour")
    for step in range(1, 6):
        expect(card).to_contain_text(f"{step} of 5")
        widget.press("Next" if step < 5 else "Done")
    expect(card).to_be_hidden()
    widget.press("Guided tour")
    stage.page.keyboard.press("Escape")
    expect(card).to_be_hidden()


def test_a_dead_kernel_is_named_and_what_needs_none_goes_on(stage: Stage) -> None:
    widget = stage.widget()
    frames = widget.frames()
    stage.page.evaluate(
        "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()"
    )
    banner = widget.root.locator(".fsw-banner")
    expect(banner).to_have_text(f"Kernel gone: showing the last {frames} frames")
    expect(widget.button("Run")).to_be_disabled()
    widget.scrub(3)
    widget.wait_for("drawn", "3")
