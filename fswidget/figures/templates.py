"""The figures as they are declared: axes, glyphs and named, empty sources.

Ranges are fixed ones (`Range1d`) that whoever fills the sources also sets: automatic ranges would
make axes jump from frame to frame and draw every update twice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from bokeh.core.properties import value
from bokeh.models import (
    BasicTickFormatter,
    BoxSelectTool,
    ColumnDataSource,
    FixedTicker,
    GlyphRenderer,
    LassoSelectTool,
    LinearAxis,
    LinearColorMapper,
    LinearScale,
    LogAxis,
    LogScale,
    Plot,
    Range1d,
    Span,
    WheelZoomTool,
)
from bokeh.plotting import figure as bokeh_figure

from fswidget.figures.theme import CLASS_COLORS, COLORS, LEVEL

FONT = "system-ui, sans-serif"


def blank(
    name: str,
    x_label: str,
    y_label: str,
    *,
    x: tuple[float, float],
    y: tuple[float, float],
    log_x: bool = False,
    log_y: bool = False,
    tools: Sequence[Any] = (),
) -> Plot:
    """An empty figure with fixed ranges and no toolbar."""
    plot = bokeh_figure(
        name=name,
        x_range=Range1d(*x, name="range:x"),
        y_range=Range1d(*y, name="range:y"),
        x_axis_type="log" if log_x else "linear",
        y_axis_type="log" if log_y else "linear",
        x_axis_label=x_label,
        y_axis_label=y_label,
        tools=list(tools),
        toolbar_location=None,
        sizing_mode="stretch_both",
        output_backend="canvas",
        min_border_left=64,
        min_border_right=14,
        min_border_top=8,
        min_border_bottom=48,
        background_fill_color=None,
        border_fill_color=None,
        outline_line_color=None,
        lod_threshold=None,
    )
    plot.grid.grid_line_color = COLORS["grid"]
    plot.axis.axis_label_text_font_style = "normal"
    plot.axis.axis_label_text_font = plot.axis.major_label_text_font = FONT
    plot.axis.axis_label_text_font_size = "13px"
    plot.axis.major_label_text_font_size = "12px"
    plot.axis.minor_tick_line_color = None
    if log_x:
        # Bokeh's own ticker changes to even steps where there are less than two decades.
        plot.xaxis.ticker = FixedTicker(ticks=[], name="ticks:x")
        plot.xaxis.formatter = BasicTickFormatter(use_scientific=False)
    # On the canvas above, which new data does not repaint: writing labels is dear.
    plot.axis.level = "overlay"
    return plot


def _source(name: str, *columns: str) -> ColumnDataSource:
    return ColumnDataSource({column: [] for column in columns}, name=name)


def curve(plot: Plot, name: str, color: str, **style: Any) -> GlyphRenderer:
    """A line over a source of its own."""
    source = _source(name, "x", "y")
    style = {"line_width": 2, **style}
    return plot.line("x", "y", source=source, line_color=color, name=f"{name}:glyph", **style)


def _curves(plot: Plot, name: str, **style: Any) -> GlyphRenderer:
    source = _source(name, "xs", "ys", "color", "dash", "alpha")
    return plot.multi_line(
        "xs",
        "ys",
        source=source,
        line_color="color",
        line_dash="dash",
        line_alpha="alpha",
        name=f"{name}:glyph",
        **style,
    )


def _mark(plot: Plot, name: str, dimension: str, dash: str, color: str = COLORS["mark"]) -> None:
    line = Span(
        name=name,
        dimension=dimension,
        location=math.nan,
        line_color=color,
        line_dash=dash,
        line_width=1.5,
        level="underlay",
    )
    plot.add_layout(line)


def spectrum(*, log: bool = True) -> Plot:
    """Eigenvalues over their rank, with the first frame, past ones and another run's."""
    plot = blank(
        "spectrum",
        "feature k",
        "relative eigenvalue ρₖ/ρ₁",
        x=(0.9, 100) if log else (0, 100),
        y=(1e-6, 1.6) if log else (0, 1.05),
        log_x=log,
        log_y=log,
    )
    _curves(plot, "trail", line_width=1)
    curve(plot, "first", COLORS["first"], line_dash="dashed", line_width=1.5)
    curve(plot, "ghost", COLORS["ghost"], line_dash="dotdash")
    _mark(plot, "outputs", "height", "dashed")
    curve(plot, "now", COLORS["now"], line_width=2.5)
    plot.scatter(
        "x",
        "y",
        source=_source("points", "x", "y", "size", "marker"),
        size="size",
        marker="marker",
        fill_color=COLORS["now"],
        line_color=COLORS["now"],
        name="points:glyph",
    )
    return plot


def cumulative() -> Plot:
    """Quality and utilization of the first k features."""
    plot = blank(
        "cumulative",
        "first k features",
        "cumulative share",
        x=(0.9, 100),
        y=(0, 1.04),
        log_x=True,
    )
    _mark(plot, "level", "width", "dotted")
    plot.select_one({"name": "level"}).location = LEVEL
    _mark(plot, "outputs", "height", "dashed")
    _mark(plot, "used", "height", "solid", COLORS["utilization"])
    for name in ("quality", "utilization"):
        plot.varea(
            "x",
            "y1",
            "y2",
            source=_source(f"{name}_band", "x", "y1", "y2"),
            fill_color=COLORS[name],
            fill_alpha=0.2,
            name=f"{name}_band:glyph",
        )
    for name, dash in (("quality", "dashed"), ("utilization", "solid")):
        style = {"line_dash": dash, "line_alpha": 0.9, "line_width": 1.5}
        curve(plot, f"ghost_{name}", COLORS["ghost"], **style)
        curve(plot, name, COLORS[name], line_dash=dash, line_width=2.5)
    return plot


def projections() -> Plot:
    """Samples placed by two eigenfunctions."""
    zoom = WheelZoomTool(name="zoom")
    tools = [LassoSelectTool(name="lasso"), BoxSelectTool(name="box"), zoom]
    plot = blank("projections", "e₁", "e₂", x=(-3, 3), y=(-3, 3), tools=tools)
    plot.toolbar.active_drag = None
    plot.toolbar.active_scroll = None
    mapper = LinearColorMapper(name="classes", palette=CLASS_COLORS, low=-0.5, high=9.5)
    for name in ("held_out", "samples"):
        held_out = name == "held_out"
        color = {"field": "label", "transform": mapper}
        plot.scatter(
            "x",
            "y",
            source=_source(name, "x", "y", "label", "marker"),
            marker="marker",
            size=7 if held_out else 6,
            fill_color=None if held_out else color,
            line_color=color if held_out else None,
            fill_alpha=0.8,
            line_width=1.2,
            name=f"{name}:glyph",
        )
    return plot


def history(*, log: bool = True) -> Plot:
    """Scalars over epochs: shares on the left axis, all others on the right."""
    plot = blank("history", "epoch", "share, D_LR", x=(0, 10), y=(0, 1.04))
    plot.extra_y_ranges = {"right": Range1d(0.01, 10, name="range:right")}
    plot.extra_y_scales = {"right": LogScale() if log else LinearScale()}
    # Faint behind the curves, and a strip above them that carries the names.
    regimes = _source("regimes", "left", "right", "bottom", "color")
    for name, bottom, alpha in (("regimes", -1e3, 0.13), ("strip", "bottom", 0.3)):
        plot.quad(
            left="left",
            right="right",
            bottom=bottom,
            top=1e3,
            source=regimes,
            fill_color="color",
            fill_alpha=alpha,
            line_color=None,
            level="underlay",
            name=f"{name}:glyph",
        )
    band = plot.varea(
        "x",
        "y1",
        "y2",
        source=_source("band", "x", "y1", "y2"),
        fill_color=COLORS["now"],
        fill_alpha=0.18,
        name="band:glyph",
    )
    band.glyph.name = "band:area"
    for name in ("ghost_left", "ghost_right", "left", "right"):
        style = {"y_range_name": "right"} if name.endswith("right") else {}
        _curves(plot, name, line_width=1.5 if name.startswith("ghost") else 2.2, **style)
    plot.scatter(
        "x",
        "y",
        source=_source("dots", "x", "y", "color"),
        size=7,
        fill_color="color",
        line_color=None,
        name="dots:glyph",
    )
    plot.text(
        "x",
        "y",
        text="text",
        source=_source("regime_names", "x", "y", "text"),
        text_font=value(FONT),
        text_font_size="11px",
        text_color=COLORS["text"],
        text_baseline="middle",
        x_offset=3,
        name="regime_names:glyph",
    )
    _mark(plot, "cursor", "height", "solid")
    _right_axis(plot, "others (log)" if log else "others", log)
    plot.min_border_right = 64
    return plot


def _right_axis(plot: Plot, label: str, log: bool = True) -> None:
    """A second axis on the right, of the range "right"."""
    ticks = {"ticker": FixedTicker(ticks=[], name="ticks:right")} if log else {}
    axis = (LogAxis if log else LinearAxis)(
        y_range_name="right",
        axis_label=label,
        name="right_axis",
        **ticks,
        axis_label_text_font=FONT,
        axis_label_text_font_style="normal",
        major_label_text_font=FONT,
        axis_label_text_font_size="13px",
        major_label_text_font_size="12px",
        minor_tick_line_color=None,
        level="overlay",
    )
    plot.add_layout(axis, "right")


def layers() -> Plot:
    """D_LR, whichever estimate there is, and effective rank by depth."""
    plot = blank("layers", "depth", "D_LR", x=(-0.5, 4.5), y=(0, 1.04))
    plot.extra_y_ranges = {"right": Range1d(1, 100, name="range:right")}
    plot.extra_y_scales = {"right": LogScale()}
    for name, color, marker, side in (
        ("low_rank_measure", COLORS["now"], "circle", {}),
        ("effective_rank", COLORS["quality"], "square", {"y_range_name": "right"}),
    ):
        dash = "solid" if not side else "dashed"
        line = curve(plot, name, color, line_dash=dash, **side)
        plot.scatter(
            "x",
            "y",
            source=line.data_source,
            marker=marker,
            size=8,
            fill_color=color,
            line_color=None,
            name=f"{name}:points",
            **side,
        )
    _right_axis(plot, "effective rank (log)")
    plot.xaxis.ticker = FixedTicker(ticks=[], name="ticks:x")
    plot.min_border_right = 64
    return plot
