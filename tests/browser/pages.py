"""Pages of the browser: what went wrong in them, and what a failed test says of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from playwright.sync_api import Browser, ConsoleMessage, Error, Page

#: What each page wrote to its console, warnings and errors alone.
_console: WeakKeyDictionary[Page, list[str]] = WeakKeyDictionary()


def open_page(
    browser: Browser,
    complaints: list[str],
    width: int = 1400,
    height: int = 1000,
    **options: object,
) -> Page:
    """A page with storage of its own, whose errors are added to `complaints`."""
    context = browser.new_context(viewport={"width": width, "height": height}, **options)
    page = context.new_page()
    page.set_default_timeout(120_000)
    _hear(page, complaints)
    return page


@contextmanager
def heard(page: Page, complaints: list[str], *, foreign: bool = False) -> Iterator[None]:
    """Add what goes wrong meanwhile to `complaints`: uncaught errors, those of Jupyter's own code
    where `foreign` is asked for, and errors that our code logs."""
    handlers = _hear(page, complaints, foreign)
    try:
        yield
    finally:
        for event, handler in handlers.items():
            page.remove_listener(event, handler)


def _hear(page: Page, complaints: list[str], foreign: bool = False) -> dict[str, Any]:
    said = _console.setdefault(page, [])

    def on_error(error: Error) -> None:
        said.append(f"uncaught: {error.message}")
        # A widget's module is a blob; what never passes through it is Jupyter's own.
        if foreign or "blob:" in (error.stack or "blob:"):
            complaints.append(f"uncaught: {error.message}\n{error.stack}")

    def on_console(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            said.append(f"{message.type}: {message.text}")
        if message.type == "error" and "fswidget" in message.text:
            complaints.append(f"console: {message.text}")

    handlers = {"pageerror": on_error, "console": on_console}
    for event, handler in handlers.items():
        page.on(event, handler)
    return handlers


def describe(page: Page) -> str:
    """What a page shows in the outputs of its cells, and the end of its console."""
    outputs = page.locator(".jp-OutputArea-output").all_inner_texts()
    console = _console.get(page, [])[-30:]
    lines = [page.url.split("?")[0], "outputs:", *outputs, "console:", *console]
    return "\n".join(line[:500] for line in lines)
