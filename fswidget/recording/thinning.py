"""Which frame of a growing recording can best be spared."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable


class Thinning:
    """Frames in order, of which the one whose neighbours lie closest in log(1 + step) goes first.

    The first and the last one never go. Adding a frame and leaving one out cost O(log n).

    Parameters
    ----------
    frames : iterable of (int, int)
        Sequence number and step of each.

    Examples
    --------
    >>> from fswidget.recording.thinning import Thinning
    >>> thinning = Thinning([(0, 0), (1, 1), (2, 2), (3, 3), (4, 9)])
    >>> thinning.pop(), thinning.pop()
    (2, 1)
    """

    def __init__(self, frames: Iterable[tuple[int, int]]) -> None:
        self._position: dict[int, float] = {}
        self._before: dict[int, int] = {}
        self._after: dict[int, int] = {}
        self._last: int | None = None
        # Gaps as they were when they were put there; those that have changed since are skipped.
        self._heap: list[tuple[float, int]] = []
        for sequence, step in frames:
            self.append(sequence, step)

    def append(self, sequence: int, step: int) -> None:
        """Another frame, at the end."""
        self._position[sequence] = math.log1p(step)
        last, self._last = self._last, sequence
        if last is not None:
            self._before[sequence], self._after[last] = last, sequence
            self._weigh(last)

    def pop(self) -> int:
        """Leave a frame out; its sequence number.

        Raises
        ------
        IndexError
            If only the first and the last are left.
        """
        while True:
            gap, sequence = heapq.heappop(self._heap)
            if self._gap(sequence) == gap:
                break
        before, after = self._before.pop(sequence), self._after.pop(sequence)
        del self._position[sequence]
        self._after[before], self._before[after] = after, before
        self._weigh(before)
        self._weigh(after)
        return sequence

    def _weigh(self, sequence: int) -> None:
        gap = self._gap(sequence)
        if gap is not None:
            # Of two equally crowded frames the earlier one goes.
            heapq.heappush(self._heap, (gap, sequence))

    def _gap(self, sequence: int) -> float | None:
        if sequence not in self._before or sequence not in self._after:
            return None  # at an end, or gone
        return self._position[self._after[sequence]] - self._position[self._before[sequence]]
