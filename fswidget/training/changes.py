"""From one configuration to another: the nearest valid one, and a change in words."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from fswidget.training.checks import check, read_setting
from fswidget.training.config import _FIELDS, Config
from fswidget.training.registry import named, networks, sources
from fswidget.training.rules import conflicts


def nearest_valid(
    values: Mapping[str, Any], keep: str | Iterable[str] = (), base: Config | None = None
) -> tuple[Config, list[str]]:
    """The valid settings nearest to `values`, changing as little as possible.

    For menus: choosing another data set must not end in an error because of a knob set before.

    Parameters
    ----------
    values : mapping
        Settings by name.
    keep : str or iterable of str
        Settings that must stay, usually the one just chosen.
    base : Config, optional
        Valid settings that `values` start from, the defaults if not given: what is as there was
        checked there.

    Returns
    -------
    config : Config
    adjustments : list of str
        What was changed and why, one sentence each; empty if `values` were valid.

    Raises
    ------
    ValueError
        If a value is impossible on its own, or the kept ones exclude each other.
    """
    kept = {keep} if isinstance(keep, str) else set(keep)
    if values.keys() - {field.name for field in _FIELDS}:
        return Config(**values), []  # which says what is unknown
    checked = {field.name: getattr(base, field.name, field.default) for field in _FIELDS}
    values = {**checked, **{name: read_setting(name, value) for name, value in values.items()}}
    for field in _FIELDS:
        value, known = values[field.name], checked[field.name]
        # True == 1, and a whole number may stand for a float.
        if type(value) is not type(known) or value != known:
            check(field, value)
    adjustments: list[str] = []

    def adjust(name: str, value: Any, reason: str) -> None:
        before, after = _show(name, values[name]), _show(name, value)
        adjustments.append(f"{name} {before} → {after}: {reason}.")
        values[name] = value

    network, source = named(networks, values["model"]), named(sources, values["dataset"])
    if "model" in kept and "dataset" not in kept and not network.reads(source):
        fitting = next(name for name, other in sources.items() if network.reads(other))
        adjust("dataset", fitting, f"model={network.name!r} cannot read {source.name!r}")
    while True:
        draft = object.__new__(Config)
        for name, value in values.items():
            object.__setattr__(draft, name, value)
        wrong = [c for c in conflicts(draft) if values[c.field] != c.instead]
        free = next((conflict for conflict in wrong if conflict.field not in kept), None)
        if free is None:
            if wrong:
                raise wrong[0].error(values[wrong[0].field])
            return draft, adjustments
        adjust(free.field, free.instead, free.reason)


def describe_change(old: Config, new: Config) -> str:
    """What changed from one configuration to another, such as ``"batchnorm off → on"``."""
    changed = []
    for field in dataclasses.fields(old):
        before, after = getattr(old, field.name), getattr(new, field.name)
        if before != after:
            shown = _show(field.name, before), _show(field.name, after)
            changed.append(f"{field.name} {shown[0]} → {shown[1]}")
    return ", ".join(changed)


def _show(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if value is None:
        return "none" if name in ("layers", "max_steps") else "automatic"
    return f"{value:g}" if isinstance(value, float) else str(value)
