"""Trains one run after another behind an explorer, in a thread of its own or in the caller's."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from torch.nn.modules.module import (
    register_module_forward_pre_hook,
    register_module_parameter_registration_hook,
)

from fswidget.probing.inference import Diverged
from fswidget.probing.run_control import RunControl
from fswidget.recording.frame import Frame
from fswidget.training.loop import Training
from fswidget.widget.checkpoints import Checkpoints
from fswidget.widget.job import Job as Job

log = logging.getLogger("fswidget")

#: Seconds between two looks at whether a paused run on an event loop may go on.
_PAUSED = 0.02


@dataclass(frozen=True)
class Ending:
    """How a run ended: the state to tell, and what was raised."""

    state: str
    error: BaseException | None = None

    @property
    def traceback(self) -> str:
        """The traceback as text; empty where nothing was raised."""
        return "".join(traceback.format_exception(self.error)) if self.error else ""


class View(Protocol):
    """What the trainer tells of a run; every method but `progressed` under the control's lock."""

    def entered(self, training: Training, job: Job) -> None: ...
    def progressed(self) -> None: ...
    def took(self, frame: Frame) -> None: ...
    def ended(self, ending: Ending) -> None: ...


class _Forgotten(Exception):
    """Nobody holds the explorer any more."""


class _Left(Exception):
    """A network was being built when its run was stopped."""


class Trainer:
    """One thread at a time, which trains what is wanted and leaves by one door.

    Parameters
    ----------
    view : callable
        Returns who is told, or None where nobody is left to be: a thread must not keep an explorer
        alive that everybody else has forgotten.
    control : RunControl
    foreground : bool
        Train within `run_pending`, which the caller calls once it holds no lock.

    Attributes
    ----------
    training : Training or None
        The run on show.
    fault : Exception or None
        Raised in the run at the next opportunity.
    """

    def __init__(
        self, view: Callable[[], View | None], control: RunControl, *, foreground: bool
    ) -> None:
        self.training: Training | None = None
        self.job: Job | None = None
        self.fault: Exception | None = None
        self.checkpoints = Checkpoints()
        #: Whether `training` is that of `job`.
        self.entered = False
        self._find_view = view
        self._control = control
        self._foreground = foreground
        self._wanted: Job | None = None
        self._quiet_from = 0.0
        self._thread: threading.Thread | None = None
        self._pending = 0  # the caller's thread, for which a run waits in the foreground
        self._stepped = False
        self._exit: SystemExit | None = None
        self._errand: Callable[[], None] | None = None
        self._errand_error: Exception | None = None

    def leave(self) -> None:
        """Forget the run that has ended: what is on show is another one."""
        self.training, self.job, self.entered = None, None, False
        self.checkpoints = Checkpoints()

    @property
    def busy(self) -> bool:
        """Whether there is a run, or one to come."""
        return self._thread is not None

    @property
    def waiting(self) -> bool:
        """Whether another run is to follow."""
        return self._wanted is not None

    def begin(self, job: Job, *, stepping: bool = False, quiet: float = 0.0) -> None:
        """Train `job` after `quiet` seconds without another one, in place of what is trained.

        Raises
        ------
        RuntimeError
            If no thread can be started.
        """
        with self._control.condition:
            self._wanted, self._quiet_from = job, time.monotonic() + quiet
            self._control.supersede(stepping=stepping)
            if self._thread is not None:
                return
            self._thread = threading.Thread(target=self._work, name="fswidget", daemon=True)
            self._pending = threading.get_ident() if self._foreground else 0
            if not self._foreground:
                try:
                    self._thread.start()
                except BaseException:
                    self._thread = self._wanted = None
                    raise

    async def frames(self, job: Job) -> AsyncGenerator[Frame, None]:
        """Train `job` on the caller's event loop, frame by frame, and what is begun meanwhile.

        Between two frames the loop's other tasks get their turn; what is asked of the run (a pause,
        other settings) is done there.
        """
        with self._control.condition:
            self._wanted = job
            self._control.supersede()
            self._thread, self._stepped = threading.current_thread(), True
        steps = self._steps()
        try:
            while True:
                await asyncio.sleep(max(0.0, self._quiet_from - time.monotonic()))
                while self._control.asked(0.0) is None:
                    await asyncio.sleep(_PAUSED)
                frame = next(steps, None)
                if frame is None:
                    return
                yield frame
        finally:
            steps.close()
            if self._thread is threading.current_thread():  # it never came to the first step
                self.cancel()
                self._leave(Ending("finished"))
            self._stepped = False

    @property
    def waits_for_caller(self) -> bool:
        """Whether the run is one that goes on only while this thread does something else."""
        return self._stepped and self._thread is threading.current_thread()

    def cancel(self) -> None:
        """End the run; what waits does not begin."""
        with self._control.condition:
            self._wanted = None
            self._control.stop()

    def run_pending(self) -> None:
        """Train here and now what waits for it, in the foreground."""
        if self._pending == threading.get_ident():
            self._pending = 0
            self._work()
            if self._exit is not None:
                leaving, self._exit = self._exit, None
                raise leaving

    def join(self) -> None:
        """Wait for the end of the thread; not from within."""
        thread = self._thread
        if thread is not None and thread.ident and thread is not threading.current_thread():
            thread.join()

    def forget(self) -> None:
        """There is no thread: a process that was forked has none of its parent's."""
        self._thread = self._wanted = None

    # In the thread.

    def _work(self) -> None:
        for _ in self._steps():
            pass

    def _steps(self) -> Generator[Frame, None, None]:
        """Train what is wanted, and what is wanted then; each frame as it was taken."""
        last = False
        while not last:
            ending = None
            try:
                ending = yield from self._run_next()
            except GeneratorExit:
                ending = Ending("finished")
                raise
            finally:
                # The one door: whatever happened, nobody waits for a run that is no more.
                last = self._leave(ending)

    def _leave(self, ending: Ending | None) -> bool:
        """Tell how a run ended, unless another one is to follow; whether none is."""
        last = True
        with self._control.condition:
            try:
                if ending is None:
                    self._wanted, ending = None, Ending("error", sys.exception())
                view = self._find_view()
                if self._wanted is None and view is not None:
                    view.ended(ending)  # which may want another one
                elif ending.error is not None:
                    log.error("a run failed while another was waiting", exc_info=ending.error)
                last = self._wanted is None
            finally:
                if last:
                    self._thread = self._wanted = None
                self._control.condition.notify_all()
        return last

    def _run_next(self) -> Generator[Frame, None, Ending]:
        try:
            job = self._take()
            if job is not None:
                yield from self._train(job)
        except GeneratorExit:  # nobody wants any more frames
            self.cancel()
            raise
        except (_Left, _Forgotten):
            pass
        except KeyboardInterrupt:
            self.cancel()
        except Diverged as error:
            return Ending("diverged", error)
        except BaseException as error:
            if isinstance(error, SystemExit) and self._foreground:
                self._exit = error
            return Ending("error", error)
        return Ending("finished")

    def _take(self) -> Job | None:
        condition = self._control.condition
        with condition:
            while self._wanted is not None and self._quiet_from > time.monotonic():
                condition.wait(self._quiet_from - time.monotonic())
            if self._wanted is None:
                return None
            self.job, self._wanted, self.entered = self._wanted, None, False
            self._control.begin()
            return self.job

    def _train(self, job: Job) -> Iterator[Frame]:
        with _stoppable(self._control):
            training = job.make(self._keep_going, self._epoch_ended)
        with self._control.condition:
            if self._wanted is not None:
                return
            if training is not self.training:
                self.training = training
                self.checkpoints = Checkpoints()
            self.checkpoints.look(training)
            self.entered = True
            self._view().entered(training, job)
        for frame in training.frames(first=job.recording is None and job.frame is None):
            with self._control.condition:
                if self._wanted is not None:
                    return
                self._view().took(frame)
                self._control.frame_taken()
            yield frame

    def _keep_going(self) -> bool:
        self._view().progressed()
        if self.fault is not None:
            raise self.fault
        self._run_errand()
        if self._stepped:  # a pause must not halt the event loop
            return not self._control.leaving
        return self._control.may_go_on()

    def _epoch_ended(self) -> None:
        if self.training is not None:
            self.checkpoints.look(self.training)

    def between_steps(self, errand: Callable[[], None]) -> None:
        """Do something while the network does not change; blocks until it is done."""
        condition = self._control.condition
        with condition:
            if self._thread is threading.current_thread() or not self.busy or self._control.halted:
                errand()
                return
            self._errand, self._errand_error = errand, None
            condition.notify_all()
            while self._errand is errand and self.busy and not self._control.halted:
                condition.wait(1.0)
            if self._errand is errand:  # nobody got to it
                self._errand = None
                errand()
            elif self._errand_error is not None:
                raise self._errand_error

    def _run_errand(self) -> None:
        with self._control.condition:
            errand = self._errand
            if errand is None:
                return
            try:
                errand()
            except Exception as error:
                self._errand_error = error
            self._errand = None
            self._control.condition.notify_all()

    def _view(self) -> View:
        view = self._find_view()
        if view is None:
            raise _Forgotten
        return view


@contextmanager
def _stoppable(control: RunControl) -> Iterator[None]:
    """Have a network that is built or tried in this thread give up once its run is to be left."""
    here = threading.get_ident()

    def look(*_: Any) -> None:
        if control.leaving and threading.get_ident() == here:
            raise _Left

    with ExitStack() as hooks:
        hooks.callback(register_module_parameter_registration_hook(look).remove)
        hooks.callback(register_module_forward_pre_hook(look).remove)
        yield
