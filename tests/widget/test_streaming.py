"""Frames on their way to front ends, without a browser."""

from __future__ import annotations

import json
import sys
import threading

import pytest

from fswidget.recording.recording import Recording
from fswidget.widget.stream import Stream
from fswidget.widget.viewer import Viewer
from tests.synthetic import make_frame, make_recording
from tests.widget.conftest import FrontEnd
from tests.widget.training import until


def acknowledge(viewer: Viewer, following: int, run: str | None = None) -> None:
    message = {"type": "ack", "client": "a", "run": run or viewer.run, "next": following}
    viewer._handle_custom_msg(message, [])


def sync(viewer: Viewer, following: int, run: str | None = None) -> None:
    message = {"type": "sync", "client": "a", "run": run or viewer.run, "next": following}
    viewer._handle_custom_msg(message, [])


@pytest.fixture
def viewer(front_end: FrontEnd) -> Viewer:
    return Viewer(Recording(make_recording(0).info))


def push(viewer: Viewer, count: int) -> None:
    assert viewer.recording is not None
    for _ in range(count):
        viewer.recording.append(make_frame(viewer.recording.appended))
        viewer.push()


def test_a_front_end_can_evaluate_bokehjs_before_figures_are_made(
    viewer: Viewer, front_end: FrontEnd
) -> None:
    paths = [message.get("buffer_paths", []) for message, _ in front_end.sent]
    figures = [message.get("state", {}).get("_figures") for message, _ in front_end.sent]
    opened = next(n for n, path in enumerate(paths) if ["_bokehjs"] in path)
    assert figures[opened : opened + 2] == ["", viewer._figures]


def test_one_message_a_frame(viewer: Viewer, front_end: FrontEnd) -> None:
    viewer._last_told = float("inf")  # progress is told by the clock, not by the frame
    before = len(front_end.sent)
    for number in range(20):
        push(viewer, 1)
        acknowledge(viewer, number + 1)
    assert front_end.frames() == list(range(20))
    assert len(front_end.sent) - before == 20


def test_the_last_of_quick_pushes_is_told(viewer: Viewer) -> None:
    for _ in range(4):
        push(viewer, 1)
    until(lambda: viewer.num_frames == 4)


def test_what_was_not_told_is_told_with_the_next(viewer: Viewer) -> None:
    viewer._last_told = float("inf")
    viewer._tell_sometimes(num_frames=7)
    assert viewer.num_frames == 0
    viewer._last_told = float("-inf")
    viewer._tell_sometimes(progress={"epoch": 1})
    assert (viewer.num_frames, viewer.progress) == (7, {"epoch": 1})
    viewer._last_told = float("inf")
    viewer._tell_sometimes(num_frames=8)
    viewer._tell(num_frames=0)  # another run: the 8 is of the past
    viewer._last_told = float("-inf")
    viewer._tell_sometimes(progress={})
    assert viewer.num_frames == 0


def test_threads_that_tell_at_once_lose_nothing(viewer: Viewer, front_end: FrontEnd) -> None:
    count = 500

    def train() -> None:
        for number in range(1, count + 1):
            viewer._tell(num_frames=number, message=str(number))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        thread = threading.Thread(target=train)
        thread.start()
        for number in range(1, count + 1):
            viewer._tell(progress={"epoch": number})
            viewer.set_state({"epoch": number})
        thread.join()
    finally:
        sys.setswitchinterval(interval)
    told = [message["state"] for message, _ in front_end.sent if message.get("method") == "update"]
    for name, wanted in (
        ("num_frames", list(range(1, count + 1))),
        ("message", [str(number) for number in range(1, count + 1)]),
        ("progress", [{"epoch": number} for number in range(1, count + 1)]),
    ):
        assert [state[name] for state in told if name in state] == wanted


def test_no_more_than_the_window_is_under_way(viewer: Viewer, front_end: FrontEnd) -> None:
    viewer._stream.patience = float("inf")
    push(viewer, 200)
    assert front_end.frames() == list(range(8))


def test_what_waited_arrives_whole_and_in_order(viewer: Viewer, front_end: FrontEnd) -> None:
    viewer._stream.patience = float("inf")
    push(viewer, 200)
    while (held := len(front_end.frames())) < 200:
        acknowledge(viewer, held)
        assert len(front_end.frames()) > held
    assert front_end.frames() == list(range(200))
    assert len(front_end.messages("frames")) < 20


def test_batches_stay_small(viewer: Viewer, front_end: FrontEnd) -> None:
    viewer._stream.patience = float("inf")
    viewer._stream.max_bytes = 5000
    push(viewer, 100)
    while (held := len(front_end.frames())) < 100:
        acknowledge(viewer, held)
    assert max(len(buffers[0]) for _, buffers in front_end.messages("frames")) < 6000


def test_a_busy_kernel_still_sends_now_and_then(viewer: Viewer, front_end: FrontEnd) -> None:
    viewer._stream.patience = 0.0
    push(viewer, 50)
    assert front_end.frames() == list(range(50))


def test_a_late_front_end_catches_up(viewer: Viewer, front_end: FrontEnd) -> None:
    push(viewer, 4)
    acknowledge(viewer, 4)
    front_end.sent.clear()
    sync(viewer, 0)
    assert len(front_end.messages("run")) == 1
    assert front_end.frames() == [0, 1, 2, 3]


def test_a_gap_is_filled(viewer: Viewer, front_end: FrontEnd) -> None:
    push(viewer, 4)
    front_end.sent.clear()
    sync(viewer, 2)
    assert front_end.frames() == [2, 3]
    assert front_end.messages("run") == []


def test_an_older_run_can_be_asked_for(viewer: Viewer, front_end: FrontEnd) -> None:
    push(viewer, 3)
    older = viewer.run
    viewer._open("run-2", Recording(make_recording(0).info))
    push(viewer, 2)
    front_end.sent.clear()
    sync(viewer, 0, run=older)
    assert front_end.frames(older) == [0, 1, 2]
    assert front_end.frames("run-2") == []
    acknowledge(viewer, 3, run=older)  # a word about an old run moves nothing
    push(viewer, 1)
    assert front_end.frames("run-2") == [2]


def test_a_frame_does_not_change_on_its_way(viewer: Viewer, front_end: FrontEnd) -> None:
    push(viewer, 1)
    _, [first] = front_end.messages("frames")[0]
    kept = bytes(first)
    push(viewer, 3)
    assert bytes(first) == kept


def test_a_lost_display_does_not_stop_training(front_end: FrontEnd) -> None:
    def send(*_: object) -> None:
        raise RuntimeError("no such comm")

    stream = Stream(send)
    recording = make_recording(3)
    stream.open("run-1", recording)
    stream.push()
    assert isinstance(stream.error, RuntimeError)


def test_messages_are_json_with_bytes(viewer: Viewer, front_end: FrontEnd) -> None:
    push(viewer, 2)
    for content, buffers in front_end.messages("run") + front_end.messages("frames"):
        json.dumps(content, allow_nan=False)
        assert all(isinstance(buffer, (bytes, memoryview)) for buffer in buffers)


def test_frame_of_the_reference_size_fits_its_budget(front_end: FrontEnd) -> None:
    recording = make_recording(0, num_features=512, num_shown=2000, num_eigenfunctions=8)
    Viewer(recording)
    content, [body] = front_end.messages("frames")[0]
    assert len(body) + len(json.dumps(content)) <= 60_000


def test_viewer_names_a_wrong_recording() -> None:
    with pytest.raises(TypeError, match=r"recording='run\.npz'"):
        Viewer("run.npz")  # type: ignore[arg-type]
