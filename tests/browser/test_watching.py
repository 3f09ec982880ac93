"""A loop of the user's own in a busy cell of a real JupyterLab, watched live."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .jupyter import Notebook
from .widget import Widget

pytestmark = pytest.mark.timeout(600)

SETUP = """
import itertools, time, torch, fswidget as fs
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
inputs, targets = torch.randn(60, 6), torch.arange(60) % 3
optimizer = torch.optim.Adam(model.parameters())
probe = fs.watch(model, inputs, targets)
probe.view()
"""
LOOP = """
with probe:
    for epoch in itertools.count():
        probe.snapshot(epoch)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
        time.sleep(0.02)
print("frames:", len(probe.recording))
"""


def test_pause_and_stop_reach_a_busy_cell(
    open_notebook: Callable[..., Notebook], complaints: list[str]
) -> None:
    notebook = open_notebook("watching.ipynb", [SETUP, LOOP])
    page = notebook.page
    # Not waited for: the second cell runs until Stop is pressed.
    page.evaluate("() => void window.jupyterapp.commands.execute('notebook:run-all-cells')")
    page.locator(".fswidget").first.wait_for(timeout=120_000)
    widget = Widget(page)
    widget.wait_drawn(5, timeout=120)
    widget.press("Pause")
    widget.wait_for("state", "paused")
    count = int(widget.says("frames"))
    widget.wait_drawn(count - 1)
    widget.press("Step")
    widget.wait_drawn(count)
    widget.wait_for("state", "paused")
    assert int(widget.says("frames")) == count + 1
    widget.press("Resume")
    widget.wait_drawn(count + 5)
    widget.press("Stop")
    widget.wait_for("state", "finished")
    output = page.locator(".jp-OutputArea-output", has_text="frames:").last
    output.wait_for()
    total = int(output.inner_text().split()[-1])
    widget.wait_for("frames", str(total))
    widget.wait_drawn(total - 1)
    notebook.check()
    assert complaints == []
