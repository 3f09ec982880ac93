"""Notebooks that were saved, looked at again where nothing has run."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
from nbformat.sign import NotebookNotary
from playwright.async_api import BrowserType
from playwright.sync_api import Browser, Page, expect
from traitlets.config import Config

import fswidget as fs
from fswidget.recording.recording import Recording
from tests.synthetic import make_recording
from tests.unit.test_paper import notebook_of

from .jupyter import JupyterServer, Notebook, wait_until
from .pages import open_page
from .reopening import SLIDER, HeldBack, wait_restored
from .widget import Widget

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def recording() -> Recording:
    return make_recording(6, num_features=64, num_shown=200, num_eigenfunctions=4)


SAVED = f"""
import fswidget as fs
{SLIDER}
fs.Viewer(fs.load("run.npz"))
"""


@pytest.fixture(scope="module")
def saved_file(desk: Page, lab: JupyterServer) -> Path:
    """A notebook that was saved with what it showed."""
    make_recording(6).save(lab.work / "run.npz")
    notebook = Notebook(desk, lab, lab.write("shown.ipynb", [SAVED]))
    notebook.run_all()
    Widget(desk).wait_drawn(6)
    notebook.save_with_widgets()
    notebook.leave()
    return lab.work / "shown.ipynb"


@pytest.fixture(scope="module")
def held(browser: Browser) -> Iterator[HeldBack]:
    """A page of which what kernels send it can be kept back."""
    page = open_page(browser, [])
    yield HeldBack(page)
    page.context.close()


@pytest.fixture
def saved(held: HeldBack, lab: JupyterServer, saved_file: Path) -> Iterator[Notebook]:
    """The same before it is opened; no kernel knows its widgets."""
    yield Notebook(held.page, lab, lab.write("reopened.ipynb", saved_file), opened=False)
    lab.end("reopened.ipynb")


@pytest.mark.parametrize(
    "fate", ["late", "kernel replaced", pytest.param("connection lost", marks=pytest.mark.soak)]
)
def test_a_blank_is_the_hosts_fault_and_goes_when_the_page_is_loaded_again(
    saved: Notebook, held: HeldBack, fate: str
) -> None:
    """The kernel's answer is held back while the notebook opens."""
    held.hold("comm_info_reply")
    saved.go()
    wait_until(lambda: saved.page.wait_for_timeout(50) or held.kept, "the answer to be held back")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if fate == "late":
            held.deliver()
        else:
            held.lose()
        if fate == "kernel replaced":
            saved.server.restart_kernel(saved.name)
        if fate == "connection lost":
            held.connections[-1].close(code=4000)
        wait_restored(saved, 60 if fate == "late" else 5)
    assert fate != "late" or caught == [], "an answer that comes late loses nothing"
    Widget(saved.page).wait_drawn(6)


@pytest.mark.parametrize(
    "module",
    [
        pytest.param("export default { render() { throw new Error('broken') } }", id="render"),
        pytest.param("throw new Error('broken')", id="load", marks=pytest.mark.soak),
    ],
)
def test_a_blank_that_we_make_is_not_taken_for_the_hosts(saved: Notebook, module: str) -> None:
    file = saved.server.work / saved.name
    notebook = nbformat.read(file, as_version=4)
    [kept] = notebook.metadata.widgets.values()
    for model in kept["state"].values():
        if "_esm" in model["state"]:
            model["state"]["_esm"] = module
    nbformat.write(notebook, file)
    NotebookNotary(data_dir=str(saved.server.data)).sign(notebook)  # else it is not trusted
    saved.open()
    with pytest.raises(AssertionError, match="fswidget is blank"):
        wait_restored(saved, 3)


def test_a_converted_notebook_keeps_the_page_in_an_iframe(
    new_page: Callable[..., Page], recording: Recording, tmp_path: Path
) -> None:
    """`nbconvert --to html` needs a CDN for widgets; an exported page as output needs nothing."""
    from nbconvert import HTMLExporter

    # What a cell keeps that ends with IPython's `HTML` of the file.
    shown = {"text/html": recording.to_html(tmp_path / "run.html", iframe=True).read_text()}
    output = nbformat.v4.new_output("execute_result", data=shown)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("", outputs=[output])])
    converted = tmp_path / "notebook.html"
    converted.write_text(HTMLExporter().from_notebook_node(notebook)[0])
    page = new_page(offline=True)
    page.goto(converted.as_uri(), wait_until="domcontentloaded")
    root = page.frame_locator("iframe").locator(".fswidget")
    expect(root).to_have_attribute("data-drawn", "6", timeout=60_000)
    root.get_by_test_id("scrubber").fill("3")
    expect(root).to_have_attribute("data-drawn", "3")


@pytest.mark.soak
def test_a_notebook_on_paper_shows_the_run(
    chromium: str, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """nbconvert's `webpdf`, whose pages have neither a kernel nor, here, a network."""
    from nbconvert import WebPDFExporter

    launch = BrowserType.launch

    async def ours(self: BrowserType, **options: object) -> object:
        return await launch(self, executable_path=chromium, **options)

    monkeypatch.setattr(BrowserType, "launch", ours)
    preprocessor = {"preprocessors": ["fswidget.widget.notebooks.WidgetPages"]}
    pictures = {"WidgetPages": {"pages": False}}
    exporter = WebPDFExporter(
        disable_sandbox=True, config=Config({"WebPDFExporter": preprocessor, **pictures})
    )
    pdf, _ = exporter.from_notebook_node(notebook_of(fs.Viewer(recording)))
    assert pdf.startswith(b"%PDF")
    assert pdf.count(b"/Subtype /Image") == 1
