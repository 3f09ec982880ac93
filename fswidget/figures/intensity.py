"""Quality of each feature against its intensity, over time: the paper's figure 5."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from bokeh.models import Legend, LegendItem, Plot
from numpy.typing import NDArray

from fswidget.figures import templates
from fswidget.figures.theme import FLOOR, VALUE_COLORS
from fswidget.recording.frame import Frame
from fswidget.recording.recording import Recording
from fswidget.recording.strengths import agreement, strengths

#: Frames that are drawn, and the least quality that is (our choice).
_FRAMES, LEAST = 5, 1e-5

Array = NDArray[np.float64]


def series(recording: Recording, frame: Frame) -> Iterator[tuple[str, str, Array, Array]]:
    """Title, colour, intensities and qualities of some frames up to `frame`, evenly spread, that
    one last; what no logarithmic axis holds is left out."""
    so_far = [shown for shown in recording if shown.epoch <= frame.epoch]
    chosen = np.unique(np.linspace(0, len(so_far) - 1, _FRAMES).round().astype(int))
    # The palette ends in a yellow that is too light for paper.
    colors = np.linspace(0.85 * (len(VALUE_COLORS) - 1), 0, len(chosen)).astype(int)
    for place, color in zip(chosen, colors, strict=True):
        shown = so_far[place]
        x, y = strengths(shown)
        kept = (x > FLOOR) & (y > LEAST)
        title = f"epoch {shown.epoch:g}: {agreement(shown):+.2f}"
        yield title, VALUE_COLORS[color], x[kept], y[kept]


def quality_intensity(recording: Recording, frame: Frame) -> Plot:
    """As `fswidget.figures.static` has the others; the legend gives each frame's `agreement`."""
    plot = templates.blank(
        "quality_intensity", x=(1e-4, 1.5), y=(LEAST, 1.0), log_x=True, log_y=True, fixed="xy"
    )
    templates.set_labels(plot, "intensity ρₖ/ρ₁", "quality Π*(k) − Π*(k − 1)")
    low, items = 0.1, []
    for title, color, x, y in series(recording, frame):
        style: dict[str, Any] = {"size": 7, "fill_alpha": 0.75, "line_color": None}
        dots = plot.scatter(x.tolist(), y.tolist(), fill_color=color, name=title, **style)
        items.append(LegendItem(label=title, renderers=[dots]))
        low = min(low, x.min(initial=low))
    templates.set_log_range(plot, "x", low / 1.5, 1.5)
    templates.set_log_range(plot, "y", LEAST, 1.0)
    plot.add_layout(
        Legend(
            items=items,
            title="rank correlation",
            location="bottom_right",
            border_line_color=None,
        )
    )
    return plot
