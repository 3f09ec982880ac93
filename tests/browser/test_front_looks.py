"""Pictures for a person to look at: each experiment that is one click away, and each width."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from fswidget.experiments.catalogue import recipes
from fswidget.training.config import Config

from .front import Stage, staged
from .jupyter import JupyterServer
from .widget import Widget

ROOT = os.environ.get("FSWIDGET_DATA", "data")
CELL = f"""
import fswidget as fs
explorer = fs.Explorer(root={ROOT!r}, device="cpu")
explorer
"""
#: What needs no data on disk.
EMBEDDED = ("digits", "modular", "teacher", "diabetes")
HEIGHT = 2600
TWO_FRAMES = "() => new Promise(d => requestAnimationFrame(() => requestAnimationFrame(d)))"


@pytest.fixture(scope="module")
def stage(desk: Page, lab: JupyterServer) -> Iterator[Stage]:
    """An explorer in a page taller than it: what is out of sight is not drawn."""
    with staged(desk, lab, "looks", [CELL], height=HEIGHT) as stage:
        stage.widget().wait_for("state", "idle")
        yield stage


def cut_off(widget: Widget) -> list[str]:
    """The parts that reach beyond the widget's sides."""
    found: list[str] = widget.root.evaluate(
        """root => {
            const { left, right } = root.getBoundingClientRect();
            return [...root.querySelectorAll("button, input, select, progress, section, canvas")]
                .filter(part => part.checkVisibility())
                .map(part => [part, part.getBoundingClientRect()])
                .filter(([, { width }]) => width > 2)
                .filter(([, box]) => box.left < left - 1 || box.right > right + 1)
                .map(([part]) => part.outerHTML.slice(0, 120));
        }"""
    )
    return found


def keep(widget: Widget, path: Path) -> None:
    """A picture of the whole widget; it must not reach beyond its sides."""
    panels = widget.root.locator(".fsw-panel:visible")
    for name in panels.evaluate_all("all => all.map(panel => panel.dataset.panel)"):
        # In two animation frames a panel takes its new size.
        widget.panel(name).evaluate(TWO_FRAMES)
    widget.root.scroll_into_view_if_needed()
    widget.page.mouse.move(0, 0)
    widget.root.screenshot(path=path, animations="disabled")
    assert cut_off(widget) == [], path.name


def small(config: Config) -> dict[str, Any]:
    """What makes an experiment short, and leaves enough of it to look at."""
    size = {} if config.source.kind == "tokens" else {"train_size": min(config.train_size, 200)}
    size |= {"test_size": 100, "probe_size": None}
    samples, _ = config.source.sizes(config.replace(**size))
    steps = config.epochs * math.ceil(samples / config.batch_size)
    # A step on all pairs of tokens takes far longer than one on few pictures.
    steps = min(steps, 12 if config.source.kind == "tokens" else 40)
    return {**size, "max_steps": steps, "frame_every": max(steps // 4, 1)}


@pytest.mark.parametrize(
    ("width", "dark"), [(1400, False), (1400, True), (1100, True), (800, False), (620, True)]
)
def test_every_width_is_used(stage: Stage, width: int, dark: bool, artifacts: Path) -> None:
    widget = stage.widget()
    if widget.says("state") == "idle":
        # With many layers of long names, and a ghost.
        few = "train_size=200, epochs=3"
        stage.kernel.evaluate(f"explorer.configure(loss='mse', depth=7, layers='all', {few})")
        widget.press("Start")
        widget.wait_for("state", "finished")
        widget.control("batchnorm").check()
        run = widget.says("run")
        widget.wait_for("run", lambda value: value != run)
        widget.wait_for("state", "finished")
    stage.notebook.theme(dark)
    widget.wait_for("theme", "dark" if dark else "light")
    stage.page.set_viewport_size({"width": width, "height": HEIGHT if width > 1000 else 4400})
    keep(widget, artifacts / f"width-{width}-{'dark' if dark else 'light'}.png")


def test_words_of_a_regression_do_not_meet_their_neighbours(stage: Stage) -> None:
    widget = stage.widget()
    stage.page.set_viewport_size({"width": 1400, "height": HEIGHT})
    small = "dataset='diabetes', train_size=300, epochs=2"
    stage.kernel.evaluate(f"explorer.configure({small}) or explorer.start()")
    run = widget.says("run")
    widget.wait_for("run", lambda value: value not in ("", run))
    widget.wait_for("state", "finished")
    for width in (1400, 1024, 900, 760, 640, 480):
        stage.page.set_viewport_size({"width": width, "height": HEIGHT})
        widget.picture("cumulative")  # which waits for its new size
        met = widget.root.evaluate(
            """root => {
                const box = part => {
                    const range = document.createRange();
                    range.selectNodeContents(part);
                    return [part.textContent, range.getBoundingClientRect()];
                };
                const labels = "[data-panel=cumulative] .fsw-label";
                const parts = [...root.querySelectorAll(`.fsw-cell p, ${labels}`)].map(box)
                    .filter(([text, { width }]) => width && !/utilization|quality/.test(text));
                return parts.flatMap(([text, a], at) => parts.slice(at + 1)
                    .filter(([, b]) => a.left < b.right && b.left < a.right
                        && a.top + 4 < b.bottom && b.top + 4 < a.bottom)
                    .map(([other]) => `${text} | ${other}`));
            }"""
        )
        assert met == [], width


def test_what_a_slider_was_is_told_whole(stage: Stage) -> None:
    widget = stage.widget()
    stage.page.set_viewport_size({"width": 1400, "height": HEIGHT})
    was = widget.root.locator("[data-control=train_size] .fsw-was-value")
    for size, told in ((1000, None), (900, "was 1000"), (1200, "was 900"), (1000, "1200")):
        run = widget.says("run")
        small = f"dataset='digits', batchnorm=False, depth=2, train_size={size}, epochs=1"
        stage.kernel.evaluate(f"explorer.configure({small}) or explorer.start()")
        widget.wait_for("run", lambda value, run=run: value not in ("", run))
        widget.wait_for("state", "finished")
        if told:
            expect(was).to_have_text(told)
            assert was.evaluate("part => part.scrollWidth <= part.clientWidth")


@pytest.mark.parametrize("name", list(recipes))
def test_each_experiment_is_one_click_away(
    stage: Stage, name: str, artifacts: Path, request: pytest.FixtureRequest
) -> None:
    stage.notebook.theme(False)
    stage.page.set_viewport_size({"width": 1400, "height": HEIGHT})
    config = recipes[name].configs[0]
    if config.dataset not in EMBEDDED:
        request.getfixturevalue("data_root")
    widget = stage.widget()
    run = widget.says("run")
    widget.root.get_by_label("Experiment", exact=True).first.select_option(name)
    widget.press("Load")
    expected = config.replace(root=ROOT, device="cpu").to_dict()
    stage.kernel.wait(f"explorer.config.to_dict() == {expected!r}")
    # The same in seconds.
    stage.kernel.evaluate(f"explorer.configure(**{small(config)!r}) or explorer.start()")
    widget.wait_for("run", lambda value: value not in ("", run), 120)
    widget.wait_for("state", "finished", 120)
    last = stage.kernel.evaluate("explorer.recording.appended - 1")
    widget.wait_drawn(last)
    keep(widget, artifacts / f"experiment-{name}.png")
