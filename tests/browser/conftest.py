"""A browser and a JupyterLab, shared by all tests that need them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, expect, sync_playwright

from .jupyter import CHROMIUM_ARGS, JupyterServer, Notebook

# Long enough for a slow and busy machine; a condition that holds is not waited for.
expect.set_options(timeout=60_000)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything here as needing a browser."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("browser")


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Browser]:
    """A headless Chromium."""
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
def new_page(
    browser: Browser, complaints: list[str], request: pytest.FixtureRequest, artifacts: Path
) -> Iterator[Callable[..., Page]]:
    """Make pages, each with storage of its own; a failed test leaves a picture of each."""
    pages: list[Page] = []

    def make(width: int = 1400, height: int = 1000, **options: object) -> Page:
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        page = context.new_page()
        page.set_default_timeout(120_000)

        def on_error(error: Error) -> None:
            # A widget's module is a blob; what never passes through it is Jupyter's own affair.
            if "blob:" in (error.stack or "blob:"):
                complaints.append(f"uncaught: {error.message}\n{error.stack}")

        def on_console(message: ConsoleMessage) -> None:
            if message.type == "error" and "fswidget" in message.text:
                complaints.append(f"console: {message.text}")

        page.on("pageerror", on_error)
        page.on("console", on_console)
        pages.append(page)
        return page

    yield make
    failed = getattr(request.node, "failed", False)
    for index, page in enumerate(pages):
        if failed and not page.is_closed():
            page.screenshot(path=artifacts / f"failed-{request.node.name}-{index}.png")
        page.context.close()


@pytest.fixture
def page(new_page: Callable[..., Page]) -> Page:
    """A page 1400 pixels wide."""
    return new_page()


@pytest.fixture
def open_notebook(lab: JupyterServer, page: Page) -> Iterator[Callable[..., Notebook]]:
    """Open a notebook, or one with the given code cells, in JupyterLab."""
    opened: list[str] = []

    def open_(name: str, cells: list[str] | Path) -> Notebook:
        opened.append(name)
        return Notebook(page, lab, lab.write(name, cells))

    yield open_
    for name in opened:
        lab.end(name)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    """Tell the fixtures whether the test failed."""
    report = yield
    if report.when == "call":
        item.failed = report.failed
    return report
