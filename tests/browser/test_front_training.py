"""The explorer's controls, runs and time, while it trains in a real JupyterLab."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from .front import COLORS, EVERY, Stage, axe, staged
from .jupyter import JupyterServer, wait_until
from .widget import Widget

CELL = """
import fswidget as fs
explorer = fs.Explorer(epochs=5000, width=64, train_size=400, frame_every="epoch")
explorer
"""


@pytest.fixture(scope="module")
def stage(desk: Page, lab: JupyterServer) -> Iterator[Stage]:
    """An explorer that nobody has started."""
    with staged(desk, lab, "training", [CELL]) as stage:
        stage.widget().wait_for("state", "idle")
        yield stage
        stage.kernel.evaluate("explorer.stop()")


@pytest.fixture
def widget(stage: Stage) -> Widget:
    """The explorer."""
    return stage.widget()


def other_value(widget: Widget, spec: dict[str, Any], value: Any) -> Any:
    """Change a setting the way a person does and return what it should have become."""
    control = widget.control(spec["name"])
    if spec["kind"] == "checkbox":
        control.press("Space")
        return not value
    if spec["kind"] == "select":
        choice = next(choice for choice in spec["choices"] if choice != value)
        control.select_option(str(choice))
        return choice
    if spec["kind"] == "slider":
        before = control.input_value()
        control.press("ArrowLeft")
        if control.input_value() == before:
            control.press("ArrowRight")
        return None
    wanted = 0.5 if isinstance(value, float) else 17
    control.fill(str(wanted))
    control.press("Enter")
    return wanted


# Runs first: the explorer is idle, so that nothing is trained meanwhile.
def test_every_control_sets_its_trait(stage: Stage, widget: Widget) -> None:
    widget.press("More…")
    specs = json.loads(stage.kernel.evaluate("explorer._controls"))
    assert len(specs) > 25
    for name in [spec["name"] for spec in specs]:
        # What applies depends on the other settings, so it is asked for each time.
        described = {spec["name"]: spec for spec in specs}[name]
        applies, before = stage.kernel.evaluate(
            f"(explorer._controls_now.get({name!r}, {{}}), explorer.{name})"
        )
        spec = described | applies
        root = widget.root.locator(f"[data-control='{name}']")
        assert spec["help"] in (root.get_attribute("title") or "")
        if spec["disabled"]:
            expect(root).to_be_hidden()
            continue
        wanted = other_value(widget, spec, before)
        value, message = stage.kernel.wait(
            f"(explorer.{name} != {before!r} or {name!r} in explorer.message)"
            f" and (explorer.{name}, explorer.message)"
        )
        if message.startswith(name):
            # Refused, with the reason on show; the control is back where it was.
            assert value == before
            expect(widget.root).to_contain_text(message)
            continue
        if wanted is not None:
            assert value == wanted
        # Back to where it was.
        stage.kernel.wait(
            f"setattr(explorer, {name!r}, {before!r}) or explorer.config == fs.Config("
            "epochs=5000, width=64, train_size=400, frame_every='epoch', loss='mse')"
        )
    assert stage.kernel.evaluate("explorer.state") == "idle"
    stage.page.keyboard.press("Escape")
    expect(widget.control("depth")).to_be_hidden()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing(stage: Stage, widget: Widget, dark: bool) -> None:
    stage.notebook.theme(dark)
    widget.wait_for("theme", "dark" if dark else "light")
    found = axe(stage.page, rules=COLORS if dark else EVERY)
    assert found == [], "\n".join(found)
    stage.notebook.theme(False)


def test_shortcuts_of_the_notebook_do_not_fire_while_typing(stage: Stage, widget: Widget) -> None:
    """Deleting cells by typing into a setting would be a bad surprise: d, d is a shortcut."""
    cells = stage.page.locator(".jp-Notebook .jp-Cell").count()
    for target in (widget.control("epochs"), widget.control("model"), widget.button("Start")):
        target.focus()
        for key in ("d", "d", "a", "b", "x"):
            stage.page.keyboard.press(key)
    assert stage.page.locator(".jp-Notebook .jp-Cell").count() == cells
    stage.kernel.evaluate("explorer.configure(model='mlp', epochs=5000)")


def test_a_slider_dragged_100_times_begins_one_run(stage: Stage, widget: Widget) -> None:
    widget.press("Start")
    widget.wait_drawn(3)
    before = json.loads(stage.kernel.evaluate("explorer._runs"))
    # What is drawn from now on, frame by frame.
    stage.page.evaluate(
        """() => {
            const root = document.querySelector(".fswidget");
            window.drawn = [];
            new MutationObserver(() => window.drawn.push([root.dataset.run, root.dataset.drawn]))
                .observe(root, { attributes: true, attributeFilter: ["data-run", "data-drawn"] });
        }"""
    )
    first = widget.says("run")
    slider = widget.control("width")
    box = slider.bounding_box()
    assert box
    middle = box["y"] + box["height"] / 2
    mouse = stage.page.mouse
    mouse.move(box["x"] + box["width"] * 0.6, middle)
    mouse.down()
    for step in range(100):
        share = 0.3 + 0.4 * ((step * 37) % 100) / 100
        mouse.move(box["x"] + box["width"] * share, middle)
        if step % 5 == 0:
            stage.page.wait_for_timeout(50)
    mouse.up()
    second = widget.wait_for("run", lambda run: run != first)
    widget.wait_drawn(3)
    runs = json.loads(stage.kernel.evaluate("explorer._runs"))
    assert len(runs) == len(before) + 1
    assert runs[-1]["run"] == second
    # Once the new run is on show, no frame of the older one is drawn again.
    shown = [run for run, _ in stage.page.evaluate("window.drawn")]
    assert first not in shown[shown.index(second) :]
    assert set(shown) == {first, second}
    width = stage.kernel.evaluate("explorer.width")
    assert stage.kernel.evaluate("explorer.recording.config['width']") == width


def test_the_past_can_be_looked_at_while_it_trains(stage: Stage, widget: Widget) -> None:
    widget.scrub(1)
    widget.wait_for("drawn", "1")
    frames = int(widget.says("frames"))
    picture = widget.picture("spectrum")
    widget.wait_for("frames", lambda count: int(count) > frames + 5)
    assert widget.says("drawn") == "1"
    assert widget.says("live") == "false"
    assert widget.picture("spectrum") == picture
    widget.press("Live")
    widget.wait_for("drawn", lambda drawn: int(drawn) > frames + 5)


def test_a_ghost_stays_until_it_is_dismissed(stage: Stage, widget: Widget) -> None:
    ghost = widget.root.get_by_test_id("ghost")
    run = widget.says("run")
    widget.control("batchnorm").check()
    widget.wait_for("run", lambda value: value != run)
    widget.wait_drawn(2)
    expect(ghost).to_be_visible()
    expect(ghost).to_contain_text("before: batch norm off")
    expect(widget.root.locator("[data-control='batchnorm']")).to_contain_text("was off")
    expect(widget.root.get_by_test_id("regime")).to_contain_text("was ")
    widget.press("Pause")
    widget.wait_for("state", "paused")
    with_ghost = {name: widget.picture(name) for name in ("spectrum", "cumulative", "history")}
    ghost.get_by_role("button", name="Dismiss").click()
    expect(ghost).to_be_hidden()
    for name, picture in with_ghost.items():
        wait_until(lambda n=name, p=picture: widget.picture(n) != p, f"the ghost to go from {name}")
    # Any run of the session can be pinned instead, even one of which the page holds nothing.
    runs = json.loads(stage.kernel.evaluate("explorer._runs"))
    widget.menu("Runs").click()
    entry = widget.root.get_by_test_id("runs").locator(f"[data-run='{runs[0]['run']}']")
    entry.get_by_role("button").click()
    expect(ghost).to_be_visible()
    widget.menu("Runs").click()
    widget.press("Resume")
    widget.press("Stop")
    widget.wait_for("state", "finished")


def test_menus_open_where_they_can_be_seen(stage: Stage, widget: Widget) -> None:
    """All of them, their buttons scrolled to either end of what is in sight."""
    stage.page.set_viewport_size({"width": 800, "height": 800})
    for name, block in itertools.product(("Runs", "Save", "Curves"), ("start", "end")):
        button = widget.menu(name)
        button.evaluate("(button, block) => button.scrollIntoView({ block })", block)
        button.click()
        menu = button.locator("xpath=following-sibling::*")
        stage.page.wait_for_function(
            """menu => {
                const { left, right, top, bottom } = menu.getBoundingClientRect();
                return [[left + 4, top + 4], [right - 4, bottom - 4]].every(
                    ([x, y]) => menu.contains(document.elementFromPoint(x, y)));
            }""",
            arg=menu.element_handle(),
        )
        button.click()
    stage.page.set_viewport_size({"width": 1400, "height": 1800})


def test_the_ghost_is_there_after_a_reload(stage: Stage) -> None:
    """Unless it was dismissed, which vitest looks at: to load JupyterLab anew takes seconds."""
    ghost = stage.widget().root.get_by_test_id("ghost")
    ghost.get_by_role("button", name="Dismiss").click()  # the one that was pinned
    stage.kernel.evaluate("explorer.configure(epochs=3, depth=1)")
    stage.kernel.wait("explorer.state == 'finished'")
    before, now = (run["run"] for run in json.loads(stage.kernel.evaluate("explorer._runs"))[-2:])
    stage.notebook.save()
    stage.notebook.open()
    widget = stage.widget()
    widget.wait_for("state", "finished")
    widget.wait_drawn(2)
    ghost = widget.root.get_by_test_id("ghost")
    expect(ghost).to_be_visible()
    expect(ghost).to_have_attribute("data-ghost", before)
    expect(ghost).to_contain_text("depth 2")
    assert widget.says("run") == now
    ghost.get_by_role("button", name="Dismiss").click()
    expect(ghost).to_be_hidden()


def test_a_reset_clears_the_view(stage: Stage) -> None:
    widget = stage.widget()
    widget.press("Reset")
    expect(widget.root.locator("[data-panel='spectrum']")).to_be_hidden()
    expect(widget.root).to_contain_text("Press Start.")
    widget.press("Start")
    widget.wait_drawn(2)
    widget.wait_for("state", "finished")


def test_an_error_is_shown_with_its_traceback(stage: Stage, widget: Widget) -> None:
    stage.kernel.evaluate(
        "explorer.configure(model='mlp', dataset='mnist', root='nowhere', download=False)"
    )
    widget.wait_for("state", "error")
    error = widget.root.get_by_test_id("error")
    expect(error).to_be_visible()
    error.get_by_text("What went wrong").click()
    expect(error).to_contain_text("Traceback")
