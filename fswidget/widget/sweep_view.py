"""The widget that shows a sweep: its sliders swap recorded runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import traitlets

from fswidget.recording.grid import Sweep
from fswidget.widget.grid import Grid, Place
from fswidget.widget.viewer import Viewer


class SweepViewer(Viewer):
    """Show a sweep: the view of `Viewer`, with a control for each axis; see `Sweep.view`.

    Every axis is a trait, as in ``view.width = 256``; a number between two values takes the nearer
    one. ``view.seed = "all"`` shows means over seeds, with their standard deviation as bands.
    """

    _grid: Grid

    def __init__(self, grid: Grid, **options: Any) -> None:
        self._grid = grid
        self._place: Place | None = None
        self._visited: list[dict[str, Any]] = []
        self._shown: dict[Place, tuple[str, str]] = {}
        controls, shown = json.dumps(grid.controls()), json.dumps(grid.map())
        super().__init__(_controls=controls, _map=shown, **options)
        with self.hold_sync():
            for name, value in grid.choices(grid.start).items():
                setattr(self, name, value)
        if self.reveal:
            self.epoch = grid.runs[grid.start][0].epoch
        self._swap(grid.start)
        self.pack()
        self.observe(lambda _: self._moved(), list(grid.axes))

    @classmethod
    def of(cls, sweep: Sweep, **options: Any) -> SweepViewer:
        """A viewer whose traits are the axes of a sweep that kept its recordings."""
        grid = Grid.of(sweep)
        traits = {
            name: traitlets.Any(values[0]).tag(sync=True) for name, values in grid.axes.items()
        }
        made: SweepViewer = type(cls.__name__, (cls,), traits)(grid, **options)
        return made

    @property
    def _setting_names(self) -> list[str]:
        return self._grid.settings

    def update(self, sweep: Sweep) -> None:
        """Take in the runs of a sweep that goes on; what is on show stays, unless it is a mean that
        has more seeds now.

        Parameters
        ----------
        sweep : Sweep
            With the same axes, as `fswidget.sweep` hands it to ``on_run``.

        Raises
        ------
        ValueError
            If the axes are others, or no recordings are kept.
        """
        grid = Grid.of(sweep)
        if grid.axes != self._grid.axes:
            raise ValueError(f"sweep: has the axes {dict(grid.axes)}; must have those on show")
        with self._exclusive():
            self._grid = grid
            self._tell(_map=json.dumps(grid.map()))
            place, shown = self._place, self.recording
            assert place is not None
            assert shown is not None
            if grid.runs[place].info.title != shown.info.title:
                self._swap(place)
                self.pack()

    def _linked_settings(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._grid.axes}

    def _show_settings_of(self, settings: Mapping[str, Any]) -> None:
        with self.hold_trait_notifications():
            for name in settings.keys() & self._grid.axes.keys():
                setattr(self, name, settings[name])

    def _check_settings(self, settings: Mapping[str, Any]) -> None:
        self._grid.check(settings)

    def _moved(self) -> None:
        choices = {name: getattr(self, name) for name in self._grid.axes}
        assert self._place is not None
        try:
            place = self._grid.place(choices)
        except ValueError:
            place = self._place
        if place not in self._grid.runs:
            reason = self._grid.missing.get(place, "no run has these settings")
            self._tell(message=f"Nothing to show: {reason}.")
            place = self._place
        for name, value in self._grid.choices(place).items():
            if getattr(self, name) is not value:
                self._tell(**{name: value})
        if place != self._place:
            self._tell(message="")
            self._swap(place)

    def _swap(self, place: Place) -> None:
        """Show another run at the epoch that is on show; the one before becomes the ghost."""
        recording = self._grid.runs[place]
        # Of a mean that has more seeds now the frames are others.
        title = recording.info.title
        known = self._shown.get(place, (title, f"run-{len(self._shown) + 1}"))
        run = known[1] if known[0] == title else f"{known[1]}+"
        self._shown[place] = title, run
        epoch = self.epoch
        before = {} if self._place is None else self._grid.choices(self._place)
        changed = [
            f"{name} {before[name]} → {value}"
            for name, value in self._grid.choices(place).items()
            if before and before[name] != value
        ]
        self._visited = [entry for entry in self._visited if entry["run"] != run]
        self._visited.append(
            {
                "run": run,
                "label": self._grid.label(place),
                "changed": ", ".join(changed),
                "frames": len(recording),
            }
        )
        self._place = place
        self._recordings[run] = self._recording = recording
        self._tell(_runs=json.dumps(self._visited))
        self._tell(run=run, epoch=epoch, num_frames=recording.appended)
        self._stream.open(run, recording)
