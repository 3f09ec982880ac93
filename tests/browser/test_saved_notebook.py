"""Notebooks that were saved, looked at again where nothing has run."""

from __future__ import annotations

import urllib.request
import warnings
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbconvert import HTMLExporter
from playwright.sync_api import Page, TimeoutError, expect

from fswidget.recording.recording import Recording
from tests.synthetic import make_recording

from .jupyter import JupyterServer, Notebook
from .pages import describe
from .widget import Widget

pytestmark = pytest.mark.timeout(600)

COMPARE = """
import fswidget as fs
recording = fs.load("run.npz")
every_other = recording[:0]
for frame in recording[::2]:
    every_other.append(frame)
fs.compare(recording, every_other)
"""


@pytest.fixture
def recording() -> Recording:
    return make_recording(6, num_features=64, num_shown=200, num_eigenfunctions=4)


def end_all_kernels(server: JupyterServer) -> None:
    """End every kernel, as a machine does that is switched off."""
    for session in server.request("api/sessions"):
        request = urllib.request.Request(
            f"{server.url}api/sessions/{session['id']}",
            method="DELETE",
            headers={"Authorization": f"token {server.token}"},
        )
        urllib.request.urlopen(request, timeout=30).close()


def reopened(page: Page, server: JupyterServer, name: str) -> Notebook:
    """Open a saved notebook, and load its page anew, as a person would, where no widget came: once,
    on a busy machine, none did. What the page showed instead is in the warning."""
    notebook = Notebook(page, server, name)
    try:
        page.locator(".fswidget").first.wait_for(timeout=60_000)
    except TimeoutError:
        warnings.warn(f"no widgets in the reopened notebook:\n{describe(page)}", stacklevel=2)
        notebook.open()
    return notebook


@pytest.mark.parametrize("application", ["lab", "notebook7"])
def test_replay_after_reopening_with_nothing_run(
    application: str,
    request: pytest.FixtureRequest,
    new_page: Callable[..., Page],
    recording: Recording,
    artifacts: Path,
    complaints: list[str],
) -> None:
    server: JupyterServer = request.getfixturevalue(application)
    recording.save(server.work / "run.npz")
    notebook = Notebook(new_page(), server, server.write("saved.ipynb", [COMPARE]))
    notebook.run_all()
    for index, last in enumerate((6, 3)):
        Widget(notebook.page, index).wait_drawn(last)
    notebook.save_with_widgets()
    notebook.page.context.close()
    end_all_kernels(server)
    (server.work / "run.npz").unlink()

    again = reopened(new_page(width=1800), server, "saved.ipynb")
    first, second = (Widget(again.page, index) for index in (0, 1))
    first.wait_drawn(6)
    second.wait_drawn(3)
    tops = [widget.root.bounding_box()["y"] for widget in (first, second)]
    assert tops[0] == tops[1], "side by side"
    early = second.picture("spectrum")
    first.scrub(5)
    first.wait_for("drawn", "5")
    second.root.scroll_into_view_if_needed()
    second.wait_for("drawn", "2")  # epoch 4, the last before 5; linked in the browser alone
    second.scrub(1)
    first.wait_for("drawn", "2")
    assert second.picture("spectrum") != early
    again.page.screenshot(path=artifacts / f"saved-{application}.png")
    with server.kernel("saved.ipynb") as kernel:
        assert kernel.evaluate("'fs' in globals()") is False
    assert complaints == []


def test_a_converted_notebook_keeps_the_page_in_an_iframe(
    new_page: Callable[..., Page], recording: Recording, tmp_path: Path
) -> None:
    """`nbconvert --to html` needs a CDN for widgets; an exported page as output needs nothing."""
    recording.save(tmp_path / "run.npz")
    code = """
    import fswidget as fs
    from IPython.display import HTML
    HTML(fs.load("run.npz").to_html("run.html", iframe=True).read_text())
    """
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, kernel_name="python3", resources=resources).execute()
    converted = tmp_path / "notebook.html"
    converted.write_text(HTMLExporter().from_notebook_node(notebook)[0])
    page = new_page(offline=True)
    page.goto(converted.as_uri(), wait_until="domcontentloaded")
    root = page.frame_locator("iframe").locator(".fswidget")
    expect(root).to_have_attribute("data-drawn", "6", timeout=60_000)
    root.get_by_test_id("scrubber").fill("3")
    expect(root).to_have_attribute("data-drawn", "3")
