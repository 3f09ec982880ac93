"""What the processes of a sweep do in tests: nothing that takes time."""

import os
from typing import Any

from fswidget.experiments.workers import Run


def die_at_width_8(settings: dict[str, Any]) -> Run:
    if settings["width"] == 8:
        os._exit(3)
    return quickly(settings)


def quickly(settings: dict[str, Any]) -> Run:
    return Run(settings, {"low_rank_measure": 0.5}, {"regime": "alive"}, 0.1)
