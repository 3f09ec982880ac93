"""How a setting is declared: its default, what it does, and how a control shows it."""

from __future__ import annotations

import dataclasses
from typing import Any


def knob(
    default: Any,
    label: str,
    help: str,
    *,
    group: str | None = "advanced",
    choices: tuple[Any, ...] | None = None,
    min: float | None = None,
    max: float | None = None,
    step: float | None = None,
    log: bool = False,
    slider: bool = False,
    limit: int | None = None,
    open_min: bool = False,
) -> Any:
    """A field of `Config`; `group` is None where no control shows it.

    The `max` of an integer is the reach of its slider; `limit` is where more would cost more memory
    or patience than there is.
    """
    described = {
        "label": label,
        "help": help,
        "group": group,
        "choices": choices,
        "min": min,
        "max": max,
        "step": step,
        "log": log,
        "slider": slider,
        "limit": limit,
        "open_min": open_min,
    }
    return dataclasses.field(default=default, metadata=described)
