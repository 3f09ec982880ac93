"""Train the 54 networks of docs/explorable.html and the sixth lesson: ten minutes on two cores.

    python scripts/explorable.py [SWEEP.json]

With a file, a sweep that was stopped goes on.
"""

import sys
from collections.abc import Container
from dataclasses import replace
from pathlib import Path

import fswidget as fs
from fswidget.recording.grid import Run, Sweep

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "explorable.html"
#: The same runs without positions and pictures of samples, for their numbers and curves.
NUMBERS = ROOT / "notebooks" / "recordings" / "explorable.json"
CONFIG = fs.Config(
    model="mlp",
    dataset="digits",
    loss="mse",
    epochs=20,
    frame_every="epoch",
    num_shown=150,
    num_eigenfunctions=4,
    device="cpu",
)
#: What the page shows, and what the other file holds: most happens at first.
EPOCHS = (0, 1, 2, 4, 8, 14, 20)
FEWER_EPOCHS = (0, 4, 20)
TITLE = "Width, batch norm and data size, on handwritten digits"
#: Of both files together.
MAX_BYTES = 3_000_000


def at(result: Sweep, epochs: Container[float]) -> Sweep:
    """The sweep with the frames of these epochs alone."""
    runs: list[Run] = []
    for run in result:
        assert run.recording is not None
        contents = run.recording.contents()
        kept = [entry for entry in contents.entries if entry[1].epoch in epochs]
        recording = fs.Recording.restore(contents._replace(entries=kept))
        runs.append(replace(run, recording=recording))
    return Sweep(result.base, result.axes, runs)


def main() -> None:
    """Run the sweep, and write the page and the file."""
    result = fs.sweep(
        CONFIG,
        width=[16, 64, 256],
        batchnorm=[False, True],
        train_size=[100, 300, 1000],
        seed=[0, 1, 2],
        keep="recordings",
        progress=True,
        resume=sys.argv[1] if len(sys.argv) > 1 else None,
    )
    at(result, EPOCHS).to_html(PAGE, title=TITLE)
    at(result, FEWER_EPOCHS).save(NUMBERS, pictures=False, projections=False, dtype="float16")
    sizes = {path.name: path.stat().st_size for path in (PAGE, NUMBERS)}
    print(result, sizes)
    if sum(sizes.values()) > MAX_BYTES:
        raise SystemExit(f"{sizes}: more than {MAX_BYTES} bytes together")


if __name__ == "__main__":
    main()
