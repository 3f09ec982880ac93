"""The figure of a sweep; needs no torch."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any, Protocol

from bokeh.models import ColorBar, ColumnDataSource, LinearColorMapper
from bokeh.palettes import Viridis256
from bokeh.plotting import figure

from fswidget.recording.recording import Recording
from fswidget.recording.regimes import regime_said
from fswidget.recording.scalars import SCALARS

_ONLY = "·"


class Run(Protocol):
    """What is drawn of a run: its settings, and the scalars and labels of its last frame."""

    @property
    def settings(self) -> Mapping[str, Any]: ...
    @property
    def scalars(self) -> Mapping[str, float]: ...
    @property
    def labels(self) -> Mapping[str, str]: ...
    @property
    def error(self) -> str: ...
    @property
    def recording(self) -> Recording | None: ...


def regime_map(
    axes: Mapping[str, Sequence[Any]],
    runs: Sequence[Run],
    value: str,
    x: str | None,
    y: str | None,
) -> figure:
    """The figure that `Sweep.figure` documents."""
    runs = [run for run in runs if not run.error]
    known = sorted({name for run in runs for name in run.scalars})
    if not runs:
        raise ValueError("figure: no run of the sweep went well; Sweep.failed says why")
    if value not in known:
        raise ValueError(f"value={value!r}: must be one of {', '.join(known)}")
    x, y = _choose(axes, x, y)
    cells: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        place = str(run.settings[x]), _ONLY if y is None else str(run.settings[y])
        cells.setdefault(place, []).append(run)
    rows = [{"x": a, "y": b, **_summary(cell, value)} for (a, b), cell in cells.items()]
    source = ColumnDataSource({name: [row[name] for row in rows] for name in rows[0]})

    unit, meaning = SCALARS.get(value, ("", value))
    finite = [row["mean"] for row in rows if math.isfinite(row["mean"])]
    # D_LR has a scale of its own; another number takes that of the sweep.
    low, high = (0, 1) if unit in ("D_LR", "fraction") else (min(finite), max(finite))
    mapper = LinearColorMapper(Viridis256, low=low, high=high, nan_color="lightgray")
    plot = figure(
        x_range=[str(v) for v in axes[x]],
        y_range=[_ONLY] if y is None else [str(v) for v in axes[y]],
        x_axis_label=x,
        y_axis_label=y or "",
        title=meaning,
        width=560,
        height=220 if y is None else 420,
        tools="save,hover",
        toolbar_location="above",
        tooltips=[
            (x, "@x"),
            *([] if y is None else [(y, "@y")]),
            (value, "@mean{0.000} ± @spread{0.000}"),
            ("regimes", "@regimes"),
            ("runs", "@runs"),
        ],
    )
    plot.grid.visible = False
    colour = {"field": "mean", "transform": mapper}
    plot.rect("x", "y", 1, 1, source=source, fill_color=colour, line_color="white")
    plot.text(
        "x",
        "y",
        text="label",
        source=source,
        text_align="center",
        text_baseline="middle",
        text_color="white",
        text_outline_color="black",
    )
    plot.add_layout(ColorBar(color_mapper=mapper, title=unit), "right")
    return plot


def _choose(
    axes: Mapping[str, Sequence[Any]], x: str | None, y: str | None
) -> tuple[str, str | None]:
    for name, given in (("x", x), ("y", y)):
        if given is not None and given not in axes:
            raise ValueError(f"{name}={given!r}: must be one of {', '.join(axes)}")
    # Seeds are to be averaged over, so they come last.
    order = sorted(axes, key=lambda name: (name == "seed", len(axes[name]) < 2))
    free = [name for name in order if name not in (x, y)]
    if x is None:
        x = free.pop(0)
    if y is None and free and free[0] != "seed" and len(axes[free[0]]) > 1:
        y = free[0]
    return x, y


def _regime(run: Run) -> str:
    all_needed = run.recording is not None and run.recording.info.all_needed
    # In letters there is no room to say that a label is kept.
    return regime_said(run.labels, all_needed).removeprefix("still ")


def _summary(cell: Sequence[Run], value: str) -> dict[str, Any]:
    numbers = [run.scalars.get(value, math.nan) for run in cell]
    counts = Counter(map(_regime, cell)).most_common()
    # A label that not all runs share is marked.
    return {
        "mean": fmean(numbers),
        "spread": stdev(numbers) if len(numbers) > 1 else math.nan,
        "runs": len(cell),
        "label": counts[0][0] + ("" if len(counts) == 1 else "*"),
        "regimes": ", ".join(f"{name} {count}" for name, count in counts),
    }
