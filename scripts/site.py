"""What mkdocs asks for the pages of the site that are made and not written (`hooks` in mkdocs.yml).

The tutorial is the quickstart, the lessons are their sources, and every run in the gallery is an
exported page in a frame: the site holds all that it shows.
"""

from __future__ import annotations

import dataclasses
import html
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
from latex2mathml.converter import convert as mathml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import fswidget as fs
from fswidget.training.registry import CHOICES
from fswidget.widget.html import page as exported

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from scripts import lessons  # noqa: E402 (mkdocs runs this file as it is)

RECORDINGS = ROOT / "notebooks" / "recordings"
SHIPPED = ROOT / "fswidget" / "experiments" / "recordings"
QUICKSTART = ROOT / "notebooks" / "quickstart.ipynb"
END = "</details>"

#: Runs that the gallery and other pages embed, by the name of their page.
SHOWN: dict[str, Callable[[], Any]] = {
    "plain": lambda: fs.load(RECORDINGS / "plain.npz"),
    "batchnorm": lambda: fs.load(RECORDINGS / "batchnorm.npz"),
    "lazy": lambda: fs.load(RECORDINGS / "last_layer.npz"),
    "side-by-side": lambda: {
        "all layers": fs.load(RECORDINGS / "plain.npz"),
        "last layer only": fs.load(RECORDINGS / "last_layer.npz"),
    },
    "grokking": lambda: fs.load(SHIPPED / "grokking.npz"),
    "resnet18": lambda: fs.load(SHIPPED / "resnet18.npz"),
    "true-and-shuffled": lambda: {
        "true labels": fs.load(SHIPPED / "resnet18_true_labels.npz"),
        "shuffled labels": fs.load(SHIPPED / "resnet18_shuffled_labels.npz"),
    },
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is made."""
    for name, shown in SHOWN.items():
        files.append(File.generated(config, f"live/{name}.html", content=exported(shown())))
    files.append(File.generated(config, "tutorial.md", content=tutorial()))
    for source in sorted(lessons.FOLDER.glob("*.md")):
        text = lesson(source.read_text(encoding="utf-8"))
        files.append(File.generated(config, f"lessons/{source.name}", content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put a run where a page says ``<!-- live NAME -->``, and the like; formulas become MathML."""
    made = {f"live {name}": framed(f"live/{name}.html", page.file) for name in SHOWN}
    made["live explorable"] = framed("explorable.html", page.file)  # shipped as it is
    made |= {"cite": f"```bibtex\n{fs.cite()}\n```", "hosts": hosts(), "settings": settings()}
    for name, text in made.items():
        markdown = markdown.replace(f"<!-- {name} -->", text)
    # Browsers draw MathML themselves; TeX would take a script.
    return re.sub(r"(?<![\w`])\$([^$\n]+)\$", lambda found: mathml(found[1]), markdown)


def hosts() -> str:
    """The table of hosts, which stands in the README."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    return readme.partition("<!-- hosts -->")[2].partition("<!-- end -->")[0]


def settings() -> str:
    """What every setting of `Config` does."""
    rows = ["| setting | default | |", "|---|---|---|"]
    for field in dataclasses.fields(fs.Config):
        choices = field.metadata["choices"] or CHOICES.get(field.name)
        listed = f" One of {', '.join(f'`{choice}`' for choice in choices)}." if choices else ""
        about = field.metadata["help"] + listed
        rows.append(f"| `{field.name}` | `{field.default!r}` | {about} |")
    return "\n".join(rows)


def framed(address: str, file: File) -> str:
    """A frame with an exported page, as tall as the view at the width of the text."""
    address = "../" * file.src_uri.count("/") + address
    title = html.escape(Path(address).stem.replace("-", " "))
    return (
        f'<iframe src="{address}" title="A recorded run: {title}" loading="lazy" '
        f'style="width:100%;height:920px;border:0"></iframe>\n\n'
        f"[Open it alone]({address})"
    )


def tutorial() -> str:
    """The quickstart in Markdown, with a recorded run beside what it says of one."""
    notebook = nbformat.read(QUICKSTART, as_version=4)
    parts = [*markdown_of(notebook.cells)]
    # After the cell that waits for the first run.
    parts.insert(4, "A run like it, recorded; press ▶ or move the slider:\n\n<!-- live plain -->")
    return "\n\n".join(parts)


def markdown_of(cells: list[Any]) -> Iterator[str]:
    """Each cell of a notebook."""
    for cell in cells:
        yield f"```python\n{cell.source}\n```" if cell.cell_type == "code" else cell.source


def lesson(source: str) -> str:
    """A lesson whose answers are folded."""
    parts = []
    answering = False
    for cell in lessons.read(source):
        if cell.kind not in ("code", "markdown"):
            continue
        if cell.answer != answering:
            parts.append("<details markdown><summary>Answer</summary>" if cell.answer else END)
        answering = cell.answer
        parts.append(f"```python\n{cell.text}\n```" if cell.kind == "code" else cell.text)
    return "\n\n".join([*parts, END] if answering else parts)
