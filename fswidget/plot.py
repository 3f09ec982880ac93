"""Figures for a paper, with matplotlib: ``fs.plot.compare([a, b, c])``."""

from fswidget.figures.paper import plot as figure
from fswidget.figures.paper import plot_compare as compare

__all__ = ["compare", "figure"]
