"""How everything looks: colours, shapes and where curves go, for the live view and for print."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from bokeh.palettes import Viridis256

from fswidget.recording.frame import Frame, RunInfo
from fswidget.recording.regimes import used_features
from fswidget.recording.scalars import ESTIMATES, SCALARS

#: Ten colours that stay apart under colour-vision deficiency (Petroff, arXiv 2107.02270), and the
#: same lighter, for a dark page.
CLASS_COLORS = (
    "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6",
    "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd",
)  # fmt: skip
_LIGHTER = (
    "#5aa5e8", "#ffb733", "#ef5b45", "#a9b7b5", "#b877e6",
    "#c98e7d", "#ff8a3d", "#cfc48c", "#969ba8", "#92dadd",
)  # fmt: skip


#: A shape for each class too, so that no class is told by its colour alone.
CLASS_MARKERS = (
    "circle", "square", "triangle", "diamond", "inverted_triangle",
    "hex", "star", "plus", "square_pin", "triangle_pin",
)  # fmt: skip


#: A dash means "before" and nothing else.
BEFORE = "5 3"


def _mixed(color: str, other: str, share: float) -> str:
    """A colour with a share of another."""
    pairs = ((int(color[at : at + 2], 16), int(other[at : at + 2], 16)) for at in (1, 3, 5))
    return "#" + "".join(f"{round((1 - share) * a + share * b):02x}" for a, b in pairs)


def _classes(colors: Iterable[str], edge: str) -> list[tuple[str, str]]:
    return [(color, _mixed(color, edge, 0.35)) for color in colors]


#: Colours by role; those of further curves, in the order in which they are chosen; fill and edge
#: of each class; and how strong the zones of the regimes are behind a curve.
THEMES: dict[str, dict[str, Any]] = {
    "light": {
        "roles": {
            "page": "#ffffff",
            "soft": "#f3f5f7",
            "line": "#dcdfe4",
            "grid": "#e9ebee",
            "strong": "#767c85",
            "ink": "#1d2125",
            "dim": "#59606a",
            "accent": "#0b63a8",
            "on-accent": "#ffffff",
            "bad": "#b3261e",
            "ghost": "#a02c72",
            "quality": "#b54a00",
            "accuracy": "#00755a",
            "loss": "#5f489c",
            "first": "#686e77",
            "MF": "#009e73",
            "TRANSITION": "#e69f00",
            "EF": "#cc4778",
            "LAZY": "#6a51a3",
            "UNTRAINED": "#9e9e9e",
            "CONSTANT": "#9e9e9e",
            "UNDEFINED": "#9e9e9e",
        },
        "lines": ["#b54a00", "#686e77", "#7a5200", "#00727f", "#8a3b8f", "#4d6b00"],
        "classes": _classes(CLASS_COLORS, "#000000"),
        "veil": 0.14,
    },
    "dark": {
        "roles": {
            "page": "#16181b",
            "soft": "#23272b",
            "line": "#363b41",
            "grid": "#2b2f34",
            "strong": "#8d949d",
            "ink": "#e8eaed",
            "dim": "#a9b0b9",
            "accent": "#7cc4f5",
            "on-accent": "#10161b",
            "bad": "#ff9d94",
            "ghost": "#f08cc8",
            "quality": "#ff9a4d",
            "accuracy": "#2fc79a",
            "loss": "#b3a4ea",
            "first": "#9aa1aa",
            "MF": "#2fc79a",
            "TRANSITION": "#f0b83c",
            "EF": "#f07ca8",
            "LAZY": "#a796e0",
            "UNTRAINED": "#8a8a8a",
            "CONSTANT": "#8a8a8a",
            "UNDEFINED": "#8a8a8a",
        },
        "lines": ["#ff9a4d", "#9aa1aa", "#e0b060", "#4fc3cf", "#d79be0", "#a9c95a"],
        "classes": _classes(_LIGHTER, "#ffffff"),
        "veil": 0.20,
    },
}


COLORS: dict[str, str] = THEMES["light"]["roles"]


#: Units whose scalars lie between 0 and 1 and share the first band of the history.
SHARES = ("fraction", "R²", "D_LR", "1 − CKA")


#: Bands of the history from the top, with their share of its height; above them two strips say the
#: regimes of this run and of the one before.
BANDS = {"shares": 0.33, "features": 0.23, "others": 0.20}
STRIPS = 0.1
GAP = 0.07


#: Colours of the curves that a run shows at first, in order: of these, those that it has.
CURVES = {
    ESTIMATES[0]: "accent",
    "test_accuracy": "accuracy",
    "test_r2": "accuracy",
    "used_features": "ink",  # as the needle of the gauge, whose path it is
    "loss": "loss",
}


#: What a scalar's name begins with, and what it is called on screen.
_LABELS = {
    f"mean_layer_{ESTIMATES[0]}": "D_LR, mean of layers",
    f"mean_layer_{ESTIMATES[1]}": "D_LR plain, mean of layers",
    ESTIMATES[0]: "D_LR",
    ESTIMATES[1]: "D_LR plain",
    "used_features": "k95",
    "nc1": "NC1",
    "nc2": "NC2",
    "nc3": "NC3",
    "cdnv": "CDNV",
    "rank_me": "RankMe",
    "alpha_req": "α-ReQ",
    "kernel_drift": "moved",
    "ntk_drift": "NTK moved",
    "ntk": "NTK",
    "test_accuracy": "test acc.",
    "train_accuracy": "train acc.",
    "test_r2": "test R²",
    "train_r2": "train R²",
    "parameter_norm_squared": "‖θ‖²",
    "lr": "learning rate",
}


#: A scale for the targets of a regression, light to dark in print as on screen.
VALUE_COLORS: tuple[str, ...] = Viridis256


#: Share of the utilization that the used features hold (our choice).
LEVEL = 0.95


#: Relative eigenvalues below this are rounding noise of float32 and stay out of the spectrum.
FLOOR = 1e-8


def label(name: str) -> str:
    """What a scalar is called on screen."""
    for start, short in _LABELS.items():
        if name.startswith(start):
            return short + name[len(start) :].replace("_", " ")
    return name.replace("_", " ")


def band(name: str) -> str:
    """The band of the history that a scalar belongs to."""
    unit, _ = SCALARS.get(name, ("", ""))
    return "shares" if unit in SHARES else "features" if unit == "features" else "others"


def minimal(info: RunInfo) -> int:
    """The number of used features up to which a run counts as minimal."""
    return info.minimal_features or 1


def used_of(info: RunInfo, frame: Frame) -> float:
    """k95, where it says something; else NaN."""
    return used_features(frame.scalars, frame.labels, info.all_needed)


def regime_zones(info: RunInfo, frame: Frame) -> list[tuple[str, float, float]]:
    """The regimes by how many features are in use, with where they begin and end: up to C, up to
    2 C and beyond. None reaches beyond the features that there are. That of k95 is what the frame
    is called where k95 alone does not tell: nothing was learned, or features, or samples, are so
    few that random heads do no worse."""
    c, p = minimal(info), float(info.num_features)
    if info.all_needed:
        return [("UNDEFINED", 0.0, p)]
    regime, used = frame.labels.get("regime", ""), frame.scalars.get("used_features", math.nan)
    untold = regime == "UNTRAINED" or (regime == "TRANSITION" and info.directions < 2 * c)
    ends = (("MF", 0.0, min(c, p)), ("TRANSITION", c, min(2 * c, p)), ("EF", 2 * c, p))
    return [
        (regime if untold and low < used <= high else name, float(low), float(high))
        for name, low, high in ends
        if low < high
    ]


def places(bands: Iterable[str]) -> dict[str, tuple[float, float]]:
    """Bottom and top of each band that is shown, as shares of the history's height."""
    wanted = set(bands)
    shown = {name: share for name, share in BANDS.items() if name in wanted}
    room = 1 - STRIPS - GAP * (len(shown) - 1)
    result, top = {}, 1 - STRIPS
    for name, share in shown.items():
        height = room * share / sum(shown.values())
        result[name] = (top - height, top)
        top -= height + GAP
    return result


def style() -> dict[str, Any]:
    """What the front end needs of this module, as JSON types."""
    return {
        "themes": THEMES,
        "scalars": dict(SCALARS),
        "labels": {name: label(name) for name in SCALARS},
        "bands": {name: band(name) for name in SCALARS},
        "heights": BANDS,
        "strips": STRIPS,
        "gap": GAP,
        "curves": CURVES,
        "estimates": ESTIMATES,
        "class_markers": CLASS_MARKERS,
        "value_colors": VALUE_COLORS[::8],
        "level": LEVEL,
        "floor": FLOOR,
    }
