"""Recipes: what to train, what was reported, what to check, and what came out."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from fswidget.experiments.campaign import run_side_by_side
from fswidget.experiments.progress_bar import ProgressBar
from fswidget.experiments.results import Check, Results, Verdict, judge
from fswidget.recording.atomic import as_path, require_writable
from fswidget.recording.differences import difference_if_measured
from fswidget.recording.loading import load_recording
from fswidget.recording.quiet import quiet
from fswidget.recording.recording import Recording
from fswidget.training.config import Config
from fswidget.training.datasets import probe_size

Store = str | os.PathLike[str]

SIZES = ("laptop", "desk", "full")


@dataclass(frozen=True)
class Arm:
    """One way of training within a recipe, in each size, and what the paper reports of it.

    A size is None where the arm is not run in it.
    """

    laptop: Config | None
    full: Config | None
    reported: str = ""
    desk: Config | None = None

    def config(self, size: str) -> Config | None:
        """The settings in a size of `SIZES`, or None."""
        config: Config | None = getattr(self, size)
        return config

    @property
    def example(self) -> Config:
        """The settings in the smallest size there is."""
        return next(config for size in SIZES if (config := self.config(size)) is not None)


@dataclass(frozen=True, kw_only=True)
class Study:
    """What a page shows of a recipe beside its usual table.

    Parameters
    ----------
    lines : callable, optional
        ``lines(results)`` gives further tables, as lines of Markdown.
    figure : callable, optional
        ``figure(results)`` gives an SVG in the place of that of courses over the epochs.
    caption : str
        Of the figure.
    """

    lines: Callable[[Results], list[str]] = lambda _: []
    figure: Callable[[Results], str] | None = None
    caption: str = "D_LR, k95 and accuracy against the epoch"


@dataclass(frozen=True)
class Recipe:
    """One of the paper's experiments.

    Parameters
    ----------
    name, title : str
    claim : str
        What is to be seen, in one sentence.
    arms : mapping of str to Arm
    checks : sequence of Check
    seeds : int
        How many seeds the laptop size runs; a claim needs three.
    desk_seeds : int
        How many the larger sizes run.
    note : str
        Where we differ from the paper, and why results differ if they do.
    study : Study
        What the page shows beside the usual table.
    """

    name: str
    title: str
    claim: str
    arms: Mapping[str, Arm]
    checks: Sequence[Check]
    seeds: int = 5
    desk_seeds: int = 3
    note: str = field(default="", repr=False)
    study: Study = field(default=Study(), repr=False)

    def __repr__(self) -> str:
        return f"<Recipe {self.name!r}: {self.title}, {len(self.arms)} arms>"

    @property
    def configs(self) -> list[Config]:
        """The laptop-size runs with their first seed."""
        return [arm.laptop for arm in self.arms.values() if arm.laptop is not None]

    def runs(self, size: str = "laptop", seeds: int | None = None) -> list[tuple[str, Config]]:
        """Arm and configuration of each run.

        Raises
        ------
        ValueError
            If there is no such size, or `seeds` is no number of runs.
        """
        if size not in SIZES:
            raise ValueError(f"size={size!r}: must be one of {', '.join(SIZES)}")
        if not (seeds is None or _counts(seeds)):
            raise ValueError(f"seeds={seeds!r}: must be an integer ≥ 1, or None for {self.seeds}")
        own = self.seeds if size == "laptop" else self.desk_seeds
        count = own if seeds is None else seeds
        return [
            (label, config.replace(seed=seed))
            for label, arm in self.arms.items()
            if (config := arm.config(size)) is not None
            for seed in range(count)
        ]

    def run(
        self,
        size: str = "laptop",
        *,
        seeds: int | None = None,
        root: str | None = None,
        download: bool = False,
        device: str = "auto",
        store: Store = ".reproduce",
        workers: int = 1,
        hours: float | None = None,
        progress: bool = True,
    ) -> Results:
        """Train whatever `store` does not hold yet, and return all results.

        Each run grows in a folder of its own in `store`, whose ``recording.npz`` can be looked at
        meanwhile, so that one that was stopped or killed goes on from there.

        Parameters
        ----------
        size : {"laptop", "desk", "full"}
        seeds : int, optional
            How many seeds; the recipe's own number if not given.
        root : str, optional
            Folder of the data sets; the environment variable FSWIDGET_DATA, or "data".
        download : bool
            Whether to fetch missing data sets into `root`.
        device : str
        store : path
            Folder with one ``.npz`` per run; a run whose file is there is not repeated.
        workers : int
            Runs side by side, each in a process with its share of the cores.
        hours : float, optional
            Stop after so much wall time; `left` says what is left.
        progress : bool
            Show one bar over all runs and their epochs, and one while data is read for long.

        Raises
        ------
        ValueError
            If there is no such size, or not of this recipe, or a number is out of range.
        FileNotFoundError
            If data is missing.
        OSError
            If `store` cannot be written to.
        RuntimeError
            If a run failed; the others were run first.
        KeyboardInterrupt, SystemExit
            After Ctrl-C or SIGTERM, when everything is kept.
        """
        if not _counts(workers):
            raise ValueError(f"workers={workers!r}: must be an integer ≥ 1")
        if hours is not None and not (_is(hours, Real) and hours > 0):
            raise ValueError(f"hours={hours!r}: must be a positive number, or None for no bound")
        every = [(config, stored(config, store)) for _, config in self.runs(size, seeds)]
        if not every:
            sizes = ", ".join(known for known in SIZES if self.runs(known))
            raise ValueError(f"size={size!r}: {self.name} has no such runs; must be one of {sizes}")
        root = root or os.environ.get("FSWIDGET_DATA", "data")
        here = {"root": root, "download": download, "device": device}
        waiting = [
            (_settled(config.replace(**here)), path)
            for _, config, path in self.left(size, seeds, store)
        ]
        with quiet(not progress):
            for config in {config.dataset: config for config, _ in waiting}.values():
                if config.source.files:
                    config.source.read(config)  # raises now what every run would raise
        cores = os.cpu_count() or 1
        if waiting:
            _require_store(store)
        with ProgressBar(self.title, every, shown=progress) as bar:
            outcomes = run_side_by_side(
                waiting,
                workers=workers,
                seconds=math.inf if hours is None else 3600 * hours,
                threads=None if workers == 1 else max(1, cores // workers),
                on_done=bar.done,
            )
        failed = [outcome for outcome in outcomes if outcome.status == "failed"]
        if failed:
            reason = failed[0].error.strip().splitlines()[-1]
            raise RuntimeError(f"{self.name}: {len(failed)} of {len(outcomes)} failed: {reason}")
        return self.results(size, seeds=seeds, store=store)

    def left(
        self, size: str = "laptop", seeds: int | None = None, store: Store = ".reproduce"
    ) -> list[tuple[str, Config, Path]]:
        """Arm, settings and file of each run that `store` does not hold whole."""
        runs = [(arm, config, stored(config, store)) for arm, config in self.runs(size, seeds)]
        return [run for run in runs if not run[2].exists()]

    def results(
        self,
        size: str = "laptop",
        *,
        seeds: int | None = None,
        store: Store | Sequence[Store] = ".reproduce",
    ) -> Results:
        """What `store` holds of this recipe; arms without a finished run are absent.

        Parameters
        ----------
        size, seeds
            As in `run`.
        store : path or sequence of paths
            Of several, the first that holds a run gives it.
        """
        stores = [store] if isinstance(store, str | os.PathLike) else store
        found: dict[str, list[Recording]] = {}
        for label, config in self.runs(size, seeds):
            paths = (stored(config, folder) for folder in stores)
            path = next((path for path in paths if path.exists()), None)
            if path is not None:
                found.setdefault(label, []).append(load_recording(path))
        return Results(found)

    def table(self, results: Results | None = None) -> dict[str, list[Any]]:
        """Reported beside measured, one row per arm; `results` as `run` returns them.

        Returns
        -------
        dict of str to list
            ``arm``, ``reported``, ``seeds``; means over seeds of ``low_rank_measure`` (the plain
            estimate), ``low_rank_measure_debiased``, ``low_rank_measure_debiased_error`` (of one
            run), ``train`` and ``test`` (accuracy or R²), ``used_features``, ``kernel_drift`` and
            ``seconds``; ``low_rank_measure_spread`` (standard deviation over seeds; None for one),
            ``num_features``, ``num_samples``, ``regime``, ``epochs`` and ``device``; and
            ``differs_from_first``, whether the debiased D_LR differs from that of the first arm
            beyond seeds and samples. None where nothing was measured.
        """
        results = self.results() if results is None else results
        rows = [self._row(label, results) for label in self.arms]
        return {name: [row.get(name) for row in rows] for name in _COLUMNS}

    def _row(self, label: str, results: Results) -> dict[str, Any]:
        arm = self.arms[label]
        row: dict[str, Any] = {"arm": label, "reported": arm.reported, "seeds": 0}
        if label not in results:
            return row
        recordings = results[label]
        score = "accuracy" if arm.example.source.class_names is not None else "r2"
        measured = {
            "low_rank_measure": "low_rank_measure",
            "low_rank_measure_debiased": "low_rank_measure_debiased",
            "low_rank_measure_debiased_error": "low_rank_measure_debiased_error",
            "train": f"train_{score}",
            "test": f"test_{score}",
            "used_features": "used_features",
            "kernel_drift": "kernel_drift",
            "seconds": "seconds",
        }
        config, plain = recordings[0].config, results.values_of(label, "low_rank_measure")
        return {
            **row,
            "seeds": len(recordings),
            **{name: results.mean(label, scalar) for name, scalar in measured.items()},
            "low_rank_measure_spread": float(plain.std()) if len(plain) > 1 else None,
            "epochs": recordings[0][-1].epoch,
            "num_features": recordings[0].info.num_features,
            "num_samples": probe_size(Config.from_dict(config)),
            "device": ", ".join(sorted({str(r.config.get("device")) for r in recordings})),
            "regime": results.usual_regime(label),
            "differs_from_first": self._differs(label, results),
        }

    def _differs(self, label: str, results: Results) -> str | None:
        first = next(iter(self.arms))
        if label == first or first not in results:
            return None
        return difference_if_measured(results[first], results[label]).text

    def verdict(self, results: Results, size: str = "laptop") -> list[Verdict]:
        """What the runs say of each claim that can be asked in a size; see `judge`."""
        return [judge(check, results) for check in self.checks if size in check.sizes]


_COLUMNS = (
    "arm",
    "reported",
    "seeds",
    "low_rank_measure",
    "low_rank_measure_spread",
    "low_rank_measure_debiased",
    "low_rank_measure_debiased_error",
    "train",
    "test",
    "used_features",
    "num_features",
    "num_samples",
    "kernel_drift",
    "regime",
    "epochs",
    "seconds",
    "device",
    "differs_from_first",
)


def _is(value: Any, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _counts(value: Any) -> bool:
    return _is(value, Integral) and value >= 1


def _require_store(store: Store) -> None:
    """Raise what every run would raise that cannot be kept."""
    try:
        folder = as_path(store)
        folder.mkdir(parents=True, exist_ok=True)
        require_writable(folder / "run.npz")
    except OSError as error:
        wrong = f"store={str(store)!r}: must be a folder to write to ({error})"
        raise type(error)(wrong) from error


def _settled(config: Config) -> Config:
    """With the device that it will run on, so that the recording tells."""
    from fswidget.training.optimisation import device_of  # looking at results needs no torch

    return config.replace(device=str(device_of(config)))


def stored(config: Config, store: str | os.PathLike[str]) -> Path:
    """Where the recording of a run lies; where its data and its device are does not matter."""
    elsewhere = {"root", "download", "device"}
    changed = {
        setting.name: getattr(config, setting.name)
        for setting in fields(config)
        if setting.name not in elsewhere and getattr(config, setting.name) != setting.default
    }
    digest = hashlib.sha256(json.dumps(changed, sort_keys=True).encode()).hexdigest()[:12]
    return as_path(store) / f"{config.model}-{config.dataset}-{digest}.npz"
