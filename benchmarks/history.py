"""What was measured before: every benchmark adds its bars to ``HISTORY.csv`` and forgets none."""

from __future__ import annotations

import csv
import datetime
import os
import platform
import subprocess
from collections.abc import Iterable
from pathlib import Path

HISTORY = Path(__file__).parent / "HISTORY.csv"
COLUMNS = ("date", "commit", "machine", "benchmark", "bar", "measured", "wanted")


def keep(benchmark: str, bars: Iterable[tuple[str, str, str]]) -> None:
    """Add a line for each (what, measured, wanted)."""
    day = datetime.datetime.now(datetime.UTC).date().isoformat()
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    fresh = not HISTORY.exists()
    with HISTORY.open("a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if fresh:
            writer.writerow(COLUMNS)
        writer.writerows([day, commit(), machine, benchmark, *bar] for bar in bars)


def commit() -> str:
    """The commit that was measured; a ``+`` says that files had changed since."""
    command = ["git", "describe", "--always", "--dirty=+"]
    done = subprocess.run(command, cwd=HISTORY.parent, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
