"""The explorer in a real marimo app."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

import fswidget

from .jupyter import wait_until
from .widget import Widget

pytestmark = pytest.mark.timeout(600)

APP = """
import marimo

app = marimo.App(width="full")


@app.cell
def _():
    import fswidget as fs
    import marimo as mo

    settings = dict(width=32, train_size=200, epochs=4, frame_every="epoch")
    explorer = mo.ui.anywidget(fs.Explorer(**settings))
    explorer
    return (explorer,)


@app.cell
def _(explorer):
    f"Python holds width {explorer.value['width']} and state {explorer.value['state']}"
    return
"""


@pytest.fixture
def app(tmp_path: Path) -> Iterator[str]:
    """The address of a running marimo app."""
    file = tmp_path / "app.py"
    file.write_text(APP)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "marimo", "run", str(file), "--headless", "--no-token"]
    environment = {**os.environ, "PYTHONPATH": str(Path(fswidget.__file__).parents[1])}
    with (tmp_path / "marimo.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )

    def answers() -> bool:
        assert process.poll() is None, (tmp_path / "marimo.log").read_text()
        try:
            urllib.request.urlopen(url, timeout=10).close()
        except urllib.error.URLError:
            return False
        return True

    url = f"http://127.0.0.1:{port}/"
    try:
        wait_until(answers, "marimo to start")
        yield url
    finally:
        process.terminate()
        process.wait(20)


def test_train_scrub_and_change_the_width(
    app: str, new_page: Callable[..., Page], complaints: list[str], artifacts: Path
) -> None:
    page = new_page(height=1400)
    abroad: list[str] = []
    page.on(
        "request",
        lambda request: (
            abroad.append(request.url)
            if request.url.startswith("http") and not request.url.startswith(app)
            else None
        ),
    )
    page.goto(app)
    widget = Widget(page)
    widget.press("Start")
    widget.wait_for("state", "finished")
    widget.wait_drawn(4)
    first = widget.says("run")
    last = widget.picture("spectrum")
    widget.scrub(1)
    widget.wait_for("drawn", "1")
    assert widget.picture("spectrum") != last
    page.screenshot(path=artifacts / "marimo.png")

    # A setting begins another run, in the browser and, as a value, in the app's other cell.
    expect(page.get_by_text("Python holds width 32")).to_be_visible()
    widget.nudge(widget.control("width"), "ArrowLeft", 3)
    widget.wait_for("run", lambda run: run not in ("", first))
    expect(page.get_by_text("Python holds width 32")).to_have_count(0)
    widget.wait_for("state", "finished")
    widget.wait_drawn(4)
    assert abroad == []
    assert complaints == []
