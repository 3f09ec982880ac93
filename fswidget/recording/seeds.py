"""Several runs that differ in their seed, as one: means, and their spread as errors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fswidget.recording.frame import Frame
from fswidget.recording.grid import Run, Sweep
from fswidget.recording.recording import Recording

#: What each of several runs is drawn by, too: arrays ``seeds_NAME`` with one number per run.
EACH = ("used_features", "low_rank_measure", "low_rank_measure_debiased")
#: Numbers of no interest as a spread.
_PLAIN = ("lr", "seconds", "analysis_seconds")

#: Curves along the features, cut to the shortest.
_CURVES = ("eigenvalues", "exact_eigenvalues", "quality", "utilization", "truncated_accuracy")


def mean_of(recordings: Sequence[Recording]) -> Recording:
    """The mean of runs that differ in their seed alone.

    Parameters
    ----------
    recordings : sequence of Recording
        One or more. Epochs that not all of them have are left out.

    Returns
    -------
    Recording
        Scalars and curves are means, eigenvalues geometric ones; the ``_error`` of each is the
        sample standard deviation over the runs, in place of the jackknife error. Of D_LR and k95
        the numbers of each run are kept, as ``arrays["seeds_used_features"]``, … Samples and their
        positions are those of the first run, since eigenfunctions of different networks have no
        order in common. The regime is that of most runs.

    Raises
    ------
    ValueError
        If there is no run, or no epoch that all have.
    """
    if not recordings:
        raise ValueError("recordings: none")
    first = recordings[0]
    if len(recordings) == 1:
        return first
    title = f"{first.info.title}, mean of {len(recordings)} seeds".lstrip(", ")
    mean = Recording(
        replace(first.info, title=title), byte_budget=None, provenance=first.provenance
    )
    by_epoch = [{frame.epoch: frame for frame in recording} for recording in recordings]
    for frame in first:
        frames = [frames.get(frame.epoch) for frames in by_epoch]
        if None not in frames:
            mean.append(_mean_frame([f for f in frames if f is not None]))
    if not len(mean):
        raise ValueError("recordings: no epoch that all of them have")
    return mean


def sweep_of(recordings: Sequence[Recording]) -> Sweep:
    """Runs that differ in their seed alone, as a sweep over it."""
    runs = [Run(r.config, r[-1].scalars, r[-1].labels, recording=r) for r in recordings]
    base = {name: value for name, value in recordings[0].config.items() if name != "seed"}
    return Sweep(base, {"seed": [run.settings["seed"] for run in runs]}, runs)


def _mean_frame(frames: Sequence[Frame]) -> Frame:
    first = frames[0]
    names = [n for n in first.scalars if all(n in frame.scalars for frame in frames)]
    scalars: dict[str, float] = {}
    for name in names:
        if not name.endswith("_error"):
            values = np.array([frame.scalars[name] for frame in frames])
            scalars[name] = float(values.mean())
            if name not in _PLAIN:
                scalars[f"{name}_error"] = float(values.std(ddof=1))
    regimes = Counter(frame.labels.get("regime", "?") for frame in frames).most_common()
    counts = ", ".join(f"{name} {count}" for name, count in regimes)
    labels = {
        **first.labels,
        "regime": regimes[0][0],
        "seeds": str(len(frames)),
        "evidence": f"Mean of {len(frames)} seeds ± their standard deviation; regimes: {counts}.",
    }
    arrays = _mean_arrays(frames)
    for name in EACH:
        if name in names:
            arrays[f"seeds_{name}"] = np.array([frame.scalars[name] for frame in frames])
    return Frame(first.epoch, first.step, scalars, labels, arrays)


def _mean_arrays(frames: Sequence[Frame]) -> dict[str, NDArray[Any]]:
    first = frames[0]
    arrays: dict[str, NDArray[Any]] = {}
    for name, array in first.arrays.items():
        others = [frame.arrays.get(name) for frame in frames]
        given = [other for other in others if other is not None]
        if len(given) < len(frames):
            continue
        if name in _CURVES:
            length = min(map(len, given))
            values = np.array([other[:length] for other in given], np.float64)
            if name.endswith("eigenvalues"):
                with np.errstate(divide="ignore", invalid="ignore"):
                    arrays[name] = np.exp(np.log(values).mean(axis=0))
                continue
            arrays[name] = values.mean(axis=0)
            arrays[f"{name}_error"] = values.std(axis=0, ddof=1)
        elif name.startswith("layer_"):
            arrays[name] = np.mean(given, axis=0)
        elif not name.endswith("_error"):
            arrays[name] = array
    return arrays
