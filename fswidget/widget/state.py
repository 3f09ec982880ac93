"""What a view shares with its front end: traits, all of which a saved notebook keeps."""

from __future__ import annotations

import anywidget
import traitlets

from fswidget.widget.assets import built


class ViewState(anywidget.AnyWidget):
    """The traits of a `Viewer`; a page without a kernel starts from the same ones."""

    _esm = built("widget.js")
    _css = built("widget.css")

    _bokehjs = traitlets.Bytes().tag(sync=True)
    _figures = traitlets.Unicode().tag(sync=True)
    _packed = traitlets.Bytes(b"").tag(sync=True)
    _controls = traitlets.Unicode("[]").tag(sync=True)
    _presets = traitlets.Unicode("[]").tag(sync=True)
    _runs = traitlets.Unicode("[]").tag(sync=True)
    _can_train = traitlets.Bool(False).tag(sync=True)
    _can_control = traitlets.Bool(False).tag(sync=True)

    run = traitlets.Unicode("", help="identifies the run on show").tag(sync=True)
    state = traitlets.Enum(
        ("idle", "running", "paused", "finished", "diverged", "error"), "finished"
    ).tag(sync=True)
    message = traitlets.Unicode("", help="what goes on, in words").tag(sync=True)
    error_text = traitlets.Unicode("", help="the traceback of the last error").tag(sync=True)
    num_frames = traitlets.Int(0, help="number of the next frame").tag(sync=True)
    progress = traitlets.Dict(help="epoch, epochs, fraction and seconds left").tag(sync=True)
    shown = traitlets.Int(-1, help="number of the frame on show; −1 follows the newest").tag(
        sync=True
    )
    epoch = traitlets.Float(
        None, allow_none=True, help="epoch on show, or up to which; None follows the newest"
    ).tag(sync=True)
    captions = traitlets.Bool(True).tag(sync=True)
    theme = traitlets.Enum(("auto", "light", "dark"), "auto").tag(sync=True)
