"""Whatever is asked and whatever fails, a run ends, says how, and another one can begin."""

from __future__ import annotations

import gc
import logging
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)
from hypothesis.strategies import booleans, integers, sampled_from

from fswidget.probing.inference import Diverged
from fswidget.probing.run_control import RunControl
from fswidget.recording.frame import Frame
from fswidget.widget import explorer as explorer_module
from fswidget.widget import job, trainer
from fswidget.widget.explorer import Explorer
from tests.widget.conftest import FrontEnd
from tests.widget.training import FRAMES, FakeTraining, until

ENDED = ("idle", "finished", "diverged", "error")


class _Failures:
    """What is to fail next."""

    def __init__(self) -> None:
        self.step: BaseException | None = None
        self.pack = self.thread = False

    def in_step(self) -> None:
        error, self.step = self.step, None
        if error is not None:
            raise error

    def in_pack(self, *_: Any) -> bytes:
        failing, self.pack = self.pack, False
        if failing:
            raise MemoryError("no room for the recording")
        return b"packed"

    def in_thread(self, thread: threading.Thread) -> None:
        failing, self.thread = self.thread, False
        if failing:
            raise RuntimeError("can't start new thread")
        _start_thread(thread)


_start_thread = threading.Thread.start


@pytest.fixture
def failures(monkeypatch: pytest.MonkeyPatch) -> _Failures:
    """Trainings without a network, which fail where the test wants it."""
    failures = _Failures()
    monkeypatch.setattr(job, "Training", FakeTraining)
    monkeypatch.setattr(FakeTraining, "plan", staticmethod(failures.in_step))
    monkeypatch.setattr("fswidget.widget.codec.pack", failures.in_pack)
    monkeypatch.setattr(threading.Thread, "start", lambda thread: failures.in_thread(thread))
    monkeypatch.setattr(explorer_module, "QUIET", 0.0)
    return failures


@pytest.fixture
def make(front_end: FrontEnd, failures: _Failures) -> Iterator[Callable[..., Explorer]]:
    made: list[Explorer] = []

    def make(**options: Any) -> Explorer:
        made.append(Explorer(**{"width": 16, "epochs": 5, **options}))
        return made[-1]

    yield make
    for explorer in made:
        explorer.close()
        assert explorer.wait(30) in ENDED


def is_free(explorer: Explorer) -> bool:
    """Whether nothing is left of a run, and another one can begin and end."""
    explorer.configure(epochs=3)
    explorer.wait(30)
    explorer.start()
    return explorer.wait(30) == "finished" and not explorer._trainer.busy


def test_commands_and_failures_in_any_order(
    front_end: FrontEnd, failures: _Failures, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Machine(RuleBasedStateMachine):
        @initialize(foreground=booleans())
        def make(self, foreground: bool) -> None:
            failures.__init__()  # type: ignore[misc]
            # In the foreground a pause would wait for a button that nobody presses.
            self.foreground = foreground
            self.explorer = Explorer(width=16, epochs=5, foreground=foreground)

        @rule(name=sampled_from(["start", "stop", "reset", "resume"]))
        def ask(self, name: str) -> None:
            getattr(self.explorer, name)()

        @rule(name=sampled_from(["pause", "step"]))
        def halt(self, name: str) -> None:
            if not self.foreground:
                getattr(self.explorer, name)()

        @rule(width=integers(1, 40))
        def change(self, width: int) -> None:
            self.explorer.width = width

        @rule(
            error=sampled_from(
                [ValueError("step"), SystemExit(3), KeyboardInterrupt(), Diverged("the loss")]
            )
        )
        def fail_in_a_step(self, error: BaseException) -> None:
            if not (self.foreground and isinstance(error, SystemExit)):
                failures.step = error

        @rule()
        def fail_to_pack(self) -> None:
            failures.pack = True

        @rule()
        def fail_to_start_a_thread(self) -> None:
            failures.thread = not self.foreground

        @rule()
        def wait(self) -> None:
            explorer = self.explorer
            if explorer.wait(30) == "paused":
                return
            assert not explorer._trainer.busy
            assert explorer.state in ENDED

        def teardown(self) -> None:
            explorer = self.explorer
            explorer.stop()
            assert explorer.wait(30) in ENDED
            assert not explorer._trainer.busy
            failures.__init__()  # type: ignore[misc]
            assert is_free(explorer)
            explorer.close()

    few = settings(
        max_examples=25,
        stateful_step_count=12,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Machine, settings=few)


@pytest.mark.parametrize("foreground", [False, True])
def test_an_interrupt_in_a_step_stops_the_run(
    make: Callable[..., Explorer], failures: _Failures, foreground: bool
) -> None:
    explorer = make(foreground=foreground)
    failures.step = KeyboardInterrupt()
    explorer.start()
    assert explorer.wait(30) == "finished"
    assert is_free(explorer)


def test_an_exit_in_a_step_is_an_error_in_a_thread_and_an_exit_in_the_foreground(
    make: Callable[..., Explorer], failures: _Failures
) -> None:
    explorer = make()
    failures.step = SystemExit(3)
    explorer.start()
    assert explorer.wait(30) == "error"
    assert isinstance(explorer.error, SystemExit)
    explorer = make(foreground=True)
    failures.step = SystemExit(3)
    with pytest.raises(SystemExit):
        explorer.start()
    assert explorer.state == "error"
    assert is_free(explorer)


def test_a_thread_that_cannot_start_is_an_error(
    make: Callable[..., Explorer], failures: _Failures
) -> None:
    explorer = make()
    failures.thread = True
    explorer.start()
    assert explorer.wait(30) == "error"
    assert "new thread" in explorer.message
    assert is_free(explorer)


def test_what_cannot_be_packed_at_the_end_is_an_error_and_stays_recorded(
    make: Callable[..., Explorer], failures: _Failures, caplog: pytest.LogCaptureFixture
) -> None:
    explorer = make()
    failures.pack = True
    explorer.start()
    assert explorer.wait(30) == "error"
    assert isinstance(explorer.error, MemoryError)
    assert "MemoryError" in explorer.error_text
    assert len(explorer.recording) == 5
    assert is_free(explorer)


@pytest.mark.parametrize("state", ["running", "paused", "finished"])
def test_what_an_observer_raises_ends_the_run_and_is_logged(
    make: Callable[..., Explorer], caplog: pytest.LogCaptureFixture, state: str
) -> None:
    explorer = make()

    def fail(change: Any) -> None:
        if change["new"] == state:
            raise RuntimeError("an observer of mine")

    explorer.observe(fail, "state")
    explorer.step() if state == "paused" else explorer.start()
    until(lambda: not explorer._trainer.busy)
    assert explorer.state == "error"
    assert str(explorer.error) == "an observer of mine"
    logged = [record for record in caplog.records if record.name == "fswidget"]
    assert logged
    assert logged[0].levelno == logging.ERROR
    assert "an observer of mine" in explorer.error_text
    explorer.unobserve_all("state")
    assert is_free(explorer)


def test_a_front_end_that_cannot_be_reached_ends_nothing(
    make: Callable[..., Explorer], front_end: FrontEnd, monkeypatch: pytest.MonkeyPatch
) -> None:
    explorer = make()

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("no such comm")

    with monkeypatch.context() as patch:
        patch.setattr(type(explorer.comm), "publish_msg", fail)
        explorer.start()
        assert explorer.wait(30) == "finished"
    assert explorer.error is None
    assert isinstance(explorer._stream.error, RuntimeError)


def test_a_pause_is_not_ended_by_moving_a_control(make: Callable[..., Explorer]) -> None:
    explorer = make(epochs=40)
    explorer.step()
    assert explorer.wait(30) == "paused"
    run = explorer.run
    explorer.width = 24
    assert explorer.wait(0.05) == "paused"
    assert (explorer.run, len(explorer.recording)) == (run, 1)
    assert "new run" in explorer.message
    explorer.step()
    until(lambda: explorer.run != run)
    assert explorer.wait(30) == "paused"
    assert len(explorer.recording) == 1


def test_the_last_reference_takes_the_run_along(front_end: FrontEnd, failures: _Failures) -> None:
    explorer = Explorer(width=16, epochs=40)
    explorer.step()
    assert explorer.wait(30) == "paused"
    thread, gone = explorer._trainer._thread, weakref.ref(explorer)
    del explorer
    gc.collect()
    assert gone() is None
    thread.join(30)
    assert not thread.is_alive()


def test_what_is_displayed_stays(front_end: FrontEnd, failures: _Failures) -> None:
    explorer = Explorer(width=16)
    explorer._repr_mimebundle_()
    seen = weakref.ref(explorer)
    del explorer
    gc.collect()
    assert seen() is not None
    seen().close()


@pytest.fixture
def shell() -> Iterator[Any]:
    """A notebook's kernel, without the notebook."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance(config=Config(HistoryManager={"enabled": False}))
    shell.run_cell("from fswidget.widget.explorer import Explorer")
    yield shell
    for value in list(shell.user_ns.values()):
        if isinstance(value, Explorer):
            value.close()
    InteractiveShell.clear_instance()


def endless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that goes on until somebody says stop."""

    def frames(self: FakeTraining, *, first: bool = True) -> Iterator[Frame]:
        yield FRAMES[0]
        until(lambda: not self._keep_going())

    monkeypatch.setattr(FakeTraining, "frames", frames)


CELL = "explorer = Explorer(width=16, epochs=10**6)\nexplorer.start()\nexplorer"


def test_a_cell_run_again_stops_what_it_began(
    shell: Any, front_end: FrontEnd, failures: _Failures, monkeypatch: pytest.MonkeyPatch
) -> None:
    endless(monkeypatch)
    runs = []
    for _ in range(3):
        shell.run_cell(CELL, store_history=True).raise_error()
        runs.append(shell.user_ns["explorer"])
    for former in runs[:2]:
        assert former.wait(30) == "finished"
    assert runs[2].state == "running"
    assert "was stopped" in runs[2].message


def test_two_explorers_of_one_cell_both_train(
    shell: Any, front_end: FrontEnd, failures: _Failures, monkeypatch: pytest.MonkeyPatch
) -> None:
    endless(monkeypatch)
    shell.run_cell(f"{CELL}\nother = Explorer(epochs=10**6)\nother.start()", store_history=True)
    assert shell.user_ns["explorer"].state == shell.user_ns["other"].state == "running"


@pytest.mark.parametrize("forget", ["del explorer", "explorer = None"])
@pytest.mark.parametrize("keep", ["", "kept = [explorer]"])
def test_a_name_that_is_lost_takes_the_run_along(
    shell: Any,
    front_end: FrontEnd,
    failures: _Failures,
    monkeypatch: pytest.MonkeyPatch,
    forget: str,
    keep: str,
) -> None:
    endless(monkeypatch)
    shell.run_cell(CELL, store_history=True)
    explorer = weakref.ref(shell.user_ns["explorer"])
    shell.run_cell(f"{keep}\n{forget}", store_history=True)
    found = explorer()
    assert (found is not None and not found._control.stopping) == bool(keep)
    if found is not None:
        found.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_has_no_run(make: Callable[..., Explorer]) -> None:
    explorer = make(epochs=40)
    explorer.step()
    assert explorer.wait(30) == "paused"
    child = os.fork()
    if child == 0:
        well = explorer.state == "finished" and explorer.wait(5) == "finished"
        explorer.start()  # and can begin one of its own
        os._exit(0 if well and explorer.wait(30) == "finished" else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert explorer.state == "paused"


# Children are made before torch has any thread, and leave as a script does, at the end of the file.
EXITS = """
import os, sys, torch._dynamo
from pathlib import Path
import fswidget as fs
from fswidget.widget.explorer import Explorer

folder, ways = Path(sys.argv[1]), ["running", "raising"]
children = {}
for way in ways:
    child = os.fork()
    if child == 0:
        break
    children[child] = way
else:
    codes = {way: os.waitpid(child, 0)[1] for child, way in children.items()}
    assert all(code == (256 if way == "raising" else 0) for way, code in codes.items()), codes
    os._exit(0)
explorer = Explorer(dataset="teacher", width=16, epochs=10**6, train_size=100, probe_size=50)
explorer.start()
while not explorer.recording or len(explorer.recording) < 2:
    explorer.wait(0.01)
explorer.recording.to_html(folder / f"{way}.html")
explorer.recording.save(folder / way)
if way == "raising":
    raise ValueError
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_script_may_end_while_an_explorer_trains(tmp_path: Any) -> None:
    import fswidget as fs

    done = subprocess.run(
        [sys.executable, "-c", EXITS, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Traceback") == 1  # of the one that raises
    for way in ("running", "raising"):
        assert len(fs.load(tmp_path / f"{way}.npz")) >= 2
        assert (tmp_path / f"{way}.html").read_text().endswith("</html>\n")


@pytest.mark.parametrize("stage", ["built", "tried"])
def test_building_a_network_can_be_stopped(stage: str) -> None:
    from torch import nn, zeros

    control = RunControl()
    done: list[nn.Module] = []
    ready = nn.ReLU()

    def build() -> None:
        for count in range(10):
            layer = nn.Linear(2, 2) if stage == "built" else ready
            layer(zeros(1, 2)) if stage == "tried" else None
            done.append(layer)
            if count == 3:
                control.stop()

    with pytest.raises(trainer._Left), trainer._stoppable(control):
        build()
    assert len(done) == 4
    ready(nn.Linear(2, 2)(zeros(1, 2)))  # elsewhere nothing has changed
