"""Training that does not wait for the analysis."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from fswidget.probing.linear_theory import with_theory
from fswidget.probing.probe import Probe
from fswidget.probing.threads import threads
from fswidget.recording.frame import Frame
from fswidget.training.config import Config
from fswidget.training.copying import Copied
from fswidget.training.isolation import isolated
from fswidget.training.loop import Training


class OverlappedTraining(Training):
    """A run that goes on while its frames are made, of a copy of the network.

    A frame needs a snapshot of the parameters and buffers, taken in milliseconds; a second thread
    (on a GPU, with a stream of its own) measures it, one frame at a time, and the frame is handed
    out when it is ready. On a CPU frames are bit for bit those of `Training`, in the same order.
    Memory: one more copy of the network, and what the analysis holds beside a step's activations.
    The copy has parameters, buffers and plain attributes of all modules; what hooks of your own
    keep elsewhere than in a module, it has of the network itself, which is ahead of it.

    Methods are those of `Training`. Where a frame is handed out, `step` and `model` may be ahead of
    ``frame.step``; so an `Explorer`, whose network on show is that of its last frame, waits for
    each. Settings change, and a run that fails fails, once the frame that is being made is handed
    out. `state_dict` waits for that frame and does not hold it: the time to keep a state is
    `on_epoch`, which is called while none is made; the frame of its epoch may be due then, and the
    state makes it again. A run with ``output_scale`` other than 1 waits for its frames, since its
    copy could not be told apart.

    Parameters
    ----------
    config, keep_going, state, on_epoch, planned
        As for `Training`.
    where_idle : bool, default False
        Go on only where that takes little from the training: on a GPU, and on a CPU of which it
        leaves a core idle. A network of your own, which may not bear to be copied, waits then, too.
    """

    def __init__(self, config: Config, *, where_idle: bool = False, **how: Any) -> None:
        self._where_idle = where_idle
        self._job: Future[Frame] | None = None
        self._owed = False  # an epoch ended that `on_epoch` was not told of
        self._failed: Exception | None = None  # while a frame was being made
        super().__init__(config, **how)

    def _make_probe(self, model: nn.Module) -> Probe:
        self._worker = ThreadPoolExecutor(1, "fswidget-analysis")
        apart = self.config.output_scale == 1 and (not self._where_idle or self._idle)
        self._twin = Copied(model, "overlap=True", "False") if apart else None
        self._stream: Any = None
        if self.device.type == "cuda":
            # Its many small kernels would each wait for those of a step that are queued.
            self._stream = torch.cuda.Stream(self.device, priority=-1)  # type: ignore[no-untyped-call]
        return super()._make_probe(model if self._twin is None else self._twin.model)

    @property
    def _idle(self) -> bool:
        """Whether something is left idle by the training, and the network is one of ours."""
        ours = isinstance(self.config.model, str)
        return ours and (self.device.type == "cuda" or self.threads < threads.given)

    def _advance(self) -> Frame | None:
        if self._twin is None:
            return super()._advance()
        if self._failed is not None:
            if self._job is not None:  # an interrupt left it
                return self._collect()
            failed, self._failed = self._failed, None
            raise failed
        while True:
            if self._job is not None and (self.due or self._job.done() or self._changes):
                return self._collect()
            if self.due:
                self._end_epoch()
                if not self._may_go_on():
                    return None
                self._submit(self._twin)
            self._end_epoch()
            self._take_up()
            try:
                learned = self._learn()
            except Exception as error:
                if self._job is None:
                    raise
                self._failed = error  # the frame was of before
                return self._collect()
            if not learned:
                return None if self._job is None else self._collect()

    def _adopt(self, config: Config) -> bool:
        if self._job is not None:
            wait([self._job])  # it shows the targets of before
        return super()._adopt(config)

    @property
    def _changes(self) -> bool:
        return self.steering.due(self.step) != self.config

    def _end_epoch(self) -> None:
        """Tell of it while no frame is under way: its own is due, or has been handed out."""
        if self._batches.ends_epoch(self.step) and self.step > self._told:
            self._told, self._owed = self.step, True
        if self._owed and self._job is None:
            self._owed = False
            with self._clock.stopped():
                self._on_epoch()

    def frames(self, *, first: bool = True) -> Iterator[Frame]:
        # Where the one before was interrupted, the frame that is being made is first.
        return super().frames(first=first and self._job is None)

    def _frame(self, **scalars: float) -> Frame:
        if self._twin is not None:
            self._twin.follow()
        return super()._frame(**scalars)

    def _submit(self, twin: Copied) -> None:
        """Have the network as it is measured."""
        numbers: dict[str, Any] = {
            "loss": self._mean_loss(),
            "lr": self._lr,
            "seconds": self._clock.seconds,
        }
        twin.follow()
        if self._stream is not None:
            self._stream.wait_stream(torch.cuda.current_stream(self.device))
        labels, exact = self._labels(), self._exact()
        place = self._batches.epochs(self.step), self.step

        def measure() -> Frame:
            side = nullcontext() if self._stream is None else torch.cuda.stream(self._stream)
            with isolated(), threads.use(self.threads), side:
                frame = self.probe.frame(*place, **numbers)
            return with_theory(replace(frame, labels={**frame.labels, **labels}), exact)

        self._job = self._worker.submit(measure)
        self._begin_interval()

    def _collect(self) -> Frame:
        """The frame that is being made; what the training waited for it is its cost."""
        assert self._job is not None
        before = self._clock.seconds
        wait([self._job])  # an interrupt here leaves it
        job, self._job = self._job, None
        frame = job.result()
        self.cadence.took(before, self._clock.seconds)
        self.progress = self._progress()
        return replace(frame, labels={**frame.labels, "cadence": str(self.cadence)})

    def state_dict(self) -> dict[str, Any]:
        if self._job is not None:
            wait([self._job])
        return super().state_dict()
