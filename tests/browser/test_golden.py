"""What the view looks like: pages of stored recordings against the pictures in ``tests/golden``.

A change that is meant is kept with ``UPDATE_GOLDEN=1 pytest tests/browser/test_golden.py``, and can
then be looked at as a difference of pictures. Where Chromium has other fonts than those recorded in
``fonts.json``, nothing is compared.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Page

import fswidget as fs
from fswidget.recording.grid import Run, Sweep
from fswidget.recording.recording import Recording
from fswidget.widget.html import page as page_of

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"
KEPT = ROOT / "notebooks" / "recordings"
SHIPPED = ROOT / "fswidget" / "experiments" / "recordings"
UPDATE = os.environ.get("UPDATE_GOLDEN") == "1"

#: Half of the size is kept, in so many colours: enough to see, and small.
SHRINK, COLORS, MOST_BYTES = 2, 256, 60_000
#: Squares of so many pixels of the kept picture are compared by their means, out of 255.
SQUARE, LOCAL, WHOLE = 6, 20.0, 1.0


def load(path: Path) -> Recording:
    recording = fs.load(path)
    assert isinstance(recording, Recording)
    return recording


def digits(name: str) -> Recording:
    return load(KEPT / f"{name}.npz")


def pair() -> Sweep:
    """Two runs whose control swaps them: the one before is the ghost."""
    runs = [digits("plain"), digits("batchnorm")]
    axes = {"batchnorm": [False, True]}
    return Sweep(dict(runs[0].config), axes, [Run(dict(r.config), recording=r) for r in runs])


#: By name: what is shown, in which width and theme.
STATES: dict[str, tuple[Callable[[], object], int, str]] = {
    "mf-without-pictures": (lambda: load(SHIPPED / "resnet18.npz"), 960, "light"),
    "ef": (lambda: digits("batchnorm"), 1260, "dark"),
    "lazy": (lambda: digits("last_layer"), 960, "dark"),
    "ghost": (pair, 1260, "light"),
    "ghost-narrow": (pair, 620, "dark"),
    "regression": (
        lambda: load(KEPT / "runs" / "mlp-diabetes-2d38635c9b53.npz"),
        620,
        "light",
    ),
    "hundred-classes": (
        lambda: load(KEPT / "runs" / "vgg16-cifar100-6204da245943.npz"),
        1860,
        "dark",
    ),
    "comparison": (
        lambda: {name: digits(name) for name in ("plain", "batchnorm", "last_layer")},
        1260,
        "light",
    ),
}

MEASURE = """() => {
    const context = document.createElement("canvas").getContext("2d");
    return ["12px", "600 28px"].map(size => {
        context.font = `${size} system-ui, sans-serif`;
        return Math.round(context.measureText("Features in use, k95 = 59 ρ Π̂ ‖θ‖²").width);
    });
}"""


def look(page: Page, shown: object, width: int, file: Path) -> Image.Image:
    """A picture of the whole view."""
    file.write_text(page_of(shown, epoch=None), encoding="utf-8")  # type: ignore[arg-type]
    page.set_viewport_size({"width": width + 24, "height": 900 if width >= 900 else 1900})
    page.goto(file.as_uri())
    page.wait_for_selector(".fswidget[data-drawn]")
    if isinstance(shown, Sweep):
        run = page.locator(".fswidget").get_attribute("data-run")
        page.locator("[data-control=batchnorm] input").check()
        page.wait_for_selector(f".fswidget:not([data-run='{run}']) .fsw-ghost:not([hidden])")
        page.wait_for_selector(".fswidget[data-drawn='30']")
    page.mouse.move(0, 0)
    # What was drawn for the last size of a panel is on screen after two frames.
    page.evaluate("() => new Promise(d => requestAnimationFrame(() => requestAnimationFrame(d)))")
    content = page.locator(".fswidget").screenshot(path=file.with_suffix(".png"))
    assert content
    with Image.open(file.with_suffix(".png")) as picture:
        return picture.convert("RGB").reduce(SHRINK)


def difference(one: Image.Image, other: Image.Image) -> NDArray[np.float64]:
    """How far the means of small squares differ."""
    means = [np.asarray(picture.reduce(SQUARE), np.float64) for picture in (one, other)]
    return np.abs(means[0] - means[1]).mean(axis=2)


@pytest.mark.parametrize("name", list(STATES))
def test_the_view_looks_as_it_did(
    new_page: Callable[..., Page], name: str, tmp_path: Path, artifacts: Path
) -> None:
    show, width, theme = STATES[name]
    page = new_page(color_scheme=theme)
    fonts, kept = GOLDEN / "fonts.json", GOLDEN / f"{name}.png"
    measured = page.evaluate(MEASURE)
    if not UPDATE and json.loads(fonts.read_text()) != measured:
        pytest.skip(f"Chromium has other fonts here: texts are {measured} pixels wide")
    now = look(page, show(), width, tmp_path / f"{name}.html")
    if UPDATE:
        fonts.write_text(json.dumps(measured) + "\n")
        now.quantize(COLORS, dither=Image.Dither.NONE).save(kept, optimize=True)
    now.save(artifacts / f"golden-{name}.png")
    assert kept.stat().st_size <= MOST_BYTES
    with Image.open(kept) as picture:
        before = picture.convert("RGB")
    assert now.size == before.size
    apart = difference(now, before)
    place = np.unravel_index(apart.argmax(), apart.shape)
    assert apart.max() <= LOCAL, (
        f"differs by {apart.max():.0f} near {place}, in {SQUARE}s of pixels"
    )
    assert apart.mean() <= WHOLE
