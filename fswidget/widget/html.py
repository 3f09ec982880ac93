"""Recordings as one HTML file that needs no server, no network and no Python.

The page holds the widget's own front end, BokehJS and what is shown: a recording, as `Viewer` does;
several side by side, as `compare` does; or a sweep, whose sliders swap recorded runs.
``js/src/host/page.ts`` gives the front end models without a kernel.
"""

from __future__ import annotations

import base64
import html
import json
import os
from collections.abc import Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any, Unpack

from fswidget.figures.layout import layout_json
from fswidget.recording.atomic import atomic_write, with_suffix
from fswidget.recording.grid import Sweep
from fswidget.recording.provenance import told
from fswidget.recording.recording import Recording
from fswidget.widget.assets import bokehjs, bundle
from fswidget.widget.codec import pack
from fswidget.widget.grid import Grid, pack_for_screen
from fswidget.widget.presenting import PLACES, Presentation, presented
from fswidget.widget.state import ViewState

THEMES = ("auto", "light", "dark")

#: What a page can show.
Shown = Recording | Sweep | Sequence[Recording] | Mapping[str, Recording]


# The browser itself refuses every request: the page may only use what it brings. BokehJS and the
# front end come as text, hence 'unsafe-eval' and data: for scripts.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval' data:; "
    "style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'"
)


# No blank line and no template braces: Markdown and Jekyll would take either as their own.
_EMBEDDABLE = """\
<div>
<noscript>This recording needs JavaScript.</noscript>
<script type="application/json">{data}</script>
<script>
((script) => {{
  const {{ module, ...data }} = JSON.parse(script.previousElementSibling.textContent);
  import("data:text/javascript;base64," + module)
    .then((page) => page.mount(page.default, script.parentElement, data));
}})(document.currentScript);
</script>
</div>
"""


_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width">
<meta name="generator" content="{generator}">
<meta name="description" content="{about}">
<meta name="color-scheme" content="{scheme}">
<title>{title}</title>
<style>body {{ margin: 12px }}</style>
</head>
<body>
{body}</body>
</html>
"""


_IFRAME = """\
<div><iframe title="{title}" sandbox="allow-scripts allow-downloads" loading="lazy"\
 style="width: 100%; height: 960px; border: 0; resize: vertical" srcdoc="{page}"></iframe></div>
"""


def page(
    shown: Shown,
    *,
    title: str | None = None,
    theme: str = "auto",
    pictures: bool = True,
    epoch: float | None = None,
    **options: Unpack[Presentation],
) -> str:
    """A whole HTML page.

    Parameters
    ----------
    shown : Recording, Sweep, or sequence or mapping of Recording
        A recording; a sweep with its recordings, for sliders that swap runs; or several recordings,
        named by the mapping or their titles, whose epochs are linked. Each with at least one frame.
        A page of several holds of each what a screen shows: clouds are rounded to 1/255 of their
        reach, curves to 1/1024 of their height, eigenvalues to 8 significant bits, and held-out
        samples are left out.
    title : str, optional
        Of the page; the recording's own by default.
    theme : {"auto", "light", "dark"}
        ``"auto"`` follows the reader's system.
    pictures : bool
        Whether the page holds the samples' pictures.
    epoch : float, optional
        Where the page opens; at the last frame, if not given. ``#epoch=3`` at the end of the page's
        address does the same for a reader, see `fswidget.Viewer.link`.
    **options
        ``captions``, ``height``, ``scale``, ``hide``, ``lock``, ``panels``, ``panel``, ``axes``,
        ``reveal``, ``questions``, ``presets``: see `fswidget.widget.presenting.Presentation`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not one of these.
    ImportError
        If the front end was not built.
    """
    data = {**_data(shown, theme, pictures, epoch, options), "address": True}
    recording = _first(shown)
    return _PAGE.format(
        policy=_POLICY,
        scheme="light dark" if theme == "auto" else theme,
        generator=html.escape(f"fswidget {recording.provenance.get('fswidget', '')}".strip()),
        about=html.escape(told(recording.config, recording.provenance)),
        title=_title(shown, title),
        body=_element(data),
    )


def to_html(
    shown: Shown,
    path: str | os.PathLike[str],
    *,
    fragment: bool = False,
    iframe: bool = False,
    title: str | None = None,
    theme: str = "auto",
    pictures: bool = True,
    epoch: float | None = None,
    **options: Unpack[Presentation],
) -> Path:
    """Write recordings as one self-contained, interactive HTML file, whole or not at all.

    Parameters
    ----------
    shown : Recording, Sweep, or sequence or mapping of Recording
        See `page`.
    path : str or path-like
        ``.html`` is appended where it has no suffix.
    fragment : bool
        Write a ``<div>`` for a blog, Quarto or Jupyter Book page instead of a whole page.
    iframe : bool
        Write an ``<iframe>`` that holds the whole page, for hosts such as nbviewer that would
        otherwise let their own styles and scripts into it.
    title, theme, pictures, epoch, **options
        See `page`.

    Returns
    -------
    pathlib.Path
        The file written.

    Examples
    --------
    >>> recording = fs.record(fs.Config(width=16, epochs=1, train_size=100, probe_size=100))
    >>> fs.to_html({"one": recording, "two": recording}, "both").name
    'both.html'
    """
    _check_flag("fragment", fragment)
    _check_flag("iframe", iframe)
    if fragment and iframe:
        raise ValueError("fragment=True, iframe=True: an iframe holds a whole page, so choose one")
    path = with_suffix(path, ".html")
    if fragment:
        text = _element({**_data(shown, theme, pictures, epoch, options), "fragment": True})
    else:
        text = page(shown, title=title, theme=theme, pictures=pictures, epoch=epoch, **options)
    if iframe:
        text = framed(text, _title(shown, title))
    return atomic_write(path, text.encode(errors="replace"))


def framed(text: str, title: str) -> str:
    """An ``<iframe>`` that holds a whole page; `title` is HTML already."""
    return _IFRAME.format(title=title, page=html.escape(text))


def saved_page(state: Mapping[str, Any], buffers: Mapping[str, str], title: str) -> str:
    """The page of a widget that a notebook has saved, with the front end that it saved.

    Parameters
    ----------
    state : mapping
        The widget's traits, as the notebook's metadata has them.
    buffers : mapping of str to str
        Base64 of those that are bytes.
    title : str
    """
    declared = ViewState.class_own_traits(sync=True)
    # Some hosts save no values that are a class's own.
    module, style = state.get("_esm", ""), state.get("_css", "")
    data = {
        "module": _base64((module or bundle("widget.js")).encode()),
        "style": style or bundle("widget.css"),
        "traits": {name: state[name] for name in declared if name in state},
        "bytes": {name: buffers[name] for name in declared if name in buffers},
    }
    return _PAGE.format(
        policy=_POLICY,
        scheme="light dark",
        generator="fswidget",
        about="",
        title=html.escape(title),
        body=_element(data),
    )


def _data(
    shown: Shown, theme: str, pictures: bool, epoch: float | None, options: Presentation
) -> dict[str, Any]:
    """What `mount` of the front end takes."""
    _check(shown, theme, pictures, epoch)
    # The widget's own traits, so that page and widget cannot part; nothing is sent anywhere.
    declared = ViewState.class_own_traits(sync=True)
    traits = {name: trait.default() for name, trait in declared.items()}
    traits |= {"_figures": layout_json(), "theme": theme}
    traits = {name: value for name, value in traits.items() if not isinstance(value, bytes)}
    data: dict[str, Any] = {
        "module": _base64(bundle("widget.js").encode()),
        "style": bundle("widget.css"),
        "traits": traits,
        "bytes": {"_bokehjs": _base64(bokehjs())},
    }
    if isinstance(shown, Sweep):
        grid = Grid.of(shown if pictures else shown.without_pictures())
        layout, blocks = grid.page()
        controls = grid.controls()
        made = presented(options, [control["name"] for control in controls], grid.settings)
        for state in made.get("presets", {}).values():
            grid.check({n: value for n, value in state.items() if n not in PLACES})
        if epoch is None and made.get("reveal"):
            epoch = grid.runs[grid.start][0].epoch
        traits |= {"_controls": json.dumps(controls), "_map": json.dumps(grid.map())}
        traits |= {"epoch": epoch, **made}
        traits |= grid.choices(grid.start)
        return data | {"grid": layout, "blocks": {n: _base64(b) for n, b in blocks.items()}}
    known = dict.fromkeys(name for recording in _all(shown) for name in recording.config)
    traits |= presented(options, (), list(known))
    views = _views(shown, pictures, epoch, traits)
    if isinstance(shown, Recording):
        (view,) = views
        return {**data, **{part: data[part] | view[part] for part in ("traits", "bytes")}}
    return {**data, "views": views}


def _views(
    shown: Shown, pictures: bool, epoch: float | None, traits: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """What each recording has of its own."""
    # One run is kept to the last detail; of several, what a screen shows.
    packed = pack if isinstance(shown, Recording) else pack_for_screen
    views: list[dict[str, Any]] = []
    named = _named(shown)
    for number, (name, recording) in enumerate(named, 1):
        kept = recording if pictures else recording.without_pictures()
        own: dict[str, Any] = {"run": f"run-{number}", "num_frames": recording.appended}
        if epoch is not None:
            own["epoch"] = recording.at(epoch).epoch
        elif traits["reveal"]:
            own["epoch"] = recording[0].epoch
        # What is said of all of them stands once: above the first and below the last.
        own |= {"presets": {}} if number > 1 else {}
        own |= {"questions": []} if number < len(named) else {}
        block = {"_packed": _base64(packed(kept, own["run"]))}
        views.append({"title": name, "traits": own, "bytes": block})
    return views


def _check(shown: Shown, theme: str, pictures: bool, epoch: float | None) -> None:
    for recording in _all(shown):
        require_recording(recording)
        require_frames(recording)
    if theme not in THEMES:
        raise ValueError(f"theme={theme!r}: must be one of {', '.join(THEMES)}")
    _check_flag("pictures", pictures)
    if epoch is not None and (isinstance(epoch, bool) or not isinstance(epoch, Real)):
        raise TypeError(f"epoch={epoch!r}: must be a number, or None for the last")
    if epoch is not None:
        for recording in _all(shown):
            recording.at(epoch)  # says where there is no such frame


def require_recording(value: object, name: str = "recording") -> None:
    """Raise TypeError if `value`, which was given as `name`, is no recording."""
    if not isinstance(value, Recording):
        raise TypeError(f"{name}={value!r}: must be a Recording, as fs.load and fs.record return")


def require_frames(recording: Recording) -> None:
    """Raise ValueError if there is nothing to show."""
    if not len(recording):
        raise ValueError(f"recording={recording!r}: has no frame to show")


def _element(data: Mapping[str, Any]) -> str:
    """A ``<div>`` with all that it needs; any number of them may stand in one page."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    # In JSON "<" stands in strings only; escaped, no "</script>" ends the element early.
    return _EMBEDDABLE.format(data=text.replace("<", "\\u003c"))


def _named(shown: Shown) -> list[tuple[str, Recording]]:
    """Recordings with the names that stand above them; one alone has none."""
    if isinstance(shown, Sweep):
        return []
    if isinstance(shown, Mapping):
        return list(shown.items())
    if isinstance(shown, Recording):
        return [("", shown)]
    return [(recording.info.title, recording) for recording in shown]


def _all(shown: Shown) -> list[Recording]:
    if isinstance(shown, Sweep):
        kept = shown.sel()
        return [kept] if isinstance(kept, Recording) else kept
    if isinstance(shown, Recording):
        return [shown]
    if isinstance(shown, str) or not isinstance(shown, Sequence | Mapping) or not shown:
        raise TypeError(
            f"recording={shown!r}: must be a Recording, as fs.load and fs.record return, a Sweep, "
            "or several recordings"
        )
    return list(shown.values() if isinstance(shown, Mapping) else shown)


def _first(shown: Shown) -> Recording:
    return _all(shown)[0]


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _title(shown: Shown, title: str | None) -> str:
    if not isinstance(title, str | None):
        raise TypeError(f"title={title!r}: must be a str, or None for the recording's own")
    return html.escape(title or _first(shown).info.title or "A network's features")


def _check_flag(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"{name}={value!r}: must be True or False")
