"""The runs of a sweep, and how they are kept in a file."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fswidget.recording import file, journal
from fswidget.recording.atomic import atomic_write, with_suffix
from fswidget.recording.differences import difference_if_measured
from fswidget.recording.recording import Recording

if TYPE_CHECKING:
    from bokeh.plotting import figure

    from fswidget.widget.sweep_view import SweepViewer


_COMPARED = ("from", "to", "difference", "low", "high", "differ", "text")


@dataclass(frozen=True)
class Run:
    """One run of a sweep.

    Parameters
    ----------
    settings : dict
        The whole configuration, JSON types only; ``root`` only where it is an axis.
    scalars : dict of str to float
        Of the last frame, see `fswidget.recording.SCALARS`; empty for a run that failed.
    labels : dict of str to str
        Of the last frame.
    seconds : float
        Wall time.
    error : str
        The traceback of what ended the run; empty for a run that went well.
    recording : Recording, optional
        Where the sweep kept it.
    """

    settings: Mapping[str, Any]
    scalars: Mapping[str, float] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    seconds: float = math.nan
    error: str = ""
    recording: Recording | None = field(default=None, repr=False, compare=False)

    @property
    def reason(self) -> str:
        """The last line of `error`."""
        return (self.error.strip().splitlines() or [""])[-1]


class Sweep:
    """The runs of a grid, in the order of the grid.

    Parameters
    ----------
    base : dict
        The settings that all runs share.
    axes : dict of str to list
        The settings that differ, with their values.
    runs : sequence of Run
    """

    def __init__(
        self, base: Mapping[str, Any], axes: Mapping[str, Sequence[Any]], runs: Sequence[Run]
    ) -> None:
        self.base = dict(base)
        self.axes = {name: list(values) for name, values in axes.items()}
        self.runs = list(runs)

    @property
    def failed(self) -> list[Run]:
        """The runs that ended in an error."""
        return [run for run in self.runs if run.error]

    def __len__(self) -> int:
        return len(self.runs)

    def __iter__(self) -> Iterator[Run]:
        return iter(self.runs)

    def __repr__(self) -> str:
        size = " × ".join(f"{name} {len(values)}" for name, values in self.axes.items())
        return f"<Sweep {size}: {len(self)} runs, {len(self.failed)} failed>"

    def sel(self, **settings: Any) -> Recording | list[Recording]:
        """The recordings of the runs that have these settings.

        Parameters
        ----------
        **settings
            A value for some axes or for all, as in ``result.sel(width=256, batchnorm=True)``.

        Returns
        -------
        Recording or list of Recording
            One recording where every axis with several values is given; else those of the runs that
            went well, in the order of the grid.

        Raises
        ------
        ValueError
            If there is no such axis, no such value, or the sweep kept no recording of such a run.
        """
        for name, value in settings.items():
            if name not in self.axes:
                raise ValueError(f"{name}={value!r}: must be one of {', '.join(self.axes)}")
            if value not in self.axes[name]:
                values = ", ".join(map(repr, self.axes[name]))
                raise ValueError(f"{name}={value!r}: must be one of {values}")
        runs = [r for r in self.runs if all(r.settings[n] == v for n, v in settings.items())]
        kept = [run.recording for run in runs if run.recording is not None]
        if not kept:
            why = next((run.reason for run in runs if run.error), "")
            why = why or 'sweep(..., keep="recordings") keeps them'
            raise ValueError(f"sel: no recording of {settings or 'any run'} ({why})")
        whole = all(n in settings or len(values) == 1 for n, values in self.axes.items())
        return kept[0] if whole else kept

    def table(self) -> dict[str, list[Any]]:
        """A column for every axis, every scalar of the last frames, the regime and the errors.

        Returns
        -------
        dict of str to list
            One entry per run; NaN where a run has no such number. ``error`` is the last line of the
            traceback. ``pandas.DataFrame(result.table())`` reads it.
        """
        names = dict.fromkeys(name for run in self.runs for name in run.scalars)
        # seconds is of the whole run here, not of its last frame.
        names.pop("seconds", None)
        columns: dict[str, list[Any]] = {
            axis: [run.settings[axis] for run in self.runs] for axis in self.axes
        }
        for name in names:
            columns[name] = [run.scalars.get(name, math.nan) for run in self.runs]
        columns["regime"] = [run.labels.get("regime", "") for run in self.runs]
        columns["seconds"] = [run.seconds for run in self.runs]
        columns["error"] = [run.reason for run in self.runs]
        return columns

    def differences(
        self, axis: str, name: str = "low_rank_measure_debiased"
    ) -> dict[str, list[Any]]:
        """Whether runs with neighbouring values of an axis differ beyond seeds and samples.

        Parameters
        ----------
        axis : str
            Any but ``seed``; runs that are equal in all but this and the seed are compared.
        name : str
            Of a scalar.

        Returns
        -------
        dict of str to list
            A column for every other axis with several values but the seed, ``from`` and ``to`` (two
            values of `axis`), ``difference``, ``low`` and ``high`` (95% interval), ``differ``
            (True, False, or None with fewer than three seeds, or where a run lacks the number) and
            ``text``. See
            `fswidget.recording.differences.difference`.

        Raises
        ------
        ValueError
            If there is no such axis with several values, or no such scalar.
        """
        if axis == "seed" or len(self.axes.get(axis, ())) < 2:
            names = [n for n, values in self.axes.items() if n != "seed" and len(values) > 1]
            told = f"must be one of {', '.join(names)}" if names else "no axis has several values"
            raise ValueError(f"axis={axis!r}: {told}; seeds are what is compared beyond")
        if not any(name in run.scalars for run in self.runs):
            have = dict.fromkeys(n for run in self.runs for n in run.scalars)
            raise ValueError(f"name={name!r}: must be one of {', '.join(have) or 'none: no run'}")
        others = [n for n in self.axes if n not in (axis, "seed") and len(self.axes[n]) > 1]
        columns: dict[str, list[Any]] = {name: [] for name in (*others, *_COMPARED)}
        for place in itertools.product(*(self.axes[other] for other in others)):
            at = dict(zip(others, place, strict=True))
            for values in itertools.pairwise(self.axes[axis]):
                first, second = (self._finished({**at, axis: value}) for value in values)
                found = difference_if_measured(first, second, name)
                row = {**at, "from": values[0], "to": values[1]}
                row |= {key: getattr(found, key) for key in _COMPARED[2:]}
                for key, column in columns.items():
                    column.append(row[key])
        return columns

    def _finished(self, settings: Mapping[str, Any]) -> list[Mapping[str, float]]:
        """The last scalars of the runs that went well, one per seed."""
        return [
            run.scalars
            for run in self.runs
            if run.scalars and all(run.settings[n] == v for n, v in settings.items())
        ]

    def figure(
        self, value: str = "low_rank_measure", *, x: str | None = None, y: str | None = None
    ) -> figure:
        """A map of the sweep: `value` as colour, the regime in letters, means over other axes.

        Parameters
        ----------
        value : str
            Any scalar, see `fswidget.recording.SCALARS`.
        x, y : str, optional
            Axes of the sweep; the first two that have more than one value, if not given.

        Returns
        -------
        bokeh.plotting.figure

        Raises
        ------
        ValueError
            If there is no such scalar or axis, or no run went well.
        """
        from fswidget.figures.regime_map import regime_map

        return regime_map(self.axes, self.runs, value, x, y)

    def view(self, **options: Any) -> SweepViewer:
        """A widget whose sliders, one for each axis, swap the recorded runs.

        The epoch on show stays, and the run before stays as the ghost. With several seeds, "all"
        shows their means, with their standard deviation as bands.

        Parameters
        ----------
        **options
            As for `fswidget.Viewer`.

        Raises
        ------
        ValueError
            If the sweep kept no recordings.
        """
        from fswidget.widget.sweep_view import SweepViewer

        return SweepViewer.of(self, **options)

    def to_html(self, path: str | os.PathLike[str], **options: Any) -> Path:
        """Write one page with live sliders, as `view` has them; see `fswidget.to_html`."""
        from fswidget.widget.html import to_html

        return to_html(self, path, **options)

    def without_pictures(self) -> Sweep:
        """A copy whose recordings hold no pictures of the samples."""
        runs = [
            run
            if run.recording is None
            else replace(run, recording=run.recording.without_pictures())
            for run in self.runs
        ]
        return Sweep(self.base, self.axes, runs)

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        pictures: bool = True,
        projections: bool = True,
        dtype: str = "float32",
    ) -> Path:
        """Write the sweep, with the recordings that it kept, to one file, whole or not at all.

        Parameters
        ----------
        path : str or path-like
            ``.json`` is appended where it has no suffix.
        pictures, projections, dtype
            Of the recordings, see `Recording.save`.

        Returns
        -------
        pathlib.Path
            The file written.
        """
        left_out = file.left_out(pictures, projections, dtype)
        kept = self if pictures else self.without_pictures()
        runs = [content_of(run) for run in kept.runs]
        content = journal.to_bytes(self.base, self.axes, runs, leave_out=left_out, dtype=dtype)
        return atomic_write(with_suffix(path, ".json"), content)


def content_of(run: Run) -> journal.Content:
    """A run as a file holds it."""
    names = ("settings", "scalars", "labels", "seconds", "error")
    return {name: getattr(run, name) for name in names}, run.recording


def read(content: bytes) -> Sweep:
    """Read what `Sweep.save` wrote, or what a sweep with ``resume`` has written so far.

    Raises
    ------
    Exception
        Any, if it is damaged.
    """
    base, axes, runs = journal.read(content)
    return Sweep(base, axes, [Run(**fields, recording=recording) for fields, recording in runs])
