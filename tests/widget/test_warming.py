"""What is loaded before somebody presses Start."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fswidget.widget import warming
from fswidget.widget.explorer import Explorer


def test_a_view_that_waits_for_start_loads_what_a_run_imports(
    make: Callable[..., Explorer], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []

    def load(name: str) -> None:
        loaded.append(name)
        if name == "absent":
            raise ImportError(name)

    monkeypatch.setattr(warming, "MODULES", ("absent", *warming.MODULES))
    monkeypatch.setattr(warming, "import_module", load)
    warming.begin.cache_clear()
    explorer = make()
    assert loaded == []  # nobody looks at it yet
    for _ in range(2):
        explorer._handle_custom_msg({"type": "sync", "run": "", "next": 0}, [])
    assert warming.begin.cache_info().misses == 1  # begun by the view
    warming.begin().join(10)
    assert loaded == list(warming.MODULES)  # once, and one that is not there is no failure


def test_torchvision_is_imported_where_it_is_used() -> None:
    package = Path(warming.__file__).parents[1]
    early = [
        f"{file.name}: {line}"
        for file in package.rglob("*.py")
        for line in file.read_text(encoding="utf-8").splitlines()
        if line.startswith(("import torchvision", "from torchvision"))
    ]
    assert early == []
