"""The benchmark's view of a page: what was painted when, and what it cost."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from playwright.sync_api import Browser

from tests.benchmarks.frontend.contest import DONE
from tests.browser.jupyter import JupyterServer, Notebook, wait_until

ROOT = Path(__file__).resolve().parents[3]
SETUP = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from tests.benchmarks.frontend.contest import Contest, KernelCost
"""


class Session:
    """A fresh page with a notebook and a kernel, for one measurement."""

    def __init__(
        self, browser: Browser, server: JupyterServer, name: str, cells: Sequence[str]
    ) -> None:
        # High enough that every panel is in sight: what is out of sight is not drawn.
        context = browser.new_context(viewport={"width": 1400, "height": 2200})
        context.add_init_script(path=Path(__file__).with_name("page.js"))
        self.page = context.new_page()
        self.page.set_default_timeout(120_000)
        file = f"{name}-{time.time_ns()}.ipynb"
        self.notebook = Notebook(self.page, server, server.write(file, cells))
        self.notebook.sidebar(shown=False)
        self.notebook.run_all()
        self.kernel = server.kernel(file)
        self.devtools = context.new_cdp_session(self.page)
        # Time on the processor, not on the clock: other programs on the machine do not count.
        self.devtools.send("Performance.enable", {"timeDomain": "threadTicks"})

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.notebook.command("kernelmenu:shutdown")
        self.kernel.__exit__(kind, error, trace)
        self.page.context.close()

    def display(self, code: str = "contest.display()", timeout: float = 120) -> None:
        """Show the contestant at the notebook's end and wait for its first frame."""
        self.notebook.run_code(code)
        self.wait_painted(0, timeout)

    def wait_painted(self, number: int, timeout: float = 120) -> None:
        """Wait until a frame, or a later one, was painted."""
        self.page.wait_for_function(
            f"window.bench.newest() >= {number}", polling=100, timeout=timeout * 1000
        )

    def log(self) -> dict[int, float]:
        """When each frame was first painted, in seconds since 1970."""
        entries: list[tuple[int, float, str]] = self.page.evaluate("window.bench.log")
        return {number: at / 1000 for number, at, _ in reversed(entries)}

    def first_frame(self, act: str, *arguments: int) -> float:
        """Seconds from an act, which says when it was and which run was on show, to the first
        painted frame of another run."""
        began, run = self.page.evaluate(act, *arguments)
        self.page.wait_for_function(
            f"window.bench.log.some(([, at, run]) => run !== {run!r} && at > {began})"
        )
        log = self.page.evaluate("window.bench.log")
        shown: float = next(at for _, at, other in log if other != run and at > began)
        return (shown - began) / 1000

    def settle(self, seconds: float = 1.0) -> None:
        """Let the page come to rest: no task longer than the measurement itself for a while."""
        self.page.evaluate(
            """seconds => new Promise(done => {
                let quiet = performance.now();
                const end = quiet + 20_000;
                let last = quiet;
                const look = () => {
                    const now = performance.now();
                    if (now - last > 80) quiet = now;
                    last = now;
                    if (now - quiet > seconds * 1000 || now > end) done();
                    else setTimeout(look, 20);
                };
                look();
            })""",
            seconds,
        )

    def main_thread(self) -> dict[str, float]:
        """Seconds of processor time that the page's main thread has used: in all, in scripts."""
        metrics = self.metrics()
        return {name: metrics[f"{name}Duration"] for name in ("Task", "Script")}

    def metrics(self) -> dict[str, float]:
        """The page's counters: documents, nodes, listeners, durations."""
        answer: Any = self.devtools.send("Performance.getMetrics")
        return {entry["name"]: entry["value"] for entry in answer["metrics"]}

    def heap(self) -> float:
        """Bytes that are alive after garbage collection, array buffers included."""
        for _ in range(3):
            self.devtools.send("HeapProfiler.collectGarbage")
        usage: Any = self.devtools.send("Runtime.getHeapUsage")
        return float(usage["usedSize"] + usage.get("backingStorageSize", 0))

    def drive(self, call: str, timeout: float = 180) -> dict[str, Any]:
        """Begin something in the kernel and wait until it has handed all frames over."""
        self.kernel.evaluate(call)
        done = self.notebook.server.work / DONE
        wait_until(done.is_file, call, timeout)
        result: dict[str, Any] = json.loads(done.read_text(encoding="utf-8"))
        return result
