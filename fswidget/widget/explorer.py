"""The live widget: a `Viewer` with a trainer behind it.

Training runs in one background thread. What arrives from a front end or from the user's own code
only leaves a wish behind, which the thread reads between two batches. What the thread finds out
leaves through the viewer's stream and traits.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
import threading
import time
import traceback
import uuid
from typing import Any

import traitlets
from torch import nn

from fswidget.experiments.catalogue import recipes
from fswidget.probing.inference import Diverged
from fswidget.recording.recording import Recording
from fswidget.training.changes import describe_change, nearest_valid
from fswidget.training.config import Config
from fswidget.training.loop import Training
from fswidget.widget.controls import controls
from fswidget.widget.viewer import Viewer

#: Seconds without another change before a run starts anew: a dragged slider starts one, not many.
QUIET = 0.15


#: Earlier runs that can still be looked at and compared with.
KEPT_RUNS = 8


_FIELDS = {field.name: field for field in dataclasses.fields(Config)}


def _trait(field: dataclasses.Field[Any]) -> traitlets.TraitType[Any, Any]:
    default = field.default
    kinds = {bool: traitlets.Bool, int: traitlets.Int, float: traitlets.Float}
    kind = kinds.get(type(default), traitlets.Any)
    trait: traitlets.TraitType[Any, Any] = kind(default, help=field.metadata["help"])
    return trait.tag(sync=True)


# One trait a setting, made from Config's own declaration: the two cannot differ.
_Settings: Any = type(
    "_Settings",
    (traitlets.HasTraits,),
    {name: _trait(field) for name, field in _FIELDS.items()},
)


class Explorer(Viewer, _Settings):  # type: ignore[misc]
    """Train a network and see its features while it learns.

    Parameters
    ----------
    theme, captions
        As for `Viewer`.
    foreground : bool, optional
        Train within `start`, which then returns when the run has ended. None (the default) does so
        only where messages of a background thread do not reach the browser (Google Colab).
    **settings
        Those of `fswidget.Config`. Each is a trait of the explorer; changing one while a run is on
        show begins another run, and the former stays for comparison.

    Attributes
    ----------
    state : {"idle", "running", "paused", "finished", "diverged", "error"}
    recording : Recording or None
        The run on show.
    error : Exception or None
        What ended the last run, if something did.
    network : torch.nn.Module or None
        The network of the run on show; it stays when a run is stopped.

    Raises
    ------
    TypeError
        If a setting is unknown.
    ValueError
        If a setting, or a combination of settings, is impossible.

    Examples
    --------
    >>> explorer = fs.Explorer(width=16, epochs=2, train_size=100)  # shown by a cell, press Start
    >>> explorer.start()
    >>> explorer.wait()
    'finished'
    >>> explorer.recording[-1].epoch
    2.0
    """

    def __init__(
        self,
        *,
        theme: str = "auto",
        captions: bool = True,
        foreground: bool | None = None,
        **settings: Any,
    ) -> None:
        self.config = Config(**settings)
        self.error: Exception | None = None
        self.network: nn.Module | None = None
        self._foreground = "google.colab" in sys.modules if foreground is None else foreground
        self._thread: threading.Thread | None = None
        # The wishes that the trainer reads between two batches.
        self._wanted: Config | None = None
        self._quiet_from = 0.0
        self._pausing = self._stepping = self._stopping = self._clearing = False
        self._adopting = False
        self._past: list[dict[str, Any]] = []
        self._last_config: Config | None = None
        self._training: Training | None = None
        super().__init__(
            theme=theme,
            captions=captions,
            state="idle",
            _can_train=True,
            _presets=json.dumps(
                [{"name": n, "title": r.title, "help": r.claim} for n, r in recipes.items()]
            ),
            _controls=json.dumps(controls(self.config)),
            **self.config.to_dict(),
        )
        self.observe(self._setting_changed, names=list(_FIELDS))

    # What a user, or a button, asks for.

    def start(self) -> None:
        """Begin a run with the present settings, or go on with a paused one."""
        if self._ending or self.state not in ("running", "paused"):
            self._begin(self.config)
        elif self.state == "paused":
            self.resume()

    def pause(self) -> None:
        """Halt before the next batch; `resume` goes on."""
        self._ask(_pausing=True)

    def resume(self) -> None:
        """Go on with a paused run."""
        with self._condition:
            if self.state == "paused":
                self._tell(state="running")
        self._ask(_pausing=False, _stepping=False)

    def step(self) -> None:
        """Go on to the next frame and pause there; begins a run where there is none."""
        with self._condition:
            begun = not self._ending and self.state in ("running", "paused")
            if begun:
                self._stepping, self._pausing = True, False
                if self.state == "paused":
                    self._tell(state="running")
                self._condition.notify_all()
        if not begun:
            self._begin(self.config, stepping=True)

    def stop(self) -> None:
        """End the run; its recording and its network stay."""
        self._ask(_stopping=True, _pausing=False)

    def reset(self) -> None:
        """End the run and clear the view; settings and earlier runs stay."""
        with self._condition:
            if self._thread is None:
                self._clear()
        self._ask(_stopping=True, _clearing=True, _pausing=False)

    def wait(self, timeout: float | None = None) -> str:
        """Block until the run has ended or is paused.

        An interrupt (Ctrl-C, or the kernel's) stops the run and returns.

        Parameters
        ----------
        timeout : float, optional
            Seconds after which to return in any case.

        Returns
        -------
        str
            The state.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._is_settled() and (deadline is None or time.monotonic() < deadline):
            left = 0.2 if deadline is None else min(0.2, deadline - time.monotonic())
            try:
                with self._condition:
                    # In slices: an interrupt does not reach a thread that blocks without end.
                    self._condition.wait_for(self._is_settled, left)
            except KeyboardInterrupt:
                self.stop()
        return str(self.state)

    def configure(self, **settings: Any) -> None:
        """Change several settings at once, for combinations that single steps cannot reach."""
        self._adopt(self.config.replace(**settings))

    def close(self) -> None:
        """End the run and close every view."""
        if hasattr(self, "_condition"):  # not where the settings were refused
            self.stop()
        super().close()

    # Wishes, and when they are granted.

    def _ask(self, **wishes: bool) -> None:
        with self._condition:
            if self._thread is None and self._wanted is None:
                return
            if wishes.get("_stopping"):
                self._wanted = None
            for name, value in wishes.items():
                setattr(self, name, value)
            self._condition.notify_all()

    def _begin(self, config: Config, *, stepping: bool = False, quiet: float = 0.0) -> None:
        with self._condition:
            self._wanted, self._quiet_from = config, time.monotonic() + quiet
            self._pausing, self._stepping = False, stepping
            self._stopping = self._clearing = False
            self.error = None
            self._tell(state="running", message="", error_text="")
            self._condition.notify_all()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="fswidget", daemon=True)
                if not self._foreground:
                    self._thread.start()
        if self._foreground:
            self._work()

    @property
    def _ending(self) -> bool:
        """Whether the run was told to end, and has not yet."""
        return self._stopping and self._thread is not None

    def _is_settled(self) -> bool:
        return self._thread is None or (self.state == "paused" and not self._superseded())

    def _keep_going(self) -> bool:
        """Called by the trainer before every batch; blocks while paused."""
        self._tell_sometimes(progress=self._progress())
        with self._condition:
            if self._pausing and not self._superseded():
                self._tell(state="paused", progress=self._progress())
                self.pack()
                self._condition.notify_all()
                self._condition.wait_for(lambda: not self._pausing or self._superseded())
            return not self._superseded()

    def _superseded(self) -> bool:
        return self._stopping or self._wanted is not None

    # The background thread.

    def _work(self) -> None:
        while True:
            with self._condition:
                while self._wanted is not None and self._quiet_from > time.monotonic():
                    self._condition.wait(self._quiet_from - time.monotonic())
                config, self._wanted = self._wanted, None
                if config is None:
                    if self._clearing:
                        self._clear()
                    elif self.state == "running":
                        self._tell(state="finished")
                    self._thread = None
                    self._condition.notify_all()
                    return
            self._train(config)

    def _train(self, config: Config) -> None:
        try:
            training = self._training = Training(config, keep_going=self._keep_going)
            recording = self._enter(training, config)
            for frame in training:
                with self._condition:
                    if self._wanted is not None:
                        return
                    recording.append(frame)
                    self.push()
                    if self._stepping:
                        self._pausing, self._stepping = True, False
        except Diverged as error:
            self._fail("diverged", error, f"Diverged: {error}. The last good frame stays.")
        except Exception as error:
            self._fail("error", error, f"{type(error).__name__}: {error}")
        else:
            with self._condition:
                if self._superseded() and not self._stopping:
                    return
                word = "Stopped" if self._stopping else "Finished"
                last = f" at epoch {recording[-1].epoch:g}" if len(recording) else ""
                self._tell(state="finished", message=f"{word}{last}.")
        finally:
            self._leave()

    def _fail(self, state: str, error: Exception, message: str) -> None:
        with self._condition:
            self.error = error
            if self._wanted is None:
                self._tell(state=state, message=message, error_text=traceback.format_exc())

    def _enter(self, training: Training, config: Config) -> Recording:
        self.network = training.model
        recording = Recording(training.info)
        run = uuid.uuid4().hex[:12]
        changed = describe_change(self._last_config, config) if self._last_config else ""
        self._last_config = config
        label = f"{config.dataset}, {config.model}, p = {recording.info.num_features}"
        self._past.append({"run": run, "label": label, "changed": changed, "frames": 0})
        for old in self._past[: -KEPT_RUNS - 1]:
            self._recordings.pop(old["run"], None)
            self._past.remove(old)
        self._open(run, recording)
        self._tell(_runs=json.dumps(self._past))
        return recording

    def _leave(self) -> None:
        recording = self.recording
        if recording is None:
            return
        for entry in self._past:
            kept = self._recordings.get(entry["run"])
            entry["frames"] = len(kept) if kept is not None else 0
        self._tell(_runs=json.dumps(self._past), progress=self._progress())
        if self._wanted is None:
            self.pack()

    def _clear(self) -> None:
        self._clearing = False
        self._tell(state="idle", message="", error_text="", run="", num_frames=0)
        self._tell(_packed=b"", progress={}, shown=-1, epoch=None)

    def _progress(self) -> dict[str, Any]:
        if self._training is None:
            return {}
        progress = self._training.progress
        values = {**dataclasses.asdict(progress), "fraction": progress.fraction}
        # JSON has no NaN, which is how long the first step will take.
        return {name: value if math.isfinite(value) else None for name, value in values.items()}

    # Settings.

    def _setting_changed(self, change: Any) -> None:
        if self._adopting:
            return
        values = {name: getattr(self, name) for name in _FIELDS}
        try:
            config, notes = nearest_valid(values, keep=change["name"])
        except ValueError as error:
            self._adopt_traits({change["name"]: change["old"]})
            self._tell(message=str(error))
            raise
        self._adopt(config, "; ".join(notes))

    def _adopt(self, config: Config, note: str = "") -> None:
        changed = config != self.config
        self.config = config
        self._adopt_traits(config.to_dict())
        self._tell(_controls=json.dumps(controls(config)), message=note)
        if changed and self.state != "idle":
            self._begin(config, quiet=QUIET)

    def _adopt_traits(self, values: dict[str, Any]) -> None:
        self._adopting = True
        try:
            self._tell(**values)
        finally:
            self._adopting = False

    def _command(self, name: str, value: Any) -> None:
        if name in ("start", "pause", "resume", "step", "stop", "reset"):
            getattr(self, name)()
        elif name == "preset" and value in recipes:
            config = next(iter(recipes[value].configs))
            self._adopt(config.replace(root=self.root, device=self.device, download=self.download))
            self.start()
        else:
            super()._command(name, value)
