"""``python -m fswidget.reproduction``: run the recipes and write what came out beside the paper.

What is finished is kept, so that a run that was interrupted goes on where it stopped. With
``--only-write`` nothing is trained, and the page is made again from the recordings that are kept
beside it.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from fswidget.experiments.catalogue import recipes
from fswidget.experiments.charts import Panel, line_charts
from fswidget.experiments.recipe import SIZES, Recipe, stored
from fswidget.experiments.results import Results, Verdict
from fswidget.experiments.small import small
from fswidget.recording.atomic import as_path, atomic_write
from fswidget.recording.loading import load_recording

#: Sizes that the page tells of, the telling one first.
SHOWN = ("desk", "laptop")

#: Bytes of a recording kept beside the page: its numbers and curves, seldom its points.
_KEPT_BYTES = 100_000

_INTRODUCTION = """# The paper's experiments, reported and measured

Written by `python -m fswidget.reproduction` from recordings; do not edit. `make tables` makes it \
again from those in `notebooks/recordings/runs`, and trains nothing.

Paper: arXiv 2410.04264. Its figures are quoted as secondary notes give them, and many details of \
its set-up are not known to us, so compare directions first and magnitudes second. The desk size \
takes whole data sets and networks that two cores train overnight; the laptop size a few hundred \
samples, in minutes.

D_LR is the low-rank measure, 0 rich to 1 lazy: the plain estimate on the probe, which is biased \
low where the probe has few samples per feature, as the paper's tables most likely are, and the \
debiased one with its jackknife error. k95 is the number of features that hold 95% of what the \
last layer uses; p the dimension of the feature map, n the size of the probe; S_init how far the \
kernel moved from the start (1 − CKA). "Train" and "test" are accuracy, or R² for a regression; \
train is measured on the probe. ± after the plain D_LR is the standard deviation over seeds. All \
numbers are of the last step. "Time" is wall time per run, and runs were made side by side.

A claim holds, or does not, where at least 95% of 400 bootstrap draws of the seeds say so, and \
three seeds are the least; else it is undecided.

"""


def report(stores: Sequence[str | os.PathLike[str]], figures: Path | None = None) -> str:
    """The whole page as Markdown, of what the stores hold by now.

    Parameters
    ----------
    stores : sequence of paths
        Folders of recordings; of several, the first that holds a run gives it.
    figures : path, optional
        Folder for one SVG per recipe and size, whose name the page's links begin with.
    """
    found = {
        (name, size): recipe.results(size, store=stores)
        for name, recipe in recipes.items()
        for size in SHOWN
    }
    verdicts = {
        (name, size): recipes[name].verdict(results, size) if recipes[name].runs(size) else []
        for (name, size), results in found.items()
    }
    lines = [_INTRODUCTION + f"| experiment | {' | '.join(SHOWN)} |", "|---" * 3 + "|"]
    for name, recipe in recipes.items():
        told = [_summary(verdicts[name, size]) for size in SHOWN]
        lines.append(f"| [{recipe.title}](#{name}) | {' | '.join(told)} |")
    for name, recipe in recipes.items():
        lines += ["", f'<a id="{name}"></a>', f"## {recipe.title}", "", recipe.claim]
        for size in SHOWN:
            results = found[name, size]
            if not recipe.runs(size):
                continue
            lines += ["", f"### At {size} size", "", *_section(recipe, results, size)]
            lines += recipe.study.lines(results)
            lines += [f"- {v.claim}: {_marked(v)}" for v in verdicts[name, size]]
            if figures is not None and results:
                figures.mkdir(parents=True, exist_ok=True)
                file = f"{name}-{size}.svg"
                drawn = (recipe.study.figure or partial(_history, recipe))(results)
                atomic_write(figures / file, drawn.encode())
                lines += ["", f"![{recipe.study.caption}]({figures.name}/{file})"]
        if recipe.note:
            lines += ["", recipe.note]
    return "\n".join(lines) + "\n"


def _summary(verdicts: Sequence[Verdict]) -> str:
    counts = {
        outcome: sum(verdict.outcome == outcome for verdict in verdicts)
        for outcome in ("holds", "does not hold", "undecided", "not measured")
    }
    words = {**counts, "hold": counts.pop("holds"), "do not hold": counts.pop("does not hold")}
    order = ("hold", "do not hold", "undecided", "not measured")
    return ", ".join(f"{words[word]} {word}" for word in order if words[word]) or "–"


def _marked(verdict: Verdict) -> str:
    return f"**{verdict.text}**" if verdict.outcome == "does not hold" else verdict.text


_HEADINGS = "arm | reported | D_LR | debiased | train | test | k95 / p (n) | S_init | regime"
_HEADINGS += " | epochs | seeds | time | device"


def _section(recipe: Recipe, results: Results, size: str) -> list[str]:
    """The table of a recipe in a size, and what its first run is."""
    table = recipe.table(results)
    rows = [dict(zip(table, values, strict=True)) for values in zip(*table.values(), strict=True)]
    lines = [f"| {_HEADINGS} |", "|---" * (_HEADINGS.count("|") + 1) + "|"]
    for row in rows:
        arm = recipe.arms[row["arm"]]
        if arm.config(size) is not None:
            regression = arm.example.source.class_names is None
            lines.append(f"| {' | '.join(_cells(row, regression))} |")
    _, example = recipe.runs(size, 1)[0]
    trained = f"{example.source.sizes(example)[0]:,}"
    lines += [
        "",
        f"Runs: `fs.recipes[{recipe.name!r}].runs({size!r})`; first arm: {example.model}, "
        f"p = {example.width}, {example.dataset}, {trained} training samples, {example.loss}.",
        "",
    ]
    return lines


def _cells(row: Mapping[str, Any], regression: bool) -> list[str]:
    named = [row["arm"], row["reported"] or "–"]
    if not row["seeds"]:
        return [*named, *["–"] * 8, "0", "–", "–"]

    def told(name: str, form: str) -> str:
        return "–" if row[name] is None else form.format(row[name])

    spread, error = "low_rank_measure_spread", "low_rank_measure_debiased_error"
    score = "{:.2f}" if regression else "{:.1%}"
    long = row["seconds"] is not None and row["seconds"] >= 120
    return [
        *named,
        told("low_rank_measure", "{:.3f}") + (f" ± {row[spread]:.3f}" if row[spread] else ""),
        told("low_rank_measure_debiased", "{:.3f}")
        + (f" ± {row[error]:.3f}" if row[error] else ""),
        told("train", score),
        told("test", score),
        f"{row['used_features']:.4g} / {row['num_features']} ({row['num_samples']})",
        told("kernel_drift", "{:.2f}"),
        row["regime"],
        told("epochs", "{:.4g}"),
        str(row["seeds"]),
        f"{row['seconds'] / 60:.0f} min" if long else told("seconds", "{:.0f} s"),
        told("device", "{}"),
    ]


def _history(recipe: Recipe, results: Results) -> str:
    """An SVG of D_LR, k95 and the score against the epoch, a line per arm (its first seed)."""
    tables = {label: recordings[0].table() for label, recordings in results.items()}
    scores = {"test_accuracy": "test accuracy", "test_r2": "test R²"}
    name = next(n for n in scores if any(n in table for table in tables.values()))
    panels = [
        Panel("low_rank_measure", "D_LR", marks=_reported(recipe, results)),
        Panel("used_features", "k95", height=100, unit=False),
        Panel(name, scores[name], height=100),
    ]
    return line_charts(tables, recipe.title, panels)


def _reported(recipe: Recipe, results: Results) -> dict[str, float]:
    """The values of D_LR that the paper gives, by their label; near ones share a line."""
    found = (re.findall(r"D_LR (\.\d+)", recipe.arms[arm].reported) for arm in results)
    marks: list[list[str]] = []
    for text in sorted({text for texts in found for text in texts}, key=float):
        if marks and float(text) - float(marks[-1][-1]) < 0.06:
            marks[-1].append(text)
        else:
            marks.append([text])
    return {f"reported {', '.join(texts)}": sum(map(float, texts)) / len(texts) for texts in marks}


def keep(store: str | os.PathLike[str], kept: str | os.PathLike[str]) -> list[Path]:
    """Copy what `store` holds of the recipes to `kept`, small; return the files written."""
    written = []
    for recipe in recipes.values():
        for size in SHOWN:
            for _, config in recipe.runs(size):
                path, target = stored(config, store), stored(config, kept)
                if path.exists() and not target.exists():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    content = small(load_recording(path), _KEPT_BYTES)
                    written.append(atomic_write(target, content))
    return written


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m fswidget.reproduction", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("names", nargs="*", help=f"of {', '.join(recipes)}; all if none is given")
    parser.add_argument("--size", choices=SIZES, default="laptop")
    parser.add_argument("--root", help="folder of the data sets (or FSWIDGET_DATA)")
    parser.add_argument("--download", action="store_true", help="fetch missing data sets there")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--store", default=".reproduce", help="where runs are kept whole")
    parser.add_argument(
        "--kept", default="notebooks/recordings/runs", help="recordings that came with the page"
    )
    parser.add_argument("--keep", action="store_true", help="copy runs there from the store, small")
    parser.add_argument("--workers", type=int, default=1, help="runs side by side")
    parser.add_argument("--output", type=Path, default=Path("notebooks/reproduction.md"))
    parser.add_argument("--only-write", action="store_true", help="train nothing")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 0 if every recipe asked for is complete."""
    parser = _parser()
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.names) - set(recipes))
    if unknown:
        parser.error(f"names: {', '.join(unknown)}: must be of {', '.join(recipes)}")
    stores = (options.store, options.kept)
    status = 0
    asked = options.names or [name for name, recipe in recipes.items() if recipe.runs(options.size)]
    for name in [] if options.only_write else asked:
        print(f"{name}: {recipes[name].title}", flush=True)
        try:
            recipes[name].run(
                options.size,
                root=options.root,
                download=options.download,
                device=options.device,
                store=options.store,
                workers=options.workers,
            )
        except (OSError, ValueError, RuntimeError) as error:
            # One missing data set must not cost the other experiments.
            print(f"{name}: {error}", file=sys.stderr)
            status = 1
        _write(options.output, stores)
    if options.keep:
        print(f"kept {len(keep(options.store, options.kept))} recordings in {options.kept}")
    _write(options.output, stores)
    print(options.output)
    return status


def _write(output: Path, stores: Sequence[str]) -> None:
    output.parent.mkdir(parents=True, exist_ok=True)
    page = report(stores, output.with_suffix(""))
    atomic_write(as_path(output), page.encode())


if __name__ == "__main__":
    sys.exit(main())
