"""What assistive technology finds in pages without a kernel: light, dark and forced colours."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

import fswidget as fs
from fswidget.recording.recording import Recording
from fswidget.widget import codec
from fswidget.widget.html import page as page_of
from fswidget.widget.html import saved_page
from tests.synthetic import make_recording

from .front import axe


def explorer_page(recording: Recording) -> str:
    """An explorer as a notebook keeps it, with this run on show."""
    state = fs.Explorer().get_state()
    state |= {
        "run": "run-1",
        "state": "finished",
        "num_frames": recording.appended,
        "_packed": codec.pack(recording, "run-1"),
        "message": "Finished at epoch 6.",
    }
    buffers = {k: base64.b64encode(v).decode() for k, v in state.items() if isinstance(v, bytes)}
    plain = {name: value for name, value in state.items() if name not in buffers}
    return saved_page(plain, buffers, "explorer")


@pytest.fixture(scope="module")
def recording() -> Recording:
    return make_recording(6, num_features=64, num_shown=60, num_eigenfunctions=4, num_layers=3)


@pytest.mark.parametrize("colors", ["light", "dark", "forced"])
def test_axe_finds_nothing(
    new_page: Callable[..., Page],
    recording: Recording,
    colors: str,
    tmp_path: Path,
    artifacts: Path,
) -> None:
    options: dict[str, Any] = {"color_scheme": "light" if colors == "light" else "dark"}
    if colors == "forced":
        options["forced_colors"] = "active"
    page = new_page(height=700, **options)
    pages = {
        "explorer": explorer_page(recording),
        "comparison": page_of({"one": recording, "two": recording}),
    }
    found: list[str] = []
    for name, text in pages.items():
        file = tmp_path / f"{name}.html"
        file.write_text(text, encoding="utf-8")
        page.goto(file.as_uri())
        page.wait_for_selector(".fswidget[data-drawn]")
        found += axe(page)
        page.screenshot(path=artifacts / f"accessible-{name}-{colors}.png")
        # What opens over the panels, and a figure as a table.
        page.get_by_role("button", name="What does this show?").first.click()
        found += axe(page)
        page.get_by_role("button", name="Table of numbers").first.click()
        if name == "explorer":
            page.get_by_role("button", name="More…").click()
        found += axe(page)
        page.screenshot(path=artifacts / f"accessible-{name}-{colors}-open.png")
    assert found == []
