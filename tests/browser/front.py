"""Notebooks that several tests of the front end share: opening one takes longer than most tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Page

from .jupyter import JupyterServer, Kernel, Notebook
from .pages import heard
from .widget import Widget

ROOT = Path(__file__).resolve().parents[2]

#: A recording of known content: 9 frames, 6 classes, held-out samples, layers and pictures.
RECORDING = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import dataclasses
import numpy as np
import fswidget as fs
from tests.synthetic import make_frame, make_recording

OPTIONS = dict(num_features=64, num_shown=240, num_eigenfunctions=6, num_classes=6, num_layers=4)

def frame(number):
    made = make_frame(number, **OPTIONS)
    arrays = dict(made.arrays, held_out_projections=made.projections[::4] * 1.1)
    return fs.Frame(made.epoch, made.step, made.scalars, made.labels, arrays)

def recording(last, first=0):
    info = make_recording(0, **OPTIONS).info
    info = dataclasses.replace(info, held_out_labels=info.labels[::4])
    made = fs.Recording(info)
    for number in range(first, last + 1):
        made.append(frame(number))
    return made
"""


@dataclass
class Stage:
    """A notebook, and what went wrong in the page that shows it."""

    notebook: Notebook
    kernel: Kernel
    complaints: list[str]

    @property
    def page(self) -> Page:
        """The page."""
        return self.notebook.page

    def widget(self, index: int = 0) -> Widget:
        """A view of a widget, in the order of the notebook."""
        return Widget(self.page, index)


@contextmanager
def staged(
    desk: Page,
    lab: JupyterServer,
    name: str,
    cells: Sequence[str],
    *,
    width: int = 1400,
    height: int = 1800,
) -> Iterator[Stage]:
    """Open a notebook with these cells and run them."""
    complaints: list[str] = []
    desk.set_viewport_size({"width": width, "height": height})
    with heard(desk, complaints, foreign=True):
        notebook = Notebook(desk, lab, lab.write(f"{name}.ipynb", cells))
        try:
            notebook.sidebar(shown=False)
            notebook.theme(dark=False)
            notebook.run_all()
            with lab.kernel(f"{name}.ipynb") as kernel:
                yield Stage(notebook, kernel, complaints)
                assert complaints == []
        finally:
            notebook.leave()


WCAG = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa")
EVERY = (*WCAG, "best-practice")
#: The only rules whose answer may change with the colours.
COLORS = ("color-contrast", "link-in-text-block")


def axe(page: Page, within: str = ".fswidget", rules: Sequence[str] = EVERY) -> list[str]:
    """What axe-core finds in the widget: roles, labels, contrast, focus order."""
    if not page.evaluate("'axe' in window"):
        page.add_script_tag(path=ROOT / "js" / "node_modules" / "axe-core" / "axe.min.js")
    answer = page.evaluate(
        """async ([within, rules]) => {
            // Menus too: what is folded is not looked at.
            const folded = [...document.querySelectorAll(`${within} details:not([open])`)];
            for (const details of folded) details.open = true;
            // Of what passes only the rules are asked for, not each element.
            const options = { runOnly: rules, iframes: false, resultTypes: ["violations"] };
            const { violations, passes } = await axe.run(within, options);
            for (const details of folded) details.open = false;
            return { violations, passes: passes.length };
        }""",
        [within, list(rules)],
    )
    assert answer["passes"] > (0 if rules == COLORS else 10)
    return [
        f"{violation['id']}: {violation['help']}: {[n['html'][:150] for n in violation['nodes']]}"
        for violation in answer["violations"]
    ]
