"""Every figure, declared once with Bokeh, and filled for print.

May use: recording.
Never here: torch, or the live view's state.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    if name != "figure":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Only when asked for: a view imports this room and no Bokeh.
    from fswidget.figures.drawing import figure

    return figure
