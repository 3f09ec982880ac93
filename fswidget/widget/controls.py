"""The controls of a configuration, described for a front end."""

from __future__ import annotations

import dataclasses
from typing import Any

from fswidget.training.config import Config
from fswidget.training.registry import networks, sources
from fswidget.training.rules import conflicts


def controls(config: Config) -> list[dict[str, Any]]:
    """Descriptions of the controls that change a configuration, as JSON types.

    Returns
    -------
    list of dict
        ``name``, ``label``, ``help``, ``group`` ("main" or "advanced"), ``kind`` ("slider",
        "number", "select" or "checkbox"), ``value``, ``choices``, ``min``, ``max``, ``step`` (a
        whole number where the setting is one), ``log`` and ``disabled``: None, or why the control
        has no effect beside the others.
    """
    obstacles: dict[str, str] = {}
    for conflict in conflicts(config):
        # A bound still leaves a choice; only what must keep one value is disabled.
        if conflict.instead == getattr(config, conflict.field):
            obstacles.setdefault(conflict.field, conflict.reason)
    specs = []
    for field in dataclasses.fields(config):
        meta = dict(field.metadata)
        if meta.pop("group") is None:
            continue
        slider = meta.pop("slider")
        meta.pop("open_min")
        choices = meta.pop("choices")
        if field.name == "model":
            choices = tuple(networks)
        elif field.name == "dataset":
            choices = tuple(sources)
        if choices is not None:
            kind = "select"
        elif isinstance(field.default, bool):
            kind = "checkbox"
        else:
            kind = "slider" if slider else "number"
        if field.name == "train_size":
            meta["max"] = config.source.train_size
        if field.name == "width":
            meta["step"] = config.network.width_multiple
        elif kind in ("slider", "number") and not isinstance(field.default, float):
            meta["step"] = 1  # JSON does not tell whole numbers from others
        value = getattr(config, field.name)
        if choices is not None and value not in choices:
            choices = (*choices, value)
        specs.append(
            {
                "name": field.name,
                "group": field.metadata["group"],
                "kind": kind,
                "value": value,
                "choices": None if choices is None else list(choices),
                **meta,
                "disabled": obstacles.get(field.name),
            }
        )
    return specs
