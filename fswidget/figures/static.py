"""The declared figures filled with one frame of a recording, for print."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from bokeh.models import BoxAnnotation, ColumnDataSource, Legend, LegendItem, Plot
from numpy.typing import NDArray

from fswidget.figures import templates
from fswidget.figures.theme import (
    CLASS_COLORS,
    CLASS_MARKERS,
    COLORS,
    FLOOR,
    STRIP,
    THEMES,
    VALUE_COLORS,
    label,
)
from fswidget.recording.frame import Frame
from fswidget.recording.recording import Recording

#: What is drawn of a number, at most: beyond it, ranges and their margins overflow.
_LARGEST = 1e100

#: Width of a figure between its axes, in pixels, as `figures.figure` makes it.
_WIDTH = 480


SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def _fill(plot: Plot, source: str, **columns: Any) -> None:
    found = plot.select_one({"name": source})
    found.data = {name: list(values) for name, values in columns.items()}


def _span(plot: Plot, name: str, start: float, end: float) -> None:
    found = plot.select_one({"name": f"range:{name}"})
    found.start, found.end = float(start), float(end)


def _log_span(plot: Plot, name: str, start: float, end: float) -> None:
    """A logarithmic range; its ticks are powers of ten, and more where those are few."""
    _span(plot, name, start, end)
    decades = math.log10(end / start)
    powers = np.arange(math.floor(math.log10(start)), math.log10(end) + 1e-9)
    digits = [1, 2, 5] if decades < 2 else [1]
    ticks = np.outer(10.0 ** powers[powers % math.ceil(decades / 5) == 0], digits).ravel()
    kept = ticks[(ticks >= start * 0.999) & (ticks <= end * 1.001)]
    plot.select_one({"name": f"ticks:{name}"}).ticks = kept.tolist()


def _legend(plot: Plot, *entries: tuple[str, str], location: str = "top_right") -> None:
    plot.add_layout(
        Legend(
            items=[_entry(plot, *entry) for entry in entries],
            location=location,
            background_fill_alpha=0.8,
            border_line_color=None,
            label_text_font_size="12px",
        )
    )


def _entry(plot: Plot, label: str, name: str) -> LegendItem:
    return LegendItem(label=label, renderers=[plot.select_one({"name": f"{name}:glyph"})])


def _legend_above(plot: Plot, items: list[LegendItem]) -> None:
    """For figures whose curves leave no corner free."""
    legend = Legend(items=items, border_line_color=None, orientation="horizontal", spacing=16)
    legend.label_text_font_size = "12px"
    plot.add_layout(legend, "above")


def _low_rank(known: Mapping[str, NDArray[Any]], prefix: str = "") -> str:
    """The better estimate of D_LR that there is: a small probe makes the plain one too small."""
    debiased = known.get(f"{prefix}low_rank_measure_debiased", np.empty(0))
    return "low_rank_measure_debiased" if np.isfinite(debiased).any() else "low_rank_measure"


def _decades(values: NDArray[Any], least: tuple[float, float]) -> tuple[float, float]:
    known = np.clip(values[np.isfinite(values) & (values > 0)], 1 / _LARGEST, _LARGEST)
    low, high = (known.min(), known.max()) if known.size else least
    return 10 ** np.floor(np.log10(low * 0.999)), 10 ** np.ceil(np.log10(high * 1.001))


def _within(bounds: Iterable[float], *values: NDArray[Any]) -> tuple[float, float]:
    """The smallest interval that holds the bounds and every finite value."""
    known = np.concatenate([np.fromiter(bounds, float), *values])
    known = known[np.isfinite(known)]
    return float(known.min()), float(known.max())


def _spectrum(recording: Recording, frame: Frame) -> Plot:
    plot = templates.spectrum()
    low = 1.0
    for name, shown in (("first", recording[0]), ("now", frame)):
        values = shown.eigenvalues / shown.eigenvalues[:1]  # none where all is constant
        kept = values > FLOOR
        k = np.arange(1, len(values) + 1)[kept]
        _fill(plot, name, x=k, y=values[kept])
        low = values[kept].min(initial=low)
    plot.select_one({"name": "outputs"}).location = recording.info.minimal_features
    _log_span(plot, "x", 0.9, 1.2 * max(1, len(recording[0].eigenvalues), len(frame.eigenvalues)))
    _span(plot, "y", low / 2, 1.6)
    _legend(plot, ("this epoch", "now"), ("first frame", "first"))
    return plot


def _cumulative(recording: Recording, frame: Frame) -> Plot:
    plot = templates.cumulative()
    for name in ("quality", "utilization"):
        y = frame.arrays[name]
        k = np.arange(1, len(y) + 1)
        _fill(plot, name, x=k, y=y)
        error = frame.arrays.get(f"{name}_error")
        if error is not None:
            _fill(plot, f"{name}_band", x=k, y1=y - error, y2=y + error)
    plot.select_one({"name": "used"}).location = frame.scalars.get("used_features", math.nan)
    plot.select_one({"name": "outputs"}).location = recording.info.minimal_features
    _log_span(plot, "x", 0.9, 1.2 * max(1, len(frame.utilization)))
    entries = (("utilization", "utilization"), ("quality", "quality"))
    _legend(plot, *entries, location="bottom_right")
    return plot


def _projections(recording: Recording, frame: Frame) -> Plot:
    plot = templates.projections()
    info, points = recording.info, frame.projections
    columns = points.shape[1]
    if columns < 2:
        raise ValueError("name='projections': needs two eigenfunctions or more, the frame has one")
    # e₁ is often nearly constant: the plane of the next two shows more.
    first = 1 if columns > 2 else 0
    across, up = points[:, first], points[:, first + 1]
    for axis, k in ((plot.xaxis, first + 1), (plot.yaxis, first + 2)):
        axis.axis_label = f"eigenfunction e{k}".translate(SUBSCRIPTS)
    labels = np.asarray(info.labels)
    mapper = plot.select_one({"name": "classes"})
    if info.class_names:
        count = len(info.class_names)
        mapper.palette = [CLASS_COLORS[i % len(CLASS_COLORS)] for i in range(count)]
        mapper.low, mapper.high = -0.5, count - 0.5
        # The shapes shift by one every ten classes, so that a hundred classes differ.
        place = labels.astype(int)
        shapes = [CLASS_MARKERS[(i + i // 10) % len(CLASS_MARKERS)] for i in place]
    else:
        mapper.palette = VALUE_COLORS
        mapper.low, mapper.high = float(np.min(labels)), float(np.max(labels))
        shapes = ["circle"] * len(labels)
    _fill(plot, "samples", x=across, y=up, label=labels, marker=shapes)
    for axis, column in (("x", across), ("y", up)):
        known = column[np.isfinite(column)]
        low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
        pad = 0.05 * (high - low) or 1.0
        _span(plot, axis, low - pad, high + pad)
    if 0 < len(info.class_names) <= len(CLASS_COLORS):
        renderer = plot.select_one({"name": "samples:glyph"})
        items = []
        for label, name in enumerate(info.class_names):
            found = np.flatnonzero(labels == label)
            if found.size:
                item = LegendItem(label=name, renderers=[renderer], index=int(found[0]))
                items.append(item)
        plot.add_layout(Legend(items=items, border_line_color=None), "right")
    return plot


def _history(recording: Recording, frame: Frame) -> Plot:
    table = recording.table()
    # A likelihood of densities may be negative, and has no logarithm.
    log = not np.any(table.get("loss", np.empty(0)) < 0)
    plot = templates.history(log=log)
    epochs = table["epoch"]
    measure = _low_rank(table)
    shares = (measure, "test_accuracy", "train_accuracy", "test_r2", "train_r2")
    lines = iter(THEMES["light"]["lines"])
    entries: list[LegendItem] = []
    low, high = 0.0, 1.0
    for side, offered in (("left", shares), ("right", ("loss",))):
        names = [name for name in offered if name in table]
        styles = [next(lines) for _ in names]
        values = [np.clip(table[name], -_LARGEST, _LARGEST) for name in names]
        if side == "right":
            values = _right(plot, values, log)
        else:
            low, high = _within([low, high], *values)
        _fill(
            plot,
            side,
            xs=[list(epochs)] * len(names),
            ys=[list(y) for y in values],
            color=[color for color, _ in styles],
            dash=[dash for _, dash in styles],
            alpha=[1.0] * len(names),
        )
        renderer = plot.select_one({"name": f"{side}:glyph"})
        for index, name in enumerate(names):
            entries.append(LegendItem(label=label(name), renderers=[renderer], index=index))
    if f"{measure}_error" in table:
        y, error = table[measure], table[f"{measure}_error"]
        known = np.isfinite(y) & np.isfinite(error)
        _fill(plot, "band", x=epochs[known], y1=(y - error)[known], y2=(y + error)[known])
    last = max(float(epochs[-1]), 1.0)
    _span(plot, "x", 0, last)
    _span(plot, "y", low, high + STRIP * (high - low))
    _fill_regimes(plot, recording, high, STRIP * (high - low), last)
    plot.select_one({"name": "cursor"}).location = frame.epoch
    _legend_above(plot, entries)
    return plot


def _right(plot: Plot, values: list[NDArray[Any]], log: bool) -> list[NDArray[Any]]:
    """Set the range on the right, and return what can be drawn in it."""
    joined = np.concatenate([*values, [math.nan]])
    if not log:
        low, high = _within([0.0], joined)
        _span(plot, "right", low, high + STRIP * (high - low))
        return values
    least, most = _decades(joined, (0.1, 1.0))
    _log_span(plot, "right", least, most * (most / least) ** STRIP)
    return [np.where(y > 0, np.maximum(y, 1 / _LARGEST), math.nan) for y in values]


def _fill_regimes(
    plot: Plot, recording: Recording, bottom: float, height: float, last: float
) -> None:
    """Bands of colour behind the history, each frame's reaching halfway to its neighbours; above it
    a strip with the names that fit."""
    epochs = np.array([frame.epoch for frame in recording])
    edges = [epochs[0], *(epochs[:-1] + epochs[1:]) / 2, epochs[-1]]
    spans: list[list[Any]] = []
    for frame, left, right in zip(recording, edges[:-1], edges[1:], strict=True):
        regime = frame.labels.get("regime", "")
        if spans and spans[-1][2] == regime:
            spans[-1][1] = right
        else:
            spans.append([left, right, regime])
    lefts, rights, regimes = zip(*spans, strict=True)
    colors = [COLORS.get(regime, "white") for regime in regimes]
    bottoms = [bottom + 0.2 * height] * len(spans)
    _fill(plot, "regimes", left=lefts, right=rights, bottom=bottoms, color=colors)
    short = [
        (left, right, "MF–EF" if name == "TRANSITION" else name) for left, right, name in spans
    ]
    names = [
        (left, name)
        for left, right, name in short
        if (right - left) * _WIDTH / last > 8.5 * (len(name) + 1)
    ]
    _fill(
        plot,
        "regime_names",
        x=[left for left, _ in names],
        y=[bottom + 0.6 * height] * len(names),
        text=[name for _, name in names],
    )


def _regime(recording: Recording, frame: Frame) -> Plot:
    info = recording.info
    least = info.minimal_features
    assert least is not None
    most = max(info.num_features, 4 * least)
    epochs = [shown.epoch for shown in recording]
    plot = templates.blank(
        "regime",
        "epoch",
        "features in use, k95",
        x=(0, max(epochs[-1], 1)),
        y=(0.9, most),
        log_y=True,
    )
    zones = ((0.5, least, "MF"), (least, 2 * least, "TRANSITION"), (2 * least, 2 * most, "EF"))
    for bottom, top, name in zones:
        box = BoxAnnotation(bottom=bottom, top=top, fill_color=COLORS[name], fill_alpha=0.15)
        plot.add_layout(box)
    plot.text(
        x=0,
        y=[math.sqrt(least), least * math.sqrt(2), math.sqrt(2 * least * most)],
        text=["minimal features", "transition", "extended features"],
        x_offset=6,
        text_baseline="middle",
        text_font_size="12px",
        text_color=COLORS["text"],
    )
    used = np.array([shown.scalars.get("used_features", math.nan) for shown in recording])
    errors = [shown.scalars.get("used_features_error", math.nan) for shown in recording]
    templates.curve(plot, "k95", COLORS["now"], line_width=2.5)
    _fill(plot, "k95", x=epochs, y=used)
    plot.varea(
        "x",
        "y1",
        "y2",
        source=ColumnDataSource(
            {
                "x": epochs,
                "y1": list(np.maximum(used - errors, 0.5)),
                "y2": list(used + errors),
            }
        ),
        fill_color=COLORS["now"],
        fill_alpha=0.2,
    )
    plot.scatter(
        x=[frame.epoch],
        y=[frame.scalars.get("used_features", math.nan)],
        size=10,
        fill_color=COLORS["now"],
        line_color="white",
        name="shown:glyph",
    )
    return plot


def _layers(recording: Recording, frame: Frame) -> Plot:
    names = recording.info.layers
    if not names or "layer_low_rank_measure" not in frame.arrays:
        raise ValueError(
            "name='layers': no layers were watched in this run; name them with the setting 'layers'"
        )
    plot = templates.layers()
    depth = list(range(1, len(names) + 1))
    measure = _low_rank(frame.arrays, "layer_")
    for name, source in (("low_rank_measure", measure), ("effective_rank", "effective_rank")):
        _fill(plot, name, x=depth, y=frame.arrays[f"layer_{source}"])
    plot.left[0].axis_label = label(measure)
    plot.xaxis.ticker.ticks = depth
    plot.xaxis.major_label_overrides = dict(zip(depth, names, strict=True))
    step, length = _WIDTH / len(names), 7 * max(map(len, names))
    # No flatter than the room to the left of the first layer allows.
    angle = max(math.acos(min(1.0, (plot.min_border_left + step / 2) / length)), 0.5)
    plot.xaxis.major_label_orientation = angle if length > step else "horizontal"
    _span(plot, "x", 0.5, len(names) + 0.5)
    low, high = _within([0, 1], frame.arrays[f"layer_{measure}"])
    _span(plot, "y", low, high + 0.04 * (high - low))
    _log_span(plot, "right", *_decades(frame.arrays["layer_effective_rank"], (1, 10)))
    entries = ((label(measure), "low_rank_measure"), ("effective rank", "effective_rank"))
    _legend_above(plot, [_entry(plot, *entry) for entry in entries])
    return plot


FIGURES: dict[str, Callable[[Recording, Frame], Plot]] = {
    "spectrum": _spectrum,
    "cumulative": _cumulative,
    "projections": _projections,
    "history": _history,
    "regime": _regime,
    "layers": _layers,
}
