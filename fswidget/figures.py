"""Every figure, declared once with Bokeh.

The live view, the exported page and `figure` show the same declarations. `layout_json` sends them
empty to the front end, which fills their named sources for each frame; `figure` fills them here.
Ranges are fixed ones (`Range1d`) that whoever fills the sources also sets: automatic ranges would
make axes jump from frame to frame and draw every update twice.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from functools import cache
from typing import Any, Literal

from bokeh.embed import json_item
from bokeh.models import (
    BoxSelectTool,
    ColumnDataSource,
    FixedTicker,
    GlyphRenderer,
    LassoSelectTool,
    LinearColorMapper,
    LogAxis,
    LogScale,
    LogTicker,
    Plot,
    Range1d,
    Span,
    WheelZoomTool,
)
from bokeh.palettes import Viridis256
from bokeh.plotting import figure as bokeh_figure

from fswidget.recording import SCALARS

#: Ten colours that stay apart under colour-vision deficiency (Petroff, arXiv 2107.02270).
CLASS_COLORS = (
    "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6",
    "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd",
)  # fmt: skip
#: A shape for each class too, so that no class is told by its colour alone.
CLASS_MARKERS = (
    "circle", "square", "triangle", "diamond", "inverted_triangle",
    "hex", "star", "plus", "square_pin", "triangle_pin",
)  # fmt: skip
#: Colours by role, and the colours and dashes of curves in the order in which they are chosen.
THEMES: dict[str, dict[str, Any]] = {
    "light": {
        "roles": {
            "now": "#0072b2",
            "quality": "#c04f00",
            "utilization": "#0072b2",
            "first": "#6f6f6f",
            "ghost": "#a02c72",
            "mark": "#404040",
            "grid": "#e5e5e5",
            "axis": "#8a8a8a",
            "text": "#222222",
            "MF": "#009e73",
            "TRANSITION": "#e69f00",
            "EF": "#cc4778",
            "LAZY": "#6a51a3",
            "UNTRAINED": "#9e9e9e",
        },
        "lines": [
            ("#0072b2", "solid"),
            ("#c04f00", "dashed"),
            ("#00795a", "dotdash"),
            ("#a02c72", "dotted"),
            ("#6a51a3", "dashdot"),
            ("#6f6f6f", "solid"),
        ],
    },
    "dark": {
        "roles": {
            "now": "#5cb8f0",
            "quality": "#ff9a4d",
            "utilization": "#5cb8f0",
            "first": "#a5a5a5",
            "ghost": "#f08cc8",
            "mark": "#c8c8c8",
            "grid": "#3a3d41",
            "axis": "#8a8f96",
            "text": "#e6e6e6",
            "MF": "#2fc79a",
            "TRANSITION": "#f0b83c",
            "EF": "#f07ca8",
            "LAZY": "#a796e0",
            "UNTRAINED": "#8a8a8a",
        },
        "lines": [
            ("#5cb8f0", "solid"),
            ("#ff9a4d", "dashed"),
            ("#2fc79a", "dotdash"),
            ("#f08cc8", "dotted"),
            ("#a796e0", "dashdot"),
            ("#a5a5a5", "solid"),
        ],
    },
}
COLORS: dict[str, str] = THEMES["light"]["roles"]
#: Units whose scalars lie between 0 and 1 and share the left axis of the history.
SHARES = ("fraction", "R²", "D_LR", "1 − CKA")
#: Share of the utilization that the used features hold (our choice).
LEVEL = 0.95
#: Relative eigenvalues below this are rounding noise of float32 and stay out of the spectrum.
FLOOR = 1e-8

Name = Literal["spectrum", "cumulative", "projections", "history", "regime", "layers"]


def _blank(
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
    plot.axis.axis_label_text_font_size = "13px"
    plot.axis.major_label_text_font_size = "12px"
    plot.axis.minor_tick_line_color = None
    return plot


def _source(name: str, *columns: str) -> ColumnDataSource:
    return ColumnDataSource({column: [] for column in columns}, name=name)


def _curve(plot: Plot, name: str, color: str, **style: Any) -> GlyphRenderer:
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


def _spectrum(*, log: bool = True) -> Plot:
    plot = _blank(
        "spectrum",
        "feature k",
        "relative eigenvalue ρₖ/ρ₁",
        x=(0.9, 100) if log else (0, 100),
        y=(1e-6, 1.6) if log else (0, 1.05),
        log_x=log,
        log_y=log,
    )
    _curves(plot, "trail", line_width=1)
    _curve(plot, "first", COLORS["first"], line_dash="dashed", line_width=1.5)
    _curve(plot, "ghost", COLORS["ghost"], line_dash="dotdash")
    _mark(plot, "outputs", "height", "dashed")
    _curve(plot, "now", COLORS["now"], line_width=2.5)
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


def _cumulative() -> Plot:
    plot = _blank(
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
        _curve(plot, f"ghost_{name}", COLORS["ghost"], **style)
        _curve(plot, name, COLORS[name], line_dash=dash, line_width=2.5)
    return plot


def _projections() -> Plot:
    zoom = WheelZoomTool(name="zoom")
    tools = [LassoSelectTool(name="lasso"), BoxSelectTool(name="box"), zoom]
    plot = _blank("projections", "e₁", "e₂", x=(-3, 3), y=(-3, 3), tools=tools)
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


def _history() -> Plot:
    plot = _blank("history", "epoch", "share, D_LR", x=(0, 10), y=(0, 1.04))
    plot.extra_y_ranges = {"right": Range1d(0.01, 10, name="range:right")}
    plot.extra_y_scales = {"right": LogScale()}
    plot.quad(
        left="left",
        right="right",
        bottom=-1e3,
        top=1e3,
        source=_source("regimes", "left", "right", "color"),
        fill_color="color",
        fill_alpha=0.13,
        line_color=None,
        level="underlay",
        name="regimes:glyph",
    )
    plot.varea(
        "x",
        "y1",
        "y2",
        source=_source("band", "x", "y1", "y2"),
        fill_color=COLORS["now"],
        fill_alpha=0.18,
        name="band:glyph",
    )
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
        text_font_size="11px",
        text_color=COLORS["text"],
        text_baseline="top",
        x_offset=3,
        name="regime_names:glyph",
    )
    _mark(plot, "cursor", "height", "solid")
    axis = LogAxis(
        y_range_name="right",
        axis_label="others (log)",
        name="right_axis",
        ticker=LogTicker(desired_num_ticks=4),
        axis_label_text_font_style="normal",
        axis_label_text_font_size="13px",
        major_label_text_font_size="12px",
        minor_tick_line_color=None,
    )
    plot.add_layout(axis, "right")
    plot.min_border_right = 64
    return plot


def _layers() -> Plot:
    plot = _blank("layers", "depth", "D_LR", x=(-0.5, 4.5), y=(0, 1.04))
    plot.extra_y_ranges = {"right": Range1d(1, 100, name="range:right")}
    plot.extra_y_scales = {"right": LogScale()}
    for name, color, marker, side in (
        ("low_rank_measure", COLORS["now"], "circle", {}),
        ("effective_rank", COLORS["quality"], "square", {"y_range_name": "right"}),
    ):
        dash = "solid" if not side else "dashed"
        line = _curve(plot, name, color, line_dash=dash, **side)
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
    axis = LogAxis(
        y_range_name="right",
        axis_label="effective rank (log)",
        name="right_axis",
        axis_label_text_font_style="normal",
        axis_label_text_font_size="13px",
        major_label_text_font_size="12px",
        minor_tick_line_color=None,
    )
    plot.add_layout(axis, "right")
    plot.xaxis.ticker = FixedTicker(ticks=[])
    plot.min_border_right = 64
    return plot


def _declarations() -> dict[str, Plot]:
    return {
        "spectrum": _spectrum(),
        "spectrum_linear": _spectrum(log=False),
        "cumulative": _cumulative(),
        "projections": _projections(),
        "history": _history(),
        "layers": _layers(),
    }


def _style() -> dict[str, Any]:
    return {
        "themes": THEMES,
        "scalars": dict(SCALARS),
        "shares": [name for name, (unit, _) in SCALARS.items() if unit in SHARES],
        "class_colors": CLASS_COLORS,
        "class_markers": CLASS_MARKERS,
        "value_colors": Viridis256[::8],
        "level": LEVEL,
        "floor": FLOOR,
    }


@cache
def layout_json() -> str:
    """The live figures, empty, as one JSON string.

    ``figures`` maps a figure's name to what ``bokeh.embed`` draws, each a document of its own, so
    that the front end embeds and updates them one by one; ``style`` holds colours, shapes and what
    scalars mean. A string, because Bokeh's JSON depends on the order of keys, which a saved
    notebook sorts.
    """
    figures = {name: json_item(plot) for name, plot in _declarations().items()}
    return json.dumps({"figures": figures, "style": _style()})
