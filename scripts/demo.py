"""Train the default network, run the quickstart and leave both where they can be looked at."""

import subprocess
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from tqdm import tqdm

import fswidget as fs

QUICKSTART = Path(__file__).resolve().parents[1] / "notebooks" / "quickstart.ipynb"


def main(folder: Path, source: Path = QUICKSTART) -> int:
    """Make the demo in `folder` with the notebook `source` and, where a person sits at a terminal,
    open it."""
    folder.mkdir(exist_ok=True)
    print("Training a small network on handwritten digits:")
    recording = fs.record(fs.Config(), progress=True)
    last = recording[-1]
    print(f"{last.labels['regime']}: {last.labels['evidence']}")
    saved = recording.save(folder / "run.npz")
    page = recording.to_html(folder / "run.html")

    notebook = execute(source, folder / source.name)

    print(f"""
The run as a page, opens in any browser   {page}
The same run for Python, fs.load(...)     {saved}
The notebook, executed                    {notebook}
""")
    if sys.stdin.isatty() and sys.stdout.isatty():
        print("Opening the notebook in JupyterLab; Ctrl-C twice ends it.")
        try:
            subprocess.run([sys.executable, "-m", "jupyter", "lab", notebook], check=False)
        except KeyboardInterrupt:
            print()
    else:
        print("Open it with: .venv/bin/jupyter lab", notebook)
    return 0


def execute(source: Path, target: Path) -> Path:
    """Run a notebook's cells in a kernel of this environment and write it with its outputs."""
    notebook = nbformat.read(source, as_version=4)
    total = sum(cell.cell_type == "code" for cell in notebook.cells)
    with tqdm(total=total, desc=source.name, unit="cell") as bar:
        client = NotebookClient(
            notebook,
            kernel_name="python3",
            timeout=600,
            resources={"metadata": {"path": str(target.parent)}},
            extra_arguments=["--log-level=ERROR"],
            on_cell_executed=lambda **_: bar.update(),
        )
        client.execute()
    nbformat.write(notebook, target)
    return target


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:] or ["demo"])))
