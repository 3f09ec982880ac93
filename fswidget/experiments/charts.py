"""Line charts as SVG, for pages that are read without scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import ArrayLike

# Okabe and Ito's colours, told apart by the colour-blind too.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")

#: Beyond so many lines the colours come again, dashed.
_DASHES = ("", "6 3", "2 2")

_WIDTH, _LEFT, _RIGHT, _TOP, _GAP, _BOTTOM = 800, 46, 310, 30, 28, 36


@dataclass(frozen=True)
class Panel:
    """One of the charts above each other.

    Parameters
    ----------
    name : str
        Column of the tables that is drawn.
    title : str
    height : int
        Pixels.
    unit : bool
        Whether values run from 0 to 1; else from 0 to the largest.
    marks : mapping of str to float
        Values to mark by a dotted line, by their label.
    """

    name: str
    title: str
    height: int = 130
    unit: bool = True
    marks: Mapping[str, float] | None = None


def line_charts(
    tables: Mapping[str, Mapping[str, ArrayLike]],
    title: str,
    panels: Sequence[Panel],
    *,
    across: str = "epoch",
) -> str:
    """Charts above each other that share the horizontal axis, one line per table.

    Parameters
    ----------
    tables : mapping of label to columns
        As `Recording.table` gives them.
    title : str
    panels : sequence of Panel
    across : str
        Column along the horizontal axis.

    Returns
    -------
    str
        An SVG of 800 pixels' width.

    Examples
    --------
    >>> columns = {"epoch": [0, 1], "low_rank_measure": [0.9, 0.1]}
    >>> line_charts({"a run": columns}, "Fall", [Panel("low_rank_measure", "D_LR")])[:4]
    '<svg'
    """
    inner = _WIDTH - _LEFT - _RIGHT
    last = max((float(np.max(np.asarray(t[across]))) for t in tables.values()), default=1.0) or 1.0
    parts = [f'<text x="{_LEFT}" y="18" font-weight="bold">{escape(title)}</text>']
    top = _TOP + 14
    for panel in panels:
        parts += _panel(panel, tables, across, inner / last, top)
        top += panel.height + _GAP
    base = top - _GAP
    for value in np.linspace(0, last, 5):
        x = _LEFT + value * inner / last
        parts.append(f'<text x="{x:.1f}" y="{base + 15}" text-anchor="middle">{value:.4g}</text>')
    middle = _LEFT + inner / 2
    parts.append(f'<text x="{middle:.0f}" y="{base + 31}" text-anchor="middle">{across}</text>')
    for index, label in enumerate(tables):
        y = _TOP + 26 + 18 * index
        x = _WIDTH - _RIGHT + 14
        parts.append(f'<path d="M{x} {y - 4}h18" {_stroke(index)} stroke-width="3"/>')
        parts.append(f'<text x="{x + 24}" y="{y}">{escape(label)}</text>')
    height = max(base + _BOTTOM, _TOP + 26 + 18 * len(tables))
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        'font-family="sans-serif" font-size="12">'
    )
    return "\n".join(
        [head, f'<rect width="{_WIDTH}" height="{height}" fill="white"/>', *parts, "</svg>", ""]
    )


def _panel(
    panel: Panel,
    tables: Mapping[str, Mapping[str, ArrayLike]],
    across: str,
    scale: float,
    top: float,
) -> list[str]:
    columns = [np.asarray(t[panel.name], float) for t in tables.values() if panel.name in t]
    finite = [column[np.isfinite(column)] for column in columns]
    highest = 1.0 if panel.unit else max((float(c.max()) for c in finite if c.size), default=1.0)
    highest = highest or 1.0
    right = _WIDTH - _RIGHT

    def height_of(value: float) -> float:
        return top + (1 - min(max(value / highest, 0.0), 1.0)) * panel.height

    parts = [f'<text x="4" y="{top - 8:.0f}">{escape(panel.title)}</text>']
    for value in (0, highest / 2, highest):
        y = height_of(value)
        parts.append(f'<path d="M{_LEFT} {y:.1f}H{right}" stroke="#ddd"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>')
    for label, value in (panel.marks or {}).items():
        y = height_of(value)
        parts.append(f'<path d="M{_LEFT} {y:.1f}H{right}" stroke="#555" stroke-dasharray="1 4"/>')
        at = f'x="{right}" y="{y - 4:.1f}" text-anchor="end" fill="#555"'
        parts.append(f"<text {at}>{escape(label)}</text>")
    for index, table in enumerate(tables.values()):
        if panel.name not in table:
            continue
        pairs = zip(
            np.asarray(table[across], float), np.asarray(table[panel.name], float), strict=True
        )
        points = " ".join(
            f"{_LEFT + x * scale:.1f},{height_of(v):.1f}" for x, v in pairs if np.isfinite(v)
        )
        parts.append(
            f'<polyline points="{points}" fill="none" {_stroke(index)} stroke-width="1.8"/>'
        )
    return parts


def _stroke(index: int) -> str:
    dash = _DASHES[index // len(_COLOURS) % len(_DASHES)]
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return f'stroke="{_COLOURS[index % len(_COLOURS)]}"{dashed}'
