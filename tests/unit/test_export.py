"""The exported page, as text; tests/browser/test_export_page.py opens it."""

from __future__ import annotations

import base64
import dataclasses
import gzip
import html
import json
import struct
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fswidget as fs
from fswidget.figures.layout import layout_json
from fswidget.recording import provenance
from fswidget.recording.recording import Recording
from fswidget.widget import codec
from fswidget.widget import html as export
from fswidget.widget.state import ViewState
from tests.synthetic import make_recording

EVIL = "</script><script>alert(1)</script><!--<script>\"'&amp;"


class Elements(HTMLParser):
    """The elements of a page as a browser reads them."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self._open = tag
        self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts[self._open][-1] += data

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.found)


def data_of(text: str) -> dict[str, Any]:
    """What the page brings along."""
    return json.loads(Elements(text).texts["script"][0])


def hostile(recording: Recording) -> Recording:
    """The same recording with markup in every word of it."""
    info = dataclasses.replace(
        recording.info, title=EVIL, class_names=(EVIL,) * 4, config={"model": EVIL}
    )
    result = Recording(info)
    for frame in recording:
        labels = dict.fromkeys(frame.labels, EVIL)
        result.append(dataclasses.replace(frame, labels=labels))
    return result


def test_the_page_brings_all_it_needs() -> None:
    elements = Elements(export.page(make_recording()))
    for tag, attributes in elements.found:
        assert not {"src", "href", "srcset", "data", "action"} & attributes.keys(), tag
    assert elements.count("link") == elements.count("img") == 0
    [policy] = [a["content"] for _, a in elements.found if "http-equiv" in a]
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy
    assert "*" not in policy
    assert "connect-src" not in policy  # falls back to 'none'


def test_the_page_holds_the_whole_recording_and_the_installed_bokehjs() -> None:
    recording = make_recording(5, num_layers=2)
    data = data_of(export.page(recording, theme="dark", captions=False))
    block = gzip.decompress(base64.b64decode(data["bytes"]["_packed"]))
    assert block[:4] == b"FSW1"
    (length,) = struct.unpack("<I", block[4:8])
    header = json.loads(block[8 : 8 + length])
    assert [frame["seq"] for frame in header["frames"]] == [0, 1, 2, 3, 4, 5]
    assert header["run"] == data["traits"]["run"]
    assert b"Bokeh" in gzip.decompress(base64.b64decode(data["bytes"]["_bokehjs"]))
    assert data["traits"]["_figures"] == layout_json()
    assert (data["traits"]["theme"], data["traits"]["captions"]) == ("dark", False)
    assert data["traits"]["num_frames"] == 6


def test_the_page_has_the_traits_of_a_viewer() -> None:
    data = data_of(export.page(make_recording()))
    declared = ViewState.class_own_traits(sync=True)
    assert data["traits"].keys() | data["bytes"].keys() == declared.keys()
    assert data["traits"]["state"] == "finished"
    assert data["traits"]["_can_train"] is False


def test_markup_in_names_stays_text() -> None:
    recording = hostile(make_recording())
    for text in (export.page(recording), export.page(recording, title=EVIL)):
        elements = Elements(text)
        assert elements.count("script") == 2
        assert elements.texts["title"] == [EVIL]
        assert "alert(1)" not in elements.texts["script"][1]


def test_markup_in_what_the_page_brings_stays_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fswidget.widget.html.bundle", lambda name: EVIL)
    text = export.page(make_recording())
    assert Elements(text).count("script") == 2
    assert data_of(text)["style"] == EVIL


def test_the_same_recording_gives_the_same_page() -> None:
    assert export.page(make_recording()) == export.page(make_recording())


def test_fragment_survives_markdown(tmp_path: Path) -> None:
    recording = hostile(make_recording())
    text = export.to_html(recording, tmp_path / "part", fragment=True).read_text()
    elements = Elements(text)
    assert elements.found[0][0] == "div"
    assert not {"html", "head", "body", "title", "meta"} & {tag for tag, _ in elements.found}
    # A blank line ends an HTML block in Markdown; double braces are Jekyll's and Hugo's.
    assert "\n\n" not in text
    assert not any(mark in text for mark in ("{{", "{%", "{#"))
    assert not any("id" in attributes for _, attributes in elements.found)
    mistune = pytest.importorskip("mistune")
    page = mistune.create_markdown(escape=False)(f"Before\n\n{text}\nAfter *it*\n")
    assert text.strip() in page
    assert page.endswith("<p>After <em>it</em></p>\n")


def test_iframe_holds_the_page_in_a_sandbox(tmp_path: Path) -> None:
    recording = hostile(make_recording())
    text = export.to_html(recording, tmp_path / "frame.html", iframe=True).read_text()
    elements = Elements(text)
    assert [tag for tag, _ in elements.found] == ["div", "iframe"]
    attributes = elements.found[1][1]
    assert attributes["srcdoc"] == export.page(recording)
    assert attributes["title"] == EVIL
    assert "allow-same-origin" not in str(attributes["sandbox"])
    assert "\n\n" not in html.unescape(text)


def test_to_html_writes_where_told(tmp_path: Path) -> None:
    recording = make_recording()
    assert recording.to_html(tmp_path / "run") == tmp_path / "run.html"
    assert recording.to_html(str(tmp_path / "page.htm")) == tmp_path / "page.htm"
    assert (tmp_path / "run.html").read_text() == export.page(recording)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page.htm", "run.html"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"theme": "blue"}, ValueError, "theme='blue': must be one of auto, light, dark"),
        ({"theme": None}, ValueError, "theme=None"),
        ({"captions": "yes"}, TypeError, "captions='yes': must be True or False"),
        ({"fragment": 1}, TypeError, "fragment=1"),
        ({"iframe": None}, TypeError, "iframe=None"),
        ({"fragment": True, "iframe": True}, ValueError, "fragment=True, iframe=True"),
        ({"title": 3}, TypeError, "title=3"),
    ],
)
def test_a_wrong_option_is_named_and_the_old_file_stays(
    options: dict[str, Any], error: type[Exception], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "run.html"
    path.write_text("old")
    with pytest.raises(error, match=f"^{message}"):
        export.to_html(make_recording(), path, **options)
    assert path.read_text() == "old"


def test_only_a_recording_with_frames_makes_a_page() -> None:
    with pytest.raises(TypeError, match=r"^recording='run.npz': must be a Recording"):
        export.page("run.npz")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^recording=.*has no frame"):
        export.page(Recording(make_recording().info))


def test_fifty_epochs_fit_into_two_and_a_half_megabytes() -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    random = np.random.default_rng(0)
    small = datasets.load_digits().images[:1000] * 15
    # Handwritten digits of MNIST's size, with the noise of a scan.
    pictures = np.clip(small.repeat(4, 1)[:, 2:-2].repeat(4, 2)[:, :, 2:-2], 0, 255)
    noisy = np.clip(pictures + random.normal(0, 4, pictures.shape) * (pictures > 0), 0, 255)
    source = make_recording(
        50, num_features=512, num_shown=1000, num_eigenfunctions=8, num_classes=10
    )
    info = dataclasses.replace(source.info, thumbnails=noisy.astype(np.uint8))
    recording = Recording(info)
    for frame in source:
        arrays = {
            name: array * (1 + 1e-2 * random.random(array.shape)) if array.ndim == 1 else array
            for name, array in frame.arrays.items()
        }
        recording.append(dataclasses.replace(frame, arrays=arrays))
    assert info.thumbnails is not None
    assert info.thumbnails.shape == (1000, 28, 28)
    assert len(export.page(recording).encode()) <= 2_500_000


def test_a_page_says_where_it_comes_from() -> None:
    recording = make_recording(2)
    told = provenance.told(recording.config, recording.provenance)
    assert told.startswith("model=mlp · dataset=synthetic · width=16")
    assert "fswidget" in recording.provenance
    assert f"fswidget {recording.provenance['fswidget']}" in told
    assert told.endswith("arXiv:2410.04264")
    assert f'<meta name="description" content="{told}">' in export.page(recording)
    header, _ = codec.encode_run(recording.info, recording.provenance)
    assert header["provenance"] == told
    # What of a run is unusual is part of that.
    unusual = {**recording.config, "last_layer_only": True, "label_noise": 0.5, "depth": 2}
    told = provenance.told(unusual, {})
    assert " · last_layer_only=True · label_noise=0.5 · method" in told
    usual = fs.Config().to_dict()
    assert {**usual, **provenance.USUAL} == usual
