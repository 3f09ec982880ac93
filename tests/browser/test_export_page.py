"""The exported page, opened from disk in a real browser with the network cut."""

from __future__ import annotations

import dataclasses
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from fswidget.recording.recording import Recording
from tests.synthetic import make_recording

from .firefox import Firefox
from .jupyter import wait_until
from .pages import open_page
from .widget import Widget

EVIL = "<img src=x onerror='window.pwned = 1'></script><script>window.pwned = 2</script>"


@pytest.fixture
def recording() -> Recording:
    return make_recording(6, num_features=64, num_shown=200, num_eigenfunctions=4, num_layers=3)


@pytest.fixture(scope="module")
def cut_off(browser: Browser) -> Iterator[Page]:
    """A page without network, in which the tests open their files one after the other."""
    page = open_page(browser, [], offline=True)
    yield page
    page.context.close()


@pytest.fixture
def offline(cut_off: Page) -> Iterator[Page]:
    """The same as if it were new; at the end, nothing was asked for and nothing complained."""
    page = cut_off
    page.goto("about:blank")
    page.set_viewport_size({"width": 1400, "height": 1300})
    page.emulate_media(color_scheme="light", media="screen")
    said: list[str] = []
    asked: list[str] = []
    handlers = {
        "console": lambda message: said.append(f"{message.type}: {message.text}"),
        "pageerror": lambda error: said.append(f"uncaught: {error.stack}"),
        "dialog": lambda dialog: said.append(f"dialog: {dialog.message}"),
        "request": lambda request: asked.append(request.url),
    }
    for event, handler in handlers.items():
        page.on(event, handler)
    yield page
    for event, handler in handlers.items():
        page.remove_listener(event, handler)
    own = ("file:", "data:", "blob:", "about:")
    assert [url for url in asked if not url.startswith(own)] == []
    assert sum(url.startswith("file:") for url in asked) == 1
    assert [line for line in said if not line.startswith("log: [bokeh")] == []


def show(page: Page, file: Path, count: int = 1) -> list[Widget]:
    """Open a file and wait for its widgets to be drawn."""
    page.goto(file.as_uri())
    widgets = [Widget(page, index) for index in range(count)]
    for widget in widgets:
        widget.root.scroll_into_view_if_needed()
        widget.wait_drawn(0)
    return widgets


def test_time_hover_selection_and_theme(
    offline: Page, recording: Recording, tmp_path: Path, artifacts: Path
) -> None:
    [widget] = show(offline, recording.to_html(tmp_path / "run"))
    assert widget.says("state") == "finished"
    assert widget.says("frames") == "7"
    widget.wait_for("drawn", "6")
    offline.screenshot(path=artifacts / "export-light.png", full_page=True)

    panels = ("spectrum", "cumulative", "projections")
    last = {name: widget.picture(name) for name in panels}
    widget.scrub(2)
    widget.wait_for("drawn", "2")
    assert all(widget.picture(name) != last[name] for name in panels)
    widget.scrub(6)
    widget.wait_for("drawn", "6")

    body = widget.panel("projections").locator(".fsw-body")
    box = body.bounding_box()
    assert box is not None
    card = widget.panel("projections").get_by_test_id("hover-card")
    places = [
        (box["x"] + box["width"] * i / 20, box["y"] + box["height"] * j / 20)
        for i in range(4, 20)
        for j in range(1, 17)
    ]
    for x, y in places:
        offline.mouse.move(x, y)
        # The card follows at the next animation frame.
        offline.evaluate("() => new Promise((done) => requestAnimationFrame(() => done()))")
        if card.is_visible():
            break
    expect(card).to_contain_text("class ")
    expect(card).to_contain_text("predicted class ")
    offline.screenshot(path=artifacts / "export-hover.png", full_page=True)

    widget.enlarge("projections")
    widget.press("Box")
    box = body.bounding_box()
    assert box is not None
    corners = [
        (box["x"] + share * box["width"], box["y"] + share * box["height"]) for share in (0.1, 0.9)
    ]
    offline.mouse.move(*corners[0])
    offline.mouse.down()
    offline.mouse.move(*corners[1], steps=4)
    offline.mouse.up()
    # The number of selected samples.
    expect(widget.root.get_by_test_id("selection")).to_have_text(re.compile(r"[1-9]"))

    offline.emulate_media(color_scheme="dark")
    widget.wait_for("theme", "dark")
    offline.screenshot(path=artifacts / "export-dark.png", full_page=True)


def test_a_fixed_theme_stays_and_a_kernel_is_not_missed(
    offline: Page, recording: Recording, tmp_path: Path
) -> None:
    offline.emulate_media(color_scheme="dark")
    [widget] = show(offline, recording.to_html(tmp_path / "run", theme="light", title="A title"))
    assert widget.says("theme") == "light"
    assert offline.title() == "A title"
    for name in ("Start", "Run", "Pause", "Recording (.npz)", "Page (.html)"):
        assert not widget.button(name).is_visible()
    # On paper as on screen, and small enough: A4 upright is 718 pixels wide within its margins.
    drawn = "[...document.querySelectorAll('.fsw-figure')].map((f) => f.offsetWidth)"
    before = offline.evaluate(drawn)
    offline.emulate_media(media="print")
    offline.set_viewport_size({"width": 718, "height": 1000})
    assert offline.evaluate(drawn) == before
    right = "document.querySelector('.fswidget').getBoundingClientRect().right"
    assert 600 < offline.evaluate(right) <= 718


def test_what_the_page_saves_it_saves_alone(
    offline: Page, recording: Recording, tmp_path: Path
) -> None:
    [widget] = show(offline, recording.to_html(tmp_path / "run"))
    widget.menu("Save").click()
    with offline.expect_download() as download:
        widget.press("History (.csv)")
    lines = Path(download.value.path()).read_text().splitlines()
    assert lines[0].startswith("epoch,step,loss")
    assert len(lines) == 8


SMALL = """root => [...root.querySelectorAll("button, select, input, summary")]
    .filter(part => part.checkVisibility())
    .map(part => [part, part.closest("label") ?? part])
    .filter(([part, target]) => target.getBoundingClientRect().height
        < (part.matches(".fsw-key *, .fsw-why") ? 24 : 44))
    .map(([part]) => part.ariaLabel || part.textContent)"""
PLACES = """root => ["needle:not(.fsw-needle-ghost)", "zone[data-regime=TRANSITION]"].map(part => {
    const { left, right } = root.querySelector(`.fsw-${part}`).getBoundingClientRect();
    return [left, right].map(Math.round); })"""


def test_on_a_phone_and_where_pages_run_from_right_to_left(
    new_page: Callable[..., Page], recording: Recording, tmp_path: Path
) -> None:
    page = new_page(width=390, height=844, is_mobile=True, has_touch=True)
    [widget] = show(page, recording.to_html(tmp_path / "run"))
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    # Targets are 44 pixels high; a link within a line and the names of classes 24.
    assert widget.root.evaluate(SMALL) == []
    # The slider over epochs is in sight wherever one is on the page.
    for top in (0, 600):
        page.evaluate(f"scrollTo(0, {top})")
        expect(widget.scrubber).to_be_in_viewport(ratio=1)
    panel = widget.panel("spectrum")
    panel.locator(".fsw-body").tap(position={"x": 150, "y": 80})
    expect(panel.get_by_test_id("hover-card")).to_contain_text("k = ")
    # Needle and zones stay together.
    before = widget.root.evaluate(PLACES)
    page.evaluate("document.documentElement.dir = 'rtl'")
    assert widget.root.evaluate(PLACES) == before


def test_markup_in_names_does_nothing(
    offline: Page, recording: Recording, tmp_path: Path, artifacts: Path
) -> None:
    info = dataclasses.replace(
        recording.info, title=EVIL, class_names=(EVIL,) * 4, layers=(EVIL,) * 3
    )
    evil = Recording(info)
    for frame in recording:
        evil.append(dataclasses.replace(frame, labels={"regime": EVIL, "evidence": EVIL}))
    [widget] = show(offline, evil.to_html(tmp_path / "run"))
    widget.scrub(0)
    widget.wait_for("drawn", "0")
    for name in ("projections", "history", "layers"):
        widget.panel(name)
    widget.wait_for("drawn", "0")
    assert offline.title() == EVIL
    expect(widget.root).to_contain_text(EVIL)
    assert offline.evaluate("window.pwned ?? null") is None
    assert offline.locator("img").count() == 0
    offline.screenshot(path=artifacts / "export-markup.png", full_page=True)


def test_fragments_share_a_page_and_go_through_time_apart(
    offline: Page, recording: Recording, tmp_path: Path
) -> None:
    parts = [
        part.to_html(tmp_path / f"part{index}", fragment=True).read_text()
        for index, part in enumerate((recording, recording[:4]))
    ]
    file = tmp_path / "blog.html"
    file.write_text(
        "<!doctype html><meta charset=utf-8><title>Blog</title><h1>One</h1>"
        + "<p>and</p>".join(parts)
    )
    first, second = show(offline, file, count=2)
    assert (first.says("frames"), second.says("frames")) == ("7", "4")
    first.scrub(1)
    first.wait_for("drawn", "1")
    second.root.scroll_into_view_if_needed()
    second.wait_for("drawn", "3")
    assert second.says("live") == "true"
    assert offline.evaluate("window.Bokeh ?? null") is None


def test_iframe_runs_in_its_sandbox(offline: Page, recording: Recording, tmp_path: Path) -> None:
    offline.goto(recording.to_html(tmp_path / "frame", iframe=True).as_uri())
    root = offline.frame_locator("iframe").locator(".fswidget")
    expect(root).to_have_attribute("data-drawn", "6", timeout=120_000)
    root.get_by_test_id("scrubber").fill("3")
    expect(root).to_have_attribute("data-drawn", "3")


def test_the_page_itself_refuses_every_request(
    new_page: Callable[..., Page], recording: Recording, tmp_path: Path
) -> None:
    hits: list[str] = []

    class Listener(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hits.append(self.path)
            self.send_response(200)
            self.send_header("Access-Control-Allow-Origin", "*")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Listener)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        page = new_page()
        ask = """(url) => fetch(url + "/fetch").then(() => "answered", () => "refused")"""
        show_image = """(url) => new Promise((done) => {
            const image = new Image();
            image.onload = image.onerror = () => done();
            image.src = url + "/image";
        })"""
        bare = tmp_path / "bare.html"
        bare.write_text("<title>bare</title>")
        page.goto(bare.as_uri())
        assert page.evaluate(ask, url) == "answered"  # the listener would have heard it
        hits.clear()
        show(page, recording.to_html(tmp_path / "run"))
        assert page.evaluate(ask, url) == "refused"
        page.evaluate(show_image, url)
        assert hits == []
    finally:
        server.shutdown()


def test_firefox_shows_it_too(recording: Recording, tmp_path: Path, artifacts: Path) -> None:
    executable = shutil.which("firefox-esr") or shutil.which("firefox")
    if executable is None:
        pytest.skip("Firefox is not installed")
    profile = tmp_path / "profile"
    profile.mkdir()
    file = recording.to_html(tmp_path / "run")
    drawn = "Number(document.querySelector('.fswidget')?.dataset.drawn ?? -1)"
    with Firefox(executable, profile) as firefox:
        firefox.call(
            "browsingContext.setViewport",
            context=firefox.tab,
            viewport={"width": 1400, "height": 1300},
        )
        firefox.goto(file.as_uri())
        wait_until(lambda: firefox.evaluate(drawn) == 6, "Firefox to draw the last frame")
        firefox.evaluate(
            """(() => {
                const scrubber = document.querySelector("[data-testid=scrubber]");
                scrubber.value = 2;
                scrubber.dispatchEvent(new Event("input"));
            })()"""
        )
        wait_until(lambda: firefox.evaluate(drawn) == 2, "Firefox to draw another frame")
        firefox.screenshot(artifacts / "export-firefox.png")
        asked = [
            event["params"]["request"]["url"]
            for event in firefox.events
            if event["method"] == "network.beforeRequestSent"
        ]
        said = [
            event["params"]["text"]
            for event in firefox.events
            if event["method"] == "log.entryAdded" and event["params"]["level"] in ("error", "warn")
        ]
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert said == []
