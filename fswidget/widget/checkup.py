"""Whether the host that a notebook runs in carries what the widget needs: `fswidget.doctor`."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import secrets
import sys
import threading
from datetime import date
from importlib import resources
from typing import Any

import anywidget
import traitlets

from fswidget.widget.assets import bokehjs, built

_PASS, _FAIL, _OPEN = "PASS", "FAIL", "open"

#: What only a front end can answer, and what to do where it does not by itself.
_HOST_CHECKS = {
    "front end": "nothing has shown this widget: make it the last line of a cell",
    "binary echo": "bytes that were sent have not come back",
    "thread": "a background thread's message has not been answered",
    "second view": "show the same object in another cell",
    "reload": "reload the page, with the kernel left running",
    "save": "the front end has not said what it would save",
}


class Doctor(anywidget.AnyWidget):
    """What `doctor` returns: shows its report, and goes on with it as answers arrive.

    Attributes
    ----------
    results : dict of str to tuple of (str, str)
        By check, "PASS", "FAIL" or "open" (no answer yet), and what was found.
    """

    _esm = (resources.files("fswidget.widget") / "checkup.js").read_text(encoding="utf-8")

    text = traitlets.Unicode(help="the report").tag(sync=True)
    token = traitlets.Unicode(help="what a front end must have after a reload").tag(sync=True)

    def __init__(self) -> None:
        self.results: dict[str, tuple[str, str]] = {
            **_installation(),
            **{name: (_OPEN, advice) for name, advice in _HOST_CHECKS.items()},
        }
        self._sent = secrets.token_bytes(65_536)
        self._pages: dict[str, set[str]] = {}
        super().__init__(token=secrets.token_hex(8))
        self.on_msg(self._hear)
        self.text = self.report()

    def report(self) -> str:
        """The checks, one per line, under a line that says when and with what."""
        packages = ("fswidget", "anywidget", "ipywidgets", "bokeh")
        versions = ", ".join(f"{name} {_version(name)}" for name in packages)
        python = ".".join(map(str, sys.version_info[:3]))
        heading = f"{date.today()}: Python {python} on {sys.platform}, {versions}"
        rows = [f"{state}  {name:<12} {text}" for name, (state, text) in self.results.items()]
        return "\n".join([heading, *rows])

    def __str__(self) -> str:
        return self.report()

    def _note(self, name: str, passed: bool, text: str) -> None:
        self.results[name] = (_PASS if passed else _FAIL, text)
        self.text = self.report()

    def _hear(self, _: Any, content: Any, buffers: Any) -> None:
        match content:
            case {"type": "hello", "view": str(view), "page": str(page), "agent": str(agent)}:
                self._note("front end", True, agent)
                self._greet(view, page, content.get("token") == self.token)
            case {"type": "echo", "view": str(view), "page": str(page)}:
                whole = [bytes(buffer) for buffer in buffers] == [self._sent]
                said = "came back as they were" if whole else "came back changed, or not at all"
                self._note("binary echo", whole, f"{len(self._sent):,} bytes {said}")
                views = self._pages.setdefault(page, set())
                views.add(view)
                if len(views) > 1:
                    self._note("second view", True, "two views of one page have answered")
            case {"type": "thread"}:
                self._note("thread", True, "a background thread's message was answered")
            case {"type": "saved", "bytes": None}:
                self.results["save"] = (_OPEN, "this host does not say what it would save")
                self.text = self.report()
            case {"type": "saved", "bytes": int(size)}:
                said = f"a saved notebook holds {size:,} bytes of this widget"
                self._note("save", size > 0, said if size else "this widget would not be saved")

    def _greet(self, view: str, page: str, same_state: bool) -> None:
        """Ask a new view for an echo, and have a thread ask it, too."""
        if self._pages and page not in self._pages:
            said = "a page that was loaded anew shows the kernel's state"
            self._note("reload", same_state, said if same_state else "the state is another one")
        self._pages.setdefault(page, set())
        self.send({"type": "echo"}, buffers=[self._sent])
        try:
            threading.Thread(target=self._ask_from_thread, daemon=True).start()
        except RuntimeError as error:  # Python in a browser has none
            self._note("thread", False, str(error))

    def _ask_from_thread(self) -> None:
        try:
            self.send({"type": "thread"})
        except Exception as error:  # Shiny refuses it
            # The next answer shows it: from here nothing can be told.
            self.results["thread"] = (_FAIL, f"a background thread cannot send: {error}")


def doctor() -> Doctor:
    """Test the host that this notebook runs in.

    Checks the installation, and with a front end: that bytes come back as they were sent, that a
    message from a background thread arrives, that a second view and a reloaded page work, and that
    the widget would be saved with the notebook.

    Returns
    -------
    Doctor
        A widget: as the last line of a cell it shows the report and keeps it up to date; ``print``
        shows what is known so far. What is "open" has had no answer, and says what to do.

    Notes
    -----
    It sends 64 kB to the browser and back, and nothing anywhere else.

    Examples
    --------
    >>> found = fs.doctor()
    >>> found.results["package"][0], found.results["front end"][0]  # nothing shows it here
    ('PASS', 'open')
    """
    return Doctor()


def _installation() -> dict[str, tuple[str, str]]:
    """What can be found out without a front end."""
    checks: dict[str, tuple[str, str]] = {}
    try:
        files = [built(name).name for name in ("widget.js", "widget.css")]
        checks["package"] = (_PASS, f"{' and '.join(files)} are there")
    except ImportError as error:
        checks["package"] = (_FAIL, str(error))
    try:
        checks["BokehJS"] = (_PASS, f"{len(bokehjs()):,} bytes, from the installed bokeh")
    except OSError as error:
        checks["BokehJS"] = (_FAIL, str(error))
    missing = [n for n in ("torch", "torchvision", "sklearn") if not importlib.util.find_spec(n)]
    needs = f'without {", ".join(missing)}: pip install "fswidget[train]"'
    checks["training"] = (_OPEN, needs) if missing else (_PASS, f"torch {_version('torch')}")
    return checks


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
