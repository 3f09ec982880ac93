"""Cost of the analysis against its floor, and how it grows; writes ``RESULTS-numbers.md``.

``python -m benchmarks.measures [--large] [--only errors,leading]``. Times are CPU seconds of one
thread, medians of alternating runs, so that a busy machine disturbs the ratios little. What is not
asked for anew stays in the page as it was.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from cka import cka_from_features

import fswidget as fs
from benchmarks import history
from benchmarks.samples import sample, trained

RESULTS = Path(__file__).parent / "RESULTS-numbers.md"


def cpu_seconds(work: dict[str, Callable[[], object]], repeats: int = 5) -> dict[str, float]:
    """Median CPU seconds of each, taken in turn."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(repeats + 1):
        for name, function in work.items():
            began = time.process_time()
            function()
            if turn:  # the first warms up
                times[name].append(time.process_time() - began)
    return {name: float(np.median(found)) for name, found in times.items()}


def against_the_floor(n: int = 5000, p: int = 512) -> list[str]:
    features, outputs, labels = sample(n, p)
    matrix = features.T @ features / n
    seconds = cpu_seconds(
        {
            "one ΦᵀΦ": lambda: features.T @ features,
            "one eigh": lambda: torch.linalg.eigh(matrix),
            "analyze, no errors": lambda: fs.analyze(features, outputs, labels, errors=False),
            "analyze": lambda: fs.analyze(features, outputs, labels),
            "thin SVD of Φ": lambda: torch.linalg.svd(features, full_matrices=False),
            "SVD of Φ as torch.linalg.svd(Φ) takes it": lambda: torch.linalg.svd(features),
            "CKA(Φ, f̂) by pytorch-cka": lambda: cka_from_features(features, outputs),
        },
    )
    drift = fs.analyze(
        features, outputs, labels, reference=outputs, debias=True, errors=False
    ).kernel_drift
    theirs = float(cka_from_features(features, outputs))
    floor = seconds["one ΦᵀΦ"] + seconds["one eigh"]
    plain = seconds["analyze, no errors"]
    rows = [f"| {name} | {1e3 * value:.0f} |" for name, value in seconds.items()]
    ratios = {
        "analyze without errors / (one ΦᵀΦ + one eigh)": (plain / floor, "≤ 1.5"),
        "torch.linalg.svd(Φ) / analyze without errors": (
            seconds["SVD of Φ as torch.linalg.svd(Φ) takes it"] / plain,
            "≥ 3",
        ),
        "thin SVD / analyze without errors": (seconds["thin SVD of Φ"] / plain, ""),
        "analyze with errors / without": (seconds["analyze"] / plain, "≤ 3"),
        "pytorch-cka's one number / analyze without errors": (
            seconds["CKA(Φ, f̂) by pytorch-cka"] / plain,
            "",
        ),
    }
    history.keep(
        "measures", [(name, f"{value:.2f}", bar) for name, (value, bar) in ratios.items() if bar]
    )
    return [
        f"## {FLOOR}\n",
        f"n = {n}, p = {p}, C = 10, float64.\n",
        "| step | CPU ms |",
        "|---|---|",
        *rows,
        "",
        "| ratio | measured | wanted |",
        "|---|---|---|",
        *(f"| {name} | {value:.2f} | {wanted} |" for name, (value, wanted) in ratios.items()),
        "",
        f"Debiased linear CKA(Φ, f̂): {1 - drift:.12f} from the moments, {theirs:.12f} from "
        "pytorch-cka.\n",
    ]


def with_errors(n: int, p: int, head: str = "trained") -> tuple[float, float]:
    """CPU seconds with error bars and without; k95 = 10, as after training, or of a random head."""
    features, outputs, labels = sample(n, p)
    data = trained(features, labels) if head == "trained" else (features, outputs, labels)
    work: dict[str, Callable[[], object]] = {
        "with": lambda: fs.analyze(*data),
        "without": lambda: fs.analyze(*data, errors=False),
    }
    found = cpu_seconds(work, repeats=11 if p < 2048 else 1)
    return found["with"], found["without"]


def errors(large: bool) -> list[str]:
    lines = [
        f"## {ERRORS}\n",
        "n = 5,000; a head that reads along the class means, as after training, uses few features, "
        "a random one most.\n",
        "| p | head | with, ms | without, ms | with / without | wanted |",
        "|---|---|---|---|---|---|",
    ]
    for p in (64, 512, 2048) if large else (64, 512):
        for head in ("trained", "random"):
            with_bars, without = with_errors(5000, p, head)
            ratio, bound = f"{with_bars / without:.2f}", "≤ 1.6" if p == 512 else ""
            times = f"{1e3 * with_bars:.0f} | {1e3 * without:.0f}"
            lines.append(f"| {p} | {head} | {times} | {ratio} | {bound} |")
            if bound:
                what = f"analyze with errors / without, {head} head"
                history.keep("measures", [(what, ratio, bound)])
    return [*lines, ""]


def growth() -> list[str]:
    lines = [f"## {GROWTH}\n", "| varied | CPU ms | fitted exponent |", "|---|---|---|"]
    for name, sizes, fixed in (
        ("p", (128, 256, 512, 1024), {"n": 4000}),
        ("n", (2000, 8000, 32000), {"p": 256}),
    ):
        found = []
        for size in sizes:
            data = sample(**{name: size}, **fixed)
            work = {"a": lambda data=data: fs.analyze(*data, errors=False)}
            found.append(cpu_seconds(work, repeats=2)["a"])
        exponent = np.polyfit(np.log(sizes), np.log(found), 1)[0]
        times = ", ".join(f"{s}: {1e3 * t:.0f}" for s, t in zip(sizes, found, strict=True))
        where = ", ".join(f"{key} = {value}" for key, value in fixed.items())
        lines.append(f"| {name} ({where}) | {times} | {exponent:.2f} |")
    return [*lines, ""]


def vocabularies() -> list[str]:
    """More outputs than samples, and than features."""
    found = {}
    for size in (100, 5000):
        generator = torch.Generator().manual_seed(0)
        features = torch.randn(200, 64, generator=generator)
        outputs = features @ torch.randn(64, size, generator=generator)
        data = features, outputs, torch.arange(200) % 50
        work = {"a": lambda data=data: fs.analyze(*data)}
        found[size] = cpu_seconds(work)["a"]
    alone = [sys.executable, "-c", _LARGE]
    large = subprocess.run(alone, check=True, capture_output=True, text=True).stdout
    ratio = found[5000] / found[100]
    times = ", ".join(f"C = {size}: {1e3 * t:.0f} ms" for size, t in found.items())
    return [
        f"## {OUTPUTS}\n",
        f"- n = 200, p = 64, with errors: {times}; {ratio:.1f} times as long.",
        f"- n = 4,096, p = 768, C = 50,257, a linear head, in a process of its own: {large}",
    ]


#: Prints CPU seconds and the most memory that the process took.
_LARGE = """
import resource, time, warnings
import torch
import fswidget as fs

torch.set_num_threads(1)
warnings.simplefilter("ignore")
features, weights = torch.randn(4096, 768), torch.randn(768, 50257) / 28
outputs = features @ weights
# As often as words are, by Zipf's law.
labels = torch.multinomial(1 / torch.arange(1.0, 50258), 4096, replacement=True)
del weights
before = time.process_time()
spectrum = fs.analyze(features, outputs, labels, errors=False)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
print(f"{time.process_time() - before:.0f} CPU s, {peak:.1f} GB, rank {spectrum.output_rank}")
"""


def leading(large: bool) -> list[str]:
    lines = [
        f"## {LEADING}\n",
        "Of features like those after a ReLU, and of ten class means in noise of one size in all "
        "directions, where the last of 40 lie in a flat bulk.\n",
        "| p | bulk | full, ms | cold, ms | warm, ms | full/cold | full/warm | worst ΔΠ̂ | k95 "
        "| path |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for p in (2048, 4096) if large else (2048,):
        lines += [leading_of(p, bulk) for bulk in ("decays", "flat")]
    return [*lines, ""]


def leading_of(p: int, bulk: str) -> str:
    features, _, labels = sample(2 * p, p)
    if bulk == "flat":
        generator = torch.Generator().manual_seed(1)
        noise = torch.randn(2 * p, p, generator=generator, dtype=torch.float64)
        features = 3 * torch.randn(10, p, generator=generator, dtype=torch.float64)[labels] + noise
    features, outputs, labels = trained(features, labels)
    moments = fs.FeatureMoments(p, 10, 10, num_blocks=1).update(features, outputs, labels)
    full = moments.spectrum()
    top = moments.spectrum(top=40)
    moved = fs.FeatureMoments(p, 10, 10, num_blocks=1)
    moved.update(features + 0.02 * features.roll(1, 1), outputs, labels)
    seconds = cpu_seconds(
        {
            "full": moments.spectrum,
            "cold": lambda: moments.spectrum(top=40),
            "warm": lambda: moved.spectrum(top=40, start=top.eigenvectors),
        },
        repeats=1,
    )
    size = len(top.eigenvalues)
    worst = abs(full.utilization[:size] - top.utilization).max()
    return (
        f"| {p} | {bulk} | {1e3 * seconds['full']:.0f} | {1e3 * seconds['cold']:.0f} "
        f"| {1e3 * seconds['warm']:.0f} | {seconds['full'] / seconds['cold']:.1f} "
        f"| {seconds['full'] / seconds['warm']:.1f} | {worst:.1e} "
        f"| {top.used_features} and {full.used_features} | {top.solver} |"
    )


def wide() -> list[str]:
    alone = [sys.executable, "-c", _WIDE]
    found = subprocess.run(alone, check=True, capture_output=True, text=True).stdout
    return [
        f"## {WIDE}\n",
        "`watch` of a layer of 8,192 features on 10,000 samples of 10 classes, with a head that "
        "reads along the class means, as after training, in a process of its own:\n",
        found,
    ]


#: Prints for each of two frames CPU seconds, and the most memory that the process took.
_WIDE = """
import resource, time
import torch
import fswidget as fs

def most():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6

torch.set_num_threads(1)
torch.manual_seed(0)
labels = torch.arange(10_000) % 10
inputs = 2 * torch.randn(10, 40)[labels] + torch.randn(10_000, 40)
model = torch.nn.Sequential(torch.nn.Linear(40, 8192), torch.nn.ReLU(), torch.nn.Linear(8192, 10))
with torch.no_grad():
    features = model[:2](inputs)
    means = torch.stack([features[labels == label].mean(0) for label in range(10)])
    model[2].weight.copy_(means - means.mean(0))
del features
before = most()
watch = fs.watch(model, inputs, labels)
for epoch in range(2):
    began = time.process_time()
    frame = watch.snapshot()
    seconds, measure = time.process_time() - began, frame.scalars["low_rank_measure"]
    print(f"- frame {epoch}: {seconds:.0f} CPU s, {most():.1f} GB ({before:.1f} before `watch`), "
          f"{frame.labels['solver']}, D_LR {measure:.3f}")
    with torch.no_grad():
        model[0].weight *= 1.01
"""


FLOOR, ERRORS, GROWTH = "Against the floor", "What error bars cost", "Growth"
OUTPUTS = "More outputs than samples or features"
WIDE = "A frame of 8,192 features"
LEADING = "Leading eigenpairs alone, against the full solve"
PARTS: dict[str, tuple[str, Callable[[bool], list[str]]]] = {
    "floor": (FLOOR, lambda large: against_the_floor()),
    "errors": (ERRORS, errors),
    "growth": (GROWTH, lambda large: growth()),
    "outputs": (OUTPUTS, lambda large: vocabularies()),
    "leading": (LEADING, leading),
    "wide": (WIDE, lambda large: wide()),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--large", action="store_true", help="error bars at 2,048 and p = 4,096: minutes"
    )
    parser.add_argument("--only", default=",".join(PARTS), help=f"of {','.join(PARTS)}")
    options = parser.parse_args()
    chosen = options.only.split(",")
    if unknown := sorted({*chosen} - {*PARTS}):
        parser.error(f"--only: {', '.join(unknown)}: must be of {', '.join(PARTS)}")
    torch.set_num_threads(1)
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    head = f"# Numbers: cost\n\n{machine}; one thread. Made by `python -m benchmarks.measures`.\n\n"
    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    kept = RESULTS.read_text().split("\n## ")[1:] if RESULTS.exists() else []
    sections = {section.split("\n", 1)[0]: f"## {section.rstrip()}\n" for section in kept}
    for part in chosen:
        title, measure = PARTS[part]
        lines = [*measure(options.large), f"{versions}, numpy {np.__version__}."]
        sections[title] = "\n".join(lines) + "\n"
        print(sections[title], flush=True)
        found = [sections[title] for title, _ in PARTS.values() if title in sections]
        RESULTS.write_text(head + "\n".join(found))


if __name__ == "__main__":
    main()
