"""Make the notebooks of the lessons, for students and for instructors, from one source each.

A source is Markdown: blocks of Python become code cells, the text between them the others. What
stands between ``<!-- answer -->`` and ``<!-- end -->`` is for instructors; in its place students
find room for their own. Blocks of ``python check`` hold what the text claims (``python recorded``
what it claims of runs that are shipped): tests run them, and no notebook shows them.

    python scripts/lessons.py
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import nbformat

FOLDER = Path(__file__).resolve().parents[1] / "notebooks" / "lessons"
BUILDS = ("student", "instructor")
#: What students find where the answer was.
ROOM = "*Your answer:*"

_PART = re.compile(
    r"^```python(?P<check> check| recorded)?\n(?P<code>.*?)\n```$|^<!-- (?P<mark>answer|end) -->$",
    re.MULTILINE | re.DOTALL,
)


class Cell(NamedTuple):
    """One cell: its text, "code", "markdown", "check" or "recorded", and whether an answer's."""

    text: str
    kind: str
    answer: bool


def read(source: str) -> list[Cell]:
    """The cells of a lesson.

    Raises
    ------
    ValueError
        If answers do not begin and end in turn.
    """
    cells: list[Cell] = []
    answer, last = False, 0

    def add(text: str, kind: str) -> None:
        if text.strip():
            cells.append(Cell(text.strip("\n"), kind, answer))

    for part in _PART.finditer(source):
        add(source[last : part.start()], "markdown")
        last = part.end()
        if part["mark"] is None:
            add(part["code"], (part["check"] or "code").strip())
        elif answer == (part["mark"] == "answer"):
            raise ValueError(f"{part[0]}: must stand in turn with the other mark")
        else:
            answer = not answer
    if answer:
        raise ValueError("<!-- answer -->: must be followed by <!-- end -->")
    add(source[last:], "markdown")
    return cells


def shown(cells: Sequence[Cell], build: str) -> Iterator[Cell]:
    """The cells of a build."""
    before: Cell | None = None
    for cell in cells:
        if cell.kind in ("code", "markdown") and (build == "instructor" or not cell.answer):
            yield cell
        elif cell.answer and not (before and before.answer):
            yield Cell(ROOM, "markdown", False)
        before = cell


def notebook(cells: Sequence[Cell], build: str) -> nbformat.NotebookNode:
    """A build as a notebook; answers bear the tag "answer"."""
    made = []
    for number, cell in enumerate(shown(cells, build)):
        new = nbformat.v4.new_code_cell if cell.kind == "code" else nbformat.v4.new_markdown_cell
        made.append(new(cell.text, id=f"cell-{number}"))
        if cell.answer:
            made[-1].metadata["tags"] = ["answer"]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return nbformat.v4.new_notebook(cells=made, metadata=metadata)


def main(folder: Path = FOLDER) -> None:
    """Write each lesson in both builds below `folder`."""
    for source in sorted(FOLDER.glob("*.md")):
        cells = read(source.read_text(encoding="utf-8"))
        for build in BUILDS:
            path = folder / build / f"{source.stem}.ipynb"
            path.parent.mkdir(parents=True, exist_ok=True)
            nbformat.write(notebook(cells, build), path)
            print(path)


if __name__ == "__main__":
    main()
