"""The widget in a page, as a test sees it: by what it says of itself, never by its layout."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Locator, Page, expect

from .jupyter import wait_until


class Widget:
    """One view of an explorer or a viewer."""

    def __init__(self, page: Page, index: int = 0) -> None:
        self.page = page
        self.root = page.locator(".fswidget").nth(index)
        self.root.wait_for()
        # What is out of sight is not drawn.
        self.root.scroll_into_view_if_needed()

    def says(self, name: str) -> str:
        """The value of a ``data-`` attribute of the root."""
        return self.root.get_attribute(f"data-{name}") or ""

    def wait_for(self, name: str, accept: Callable[[str], bool] | str, timeout: float = 120) -> str:
        """Wait until a ``data-`` attribute has the value, or one that is accepted."""
        ok = accept if callable(accept) else (lambda value: value == accept)
        wait_until(lambda: ok(self.says(name)), f"data-{name} of the widget", timeout)
        return self.says(name)

    def wait_drawn(self, at_least: int, timeout: float = 120) -> None:
        """Wait until a frame of the current run, or a later one, is painted."""
        self.wait_for("drawn", lambda drawn: drawn != "" and int(drawn) >= at_least, timeout)

    def wait_newest(self) -> None:
        """Wait until the last frame that the view holds is painted; how many a run has depends on
        how fast the machine is."""
        self.wait_for("drawn", lambda drawn: drawn != "" and drawn == str(self.frames() - 1))

    def frames(self) -> int:
        """How many frames of the run the view holds."""
        return int(self.says("frames") or 0)

    def button(self, name: str) -> Locator:
        """A button by its name."""
        return self.root.get_by_role("button", name=name, exact=True)

    def press(self, name: str) -> None:
        """Click a button."""
        self.button(name).click()

    def menu(self, name: str) -> Locator:
        """The button of a folded menu."""
        return self.root.locator(f"summary[aria-label='{name}']")

    def enlarge(self, panel: str) -> Locator:
        """Have a panel fill the view, where its further tools are."""
        if not self.root.locator(f".fsw-large[data-panel='{panel}']").count():
            self.root.press("Escape")
            self.panel(panel).get_by_role("button", name="Enlarge").click()
        return self.panel(panel)

    def control(self, name: str) -> Locator:
        """The native element of a setting."""
        return self.root.locator(f"[data-control='{name}']").locator("input, select").first

    def nudge(self, control: Locator, key: str, times: int = 1) -> None:
        """Move a slider by keys, the way a person without a mouse does."""
        control.focus()
        for _ in range(times):
            control.press(key)

    def panel(self, name: str) -> Locator:
        """A panel, scrolled to; layers and faces stand in one place and take turns."""
        panel = self.root.locator(f"[data-panel='{name}']")
        turn = {"layers": "layers", "extremes": "faces"}.get(name)
        if turn and self.button(turn).is_visible():
            self.press(turn)
        panel.scroll_into_view_if_needed()
        return panel

    def picture(self, panel: str) -> bytes:
        """What a panel looks like now."""
        return self.panel(panel).screenshot(animations="disabled")

    @property
    def scrubber(self) -> Locator:
        """The slider over epochs."""
        return self.root.get_by_test_id("scrubber")

    def scrub(self, frame: int) -> None:
        """Look at a frame by its place, the first being 0."""
        self.scrubber.fill(str(frame))
        expect(self.scrubber).to_have_value(str(frame))
