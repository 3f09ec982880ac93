"""How everything looks: colours, shapes and dashes, for the live view and for single figures."""

from __future__ import annotations

from typing import Any

from bokeh.palettes import Viridis256

from fswidget.recording.frame import SCALARS

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
            "CONSTANT": "#9e9e9e",
        },
        "lines": [
            ("#0072b2", "solid"),
            ("#c04f00", "dashed"),
            ("#00795a", "dotdash"),
            ("#6a51a3", "dotted"),
            ("#6f6f6f", "dashdot"),
            ("#7a5200", "solid"),
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
            "CONSTANT": "#8a8a8a",
        },
        "lines": [
            ("#5cb8f0", "solid"),
            ("#ff9a4d", "dashed"),
            ("#2fc79a", "dotdash"),
            ("#a796e0", "dotted"),
            ("#a5a5a5", "dashdot"),
            ("#e0b060", "solid"),
        ],
    },
}


COLORS: dict[str, str] = THEMES["light"]["roles"]


#: Units whose scalars lie between 0 and 1 and share the left axis of the history.
SHARES = ("fraction", "R²", "D_LR", "1 − CKA")


#: What a scalar's name begins with, and what it is called on screen.
_LABELS = {
    "low_rank_measure_debiased": "D_LR (debiased)",
    "low_rank_measure": "D_LR (plain)",
    "used_features": "k95",
    "nc1": "NC1",
    "test_r2": "test R²",
    "train_r2": "train R²",
}


#: A scale for the targets of a regression, light to dark in print as on screen.
VALUE_COLORS: tuple[str, ...] = Viridis256


#: Share of the utilization that the used features hold (our choice).
LEVEL = 0.95


#: Relative eigenvalues below this are rounding noise of float32 and stay out of the spectrum.
FLOOR = 1e-8


#: Height of the strip of regimes above the history's curves, as a share of theirs.
STRIP = 0.1


def label(name: str) -> str:
    """What a scalar is called on screen."""
    for start, short in _LABELS.items():
        if name.startswith(start):
            return short + name[len(start) :].replace("_", " ")
    return name.replace("_", " ")


def style() -> dict[str, Any]:
    """What the front end needs of this module, as JSON types."""
    return {
        "themes": THEMES,
        "scalars": dict(SCALARS),
        "labels": {name: label(name) for name in SCALARS},
        "shares": [name for name, (unit, _) in SCALARS.items() if unit in SHARES],
        "class_colors": CLASS_COLORS,
        "class_markers": CLASS_MARKERS,
        "value_colors": VALUE_COLORS[::8],
        "level": LEVEL,
        "floor": FLOOR,
        "strip": STRIP,
    }
