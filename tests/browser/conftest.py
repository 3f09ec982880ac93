"""A browser and a JupyterLab, shared by all tests that need them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.conftest import ARTIFACTS

from .jupyter import CHROMIUM_ARGS, JupyterServer, Notebook
from .pages import describe, heard, open_page

# Long enough for a slow and busy machine; a condition that holds is not waited for.
expect.set_options(timeout=60_000)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything here as needing a browser."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("browser")


@pytest.fixture(scope="package")
def browser(chromium: str) -> Iterator[Browser]:
    """A headless Chromium, ended with the last test that needs it: while it is there an event loop
    is running, beside which others cannot be run.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    """A JupyterLab server."""
    with JupyterServer(tmp_path_factory.mktemp("lab")) as server:
        yield server


@pytest.fixture(scope="session")
def notebook7(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    """A Jupyter Notebook 7 server."""
    with JupyterServer(tmp_path_factory.mktemp("notebook7"), app="notebook") as server:
        yield server


@pytest.fixture
def complaints() -> list[str]:
    """Uncaught errors of the page, and errors that our code logged; must be empty at the end."""
    return []


@pytest.fixture
def new_page(browser: Browser, complaints: list[str]) -> Iterator[Callable[..., Page]]:
    """Make pages, each with storage of its own."""
    pages: list[Page] = []

    def make(**options: object) -> Page:
        pages.append(open_page(browser, complaints, **options))
        return pages[-1]

    yield make
    for page in pages:
        page.context.close()


@pytest.fixture
def page(new_page: Callable[..., Page]) -> Page:
    """A page 1400 pixels wide."""
    return new_page()


@pytest.fixture(scope="package")
def desk(browser: Browser) -> Iterator[Page]:
    """The page in which notebooks are opened in JupyterLab, one after the other."""
    page = open_page(browser, [])
    yield page
    page.context.close()


@pytest.fixture
def open_notebook(
    lab: JupyterServer, desk: Page, complaints: list[str]
) -> Iterator[Callable[..., Notebook]]:
    """Open a notebook, or one with the given code cells, in JupyterLab."""
    opened: list[Notebook] = []

    def open_(name: str, cells: list[str] | Path) -> Notebook:
        opened.append(Notebook(desk, lab, lab.write(name, cells)))
        return opened[-1]

    desk.set_viewport_size({"width": 1400, "height": 1000})
    with heard(desk, complaints):
        yield open_
        for notebook in opened:
            notebook.leave()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    """Have a failed test leave a picture of every open page, and say what the page said."""
    browser = getattr(item, "funcargs", {}).get("browser")
    failed = call.excinfo is not None and not call.excinfo.errisinstance(pytest.skip.Exception)
    if failed and browser:
        pages = [page for context in browser.contexts for page in context.pages]
        for index, page in enumerate(pages):
            page.screenshot(path=ARTIFACTS / f"failed-{item.name}-{index}.png")
            item.add_report_section(call.when, f"page {index}", describe(page))
    return (yield)
