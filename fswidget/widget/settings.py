"""A view whose controls are the settings of a run, which change together or are refused."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import traitlets

from fswidget.training.changes import describe_change, nearest_valid
from fswidget.training.checks import read_setting
from fswidget.training.config import Config
from fswidget.training.registry import DataSource, Network
from fswidget.training.signatures import takes_settings
from fswidget.widget.controls import changes, controls
from fswidget.widget.viewer import Viewer

_FIELDS = {field.name: field for field in dataclasses.fields(Config)}

#: Where files lie and what computes is no business of a front end, which may be anybody's page.
LOCAL = {"root", "download", "device"}


class _Setting(traitlets.TraitType[Any, Any]):
    """A value of `Config`, in Python's own types; `SettingsView` sees to it that it is possible.

    A network or data set of one's own is known by its name.
    """

    def __init__(self, field: dataclasses.Field[Any]) -> None:
        super().__init__(field.default, help=field.metadata["help"])
        self.tag(sync=field.name not in LOCAL)

    def validate(self, obj: Any, value: Any) -> Any:
        known = obj._own.get(self.name, {})
        if isinstance(value, str) and value in known:
            return value
        value = read_setting(str(self.name), value)
        return obj._remember(self.name, value) if isinstance(value, _OWN) else value


#: Networks and data sets that have no name in the registry.
_OWN = (Network, DataSource)


# One trait a setting, made from Config's own declaration: the two cannot differ.
_Settings: Any = type(
    "_Settings",
    (traitlets.HasTraits,),
    {name: _Setting(field) for name, field in _FIELDS.items()},
)


class SettingsView(Viewer, _Settings):  # type: ignore[misc]
    """A viewer with a trait for every setting, which are possible together at all times.

    Parameters
    ----------
    settings : mapping
        Those of `Config`.
    **traits
        Of the viewer.
    """

    _names = tuple(_FIELDS)
    #: Controls beside those of the settings.
    _further: tuple[dict[str, Any], ...] = ()

    def __init__(self, settings: Mapping[str, Any], **traits: Any) -> None:
        self._own: dict[str, dict[str, Any]] = {"model": {}, "dataset": {}}
        self._config = self._with_own(Config(**settings))
        self._described = controls(Config())
        self._adopting = self._hearing = False
        self._first = self._config
        #: What a setting was before another one put it aside.
        self._aside: dict[str, Any] = {}
        super().__init__(
            _controls=json.dumps([*self._described, *map(_whole, self._further)]),
            _controls_now=self._changes({}),
            **traits,
            **self._config.to_dict(),
        )

    @property
    def config(self) -> Config:
        """The present settings."""
        return self._config

    def configure(self, **settings: Any) -> None:
        """Change several settings at once, for combinations that single steps cannot reach.

        Raises
        ------
        ValueError, TypeError
            If one is unknown or impossible, or they are together; nothing is changed then.
        """
        config = self._with_own(self._config.replace(**settings))
        self._aside.clear()
        self._adopt(config)

    def _remember(self, setting: str, entry: Any) -> str:
        """The name by which the controls know a network or data set of one's own."""
        known = self._own[setting]
        for name, other in known.items():
            if other == dataclasses.replace(entry, name=name):
                return name
        name, number = entry.name, 2
        while name in known:
            name, number = f"{entry.name} ({number})", number + 1
        known[name] = dataclasses.replace(entry, name=name)
        return str(name)

    def _with_own(self, config: Config) -> Config:
        """The same, its own network and data set under the names that the controls have."""
        entries = {n: getattr(config, n) for n in self._own}
        own = {
            n: self._own[n][self._remember(n, entry)]
            for n, entry in entries.items()
            if isinstance(entry, _OWN)
        }
        return config.replace(**{"train_size": config.train_size, **own}) if own else config

    def _changes(self, notes: Mapping[str, str]) -> dict[str, dict[str, Any]]:
        names = {setting: list(known) for setting, known in self._own.items()}
        return changes(self._described, self._config, notes, names)

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """Take over what a front end has set; a setting that is refused says why, in its note."""
        with self._exclusive():
            self._hearing = True
            try:
                super().set_state(sync_data)
            finally:
                self._hearing = False

    @traitlets.observe(*_FIELDS)
    def _setting_changed(self, _: Any) -> None:
        if self._adopting:
            return
        # Several may have been set at once: they are looked at together.
        values = {name: getattr(self, name) for name in _FIELDS}
        for name, known in self._own.items():
            values[name] = known.get(values[name], values[name])
        changed = [n for n, value in values.items() if not _same(value, getattr(self._config, n))]
        if not changed:
            return
        try:
            config, adjustments = nearest_valid(values, changed, self._config)
        except ValueError as error:
            self._refuse(error, changed)
            if not self._hearing:
                raise
            return
        config, returned = self._give_back(config, changed)
        for name in map(_named, adjustments):
            self._aside.setdefault(name, getattr(self._config, name))
        self._adopt(config, [*adjustments, *returned])

    def _give_back(self, config: Config, changed: Iterable[str]) -> tuple[Config, list[str]]:
        """Settings that another one had put aside, where they are possible again; and which."""
        told = []
        for name in changed:
            self._aside.pop(name, None)
        for name, value in list(self._aside.items()):
            try:
                back, others = nearest_valid(
                    {**vars(config), name: value}, {name, *changed}, config
                )
            except ValueError:
                continue
            if not others:
                del self._aside[name]
                if back != config:
                    told.append(f"{describe_change(config, back)}: as it was before.")
                config = back
        return config, told

    def _refuse(self, error: ValueError, changed: Iterable[str]) -> None:
        """Everything is as it was, and the controls say why."""
        named = str(error).split("=")[0]
        blamed = [named] if named in changed else list(changed)
        with self._adopted():
            self._tell(
                **self._config.to_dict(),
                message=str(error),
                _controls_now=self._changes(dict.fromkeys(blamed, str(error))),
            )

    def _adopt(self, config: Config, adjustments: Iterable[str] = ()) -> None:
        """Take over possible settings; `adjustments` are those that nobody asked for."""
        notes = {_named(text): text for text in adjustments}
        with self._exclusive():
            former, self._config = self._config, config
            with self._adopted():
                self._tell(
                    **config.to_dict(),
                    message=" ".join(notes.values()),
                    _controls_now=self._changes(notes),
                )
            if config != former:
                self._settings_changed(former)

    def _settings_changed(self, former: Config) -> None:
        """The settings are others than `former`."""

    @contextmanager
    def _adopted(self) -> Iterator[None]:
        self._adopting = True
        try:
            yield
        finally:
            self._adopting = False


def _whole(control: Mapping[str, Any]) -> dict[str, Any]:
    """A control beside those of the settings, described by the same keys."""
    return {"note": None, "disabled": None, **control}


def _named(adjustment: str) -> str:
    """The setting that a sentence of `nearest_valid` begins with."""
    return adjustment.split()[0]


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)


takes_settings(SettingsView.configure, default=None)
