"""Pictures for a person to look at: each experiment that is one click away."""

from __future__ import annotations

import json
import os
from pathlib import Path

from playwright.sync_api import Browser

from .front import staged
from .jupyter import JupyterServer

CELL = """
import fswidget as fs
explorer = fs.Explorer(root={root!r}, device="cpu")
explorer
"""
#: What needs no data on disk.
EMBEDDED = ("digits", "modular", "teacher", "diabetes")


def test_each_experiment_is_one_click_away(
    browser: Browser, lab: JupyterServer, artifacts: Path
) -> None:
    """Those that need data are there too where FSWIDGET_DATA names it."""
    root = os.environ.get("FSWIDGET_DATA", "data")
    with staged(browser, lab, "looks", [CELL.format(root=root)], height=2400) as stage:
        widget = stage.widget()
        widget.wait_for("state", "idle")
        presets = json.loads(stage.kernel.evaluate("explorer._presets"))
        seen = 0
        for preset in presets:
            config = f"next(iter(fs.recipes[{preset['name']!r}].configs))"
            dataset = stage.kernel.evaluate(f"{config}.dataset")
            if "FSWIDGET_DATA" not in os.environ and dataset not in EMBEDDED:
                continue
            run = widget.says("run")
            widget.root.get_by_label("Experiment").select_option(preset["name"])
            widget.press("Load")
            widget.wait_for("run", lambda value, old=run: value not in ("", old), 120)
            widget.wait_drawn(2, 120)
            assert stage.kernel.evaluate("explorer.recording.config['dataset']") == dataset
            widget.press("Stop")
            widget.wait_for("state", "finished")
            widget.root.scroll_into_view_if_needed()
            widget.root.screenshot(
                path=artifacts / f"experiment-{preset['name']}.png", animations="disabled"
            )
            overflow = widget.root.evaluate("root => root.scrollWidth - root.clientWidth")
            assert overflow <= 1
            seen += 1
        assert seen >= 2
