"""Runs side by side: they go on where they were left, and none takes another down."""

import contextvars
import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from fswidget.experiments import campaign
from fswidget.experiments.campaign import Terms, advance, growing, run_side_by_side
from fswidget.experiments.progress_bar import ProgressBar
from fswidget.experiments.small import small
from fswidget.recording.atomic import alone
from fswidget.recording.loading import load
from fswidget.training.config import Config
from fswidget.training.run_folder import record

TINY = Config(width=8, train_size=50, test_size=20, epochs=4, frame_every="epoch", device="cpu")


def test_a_run_that_was_left_goes_on_bit_for_bit(tmp_path: Path) -> None:
    whole = record(TINY)
    path = tmp_path / "run.npz"
    # As if the time had come at the second step.
    steps = iter(range(1000))
    late = SimpleNamespace(is_set=lambda: next(steps) > 2, set=lambda: None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(campaign, "_stop", late)
        left = advance(TINY, path)
    assert (left.status, path.exists()) == ("left", False)
    assert 0 < len(load(growing(path) / "recording.npz")) < len(whole)
    assert advance(TINY, path).status == "finished"
    assert [p.name for p in tmp_path.iterdir()] == ["run.npz"]
    again = load(path)
    for name, column in whole.table().items():
        if "seconds" not in name and name != "regime":
            assert again.table()[name] == pytest.approx(column, rel=0, abs=0, nan_ok=True), name


def test_a_run_that_ended_as_it_was_killed_is_finished(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    whole = record(TINY, store=growing(path))
    (growing(path) / "progress.json").write_text('{"epoch": ')  # of before, or half of it
    assert ProgressBar("One", [(TINY, path)], shown=False)._reached[path] == 0
    assert advance(TINY, path).status == "finished"
    assert len(load(path)) == len(whole)
    assert not growing(path).exists()
    assert ProgressBar("One", [(TINY, path)], shown=False)._reached[path] == TINY.epochs


@pytest.mark.skipif(sys.platform == "win32", reason="no such locks")
def test_a_run_that_another_command_trains_is_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(campaign, "_PATIENCE", 0)
    path, other = tmp_path / "run.npz", tmp_path / "other.npz"
    growing(path).mkdir()
    with alone(growing(path)) as free:
        assert free
        statuses = [o.status for o in run_side_by_side([(TINY, path), (TINY, other)])]
        with pytest.raises(BlockingIOError, match=r"store='.*run': this run is being trained"):
            record(TINY, store=growing(path))
    assert statuses == ["left", "finished"]
    assert advance(TINY, path).status == "finished"


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="signals are Unix's")
def test_workers_leave_an_interrupt_to_the_command_that_made_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(campaign, "_stop", campaign._stop)
    before = signal.getsignal(signal.SIGINT)
    try:
        with campaign._deaf_to_interrupts():  # as a worker while it imports what it needs
            signal.raise_signal(signal.SIGINT)
            contextvars.copy_context().run(campaign._begin, threading.Event())
        assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    finally:
        signal.signal(signal.SIGINT, before)


def test_workers_end_with_the_command_that_made_them(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    gone = SimpleNamespace(join=lambda: None)
    monkeypatch.setattr(campaign.multiprocessing, "parent_process", lambda: gone)
    monkeypatch.setattr(campaign.os, "_exit", ended.append)
    stop = threading.Event()
    monkeypatch.setattr(campaign, "_stop", stop)
    with campaign._training:  # until the run is kept
        watching = threading.Thread(target=campaign._end_with_parent)
        watching.start()
        assert stop.wait(10)
        assert not ended
    watching.join()
    assert ended == [1]


@pytest.mark.skipif(sys.platform == "win32", reason="signals are Unix's")
def test_sigterm_asks_a_pool_to_stop_before_it_ends_the_process() -> None:
    stop = threading.Event()

    def in_pool() -> None:
        with campaign._stopping_softly(stop):
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop.wait(10)

    with pytest.raises(SystemExit, match=str(128 + signal.SIGTERM)):
        in_pool()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_what_is_finished_is_not_repeated(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    assert advance(TINY, path).status == "finished"
    written = path.read_bytes()
    assert advance(TINY, path).seconds == 0
    assert path.read_bytes() == written


def test_no_time_no_run(tmp_path: Path) -> None:
    assert advance(TINY, tmp_path / "run.npz", Terms(stop_at=time.time() - 1)).status == "left"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_one_that_fails_leaves_the_others(
    tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Threads: processes are told apart in the tests of sweeps, and take seconds to start.
    pool = lambda workers, **_: ThreadPoolExecutor(workers)  # noqa: E731
    monkeypatch.setattr(campaign, "ProcessPoolExecutor", pool)
    missing = TINY.replace(dataset="mnist", root=str(tmp_path / "nothing"))
    runs = [(missing, tmp_path / "missing.npz"), (TINY, tmp_path / "good.npz")]
    seen = []
    # The same run twice, as recipes share arms, is one.
    outcomes = run_side_by_side([*runs, runs[1]], workers=workers, on_done=seen.append)
    assert [outcome.status for outcome in outcomes] == ["failed", "finished"]
    assert "mnist is not there" in outcomes[0].error
    assert sorted(o.path for o in seen) == sorted(o.path for o in outcomes)


def test_a_small_recording_has_no_pictures_and_keeps_its_ends(tmp_path: Path) -> None:
    recording = record(TINY.replace(num_shown=20))
    content = small(recording)
    path = tmp_path / "recording.npz"
    path.write_bytes(content)
    bare = load(path)
    assert recording.info.thumbnails is not None
    assert bare.info.thumbnails is None
    assert len(bare) == len(recording)
    path.write_bytes(small(recording, len(content) // 3))
    assert len(load(path)) >= 2
    assert "projections" not in load(path)[0].arrays
    assert "utilization" in load(path)[-1].arrays
    path.write_bytes(small(recording, len(content) - 1000))
    thinned = load(path)
    assert len(thinned) < len(recording)
    assert [thinned[0].step, thinned[-1].step] == [recording[0].step, recording[-1].step]
