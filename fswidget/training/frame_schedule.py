"""When to analyse: frames as often as the analysis budget allows, each of full precision."""

from __future__ import annotations

from collections.abc import Mapping

#: Most frames per second where epochs are short.
MAX_RATE = 20.0


#: Epochs longer than this, in seconds, are held to the budget.
LONG_EPOCH = 1.0


#: Share of what the budget will allow over the whole run that may be spent before it is earned, so
#: that frames come densely at the start, when most happens.
AHEAD = 0.25


_STATE = ("frames", "analysis_seconds", "_cost", "_last_start", "_step", "_first_step", "_seconds")


class FrameSchedule:
    """Decides after each step whether a frame is due. Our choice throughout.

    The first and the last step always have a frame. ``"epoch"``, ``"log"`` and a number of steps
    are followed exactly. ``"auto"`` takes each epoch, and while epochs take longer than a second
    also the steps 1, 4, 16, 64, … of the first one, as far as these limits allow: at most 20 frames
    per second while epochs are short, and otherwise at most `budget` of the wall time.

    Parameters
    ----------
    every : {"auto", "epoch", "log"} or int
    budget : float
        Share of the wall time, 0 to 1.
    steps_per_epoch, total_steps : int

    Attributes
    ----------
    frames : int
        Frames taken so far.
    analysis_seconds : float
        What they took together.
    """

    def __init__(
        self, every: str | int, budget: float, steps_per_epoch: int, total_steps: int
    ) -> None:
        self.follow(every, budget, steps_per_epoch, total_steps)
        self.frames = 0
        self.analysis_seconds = 0.0
        self._cost = 0.0
        self._last_start = 0.0
        self._step = self._first_step = 0
        self._seconds = 0.0

    def follow(
        self, every: str | int, budget: float, steps_per_epoch: int, total_steps: int
    ) -> None:
        """From now on, keep to these; the arguments are those of the class."""
        self.every = every
        self.budget = budget
        self.steps_per_epoch = steps_per_epoch
        self.total_steps = total_steps
        # Four per doubling; rounding merges the first ones.
        self._log_steps = {round(2 ** (k / 4)) for k in range(4 * total_steps.bit_length())}

    def resume(self, step: int) -> None:
        """The run starts at `step`, not at 0."""
        self._step = self._first_step = step

    def state_dict(self) -> dict[str, float]:
        """What the choice of the frames to come depends on."""
        return {name: getattr(self, name) for name in _STATE}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Go on from what `state_dict` gave, as if the run had not stopped."""
        for name in _STATE:
            setattr(self, name, state[name])

    def took(self, start: float, end: float) -> None:
        """A frame was taken, from `start` to `end` in seconds into the run."""
        self.frames += 1
        # The newest cost alone: the first frame also pays for warming up.
        self._cost = end - start
        self.analysis_seconds += end - start
        self._last_start, self._seconds = start, end

    def due(self, step: int, seconds: float, ends_epoch: bool | None = None) -> bool:
        """Whether to analyse after `step`, which ended `seconds` into the run (pauses left out).

        `ends_epoch` says whether it ends an epoch, where epochs have had other lengths.
        """
        self._step, self._seconds = step, seconds
        epoch_ends = step % self.steps_per_epoch == 0 if ends_epoch is None else ends_epoch
        if step >= self.total_steps:
            return True
        if self.every == "log":
            return step in self._log_steps
        if self.every != "auto":
            return epoch_ends if self.every == "epoch" else step % int(self.every) == 0
        dense = step < self.steps_per_epoch and step.bit_length() % 2 == 1 and _power_of_two(step)
        if not (epoch_ends or dense):
            return False
        step_seconds = self._step_seconds
        if self._exempt:
            return epoch_ends and seconds - self._last_start >= 1 / MAX_RATE
        # Two more frames: this one, and the last, which comes in any case.
        analysis = self.analysis_seconds + 2 * self._cost
        remaining = step_seconds * (self.total_steps - step)
        wall = seconds + 2 * self._cost
        return analysis <= self.budget * (wall + AHEAD * remaining)

    @property
    def _step_seconds(self) -> float:
        """Of training, without analysis."""
        return (self._seconds - self.analysis_seconds) / max(1, self._step - self._first_step)

    @property
    def _exempt(self) -> bool:
        """Whether epochs are so short that frames a second count, and no budget."""
        return self._step_seconds * self.steps_per_epoch <= LONG_EPOCH

    @property
    def share(self) -> float:
        """Share of the wall time so far that went into analysis."""
        return self.analysis_seconds / self._seconds if self._seconds else 0.0

    def __str__(self) -> str:
        epochs = (self._step - self._first_step) / self.steps_per_epoch
        limit = f"up to {MAX_RATE:g} a second" if self._exempt else f"budget {self.budget:.0%}"
        rule = {"auto": f"automatic, {limit}", "epoch": "each epoch", "log": "log-spaced steps"}
        chosen = rule.get(str(self.every), f"every {self.every} steps")
        return (
            f"{chosen}: {self.frames} frames in {epochs:.4g} epochs, "
            f"analysis {self.share:.0%} of the time"
        )


def _power_of_two(step: int) -> bool:
    return step & (step - 1) == 0
