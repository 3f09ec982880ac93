"""The figures as they are declared: axes, glyphs and named, empty sources; how axes are set.

Ranges are fixed ones (`Range1d`) that whoever fills the sources also sets: automatic ranges would
make axes jump from frame to frame and draw every update twice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bokeh.models import (
    BasicTicker,
    BasicTickFormatter,
    BoxSelectTool,
    ColumnDataSource,
    FixedTicker,
    Glyph,
    GlyphRenderer,
    LassoSelectTool,
    Line,
    LinearColorMapper,
    MultiLine,
    Patches,
    Plot,
    Quad,
    Range1d,
    Scatter,
    Segment,
    Span,
    VArea,
    WheelZoomTool,
)
from bokeh.plotting import figure as bokeh_figure

from fswidget.figures.bands import log_ticks, tick_label
from fswidget.figures.theme import BEFORE, CLASS_COLORS, COLORS, LEVEL

FONT = "system-ui, sans-serif"
#: Room around a figure's frame in the live view, so that figures above each other share a line.
MARGINS = {"left": 36, "right": 8, "top": 20, "bottom": 20}


def blank(
    name: str,
    *,
    x: tuple[float, float],
    y: tuple[float, float],
    log_x: bool = False,
    log_y: bool = False,
    fixed: str = "",
    tools: Sequence[Any] = (),
    **margins: int,
) -> Plot:
    """An empty figure with fixed ranges and no toolbar; `fixed` names axes that are given ticks."""
    plot = bokeh_figure(
        name=name,
        x_range=Range1d(*x, name="range:x"),
        y_range=Range1d(*y, name="range:y"),
        x_axis_type="log" if log_x else "linear",
        y_axis_type="log" if log_y else "linear",
        tools=list(tools),
        toolbar_location=None,
        sizing_mode="stretch_both",
        output_backend="canvas",
        background_fill_color=None,
        border_fill_color=None,
        outline_line_color=None,
        lod_threshold=None,
        **{f"min_border_{side}": size for side, size in {**MARGINS, **margins}.items()},
    )
    plot.grid.grid_line_color = COLORS["grid"]
    for axis, side in ((plot.xaxis, "x"), (plot.yaxis, "y")):
        # Bokeh's own logarithmic ticker changes to even steps where there are under two decades.
        axis.ticker = (
            FixedTicker(ticks=[], name=f"ticks:{side}")
            if side in fixed
            else BasicTicker(desired_num_ticks=4, num_minor_ticks=0)
        )
        axis.formatter = BasicTickFormatter(use_scientific=False)
        # The grid follows the ticks that the axis shows.
        plot.grid[0 if side == "x" else 1].ticker = axis[0].ticker
    plot.axis.axis_line_color = None
    plot.axis.major_tick_line_color = plot.axis.minor_tick_line_color = None
    plot.axis.major_tick_out = plot.axis.minor_tick_out = 0
    plot.axis.major_label_text_color = COLORS["dim"]
    plot.axis.axis_label_text_color = COLORS["dim"]
    plot.axis.axis_label_text_font_style = "normal"
    plot.axis.axis_label_text_font = plot.axis.major_label_text_font = FONT
    plot.axis.axis_label_text_font_size = plot.axis.major_label_text_font_size = "11px"
    plot.yaxis.major_label_standoff = 8
    plot.xaxis.major_label_standoff = 4
    # On the canvas above, which new data does not repaint: writing labels is dear.
    plot.axis.level = "overlay"
    return plot


def set_range(plot: Plot, name: str, start: float, end: float) -> None:
    found = plot.select_one({"name": f"range:{name}"})
    found.start, found.end = float(start), float(end)


def set_labels(plot: Plot, x: str, y: str) -> None:
    plot.xaxis.axis_label, plot.yaxis.axis_label = x, y


def set_log_range(plot: Plot, name: str, start: float, end: float) -> None:
    """A logarithmic range and its ticks."""
    set_range(plot, name, start, end)
    set_ticks(plot, name, {tick: tick_label(tick) for tick in log_ticks(start, end)})


def set_ticks(plot: Plot, name: str, labels: Mapping[float, str]) -> None:
    plot.select_one({"name": f"ticks:{name}"}).ticks = list(labels)
    (plot.xaxis if name == "x" else plot.yaxis).major_label_overrides = dict(labels)


def _source(name: str, *columns: str) -> ColumnDataSource:
    return ColumnDataSource({column: [] for column in columns}, name=name)


def _draw(plot: Plot, name: str, glyph: Glyph, source: ColumnDataSource) -> GlyphRenderer:
    """As `plot.line` and its like, but for the glyph's copies for what is selected or muted, which
    nothing here ever is but samples, and which take most of the time that a figure takes."""
    name = f"{name}:glyph"
    return plot.add_glyph(source, glyph, name=name, nonselection_glyph=None, muted_glyph=None)


def curve(plot: Plot, name: str, role: str, **style: Any) -> GlyphRenderer:
    """A line over a source of its own."""
    style = {"line_color": COLORS[role], "line_width": 2.25, "line_join": "round", **style}
    return _draw(plot, name, Line(x="x", y="y", **style), _source(name, "x", "y"))


def _curves(plot: Plot, name: str, **style: Any) -> GlyphRenderer:
    glyph = MultiLine(xs="xs", ys="ys", line_color="color", line_join="round", **style)
    return _draw(plot, name, glyph, _source(name, "xs", "ys", "color"))


def _outlines(
    plot: Plot, name: str, role: str, source: ColumnDataSource, **style: Any
) -> GlyphRenderer:
    glyph = MultiLine(xs="xs", ys="ys", line_color=COLORS[role], **style)
    return _draw(plot, name, glyph, source)


def _band(plot: Plot, name: str, role: str) -> GlyphRenderer:
    glyph = VArea(x="x", y1="y1", y2="y2", fill_color=COLORS[role], fill_alpha=0.16)
    return _draw(plot, name, glyph, _source(name, "x", "y1", "y2"))


def _dots(plot: Plot, name: str, size: float | str, **style: Any) -> GlyphRenderer:
    columns = ("x", "y", "color", *(["size"] if isinstance(size, str) else []))
    style = {"fill_color": "color", "line_color": None, **style}
    return _draw(plot, name, Scatter(x="x", y="y", size=size, **style), _source(name, *columns))


def _mark(plot: Plot, name: str, dimension: str, role: str = "strong", alpha: float = 1) -> None:
    line = Span(
        name=name,
        dimension=dimension,
        location=math.nan,
        line_color=COLORS[role],
        line_alpha=alpha,
        line_width=1,
        level="underlay",
    )
    plot.add_layout(line)


def spectrum(*, log: bool = True) -> Plot:
    """Eigenvalues over their rank, with those of the first frame and of the run before."""
    plot = blank(
        "spectrum",
        x=(0.9, 100) if log else (0, 100),
        y=(1e-6, 1.6) if log else (0, 1.05),
        log_x=log,
        log_y=log,
        fixed="xy" if log else "",
    )
    plot.xgrid.visible = False
    _mark(plot, "outputs", "height")
    curve(plot, "first", "first", line_width=1)
    curve(plot, "ghost", "ghost", line_width=1.75, line_dash=BEFORE)
    curve(plot, "now", "accent")
    # What theory gives, where it knows.
    rings = Scatter(
        x="x", y="y", size=9, fill_color=None, line_color=COLORS["ink"], line_width=1.25
    )
    _draw(plot, "exact", rings, _source("exact", "x", "y"))
    _dots(plot, "points", "size", line_color=COLORS["accent"], line_width=2)
    return plot


def cumulative() -> Plot:
    """Quality and utilization of the first k features, and accuracy with them alone."""
    plot = blank("cumulative", x=(1, 100), y=(0, 1.005), log_x=True, fixed="xy")
    plot.yaxis.ticker.ticks = [0, 0.5, 1]
    plot.xgrid.visible = False
    _mark(plot, "level", "width", alpha=0.55)
    plot.select_one({"name": "level"}).location = LEVEL
    _mark(plot, "outputs", "height")
    for name, role in (("quality", "quality"), ("utilization", "accent")):
        _band(plot, f"{name}_band", role)
    # The two often coincide, so one is wide and lies below.
    curve(plot, "quality", "quality", line_width=4.5, line_alpha=0.55)
    curve(plot, "ghost_utilization", "ghost", line_width=1.75, line_dash=BEFORE)
    curve(plot, "utilization", "accent")
    curve(plot, "truncated_accuracy", "accuracy", line_width=1.5)
    _dots(plot, "used", 8)
    return plot


def intensity() -> Plot:
    """Quality of each feature against its intensity."""
    plot = blank("intensity", x=(1e-4, 1.5), y=(1e-5, 1.0), log_x=True, log_y=True, fixed="xy")
    _dots(plot, "strengths", 5, fill_alpha=0.75)
    return plot


def projections() -> Plot:
    """Samples placed by two eigenfunctions; of the run before, an outline for each class."""
    zoom = WheelZoomTool(name="zoom")
    tools = [LassoSelectTool(name="lasso"), BoxSelectTool(name="box"), zoom]
    plot = blank("projections", x=(-3, 3), y=(-3, 3), tools=tools)
    plot.toolbar.active_drag = None
    plot.toolbar.active_scroll = None
    fill, edge = (
        LinearColorMapper(name=name, palette=CLASS_COLORS, low=-0.5, high=9.5)
        for name in ("classes", "edges")
    )
    for name in ("held_out", "samples"):
        held_out = name == "held_out"
        plot.scatter(
            "x",
            "y",
            source=_source(name, "x", "y", "label", "marker"),
            marker="marker",
            size=6 if held_out else 5,
            fill_color=None if held_out else {"field": "label", "transform": fill},
            line_color={"field": "label", "transform": fill if held_out else edge},
            fill_alpha=0.75,
            line_alpha=0.75,
            line_width=1.2 if held_out else 0.6,
            name=f"{name}:glyph",
        )
    _outlines(plot, "ties", "ghost", _source("ties", "xs", "ys"), line_width=1, line_alpha=0.8)
    ghost = _source("ghost", "xs", "ys")
    # A rim of the page's colour, so that the dashes stand out where samples are dense.
    _outlines(plot, "rim", "page", ghost, line_width=4, line_alpha=0.7)
    _outlines(plot, "ghost", "ghost", ghost, line_width=2, line_dash=BEFORE)
    return plot


def history() -> Plot:
    """Scalars over epochs in bands above each other; see `theme.places`.

    All share one axis from 0 to 1, on which whoever fills the sources places them.
    """
    plot = blank("history", x=(0, 10), y=(0, 1), fixed="xy", top=8, right=112)
    edges = {side: side for side in ("left", "right", "bottom", "top")}
    zones = Quad(**edges, fill_color="color", fill_alpha="alpha", line_color=None)
    _draw(plot, "zones", zones, _source("zones", *edges, "color", "alpha"))
    _band(plot, "band", "accent").glyph.name = "band:area"
    # One standard deviation over seeds around each curve; and where settings were changed.
    spread = Patches(xs="xs", ys="ys", fill_color="color", fill_alpha=0.16, line_color=None)
    _draw(plot, "spread", spread, _source("spread", "xs", "ys", "color"))
    steered = Segment(x0="x", y0="bottom", x1="x", y1="top", line_alpha=0.45)
    steered.line_color = COLORS["ink"]
    _draw(plot, "steered", steered, _source("steered", "x", "bottom", "top"))
    _curves(plot, "ghost", line_width=1.75, line_dash=BEFORE)
    _curves(plot, "curves", line_width=2)
    _mark(plot, "cursor", "height", "ink", 0.5)
    _dots(plot, "dots", 6)
    return plot


def layers() -> Plot:
    """D_LR, whichever estimate there is, and effective rank by depth, on bands as in `history`."""
    plot = blank("layers", x=(-0.5, 4.5), y=(0, 1), fixed="xy")
    ghost = _source("ghost", "xs", "ys")
    _outlines(plot, "ghost", "ghost", ghost, line_width=1.75, line_dash=BEFORE)
    for name, role in (("low_rank_measure", "accent"), ("effective_rank", "quality")):
        line = curve(plot, name, role)
        points = Scatter(x="x", y="y", size=7, fill_color=COLORS[role], line_color=None)
        _draw(plot, name, points, line.data_source).name = f"{name}:points"
    return plot
