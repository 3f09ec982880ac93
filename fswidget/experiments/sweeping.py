"""Grids of runs, spread over any `concurrent.futures.Executor`."""

from __future__ import annotations

import itertools
import json
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import fields, replace
from numbers import Real
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from fswidget.experiments.workers import require_ready, run_all
from fswidget.recording.atomic import with_suffix
from fswidget.recording.grid import Run, Sweep, content_of
from fswidget.recording.journal import Journal
from fswidget.recording.loading import load_sweep
from fswidget.recording.quiet import quiet
from fswidget.training.checks import as_json, read_setting
from fswidget.training.config import Config, no_setting
from fswidget.training.registry import DataSource, Network
from fswidget.training.signatures import takes_settings

KEPT = (None, "recordings")

load = load_sweep  # its former name


def sweep(
    config: Config,
    *,
    executor: Executor | None = None,
    resume: str | os.PathLike[str] | None = None,
    keep: str | None = None,
    byte_budget: int = 64_000_000,
    progress: bool = False,
    on_run: Callable[[Sweep], object] | None = None,
    **axes: Sequence[Any],
) -> Sweep:
    """Train a network for every combination of settings.

    Parameters
    ----------
    config : Config
        The settings that all runs share.
    executor : concurrent.futures.Executor, optional
        Where the runs go; it stays open. Tried: threads, processes, loky's, and Dask's
        ``client.get_executor()``, see ``docs/executors.md``; Ray's ``Pool`` and submitit's executor
        are none. If not given, a pool of one process per core, with one
        thread each; it spawns them, so scripts need ``if __name__ == "__main__":``.
    resume : path, optional
        A JSON file: what it holds is not run again (failed runs are), and every run is added to it
        as it ends, so that a sweep that was killed goes on with the same call. Values may be added
        to the axes later; the grid is then that of all values. Several processes may work on one
        file at once.
    keep : {"recordings"}, optional
        Keep the recording of each run beside its last numbers, for `Sweep.sel`, `Sweep.view` and
        `Sweep.to_html`.
    byte_budget : int
        Memory that the kept recordings take together, in bytes. Each run has the same share and
        thins its frames to it, as `Recording` does; fewer samples shown (``num_shown``) leave room
        for more frames.
    progress : bool
        Whether to show a progress bar, and one of reading pictures where that takes long.
    on_run : callable, optional
        Called with the sweep so far after each run: ``on_run=view.update`` shows runs, and the map
        of their regimes, while they arrive, where ``view = sofar.view()`` was made of the first.
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
        of another sweep, if files of a data set are damaged, or if a network or data set of one's
        own cannot reach the processes of the executor.
    FileNotFoundError
        Likewise, if files of a data set are missing.
    RuntimeError
        If every run failed, with the first cause.

    Examples
    --------
    >>> from concurrent.futures import ThreadPoolExecutor
    >>> config = fs.Config(epochs=1, train_size=100, width=16)
    >>> with ThreadPoolExecutor(1) as pool:
    ...     fs.sweep(config, width=[8, 16], executor=pool)
    <Sweep width 2: 2 runs, 0 failed>
    """
    if not isinstance(config, Config):
        raise TypeError(f"config={config!r}: must be a fswidget.Config")
    if on_run is not None and not callable(on_run):
        raise TypeError(f"on_run={on_run!r}: must be callable, or None")
    if not (executor is None or isinstance(executor, Executor)):
        raise TypeError(f"executor={executor!r}: must be a concurrent.futures.Executor, or None")
    if keep not in KEPT:
        raise ValueError(f"keep={keep!r}: must be 'recordings' or None")
    if isinstance(byte_budget, bool) or not isinstance(byte_budget, Real) or not byte_budget > 0:
        raise ValueError(f"byte_budget={byte_budget!r}: must be a positive number of bytes")
    values = {name: _axis(name, given) for name, given in axes.items()}
    if not values:
        raise ValueError("axes: none; give at least one, such as width=[32, 128]")
    grid = _Grid(config, values, None if resume is None else with_suffix(resume, ".json"))
    waiting = grid.waiting
    with quiet(not progress):
        require_ready(waiting, executor)
    share = None if keep is None else max(1, int(byte_budget) // len(grid))
    bar = tqdm(total=len(grid), initial=len(grid) - len(waiting), unit="run", disable=not progress)
    with bar:
        try:
            for run in run_all(waiting, executor, share):
                grid.add(run)
                bar.update()
                if on_run is not None:
                    on_run(grid.known)
        except KeyboardInterrupt:
            missing = len(grid) - len(grid.result)
            warnings.warn(f"interrupted: {missing} of {len(grid)} runs are missing", stacklevel=2)
    result = grid.result
    if result.failed and len(result.failed) == len(result):
        first = result.failed[0]
        error = RuntimeError(f"sweep: all {len(result)} runs failed, the first with {first.reason}")
        error.add_note(first.error)
        raise error
    return result


takes_settings(sweep, annotation="Sequence[Any]", default=())


class _Grid:
    """The combinations of a sweep, and what is known of each."""

    def __init__(self, config: Config, values: dict[str, list[Any]], path: Path | None) -> None:
        axes = {name: [as_json(value) for value in some] for name, some in values.items()}
        self.base = {k: v for k, v in _settings(config).items() if k not in (*axes, "root")}
        self.axes, self.path = axes, path
        old: list[Run] = []
        if path is not None and path.exists():
            old, self.axes = _continue(load_sweep(path), self.base, axes, path)
        self._journal = None if path is None else Journal(path, self.base, self.axes)
        self.done = {self._key(run.settings): self._kept(run) for run in old}
        given = (*values.get("model", ()), *values.get("dataset", ()))
        entries = {v.name: v for v in given if isinstance(v, Network | DataSource)}
        self.settings = []
        for combination in itertools.product(*self.axes.values()):
            chosen = dict(zip(self.axes, combination, strict=True))
            for name in {"model", "dataset"} & chosen.keys():
                if isinstance(chosen[name], str):
                    chosen[name] = entries.get(chosen[name], chosen[name])
            made = config.replace(**chosen)
            # A network or data set of one's own goes to the workers as such.
            own = {n: v for n, v in vars(made).items() if isinstance(v, Network | DataSource)}
            self.settings.append({**_settings(made), **own})

    def __len__(self) -> int:
        return len(self.settings)

    @property
    def waiting(self) -> list[dict[str, Any]]:
        """Settings that were not run yet, or failed."""
        done = {key for key, run in self.done.items() if not run.error}
        return [settings for settings in self.settings if self._key(settings) not in done]

    @property
    def result(self) -> Sweep:
        if self.path is not None and self.path.exists():
            # With what other processes have added to the file meanwhile.
            self.done |= {self._key(r.settings): self._kept(r) for r in load_sweep(self.path)}
        return self.known

    @property
    def known(self) -> Sweep:
        """What this process knows of."""
        known = (self.done.get(self._key(settings)) for settings in self.settings)
        return Sweep(self.base, self.axes, [run for run in known if run is not None])

    def _key(self, settings: Mapping[str, Any]) -> str:
        # All else is the same in all runs.
        return json.dumps([as_json(settings.get(name)) for name in self.axes])

    def _public(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The settings that are kept: where data lies on this machine is nobody else's business."""
        return {k: v for k, v in settings.items() if k != "root" or "root" in self.axes}

    def _kept(self, run: Run) -> Run:
        return replace(run, settings=self._public(run.settings))

    def add(self, run: Run) -> None:
        """Keep a run, in the file too where there is one."""
        run = self._kept(run)
        self.done[self._key(run.settings)] = run
        if self._journal is not None:
            self._journal.add(content_of(run))


def _axis(name: str, given: Any) -> list[Any]:
    if name not in {f.name for f in fields(Config)}:
        raise ValueError(f"{name}={given!r}: {no_setting(name)}")
    if isinstance(given, (str, bytes)) or not hasattr(given, "__iter__"):
        raise ValueError(f"{name}={given!r}: must be a list of values, such as [{given!r}]")
    if getattr(given, "ndim", 1) != 1:
        raise ValueError(
            f"{name}={given!r}: must be a list of values, not {given.ndim}-dimensional"
        )
    values = [read_setting(name, value) for value in given]
    names = [as_json(value) for value in values]
    if not values or any(names.count(value) > 1 for value in names):
        raise ValueError(f"{name}={given!r}: must be at least one value, each of them once")
    return values


def _settings(config: Config) -> dict[str, Any]:
    """JSON types, exactly as they come back from a file."""
    settings: dict[str, Any] = json.loads(json.dumps(config.to_dict()))
    return settings


def _continue(
    old: Sweep, base: dict[str, Any], values: dict[str, list[Any]], path: Path
) -> tuple[list[Run], dict[str, list[Any]]]:
    """The runs of an older sweep, and the axes of both together."""
    names = (base.keys() | old.base.keys()) - {"root"}
    # A file from before a setting was there holds what it is by default.
    kept = _settings(Config()) | old.base
    changed = sorted(k for k in names if base.get(k) != kept.get(k))
    if changed or set(old.axes) != set(values):
        what = f"{', '.join(changed)} differ" if changed else f"axes {', '.join(old.axes)}"
        raise ValueError(f"resume={str(path)!r}: holds another sweep ({what}); choose another file")
    merged = {
        name: [*old.axes[name], *(v for v in values[name] if v not in old.axes[name])]
        for name in values
    }
    return old.runs, merged
