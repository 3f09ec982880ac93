"""The declared figures filled with one frame of a recording, for print."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from bokeh.models import BoxAnnotation, ColumnDataSource, Legend, LegendItem, Plot
from numpy.typing import NDArray

from fswidget.figures import templates
from fswidget.figures.bands import Band
from fswidget.figures.intensity import quality_intensity
from fswidget.figures.modes import modes
from fswidget.figures.theme import (
    CLASS_MARKERS,
    COLORS,
    FLOOR,
    STRIPS,
    THEMES,
    VALUE_COLORS,
    band,
    label,
    minimal,
    places,
    regime_zones,
    used_of,
)
from fswidget.figures.words import REGIMES
from fswidget.recording.frame import Frame
from fswidget.recording.recording import Recording
from fswidget.recording.regimes import regime_of
from fswidget.recording.scalars import best_estimate, mean_over_layers

#: Width of a figure between its axes, in pixels, as `figures.figure` makes it.
_WIDTH = 480


SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def _fill(plot: Plot, source: str, **columns: Any) -> None:
    found = plot.select_one({"name": source})
    found.data = {name: list(values) for name, values in columns.items()}


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


def _spectrum(recording: Recording, frame: Frame) -> Plot:
    plot = templates.spectrum()
    templates.set_labels(plot, "feature k", "relative eigenvalue ρₖ/ρ₁")
    low = 1.0
    exact = frame.arrays.get("exact_eigenvalues", frame.eigenvalues[:0])
    shown_values = {"first": recording[0].eigenvalues, "now": frame.eigenvalues, "exact": exact}
    for name, shown in shown_values.items():
        # None where all is constant; what theory gives is beside what was measured.
        values = shown / (frame.eigenvalues if name == "exact" else shown)[:1]
        kept = values > FLOOR
        k = np.arange(1, len(values) + 1)[kept]
        _fill(plot, name, x=k, y=values[kept])
        low = values[kept].min(initial=low)
    plot.select_one({"name": "outputs"}).location = minimal(recording.info)
    templates.set_log_range(
        plot, "x", 0.9, 1.2 * max(1, len(recording[0].eigenvalues), len(frame.eigenvalues))
    )
    templates.set_log_range(plot, "y", low / 2, 1.6)
    theory = [("theory", "exact")] if len(exact) else []
    _legend(plot, ("this epoch", "now"), ("first frame", "first"), *theory)
    return plot


def _cumulative(recording: Recording, frame: Frame) -> Plot:
    plot = templates.cumulative()
    templates.set_labels(plot, "first k features", "cumulative share")
    for name in ("quality", "utilization"):
        y = frame.array(name)
        k = np.arange(1, len(y) + 1)
        _fill(plot, name, x=k, y=y)
        error = frame.arrays.get(f"{name}_error")
        if error is not None:
            _fill(plot, f"{name}_band", x=k, y1=y - error, y2=y + error)
    used = used_of(recording.info, frame)
    if 1 <= used <= len(frame.utilization):
        share = frame.utilization[round(used) - 1]
        _fill(plot, "used", x=[used], y=[share], color=[COLORS["accent"]])
    plot.select_one({"name": "outputs"}).location = minimal(recording.info)
    templates.set_log_range(plot, "x", 0.9, 1.2 * max(1, len(frame.utilization)))
    templates.set_range(plot, "y", 0, 1.04)
    entries = [("utilization", "utilization"), ("quality", "quality")]
    accuracy = frame.arrays.get("truncated_accuracy")
    if accuracy is not None:
        _fill(plot, "truncated_accuracy", x=np.arange(1, len(accuracy) + 1), y=accuracy)
        entries.append(("accuracy with these alone", "truncated_accuracy"))
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
    x, y = (f"eigenfunction e{k}".translate(SUBSCRIPTS) for k in (first + 1, first + 2))
    templates.set_labels(plot, x, y)
    labels = np.asarray(info.labels)
    mappers = [plot.select_one({"name": name}) for name in ("classes", "edges")]
    if info.class_names:
        count = len(info.class_names)
        colors = THEMES["light"]["classes"]
        for part, mapper in enumerate(mappers):
            mapper.palette = [colors[i % len(colors)][part] for i in range(count)]
            mapper.low, mapper.high = -0.5, count - 0.5
        # The shapes shift by one every ten classes, so that a hundred classes differ.
        place = labels.astype(int)
        shapes = [CLASS_MARKERS[(i + i // 10) % len(CLASS_MARKERS)] for i in place]
    else:
        for mapper in mappers:
            mapper.palette = VALUE_COLORS
            mapper.low, mapper.high = float(np.min(labels)), float(np.max(labels))
        shapes = ["circle"] * len(labels)
    _fill(plot, "samples", x=across, y=up, label=labels, marker=shapes)
    for axis, column in (("x", across), ("y", up)):
        known = column[np.isfinite(column)]
        low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
        pad = 0.05 * (high - low) or 1.0
        templates.set_range(plot, axis, low - pad, high + pad)
    if 0 < len(info.class_names) <= len(CLASS_MARKERS):
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
    plot = templates.history()
    plot.xaxis.axis_label = "epoch"
    table = recording.table()
    epochs = table["epoch"]
    measure = best_estimate(table)
    offered = (measure, "test_accuracy", "test_r2", "used_features", "loss")
    names = [name for name in offered if name in table and np.isfinite(table[name]).any()]
    table["used_features"] = np.array([used_of(recording.info, shown) for shown in recording])
    bands = {name: Band(name, span, minimal(recording.info)) for name, span in _spans(names)}
    for name in names:
        bands[band(name)].include(table[name])
    lines = [bands[band(name)].place(table[name]) for name in names]
    roles = {measure: "accent", "used_features": "ink", "loss": "loss"}
    colors = [COLORS[roles.get(name, "accuracy")] for name in names]
    _fill(plot, "curves", xs=[list(epochs)] * len(names), ys=lines, color=colors)
    steered = [epoch for epoch, _ in recording.changes]
    _fill(plot, "steered", x=steered, bottom=[0.0] * len(steered), top=[1.0] * len(steered))
    if "seeds" in frame.labels:
        _fill_spread(plot, table, {name: bands[band(name)] for name in names}, colors)
    elif measure in names and f"{measure}_error" in table:
        y, error = table[measure], table[f"{measure}_error"]
        known = np.isfinite(y) & np.isfinite(error)
        low, high = (bands[band(measure)].place((y + sign * error)[known]) for sign in (-1, 1))
        _fill(plot, "band", x=epochs[known], y1=low, y2=high)
    last = max(float(epochs[-1]), 1.0)
    templates.set_range(plot, "x", 0, last)
    ticks = {at: f"{at:g}" for at in np.linspace(0, last, 5).round(2).tolist()}
    templates.set_ticks(plot, "x", ticks)
    templates.set_ticks(
        plot, "y", {y: text for shown in bands.values() for y, text in shown.ticks()}
    )
    _fill_zones(plot, recording, frame, bands.get("features"), last)
    plot.select_one({"name": "cursor"}).location = frame.epoch
    renderer = plot.select_one({"name": "curves:glyph"})
    _legend_above(
        plot,
        [
            LegendItem(label=_told(name, table), renderers=[renderer], index=index)
            for index, name in enumerate(names)
        ],
    )
    return plot


def _told(name: str, table: Mapping[str, NDArray[Any]]) -> str:
    """What a curve is called; with a dash where it has no value."""
    return label(name) + ("" if np.isfinite(table[name]).any() else " –")


def _fill_spread(
    plot: Plot, table: Mapping[str, NDArray[Any]], bands: Mapping[str, Band], colors: list[str]
) -> None:
    """One standard deviation over seeds around each curve."""
    xs, ys, kept = [], [], []
    for (name, place), color in zip(bands.items(), colors, strict=True):
        if f"{name}_error" not in table:
            continue
        error = table[f"{name}_error"]
        known = np.isfinite(table[name]) & np.isfinite(error)
        y, error, x = table[name][known], error[known], table["epoch"][known]
        xs.append([*x, *x[::-1]])
        low = np.maximum(y - error, 1e-99) if place.log else y - error
        ys.append([*place.place(low), *place.place(y + error)[::-1]])
        kept.append(color)
    _fill(plot, "spread", xs=xs, ys=ys, color=kept)


def _spans(names: Iterable[str]) -> Iterable[tuple[str, tuple[float, float]]]:
    return places(band(name) for name in names).items()


def _fill_zones(
    plot: Plot, recording: Recording, frame: Frame, features: Band | None, last: float
) -> None:
    """A strip of the regimes above the curves, each frame's reaching halfway to its neighbours, and
    their zones behind k95."""
    epochs = np.array([frame.epoch for frame in recording])
    edges = [epochs[0], *(epochs[:-1] + epochs[1:]) / 2, epochs[-1]]
    zones: list[tuple[float, float, float, float, str, float]] = []
    for one, left, right in zip(recording, edges[:-1], edges[1:], strict=True):
        color = COLORS.get(regime_of(one.labels, recording.info.all_needed), COLORS["page"])
        if zones and zones[-1][4] == color:
            left = zones.pop()[0]
        zones.append((left, right, 1 - STRIPS / 3, 1, color, 0.7))
    if features is not None:
        for name, low, high in regime_zones(recording.info, frame):
            bottom, top = features.place(np.array([max(low, 1e-9), high]))
            zones.append((0, last, bottom, top, COLORS[name], THEMES["light"]["veil"]))
    names = ("left", "right", "bottom", "top", "color", "alpha")
    _fill(plot, "zones", **dict(zip(names, zip(*zones, strict=True), strict=True)))


def _regime(recording: Recording, frame: Frame) -> Plot:
    info = recording.info
    least = minimal(recording.info)
    most = max(info.num_features, 4 * least)
    epochs = [shown.epoch for shown in recording]
    plot = templates.blank(
        "regime",
        x=(0, max(epochs[-1], 1)),
        y=(0.9, most),
        log_y=True,
        fixed="y",
    )
    templates.set_labels(plot, "epoch", "features in use, k95")
    templates.set_log_range(plot, "y", 0.9, most)
    zones = regime_zones(info, frame)
    for name, low, high in zones:
        bottom = max(low, 0.5)
        box = BoxAnnotation(bottom=bottom, top=high, fill_color=COLORS[name], fill_alpha=0.15)
        plot.add_layout(box)
    plot.text(
        x=0,
        y=[math.sqrt(max(low, 1.0) * high) for _, low, high in zones],
        text=[REGIMES[name][1].lower() for name, _, _ in zones],
        x_offset=6,
        text_baseline="middle",
        text_font_size="12px",
        text_color=COLORS["ink"],
    )
    used = np.array([used_of(info, shown) for shown in recording])
    errors = [shown.scalars.get("used_features_error", math.nan) for shown in recording]
    templates.curve(plot, "k95", "accent")
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
        fill_color=COLORS["accent"],
        fill_alpha=0.2,
    )
    plot.scatter(
        x=[frame.epoch],
        y=[used_of(info, frame)],
        size=10,
        fill_color=COLORS["accent"],
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
    measure = best_estimate(frame.arrays, "layer_")
    shown = {
        "low_rank_measure": ("shares", measure),
        "effective_rank": ("others", "effective_rank"),
    }
    spans = places(name for name, _ in shown.values())
    ticks: dict[float, str] = {}
    for source, (place, array) in shown.items():
        values = np.asarray(frame.array(f"layer_{array}"), float)
        one = Band(place, spans[place], 1)
        one.include(values)
        _fill(plot, source, x=depth, y=one.place(values))
        ticks |= dict(one.ticks())
    templates.set_ticks(plot, "y", ticks)
    templates.set_ticks(plot, "x", dict(zip(depth, names, strict=True)))
    step, length = _WIDTH / len(names), 7 * max(map(len, names))
    # No flatter than the room to the left of the first layer allows.
    angle = max(math.acos(min(1.0, (plot.min_border_left + step / 2) / length)), 0.5)
    plot.xaxis.major_label_orientation = angle if length > step else "horizontal"
    templates.set_range(plot, "x", 0.5, len(names) + 0.5)
    mean = mean_over_layers(frame.scalars, frame.arrays, measure)
    named = label(measure) if math.isnan(mean) else f"{label(measure)}, mean {mean:.2f}"
    entries = ((named, "low_rank_measure"), ("effective rank", "effective_rank"))
    _legend_above(plot, [_entry(plot, *entry) for entry in entries])
    return plot


FIGURES: dict[str, Callable[[Recording, Frame], Plot]] = {
    "spectrum": _spectrum,
    "cumulative": _cumulative,
    "projections": _projections,
    "history": _history,
    "regime": _regime,
    "layers": _layers,
    "quality_intensity": quality_intensity,
    "modes": modes,
}
