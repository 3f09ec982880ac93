"""The lessons: two notebooks from one source, which run, and whose claims hold."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import nbformat
import pytest

import fswidget as fs
from scripts import lessons

SOURCES = sorted(lessons.FOLDER.glob("*.md"))
RECORDED = ["3-collapse", "4-rich-is-not-better", "5-grokking", "6-width-and-data"]


def named(path: Path) -> str:
    return path.stem


def run(cells: list[lessons.Cell], source: Path) -> None:
    """Run the code of these cells as one program, where the student's notebook lies."""
    code = "\n".join(cell.text for cell in cells if cell.kind != "markdown")
    exec(compile(code, str(source), "exec"), {"__name__": "__main__"})


@pytest.fixture(autouse=True)
def where_students_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(lessons.FOLDER / "student")


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have all training end after an epoch, and none begin other processes."""
    from concurrent.futures import ThreadPoolExecutor

    record, sweep = fs.record, fs.sweep

    def one(config: fs.Config) -> fs.Config:
        return config.replace(epochs=1, probe_size=100, num_shown=100)

    @functools.wraps(record)
    def record_one(config: fs.Config, **options: Any) -> fs.Recording:
        return record(one(config), **options)

    @functools.wraps(sweep)
    def sweep_one(config: fs.Config, **options: Any) -> Any:
        with ThreadPoolExecutor(1) as executor:
            return sweep(one(config), executor=executor, **options)

    monkeypatch.setattr(fs, "record", record_one)
    monkeypatch.setattr(fs, "sweep", sweep_one)


def test_there_are_six() -> None:
    assert [path.stem[:2] for path in SOURCES] == [f"{number}-" for number in range(1, 7)]


@pytest.mark.parametrize("source", SOURCES, ids=named)
def test_the_notebooks_are_what_the_source_makes(source: Path) -> None:
    cells = lessons.read(source.read_text(encoding="utf-8"))
    for build in lessons.BUILDS:
        path = lessons.FOLDER / build / f"{source.stem}.ipynb"
        made = lessons.notebook(cells, build)
        nbformat.validate(made)
        kept = nbformat.read(path, as_version=4)
        assert kept == made, f"python scripts/lessons.py writes {path.name} again"


@pytest.mark.parametrize("source", SOURCES, ids=named)
def test_students_predict_before_they_see(source: Path) -> None:
    cells = lessons.read(source.read_text(encoding="utf-8"))
    answers = [cell.text for cell in cells if cell.answer]
    text = json.dumps(lessons.notebook(cells, "student"), ensure_ascii=False)
    assert len(answers) >= 2
    assert text.count(lessons.ROOM) == len(answers)
    assert not [answer for answer in answers if answer[:40] in text]
    assert "assert" not in text
    order = [text.index(f"## {title}") for title in ("Predict", "Explain")]
    assert order == sorted(order)


@pytest.mark.parametrize("source", SOURCES, ids=named)
def test_they_run_and_what_they_say_of_recorded_runs_is_so(source: Path, short: None) -> None:
    cells = lessons.read(source.read_text(encoding="utf-8"))
    assert (source.stem in RECORDED) == any(cell.kind == "recorded" for cell in cells)
    run([cell for cell in cells if cell.kind in ("code", "recorded")], source)


@pytest.mark.soak
@pytest.mark.parametrize("source", SOURCES, ids=named)
def test_what_they_claim_holds(source: Path) -> None:
    run(lessons.read(source.read_text(encoding="utf-8")), source)


def test_answers_begin_and_end_in_turn() -> None:
    for source in ("<!-- answer -->\nx", "<!-- end -->", "<!-- answer -->\n<!-- answer -->"):
        with pytest.raises(ValueError, match="<!-- "):
            lessons.read(source)
