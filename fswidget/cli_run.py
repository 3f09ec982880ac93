"""``python -m fswidget run``: one training, and what is kept of it however it ends."""

from __future__ import annotations

import contextlib
import json
import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from tqdm import tqdm

from fswidget.recording.atomic import require_writable, with_suffix
from fswidget.recording.grid import Sweep
from fswidget.recording.recording import Recording
from fswidget.recording.regimes import regime_said
from fswidget.recording.scalars import SCALARS

#: What a shell expects after Ctrl-C.
INTERRUPTED = 130

#: Seconds between two checkpoints: at least _LEAST, and _TIMES what writing one takes.
_LEAST, _TIMES = 1.0, 20.0


class Terminated(BaseException):
    """A signal that ends the process, once what was recorded is kept."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.status = 128 + number


@contextlib.contextmanager
def terminating() -> Iterator[Callable[[], None]]:
    """Have SIGTERM (Slurm, Docker, `kill`) and SIGHUP (a closed terminal) raise `Terminated`.

    Once one has come, or what is yielded was called, later ones are ignored.
    """
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        numbers = []  # Python lets no other thread set handlers

    def ignore() -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)

    def end(number: int, _: FrameType | None) -> None:
        ignore()
        raise Terminated(number)

    before = {number: signal.signal(number, end) for number in numbers}
    try:
        yield ignore
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Targets:
    """The files that a run is to leave behind, tried before it begins.

    Raises
    ------
    ValueError, OSError, ImportError
        If one could not be written.
    """

    def __init__(self, *, save: str | None, html: str | None, suffix: str = ".npz") -> None:
        self.save = None if save is None else with_suffix(save, suffix)
        self.html = None if html is None else with_suffix(html, ".html")
        for option, given, path in (("--save", save, self.save), ("--html", html, self.html)):
            if path is None:
                continue
            if not path.parent.is_dir():
                raise FileNotFoundError(f"{option}={given!r}: must be in a folder that is there")
            require_writable(path)
        if self.html is not None:
            from fswidget.widget.assets import bundle

            bundle("widget.js")
            if self.html == self.save:
                raise ValueError(f"--html={str(self.html)!r}: the same file as --save")
        self._next = -math.inf

    def checkpoint(self, recording: Recording) -> None:
        """Now and then, keep what there is: a run that is killed leaves that."""
        began = time.monotonic()
        if self.save is None or began < self._next:
            return
        try:
            recording.save(self.save)
        except (OSError, ValueError) as error:  # a full disk may have room again at the end
            print(f"fswidget: {error}", file=sys.stderr)
        ended = time.monotonic()
        self._next = ended + max(_LEAST, _TIMES * (ended - began))

    def write(self, recording: Recording | Sweep) -> tuple[list[Path], list[Exception]]:
        """Write each that can be written."""
        written: list[Path] = []
        failed: list[Exception] = []
        for path, write in ((self.save, recording.save), (self.html, recording.to_html)):
            try:
                if path is not None:
                    written.append(write(path))
            except Exception as error:
                failed.append(error)
        return written, failed


def run(
    *,
    html: str | None,
    save: str | None,
    quiet: bool,
    as_json: bool,
    overlap: bool | None,
    **settings: Any,
) -> int:
    """Train, and keep what was recorded whatever ends the run."""
    from fswidget.probing.inference import Diverged
    from fswidget.training.config import Config
    from fswidget.training.run_folder import training_that

    targets = Targets(save=save, html=html)
    status = 0
    training = training_that(overlap)(Config(**settings), keep_going=lambda: not status)
    recording = Recording(training.info)
    bar = tqdm(
        total=training.total_steps,
        desc=training.info.title,
        unit="step",
        disable=quiet,
        leave=False,
    )
    with terminating() as ignore_signals:
        try:
            for frame in training:
                recording.append(frame)
                targets.checkpoint(recording)
                bar.update(frame.step - bar.n)
                bar.set_postfix_str(_glance(recording))
        except (KeyboardInterrupt, Terminated) as end:
            status = end.status if isinstance(end, Terminated) else INTERRUPTED
            with contextlib.suppress(Exception):
                for frame in training.frames(first=False):  # the one that is being made
                    recording.append(frame)
        except Diverged as error:
            print(f"fswidget: training diverged: {error}", file=sys.stderr)
            status = 1
        finally:
            ignore_signals()
            bar.close()
            if len(recording):
                failed = _keep(recording, targets, quiet=quiet, as_json=as_json)
                status = status or 2 * failed
    return status


def _keep(recording: Recording, targets: Targets, *, quiet: bool, as_json: bool) -> bool:
    """Write the files and say so; whether one failed."""
    written, failed = targets.write(recording)
    if as_json:
        print(json.dumps({**described(recording), "files": list(map(str, written))}))
    elif not quiet:
        print(_summary(recording))
        for path in written:
            print(f"wrote {path}")
    for error in failed:
        print(f"fswidget: {error}", file=sys.stderr)
    return bool(failed)


def described(recording: Recording) -> dict[str, Any]:
    """The last frame as JSON types; null for what is not finite."""
    frame = recording[-1]
    return {
        "title": recording.info.title,
        "config": dict(recording.config),
        "epoch": frame.epoch,
        "step": frame.step,
        "frames": len(recording),
        "scalars": finite(frame.scalars),
        "labels": frame.labels,
    }


def finite(value: Any) -> Any:
    """JSON types, with null for what is not finite."""
    if isinstance(value, Mapping):
        return {name: finite(part) for name, part in value.items()}
    if isinstance(value, list):
        return [finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _glance(recording: Recording) -> str:
    frame = recording[-1]
    parts = {
        "loss": "loss",
        "test_accuracy": "test",
        "test_r2": "test R²",
        "low_rank_measure": "D_LR",
    }
    numbers = [
        f"{label} {frame.scalars[k]:.3g}" for k, label in parts.items() if k in frame.scalars
    ]
    return ", ".join([*numbers, regime_said(frame.labels, recording.info.all_needed)])


def _summary(recording: Recording) -> str:
    """The last frame, one number per line."""
    frame = recording[-1]
    lines = [f"{recording.info.title}, epoch {frame.epoch:g}, step {frame.step}"]
    for name, (unit, _) in SCALARS.items():
        value = frame.scalars.get(name, math.nan)
        if math.isfinite(value) and not name.endswith("_error"):
            error = frame.scalars.get(f"{name}_error", math.nan)
            spread = f" ± {error:.2g}" if math.isfinite(error) else ""
            lines.append(f"  {name:<26} {value:.4g}{spread} {unit}")
    said = regime_said(frame.labels, recording.info.all_needed)
    evidence = frame.labels["evidence"]
    # The sentence of a regime that is not defined begins with that.
    told = evidence if evidence.lower().startswith(said) else f"{said}: {evidence}"
    lines.append(f"  {'regime':<26} {told}")
    return "\n".join(lines)
