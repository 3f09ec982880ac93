"""The live view of a loop in a real kernel that is busy with that loop."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("ipykernel", "7")
from jupyter_client import BlockingKernelClient
from jupyter_client.manager import start_new_kernel

# Waits for the buttons and never for the clock: it would go on for ever.
LOOP = """
import itertools, time, torch, fswidget as fs
from IPython.display import display
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
probe = fs.watch(model, torch.randn(30, 6), torch.arange(30) % 3, errors=False)
display(probe.view())
with probe:
    for epoch in itertools.count():
        probe.snapshot(epoch)
        time.sleep(0.02)
print("stopped after", len(probe.recording), probe.view().state)
"""


class Kernel:
    """A kernel with a front end that keeps what the view was sent."""

    def __init__(self, client: BlockingKernelClient) -> None:
        self.client = client
        self.frames: list[int] = []
        self.state: dict[str, Any] = {}
        self.comm_id = ""
        self.printed = ""
        request = client.session.msg("create_subshell_request")
        client.control_channel.send(request)
        reply = client.get_control_msg(timeout=60)
        self.subshell = reply["content"]["subshell_id"]

    def send(self, content: dict[str, Any]) -> None:
        """As JupyterLab does it: beside the shell that runs the cell."""
        data = {"method": "custom", "content": content}
        message = self.client.session.msg("comm_msg", {"comm_id": self.comm_id, "data": data})
        message["header"]["subshell_id"] = self.subshell
        self.client.shell_channel.send(message)

    def listen_until(self, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 120
        while not done():
            assert time.monotonic() < deadline, f"waited in vain: {self.state}, {self.printed}"
            try:
                message = self.client.get_iopub_msg(timeout=1)
            except queue.Empty:
                continue
            self._read(message["msg_type"], message["content"])

    def _read(self, kind: str, content: dict[str, Any]) -> None:
        if kind == "stream":
            self.printed += content["text"]
        elif kind == "error":
            pytest.fail("\n".join(content["traceback"]))
        elif kind == "comm_open" and "_bokehjs" in str(content["data"].get("buffer_paths")):
            self.comm_id = content["comm_id"]
            self.state.update(content["data"]["state"])
        elif kind == "comm_msg" and content["comm_id"] == self.comm_id:
            data = content["data"]
            self.state.update(data.get("state", {}))
            if data["method"] == "custom" and data["content"]["type"] == "frames":
                self.frames += [frame["seq"] for frame in data["content"]["frames"]]
                run = data["content"]["run"]
                self.send({"type": "ack", "client": "a", "run": run, "next": self.frames[-1] + 1})


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    manager, client = start_new_kernel(kernel_name="python3")
    try:
        yield Kernel(client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_frames_come_and_buttons_work_while_the_cell_runs(kernel: Kernel) -> None:
    kernel.client.execute(LOOP)
    kernel.listen_until(lambda: len(kernel.frames) >= 10)
    assert kernel.state["state"] == "running"
    kernel.send({"type": "command", "name": "pause"})
    kernel.listen_until(lambda: kernel.state["state"] == "paused")
    paused_at = kernel.state["num_frames"]
    kernel.listen_until(lambda: len(kernel.frames) == paused_at)
    kernel.send({"type": "command", "name": "step"})
    kernel.listen_until(lambda: len(kernel.frames) == paused_at + 1)
    kernel.listen_until(lambda: kernel.state["state"] == "paused")
    kernel.send({"type": "command", "name": "resume"})
    kernel.listen_until(lambda: len(kernel.frames) >= paused_at + 5)
    kernel.send({"type": "command", "name": "stop"})
    kernel.listen_until(lambda: kernel.printed.endswith("\n"))  # a line may come in pieces
    _, _, count, state = kernel.printed.split()
    kernel.listen_until(lambda: len(kernel.frames) == int(count))
    assert kernel.frames == list(range(int(count)))
    assert state == kernel.state["state"] == "finished"
