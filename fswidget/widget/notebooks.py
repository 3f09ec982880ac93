"""Saved notebooks without a kernel and without network: each widget becomes its own page.

``jupyter nbconvert --to fswidget notebook.ipynb`` writes HTML in which every widget of ours is an
``<iframe>`` that holds all it needs. Where the notebook has no widget state, and in other formats
with ``WidgetPages`` among the preprocessors, its picture stands there.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

from nbconvert.exporters import HTMLExporter
from nbconvert.preprocessors import Preprocessor
from traitlets import Bool

from fswidget.widget.html import framed, saved_page

_STATE = "application/vnd.jupyter.widget-state+json"
_VIEW = "application/vnd.jupyter.widget-view+json"


class WidgetPages(Preprocessor):
    """Put a page, or else a picture, in place of each widget of ours.

    Other widgets are left as they are.
    """

    pages = Bool(True, help="whether the format shows HTML; pictures otherwise").tag(config=True)

    def preprocess(self, nb: Any, resources: Any) -> tuple[Any, Any]:
        """The notebook with its widgets replaced, and the resources as they are."""
        models = nb.metadata.get("widgets", {}).get(_STATE, {}).get("state", {})
        for cell in nb.cells:
            for output in cell.get("outputs", []):
                self._replace(output.get("data", {}), models)
        return nb, resources

    def _replace(self, data: dict[str, Any], models: Mapping[str, Any]) -> None:
        model = models.get(data.get(_VIEW, {}).get("model_id"))
        if _VIEW not in data or not (_is_ours(model) or ("image/png" in data and model is None)):
            return
        del data[_VIEW]
        if model is None or not self.pages:
            return
        buffers = {b["path"][0]: b["data"] for b in model.get("buffers", []) if b["path"]}
        if buffers.get("_packed"):
            title = data.get("text/plain", "A network's features")
            page = saved_page(model["state"], buffers, title)
            data["text/html"] = framed(page, html.escape(title))


def _is_ours(model: Any) -> bool:
    state = {} if model is None else model.get("state", {})
    return "_figures" in state


class PageExporter(HTMLExporter):
    """HTML that needs no network, for notebooks with widgets of ours."""

    export_from_notebook = "HTML (fswidget offline)"

    @property
    def default_config(self) -> Any:
        """The configuration of HTML, with `WidgetPages` before all other preprocessors."""
        config = super().default_config
        config.HTMLExporter.preprocessors = [WidgetPages]
        return config
