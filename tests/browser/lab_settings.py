"""What the JupyterLab of the tests is set to: no questions, no news, and nothing that no notebook
uses, which every load of the page would pay for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

USER = {
    "@jupyterlab/apputils-extension/notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
    "@jupyterlab/docmanager-extension/plugin": {"autosave": False},
}
#: For files of other kinds, and for what is installed, set and run beside notebooks.
UNUSED = [
    *(f"@jupyterlab/{kind}viewer-extension" for kind in ("csv", "html", "image", "markdown")),
    *(f"@jupyterlab/{kind}manager-extension" for kind in ("extension", "plugin")),
    *(f"@jupyterlab/{kind}-extension" for kind in ("pdf", "vega5", "json", "mermaid")),
    *("@jupyterlab/settingeditor-extension", "@jupyterlab/terminal-extension", "jupyterlab-plotly"),
]
PAGE = {"buildCheck": False, "disabledExtensions": dict.fromkeys(UNUSED, True)}


def write(settings: Path, config: Path) -> None:
    """Put the settings into Jupyter's folders for them."""
    files: dict[Path, Any] = {config / "labconfig" / "page_config.json": PAGE}
    files |= {settings / f"{name}.jupyterlab-settings": value for name, value in USER.items()}
    for path, value in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value))
