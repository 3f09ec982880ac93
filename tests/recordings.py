"""Whether two runs left the same behind."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from fswidget.recording.frame import Frame

#: What depends on the time it took.
TIMES = {"seconds", "analysis_seconds"}


def assert_same(first: Iterable[Frame], second: Iterable[Frame]) -> None:
    """Frames that are the same bit for bit, but for what the clock says."""
    for left, right in zip(first, second, strict=True):
        assert (left.epoch, left.step) == (right.epoch, right.step)
        assert left.scalars.keys() == right.scalars.keys()
        for name in left.scalars.keys() - TIMES:
            assert repr(left.scalars[name]) == repr(right.scalars[name]), name
        assert left.arrays.keys() == right.arrays.keys()
        for name, array in left.arrays.items():
            np.testing.assert_array_equal(array, right.arrays[name], name, strict=True)
            assert array.tobytes() == right.arrays[name].tobytes(), name
