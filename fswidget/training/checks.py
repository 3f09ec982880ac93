"""Whether a single value is possible for a setting, and settings in Python's own types."""

from __future__ import annotations

import dataclasses
import difflib
import math
import os
from collections.abc import Sequence
from functools import wraps
from types import SimpleNamespace
from typing import Any, TypeVar

from fswidget.training.own import network_of_own, source_of_own
from fswidget.training.registry import CHOICES, DataSource, Network

_Settings = TypeVar("_Settings")


def plain(value: Any) -> Any:
    """A setting in Python's own types: numpy's numbers, arrays, lists and paths become those."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return tuple(map(plain, value)) if isinstance(value, (list, tuple)) else value


def read_setting(name: str, value: Any) -> Any:
    """`plain`, and a network or data set of one's own as an entry beside those that have names."""
    if name == "model" and callable(value):
        return network_of_own(value)
    if name == "dataset" and not isinstance(value, (str, DataSource)):
        return source_of_own(value)
    return value if isinstance(value, DataSource) else plain(value)


def as_json(value: Any) -> Any:
    """A setting as JSON has it."""
    if isinstance(value, Network | DataSource):
        return value.name
    return list(value) if isinstance(value, tuple) else value


def check(field: dataclasses.Field[Any], value: Any) -> None:
    """Raise ValueError if `value` is impossible for the setting on its own."""
    name, meta, default = field.name, field.metadata, field.default

    def wrong(allowed: str) -> ValueError:
        return ValueError(f"{name}={value!r}: must be {allowed}")

    if name in CHOICES:
        known = CHOICES[name]
        if isinstance(value, Network if name == "model" else DataSource):
            return
        if not _is_str(value) or value not in known:
            raise wrong(f"one of {', '.join(known)}")
    elif name == "root":
        if not isinstance(value, str):
            raise wrong("the path of a folder, as a string")
    elif name == "device":
        if not isinstance(value, str) or value.split(":")[0] not in ("auto", "cpu", "cuda", "mps"):
            raise wrong("auto, cpu, mps, cuda or cuda:N")
    elif name == "layers":
        names = value if isinstance(value, tuple) else ()
        if not (value is None or value == "all" or (names and all(map(_is_str, names)))):
            raise wrong('None, "all" or a list of layer names')
    elif name == "frozen":
        names = value if isinstance(value, tuple) else ()
        if not (value is None or (names and all(map(_is_str, names)))):
            raise wrong("None or a list of module names")
    elif name == "frame_every":
        word = _is_str(value) and value in meta["choices"]
        if not word and not (_is_int(value) and value >= 1):
            raise wrong("auto, epoch, log or a number of steps ≥ 1")
    elif name == "seed":
        # What torch's generators take.
        if not _is_int(value) or not 0 <= value < 2**64:
            raise wrong("an integer ≥ 0 and < 2**64")
    elif meta["choices"] is not None:
        if not _is_str(value) or value not in meta["choices"]:
            raise wrong(f"one of {', '.join(map(str, meta['choices']))}")
    elif isinstance(default, bool):
        if not isinstance(value, bool):
            raise wrong("True or False")
    elif not (value is None and default is None):
        integer = not isinstance(default, float)
        low, high, above = meta["min"], meta["max"], ">" if meta["open_min"] else "≥"
        right_type = _is_int(value) if integer else _is_number(value)
        too_low = right_type and (value <= low if meta["open_min"] else value < low)
        high = meta["limit"] if integer else high
        too_high = right_type and high is not None and value > high
        if not right_type or too_low or too_high:
            kind = "an integer" if integer else "a finite number"
            top = f" and ≤ {high:g}" if high is not None else ""
            raise wrong(f"{kind} {above} {low:g}{top}")


def _is_str(value: Any) -> bool:
    return isinstance(value, str)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return _is_int(value) or (isinstance(value, float) and math.isfinite(value))


def reads_own(cls: type[_Settings]) -> type[_Settings]:
    """Have the constructor say which settings there are where it is given another, and take all of
    a data set of one's own unless told how much."""
    init, fields = cls.__init__, cls.__dataclass_fields__  # type: ignore[attr-defined]

    @wraps(init)
    def checked(self: _Settings, **settings: Any) -> None:
        for name, value in settings.items():
            if name not in fields:
                raise TypeError(f"{name}={value!r}: {unknown(name, [*fields])}")
        for name in ("model", "dataset"):
            if name in settings:
                settings[name] = read_setting(name, settings[name])
        own = settings.get("dataset")
        if isinstance(own, DataSource) and settings.get("train_size") is None:
            field = fields["held_out"]
            share = plain(settings.get("held_out", field.default))
            check(field, share)
            settings["train_size"] = own.of(SimpleNamespace(held_out=share)).train_size
        init(self, **settings)

    cls.__init__ = checked  # type: ignore[method-assign, assignment]
    return cls


def unknown(name: str, names: Sequence[str]) -> str:
    """What to tell of a name that is none of `names`."""
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"no such setting; {hint}Settings: {', '.join(names)}"
