"""What vocabularies cost: many more outputs than samples or features; writes
``RESULTS-vocabularies.md``.

``python -m benchmarks.vocabularies``: a snapshot of `watch` with 5,000 outputs against one with
100, of 200 samples, and the most memory that a head of 50,257 takes, each in a process of its own
with its network. CPU seconds of one thread, medians of runs in turn. ``benchmarks.measures`` has
the same of `analyze`.
"""

from __future__ import annotations

import platform
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

import fswidget as fs
from benchmarks import history

RESULTS = Path(__file__).parent / "RESULTS-vocabularies.md"
SAMPLES, FEATURES = 200, 64
#: Bars: how many times as long, and gigabytes.
TIMES, GIGABYTES = 2.0, 4.0

#: Prints CPU seconds of each of two snapshots and the most memory the process took, in GB.
_WATCHED = """
import resource, sys, time, warnings
import torch
import fswidget as fs

torch.set_num_threads(1)
warnings.simplefilter("ignore")
words = 50_257
model = torch.nn.Sequential(torch.nn.Linear(64, 768), torch.nn.ReLU(), torch.nn.Linear(768, words))
often = 1 / torch.arange(1.0, words + 1) if sys.argv[1] == "Zipf" else torch.ones(words)
targets = torch.multinomial(often, 4096, replacement=True)
probe, times = fs.watch(model, torch.randn(4096, 64), targets), []
for epoch in range(2):
    before = time.process_time()
    frame = probe.snapshot(epoch=epoch)
    times.append(time.process_time() - before)
    with torch.no_grad():
        model[0].weight += 0.01 * torch.randn(768, 64)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9  # Linux counts in KiB
print(*times, peak, int(frame.scalars["output_rank"]), len(targets.unique()))
"""


def alone(code: str, *arguments: str) -> list[float]:
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [float(number) for number in done.stdout.split()]


def in_turn(work: dict[int, Callable[[], object]], repeats: int = 7) -> dict[int, float]:
    """Median CPU milliseconds of each, taken in turn; the first of each warms up."""
    times: dict[int, list[float]] = {size: [] for size in work}
    for _ in range(repeats + 1):
        for size, function in work.items():
            began = time.process_time()
            function()
            times[size].append(1e3 * (time.process_time() - began))
    return {size: float(np.median(found[1:])) for size, found in times.items()}


def growth() -> list[str]:
    """5,000 outputs against 100, of a network that is watched."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(SAMPLES, FEATURES, generator=generator)
    targets = torch.arange(SAMPLES) % 50

    def watched(size: int) -> Callable[[], object]:
        torch.manual_seed(0)
        probe = fs.watch(nn.Sequential(nn.Tanh(), nn.Linear(FEATURES, size)), features, targets)
        return probe.snapshot

    found = in_turn({size: watched(size) for size in (100, 5000)})
    ratio = found[5000] / found[100]
    bar = ("a snapshot with errors, C = 5,000 against 100", f"{ratio:.2f}", f"≤ {TIMES:g}")
    history.keep("vocabularies", [bar])
    return [f"| {found[100]:.0f} | {found[5000]:.0f} | {ratio:.2f} | ≤ {TIMES:g} |"]


def memory() -> list[str]:
    lines = []
    for labels in ("Zipf", "uniform"):
        first, second, peak, rank, classes = alone(_WATCHED, labels)
        lines.append(
            f"| watch, {labels} labels, {classes:,.0f} classes there | {first:.0f} and {second:.0f}"
            f" | {rank:.0f} | {peak:.2f} | < {GIGABYTES:g} |"
        )
        history.keep("vocabularies", [(f"GB of watch, {labels} labels", f"{peak:.2f}", "< 4")])
    return lines


def main() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    lines = [
        "# More outputs than samples or features\n",
        f"One thread of {platform.machine()}, torch {torch.__version__}. "
        "Made by `python -m benchmarks.vocabularies`.\n",
        f"n = {SAMPLES}, p = {FEATURES}, with errors, CPU ms:\n",
        "| C = 100 | C = 5,000 | times as long | bar |",
        "|---|---|---|---|",
        *growth(),
        "\nn = 4,096, p = 768, C = 50,257, a linear head, the whole process with its network:\n",
        "| | CPU s of a snapshot | rank of the outputs | most GB | bar |",
        "|---|---|---|---|---|",
        *memory(),
    ]
    RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(RESULTS.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
