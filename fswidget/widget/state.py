"""What a view shares with its front end: traits, all of which a saved notebook keeps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import anywidget
import traitlets

from fswidget.widget.assets import served
from fswidget.widget.presenting import DEFAULTS, PLACES, checked


def _told(trait: Any) -> Any:
    """A trait that the kernel tells and no front end may set."""
    return trait.tag(sync=True, told=True)


class _Presented(traitlets.TraitType[Any, Any]):
    """An option of `Presentation`, as JSON types."""

    def __init__(self, name: str, **tags: Any) -> None:
        super().__init__(DEFAULTS[name])  # type: ignore[literal-required]
        self.tag(sync=True, **tags)

    def validate(self, obj: Any, value: Any) -> Any:
        known = obj._control_names if self.name == "presets" else obj._setting_names
        made = checked(str(self.name), value, known)
        for state in made.values() if self.name == "presets" else ():
            obj._check_settings({n: v for n, v in state.items() if n not in PLACES})
        return made


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
    _map = _told(traitlets.Unicode("", help="the regimes of a sweep; empty elsewhere"))
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
    # See `Presentation`.
    captions = _Presented("captions")
    height = _Presented("height")
    scale = _Presented("scale")
    hide = _Presented("hide", told=True)
    lock = _Presented("lock", told=True)
    axes = _Presented("axes")
    panel = _Presented("panel")
    panels = _Presented("panels", told=True)
    reveal = _Presented("reveal", told=True)
    questions = _Presented("questions", told=True)
    presets = _Presented("presets", told=True)
    theme = traitlets.Enum(("auto", "light", "dark"), "auto").tag(sync=True)

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """What a cell shows; the new view brings itself into sight."""
        self.send({"type": "shown"})
        return super()._repr_mimebundle_(**options)

    @property
    def _control_names(self) -> list[str]:
        """The settings that this view has controls of."""
        return [control["name"] for control in json.loads(self._controls)]

    @property
    def _setting_names(self) -> list[str]:
        """These, and the settings of what is on show: `hide` and `lock` take them all."""
        return self._control_names

    def _check_settings(self, settings: Mapping[str, Any]) -> None:
        """Raise where the view cannot take these settings together."""
