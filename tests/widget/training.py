"""A training that needs no network: frames as fast as asked for, and failures on demand."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

from fswidget.recording.frame import Frame
from fswidget.training.config import Config
from fswidget.training.optimisation import Progress
from fswidget.training.steering import Steering
from fswidget.widget.explorer import Explorer
from tests.synthetic import make_frame, make_recording

INFO = make_recording(0).info
FRAMES = [make_frame(epoch) for epoch in range(40)]


class FakeTraining:
    """Takes the place of `Training`; ``plan`` is called before every frame."""

    plan: Callable[[], None] = staticmethod(lambda: None)
    due = False

    def __init__(self, config: Config, *, keep_going: Callable[[], bool], **_: Any) -> None:
        self.config = config
        self.info = INFO
        self.model = nn.Identity()
        self.progress = Progress(0, 1, 0, 1, 0, 0)
        self.step = 0
        self.steering = Steering(config)
        self._keep_going = keep_going

    def state_dict(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def frames(self, *, first: bool = True) -> Iterator[Frame]:
        """The frames of a recording made beforehand."""
        for frame in FRAMES[: self.config.epochs]:
            type(self).plan()
            if not self._keep_going():
                return
            yield frame


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition was never met"
        time.sleep(0.005)


def ran(explorer: Explorer) -> Explorer:
    """The explorer once its run has ended."""
    explorer.start()
    assert explorer.wait(60) == "finished"
    return explorer
