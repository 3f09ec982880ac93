"""How often `fswidget.recording.difference` is right: ``python -m benchmarks.differences``.

Groups of runs without a difference, whose numbers vary between seeds and between the samples that
they are measured on. Beside Student's t, which `difference` takes, the bootstrap over both factors.
The table goes to ``RESULTS-differences.md``. Two minutes.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np

from fswidget.recording import difference

RESULTS = Path(__file__).parent / "RESULTS-differences.md"
SEEDS = (3, 5, 10)
ERRORS = (0.0, 0.3, 1.0, 3.0)  # of the samples, beside a spread of 1 between seeds
PROBES = {
    "one for each group": "group",
    "one for each run": "run",
    "one for each seed, in both groups": "seed",
    "one for all": "all",
}
_BLOCKS = 8
_AGAIN = 400

NOTES = """\
Share of intervals that hold the difference, which is 0: Student's t / the bootstrap over both
factors (Schütt et al. 2023: seeds drawn again, samples by their jackknife error; percentiles). The
seeds of a group spread by 1, and the jackknife knows the samples' error from eight blocks.
Wanted: 93 to 97%. Where a group shares its samples, as the interval supposes, Student's t is there;
the bootstrap is too narrow, most of all for three seeds. Where each run or seed has samples of its
own, or both groups the same, the samples' part is counted twice or cancels, and the interval is too
wide: it then finds no difference where there is a small one, and hardly ever one where there is
none."""


def groups(
    rng: np.random.Generator, seeds: int, error: float, probe: str
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Numbers and errors of two groups."""
    shape = {"group": (2, 1), "run": (2, seeds), "seed": (1, seeds), "all": (1, 1)}[probe]
    samples = np.broadcast_to(error * rng.normal(size=shape), (2, seeds))
    known = error * np.sqrt(rng.chisquare(_BLOCKS - 1, shape) / (_BLOCKS - 1))
    values = samples + rng.normal(size=(2, seeds))
    return list(zip(values, np.broadcast_to(known, (2, seeds)), strict=True))


def bootstrap(rng: np.random.Generator, found: list[tuple[np.ndarray, np.ndarray]]) -> bool:
    """Whether the percentile interval holds 0."""
    means = [v[rng.integers(0, len(v), (_AGAIN, len(v)))].mean(1) for v, _ in found]
    spread = math.sqrt(sum(float(np.mean(known**2)) for _, known in found))
    drawn = means[1] - means[0] + spread * rng.normal(size=_AGAIN)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return bool(low <= 0 <= high)


def coverage(seeds: int, error: float, probe: str, draws: int) -> tuple[float, float]:
    rng = np.random.default_rng(0)
    hits = []
    for _ in range(draws):
        found = groups(rng, seeds, error, probe)
        runs = [[{"x": x, "x_error": e} for x, e in zip(*group, strict=True)] for group in found]
        told = difference(*runs, "x")
        hits.append((told.low <= 0 <= told.high, bootstrap(rng, found)))
    first, second = np.mean(hits, 0)
    return float(first), float(second)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=2000)
    draws = parser.parse_args().draws
    head = " | ".join(f"{seeds} seeds" for seeds in SEEDS)
    lines = [f"| samples | their error | {head} |", "|---|---|" + "---|" * len(SEEDS)]
    for name, probe in PROBES.items():
        for error in ERRORS if probe == "group" else ERRORS[1:]:
            cells = (coverage(seeds, error, probe, draws) for seeds in SEEDS)
            told = " | ".join(f"{t:.1%} / {b:.1%}" for t, b in cells)
            lines.append(f"| {name} | {error:g} | {told} |")
    title = f"# Differences: coverage of the 95% interval ({draws:,} draws)\n"
    text = "\n".join([title, *lines, "", NOTES]) + "\n"
    RESULTS.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
