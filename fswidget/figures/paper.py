"""Figures for a paper, with matplotlib: sizes, fonts and colours are the reader's own rcParams."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fswidget.figures.intensity import LEAST, series
from fswidget.figures.modes import courses
from fswidget.figures.theme import (
    CLASS_COLORS,
    COLORS,
    FLOOR,
    label,
    minimal,
    regime_zones,
    used_of,
)
from fswidget.recording.frame import Frame
from fswidget.recording.recording import Recording
from fswidget.recording.scalars import best_estimate, mean_over_layers
from fswidget.recording.seeds import mean_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: One run, or several that differ in their seed and are drawn as mean and band.
Runs = Recording | Sequence[Recording]

_SHARES = ("test_accuracy", "test_r2")


def plot(
    recording: Runs, name: str, epoch: float = -1, ax: Axes | None = None, **style: Any
) -> Axes:
    """Draw one figure of a recording with matplotlib.

    Parameters
    ----------
    recording : Recording or sequence of Recording
        Several runs that differ in their seed are drawn as their mean, with one standard deviation
        as a band.
    name : {"spectrum", "cumulative", "projections", "history", "regime", "layers",
        "quality_intensity"}
    epoch : float
        The newest frame at or before this epoch; −1 is the last frame, −2 the one before.
    ax : matplotlib.axes.Axes, optional
        Where to draw; new axes, if not given. Figure size, fonts and line widths are those of
        ``matplotlib.rcParams``.
    **style
        For the curves, as matplotlib's ``plot`` takes them: ``color``, ``linestyle``, ``label``.

    Returns
    -------
    matplotlib.axes.Axes
        ``ax.figure.savefig("figure.pdf")`` writes vector graphics.

    Raises
    ------
    ImportError
        If matplotlib is not installed: ``pip install "fswidget[paper]"``.
    ValueError
        If `name` is unknown, or names something that the recording does not hold.
    IndexError
        If there is no such frame.

    Examples
    --------
    >>> recording = fs.record(fs.Config(width=16, epochs=1, train_size=100, probe_size=100))
    >>> recording.plot("spectrum", epoch=1).get_xlabel()
    'feature k'
    """
    if not isinstance(name, str) or name not in PLOTS:
        raise ValueError(f"name={name!r}: must be one of {', '.join(map(repr, PLOTS))}")
    one = _one(recording)
    ax = _axes(ax)
    PLOTS[name](ax, one, one.at(epoch), style)
    return ax


def plot_compare(
    recordings: Mapping[str, Runs] | Sequence[Runs],
    name: str = "history",
    *,
    epoch: float = -1,
    value: str = "low_rank_measure",
    ax: Axes | None = None,
) -> Axes:
    """Draw several runs into one figure with matplotlib.

    Parameters
    ----------
    recordings : mapping or sequence of Recording, or of sequences of Recording
        By the names of the legend; a sequence takes their titles. A sequence in place of a
        recording is several seeds: mean, and one standard deviation as a band.
    name : {"history", "spectrum", "utilization", "quality"}
    epoch : float
        Of the curves along the features.
    value : str
        Of the history: any scalar, see `fswidget.recording.SCALARS`.
    ax : matplotlib.axes.Axes, optional

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ImportError
        If matplotlib is not installed: ``pip install "fswidget[paper]"``.
    ValueError
        If there is no such figure, or no such scalar.

    Examples
    --------
    >>> recording = fs.record(fs.Config(width=16, epochs=1, train_size=100, probe_size=100))
    >>> ax = fs.plot.compare({"one": recording, "two": recording}, "spectrum")
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['one', 'two']
    """
    choices = ("history", "spectrum", "utilization", "quality")
    if name not in choices:
        raise ValueError(f"name={name!r}: must be one of {', '.join(map(repr, choices))}")
    if isinstance(recordings, Mapping):
        runs = [(key, _one(given)) for key, given in recordings.items()]
    else:
        runs = [(one.info.title or "run", one) for one in map(_one, recordings)]
    if not runs:
        raise ValueError("recordings: none")
    ax = _axes(ax)
    for title, one in runs:
        style = {"label": title}
        if name == "history":
            _scalar(ax, one, value, style)
        elif name == "spectrum":
            _eigenvalues(ax, one.at(epoch), style)
        else:
            _curve(ax, one.at(epoch), name, style)
    if name == "history":
        ax.set(xlabel="epoch", ylabel=label(value))
    elif name == "spectrum":
        ax.set(xlabel="feature k", ylabel=r"$\rho_k/\rho_1$", xscale="log", yscale="log")
    else:
        ax.set(xlabel="first k features", ylabel=label(name), xscale="log", ylim=(0, 1.04))
    ax.legend()
    return ax


def _one(given: Runs) -> Recording:
    if isinstance(given, Recording):
        return given
    if isinstance(given, Sequence) and all(isinstance(run, Recording) for run in given):
        return mean_of(given)
    raise TypeError(f"recording={given!r}: must be a Recording, or several")


def _axes(ax: Axes | None) -> Axes:
    if ax is not None:
        return ax
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError('plot needs matplotlib: pip install "fswidget[paper]"') from error
    return pyplot.subplots()[1]


def _line(ax: Axes, x: Any, y: Any, error: Any, style: Mapping[str, Any]) -> None:
    (line,) = ax.plot(x, y, **style)
    if error is not None and np.isfinite(error).any():
        ax.fill_between(x, y - error, y + error, color=line.get_color(), alpha=0.2, linewidth=0)


def _eigenvalues(ax: Axes, frame: Frame, style: Mapping[str, Any]) -> None:
    values = frame.eigenvalues / frame.eigenvalues[:1]
    kept = values > FLOOR
    ax.plot(np.arange(1, len(values) + 1)[kept], values[kept], **style)


def _curve(ax: Axes, frame: Frame, name: str, style: Mapping[str, Any]) -> None:
    y = frame.array(name)
    _line(ax, np.arange(1, len(y) + 1), y, frame.arrays.get(f"{name}_error"), style)


def _scalar(ax: Axes, recording: Recording, name: str, style: Mapping[str, Any]) -> None:
    table = recording.table()
    if name not in table:
        known = [column for column in table if column not in ("epoch", "step", "regime")]
        raise ValueError(f"value={name!r}: must be one of {', '.join(known)}")
    _line(ax, table["epoch"], table[name], table.get(f"{name}_error"), style)


def _spectrum(ax: Axes, recording: Recording, frame: Frame, style: dict[str, Any]) -> None:
    first = {"color": COLORS["first"], "linestyle": "--", "label": "first frame"}
    if len(recording) > 1:
        _eigenvalues(ax, recording[0], first)
    _eigenvalues(ax, frame, {"color": COLORS["accent"], "label": f"epoch {frame.epoch:g}", **style})
    exact = frame.arrays.get("exact_eigenvalues")
    if exact is not None:
        ring: dict[str, Any] = {
            "marker": "o",
            "markerfacecolor": "none",
            "linestyle": "",
            "label": "theory",
        }
        relative = exact / frame.eigenvalues[0]
        ax.plot(range(1, len(exact) + 1), relative, color=COLORS["ink"], **ring)
    ax.axvline(minimal(recording.info), color=COLORS["strong"], linestyle=":", linewidth=1)
    ax.set(xlabel="feature k", ylabel=r"$\rho_k/\rho_1$", xscale="log", yscale="log")
    ax.legend()


def _cumulative(ax: Axes, recording: Recording, frame: Frame, style: dict[str, Any]) -> None:
    for name, dash in (("utilization", "-"), ("quality", "--")):
        color = COLORS["accent" if name == "utilization" else name]
        own = {"color": color, "linestyle": dash, "label": name, **style}
        _curve(ax, frame, name, own)
    if "truncated_accuracy" in frame.arrays:
        own = {"color": COLORS["accuracy"], "linestyle": "-.", "label": "accuracy", **style}
        _curve(ax, frame, "truncated_accuracy", own)
    ax.axvline(minimal(recording.info), color=COLORS["strong"], linestyle=":", linewidth=1)
    ax.set(xlabel="first k features", ylabel="cumulative share", xscale="log", ylim=(0, 1.04))
    ax.legend()


def _projections(ax: Axes, recording: Recording, frame: Frame, style: dict[str, Any]) -> None:
    points, info = frame.projections, recording.info
    if points.shape[1] < 2:
        raise ValueError("name='projections': needs two eigenfunctions or more, the frame has one")
    first = 1 if points.shape[1] > 2 else 0  # e₁ is often nearly constant
    x, y = points[:, first], points[:, first + 1]
    style = {"s": 12, "linewidth": 0, **style}
    if info.class_names:
        for index, name in enumerate(info.class_names):
            chosen = info.labels == index
            color = CLASS_COLORS[index % len(CLASS_COLORS)]
            if chosen.any():
                ax.scatter(x[chosen], y[chosen], **{"color": color, "label": name, **style})
        if len(info.class_names) <= len(CLASS_COLORS):
            ax.legend()
    else:
        drawn = ax.scatter(x, y, c=info.labels, **style)
        ax.figure.colorbar(drawn, ax=ax, label="target")
    ax.set(xlabel=f"$e_{{{first + 1}}}$", ylabel=f"$e_{{{first + 2}}}$")


def _history(ax: Axes, recording: Recording, frame: Frame, style: dict[str, Any]) -> None:
    table = recording.table()
    measure = best_estimate(table)
    for name in (measure, *_SHARES):
        if name in table:
            _scalar(ax, recording, name, {"label": label(name), **style})
    ax.axvline(frame.epoch, color=COLORS["strong"], linewidth=0.8)
    ax.set(xlabel="epoch", ylabel="share, D_LR")
    ax.legend()


def _regime(ax: Axes, recording: Recording, frame: Frame, style: dict[str, Any]) -> None:
    least = minimal(recording.info)
    p = recording.info.num_features
    most = max(p, 4 * least)
    for name, low, high in regime_zones(recording.info, frame):
        ax.axhspan(max(low, 0.9), high, color=COLORS[name], alpha=0.15, linewidth=0)
    used = np.array([used_of(recording.info, shown) for shown in recording])
    table = recording.table()
    looks = {"color": COLORS["accent"], **style}
    _line(ax, table["epoch"], used, table.get("used_features_error"), looks)
    ax.plot([frame.epoch], [used_of(recording.info, frame)], marker="o", color=COLORS["accent"])
    ax.set(xlabel="epoch", ylabel="features in use, k95", yscale="log", ylim=(0.9, most))


def _layers(ax: Axes, recording: Recording, frame: Frame, style: dict[str, Any]) -> None:
    names = recording.info.layers
    if not names or "layer_low_rank_measure" not in frame.arrays:
        raise ValueError(
            "name='layers': no layers were watched in this run; name them with the setting 'layers'"
        )
    measure = best_estimate(frame.arrays, "layer_")
    values = frame.array(f"layer_{measure}")
    mean = mean_over_layers(frame.scalars, frame.arrays, measure)
    looks = {"marker": "o", "color": COLORS["accent"], **style}
    (line,) = ax.plot(range(1, len(names) + 1), values, **looks)
    if np.isfinite(mean):
        ax.axhline(mean, color=line.get_color(), linewidth=0.8, linestyle=":")
        ax.annotate(f"mean {mean:.2f}", (1, mean), xytext=(0, 3), textcoords="offset points")
    ax.set_xticks(range(1, len(names) + 1), names, rotation=30, ha="right")
    ax.set(xlabel="depth", ylabel=label(measure))


def _quality_intensity(ax: Axes, recording: Recording, frame: Frame, style: dict[str, Any]) -> None:
    for title, color, x, y in series(recording, frame):
        ax.scatter(x, y, **{"color": color, "label": title, "s": 14, "linewidth": 0, **style})
    names = (r"intensity $\rho_k/\rho_1$", r"quality $\Pi^*(k) - \Pi^*(k-1)$")
    ax.set(xlabel=names[0], ylabel=names[1], xscale="log", yscale="log")
    ax.set_ylim(bottom=LEAST)
    ax.legend(title="rank correlation")


def _modes(ax: Axes, recording: Recording, frame: Frame, style: dict[str, Any]) -> None:
    for k, color, epochs, measured, exact in courses(recording, frame):
        label = {"label": "measured" if k == 1 else None}
        ax.scatter(epochs, measured, **{"color": color, "s": 9, "linewidth": 0, **label, **style})
        if np.isfinite(exact).any():
            ax.plot(epochs, exact, color=color, label="theory" if k == 1 else None)
    ax.set(xlabel="epoch", ylabel=r"eigenvalue $\rho_k$", yscale="log")
    ax.legend()


PLOTS: dict[str, Callable[[Any, Recording, Frame, dict[str, Any]], None]] = {
    "spectrum": _spectrum,
    "cumulative": _cumulative,
    "projections": _projections,
    "history": _history,
    "regime": _regime,
    "layers": _layers,
    "quality_intensity": _quality_intensity,
    "modes": _modes,
}
