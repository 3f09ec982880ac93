"""The measurements as a table, and which bars they hold."""

from __future__ import annotations

import importlib.util
import math
import os
import platform
import statistics
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from . import payload

NAMES = ("canvas", "bokehjs", "plotly", "fswidget")
CPU_INFO = Path("/proc/cpuinfo")

#: What was measured: contestant and quantity to one value a round.
Samples = dict[tuple[str, str], list[float]]


def bars(samples: Samples) -> list[tuple[str, str, str, bool]]:
    """Each bar: what, target, measured, whether it holds. Bars without a measurement are left out.

    Values are medians over the rounds.
    """

    def value(name: str, quantity: str) -> float:
        return statistics.median(samples.get((name, quantity), [math.nan]))

    def ratio(quantity: str, name: str = "fswidget", other: str = "bokehjs") -> float:
        return value(name, quantity) / value(other, quantity)

    painted = value("fswidget", "painted of 200 at 10 Hz")
    size = value("fswidget", "kB/frame")
    restart = value("fswidget", "release to first frame s")
    restart -= value("fswidget", "training to first frame s")
    begin = value("fswidget", "Start to first frame s")
    begin -= value("fswidget", "training to Start's first frame s")
    fresh = value("fswidget", "Explorer() to first frame s")
    fresh -= value("bare loop", "to the same frame s")
    growth = value("fswidget", "heap growth MB")
    growth /= value("fswidget", "recording of 2,000 frames MB")
    sooner = ratio("burst of 200 s", "plotly", "fswidget")
    rows: list[tuple[str, str, float, str, Callable[[float], bool]]] = [
        (
            "burst of 200 frames until the newest is on screen, against minimal BokehJS",
            "≤ 0.75 ×",
            ratio("burst of 200 s"),
            "{:.2f} ×",
            lambda x: x <= 0.75,
        ),
        ("the same, sooner than plotly", "≥ 20 ×", sooner, "{:.0f} ×", lambda x: x >= 20),
        (
            "frames painted of 200 at 10 Hz",
            "≥ 195",
            painted,
            "{:.0f}",
            lambda x: x >= 195,
        ),
        (
            "main thread per frame at 10 Hz, against minimal BokehJS",
            "≤ 0.8 ×",
            ratio("main thread ms/frame"),
            "{:.2f} ×",
            lambda x: x <= 0.8,
        ),
        (
            "kernel's time per frame, against a bare send of the same bytes",
            "≤ 2 ×",
            ratio("kernel ms/frame", other="bare send"),
            "{:.2f} ×",
            lambda x: x <= 2,
        ),
        ("bytes per frame", "≤ 60 kB", size, "{:.1f} kB", lambda x: x <= 60),
        (
            "display to first paint, against minimal BokehJS",
            "≤ 1.5 ×",
            ratio("first paint s"),
            "{:.2f} ×",
            lambda x: x <= 1.5,
        ),
        (
            "slider released to first frame of the new run, beyond the training's own time",
            "≤ 0.5 s",
            restart,
            "{:.2f} s",
            lambda x: x <= 0.5,
        ),
        (
            "Start pressed to first frame, beyond the training's own time",
            "≤ 0.5 s",
            begin,
            "{:.2f} s",
            lambda x: x <= 0.5,
        ),
        (
            "Explorer() in a new kernel to first frame, beyond a bare loop there",
            "≤ 1.5 s",
            fresh,
            "{:.2f} s",
            lambda x: x <= 1.5,
        ),
        (
            "heap growth over 2,000 frames, against the recording's size",
            "≤ 2 ×",
            growth,
            "{:.2f} ×",
            lambda x: x <= 2,
        ),
        (
            "listeners left after 50 displays and closes, beyond those of a bare widget",
            "≤ 10",
            value("fswidget", "listeners after 50 cycles")
            - value("bare", "listeners after 50 cycles"),
            "{:.0f}",
            lambda x: x <= 10,
        ),
        (
            "heap left by one display and close, beyond that of a bare widget with the same data",
            "≤ 0.5 MB",
            (
                value("fswidget", "heap after 50 cycles MB")
                - value("bare", "heap after 50 cycles MB")
            )
            / 50,
            "{:.2f} MB",
            lambda x: x <= 0.5,
        ),
    ]
    return [
        (what, target, form.format(measured), holds(measured))
        for what, target, measured, form, holds in rows
        if not math.isnan(measured)
    ]


def report(samples: Samples) -> str:
    """The results as Markdown."""
    lines = [
        "# The live view against its peers",
        "",
        "Written by `python -m tests.benchmarks.front` (`make bench`). Medians; a bar is a ratio",
        "of contestants measured in turn in one run, in a real JupyterLab in headless Chromium.",
        "Times of threads are processor time.",
        f"A frame: a spectrum of {payload.NUM_FEATURES} eigenvalues, two curves with errors,",
        f"{payload.NUM_SHOWN:,} samples on {payload.NUM_EIGENFUNCTIONS} eigenfunctions, 12",
        "scalars and 4 layers. The peers draw four plain figures of it; fswidget draws all its",
        "panels.",
        "",
        machine(),
        "",
        "| bar | target | measured | holds |",
        "|---|---|---|---|",
        *(
            f"| {what} | {target} | {measured} | {'yes' if holds else '**no**'} |"
            for what, target, measured, holds in bars(samples)
        ),
        "",
        "| quantity | " + " | ".join(NAMES) + " |",
        "|---|" + "---|" * len(NAMES),
    ]
    quantities = dict.fromkeys(quantity for _, quantity in samples)
    for quantity in quantities:
        cells = []
        for name in NAMES:
            values = samples.get((name, quantity))
            cells.append(spread(values) if values else "")
        lines.append(f"| {quantity} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def spread(values: list[float]) -> str:
    """A median, with the least and the largest where they differ."""
    median = f"{statistics.median(values):.3g}"
    if min(values) == max(values):
        return median
    return f"{median} ({min(values):.3g}–{max(values):.3g})"


def machine() -> str:
    """What it was measured on, in one paragraph."""
    model = next(
        (
            line.split(":")[1].strip()
            for line in CPU_INFO.read_text().splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    names = ("anywidget", "bokeh", "jupyterlab", "plotly")
    here = [name for name in names if importlib.util.find_spec(name)]
    versions = ", ".join(f"{name} {version(name)}" for name in here)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"Machine: {os.cpu_count()} cores ({model}), {platform.system()}, Python "
        f"{platform.python_version()}, {versions}. Load average at the end: {load}."
    )
