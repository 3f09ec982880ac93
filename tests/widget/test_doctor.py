"""`fs.doctor()`: a front end that answers, one that answers wrongly, and none."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

import fswidget as fs
from tests.widget.conftest import FrontEnd

Answer = Callable[..., None]
start = threading.Thread.start


@pytest.fixture
def doctor(front_end: FrontEnd) -> Any:
    return fs.doctor()


@pytest.fixture
def answer(doctor: Any) -> Answer:
    """Send what the front end of a page and view would send."""

    def send(kind: str, view: str = "v", page: str = "p", buffers: Any = (), **more: Any) -> None:
        content = {"type": kind, "view": view, "page": page, **more}
        doctor._handle_custom_msg(content, list(buffers))

    return send


def hello(doctor: Any, answer: Answer, **keys: str) -> None:
    answer("hello", agent="Browser/1", token=doctor.token, **keys)


def states(doctor: Any) -> dict[str, str]:
    return {name: state for name, (state, _) in doctor.results.items()}


def test_without_a_front_end_it_says_what_could_be_checked(doctor: Any) -> None:
    told = str(doctor).splitlines()
    assert told[0].endswith(f"bokeh {__import__('bokeh').__version__}")
    assert [line.split()[0] for line in told[1:]] == ["PASS"] * 3 + ["open"] * 6
    assert "make it the last line of a cell" in str(doctor)
    assert doctor.text == str(doctor)


def test_each_answer_is_a_line(doctor: Any, answer: Answer, front_end: FrontEnd) -> None:
    hello(doctor, answer)
    [(_, sent)] = front_end.messages("echo")
    answer("echo", buffers=sent)
    answer("thread")
    answer("saved", bytes=900)
    found = states(doctor)
    assert [found[name] for name in ("front end", "binary echo", "thread", "save")] == ["PASS"] * 4
    assert (found["second view"], found["reload"]) == ("open", "open")
    assert "Browser/1" in doctor.text


def test_bytes_that_change_on_the_way_fail(doctor: Any, answer: Answer) -> None:
    hello(doctor, answer)
    answer("echo", buffers=[b"other"])
    assert states(doctor)["binary echo"] == "FAIL"


def test_two_views_of_one_page_and_a_page_loaded_anew(
    doctor: Any, answer: Answer, front_end: FrontEnd
) -> None:
    for view in ("v", "w"):
        hello(doctor, answer, view=view)
        answer("echo", view=view, buffers=front_end.messages("echo")[-1][1])
    assert states(doctor)["second view"] == "PASS"
    assert states(doctor)["reload"] == "open"
    hello(doctor, answer, page="q")
    assert states(doctor)["reload"] == "PASS"
    answer("hello", page="r", agent="Browser/1", token="of another kernel")
    assert states(doctor)["reload"] == "FAIL"


def test_where_there_are_no_threads_it_says_so(
    doctor: Any, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    hello(doctor, answer)
    assert doctor.results["thread"] == ("FAIL", "can't start new thread")


def test_a_host_that_lets_no_thread_send_is_named(
    doctor: Any, answer: Answer, front_end: FrontEnd, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = doctor.send

    def sent(content: dict[str, str], buffers: Any = None) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("outside of a session")
        send(content, buffers)

    monkeypatch.setattr(doctor, "send", sent)
    monkeypatch.setattr(threading.Thread, "start", lambda self: (start(self), self.join()))
    hello(doctor, answer)
    [(_, echoed)] = front_end.messages("echo")
    answer("echo", buffers=echoed)
    told = "a background thread cannot send: outside of a session"
    assert doctor.results["thread"] == ("FAIL", told)
    assert told in doctor.text


def test_a_host_that_does_not_say_what_it_saves(doctor: Any, answer: Answer) -> None:
    answer("saved", bytes=None)
    assert states(doctor)["save"] == "open"
    answer("saved", bytes=0)
    assert states(doctor)["save"] == "FAIL"


def test_what_is_no_message_of_ours_is_ignored(doctor: Any) -> None:
    before = dict(doctor.results)
    for content in ({}, {"type": "hello"}, {"type": "saved", "bytes": "many"}, "hello"):
        doctor._handle_custom_msg(content, [])
    assert doctor.results == before
