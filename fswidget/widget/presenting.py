"""How a view is put before its readers: what of it is shown, fixed, hidden, and in which words."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any, TypedDict

from fswidget.figures.words import PANELS

#: What of a view is no setting, and can be hidden like one.
PARTS = ("regime", "experiment", "further", "map", "runs", "save", "full", "tour")

#: What a link or a preset holds beside settings.
PLACES = ("epoch", "axes", "panel")

#: Eigenfunctions on the axes of the samples, from 1: the first is often nearly constant.
AXES = (2, 3)


class Presentation(TypedDict, total=False):
    """What the views and pages of fswidget take alike.

    Parameters
    ----------
    height : int
        Height in pixels, where the view is 900 pixels wide or more; 632 if not given.
    scale : float
        How large type is, 1 to 3, for a projector; in full from 900 · `scale` pixels of width on.
    hide : sequence of str
        Settings whose controls are left out, and parts of the view: "regime", "experiment",
        "further" (settings), "map" (of a sweep), "runs", "save", "full" (screen) and "tour".
    lock : sequence of str
        Settings that are shown and that a reader cannot change.
    captions : bool or mapping of str to str
        Whether panels explain themselves; words of your own by panel.
    panels : sequence of str
        The panels to show, in order: "spectrum", "cumulative", "projections", "history",
        "extremes", "layers". All, if not given.
    panel : str
        The one that fills the view.
    axes : pair of int
        Eigenfunctions on the axes of the samples, from 1.
    reveal : bool
        Whether History stops at the epoch on show, for readers who are to predict first; what is
        recorded opens at its first frame then.
    questions : sequence of pairs of str
        Questions with their answers, which are folded until asked for.
    presets : mapping of str to mapping
        Buttons by their titles, and what they set: settings, ``epoch``, ``axes``, ``panel``.
    """

    height: int | None
    scale: float
    hide: Sequence[str]
    lock: Sequence[str]
    captions: bool | Mapping[str, str]
    panels: Sequence[str]
    panel: str
    axes: Sequence[int]
    reveal: bool
    questions: Sequence[tuple[str, str]]
    presets: Mapping[str, Mapping[str, Any]]


#: What each option is where it is not given.
DEFAULTS = Presentation(
    height=None,
    scale=1.0,
    hide=(),
    lock=(),
    captions=True,
    panels=(),
    panel="",
    axes=AXES,
    reveal=False,
    questions=(),
    presets={},
)


def checked(name: str, value: Any, controls: Sequence[str]) -> Any:
    """An option of `Presentation` as JSON types.

    Parameters
    ----------
    name : str
        Of the option.
    value : any
    controls : sequence of str
        Names of the settings: for ``presets``, of those that the view has controls of.

    Raises
    ------
    TypeError, ValueError
        If the value is not one of those allowed; the message names the nearest one.
    """
    return _CHECKS[name](name, value, controls)


def presented(
    options: Presentation, controls: Sequence[str], settings: Sequence[str]
) -> dict[str, Any]:
    """Options as JSON types, see `checked`; `hide` and `lock` take any of `settings`."""
    for name, value in options.items():
        if name not in DEFAULTS:
            near = difflib.get_close_matches(name, DEFAULTS, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise TypeError(f"{name}={value!r}: no such argument{hint}")
    return {
        name: checked(name, value, controls if name == "presets" else settings)
        for name, value in options.items()
    }


def one_of(name: str, value: Any, known: Sequence[str], given: Any = None) -> str:
    """`value`, which must be one of some names."""
    if value in known:
        return str(value)
    near = difflib.get_close_matches(str(value), known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    shown = value if given is None else given
    what = "must be" if given is None else f"{value!r} must be"
    allowed = f"one of {', '.join(map(repr, known))}" if known else "absent: there is none here"
    raise ValueError(f"{name}={shown!r}: {what} {allowed}{hint}")


def _flag(name: str, value: Any, _: Sequence[str]) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{name}={value!r}: must be True or False")
    return value


def _words(name: str, value: Any, known: Sequence[str]) -> list[str]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise TypeError(f"{name}={value!r}: must be a list of names")
    return [one_of(name, each, known, value) for each in value]


def _captions(name: str, value: Any, _: Sequence[str]) -> bool | dict[str, str]:
    if isinstance(value, bool):
        return value
    if not isinstance(value, Mapping) or not all(isinstance(v, str) for v in value.values()):
        raise TypeError(f"{name}={value!r}: must be True or False, or texts by panel")
    return {one_of(name, panel, tuple(PANELS), value): text for panel, text in value.items()}


def _height(name: str, value: Any, _: Sequence[str]) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise TypeError(f"{name}={value!r}: must be a number of pixels, or None")
    if value is not None and not 400 <= value <= 4000:
        raise ValueError(f"{name}={value!r}: must be from 400 to 4000 pixels, or None")
    return value


def _scale(name: str, value: Any, _: Sequence[str]) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name}={value!r}: must be a number")
    if not 1 <= float(value) <= 3:
        raise ValueError(f"{name}={value!r}: must be from 1 to 3")
    return float(value)


def _panel(name: str, value: Any, _: Sequence[str]) -> str:
    return "" if value == "" else one_of(name, value, tuple(PANELS))


def _axes(name: str, value: Any, _: Sequence[str]) -> list[int]:
    pair = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else []
    whole = all(isinstance(k, int) and not isinstance(k, bool) and 1 <= k <= 64 for k in pair)
    if len(pair) != 2 or not whole:
        raise ValueError(f"{name}={value!r}: must be two numbers of eigenfunctions, such as {AXES}")
    return pair


def _questions(name: str, value: Any, _: Sequence[str]) -> list[list[str]]:
    pairs = list(value) if isinstance(value, Sequence) else [value]
    for pair in pairs:
        texts = list(pair) if isinstance(pair, list | tuple) else []
        if len(texts) != 2 or not all(isinstance(text, str) for text in texts):
            raise TypeError(f"{name}={value!r}: must be a list of (question, answer)")
    return [list(pair) for pair in pairs]


def _presets(name: str, value: Any, controls: Sequence[str]) -> dict[str, dict[str, Any]]:
    if not isinstance(value, Mapping) or not all(isinstance(v, Mapping) for v in value.values()):
        raise TypeError(f"{name}={value!r}: must be settings by title")
    known = (*controls, *PLACES)
    return {
        str(title): {one_of(name, key, known, title): setting for key, setting in state.items()}
        for title, state in value.items()
    }


_CHECKS: dict[str, Callable[[str, Any, Sequence[str]], Any]] = {
    "height": _height,
    "scale": _scale,
    "hide": lambda name, value, controls: _words(name, value, (*controls, *PARTS)),
    "lock": _words,
    "captions": _captions,
    "panels": lambda name, value, _: _words(name, value, tuple(PANELS)),
    "panel": _panel,
    "axes": _axes,
    "reveal": _flag,
    "questions": _questions,
    "presets": _presets,
}
