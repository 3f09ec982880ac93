"""``python -m fswidget.reproduction``: run the recipes and write what came out beside the paper.

What is finished is kept, so that a run that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import ArrayLike

from fswidget.experiments.catalogue import recipes
from fswidget.experiments.recipe import SIZES, Recipe, Results
from fswidget.recording.atomic import as_path, atomic_write

# Okabe and Ito's colours, told apart by the colour-blind too.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")


_INTRODUCTION = """# The paper's experiments, reported and measured

Written by `python -m fswidget.reproduction` from the runs in its store; do not edit.

Paper: arXiv 2410.04264. Its figures are quoted as secondary notes give them, and many details of \
its set-up are not known to us, so compare directions first and magnitudes second. D_LR is the \
low-rank measure, 0 rich to 1 lazy; k95 the number of features that hold 95% of what the last \
layer uses; p the dimension of the feature map; S_init how far the kernel moved from the start \
(1 − CKA). "Test" is accuracy, or R² for a regression. ± is the standard deviation over seeds. All \
numbers are of the last step, measured on training samples.

"""


def report(size: str, store: str | os.PathLike[str], figures: Path | None = None) -> str:
    """The whole page as Markdown, of what `store` holds by now.

    Parameters
    ----------
    size : {"laptop", "desk", "full"}
    store : path
    figures : path, optional
        Folder for one SVG a recipe, whose name the page's links begin with.
    """
    found = {name: recipe.results(size, store=store) for name, recipe in recipes.items()}
    lines = [_INTRODUCTION + f"Size: {size}.", "", "| experiment | claims that hold |", "|---|---|"]
    for name, recipe in recipes.items():
        verdicts = [holds for _, holds in recipe.verdict(found[name])]
        told = f"{sum(map(bool, verdicts))} of {len(verdicts)}"
        missing = None in verdicts
        lines.append(f"| [{recipe.title}](#{name}) | {'not complete' if missing else told} |")
    for name, recipe in recipes.items():
        lines += ["", f'<a id="{name}"></a>', f"## {recipe.title}", "", recipe.claim, ""]
        lines += _section(recipe, found[name], size)
        if figures is not None and found[name]:
            figures.mkdir(parents=True, exist_ok=True)
            atomic_write(figures / f"{name}.svg", _history(recipe, found[name]).encode())
            lines += ["", f"![D_LR against step: {recipe.title}]({figures.name}/{name}.svg)"]
    return "\n".join(lines) + "\n"


def _section(recipe: Recipe, results: Results, size: str) -> list[str]:
    table = recipe.table(results)
    rows = [dict(zip(table, values, strict=True)) for values in zip(*table.values(), strict=True)]
    lines = ["| arm | reported | D_LR | test | k95 / p | S_init | regime | seeds |"]
    lines.append("|" + "---|" * 8)
    for row in rows:
        cells = ["–"] * 5
        if row["seeds"]:
            spread = f" ± {row['low_rank_measure_spread']:.3f}" if row["seeds"] > 1 else ""
            test, score = row["test"], recipe.arms[row["arm"]].example.source.class_names
            cells = [
                f"{row['low_rank_measure']:.3f}{spread}",
                f"{test:.2f}" if score is None else f"{test:.1%}",
                f"{row['used_features']:.4g} / {row['num_features']}",
                f"{row['kernel_drift']:.2f}",
                row["regime"],
            ]
        cells = [row["arm"], row["reported"] or "–", *cells, str(row["seeds"])]
        lines.append("| " + " | ".join(cells) + " |")
    lines.append("")
    for claim, holds in recipe.verdict(results):
        mark = {True: "holds", False: "**does not hold**", None: "not measured yet"}[holds]
        lines.append(f"- {claim}: {mark}")
    if recipe.note:
        lines += ["", recipe.note]
    _, example = next(iter(recipe.runs(size, 1)), ("", None))
    if example is None:
        return lines
    trained = f"{example.source.sizes(example)[0]:,}"
    lines += [
        "",
        f"Runs: `fs.recipes[{recipe.name!r}].runs({size!r})`; first arm: {example.model}, ",
    ]
    lines[-1] += (
        f"p = {example.width}, {example.dataset}, {trained} training samples, {example.loss}."
    )
    return lines


def _history(recipe: Recipe, results: Results) -> str:
    """An SVG of D_LR against the step, one line per arm (its first seed)."""
    series = {}
    for label, recordings in results.items():
        table = recordings[0].table()
        series[label] = (table["step"], table["low_rank_measure"])
    return svg_lines(series, recipe.title)


def svg_lines(series: Mapping[str, tuple[ArrayLike, ArrayLike]], title: str) -> str:
    """A line chart as SVG: steps to the right, values from 0 to 1 upwards.

    Parameters
    ----------
    series : mapping of label to (steps, values)
    title : str
    """
    width, height, left, top, right, bottom = 720, 300, 46, 30, 230, 40
    inner, tall = width - left - right, height - top - bottom
    last = max((float(np.max(steps)) for steps, _ in series.values()), default=1.0)
    scale = inner / max(last, 1.0)

    def place(step: float, value: float) -> str:
        return f"{left + step * scale:.1f},{top + (1 - value) * tall:.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{left}" y="18" font-weight="bold">{escape(title)}</text>',
        f'<text x="{left + inner / 2:.0f}" y="{height - 6}" text-anchor="middle">step</text>',
        f'<text x="4" y="{top - 8}">D_LR</text>',
    ]
    for value in (0, 0.25, 0.5, 0.75, 1):
        y = top + (1 - value) * tall
        parts.append(f'<path d="M{left} {y:.1f}h{inner}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    for step in np.linspace(0, last, 5):
        x, y = left + step * scale, top + tall + 16
        parts.append(f'<text x="{x:.1f}" y="{y}" text-anchor="middle">{step:.0f}</text>')
    for index, (label, (steps, values)) in enumerate(series.items()):
        colour = _COLOURS[index % len(_COLOURS)]
        pairs = zip(np.asarray(steps, float), np.asarray(values, float), strict=True)
        points = " ".join(place(s, v) for s, v in pairs if np.isfinite(v))
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.8"/>'
        )
        y = top + 12 + 18 * index
        parts.append(
            f'<path d="M{left + inner + 12} {y - 4}h18" stroke="{colour}" stroke-width="3"/>'
        )
        parts.append(f'<text x="{left + inner + 36}" y="{y}">{escape(label)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 0 if every recipe asked for is complete."""
    parser = argparse.ArgumentParser(
        prog="python -m fswidget.reproduction", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("names", nargs="*", help=f"of {', '.join(recipes)}; all if none is given")
    parser.add_argument("--size", choices=SIZES, default="laptop")
    parser.add_argument("--root", help="folder of the data sets (or FSWIDGET_DATA)")
    parser.add_argument("--download", action="store_true", help="fetch missing data sets there")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--store", default=".reproduce", help="where runs are kept")
    parser.add_argument("--output", type=as_path, default=Path("notebooks/reproduction.md"))
    parser.add_argument("--only-write", action="store_true", help="train nothing")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.names) - set(recipes))
    if unknown:
        parser.error(f"names: {', '.join(unknown)}: must be of {', '.join(recipes)}")
    status = 0
    for name in [] if options.only_write else options.names or list(recipes):
        print(f"{name}: {recipes[name].title}", flush=True)
        try:
            recipes[name].run(
                options.size,
                root=options.root,
                download=options.download,
                device=options.device,
                store=options.store,
            )
        except (OSError, ValueError, FloatingPointError) as error:
            # One missing data set must not cost the other experiments.
            print(f"{name}: {error}", file=sys.stderr)
            status = 1
        _write(options.output, options.size, options.store)
    _write(options.output, options.size, options.store)
    print(options.output)
    return status


def _write(output: Path, size: str, store: str) -> None:
    output.parent.mkdir(parents=True, exist_ok=True)
    page = report(size, store, output.with_suffix(""))
    atomic_write(output, page.encode())


if __name__ == "__main__":
    sys.exit(main())
