"""The frames that every contestant shows, and what of them a peer sends."""

from __future__ import annotations

from typing import Any

import numpy as np

from fswidget.recording.frame import Frame
from fswidget.recording.recording import Recording
from tests.synthetic import make_frame, make_recording

NUM_FEATURES = 512
NUM_SHOWN = 2000
NUM_EIGENFUNCTIONS = 8
SCALARS = ("loss", "train_accuracy", "test_accuracy", "low_rank_measure", "kernel_drift")


def _options(num_layers: int) -> dict[str, int]:
    return {
        "num_features": NUM_FEATURES,
        "num_shown": NUM_SHOWN,
        "num_eigenfunctions": NUM_EIGENFUNCTIONS,
        "num_classes": 10,
        "num_layers": num_layers,
    }


def frames(count: int, start: int = 1, num_layers: int = 4) -> list[Frame]:
    """Frames numbered `start` and later; number n is at epoch n/10, so curves keep moving."""
    made = []
    for number in range(start, start + count):
        frame = make_frame(number / 10, **_options(num_layers))
        made.append(
            Frame(frame.epoch, number, dict(frame.scalars), dict(frame.labels), dict(frame.arrays))
        )
    return made


def recording(num_layers: int = 4) -> Recording:
    """A recording of frame 0 alone."""
    return make_recording(0, **_options(num_layers))


def small_payload(number: int, frame: Frame) -> tuple[dict[str, Any], bytes]:
    """What four plain figures need: five scalars, three curves, one pair of coordinates."""
    parts = [
        np.array([frame.scalars[name] for name in SCALARS], np.float32),
        frame.eigenvalues / frame.eigenvalues[0],
        frame.quality,
        frame.utilization,
        np.ascontiguousarray(frame.projections[:, 0]),
        np.ascontiguousarray(frame.projections[:, 1]),
    ]
    header = {
        "number": number,
        "features": len(frame.eigenvalues),
        "samples": len(frame.projections),
    }
    return header, b"".join(part.tobytes() for part in parts)
