"""What a trainer is given to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fswidget.recording.frame import Frame
from fswidget.recording.recording import Recording
from fswidget.training.config import Config
from fswidget.training.loop import Training


@dataclass(frozen=True)
class Job:
    """A run to train.

    Parameters
    ----------
    config : Config
    training : Training, optional
        Go on with this one.
    state : mapping, optional
        Go on from what an earlier run kept (`Training.state_dict`).
    recording : Recording, optional
        Where the frames go on; a new one begins, if not given.
    frame : Frame, optional
        The first of the new recording; a frame is made at once, if not given.
    parent : str
        The run that this one branches from, at `epoch`, with `changes`.
    nth : int
        Which of several seeds it is of, from 0.
    first : Config, optional
        The settings at its beginning, where they have changed since, or will.
    history : sequence of (int, dict)
        What changes at which steps by itself.
    following : bool
        Whether it is of a further seed of the runs on show.
    """

    config: Config
    training: Training | None = None
    state: Mapping[str, Any] | None = None
    recording: Recording | None = None
    frame: Frame | None = None
    parent: str = ""
    epoch: float = 0.0
    changes: Mapping[str, Any] = field(default_factory=dict)
    nth: int = 0
    first: Config | None = None
    history: Sequence[tuple[int, dict[str, Any]]] = ()
    following: bool = False

    @property
    def base(self) -> Config:
        """The settings of the first of several seeds."""
        return self.config.replace(seed=(self.config.seed - self.nth) % 2**64)

    def make(self, keep_going: Callable[[], bool], on_epoch: Callable[[], None]) -> Training:
        """The training, at its beginning or where it goes on."""
        if self.training is not None:
            return self.training
        if self.parent:
            assert self.state is not None
            return Training.branch(
                self.state, keep_going=keep_going, on_epoch=on_epoch, **self.changes
            )
        how: dict[str, Any] = {"keep_going": keep_going, "on_epoch": on_epoch}
        config = self.first or self.config
        return Training(config, state=self.state, planned=self.history, **how)
