"""Processes that end when they should not: files stay whole, and exits are clean."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import fswidget as fs
from tests.synthetic import make_recording

_SAVING = """
import sys
from tests.synthetic import make_recording, make_sweep
thing = make_recording(200, num_shown=300) if sys.argv[2] == "run" else make_sweep()
print("ready", flush=True)
while True:
    thing.save(sys.argv[1])
"""

_TRAINING = """
import sys, time
import fswidget as fs
explorer = fs.Explorer(width=16, epochs=10_000, train_size=200, probe_size=60)
explorer.start()
while explorer.recording is None or not len(explorer.recording):
    time.sleep(0.01)
print("ready", flush=True)
time.sleep(float(sys.argv[2]))
explorer.recording.save(sys.argv[1])
explorer.recording.to_html(sys.argv[1] + ".html")
"""

_RECORDING = """
import sys
import fswidget.cli
print("ready", flush=True)
sys.exit(fswidget.cli.main(
    ["run", "--width", "16", "--epochs", "4000", "--train-size", "200", "--save", sys.argv[1]]
))
"""


def trial(random: np.random.Generator, folder: Path) -> str:
    """One process that is killed, terminated or left."""
    word = str(random.choice(["killed while saving", "exit in mid-run", "terminated"], p=TOLD))
    path, delay = folder / "kept.npz", float(random.uniform(0, 0.4))
    if word == "killed while saving":
        kind = str(random.choice(["run", "sweep"]))
        with _started(_SAVING, path, kind) as process:
            time.sleep(delay)
            process.kill()
        if path.exists():
            assert len(fs.load(path)) in (201, 4)
        left = [entry for entry in folder.iterdir() if entry != path]
        assert len(left) <= 1, left
        make_recording(0).save(folder / "next.npz")
        assert not list(folder.glob(".fswidget-*")), "leftovers were not removed"
    elif word == "exit in mid-run":
        with _started(_TRAINING, path, str(delay)) as process:
            _, told = process.communicate(timeout=120)
        assert process.returncode == 0, (process.returncode, told[-2000:])
        assert len(fs.load(path)) > 0
        assert Path(f"{path}.html").read_text().rstrip().endswith("</html>")
    else:
        with _started(_RECORDING, path, "") as process:
            while not path.exists() and process.poll() is None:
                time.sleep(0.02)
            process.send_signal(signal.SIGTERM)
            _, told = process.communicate(timeout=120)
        assert path.exists(), told[-2000:]
        assert len(fs.load(path)) > 0
        assert process.returncode != -signal.SIGABRT, told[-2000:]
    return word


#: How often each of them is tried: torch takes seconds to load.
TOLD = (0.6, 0.2, 0.2)


def _started(script: str, *arguments: object) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    if line.strip() != "ready":
        told = process.communicate(timeout=60)[1][-2000:]
        raise AssertionError(f"{process.returncode}, before it was ready: {line!r} {told}")
    return process
