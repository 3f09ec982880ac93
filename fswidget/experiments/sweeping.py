"""Grids of runs, spread over any `concurrent.futures.Executor`."""

from __future__ import annotations

import itertools
import json
import math
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from bokeh.plotting import figure
from tqdm.auto import tqdm

from fswidget.experiments.workers import Run, require_data, run_all
from fswidget.recording.atomic import atomic_write, with_suffix
from fswidget.training.checks import plain
from fswidget.training.config import Config, no_setting

FORMAT_VERSION = 1


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
        columns["error"] = [(run.error.strip().splitlines() or [""])[-1] for run in self.runs]
        return columns

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

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the sweep to a JSON file, whole or not at all.

        Returns
        -------
        pathlib.Path
            The file written; ``.json`` is appended where `path` has no suffix.
        """
        content = {
            "format": "fswidget sweep",
            "version": FORMAT_VERSION,
            "base": self.base,
            "axes": self.axes,
            "runs": [_plain(asdict(run)) for run in self.runs],
        }
        text = json.dumps(content, allow_nan=False, indent=1)
        return atomic_write(with_suffix(path, ".json"), text.encode())


def load(path: str | os.PathLike[str]) -> Sweep:
    """Read a sweep that `Sweep.save` wrote.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, is no sweep, or was written by a newer version.
    """
    path = with_suffix(path, ".json")
    if not path.is_file():
        raise FileNotFoundError(f"path={str(path)!r}: no such file")
    try:
        content = json.loads(path.read_bytes())
        if content["format"] != "fswidget sweep":
            raise KeyError("format")
        if content["version"] > FORMAT_VERSION:
            raise ValueError(
                f"written in format {content['version']}, this fswidget reads up to "
                f"{FORMAT_VERSION}"
            )
        runs = []
        for run in content["runs"]:
            run["scalars"] = {name: float(value) for name, value in run["scalars"].items()}
            runs.append(Run(**{**run, "seconds": float(run["seconds"])}))
        return Sweep(content["base"], content["axes"], runs)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"path={str(path)!r}: no sweep that Sweep.save wrote ({error})") from error


def sweep(
    config: Config,
    *,
    executor: Executor | None = None,
    resume: str | os.PathLike[str] | None = None,
    progress: bool = False,
    **axes: Sequence[Any],
) -> Sweep:
    """Train a network for every combination of settings.

    Parameters
    ----------
    config : Config
        The settings that all runs share.
    executor : concurrent.futures.Executor, optional
        Where the runs go; it stays open. If not given, a pool of one process per core, with one
        thread each; it spawns them, so scripts need ``if __name__ == "__main__":``.
    resume : path, optional
        A JSON file: what it holds is not run again (failed runs are), and it is written after every
        run, so that a sweep that was killed goes on with the same call. Values may be added to the
        axes later; the grid is then that of all values.
    progress : bool
        Whether to show a progress bar.
    **axes : sequence
        For settings of `Config`, the values to run, as in ``width=[32, 128], seed=[0, 1, 2]``.

    Returns
    -------
    Sweep
        With every run; one that fails keeps its traceback in `Run.error`. An interrupt (Ctrl-C)
        ends the sweep with a warning and the runs so far.

    Raises
    ------
    ValueError
        Before anything runs, if an axis or a combination is impossible, if the file of `resume` is
        of another sweep, or if files of a data set are damaged.
    FileNotFoundError
        Likewise, if files of a data set are missing.

    Examples
    --------
    >>> from concurrent.futures import ThreadPoolExecutor
    >>> config = fs.Config(epochs=1, train_size=100, probe_size=100)
    >>> with ThreadPoolExecutor(1) as executor:
    ...     result = fs.sweep(config, executor=executor, width=[8, 16])
    >>> result.table()["width"]
    [8, 16]
    """
    if not isinstance(config, Config):
        raise TypeError(f"config={config!r}: must be a fswidget.Config")
    if not (executor is None or isinstance(executor, Executor)):
        raise TypeError(f"executor={executor!r}: must be a concurrent.futures.Executor, or None")
    values = {name: _axis(name, given) for name, given in axes.items()}
    if not values:
        raise ValueError("axes: none; give at least one, such as width=[32, 128]")
    grid = _Grid(config, values, None if resume is None else with_suffix(resume, ".json"))
    waiting = grid.waiting
    require_data(waiting, executor)
    bar = tqdm(total=len(grid), initial=len(grid) - len(waiting), unit="run", disable=not progress)
    with bar:
        try:
            for run in run_all(waiting, executor):
                grid.add(run)
                bar.update()
        except KeyboardInterrupt:
            missing = len(grid) - len(grid.result)
            warnings.warn(f"interrupted: {missing} of {len(grid)} runs are missing", stacklevel=2)
    return grid.result


class _Grid:
    """The combinations of a sweep, and what is known of each."""

    def __init__(self, config: Config, axes: dict[str, list[Any]], path: Path | None) -> None:
        self.base = {k: v for k, v in _settings(config).items() if k not in axes}
        self.axes, self.path = axes, path
        old: list[Run] = []
        if path is not None and path.exists():
            old, self.axes = _continue(load(path), self.base, axes, path)
        self.done = {_key(run.settings): run for run in old}
        self.settings = [
            _settings(config.replace(**dict(zip(self.axes, combination, strict=True))))
            for combination in itertools.product(*self.axes.values())
        ]

    def __len__(self) -> int:
        return len(self.settings)

    @property
    def waiting(self) -> list[dict[str, Any]]:
        """Settings that were not run yet, or failed."""
        done = {key for key, run in self.done.items() if not run.error}
        return [settings for settings in self.settings if _key(settings) not in done]

    @property
    def result(self) -> Sweep:
        known = (self.done.get(_key(settings)) for settings in self.settings)
        return Sweep(self.base, self.axes, [run for run in known if run is not None])

    def add(self, run: Run) -> None:
        """Keep a run, in the file too where there is one."""
        self.done[_key(run.settings)] = run
        if self.path is not None:
            self.result.save(self.path)


def _axis(name: str, given: Any) -> list[Any]:
    if name not in {f.name for f in fields(Config)}:
        raise ValueError(f"{name}={given!r}: {no_setting(name)}")
    if isinstance(given, (str, bytes)) or not hasattr(given, "__iter__"):
        raise ValueError(f"{name}={given!r}: must be a list of values, such as [{given!r}]")
    if getattr(given, "ndim", 1) != 1:
        raise ValueError(
            f"{name}={given!r}: must be a list of values, not {given.ndim}-dimensional"
        )
    values = [_listed(plain(value)) for value in given]
    if not values or any(values.count(value) > 1 for value in values):
        raise ValueError(f"{name}={given!r}: must be at least one value, each of them once")
    return values


def _listed(value: Any) -> Any:
    """A list, as JSON has it, for a tuple: the axes of a file and of a call must be alike."""
    return list(value) if isinstance(value, tuple) else value


def _settings(config: Config) -> dict[str, Any]:
    """JSON types, exactly as they come back from a file."""
    settings: dict[str, Any] = json.loads(json.dumps(config.to_dict()))
    return settings


def _continue(
    old: Sweep, base: dict[str, Any], values: dict[str, list[Any]], path: Path
) -> tuple[list[Run], dict[str, list[Any]]]:
    """The runs of an older sweep, and the axes of both together."""
    changed = sorted(k for k in base.keys() | old.base.keys() if base.get(k) != old.base.get(k))
    if changed or set(old.axes) != set(values):
        what = f"{', '.join(changed)} differ" if changed else f"axes {', '.join(old.axes)}"
        raise ValueError(f"resume={str(path)!r}: holds another sweep ({what}); choose another file")
    merged = {
        name: [*old.axes[name], *(v for v in values[name] if v not in old.axes[name])]
        for name in values
    }
    return old.runs, merged


def _key(settings: Mapping[str, Any]) -> str:
    return json.dumps(settings, sort_keys=True)


def _plain(run: dict[str, Any]) -> dict[str, Any]:
    """Numbers that JSON has no word for, as words."""

    def number(value: float) -> float | str:
        return value if math.isfinite(value) else str(value)

    scalars = {name: number(value) for name, value in run["scalars"].items()}
    return {**run, "scalars": scalars, "seconds": number(run["seconds"])}
