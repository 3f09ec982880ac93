"""What the view looks like: pages of stored recordings against the pictures in ``tests/golden``.

A change that is meant is kept with ``UPDATE_GOLDEN=1 pytest tests/browser/test_golden.py``, and can
then be looked at as a difference of pictures. Where Chromium has other fonts than those recorded in
``fonts.json``, nothing is compared.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from io import BytesIO
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

from .jupyter import wait_until

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"
KEPT = ROOT / "notebooks" / "recordings"
SHIPPED = ROOT / "fswidget" / "experiments" / "recordings"
UPDATE = os.environ.get("UPDATE_GOLDEN") == "1"

#: Half of the size is kept, in so many colours: enough to see, and small.
SHRINK, COLORS, MOST_BYTES = 2, 256, 60_000
#: Squares of so many pixels of the kept picture are compared by their means, out of 255.
SQUARE, LOCAL, WHOLE = 6, 14.0, 1.0


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


#: Every width, and both themes at one of each kind.
EVERY = [
    *((width, "light") for width in (620, 960, 1260, 1860)),
    *((width, "dark") for width in (620, 1260)),
]
#: By name: what is shown, in which widths and themes; a page is loaded once and takes them in turn.
STATES: dict[str, tuple[Callable[[], object], list[tuple[int, str]]]] = {
    "mf": (lambda: digits("plain")[:13], EVERY),
    "ghost": (pair, EVERY),
    "ef": (lambda: digits("batchnorm"), [(1260, "light")]),
    "lazy": (lambda: digits("last_layer"), [(1260, "light"), (960, "dark")]),
    "without-pictures": (lambda: load(SHIPPED / "resnet18.npz"), [(1260, "light")]),
    "regression": (
        lambda: load(KEPT / "runs" / "mlp-diabetes-2d38635c9b53.npz"),
        [(1260, "light"), (620, "dark")],
    ),
    "hundred-classes": (
        lambda: load(KEPT / "runs" / "vgg16-cifar100-6204da245943.npz"),
        [(1260, "light"), (1860, "dark")],
    ),
    "comparison": (
        lambda: {name: digits(name) for name in ("plain", "batchnorm", "last_layer")},
        [(1260, "light"), (620, "dark")],
    ),
}

TWO_FRAMES = "() => new Promise(d => requestAnimationFrame(() => requestAnimationFrame(d)))"
MEASURE = """() => {
    const context = document.createElement("canvas").getContext("2d");
    return ["12px", "600 28px"].map(size => {
        context.font = `${size} system-ui, sans-serif`;
        return Math.round(context.measureText("Features in use, k95 = 59 ρ Π̂ ‖θ‖²").width);
    });
}"""


def show(page: Page, shown: object, file: Path) -> None:
    """Open a page of it, at the end of the run; of a sweep, with the second run on show."""
    file.write_text(page_of(shown, epoch=None), encoding="utf-8")  # type: ignore[arg-type]
    page.goto(file.as_uri())
    page.wait_for_selector(".fswidget[data-drawn]")
    if isinstance(shown, Sweep):
        run = page.locator(".fswidget").get_attribute("data-run")
        page.locator("[data-control=batchnorm] input").check()
        page.wait_for_selector(f".fswidget:not([data-run='{run}']) .fsw-ghost:not([hidden])")
        page.wait_for_selector(".fswidget[data-drawn='30']")


def look(page: Page, width: int, theme: str) -> Image.Image:
    """A picture of the whole view, once it has come to rest at this width."""
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    # Every panel is in sight: what is not is not drawn.
    page.set_viewport_size({"width": width + 24, "height": 900 if width >= 900 else 1900})
    page.wait_for_selector(f".fswidget[data-theme={theme}]")
    page.mouse.move(0, 0)
    taken = [b""]

    def rests() -> bool:
        page.evaluate(TWO_FRAMES)
        taken.append(page.locator(".fswidget").screenshot(animations="disabled"))
        return taken[-1] == taken[-2]

    wait_until(rests, "the view to come to rest", 20)
    with Image.open(BytesIO(taken[-1])) as picture:
        return picture.convert("RGB").reduce(SHRINK)


def difference(one: Image.Image, other: Image.Image) -> NDArray[np.float64]:
    """How far the means of small squares differ."""
    means = [np.asarray(picture.reduce(SQUARE), np.float64) for picture in (one, other)]
    return np.abs(means[0] - means[1]).mean(axis=2)


def compared(now: Image.Image, kept: Path) -> str:
    """What is wrong with a picture; nothing where it looks as it did."""
    if kept.stat().st_size > MOST_BYTES:
        return f"{kept.name} is larger than {MOST_BYTES} bytes"
    with Image.open(kept) as picture:
        before = picture.convert("RGB")
    if now.size != before.size:
        return f"{kept.name} is of {before.size}, now {now.size}"
    apart = difference(now, before)
    place = np.unravel_index(apart.argmax(), apart.shape)
    if apart.max() <= LOCAL and apart.mean() <= WHOLE:
        return ""
    far = f"{apart.max():.0f} near {place}, in {SQUARE}s of pixels, and {apart.mean():.2f}"
    return f"{kept.name} differs by {far} over all"


@pytest.mark.parametrize("name", list(STATES))
def test_the_view_looks_as_it_did(
    new_page: Callable[..., Page], name: str, tmp_path: Path, artifacts: Path
) -> None:
    make, looks = STATES[name]
    page = new_page(color_scheme="light")
    fonts, measured = GOLDEN / "fonts.json", page.evaluate(MEASURE)
    if not UPDATE and json.loads(fonts.read_text()) != measured:
        pytest.skip(f"Chromium has other fonts here: texts are {measured} pixels wide")
    show(page, make(), tmp_path / f"{name}.html")
    wrong = []
    for width, theme in looks:
        now, file = look(page, width, theme), f"{name}-{width}-{theme}.png"
        if UPDATE:
            fonts.write_text(json.dumps(measured) + "\n")
            kept = now.quantize(COLORS, dither=Image.Dither.NONE, kmeans=1)
            kept.save(GOLDEN / file, optimize=True)
        now.save(artifacts / f"golden-{file}")
        wrong.append(compared(now, GOLDEN / file))
    assert not any(wrong), wrong
