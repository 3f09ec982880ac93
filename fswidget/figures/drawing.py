"""Every figure, declared once with Bokeh.

The live view, the exported page and `figure` show the same templates. The front end gets them empty
and fills their named sources for each frame; `figure` fills them here.
"""

from __future__ import annotations

from typing import Any

import bokeh
from bokeh.document import Document
from bokeh.models import PanTool, Plot, ResetTool, SaveTool, Title, WheelZoomTool

from fswidget.figures import templates
from fswidget.figures.static import FIGURES
from fswidget.recording.recording import Recording
from fswidget.recording.regimes import is_kept, regime_said


def _live() -> dict[str, Plot]:
    return {
        "spectrum": templates.spectrum(),
        "spectrum_linear": templates.spectrum(log=False),
        "cumulative": templates.cumulative(),
        "projections": templates.projections(),
        "history": templates.history(),
        "layers": templates.layers(),
        "intensity": templates.intensity(),
    }


def live() -> dict[str, dict[str, Any]]:
    """The live figures, empty, by name: what ``bokeh.embed`` draws, each a document of its own, so
    that the front end embeds and updates them one by one."""
    return {name: _item(plot) for name, plot in _live().items()}


def _item(plot: Plot) -> dict[str, Any]:
    # As bokeh.embed.json_item, which walks the document several times and takes twice as long.
    document = Document()
    document.add_root(plot)
    content = document.to_json(deferred=False)
    return {"target_id": None, "root_id": plot.id, "doc": content, "version": bokeh.__version__}


def figure(recording: Recording, name: str, epoch: float = -1) -> Plot:
    """One figure of a recording, for a paper or a notebook.

    Parameters
    ----------
    recording : Recording
    name : {"spectrum", "cumulative", "projections", "history", "regime", "layers",
        "quality_intensity"}
    epoch : float
        The newest frame at or before this epoch is shown; −1 is the last frame, −2 the one before.

    Returns
    -------
    bokeh.models.Plot
        Show it with `bokeh.io.show`, or change it first: width, height, fonts, `output_backend`
        ("svg" for vector graphics).

    Raises
    ------
    ValueError
        If `name` is unknown, or names something that the recording does not hold; if `epoch` is
        negative and no whole number.
    IndexError
        If there is no such frame.
    """
    if not isinstance(name, str) or name not in FIGURES:
        raise ValueError(f"name={name!r}: must be one of {', '.join(map(repr, FIGURES))}")
    frame = recording.at(epoch)
    plot = FIGURES[name](recording, frame)
    told = [recording.info.title, f"epoch {frame.epoch:g}"]
    if name in ("history", "regime") and is_kept(frame.labels):  # k95 stands in another's zone
        told.append(regime_said(frame.labels, recording.info.all_needed))
    title = ", ".join(filter(None, told))
    plot.title = Title(text=title, text_font_style="normal", text_font_size="13px")
    plot.update(
        width=640,
        height=420,
        sizing_mode="fixed",
        background_fill_color="white",
        border_fill_color="white",
        toolbar_location="right",
        min_border_right=12,
    )
    plot.add_tools(PanTool(), WheelZoomTool(), ResetTool(), SaveTool())
    return plot
