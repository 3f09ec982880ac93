"""One progress bar over the runs of a recipe and their epochs."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path

from tqdm.auto import tqdm

from fswidget.experiments.campaign import Outcome, growing
from fswidget.training.config import Config

#: How often the files of the runs are looked at, in seconds.
_EVERY = 0.5


class ProgressBar:
    """Shows how far runs are that other processes may train, from the files they keep.

    Parameters
    ----------
    title : str
    runs : sequence of (Config, Path)
        Those that are finished too.
    shown : bool
    """

    def __init__(self, title: str, runs: Sequence[tuple[Config, Path]], shown: bool) -> None:
        self._epochs = {path: _epochs(config) for config, path in runs}
        self._ended = {path for path in self._epochs if path.exists()}
        self._closed = threading.Event()
        self._reached = {
            path: epochs if path in self._ended else _kept(path)
            for path, epochs in self._epochs.items()
        }
        form = "{desc}{percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"
        self._bar = tqdm(
            total=sum(self._epochs.values()),
            initial=sum(self._reached.values()),  # so that the time left is that of what is left
            desc=title,
            bar_format=form,
            disable=not shown,
        )
        self._tell()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> ProgressBar:
        if not self._bar.disable:
            self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        if self._watcher.is_alive():
            self._watcher.join()
        self._bar.close()

    def done(self, outcome: Outcome) -> None:
        """A run ended or was stopped."""
        if outcome.status != "left":
            self._ended.add(outcome.path)
        if outcome.status == "finished":
            self._reach(outcome.path, self._epochs[outcome.path])
        self._tell()

    def _tell(self) -> None:
        self._bar.set_postfix(runs=f"{len(self._ended)}/{len(self._epochs)}")

    def _watch(self) -> None:
        while not self._closed.wait(_EVERY):
            for path in self._epochs.keys() - self._ended:
                self._reach(path, _kept(path))

    def _reach(self, path: Path, epoch: float) -> None:
        self._bar.update(max(0.0, epoch - self._reached[path]))
        self._reached[path] = max(epoch, self._reached[path])


def _kept(path: Path) -> float:
    """The epoch that a run which is not finished has reached."""
    try:
        progress = json.loads((growing(path) / "progress.json").read_text(encoding="utf-8"))
        return float(progress["epoch"])
    except (OSError, ValueError, LookupError, TypeError):  # not begun, just finished, or damaged
        return 0.0


def _epochs(config: Config) -> float:
    """Epochs of a run; fewer than the setting where its steps are bounded."""
    if config.max_steps is None:
        return config.epochs
    per_epoch = -(-config.source.sizes(config)[0] // config.batch_size)
    return min(config.epochs, config.max_steps / per_epoch)
