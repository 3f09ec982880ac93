"""The state of a view as the part of an address from ``#`` on: ``#width=256&epoch=3&axes=2,4``.

``js/src/host/permalink.ts`` writes and reads the same; ``tests/fixtures/links.json`` holds both to
it. A value is a word as it is, a list of words or whole numbers with commas between them, and
anything else JSON.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import quote, unquote

#: Characters of a link, at most: longer addresses get cut where people paste them.
MAX_LENGTH = 600

#: As JavaScript's ``encodeURIComponent`` leaves them, and the comma of lists.
_SAFE = "!~*'(),"

_ITEM = re.compile(r"[A-Za-z_]\w*|\d{1,9}", re.ASCII)


def encode(state: Mapping[str, Any]) -> str:
    """A state as a link, beginning with ``#``; empty where the state is.

    Parameters
    ----------
    state : mapping
        JSON types by name.

    Raises
    ------
    ValueError
        If the link were longer than `MAX_LENGTH`, or a value is of another type.
    """
    parts = [
        f"{quote(name, safe=_SAFE)}={quote(_written(name, value), safe=_SAFE)}"
        for name, value in state.items()
    ]
    link = "#" + "&".join(parts) if parts else ""
    if len(link) > MAX_LENGTH:
        longest = max(parts, key=len)
        raise ValueError(
            f"{longest.split('=')[0]}: with it a link has {len(link)} characters; "
            f"at most {MAX_LENGTH} are allowed"
        )
    return link


def decode(link: str) -> dict[str, Any]:
    """The inverse of `encode`; of a whole address, what follows its ``#``.

    Raises
    ------
    TypeError
        If `link` is no string.
    """
    if not isinstance(link, str):
        raise TypeError(f"link={link!r}: must be an address with a part after '#'")
    state = {}
    for part in link.partition("#")[2].split("&"):
        name, equals, value = part.partition("=")
        if equals:
            state[unquote(name)] = _read(unquote(value))
    return state


def _written(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value if isinstance(_read(value), str) and _read(value) == value else _json(value)
    if isinstance(value, list | tuple) and len(value) > 1:
        items = [item if isinstance(item, str) else _json(item) for item in value]
        text = ",".join(items)
        if _read(text) == list(value):
            return text
    try:
        return _json(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name}={value!r}: has no form that a link could hold") from None


def _read(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse)
    except ValueError:
        items = text.split(",")
        if len(items) > 1 and all(_ITEM.fullmatch(item) for item in items):
            return [int(item) if item.isdigit() else item for item in items]
        return text


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no JSON")


def _json(value: Any) -> str:
    """JSON with numbers as JavaScript writes them."""
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_json, value)) + "]"
    if isinstance(value, float):
        return _number(value)
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _number(value: float) -> str:
    if not math.isfinite(value):
        raise ValueError(value)
    if value.is_integer() and abs(value) < 1e21:
        return str(int(value))
    if 1e-6 <= abs(value) < 1e21:
        return f"{Decimal(repr(value)):f}"
    return repr(value).replace("e-0", "e-")
