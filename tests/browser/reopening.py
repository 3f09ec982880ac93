"""A saved notebook that is opened again, and whose fault a blank in it is.

JupyterLab's widget manager first asks the kernel for its widgets, and reads those that the notebook
holds only once the kernel has answered. Where the kernel is replaced just then, or the connection
to it is lost, no answer comes, the error is swallowed, and no widget of any library is restored
until the page is loaded again. A bare slider in the same notebook tells that from a fault of ours.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable

from playwright.sync_api import Page, WebSocketRoute

from .jupyter import Notebook, wait_until
from .pages import describe
from .widget import Widget

#: Shows the slider.
SLIDER = "import ipywidgets; display(ipywidgets.IntSlider(description='bare'))"


class HostFailed(UserWarning):
    """JupyterLab restored no widget at all, not even one of its own."""


def reopen(notebook: Notebook) -> None:
    """Load a notebook anew that was saved with `SLIDER` and a view of ours, and wait for both."""
    notebook.open()
    wait_restored(notebook)


def wait_restored(notebook: Notebook, patience: float = 60) -> None:
    """Wait for the slider and a view of ours. Where only ours stays away, we failed; where both do,
    the host failed: say so and load the page again, once, as a person would."""
    page = notebook.page
    if _restored(page, patience):
        return
    assert not page.locator(".widget-slider").count(), f"fswidget is blank:\n{describe(page)}"
    warnings.warn(f"JupyterLab restored no widget:\n{describe(page)}", HostFailed, stacklevel=2)
    notebook.open()
    assert _restored(page, patience), f"blank after the page was loaded again:\n{describe(page)}"


def _restored(page: Page, patience: float) -> bool:
    """Whether the slider and a view of ours come in time."""
    try:
        for widget in (".widget-slider", ".fswidget"):
            wait_until(page.locator(widget).count, widget, patience)
    except TimeoutError:
        return False
    return True


def go_together(comparison: Widget) -> None:
    """A run and its every other frame, shown beside each other, go through time together."""
    samples = comparison.root.locator("[data-panel='projections']")
    tops = [panel.bounding_box()["y"] for panel in samples.all()]
    assert len(tops) == 2
    assert tops[0] == tops[1], "side by side"
    late = comparison.picture("spectrum")
    comparison.scrub(5)
    comparison.wait_for("drawn", "5 2")  # epoch 4, the last before 5
    assert comparison.picture("spectrum") != late


class HeldBack:
    """What kernels send to a page, kept back where that is asked for."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.kind = b""
        self.holding = False
        self.kept: list[Callable[[], None]] = []
        self.connections: list[WebSocketRoute] = []
        page.route_web_socket(re.compile("/api/kernels/.*/channels"), self._connect)

    def hold(self, kind: str) -> None:
        """Keep back what the next kernel sends, from its first message of one kind on."""
        self.page.goto("about:blank")  # the connections of before are no more
        self.kind, self.holding = kind.encode(), True
        self.kept, self.connections = [], []

    def _connect(self, page_side: WebSocketRoute) -> None:
        server_side = page_side.connect_to_server()
        self.connections.append(page_side)
        page_side.on_message(server_side.send)
        server_side.on_message(lambda message: self._pass_on(page_side, message))

    def _pass_on(self, page_side: WebSocketRoute, message: str | bytes) -> None:
        raw = message.encode() if isinstance(message, str) else message
        if self.holding and (self.kept or self.kind in raw):
            self.kept.append(lambda: page_side.send(message))
        else:
            page_side.send(message)

    def deliver(self) -> None:
        """Let the page have what was kept back, late."""
        self.holding = False
        for send in self.kept:
            send()

    def lose(self) -> None:
        """Never send what was kept back."""
        self.holding = False
