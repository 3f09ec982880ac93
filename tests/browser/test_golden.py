"""What the view looks like: pages of stored recordings against the pictures in ``tests/golden``.

A change that is meant is kept with ``UPDATE_GOLDEN=1 pytest tests/browser/test_golden.py``, and can
then be looked at as a difference of pictures. Where Chromium has other fonts than those recorded in
``fonts.json``, nothing is compared.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Page

import fswidget as fs
from fswidget.recording.grid import Run, Sweep
from fswidget.recording.recording import Recording
from fswidget.widget.html import to_html

from .jupyter import wait_until
from .pages import open_page

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


WIDTHS = (620, 960, 1260, 1860)
#: What is shown, by name; all of it stands in one page, which takes every width and theme in turn.
STATES: dict[str, Callable[[], object]] = {
    "untrained": lambda: digits("plain")[:1],
    "mf": lambda: digits("plain")[:13],
    "ghost": pair,
    "ef": lambda: digits("batchnorm"),
    "lazy": lambda: digits("last_layer"),
    "without-pictures": lambda: load(SHIPPED / "resnet18.npz"),
    "regression": lambda: load(KEPT / "runs" / "mlp-diabetes-2d38635c9b53.npz"),
    "hundred-classes": lambda: load(KEPT / "runs" / "vgg16-cifar100-6204da245943.npz"),
    "comparison": lambda: {n: digits(n) for n in ("plain", "batchnorm", "last_layer")},
    "layers": lambda: load(KEPT / "runs" / "mlp-mnist-08f7871fb330.npz"),
}
#: How some of them are presented.
OPTIONS: dict[str, Any] = {"layers": {"panels": ["layers", "cumulative", "history"]}}

#: Room for each state, in wide pages and in narrow ones; all begin on whole pixels, whatever
#: BokehJS puts into the page to measure with.
HIGH, NARROW = 900, 1240
HEAD = f"""<!doctype html><meta charset=utf-8><meta name=color-scheme content="light dark">
<style>
body > [id] {{ position: absolute; left: 0; right: 0; top: calc(var(--at) * {HIGH}px) }}
@media (max-width: 899px) {{ body > [id] {{ top: calc(var(--at) * {NARROW}px) }} }}
</style>
<body>"""
#: Without loss, in half the time of Playwright's own.
QUICK = {"format": "png", "optimizeForSpeed": True}
TWO_FRAMES = "() => new Promise(d => requestAnimationFrame(() => requestAnimationFrame(d)))"
MEASURE = """() => {
    const context = document.createElement("canvas").getContext("2d");
    return ["12px", "600 28px"].map(size => {
        context.font = `${size} system-ui, sans-serif`;
        return Math.round(context.measureText("Features in use, k95 = 59 ρ Π̂ ‖θ‖²").width);
    });
}"""


def show(page: Page, file: Path) -> None:
    """Open a page of all states, each at the end of its run; of a sweep, with its second run."""
    parts = []
    for at, (name, make) in enumerate(STATES.items()):
        options = OPTIONS.get(name, {})
        part = to_html(make(), file.with_name(name), fragment=True, **options)  # type: ignore[arg-type]
        parts.append(f"<div id={name} style='--at: {at}'>{part.read_text(encoding='utf-8')}</div>")
    file.write_text(HEAD + "".join(parts), encoding="utf-8")
    # Every panel is in sight: what is not is not drawn.
    page.set_viewport_size({"width": 1260, "height": HIGH * len(STATES)})
    page.goto(file.as_uri())
    for name in STATES:
        page.wait_for_selector(f"#{name} .fswidget[data-drawn]")
    page.locator("#ghost [data-control=batchnorm] input").check()
    page.wait_for_selector("#ghost .fswidget[data-drawn='30'] .fsw-ghost:not([hidden])")


def look(page: Page, width: int, theme: str) -> dict[str, Image.Image]:
    """Pictures of all states, once the page has come to rest at this width."""
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    high = HIGH if width >= 900 else NARROW
    page.set_viewport_size({"width": width, "height": high * len(STATES)})
    page.wait_for_selector(f"#{next(reversed(STATES))} .fswidget[data-theme={theme}]")
    page.mouse.move(0, 0)
    devtools = page.context.new_cdp_session(page)
    taken = [""]

    def rests() -> bool:
        page.evaluate(TWO_FRAMES)
        taken.append(str(devtools.send("Page.captureScreenshot", QUICK)["data"]))
        return taken[-1] == taken[-2]

    wait_until(rests, "the view to come to rest", 60)
    with Image.open(BytesIO(base64.b64decode(taken[-1]))) as picture:
        whole = picture.convert("RGB")
    looks = {}
    for name in STATES:
        box = page.locator(f"#{name} .fswidget").bounding_box()
        assert box
        left, top = round(box["x"]), round(box["y"])
        right, bottom = left + round(box["width"]), top + round(box["height"])
        looks[name] = whole.crop((left, top, right, bottom)).reduce(SHRINK)
    return looks


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


@pytest.fixture(scope="module")
def states(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The page of all states; to make and draw it takes as long as all pictures of one theme."""
    page = open_page(browser, [], reduced_motion="reduce")
    fonts, measured = GOLDEN / "fonts.json", page.evaluate(MEASURE)
    if UPDATE:
        fonts.write_text(json.dumps(measured) + "\n")
    elif json.loads(fonts.read_text()) != measured:
        pytest.skip(f"Chromium has other fonts here: texts are {measured} pixels wide")
    show(page, tmp_path_factory.mktemp("golden") / "states.html")
    yield page
    page.context.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_view_looks_as_it_did(states: Page, theme: str, artifacts: Path) -> None:
    wrong = []
    for width in WIDTHS:
        for name, now in look(states, width, theme).items():
            file = f"{name}-{width}-{theme}.png"
            if UPDATE:
                kept = now.quantize(COLORS, dither=Image.Dither.NONE, kmeans=1)
                kept.save(GOLDEN / file, optimize=True)
            now.save(artifacts / f"golden-{file}", compress_level=1)
            wrong.append(compared(now, GOLDEN / file))
    assert not any(wrong), [each for each in wrong if each]
