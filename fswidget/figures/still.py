"""A recording as one picture, made without a browser: what stands where no widget can be shown."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from fswidget.figures.theme import CLASS_COLORS, COLORS, FLOOR, used_of
from fswidget.recording.frame import Frame
from fswidget.recording.recording import Recording
from fswidget.recording.regimes import regime_of, regime_said
from fswidget.recording.scalars import best_estimate

#: Pixels of the picture, and of one drawn pixel before it is made smaller.
_WIDTH, _HEIGHT, _SCALE = 960, 300, 2

#: Most points drawn of the samples.
_POINTS = 600

Point = tuple[float, float]


def sentence(recording: Recording) -> str:
    """A recording in words: what was trained, for how long, the regime and D_LR.

    Examples
    --------
    >>> recording = fs.record(fs.Config(width=16, epochs=1, train_size=100, probe_size=100))
    >>> print(sentence(recording))
    mlp on digits, p = 16: 2 frames up to epoch 1, regime ..., D_LR ...
    """
    title = recording.info.title or "a network"
    if not len(recording):
        return f"{title}: no frames yet"
    frame = recording[-1]
    d_lr = _low_rank(frame)
    measured = f", D_LR {d_lr:.2f}" if math.isfinite(d_lr) else ""
    regime = regime_said(frame.labels, recording.info.all_needed)
    frames = f"{len(recording)} frame{'s' if len(recording) > 1 else ''}"
    return f"{title}: {frames} up to epoch {frame.epoch:g}, regime {regime}{measured}"


def picture(recording: Recording, epoch: float = -1) -> bytes:
    """A PNG of one frame: regime, spectrum, utilization, samples and the history of D_LR.

    Parameters
    ----------
    recording : Recording
        With at least one frame.
    epoch : float
        The newest frame at or before it; −1 is the last frame.

    Returns
    -------
    bytes
        At most 150 kB, typically 30.
    """
    frame = recording.at(epoch)
    canvas = _Canvas()
    needed = recording.info.all_needed
    regime, said = regime_of(frame.labels, needed), regime_said(frame.labels, needed)
    end = canvas.text((16, 10), said, 22, COLORS.get(regime, COLORS["ink"]))
    d_lr, used = _low_rank(frame), used_of(recording.info, frame)
    told = [recording.info.title, f"epoch {frame.epoch:g}"]
    told += [f"D_LR {d_lr:.3g}"] if math.isfinite(d_lr) else []
    told += [f"k95 {used:.4g}"] if math.isfinite(used) else []
    canvas.text((max(end + 16, 180), 16), "   ".join(filter(None, told)), 14)
    _draw_spectrum(canvas, recording, frame)
    _draw_shares(canvas, frame)
    _draw_samples(canvas, recording, frame)
    _draw_history(canvas, recording, frame)
    return canvas.png()


def _low_rank(frame: Frame) -> float:
    return frame.scalars.get(best_estimate(frame.scalars), math.nan)


class _Canvas:
    """A picture in which lengths are final pixels."""

    def __init__(self) -> None:
        self._image = Image.new("RGB", (_WIDTH * _SCALE, _HEIGHT * _SCALE), "white")
        self._draw = ImageDraw.Draw(self._image)

    def text(self, at: Point, words: str, size: int = 12, color: str = COLORS["ink"]) -> float:
        """Write from here on; where the words end."""
        font = ImageFont.load_default(size * _SCALE)
        self._draw.text(_scaled(at), _plain(words), fill=color, font=font)
        return at[0] + self._draw.textlength(_plain(words), font=font) / _SCALE

    def line(self, points: Sequence[Point], color: str, width: float = 2) -> None:
        if len(points) > 1:
            scaled = [_scaled(point) for point in points]
            self._draw.line(scaled, fill=color, width=round(width * _SCALE), joint="curve")

    def dot(self, at: Point, color: str, radius: float = 2) -> None:
        (x, y), r = _scaled(at), radius * _SCALE
        self._draw.ellipse((x - r, y - r, x + r, y + r), fill=color)

    def png(self) -> bytes:
        small = self._image.resize((_WIDTH, _HEIGHT), Image.Resampling.LANCZOS)
        stream = io.BytesIO()
        # 64 colours are enough for lines and dots, and a third of the bytes.
        small.quantize(64).save(stream, "PNG", optimize=True)
        return stream.getvalue()


def _scaled(point: Point) -> Point:
    return point[0] * _SCALE, point[1] * _SCALE


def _plain(words: str) -> str:
    """Letters that the font in Pillow has; another one need not be installed."""
    return (
        words.translate(str.maketrans("αρβ−²…", "arb-2."))
        .encode("latin-1", "replace")
        .decode("latin-1")
    )


class _Panel:
    """Axes with a title, on a quarter of the width."""

    def __init__(
        self,
        canvas: _Canvas,
        column: int,
        title: str,
        x: tuple[float, float],
        y: tuple[float, float],
        labels: tuple[str, str],
    ) -> None:
        self.canvas = canvas
        self._left, self._right = 16 + column * 238, 232 + column * 238
        self._top, self._bottom = 76, 262
        self._x, self._y = x, y
        canvas.text((self._left, 50), title, 13)
        corners = [
            (self._left, self._top),
            (self._left, self._bottom),
            (self._right, self._bottom),
        ]
        canvas.line(corners, COLORS["strong"], 1)
        canvas.text((self._left, self._bottom + 6), labels[0], 11, COLORS["strong"])
        canvas.text(
            (self._right - 7 * len(labels[1]), self._bottom + 6), labels[1], 11, COLORS["strong"]
        )

    def place(self, x: Any, y: Any) -> list[Point]:
        """Where values are drawn; none for what is not finite."""
        (left, right), (low, high) = self._x, self._y
        x, y = np.asarray(x, float), np.asarray(y, float)
        known = np.isfinite(x) & np.isfinite(y)
        across = self._left + (x - left) / (right - left or 1) * (self._right - self._left)
        up = self._bottom - (y - low) / (high - low or 1) * (self._bottom - self._top)
        up = np.clip(up, self._top, self._bottom)
        return list(zip(across[known].tolist(), up[known].tolist(), strict=True))

    def curve(self, x: Any, y: Any, color: str, width: float = 2) -> None:
        self.canvas.line(self.place(x, y), color, width)


def _relative(frame: Frame) -> NDArray[np.float64]:
    values = np.asarray(frame.arrays.get("eigenvalues", np.zeros(0)), float)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = values / values[:1]
        return np.where(shares > FLOOR, np.log10(shares), math.nan)


def _draw_spectrum(canvas: _Canvas, recording: Recording, frame: Frame) -> None:
    now, first = _relative(frame), _relative(recording[0])
    most = max(len(now), len(first), 2)
    known = np.concatenate([now, first])
    low = math.floor(min(known[np.isfinite(known)], default=-1) - 0.01)
    panel = _Panel(
        canvas, 0, "eigenvalues (log-log)", (0, math.log10(most)), (low, 0), ("1", f"{most}")
    )
    for values, color, width in ((first, COLORS["first"], 1.0), (now, COLORS["accent"], 2.0)):
        panel.curve(np.log10(np.arange(1, len(values) + 1)), values, color, width)


def _draw_shares(canvas: _Canvas, frame: Frame) -> None:
    curves = {n: frame.arrays[n] for n in ("quality", "utilization") if n in frame.arrays}
    most = max([2, *map(len, curves.values())])
    panel = _Panel(
        canvas,
        1,
        "utilization (blue), quality",
        (0, math.log10(most)),
        (0, 1.04),
        ("1", f"{most}"),
    )
    for name, values in curves.items():
        color = COLORS["accent" if name == "utilization" else name]
        panel.curve(np.log10(np.arange(1, len(values) + 1)), values, color)


def _draw_samples(canvas: _Canvas, recording: Recording, frame: Frame) -> None:
    points, labels = frame.arrays.get("projections"), np.asarray(recording.info.labels)
    if points is None or points.ndim != 2 or points.shape[1] < 2 or len(points) != len(labels):
        return
    first = 1 if points.shape[1] > 2 else 0
    chosen = np.unique(np.linspace(0, len(points) - 1, min(_POINTS, len(points))).astype(int))
    x, y = points[chosen, first], points[chosen, first + 1]
    if not len(chosen) or not np.isfinite(x).any() or not np.isfinite(y).any():
        return
    spans = [(float(np.nanmin(v)), float(np.nanmax(v))) for v in (x, y)]
    panel = _Panel(canvas, 2, "samples on two features", spans[0], spans[1], ("", ""))
    spread = np.ptp(labels) or 1.0
    for index, at in zip(chosen, zip(x, y, strict=True), strict=True):
        label = labels[index]
        share = (
            int(label) if recording.info.class_names else round(9 * (label - labels.min()) / spread)
        )
        for place in panel.place([at[0]], [at[1]]):
            canvas.dot(place, CLASS_COLORS[share % len(CLASS_COLORS)])


def _draw_history(canvas: _Canvas, recording: Recording, frame: Frame) -> None:
    epochs = [shown.epoch for shown in recording]
    last = max(epochs[-1], 1e-9)
    panel = _Panel(
        canvas, 3, "D_LR (blue), test by epoch", (0, last), (0, 1.04), ("0", f"{last:g}")
    )
    measured = [_low_rank(shown) for shown in recording]
    panel.curve(epochs, measured, COLORS["accent"])
    for name in ("test_accuracy", "test_r2"):
        if name in frame.scalars:
            values = [shown.scalars.get(name, math.nan) for shown in recording]
            panel.curve(epochs, values, COLORS["accuracy"])
    for place in panel.place([frame.epoch], [_low_rank(frame)]):
        canvas.dot(place, COLORS["accent"], 4)
