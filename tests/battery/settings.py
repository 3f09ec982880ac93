"""Settings and messages that no front end should send: refused, and all is as it was."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

import fswidget as fs
from fswidget.widget.explorer import Explorer
from tests.synthetic import make_recording

_NAMES = [field.name for field in dataclasses.fields(fs.Config)]
_LOCAL = ("root", "download", "device")
_VALUES: list[Any] = [
    None, True, False, -1, 0, 1, 2, 3.5, 1e9, 10**30, float("nan"), float("inf"), -0.0, 1e-300,
    "", "mlp", "digits", "cross_entropy", "mse", "modular", "../../etc/passwd", "\0", "__class__",
    [], [1], ["x"], {}, {"a": 1}, {"__class__": "x"}, [[]], "9" * 400, "<b>", "cnn", 64, 1e-3,
]  # fmt: skip
_WORDS = ["type", "name", "run", "next", "value", "described", "command", "x"]
_COMMANDS = [
    "start", "stop", "pause", "resume", "step", "reset", "sync", "ack", "command", "run-1",
    "save_recording", "save_page", "set", "experiment", "steer", "pin", "__init__", "close", "",
]  # fmt: skip


def trial(random: np.random.Generator, folder: Path) -> str:
    """One explorer that is told a few things in every way."""
    explorer = Explorer(width=8, epochs=1, train_size=50, probe_size=50)
    try:
        for _ in range(12):
            _attack(explorer, random)
            for name in _NAMES:
                assert getattr(explorer, name) == getattr(explorer.config, name), name
            assert len(explorer.commands) <= 1000
        explorer.stop()
        assert explorer.wait(60) in ("idle", "finished", "diverged", "error", "paused")
        explorer.configure(
            dataset="digits", model="mlp", width=8, epochs=1, loss="mse", train_size=50
        )
        json.dumps(explorer.config.to_dict(), allow_nan=False)
    finally:
        explorer.close()
        explorer.wait(60)
    viewer = fs.Viewer(make_recording(2))
    recording = viewer.recording
    for _ in range(30):
        viewer._handle_custom_msg(_message(random), [])
    assert viewer.recording is recording
    assert len(recording) == 3
    return "told and kept"


def _attack(explorer: Explorer, random: np.random.Generator) -> None:
    names = [n for n in _NAMES if n not in ("model", "dataset", "frozen")]
    chosen = [str(name) for name in random.choice(names, random.integers(1, 4), replace=False)]
    values = {name: _VALUES[random.integers(len(_VALUES))] for name in chosen}
    local = {name: getattr(explorer, name) for name in _LOCAL}
    match random.integers(4):
        case 0:
            explorer._handle_custom_msg(_message(random), [])
            explorer.stop()
        case 1:
            explorer.set_state({**values, "root": "/", "download": True, "num_frames": -3})
            assert {name: getattr(explorer, name) for name in _LOCAL} == local
        case 2:
            try:
                with explorer.hold_trait_notifications():
                    for name, value in values.items():
                        setattr(explorer, name, value)
            except (TypeError, ValueError, OSError) as error:
                assert any(f"{name}" in str(error) for name in _NAMES), error
        case _:
            try:
                explorer.configure(**values)
            except (TypeError, ValueError, OSError) as error:
                assert any(f"{name}" in str(error) for name in _NAMES), error


def _message(random: np.random.Generator) -> Any:
    if random.random() < 0.1:
        return _VALUES[random.integers(len(_VALUES))]
    message = {
        str(random.choice(_WORDS)): _VALUES[random.integers(len(_VALUES))]
        for _ in range(random.integers(4))
    }
    if random.random() < 0.8:
        message["type"] = str(random.choice(_COMMANDS))
    if random.random() < 0.8:
        message["name"] = str(random.choice(_COMMANDS))
    return message
