"""A sweep's page of 60 runs: how big it is, how soon it opens, and how soon a moved slider is seen.

Usage: python -m benchmarks.explorable [SWEEP.json]

Without a sweep that kept its recordings it makes one of noise, which compresses worse than runs do:
p = 256, 20 epochs, 300 samples. A move counts as painted when the view names the new run; each cell
of the map is visited twice, for each choice of the seed. Opening is measured as in `page`, against
the page of one of the runs.
"""

from __future__ import annotations

import itertools
import statistics
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser

import fswidget as fs
from benchmarks import history
from benchmarks.page import REPEATS, chromium, shown
from fswidget.recording.grid import Run, Sweep
from tests.synthetic import make_recording

BAR_BYTES, BAR_MS, BAR_RATIO = 10_000_000, 100, 1.5
AXES = {
    "batchnorm": [False, True],
    "train_size": [100 * k for k in range(1, 11)],
    "seed": [0, 1, 2],
}
MOVE = """(cell) => new Promise((done) => {
    const root = document.querySelector(".fswidget");
    const before = root.dataset.run;
    const start = performance.now();
    cell.click();
    const look = () => {
        if (root.dataset.run === before) requestAnimationFrame(look);
        else done(performance.now() - start);
    };
    requestAnimationFrame(look);
})"""


def make_sweep() -> Sweep:
    """Sixty runs of noise."""
    runs = []
    for number, values in enumerate(itertools.product(*AXES.values())):
        sizes = {"num_features": 256, "num_shown": 300, "num_eigenfunctions": 8}
        recording = make_recording(20, seed=number, title="noise", **sizes)
        settings = dict(zip(AXES, values, strict=True))
        runs.append(Run({**settings, "width": 256, "epochs": 20}, recording=recording))
    return Sweep({"width": 256, "epochs": 20}, AXES, runs)


def moves(browser: Browser, page: Path) -> tuple[list[float], list[float]]:
    """Milliseconds to the first and to the second picture of each run."""
    context = browser.new_context(viewport={"width": 1400, "height": 900}, offline=True)
    tab = context.new_page()
    tab.goto(page.as_uri())
    tab.wait_for_selector(".fswidget[data-drawn]", timeout=120_000)
    seeds = tab.locator("select:visible", has=tab.locator("option", has_text="all"))
    first: list[float] = []
    again: list[float] = []
    for choice in range(seeds.locator("option").count()):
        seeds.select_option(index=choice)
        for times in (first, again):
            for cell in tab.locator(".fsw-map [role=radio]").all():
                tab.wait_for_timeout(150)  # a reader looks at what they see
                if cell.get_attribute("aria-checked") != "true":
                    times.append(cell.evaluate(MOVE))
    context.close()
    return first, again


def main() -> int:
    """Measure; the exit status says whether the bars hold."""
    sweep = fs.load(sys.argv[1]) if len(sys.argv) > 1 else make_sweep()
    with tempfile.TemporaryDirectory() as name, chromium() as browser:
        page = sweep.to_html(Path(name) / "explore.html")
        alone = sweep.runs[-1].recording.to_html(Path(name) / "alone.html")
        size = page.stat().st_size
        print(f"{sweep}: {size / 1e6:.2f} MB; one run alone {alone.stat().st_size / 1e6:.2f} MB")
        opened: dict[Path, list[float]] = {page: [], alone: []}
        for _, each in itertools.product(range(REPEATS + 1), opened):
            opened[each].append(shown(browser, each)[1])
        first, again = moves(browser, page)
    whole, single = (statistics.median(times[1:]) for times in opened.values())
    print(f"opened after {whole:.0f} ms, one run alone after {single:.0f}")
    for what, times in (("first", first), ("second", again)):
        told = f"{statistics.median(times):.0f} ms, at most {max(times):.0f}"
        print(f"{what} picture of a run: {told} ({len(times)} moves)")
    moved = statistics.median(first)
    bars = [
        ("page of 60 runs [MB]", f"{size / 1e6:.2f}", f"≤ {BAR_BYTES / 1e6:.0f}"),
        ("a run's first picture after a move [ms]", f"{moved:.0f}", f"≤ {BAR_MS}"),
        ("opening against the page of one run", f"{whole / single:.2f}", f"≤ {BAR_RATIO}"),
    ]
    history.keep("explorable", bars)
    return int(not (size <= BAR_BYTES and moved <= BAR_MS and whole / single <= BAR_RATIO))


if __name__ == "__main__":
    sys.exit(main())
