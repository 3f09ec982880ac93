"""An explorer's settings and place as a link."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

from fswidget.recording.frame import Frame
from fswidget.training.config import Config
from fswidget.training.registry import own_again
from fswidget.widget.links import decode, encode
from fswidget.widget.presenting import DEFAULTS, PLACES
from fswidget.widget.seeds import SeedsView
from fswidget.widget.settings import LOCAL

#: What happens when a control moves shows most clearly with the squared error.
BASE: Mapping[str, Any] = {"loss": "mse"}


class LinkedExplorer(SeedsView):
    """The part of an `Explorer` that a link holds; see there for its parameters."""

    def __init__(self, settings: Any, foreground: bool, **traits: Any) -> None:
        #: What a link has asked for and no frame has reached.
        self._epoch_wanted: float | None = None
        super().__init__(settings, foreground, **traits)

    @classmethod
    def from_link(cls, link: str, **options: Any) -> Self:
        """An explorer with the settings that a link says; see `link`.

        Parameters
        ----------
        link : str
            An address, or what follows its ``#``, with it.
        **options
            Of the explorer; they go before what the link says.

        Raises
        ------
        TypeError, ValueError
            If the link is none, or holds a setting that is impossible.

        Examples
        --------
        >>> explorer = fs.Explorer(width=16, batchnorm=True, lock=["dataset"])
        >>> explorer.link()
        '#width=16&batchnorm=true&lock=dataset'
        >>> fs.Explorer.from_link(explorer.link()).width
        16
        """
        state = decode(link)
        made = cls(**{**_settings_of(state), **options})
        kept = {name: getattr(made, name) for name in options if name in DEFAULTS}
        made.show_link(encode({**made._linked_settings(), **_places_of(state)}))
        for name, value in kept.items():
            setattr(made, name, value)
        return made

    def _linked_settings(self) -> dict[str, Any]:
        usual = Config(**BASE).to_dict()
        return {
            name: value
            for name, value in self._config.to_dict().items()
            if name not in LOCAL and value != usual[name]
        }

    def _show_settings_of(self, settings: Mapping[str, Any]) -> None:
        local = {name: getattr(self, name) for name in LOCAL}
        wanted = {**BASE, **_settings_of(settings), **local}
        self._adopt(Config.from_dict(wanted, like=self._config))

    def _show_epoch(self, epoch: Any) -> None:
        self._epoch_wanted = None
        recording = self.recording
        if epoch is not None and (recording is None or recording[-1].epoch < epoch or self._going):
            self._epoch_wanted = epoch
        else:
            super()._show_epoch(epoch)

    def _check_settings(self, settings: Mapping[str, Any]) -> None:
        self._config.replace(**own_again(settings, vars(self._config)))

    def took(self, frame: Frame) -> None:
        """A frame was taken; one that a link has asked for is shown."""
        super().took(frame)
        if self._epoch_wanted is not None and frame.epoch >= self._epoch_wanted:
            wanted, self._epoch_wanted = self._epoch_wanted, None
            super()._show_epoch(wanted)


def _settings_of(state: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a link; a sweep's "all" seeds are none."""
    known = {field.name for field in dataclasses.fields(Config)} - LOCAL
    return {n: v for n, v in state.items() if n in known and (n, v) != ("seed", "all")}


def _places_of(state: Mapping[str, Any]) -> dict[str, Any]:
    """The rest of a link."""
    return {n: v for n, v in state.items() if n in (*PLACES, "hide", "lock")}
