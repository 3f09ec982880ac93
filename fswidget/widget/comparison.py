"""Several recordings side by side, in one widget."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import traitlets

from fswidget.figures.layout import layout_json
from fswidget.recording.differences import difference_if_measured
from fswidget.recording.recording import Recording
from fswidget.recording.seeds import mean_of
from fswidget.widget import codec
from fswidget.widget.assets import bokehjs
from fswidget.widget.html import require_frames, require_recording, to_html
from fswidget.widget.state import ViewState
from fswidget.widget.viewer import SAVED_BYTES


class Comparison(ViewState):
    """Recordings side by side, which hold BokehJS once and go through the epochs together.

    Parameters
    ----------
    recordings : mapping of str to Recording or sequence of Recording
        Two or more, by the names that stand above them; several that differ in their seed alone are
        shown as their mean.
    link : bool
    theme : {"auto", "light", "dark"}
    """

    _compared = traitlets.Unicode("[]", help="name, run and frames of each").tag(sync=True)
    _packs = traitlets.List(traitlets.Bytes()).tag(sync=True)
    _linked = traitlets.Bool(True).tag(sync=True)

    def __init__(
        self,
        recordings: Mapping[str, Recording | Sequence[Recording]],
        *,
        link: bool = True,
        theme: str = "auto",
    ) -> None:
        self._groups = {name: _group(given) for name, given in recordings.items()}
        self._recordings = {name: mean_of(group) for name, group in self._groups.items()}
        views, packs = [], []
        for number, (name, recording) in enumerate(self._recordings.items(), 1):
            run = f"run-{number}"
            views.append({"title": name, "run": run, "num_frames": recording.appended})
            packs.append(codec.pack(recording.thinned(SAVED_BYTES), run))
        super().__init__(
            _bokehjs=bokehjs(),
            _figures=layout_json(),
            _compared=json.dumps(views),
            _packs=packs,
            _linked=link,
            theme=theme,
            captions=False,
        )

    @property
    def recordings(self) -> Mapping[str, Recording]:
        """The recordings by name; of several seeds their mean."""
        return MappingProxyType(self._recordings)

    def differences(self, name: str = "low_rank_measure_debiased") -> dict[str, str]:
        """Whether the others differ from the first in a scalar of their last frames, by name.

        Beyond seeds and samples, as `fswidget.recording.difference` has it; one recording is one
        seed, which answers nothing beyond seeds.
        """
        first, *others = self._groups
        return {
            other: difference_if_measured(self._groups[first], self._groups[other], name).text
            for other in others
        }

    def to_html(self, path: str | os.PathLike[str], **options: Any) -> Path:
        """Write all of them as one page; see `fswidget.to_html`."""
        return to_html(self._recordings, path, **options)


def compare(
    *recordings: Recording | Sequence[Recording],
    link: bool = True,
    theme: str = "auto",
    **named: Recording | Sequence[Recording],
) -> Comparison:
    """Recordings in one view: curves in shared axes, samples side by side, one slider.

    Parameters
    ----------
    *recordings, **named : Recording or sequence of Recording
        Two or more in all. Those without a name are called by their titles, with a number where two
        are the same. Several that differ in their seed alone are shown as their mean, and counted
        as seeds by ``differences``.
    link : bool
        Whether they go through the epochs together: where one has no frame of an epoch, it shows
        the last one before. Otherwise each has a whole view of its own.
    theme : {"auto", "light", "dark"}

    Returns
    -------
    Comparison
        One widget; ``recordings`` has them by name, ``to_html`` writes them as a page, and
        ``differences()`` says which differ from the first beyond seeds and samples.

    Raises
    ------
    ValueError
        If fewer than two recordings are given, or one without a frame.
    TypeError
        If one is no recording.

    Examples
    --------
    >>> config = fs.Config(width=16, epochs=1, train_size=100, probe_size=100)
    >>> both = fs.compare(plain=fs.record(config), wide=fs.record(config.replace(width=32)))
    >>> list(both.recordings)
    ['plain', 'wide']
    """
    chosen: dict[str, Any] = {}
    for number, recording in enumerate(recordings, 1):
        titles = [run.info.title for run in _group(recording) if isinstance(run, Recording)]
        title = titles[0] if titles else ""
        again = not title or title in chosen or title in named
        chosen[f"{title} ({number})".strip() if again else title] = recording
    chosen |= named
    for name, recording in chosen.items():
        group = _group(recording)
        for run in group or [recording]:
            require_recording(run, name if name in named else "recording")
            require_frames(run)
    if len(chosen) < 2:
        raise ValueError(f"recordings: got {len(chosen)}, compare takes two or more")
    return Comparison(chosen, link=link, theme=theme)


def _group(given: Any) -> list[Any]:
    """What is compared as one: a recording, or several seeds."""
    several = isinstance(given, Sequence) and not isinstance(given, str | Recording)
    return list(given) if several else [given]
