"""Views whose state is a link."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fswidget.recording.recording import Recording
from fswidget.widget.links import decode, encode
from fswidget.widget.presenting import AXES, DEFAULTS, PARTS
from fswidget.widget.state import ViewState


class LinkedView(ViewState):
    """A view whose state `link` writes down and `show_link` takes up."""

    @property
    def recording(self) -> Recording | None:
        """The recording on show."""
        raise NotImplementedError

    def _tell(self, **traits: Any) -> None:
        raise NotImplementedError

    def link(self) -> str:
        """What is on show as the part of an address from ``#`` on.

        It holds the settings, the epoch, the axes of the samples, the panel that fills the view,
        and what is hidden and locked, in 600 characters at most. After the address of a page that
        was exported it opens the same view there; `show_link` does in a notebook.

        Examples
        --------
        >>> recording = fs.record(fs.Config(width=16, epochs=1, train_size=100, probe_size=100))
        >>> fs.Viewer(recording, epoch=0, axes=(1, 4)).link()
        '#epoch=0&axes=1,4'
        """
        state = self._linked_settings()
        state |= {"epoch": self.epoch} if self.epoch is not None else {}
        for name in ("axes", "panel", "hide", "lock"):
            value = getattr(self, name)
            if value and list(value) != list(DEFAULTS[name]):
                state[name] = value[0] if len(value) == 1 else value
        return encode(state)

    def show_link(self, link: str) -> None:
        """Show what `link`, or the address of an exported page, says, as far as it is to be had.

        Parameters
        ----------
        link : str
            An address, or what follows its ``#``, with it.

        Raises
        ------
        TypeError, ValueError
            If it is none, or holds a value that is impossible.
        """
        state = decode(link)
        known = self._control_names
        settings = {n: v for n, v in state.items() if n in known}
        settings_known = self._setting_names
        for name in ("hide", "lock"):
            given = state.get(name, ())
            names = [given] if isinstance(given, str) else given
            allowed = settings_known + list(PARTS if name == "hide" else ())
            setattr(self, name, [n for n in names if n in allowed])
        self._show_settings_of(settings)
        self._tell(axes=state.get("axes", list(AXES)), panel=state.get("panel", ""))
        self._show_epoch(state.get("epoch"))

    def _linked_settings(self) -> dict[str, Any]:
        """What a link says of the settings."""
        return {}

    def _show_settings_of(self, settings: Mapping[str, Any]) -> None:
        """Take over what a link says of the settings."""

    def _show_epoch(self, epoch: Any) -> None:
        """Show the newest frame at or before an epoch; with None follow the newest."""
        recording = self.recording
        if epoch is not None and recording is not None and len(recording):
            epoch = recording.at(epoch).epoch
        self._tell(epoch=epoch)
