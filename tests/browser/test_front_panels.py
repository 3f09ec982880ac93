"""Every panel and every tool of it, on a recording of known content."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from .front import COLORS, EVERY, RECORDING, Stage, axe, staged
from .jupyter import JupyterServer, wait_until
from .widget import Widget

LAST = 8


@pytest.fixture(scope="module")
def stage(desk: Page, lab: JupyterServer) -> Iterator[Stage]:
    """A viewer of a recording of nine frames."""
    cells = [RECORDING, f"viewer = fs.Viewer(recording({LAST}))\nviewer"]
    with staged(desk, lab, "panels", cells) as stage:
        stage.widget().wait_drawn(LAST)
        yield stage


@pytest.fixture
def widget(stage: Stage) -> Widget:
    """The viewer, following the newest frame, as nobody had touched it."""
    widget = stage.widget()
    stage.page.mouse.move(0, 0)
    for shrink in widget.root.get_by_role("button", name="Shrink").all():
        shrink.click()
    if widget.says("live") != "true":
        widget.press("Live")
    widget.wait_for("live", "true")
    return widget


def changes(widget: Widget, panel: str, before: bytes) -> bytes:
    """Wait until a panel looks different."""
    return wait_until(
        lambda: (now := widget.picture(panel)) != before and now, f"{panel} to change"
    )


def figure(widget: Widget, panel: str) -> Locator:
    """The drawing in a panel."""
    return widget.panel(panel).locator(".fsw-figure").first


def test_the_spectrum_shows_other_scales(widget: Widget) -> None:
    panel = widget.enlarge("spectrum")
    before = widget.picture("spectrum")
    for label, value in (("Eigenvalues", "absolute"), ("Axes", "linear")):
        panel.get_by_label(label, exact=True).select_option(value)
        before = changes(widget, "spectrum", before)
    panel.get_by_label("Axes", exact=True).select_option("log")
    panel.get_by_label("Eigenvalues", exact=True).select_option("relative")
    changes(widget, "spectrum", before)


def test_a_click_on_the_spectrum_chooses_the_axes_of_the_projections(widget: Widget) -> None:
    horizontal = widget.root.get_by_test_id("axis-x")
    vertical = widget.root.get_by_test_id("axis-y")
    horizontal.select_option("0")
    vertical.select_option("1")
    box = figure(widget, "spectrum").bounding_box()
    assert box
    chosen = set()
    for share in range(8, 60, 2):
        figure(widget, "spectrum").click(position={"x": box["width"] * share / 100, "y": 60})
        chosen |= {horizontal.input_value(), vertical.input_value()}
    assert chosen >= {"2", "3"}


def test_the_error_bands_can_be_hidden(widget: Widget) -> None:
    widget.enlarge("cumulative")
    before = widget.picture("cumulative")
    widget.panel("cumulative").get_by_label("errors", exact=True).uncheck()
    hidden = changes(widget, "cumulative", before)
    widget.panel("cumulative").get_by_label("errors", exact=True).check()
    changes(widget, "cumulative", hidden)


def test_arrow_keys_and_menus_choose_eigenfunctions(widget: Widget) -> None:
    horizontal = widget.root.get_by_test_id("axis-x")
    vertical = widget.root.get_by_test_id("axis-y")
    horizontal.select_option("0")
    vertical.select_option("1")
    before = widget.picture("projections")
    horizontal.select_option("3")
    changes(widget, "projections", before)
    body = widget.panel("projections").get_by_role("group", name="Projections")
    body.focus()
    for key, k, m in (
        ("ArrowRight", 4, 1),
        ("ArrowRight", 5, 1),
        ("ArrowRight", 0, 1),
        ("ArrowDown", 0, 0),
        ("ArrowDown", 0, 5),
    ):
        body.press(key)
        expect(horizontal).to_have_value(str(k))
        expect(vertical).to_have_value(str(m))
    # "What is e…?" follows the horizontal axis, and can be set apart.
    which = widget.panel("extremes").get_by_label("Eigenfunction")
    expect(which).to_have_value("0")
    body.press("ArrowRight")
    expect(which).to_have_value("1")
    before = widget.picture("extremes")
    which.select_option("4")
    changes(widget, "extremes", before)
    assert widget.panel("extremes").locator("li").count() == 2 * 8


def test_hovering_tells_class_prediction_and_picture(stage: Stage, widget: Widget) -> None:
    card = widget.panel("projections").get_by_test_id("hover-card")
    drawing = figure(widget, "projections")
    box = drawing.bounding_box()
    assert box
    for step in range(400):
        across, up = step % 20, step // 20
        stage.page.mouse.move(
            box["x"] + box["width"] * (0.12 + 0.042 * across),
            box["y"] + box["height"] * (0.05 + 0.04 * up),
        )
        if card.is_visible():
            break
    expect(card).to_contain_text("class")
    expect(card).to_contain_text("predicted class")
    expect(card.locator("canvas")).to_be_visible()
    stage.page.mouse.move(0, 0)
    expect(card).to_be_hidden()


def test_held_out_samples_on_request(widget: Widget) -> None:
    widget.enlarge("projections")
    before = widget.picture("projections")
    widget.panel("projections").get_by_label("held-out").check()
    shown = changes(widget, "projections", before)
    widget.panel("projections").get_by_label("held-out").uncheck()
    changes(widget, "projections", shown)


@pytest.mark.parametrize("tool", ["Box", "Lasso"])
def test_a_selection_follows_the_samples(stage: Stage, widget: Widget, tool: str) -> None:
    widget.root.get_by_test_id("axis-x").select_option("0")
    widget.root.get_by_test_id("axis-y").select_option("1")
    selection = widget.root.get_by_test_id("selection")
    widget.enlarge("projections")
    widget.panel("projections").get_by_role("button", name=tool, exact=True).click()
    box = figure(widget, "projections").bounding_box()
    assert box
    mouse = stage.page.mouse
    left, right = box["x"] + 0.2 * box["width"], box["x"] + 0.6 * box["width"]
    top, bottom = box["y"] + 0.05 * box["height"], box["y"] + 0.8 * box["height"]
    mouse.move(left, top)
    mouse.down()
    for x, y in (
        ((right, top), (right, bottom), (left, bottom)) if tool == "Lasso" else ((right, bottom),)
    ):
        mouse.move(x, y, steps=5)
    mouse.up()
    expect(selection).to_have_text(re.compile(r"\d+"))
    chosen = selection.inner_text()
    # The same samples stay chosen at another time and on other axes.
    widget.scrub(3)
    widget.wait_for("drawn", "3")
    expect(selection).to_have_text(chosen)
    widget.root.get_by_test_id("axis-x").select_option("2")
    expect(selection).to_have_text(chosen)
    before = widget.picture("projections")
    selection.click()
    expect(selection).to_be_hidden()
    changes(widget, "projections", before)
    widget.panel("projections").get_by_role("button", name=tool, exact=True).click()


def test_the_history_shows_other_curves_and_goes_to_an_epoch(widget: Widget) -> None:
    panel = widget.panel("history")
    before = figure(widget, "history").screenshot()
    widget.menu("Curves").click()
    panel.get_by_role("checkbox", name="effective rank", exact=True).check()
    panel.get_by_role("checkbox", name="loss").uncheck()
    widget.menu("Curves").click()
    assert figure(widget, "history").screenshot() != before
    box = figure(widget, "history").bounding_box()
    assert box
    figure(widget, "history").click(position={"x": box["width"] / 2, "y": box["height"] / 2})
    widget.wait_for("live", "false")
    assert 2 <= int(widget.wait_for("drawn", lambda drawn: drawn != str(LAST))) <= 6
    widget.press("Live")
    widget.wait_for("drawn", str(LAST))


def test_layers_are_shown_over_time(widget: Widget) -> None:
    widget.enlarge("layers")
    before = widget.picture("layers")
    widget.scrub(1)
    changes(widget, "layers", before)


def test_time_by_keys_buttons_and_play(widget: Widget) -> None:
    widget.scrub(0)
    widget.wait_for("drawn", "0")
    expect(widget.root.get_by_test_id("regime")).to_contain_text("Nothing learned yet")
    widget.root.get_by_role("button", name="Forward").click()
    widget.wait_for("drawn", "1")
    widget.scrubber.press(".")
    widget.wait_for("drawn", "2")
    widget.scrubber.press(",")
    widget.wait_for("drawn", "1")
    widget.press("Play")
    widget.root.get_by_label("Speed").select_option("30")
    widget.wait_for("drawn", str(LAST))
    expect(widget.button("Play")).to_be_visible()
    widget.press("Live")
    widget.wait_for("live", "true")


@pytest.mark.parametrize(
    "name", ["spectrum", "cumulative", "projections", "history", "extremes", "layers"]
)
def test_every_panel_can_be_enlarged(widget: Widget, name: str) -> None:
    panel = widget.panel(name)
    other = widget.root.locator(f"[data-panel='{'history' if name != 'history' else 'spectrum'}']")
    before = panel.bounding_box()
    button = panel.get_by_role("button", name="Enlarge")
    button.click()
    after = panel.bounding_box()
    assert before
    assert after
    assert after["width"] > 1.3 * before["width"]
    assert after["height"] > 1.9 * before["height"]
    expect(other).to_be_hidden()
    # What was under the pointer still is: the panel grew over it.
    assert after["x"] <= before["x"]
    assert after["y"] <= before["y"]
    widget.page.keyboard.press("Escape")
    again = panel.bounding_box()
    assert again == before
    expect(other).to_be_visible()


def test_a_caption_opens_behind_its_question_mark(stage: Stage, widget: Widget) -> None:
    panel = widget.panel("spectrum")
    caption = panel.locator(".fsw-caption")
    question = panel.get_by_role("button", name="What does this show?")
    expect(caption).to_be_hidden()
    question.click()
    expect(caption).to_contain_text("strongest first")
    # And what it shows now, in words.
    expect(panel.locator(".fsw-says")).to_contain_text("Relative eigenvalues of 64 features")
    stage.page.keyboard.press("Escape")
    expect(caption).to_be_hidden()
    stage.kernel.evaluate("setattr(viewer, 'captions', False)")
    expect(question).to_be_hidden()
    stage.kernel.evaluate("setattr(viewer, 'captions', True)")
    expect(question).to_be_visible()


def test_everything_can_be_kept(stage: Stage, widget: Widget, tmp_path: Path) -> None:
    widget.menu("Save").click()

    def saved(button: str) -> bytes:
        with stage.page.expect_download() as download:
            widget.press(button)
        path = tmp_path / download.value.suggested_filename
        download.value.save_as(path)
        return path.read_bytes()

    assert saved("PNG").startswith(b"\x89PNG")
    assert b"<svg" in saved("SVG")[:200]
    rows = list(csv.DictReader(io.StringIO(saved("History (.csv)").decode())))
    assert [float(row["epoch"]) for row in rows] == list(range(LAST + 1))
    assert [row["regime"] for row in rows[:2]] == ["UNTRAINED", "TRANSITION"]
    features = list(csv.DictReader(io.StringIO(saved("This frame (.csv)").decode())))
    eigenvalues = stage.kernel.evaluate("viewer.recording[-1].eigenvalues.tolist()")
    assert [float(row["eigenvalues"]) for row in features] == pytest.approx(eigenvalues)
    assert saved("Page (.html)").lstrip().lower().startswith(b"<!doctype html>")
    kept = tmp_path / "run.npz"
    kept.write_bytes(saved("Recording (.npz)"))
    import fswidget as fs

    assert len(fs.load(kept)) == LAST + 1
    widget.menu("Save").click()


def test_nothing_jumps_while_frames_arrive(stage: Stage, widget: Widget) -> None:
    """Neither panels nor the strip move, and axes keep their ranges."""
    layout = """() => JSON.stringify([...document.querySelectorAll(
        ".fswidget [data-panel], .fswidget .fsw-figure, .fsw-key, .fsw-bar, .fsw-strip > *"
    )].map(element => { const { x, y, width, height } = element.getBoundingClientRect();
        return [element.className, ...[x, y, width, height].map(Math.round)]; }))"""
    before = json.loads(stage.page.evaluate(layout))
    for number in range(LAST + 1, LAST + 4):
        stage.kernel.evaluate(f"viewer.recording.append(frame({number})) and viewer.push()")
        widget.wait_drawn(number)
        assert json.loads(stage.page.evaluate(layout)) == before


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing(stage: Stage, widget: Widget, dark: bool) -> None:
    """Roles, labels, contrast, focus: what can be checked without a person."""
    stage.notebook.theme(dark)
    widget.wait_for("theme", "dark" if dark else "light")
    found = axe(stage.page, rules=COLORS if dark else EVERY)
    assert found == [], "\n".join(found)
