"""The controls of a configuration, described for a front end."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from fswidget.training.config import Config
from fswidget.training.registry import CHOICES
from fswidget.training.rules import conflicts
from fswidget.training.steering import STEERABLE

#: Where the further settings stand in the drawer.
SECTIONS = {
    "Network": (
        "depth", "activation", "init_scale", "output_scale", "parametrization",
        "last_layer_only", "final_norm", "precision", "compile",
    ),
    "Data": (
        "test_size", "label_noise", "label_pixels", "target_scale", "augment", "modulus",
        "operation", "train_fraction", "num_targets", "pixels", "grey", "held_out",
    ),
    "Optimisation": (
        "optimizer", "momentum", "nesterov", "beta2", "weight_decay", "schedule", "warmup_steps",
        "batch_size", "max_steps",
    ),
}  # fmt: skip
_SECTION = {name: section for section, names in SECTIONS.items() for name in names}


def controls(
    config: Config,
    notes: Mapping[str, str] | None = None,
    own: Mapping[str, Sequence[str]] | None = None,
) -> list[dict[str, Any]]:
    """Descriptions of the controls that change a configuration, as JSON types.

    Parameters
    ----------
    config : Config
    notes : mapping of str to str, optional
        What happened to a setting just now that its control should say: why a value was refused,
        or what was changed along with another setting.
    own : mapping of str to sequence of str, optional
        By setting ("model", "dataset"), further choices: those that have no name elsewhere.

    Returns
    -------
    list of dict
        ``name``, ``label``, ``help``, ``group`` ("main" or "advanced"), ``kind`` ("slider",
        "number", "select" or "checkbox"), ``value``, ``choices``, ``min``, ``max``, ``step`` (a
        whole number where the setting is one), ``above`` (whether ``min`` itself is too little),
        ``log``, ``steers`` (whether a run that is on can take it up), ``section`` (of the further
        settings), ``note`` (None where there is none) and
        ``disabled``: None, or why the control has no effect beside the others.
    """
    obstacles: dict[str, str] = {}
    for conflict in conflicts(config):
        # A bound still leaves a choice; only what must keep one value is disabled.
        if conflict.instead == getattr(config, conflict.field):
            obstacles.setdefault(conflict.field, conflict.reason)
    fields = [field for field in dataclasses.fields(config) if field.metadata["group"]]
    return [
        {
            **_describe(field, config, (own or {}).get(field.name, ())),
            "note": (notes or {}).get(field.name),
            "disabled": obstacles.get(field.name),
        }
        for field in fields
    ]


def _describe(field: dataclasses.Field[Any], config: Config, own: Sequence[str]) -> dict[str, Any]:
    meta = dict(field.metadata)
    slider = meta.pop("slider")
    del meta["limit"]
    above = meta.pop("open_min")
    choices = meta.pop("choices")
    if field.name in CHOICES:
        choices = (*CHOICES[field.name], *own)
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
    value = config.to_dict()[field.name]
    if choices is not None and value not in choices:
        choices = (*choices, value)
    return {
        "name": field.name,
        "kind": kind,
        "value": value,
        "choices": None if choices is None else list(choices),
        "above": above,
        "steers": field.name in STEERABLE,
        "section": _SECTION.get(field.name, "Measurement"),
        **meta,
    }


def changes(
    described: Sequence[Mapping[str, Any]],
    config: Config,
    notes: Mapping[str, str],
    own: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, dict[str, Any]]:
    """What of the controls is other than `described` said, by control.

    Parameters
    ----------
    described : sequence of dict
        What `controls` returned for the settings at the start.
    config : Config
        The settings now.
    notes, own
        See `controls`.

    Returns
    -------
    dict of str to dict
        Entries as in `controls`. A control's value is its trait, and not among them.
    """
    now = {}
    for before, after in zip(described, controls(config, notes, own), strict=True):
        new = {k: v for k, v in after.items() if k != "value" and v != before[k]}
        if new:
            now[after["name"]] = new
    return now
