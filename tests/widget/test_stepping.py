"""Training without a thread: frame by frame, on an event loop."""

from __future__ import annotations

import asyncio
import threading

import pytest

import fswidget as fs
from fswidget.recording.frame import Frame
from tests.recordings import assert_same

SETTINGS = {"width": 16, "epochs": 3, "train_size": 100, "probe_size": 100, "frame_every": "epoch"}
DIVERGING = {"loss": "mse", "optimizer": "sgd", "lr": 10.0, "last_layer_only": True}


def test_frames_are_those_of_the_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    threaded = fs.Explorer(**SETTINGS, batchnorm=True)
    threaded.start()
    assert threaded.wait() == "finished"

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    stepped = fs.Explorer(**SETTINGS, batchnorm=True)

    async def train() -> list[Frame]:
        return [frame async for frame in stepped]

    frames = asyncio.run(train())
    assert stepped.state == "finished"
    assert_same(frames, threaded.recording)
    assert_same(stepped.recording, threaded.recording)
    assert asyncio.run(train())[-1].epoch == 3  # again, as another run


def test_others_get_their_turn_and_a_pause_is_theirs_to_end() -> None:
    explorer = fs.Explorer(**SETTINGS)
    seen: list[str] = []

    async def other() -> None:
        while explorer.state == "running":
            await asyncio.sleep(0)
        seen.append(explorer.state)
        assert len(explorer.recording) == 1
        with pytest.raises(ValueError, match="epochs=-1"):
            explorer.epochs = -1
        explorer.resume()
        seen.append(explorer.state)

    async def train() -> None:
        task = None
        async for frame in explorer:
            if frame.epoch == 0:
                with pytest.raises(RuntimeError, match="async for"):
                    explorer.wait()
                with pytest.raises(RuntimeError, match="a run is on"):
                    await anext(aiter(explorer))
                explorer.pause()
                task = asyncio.create_task(other())
        assert task is not None
        await task

    asyncio.run(train())
    assert seen == ["paused", "running"]
    assert explorer.state == "finished"
    assert explorer.recording[-1].epoch == 3


def test_other_settings_begin_another_run_on_the_loop() -> None:
    explorer = fs.Explorer(**SETTINGS)

    async def train() -> list[tuple[int, float]]:
        found = []
        async for frame in explorer:
            found.append((explorer.recording.info.num_features, frame.epoch))
            if found[-1] == (16, 1):
                explorer.width = 32
        return found

    assert asyncio.run(train()) == [(16, 0), (16, 1), (32, 0), (32, 1), (32, 2), (32, 3)]
    assert (explorer.state, explorer.error) == ("finished", None)


def test_leaving_the_loop_stops_the_run() -> None:
    explorer = fs.Explorer(**SETTINGS)

    async def leave() -> None:
        async for frame in explorer:
            if frame.epoch == 1:
                break
        frames = aiter(explorer)
        with pytest.raises(RuntimeError, match="a run is on"):
            await anext(frames)  # not closed yet
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    asyncio.run(leave())
    assert explorer.state == "finished"
    assert explorer.message == "Stopped at epoch 1."
    assert explorer.error is None

    async def cancelled() -> None:
        task = asyncio.create_task(anext(aiter(explorer)))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert explorer.state == "finished"
    explorer.start()  # a thread as ever
    assert explorer.wait() == "finished"
    assert explorer.recording[-1].epoch == 3


def test_what_fails_is_raised_nowhere_and_told() -> None:
    explorer = fs.Explorer(**SETTINGS | DIVERGING | {"epochs": 1000})

    async def train() -> None:
        async for _ in explorer:
            pass

    asyncio.run(train())
    assert explorer.state == "diverged"
