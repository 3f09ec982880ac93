"""What a view shares with its front end: traits, all of which a saved notebook keeps."""

from __future__ import annotations

from typing import Any

import anywidget
import traitlets

from fswidget.widget.assets import served


def _told(trait: Any) -> Any:
    """A trait that the kernel tells and no front end may set."""
    return trait.tag(sync=True, told=True)


class ViewState(anywidget.AnyWidget):
    """The traits of a `Viewer`; a page without a kernel starts from the same ones."""

    _esm = served("widget.js")
    _css = served("widget.css")

    _bokehjs = _told(traitlets.Bytes())
    _figures = _told(traitlets.Unicode())
    _packed = _told(traitlets.Bytes(b""))
    _controls = _told(traitlets.Unicode("[]", help="what the controls are; never changes"))
    _controls_now = _told(
        traitlets.Dict(help="by control, what is other than `_controls` says, and any note on it")
    )
    _presets = _told(traitlets.Unicode("[]"))
    _runs = _told(traitlets.Unicode("[]"))
    _can_train = _told(traitlets.Bool(False))
    _can_control = _told(traitlets.Bool(False))

    run = _told(traitlets.Unicode("", help="identifies the run on show"))
    state = _told(
        traitlets.Enum(("idle", "running", "paused", "finished", "diverged", "error"), "finished")
    )
    message = _told(traitlets.Unicode("", help="what goes on, in words"))
    error_text = _told(traitlets.Unicode("", help="the traceback of the last error"))
    num_frames = _told(traitlets.Int(0, help="number of the next frame"))
    progress = _told(traitlets.Dict(help="epoch, epochs, fraction and seconds left"))
    epoch = traitlets.Float(
        None, allow_none=True, help="epoch on show, or up to which; None follows the newest"
    ).tag(sync=True)
    captions = traitlets.Bool(True).tag(sync=True)
    height = traitlets.Int(
        None, allow_none=True, help="height in pixels, on a page wide enough; None takes 632"
    ).tag(sync=True)
    theme = traitlets.Enum(("auto", "light", "dark"), "auto").tag(sync=True)
