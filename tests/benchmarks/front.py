"""The live view against its peers, in a real JupyterLab in headless Chromium.

Run as ``python -m tests.benchmarks.front``; writes ``tests/benchmarks/RESULTS.md``. Times on one
machine say little about another, so every bar is a ratio of two contestants measured in turn.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from benchmarks import history
from tests.benchmarks.frontend.browser import SETUP, Session
from tests.benchmarks.frontend.report import NAMES, Samples, bars, report
from tests.browser.jupyter import CHROMIUM_ARGS, JupyterServer

HERE = Path(__file__).parent
PACE = 10
COUNT = 200


class Bench:
    """One JupyterLab and one browser, and all that is measured with them."""

    def __init__(self, browser: Browser, server: JupyterServer) -> None:
        self.browser = browser
        self.server = server
        self.samples: Samples = defaultdict(list)

    def add(self, name: str, quantity: str, value: float) -> None:
        """Keep a value and say it."""
        self.samples[name, quantity].append(value)
        print(f"{name:>10}  {quantity:<28} {value:.4g}", flush=True)

    def session(self, name: str, *cells: str, bare: bool = False) -> Session:
        """A fresh page and kernel; a bare one has imported nothing of the benchmark."""
        return Session(self.browser, self.server, name, cells if bare else [SETUP, *cells])

    def contest(self, name: str) -> None:
        """First paint, 10 frames a second for 20 s, a burst of 200."""
        with self.session(name, f"contest = Contest({name!r}, {2 * COUNT})") as session:
            session.display()
            start = session.kernel.evaluate("contest.result['start']")
            self.add(name, "first paint s", session.log()[0] - start)
            session.settle()
            self._pace(session, name)
            self._burst(session, name, 2 * COUNT)

    def _pace(self, session: Session, name: str) -> None:
        before = session.main_thread()
        session.page.wait_for_timeout(5000)
        idle = {key: (value - before[key]) / 5 for key, value in session.main_thread().items()}
        before = session.main_thread()
        result = session.drive(f"contest.pace({COUNT}, {PACE})")
        session.page.wait_for_timeout(500)
        after = session.main_thread()
        seconds = result["end"] - result["start"] + 0.5
        for key, quantity in (("Task", "main thread ms/frame"), ("Script", "script ms/frame")):
            used = after[key] - before[key] - idle[key] * seconds
            self.add(name, quantity, 1000 * used / COUNT)
        painted = [
            n for n, at in session.log().items() if 0 < n <= COUNT and at < result["end"] + 1
        ]
        self.add(name, "painted of 200 at 10 Hz", len(painted))
        self.add(name, "kernel ms/frame at 10 Hz", 1000 * result["median"])
        session.wait_painted(COUNT)
        session.settle()

    def _burst(self, session: Session, name: str, last: int) -> None:
        session.page.evaluate(f"window.bench.checked.add({last})")
        result = session.drive(f"contest.burst({COUNT})")
        session.wait_painted(last, 240)
        self.add(name, "burst of 200 s", session.log()[last] - result["start"])
        session.page.wait_for_timeout(1500)
        same = session.page.evaluate(f"window.bench.hashes[{last}] === window.bench.hash()")
        self.add(name, "final picture when it said so", float(same))

    def audit(self, name: str, count: int = 30) -> None:
        """Whether pictures really changed as often as was said, by hashing all canvases."""
        with self.session(name, f"contest = Contest({name!r}, {count})") as session:
            session.display()
            session.settle()
            session.page.evaluate("window.bench.checked.add('all')")
            session.drive(f"contest.pace({count}, 2)")
            session.wait_painted(count)
            hashes = session.page.evaluate("Object.values(window.bench.hashes)")
            self.add(name, f"different pictures of {count}", len(set(hashes)))

    def kernel_cost(self) -> None:
        """The kernel's time per frame against a bare send of the same bytes."""
        with self.session("kernel", "cost = KernelCost()") as session:
            code = "from IPython.display import display\ndisplay(cost.bare, cost.ours.widget)"
            session.display(code)
            session.settle()
            session.kernel.evaluate("cost.start()")
            session.kernel.wait("bool(cost.result)", 60)
            result = session.kernel.evaluate("cost.result")
            self.add("fswidget", "kernel ms/frame", 1000 * result["ours"])
            self.add("bare send", "kernel ms/frame", 1000 * result["bare"])
            self.add("fswidget", "kB/frame", result["bytes"] / 1000)

    def heap(self, count: int = 2000) -> None:
        """Growth of the page's heap over many frames."""
        with self.session("heap", f"contest = Contest('fswidget', {count})") as session:
            session.display()
            session.settle()
            before = session.heap()
            size = session.kernel.evaluate("contest.contestant.recording.nbytes")
            session.drive(f"contest.pace({count}, 100)")
            session.wait_painted(count)
            session.settle()
            size = session.kernel.evaluate("contest.contestant.recording.nbytes") - size
            growth = session.heap() - before
            self.add("fswidget", "recording of 2,000 frames MB", size / 1e6)
            self.add("fswidget", "heap growth MB", growth / 1e6)

    def cycles(self, name: str, count: int = 50) -> None:
        """What 50 times of displaying and closing leave behind."""
        with self.session(name, f"contest = Contest({name!r}, 1)") as session:
            self._cycle(session, 5)
            heap = session.heap()
            before = {**session.metrics(), "heap": heap}
            self._cycle(session, count)
            heap = session.heap()
            after = {**session.metrics(), "heap": heap}
            for key, quantity, unit in (
                ("heap", "heap after 50 cycles MB", 1e6),
                ("JSEventListeners", "listeners after 50 cycles", 1),
                ("Nodes", "nodes after 50 cycles", 1),
            ):
                self.add(name, quantity, (after[key] - before[key]) / unit)

    def _cycle(self, session: Session, count: int) -> None:
        session.notebook.run_code("contest.display()")
        for index in range(count):
            session.wait_painted(0)
            session.kernel.evaluate("contest.close()")
            session.page.evaluate("window.bench.log.length = 0")
            if index + 1 < count:
                session.notebook.command("notebook:run-cell")
        session.settle()

    def restart(self, count: int = 5) -> None:
        """From Start, and from a released slider, to the first frame of the new run, less the
        training's own part.

        The training's part is measured in the same kernel while no run is on: making the data, the
        network and frame 0.
        """
        code = "import fswidget as fs\nexplorer = fs.Explorer(epochs=1000)"
        with self.session("restart", code, FIRST_FRAME) as session:
            session.notebook.run_code("explorer")
            session.kernel.evaluate("first_frame()")  # a warm kernel
            for _ in range(count):
                shown = session.first_frame(PRESS)
                self.add("fswidget", "Start to first frame s", shown)
                session.kernel.evaluate("explorer.stop()")
                session.kernel.wait("explorer.state == 'finished'")
                session.settle()
            widths = [session.kernel.evaluate("explorer.width")] * count
            session.kernel.evaluate("explorer.start()")
            session.wait_painted(3)
            for position in (74, 77, 79, 82, 84)[:count]:
                shown = session.first_frame(RELEASE, position)
                self.add("fswidget", "release to first frame s", shown)
                widths.append(session.kernel.evaluate("explorer.width"))
                session.page.wait_for_timeout(1000)
            session.kernel.evaluate("explorer.stop()")
            session.kernel.wait("explorer.state == 'finished'")
            for index, width in enumerate(widths):
                seconds = session.kernel.evaluate(f"first_frame(width={width})")
                what = "training to Start's first frame s" if index < count else TRAINED
                self.add("fswidget", what, seconds)

    def fresh(self, count: int = 3) -> None:
        """From ``fs.Explorer()`` in a new kernel to the first frame, against a bare loop there."""
        importing = "import fswidget as fs"
        for _ in range(count):
            with self.session("fresh", importing, bare=True) as session:
                session.notebook.run_code(EXPLORE)
                session.wait_painted(0)
                shown = session.log()[0] - session.kernel.evaluate("start")
                self.add("fswidget", "Explorer() to first frame s", shown)
            with self.session("loop", importing, bare=True) as session:
                session.notebook.run_code(LOOP)
                seconds = session.kernel.wait("globals().get('seconds')")
                self.add("bare loop", "to the same frame s", seconds)


TRAINED = "training to first frame s"
#: Begins at once, as somebody would who knows the button.
EXPLORE = """
import time
start = time.time()
explorer = fs.Explorer()
explorer.start()
explorer
"""
#: What the same run does without any of this up to its first frame: data, network, optimiser, and
#: all samples through the network once.
LOOP = """
import time
start = time.time()
import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
images, labels = load_digits(return_X_y=True)
inputs = torch.from_numpy(images[:1000] / 16).float()
targets = torch.eye(10)[torch.from_numpy(labels[:1000])]
model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU())
last = nn.Linear(256, 10)
optimizer = torch.optim.Adam([*model.parameters(), *last.parameters()], lr=1e-3)
loss = nn.functional.mse_loss(last(model(inputs[:64])), targets[:64])
loss.backward()
optimizer.step()
with torch.no_grad():
    features = model(inputs)
    np.linalg.eigh((features.T @ features).double().numpy())
seconds = time.time() - start
"""
#: Times what a restart needs of the trainer alone.
FIRST_FRAME = """
import time
from fswidget.training import Training

def first_frame(**changes):
    start = time.perf_counter()
    next(iter(Training(explorer.config.replace(**changes))))
    return time.perf_counter() - start
"""
#: Presses Start, or Run, and answers when, and which run was on show.
PRESS = """() => {
    const root = document.querySelector(".fswidget");
    root.querySelector(".fsw-go").click();
    return [performance.timeOrigin + performance.now(), root.dataset.run ?? ""];
}"""
#: Moves the width's slider and lets it go; the same answer.
RELEASE = """position => {
    const root = document.querySelector(".fswidget");
    const control = root.querySelector("[data-control='width'] input");
    control.value = position;
    control.dispatchEvent(new Event("input", { bubbles: true }));
    control.dispatchEvent(new Event("change", { bubbles: true }));
    return [performance.timeOrigin + performance.now(), root.dataset.run];
}"""


@contextmanager
def opened() -> Iterator[Bench]:
    """A bench with its server and browser."""
    executable = os.environ.get("FSWIDGET_CHROMIUM") or shutil.which("chromium")
    with (
        tempfile.TemporaryDirectory() as folder,
        JupyterServer(Path(folder) / "lab") as server,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=executable, args=CHROMIUM_ARGS)
        yield Bench(browser, server)
        browser.close()


PARTS = ("contest", "audit", "kernel", "restart", "fresh", "heap", "cycles")


def main() -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--names", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--output", type=Path, help="default: RESULTS.md for a full run")
    options = parser.parse_args()
    with opened() as bench:
        if "contest" in options.parts:
            for index in range(options.rounds):
                for name in options.names:
                    # plotly takes a minute for a burst: once is enough to tell 20 from 1.
                    if name != "plotly" or index == 0:
                        bench.contest(name)
        for name in options.names if "audit" in options.parts else ():
            bench.audit(name)
        for name in ("bare", "fswidget") if "cycles" in options.parts else ():
            bench.cycles(name)
        for part, once in (
            ("kernel", bench.kernel_cost),
            ("restart", bench.restart),
            ("fresh", bench.fresh),
            ("heap", bench.heap),
        ):
            if part in options.parts:
                once()
        text = report(bench.samples)
    print(text)
    complete = len(options.parts) == len(PARTS) and len(options.names) == len(NAMES)
    output = options.output or (HERE / "RESULTS.md" if complete else None)
    if output:
        output.write_text(text, encoding="utf-8")
    if complete:
        history.keep("front", [(what, got, bar) for what, bar, got, _ in bars(bench.samples)])


if __name__ == "__main__":
    main()
