"""Pages of the browser: what went wrong in them, and what a failed test says of them."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from playwright.sync_api import Browser, ConsoleMessage, Error, Page

#: What each page wrote to its console, warnings and errors alone.
_console: WeakKeyDictionary[Page, list[str]] = WeakKeyDictionary()


def open_page(
    browser: Browser,
    complaints: list[str],
    width: int = 1400,
    height: int = 1000,
    *,
    foreign: bool = False,
    **options: object,
) -> Page:
    """A page with storage of its own. Added to `complaints` are uncaught errors, those of Jupyter's
    own code where `foreign` is asked for, and errors that our code logs."""
    context = browser.new_context(viewport={"width": width, "height": height}, **options)
    page = context.new_page()
    page.set_default_timeout(120_000)
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

    page.on("pageerror", on_error)
    page.on("console", on_console)
    return page


def describe(page: Page) -> str:
    """What a page shows in the outputs of its cells, and the end of its console."""
    outputs = page.locator(".jp-OutputArea-output").all_inner_texts()
    console = _console.get(page, [])[-30:]
    lines = [page.url.split("?")[0], "outputs:", *outputs, "console:", *console]
    return "\n".join(line[:500] for line in lines)
