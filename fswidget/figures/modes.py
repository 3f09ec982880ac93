"""The largest eigenvalues over time, on the curves that theory gives where it knows them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from bokeh.models import Legend, LegendItem, Plot
from numpy.typing import NDArray

from fswidget.figures import templates
from fswidget.figures.theme import COLORS, FLOOR, VALUE_COLORS
from fswidget.recording.frame import Frame
from fswidget.recording.recording import Recording

#: Eigenvalues that are followed at most (our choice).
_MOST = 10

Array = NDArray[np.float64]


def courses(recording: Recording, frame: Frame) -> Iterator[tuple[int, str, Array, Array, Array]]:
    """Rank k, colour, epochs, ρ_k and what theory gives of it, NaN where it gives nothing, for each
    of the C largest eigenvalues up to `frame`."""
    so_far = [shown for shown in recording if shown.epoch <= frame.epoch]
    epochs = np.array([shown.epoch for shown in so_far])
    count = min(recording.info.minimal_features or 1, _MOST)
    # The palette ends in a yellow that is too light for paper.
    colors = np.linspace(0, 0.85 * (len(VALUE_COLORS) - 1), count).astype(int)
    for k, color in enumerate(colors, 1):
        measured, exact = (
            np.array([_value(shown, name, k) for shown in so_far])
            for name in ("eigenvalues", "exact_eigenvalues")
        )
        yield k, VALUE_COLORS[color], epochs, measured, exact


def _value(frame: Frame, name: str, k: int) -> float:
    """The k-th of these eigenvalues; NaN where it is noise, or not there."""
    values = frame.arrays.get(name, np.empty(0, np.float32))
    scale = frame.scalars.get("eigenvalue_scale", 1.0)
    above = k <= len(values) and values[k - 1] > FLOOR * values[0]
    return float(values[k - 1]) * scale if above else np.nan


def modes(recording: Recording, frame: Frame) -> Plot:
    """As `fswidget.figures.static` has the others."""
    plot = templates.blank("modes", x=(0, 1), y=(1e-3, 1), log_y=True, fixed="y")
    templates.set_labels(plot, "epoch", "eigenvalue ρₖ")
    shown, known = [np.array([1e-3, 1.0])], False
    items: list[LegendItem] = []
    for k, color, epochs, measured, exact in courses(recording, frame):
        kept = np.isfinite(measured)
        style = {"fill_color": color, "line_color": None, "name": f"mode {k}"}
        dots = plot.scatter(epochs[kept].tolist(), measured[kept].tolist(), size=5, **style)
        if k == 1:
            items.append(LegendItem(label="measured", renderers=[dots]))
        there = np.isfinite(exact)
        if there.any():
            line = plot.line(
                epochs[there].tolist(),
                exact[there].tolist(),
                line_color=color,
                line_width=1.5,
                name=f"theory {k}",
            )
            if not known:
                items.append(LegendItem(label="theory", renderers=[line]))
            known = True
        shown.append(measured[kept])
    values = np.concatenate(shown[1:]) if any(map(len, shown[1:])) else shown[0]
    templates.set_range(plot, "x", 0, max(frame.epoch, 1.0))
    templates.set_log_range(plot, "y", values.min() / 1.3, 1.3 * values.max())
    legend = Legend(items=items, location="bottom_right", border_line_color=None)
    legend.label_text_color = COLORS["ink"]
    plot.add_layout(legend)
    return plot
