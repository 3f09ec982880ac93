"""The same four figures as one plotly `FigureWidget`."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from fswidget.recording.frame import Frame

from .payload import SCALARS


class Plotly:
    """Shows frames with plotly, one batched update a frame."""

    def __init__(self, frame: Frame) -> None:
        figure = make_subplots(2, 2)
        figure.update_layout(width=1120, height=640, showlegend=False, meta=0)
        figure.update_xaxes(type="log", row=1)
        figure.update_yaxes(type="log", row=1, col=1)
        cells = [(1, 1), (1, 2), (1, 2), (2, 1), *[(2, 2)] * len(SCALARS)]
        for index, (row, column) in enumerate(cells):
            mode = "markers" if index == 3 else "lines"
            figure.add_trace(go.Scatter(mode=mode), row, column)
        figure.data[3].marker = {"color": np.arange(len(frame.projections)) % 10, "size": 5}
        self.widget = go.FigureWidget(figure)
        self._history: list[list[float]] = []
        self.show(0, frame)

    def show(self, number: int, frame: Frame) -> None:
        """Update all traces."""
        k = np.arange(1, len(frame.eigenvalues) + 1)
        self._history.append([number, *(frame.scalars[name] for name in SCALARS)])
        history = np.array(self._history, np.float32).T
        columns = [
            (k, frame.eigenvalues / frame.eigenvalues[0]),
            (k, frame.quality),
            (k, frame.utilization),
            (frame.projections[:, 0], frame.projections[:, 1]),
            *((history[0], row) for row in history[1:]),
        ]
        with self.widget.batch_update():
            for trace, (x, y) in zip(self.widget.data, columns, strict=True):
                trace.x, trace.y = x, y
            self.widget.layout.meta = number
