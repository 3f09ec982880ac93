"""What of a run may change while it goes on, and what has changed."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from fswidget.training.changes import describe_change
from fswidget.training.config import Config

#: Settings that a run takes up at its next step; every other begins a new run.
STEERABLE = (
    *("lr", "weight_decay", "momentum", "schedule", "warmup_steps", "batch_size", "label_noise"),
    *("frozen", "epochs", "max_steps", "frame_every", "analysis_budget"),
)
#: Settings that a resumed run may change: where it runs, how long, and what it shows.
FREE = {"root", "download", "device", "compile", "epochs", "max_steps", "frame_every"}
FREE |= {"analysis_budget", "test_size", "layers", "probe_size", "num_eigenfunctions", "num_shown"}
FREE |= {"more_measures", "ntk"}
#: Those of them that change only where a run begins to go on.
AT_START = FREE - {*STEERABLE}


class StateError(ValueError):
    """A state that cannot be read: of another version, or not of this network."""


@contextmanager
def restoring(state: Mapping[str, Any], config: Config) -> Iterator[Config]:
    """The configuration of a state, which is read within, for a run with `config` to go on from.

    What a state lacks, or has in another form, is a `StateError`; what else goes wrong, as a device
    out of memory, says nothing of the state and stays what it is.

    Raises
    ------
    ValueError
        If it is of another run; `StateError` if it cannot be read.
    """
    with _reading():
        earlier = Config.from_dict(state["config"], like=config)
    same = {name: getattr(config, name) for name in FREE}
    if change := describe_change(earlier.replace(**same), config):
        raise ValueError(f"state: is of another run ({change}); must have the same settings")
    with _reading():
        yield earlier


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except (LookupError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "loading state_dict" not in str(error):
            raise
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise StateError(
            f"state: cannot be read ({reason}); must be of this network and this version"
        ) from error


def config_of(state: Mapping[str, Any], settings: dict[str, Any]) -> Config:
    """The configuration that a state has kept.

    Parameters
    ----------
    state : mapping
        See `Training.state_dict`.
    settings : dict
        A ``model`` and ``dataset`` of one's own, which no state keeps, are taken out of it.
    """
    own = {str(name): settings.pop(name) for name in ("model", "dataset") if name in settings}
    return Config.from_dict({**state["config"], **own})


def shows_the_same(earlier: Config, config: Config) -> bool:
    """Whether the eigenfunctions of the two are shown at the same points."""
    names = ("probe_size", "num_shown", "num_eigenfunctions")
    return all(getattr(earlier, name) == getattr(config, name) for name in names)


class Steering:
    """Settings that are wanted, from any thread, and a list of those that came into force.

    Parameters
    ----------
    config : Config
        In force.
    planned : sequence of (int, dict)
        Settings that are to come by themselves, and at which steps, ascending.

    Attributes
    ----------
    events : list of str
        What changed, in words.
    history : list of (int, dict)
        Steps at which settings came into force, and which.
    """

    def __init__(
        self, config: Config, planned: Sequence[tuple[int, Mapping[str, Any]]] = ()
    ) -> None:
        self.wanted = config
        self.events: list[str] = []
        self.history: list[tuple[int, dict[str, Any]]] = []
        self._planned = list(planned)
        self._lock = threading.Lock()

    def want(self, settings: dict[str, Any]) -> Config:
        """Note settings for the next step, in place of those planned; the configuration that will
        be in force then.

        Raises
        ------
        ValueError
            If a setting cannot change during a run, or a value is impossible beside the others.
        TypeError
            If there is no such setting.
        """
        with self._lock:
            self.wanted = self._with(settings)
            self._planned = [
                (step, {name: value for name, value in later.items() if name not in settings})
                for step, later in self._planned
            ]
            return self.wanted

    def _with(self, settings: Mapping[str, Any]) -> Config:
        changed = self.wanted.replace(**settings)
        for name in settings:
            if name not in STEERABLE and getattr(changed, name) != getattr(self.wanted, name):
                raise ValueError(
                    f"{name}={settings[name]!r}: begins a new run; a run that is on takes up "
                    f"{', '.join(STEERABLE)}"
                )
        if changed.label_noise != self.wanted.label_noise and changed.label_pixels:
            raise ValueError(
                f"label_noise={changed.label_noise!r}: begins a new run, since label_pixels "
                "wrote the labels into the pictures"
            )
        return changed

    def due(self, step: int) -> Config:
        """What is wanted by now, with what was planned for this step."""
        with self._lock:
            while self._planned and self._planned[0][0] <= step:
                self.wanted = self._with(self._planned.pop(0)[1])
            return self.wanted

    def note(self, old: Config, new: Config, step: int, epoch: float) -> None:
        """Write down that `new` came into force."""
        changed = {n: v for n in STEERABLE if (v := getattr(new, n)) != getattr(old, n)}
        self.history.append((step, changed))
        self.events.append(f"step {step} (epoch {epoch:.4g}): {describe_change(old, new)}")
