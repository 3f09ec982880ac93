"""Train the three networks that notebooks/companion.ipynb shows: a minute on two cores."""

from pathlib import Path
from typing import Any

import fswidget as fs

FOLDER = Path(__file__).resolve().parents[1] / "notebooks" / "recordings"
#: One network, trained in three ways; all else, the seed included, is the same.
RUNS: dict[str, dict[str, Any]] = {
    "plain": {},
    "batchnorm": {"batchnorm": True},
    "last_layer": {"last_layer_only": True},
}
MAX_BYTES = 400_000


def main() -> None:
    """Record each run and save it where the notebook looks for it."""
    FOLDER.mkdir(exist_ok=True)
    for name, changes in RUNS.items():
        config = fs.Config(
            model="mlp",
            dataset="digits",
            loss="mse",
            width=128,
            epochs=30,
            num_shown=200,
            num_eigenfunctions=6,
            device="cpu",
            **changes,
        )
        print(name)
        recording = fs.record(config, progress=True)
        path = recording.save(FOLDER / f"{name}.npz")
        size = path.stat().st_size
        print(f"{recording[-1]!r}, {size:,} bytes")
        if size > MAX_BYTES:
            raise SystemExit(f"{path.name}: {size} bytes, more than {MAX_BYTES}")


if __name__ == "__main__":
    main()
