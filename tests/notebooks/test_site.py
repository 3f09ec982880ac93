"""The site: built without network, complete, and loading nothing from elsewhere."""

from __future__ import annotations

import os
import re
import shutil
import socket
from html.parser import HTMLParser
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

import fswidget as fs
from tests import children
from tests.browser.front import WCAG, axe
from tests.browser.jupyter import CHROMIUM_ARGS

ROOT = Path(__file__).resolve().parents[2]
HOW_TO = [
    pytest.param(path, id=path.stem, marks=[pytest.mark.soak] if path.stem == "callbacks" else [])
    for path in sorted((ROOT / "docs" / "how-to").glob("*.md"))
]


def build(folder: Path) -> None:
    """Build the site where there is no network."""

    def refuse(*_: object) -> None:
        raise OSError("no network")

    socket.socket.connect = socket.getaddrinfo = refuse  # type: ignore[assignment]
    os.environ["NO_MKDOCS_2_WARNING"] = "1"
    os.chdir(ROOT)
    from mkdocs.__main__ import cli

    cli(["build", "--strict", "--site-dir", str(folder)])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built site."""
    folder = tmp_path_factory.mktemp("site")
    process = children.start(build, folder)
    process.join()
    assert process.exitcode == 0
    return folder


class Loaded(HTMLParser):
    """What a page has the browser load by itself."""

    TAGS = ("script", "img", "iframe", "source", "video", "audio", "embed", "object", "track")

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in self.TAGS:
            self.found += [given[name] or "" for name in ("src", "data", "srcset") if name in given]
        elif tag == "link" and given.get("rel") not in ("canonical", "prev", "next", "alternate"):
            self.found.append(given.get("href") or "")


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert {"index.html", "tutorial.html", "gallery.html", "plain.html"} <= {p.name for p in pages}
    count = 0
    for page in pages:
        if page.name == "404.html":  # its links begin at the root of a server
            continue
        for address in Loaded(page).found:
            if not address.startswith("data:"):
                count += 1
                path = page.parent / re.split(r"[?#]", address)[0]
                assert path.is_file(), f"{page.relative_to(site)} loads {address}"
    assert count > 50
    for style in site.rglob("*.css"):
        text = style.read_text(encoding="utf-8")
        assert not re.search(r"url\(['\"]?(https?:)?//|@import", text), style.name


def test_every_public_name_is_in_the_reference(site: Path) -> None:
    page = (site / "reference.html").read_text(encoding="utf-8")
    named = set(re.findall(r'id="fswidget\.(\w+)"', page))
    assert set(fs.__all__) <= named
    # With what it is for, and an example.
    assert page.count("&gt;&gt;&gt; ") > len(fs.__all__)


def test_formulas_and_runs_are_on_the_pages(site: Path) -> None:
    tutorial = (site / "tutorial.html").read_text(encoding="utf-8")
    assert "<math" in tutorial
    assert "$" not in re.sub(r"<(script|style|code).*?</\1>", "", tutorial, flags=re.DOTALL)
    for page in site.rglob("*.html"):
        if page.parent.name != "live":
            text = page.read_text(encoding="utf-8")
            assert not re.search("<!-- (live|cite|hosts|settings)", text), page.name


@pytest.mark.parametrize("path", HOW_TO)
def test_the_code_of_each_how_to_runs(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(ROOT / "notebooks" / "recordings", tmp_path / "recordings")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE)
    assert blocks
    exec(compile("\n".join(blocks), str(path), "exec"), {"__name__": "__main__"})


@pytest.mark.browser
def test_the_site_is_accessible_and_its_runs_move(site: Path, chromium: str) -> None:
    asked: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGS)
        page = browser.new_page(viewport={"width": 1300, "height": 1400})
        page.on("request", lambda request: asked.append(request.url))
        page.goto((site / "index.html").as_uri())
        view = page.frame_locator("iframe").locator(".fswidget")
        view.get_by_test_id("scrubber").fill("3")
        view.locator("xpath=self::*[@data-drawn='3']").wait_for()
        found = axe(page, "html", WCAG)
        browser.close()
    assert found == []
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
