"""A recording as one HTML file that needs no server, no network and no Python.

The page holds the widget's own front end, BokehJS and the recording, and shows them as `Viewer`
does: ``js/src/page.ts`` gives the front end a model without a kernel.
"""

from __future__ import annotations

import base64
import html
import json
import os
from pathlib import Path

from fswidget.figures.drawing import layout_json
from fswidget.recording.atomic import atomic_write, with_suffix
from fswidget.recording.recording import Recording
from fswidget.widget.assets import bokehjs, bundle
from fswidget.widget.codec import pack
from fswidget.widget.state import ViewState

THEMES = ("auto", "light", "dark")


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
    recording: Recording, *, title: str | None = None, theme: str = "auto", captions: bool = True
) -> str:
    """A whole HTML page.

    Parameters
    ----------
    recording : Recording
        With at least one frame.
    title : str, optional
        Of the page; the recording's own by default.
    theme : {"auto", "light", "dark"}
        ``"auto"`` follows the reader's system.
    captions : bool
        Whether the panels carry a sentence that explains them.

    Raises
    ------
    TypeError, ValueError
        If an argument is not one of these.
    ImportError
        If the front end was not built.
    """
    body = _embeddable(recording, theme, captions)
    return _PAGE.format(
        policy=_POLICY,
        scheme="light dark" if theme == "auto" else theme,
        title=_title(recording, title),
        body=body,
    )


def to_html(
    recording: Recording,
    path: str | os.PathLike[str],
    *,
    fragment: bool = False,
    iframe: bool = False,
    title: str | None = None,
    theme: str = "auto",
    captions: bool = True,
) -> Path:
    """Write a recording as one self-contained, interactive HTML file, whole or not at all.

    Parameters
    ----------
    recording : Recording
    path : str or path-like
        ``.html`` is appended where it has no suffix.
    fragment : bool
        Write a ``<div>`` for a blog, Quarto or Jupyter Book page instead of a whole page.
    iframe : bool
        Write an ``<iframe>`` that holds the whole page, for hosts such as nbviewer that would
        otherwise let their own styles and scripts into it.
    title, theme, captions
        See `page`.

    Returns
    -------
    pathlib.Path
        The file written.
    """
    _check_flag("fragment", fragment)
    _check_flag("iframe", iframe)
    if fragment and iframe:
        raise ValueError("fragment=True, iframe=True: an iframe holds a whole page, so choose one")
    path = with_suffix(path, ".html")
    if fragment:
        text = _embeddable(recording, theme, captions)
    else:
        text = page(recording, title=title, theme=theme, captions=captions)
    if iframe:
        text = _IFRAME.format(title=_title(recording, title), page=html.escape(text))
    return atomic_write(path, text.encode(errors="replace"))


def _embeddable(recording: Recording, theme: str, captions: bool) -> str:
    """A ``<div>`` with all that it needs; any number of them may stand in one page."""
    if not isinstance(recording, Recording):
        raise TypeError(
            f"recording={recording!r}: must be a Recording, as fs.load and fs.record return"
        )
    if not len(recording):
        raise ValueError(f"recording={recording!r}: has no frame to show")
    if theme not in THEMES:
        raise ValueError(f"theme={theme!r}: must be one of {', '.join(THEMES)}")
    _check_flag("captions", captions)
    # The widget's own traits, so that page and widget cannot part; nothing is sent anywhere.
    declared = ViewState.class_own_traits(sync=True)
    traits = {name: trait.default() for name, trait in declared.items()}
    traits |= {
        "_figures": layout_json(),
        "run": "run-1",
        "num_frames": recording.appended,
        "theme": theme,
        "captions": captions,
    }
    binary = {"_bokehjs": bokehjs(), "_packed": pack(recording, "run-1")}
    data = {
        "module": _base64(bundle("widget.js").encode()),
        "style": bundle("widget.css"),
        "traits": {name: value for name, value in traits.items() if name not in binary},
        "bytes": {name: _base64(value) for name, value in binary.items()},
    }
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    # In JSON "<" stands in strings only; escaped, no "</script>" ends the element early.
    return _EMBEDDABLE.format(data=text.replace("<", "\\u003c"))


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _title(recording: Recording, title: str | None) -> str:
    if not isinstance(title, str | None):
        raise TypeError(f"title={title!r}: must be a str, or None for the recording's own")
    return html.escape(title or recording.info.title or "A network's features")


def _check_flag(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"{name}={value!r}: must be True or False")
