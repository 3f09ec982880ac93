"""The settings by name in the signatures of functions that take them all."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from fswidget.training.config import Config

_Function = TypeVar("_Function", bound=Callable[..., Any])


def takes_settings(
    function: _Function, *, annotation: str = "", default: Any = dataclasses.MISSING
) -> _Function:
    """Name the settings in the signature of a function that takes them as ``**settings``.

    Editors complete them, and ``inspect.signature`` lists them.

    Parameters
    ----------
    function : callable
        With a parameter ``**``, which the settings replace.
    annotation : str
        Of every setting; its own type if not given.
    default : any
        Of every setting; its own default if not given.
    """
    signature = inspect.signature(function)
    named = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    settings = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default if default is dataclasses.MISSING else default,
            annotation=annotation or field.type,
        )
        for field in dataclasses.fields(Config)
    ]
    whole = signature.replace(parameters=[*named, *settings])
    function.__signature__ = whole  # type: ignore[attr-defined]
    return function
