"""Recipes: what to train, what was reported, what to check, and what came out."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fswidget.recording.atomic import as_path
from fswidget.recording.loading import load_recording
from fswidget.recording.recording import Recording
from fswidget.training.config import Config

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


class Results(Mapping[str, "Sequence[Recording]"]):
    """Recordings by arm, one per seed."""

    def __init__(self, recordings: Mapping[str, Sequence[Recording]]) -> None:
        self._recordings = dict(recordings)

    def __getitem__(self, arm: str) -> Sequence[Recording]:
        return self._recordings[arm]

    def __iter__(self) -> Iterator[str]:
        return iter(self._recordings)

    def __len__(self) -> int:
        return len(self._recordings)

    def values_of(self, arm: str, name: str, step: int | None = None) -> NDArray[np.float64]:
        """A scalar at the end, or at most at `step`, shape (seeds,); NaN where absent."""
        frames = (
            [frame for frame in recording if step is None or frame.step <= step][-1]
            for recording in self[arm]
        )
        return np.array([frame.scalars.get(name, np.nan) for frame in frames])

    def mean(self, arm: str, name: str, step: int | None = None) -> float:
        """The mean over seeds of `values_of`."""
        return float(self.values_of(arm, name, step).mean())

    def regimes(self, arm: str) -> list[str]:
        """The regime at the end, one per seed."""
        return [recording[-1].labels["regime"] for recording in self[arm]]


@dataclass(frozen=True)
class Check:
    """A claim and whether results bear it out."""

    claim: str
    holds: Callable[[Results], bool]


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
        How many seeds the laptop size runs.
    note : str
        Where we differ from the paper, and why results differ if they do.
    """

    name: str
    title: str
    claim: str
    arms: Mapping[str, Arm]
    checks: Sequence[Check]
    seeds: int = 1
    note: str = field(default="", repr=False)

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
        whole = isinstance(seeds, Integral) and not isinstance(seeds, bool)
        if seeds is not None and not (whole and seeds >= 1):
            raise ValueError(f"seeds={seeds!r}: must be an integer ≥ 1, or None for {self.seeds}")
        count = self.seeds if seeds is None else seeds
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
        store: str | os.PathLike[str] = ".reproduce",
        progress: bool = True,
    ) -> Results:
        """Train whatever `store` does not hold yet, and return all results.

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
            Folder with one ``.npz`` a run; a run whose file is there is not repeated.
        progress : bool

        Raises
        ------
        ValueError
            If there is no such size, or `seeds` is no number of runs.
        FileNotFoundError
            If data is missing.
        """
        from fswidget.training.run_folder import record

        root = root or os.environ.get("FSWIDGET_DATA", "data")
        here = {"root": root, "download": download, "device": device}
        for _, config in self.runs(size, seeds):
            path = stored(config, store)
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                record(config.replace(**here), progress=progress).save(path)
        return self.results(size, seeds=seeds, store=store)

    def results(
        self,
        size: str = "laptop",
        *,
        seeds: int | None = None,
        store: str | os.PathLike[str] = ".reproduce",
    ) -> Results:
        """What `store` holds of this recipe; arms without a finished run are absent."""
        found: dict[str, list[Recording]] = {}
        for label, config in self.runs(size, seeds):
            path = stored(config, store)
            if path.exists():
                found.setdefault(label, []).append(load_recording(path))
        return Results(found)

    def table(self, results: Results | None = None) -> dict[str, list[Any]]:
        """Reported beside measured, one row per arm; `results` as `run` returns them.

        Returns
        -------
        dict of str to list
            ``arm``, ``reported``, ``seeds``, ``low_rank_measure`` with ``low_rank_measure_spread``
            (standard deviation over seeds; None for one), ``test`` (accuracy or R²),
            ``used_features``, ``num_features``, ``regime``; None where nothing was measured.
        """
        results = self.results() if results is None else results
        columns: tuple[str, ...] = (
            "arm",
            "reported",
            "seeds",
            "low_rank_measure",
            "low_rank_measure_spread",
        )
        columns += ("test", "used_features", "num_features", "kernel_drift", "regime")
        table: dict[str, list[Any]] = {name: [] for name in columns}
        for label, arm in self.arms.items():
            row: dict[str, Any] = dict.fromkeys(columns)
            row |= {"arm": label, "reported": arm.reported, "seeds": 0}
            if label in results:
                low_rank = results.values_of(label, "low_rank_measure")
                regimes = results.regimes(label)
                score = "test_accuracy" if arm.example.source.class_names is not None else "test_r2"
                row |= {
                    "seeds": len(low_rank),
                    "low_rank_measure": float(low_rank.mean()),
                    "low_rank_measure_spread": float(low_rank.std()) if len(low_rank) > 1 else None,
                    "test": results.mean(label, score),
                    "used_features": results.mean(label, "used_features"),
                    "num_features": results[label][0].info.num_features,
                    "kernel_drift": results.mean(label, "kernel_drift"),
                    "regime": max(set(regimes), key=regimes.count),
                }
            for name, value in row.items():
                table[name].append(value)
        return table

    def verdict(self, results: Results) -> list[tuple[str, bool | None]]:
        """Each check's claim and whether it holds; None where runs are missing."""
        return [(check.claim, _judge(check, results)) for check in self.checks]


def _judge(check: Check, results: Results) -> bool | None:
    try:
        return bool(check.holds(results))
    except KeyError:  # an arm that was not run yet
        return None


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
