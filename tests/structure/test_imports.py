"""The plan of the house: data flows one way, and no module imports itself by a detour."""

import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter

import pytest

from tests.structure.imports import imports, modules

MAY_USE = {
    "analysis": set(),
    "recording": set(),
    "probing": {"analysis", "recording"},
    "figures": {"recording"},
    "training": {"probing", "recording"},
    "experiments": {"training", "figures", "recording"},
    "widget": {"experiments", "training", "probing", "figures", "recording"},
}

#: Lazy façades, each within one method, that look upward for the reader's convenience:
#: `Recording.figure`, `plot` and `to_html`, `Sweep.figure`, `view` and `to_html`, and `Watch.view`.
#: There are no others.
FACADES = {
    ("recording.recording", "figures.drawing"),
    ("recording.recording", "widget.html"),
    ("recording.recording", "figures.paper"),
    ("recording.grid", "figures.regime_map"),
    ("recording.grid", "widget.html"),
    ("recording.grid", "widget.sweep_view"),
    ("probing.live", "widget.viewer"),
}

KNOWN = modules()


@cache
def arrows() -> set[tuple[str, str]]:
    """Who imports whom; read once, by the process that asks."""
    return {pair for pair in imports(KNOWN) if pair[0] != pair[1]} - FACADES


def room(module: str) -> str:
    return module.split(".")[0]


@pytest.mark.parametrize("name", MAY_USE)
def test_a_room_uses_only_what_lies_below_it(name: str) -> None:
    allowed = MAY_USE[name] | {name}
    wrong = {(a, b) for a, b in arrows() if room(a) == name and room(b) not in allowed}
    # The package itself only names public names; its version may be read anywhere.
    assert {(a, b) for a, b in wrong if b} == set()


def test_every_folder_is_a_room() -> None:
    folders = {room(name) for name, path in KNOWN.items() if path.parent != KNOWN[""].parent}
    assert folders == set(MAY_USE)


def test_no_circle() -> None:
    graph: dict[str, set[str]] = {name: set() for name in KNOWN}
    for importer, imported in arrows():
        graph[importer].add(imported)
    # The package's lazy names are no import of its own.
    graph[""] = set()
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


def test_no_module_bears_the_name_of_a_public_function() -> None:
    import fswidget as fs

    public = {name for name in fs.__all__ if name.islower()}
    assert {name.split(".")[-1] for name in KNOWN} & public == set()


#: What each may not bring along, in one interpreter: another one for each would load torch again.
APART = {
    "recording": {"torch", "bokeh"},
    "analysis.api": {"anywidget", "bokeh"},
    "probing.watching": {"anywidget", "bokeh"},
    "training.loop": {"anywidget", "bokeh"},
}


def test_recordings_load_no_torch_and_numbers_neither_widget_nor_figures() -> None:
    code = f"""
import importlib, sys
for name, apart in {APART}.items():
    importlib.import_module(f"fswidget.{{name}}")
    print(*(f"{{name}} loads {{other}}" for other in apart & sys.modules.keys()), end="")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ""
