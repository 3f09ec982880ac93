"""Figures for print, tables for pandas, and the picture that stands where no widget can."""

from __future__ import annotations

import base64
import io
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from PIL import Image

import fswidget as fs
from fswidget.figures.still import picture, sentence
from fswidget.recording.frame import Frame, RunInfo
from tests.synthetic import FIGURES, make_recording


@pytest.fixture(autouse=True)
def plt() -> Iterator[Any]:
    """matplotlib, imported by the worker that runs these tests, not by all that collect them."""
    pyplot = pytest.importorskip("matplotlib.pyplot")
    yield pyplot
    pyplot.close("all")


@pytest.mark.parametrize("name", FIGURES)
def test_each_figure_draws_what_the_recording_holds(name: str, plt: Any, tmp_path: Path) -> None:
    recording = make_recording(3, num_layers=2)
    with plt.rc_context({"figure.figsize": (3, 2), "font.size": 7}):
        ax = recording.plot(name, epoch=2)
        assert tuple(ax.figure.get_size_inches()) == (3, 2)
        assert ax.xaxis.label.get_size() == 7
        ax.figure.savefig(tmp_path / "figure.pdf")
    assert (tmp_path / "figure.pdf").read_bytes().startswith(b"%PDF")
    assert recording.plot(name, ax=ax) is ax
    with pytest.raises(IndexError, match="epoch=-9"):
        recording.plot(name, epoch=-9)


def test_curves_are_the_recording_s(tmp_path: Path) -> None:
    recording = make_recording(3)
    ax = recording.plot("spectrum", color="red")
    now = ax.get_lines()[1]
    assert now.get_color() == "red"
    np.testing.assert_allclose(
        now.get_ydata(), recording[-1].eigenvalues / recording[-1].eigenvalues[0]
    )
    with pytest.raises(ValueError, match="name='layers': no layers were watched"):
        recording.plot("layers")
    with pytest.raises(ValueError, match="name='spectre': must be one of 'spectrum'"):
        recording.plot("spectre")


def test_seeds_are_a_mean_with_a_band() -> None:
    seeds = [make_recording(3, seed=seed) for seed in (0, 1, 2)]
    ax = fs.plot.compare({"rich": seeds, "lazy": make_recording(3, seed=9)}, "history")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["rich", "lazy"]
    assert len(ax.collections) == 2
    mean = np.mean([r.table()["low_rank_measure"] for r in seeds], axis=0)
    np.testing.assert_allclose(ax.get_lines()[0].get_ydata(), mean)
    for name in ("spectrum", "utilization", "quality"):
        assert len(fs.plot_compare(seeds, name).get_lines()) == 3
    with pytest.raises(ValueError, match="value='speed': must be one of loss, "):
        fs.plot.compare(seeds, value="speed")
    with pytest.raises(ValueError, match="name='layers': must be one of"):
        fs.plot.compare(seeds, "layers")


def test_a_table_for_pandas() -> None:
    pytest.importorskip("pandas")
    recording = make_recording(3)
    frame = recording.to_pandas()
    assert frame["low_rank_measure"].tolist() == recording.table()["low_rank_measure"].tolist()
    assert frame.attrs["units"]["used_features"] == "features"
    assert frame.attrs["config"]["width"] == 16
    assert frame.attrs["provenance"]["fswidget"] == fs.__version__


def test_what_is_not_installed_is_named() -> None:
    code = (
        "import sys; sys.modules['matplotlib'] = sys.modules['pandas'] = None\n"
        "from tests.synthetic import make_recording\n"
        "for name, given in (('plot', ['spectrum']), ('to_pandas', [])):\n"
        "    try: getattr(make_recording(1), name)(*given)\n"
        "    except ImportError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.count('pip install "fswidget[paper]"') == 2


def test_what_to_cite() -> None:
    assert "2410.04264" in fs.cite()
    assert fs.__version__ in fs.cite()
    assert make_recording(1).provenance["citation"].endswith("arXiv 2410.04264")


# -- a picture without a browser -----------------------------------------------------------------


def test_the_picture_is_small_and_shows_something() -> None:
    recording = make_recording(30, num_features=500, num_shown=2000)
    content = picture(recording)
    assert len(content) < 150_000
    image = Image.open(io.BytesIO(content)).convert("RGB")
    colors = image.getcolors(100_000) or []
    assert len(colors) > 20
    assert picture(recording, epoch=0) != content


def test_every_recording_has_a_picture() -> None:
    bare = fs.Recording(RunInfo({}, "squared_error", 4, 1, np.zeros(0, np.float32)))
    assert sentence(bare) == "a network: no frames yet"
    bare.append(Frame(0, 0, {}))
    bare.append(Frame(1, 1, {"low_rank_measure": math.nan}, {}, {"eigenvalues": [math.nan, 0.0]}))
    assert picture(bare)
    values = RunInfo({}, "squared_error", 4, 1, np.array([0.5, 2.0, 2.0], np.float32), title="Ψ ρ₁")
    regression = fs.Recording(values)
    regression.append(Frame(0, 0, {}, {}, {"projections": np.eye(3)}))
    regression.append(Frame(1, 1, {}, {}, {"projections": np.full((3, 3), np.nan)}))
    for epoch in (0, 1):
        assert picture(regression, epoch)


def test_a_saved_viewer_has_a_picture_and_a_sentence() -> None:
    recording = make_recording(3)
    data, _ = fs.Viewer(recording, epoch=1)._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data
    assert data["text/plain"].startswith("synthetic: 4 frames up to epoch 3, regime TRANSITION")
    assert base64.b64decode(data["image/png"]) == picture(recording, 1)


def notebook_of(viewer: fs.Viewer) -> nbformat.NotebookNode:
    """A notebook that shows it, as Jupyter saves one with its widgets' state."""
    from ipywidgets.embed import embed_data

    data, _ = viewer._repr_mimebundle_()
    state = embed_data([viewer])["manager_state"]
    cell = nbformat.v4.new_code_cell(
        "viewer", outputs=[nbformat.v4.new_output("execute_result", data=data)]
    )
    widgets = {"application/vnd.jupyter.widget-state+json": state}
    return nbformat.v4.new_notebook(cells=[cell], metadata={"widgets": widgets})


def test_nbconvert_writes_pages_that_need_no_network() -> None:
    pytest.importorskip("nbconvert")
    from nbconvert.exporters import get_exporter

    notebook = notebook_of(fs.Viewer(make_recording(3)))
    text, _ = get_exporter("fswidget.widget.notebooks.PageExporter")().from_notebook_node(notebook)
    assert text.count("<iframe") == 1
    assert '<script type="application/vnd.jupyter.widget-view+json">' not in text
    page = text.split('srcdoc="')[1]
    assert "default-src &#x27;none&#x27;" in page or "default-src 'none'" in page


def test_without_state_the_picture_stands() -> None:
    pytest.importorskip("nbconvert")
    from fswidget.widget.notebooks import PageExporter, WidgetPages

    notebook = notebook_of(fs.Viewer(make_recording(3)))
    shown, _ = WidgetPages(pages=False).preprocess(notebook.copy(), {})
    assert set(shown.cells[0].outputs[0].data) == {"text/plain", "image/png"}
    notebook = notebook_of(fs.Viewer(make_recording(3)))
    del notebook.metadata["widgets"]
    text, _ = PageExporter().from_notebook_node(notebook)
    assert base64.b64encode(picture(make_recording(3))).decode() in text
    assert "<iframe" not in text
