"""``python -m fswidget sweep``: a grid of runs, and its page with live sliders."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import Field
from typing import Any

from fswidget.cli_run import Targets, Terminated, finite, terminating


def values_of(kind: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    """A reader of several values with commas between them."""

    def read(text: str) -> list[Any]:
        return [kind(part) for part in text.split(",")]

    return read


def switch(text: str) -> bool:
    """A word for on or off."""
    words = {"true": True, "on": True, "yes": True, "false": False, "off": False, "no": False}
    if text.lower() not in words:
        raise ValueError(f"{text!r}: must be one of {', '.join(words)}")
    return words[text.lower()]


def several(option: dict[str, Any], setting: Field[Any]) -> dict[str, Any]:
    """The option of a setting that takes one value, made one that takes several."""
    if setting.name == "layers":
        return option
    if isinstance(setting.default, bool):
        option = {**option, "type": switch, "metavar": "true,false"}
        del option["action"]
    else:
        option = {**option, "metavar": f"{option['metavar']},…"}
    return {**option, "type": values_of(option["type"])}


def sweep(
    *,
    html: str | None,
    save: str | None,
    resume: str | None,
    byte_budget: int,
    quiet: bool,
    as_json: bool,
    **settings: Any,
) -> int:
    """Run the grid of all settings with several values; 1 if a run failed."""
    from fswidget.experiments.sweeping import sweep as run_sweep
    from fswidget.training.config import Config

    targets = Targets(save=save, html=html, suffix=".json")
    axes = {n: v for n, v in settings.items() if isinstance(v, list) and len(v) > 1}
    alone = {n: v[0] if isinstance(v, list) else v for n, v in settings.items() if n not in axes}
    if not axes:
        raise ValueError("sweep: give a setting several values, such as --width=32,128")
    options: dict[str, Any] = {"resume": resume, "byte_budget": byte_budget}
    options |= {"keep": None if html is None else "recordings", "progress": not quiet}
    try:
        with terminating():
            result = run_sweep(Config(**alone), **{**options, **axes})
    except Terminated as end:  # the file of --resume holds what was run
        return end.status
    written, failed = targets.write(result)
    if as_json:
        files = [str(path) for path in written]
        print(json.dumps({"axes": result.axes, "table": finite(result.table()), "files": files}))
    elif not quiet:
        print(result)
        for path in written:
            print(f"wrote {path}")
    for error in failed:
        raise error
    return int(bool(result.failed))
