"""Train the 54 networks of docs/explorable.html and the sixth lesson: ten minutes on two cores.

    python scripts/explorable.py [SWEEP.json]

With a file, a sweep that was stopped goes on.
"""

import sys
from pathlib import Path

import fswidget as fs

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
    num_eigenfunctions=5,
    device="cpu",
)
TITLE = "Width, batch norm and data size, on handwritten digits"
#: Of both files together.
MAX_BYTES = 3_000_000


def main() -> None:
    """Run the sweep, and write the page and the file."""
    result = fs.sweep(
        CONFIG,
        width=[16, 64, 256],
        batchnorm=[False, True],
        train_size=[100, 300, 1000],
        seed=[0, 1, 2],
        keep="recordings",
        byte_budget=5_000_000,
        progress=True,
        resume=sys.argv[1] if len(sys.argv) > 1 else None,
    )
    result.to_html(PAGE, title=TITLE)
    result.save(NUMBERS, pictures=False, projections=False, dtype="float16")
    sizes = {path.name: path.stat().st_size for path in (PAGE, NUMBERS)}
    print(result, sizes)
    if sum(sizes.values()) > MAX_BYTES:
        raise SystemExit(f"{sizes}: more than {MAX_BYTES} bytes together")


if __name__ == "__main__":
    main()
