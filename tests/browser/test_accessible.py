"""What assistive technology finds in pages without a kernel: light, dark and forced colours."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page

import fswidget as fs
from fswidget.recording.recording import Recording
from fswidget.widget import codec
from fswidget.widget.html import page as page_of
from fswidget.widget.html import saved_page
from tests.synthetic import make_recording

from .front import COLORS, EVERY, axe


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


def found_in_all_colors(page: Page, picture: Path) -> list[str]:
    """By all rules in light colours, and by those of colours in the others."""
    found = []
    for colors, rules in {"light": EVERY, "dark": COLORS, "forced": COLORS}.items():
        scheme = "light" if colors == "light" else "dark"
        forced = "active" if colors == "forced" else "none"
        page.emulate_media(color_scheme=scheme, forced_colors=forced)
        page.wait_for_selector(f".fswidget[data-theme={scheme}]")
        found += [f"{colors}: {each}" for each in axe(page, rules=rules)]
        page.screenshot(path=picture.with_stem(f"{picture.stem}-{colors}"))
    return found


@pytest.mark.parametrize("name", ["explorer", "comparison"])
def test_axe_finds_nothing(
    new_page: Callable[..., Page], recording: Recording, name: str, tmp_path: Path, artifacts: Path
) -> None:
    page = new_page(height=700)
    file = tmp_path / "page.html"
    made = (
        explorer_page(recording)
        if name == "explorer"
        else page_of({"1": recording, "2": recording})
    )
    file.write_text(made, encoding="utf-8")
    page.goto(file.as_uri())
    page.wait_for_selector(".fswidget[data-drawn]")
    found = found_in_all_colors(page, artifacts / f"accessible-{name}.png")
    # What opens over the panels, and a figure as a table.
    page.get_by_role("button", name="What does this show?").first.click()
    found += found_in_all_colors(page, artifacts / f"accessible-{name}-caption.png")
    page.get_by_role("button", name="Table of numbers").first.click()
    if name == "explorer":
        page.get_by_role("button", name="More…").click()
    found += found_in_all_colors(page, artifacts / f"accessible-{name}-open.png")
    assert found == []
