"""How big the exported page is, and how soon it shows its figures beside a bare Bokeh page.

Usage: python benchmarks/page.py [RECORDING.npz ...]

Without recordings it makes one of each data set at hand (50 epochs, p = 512, 1,000 samples; real
MNIST and CIFAR-10 in the folder that FSWIDGET_DATA names, handwritten digits always). A page counts
as shown when BokehJS paints text into a canvas: the first time, and the last before a second of
rest. The pages take turns, each in a fresh browser context; the medians are compared.
"""

from __future__ import annotations

import gzip
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bokeh.embed import file_html
from bokeh.resources import INLINE
from playwright.sync_api import Browser, sync_playwright

import fswidget as fs
from benchmarks import history
from fswidget.figures.layout import layout_json
from fswidget.recording.recording import Recording
from fswidget.widget import assets, codec

REPEATS = 7
BAR_BYTES, BAR_RATIO = 2_500_000, 2.0
FIGURES = ("spectrum", "cumulative", "projections", "history")
WATCH = """
    window.painted = [];
    const fillText = CanvasRenderingContext2D.prototype.fillText;
    CanvasRenderingContext2D.prototype.fillText = function (...parts) {
        window.painted.push(performance.now());
        return fillText.apply(this, parts);
    };
"""


def make_recordings() -> dict[str, Recording]:
    """A run on every data set at hand."""
    root = os.environ.get("FSWIDGET_DATA")
    datasets = ["digits", *(["mnist", "cifar10"] if root else [])]
    shape = {"width": 512, "epochs": 50, "train_size": 1000, "num_shown": 1000}
    return {
        name: fs.record(
            fs.Config(dataset=name, root=root or "data", device="cpu", **shape), progress=True
        )
        for name in datasets
    }


def sizes(name: str, recording: Recording, page: Path) -> int:
    """Print what the page is made of; returns its bytes."""
    total = page.stat().st_size
    sprite = 0
    if recording.info.thumbnails is not None:
        sprite = len(codec.encode_sprite(recording.info.thumbnails)[1])
    packed = len(codec.pack(recording, "run-1"))
    parts = {
        "BokehJS": len(assets.bokehjs()),
        "front end": len(assets.bundle("widget.js") + assets.bundle("widget.css")),
        "figures": len(layout_json()),
        "pictures": sprite,
        "frames": packed - sprite,
    }
    listed = ", ".join(f"{part} {size / 1000:.0f}" for part, size in parts.items())
    frames, p = len(recording), recording.info.num_features
    print(
        f"{name:<10}{frames:>4} frames, p = {p}, {len(recording.info.labels)} samples: "
        f"{total / 1e6:.2f} MB ({listed} kB before base64); "
        f"gzip'ed by a server {len(gzip.compress(page.read_bytes())) / 1e6:.2f} MB"
    )
    return total


def shown(browser: Browser, page: Path) -> tuple[float, float]:
    """Milliseconds from navigation to the first and to the last painted text of the figures."""
    context = browser.new_context(viewport={"width": 1400, "height": 1600}, offline=True)
    tab = context.new_page()
    tab.add_init_script(WATCH)
    tab.goto(page.as_uri())
    tab.wait_for_function(
        "() => painted.length > 40 && performance.now() - painted.at(-1) > 1000", timeout=120_000
    )
    first, last = tab.evaluate("() => [painted[0], painted.at(-1)]")
    context.close()
    return first, last


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser to measure in."""
    path = os.environ.get("FSWIDGET_CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


def main() -> int:
    """Measure; the exit status says whether both bars hold."""
    given = [Path(argument) for argument in sys.argv[1:]]
    recordings = {path.stem: fs.load(path) for path in given} or make_recordings()
    ok = True
    with tempfile.TemporaryDirectory() as name, chromium() as browser:
        folder = Path(name)
        pages = {}
        for title, recording in recordings.items():
            pages[title] = recording.to_html(folder / f"{title}.html")
            ok &= sizes(title, recording, pages[title]) <= BAR_BYTES
        title, recording = list(recordings.items())[-1]
        bare = folder / "bare.html"
        bare.write_text(file_html([recording.figure(name) for name in FIGURES], INLINE, title))
        times: dict[str, list[tuple[float, float]]] = {"exported": [], "bare Bokeh": []}
        for _ in range(REPEATS + 1):  # the first turn only warms up
            times["exported"].append(shown(browser, pages[title]))
            times["bare Bokeh"].append(shown(browser, bare))
    print(f"\n{title}, median of {REPEATS} turns [ms]   first figure   all figures")
    medians = {}
    for which, pairs in times.items():
        medians[which] = [statistics.median(values) for values in zip(*pairs[1:], strict=True)]
        print(f"{which:<32}{medians[which][0]:>14.0f}{medians[which][1]:>14.0f}")
    ratios = [one / two for one, two in zip(*medians.values(), strict=True)]
    print(f"{'ratio (bar 2)':<32}{ratios[0]:>14.2f}{ratios[1]:>14.2f}")
    what = f"first figure of the page of {title}, against bare Bokeh"
    history.keep("page", [(what, f"{ratios[0]:.2f}", f"≤ {BAR_RATIO}")])
    return int(not (ok and ratios[0] <= BAR_RATIO))


if __name__ == "__main__":
    sys.exit(main())
