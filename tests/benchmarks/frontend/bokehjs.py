"""A minimal widget around BokehJS: four figures on the canvas backend, a source each."""

from __future__ import annotations

import gzip
import json
from functools import cache
from importlib import resources
from typing import Any

import anywidget
import traitlets
from bokeh.embed import json_item
from bokeh.models import ColumnDataSource
from bokeh.palettes import Category10_10
from bokeh.plotting import figure
from bokeh.transform import linear_cmap

from fswidget.recording.frame import Frame

from .payload import SCALARS, small_payload

ESM = """
const unzip = async view => new Response(new Blob([view]).stream()
    .pipeThrough(new DecompressionStream("gzip"))).text();
export default { async render({ model, el }) {
    const root = {};
    new Function(await unzip(model.get("bokehjs"))).call(root);
    const views = {};
    for (const [name, item] of Object.entries(JSON.parse(model.get("figures")))) {
        const target = document.createElement("div");
        el.append(target);
        views[name] = (await root.Bokeh.embed.embed_item(item, target)).roots[0];
    }
    const source = name => views[name].model.document.get_model_by_name(name + "_source");
    const waiting = new Set(Object.keys(views));
    let newest = -1;
    for (const [name, view] of Object.entries(views))
        view.repainted.connect(() => {
            waiting.delete(name);
            if (waiting.size === 0 && newest >= 0) globalThis.bench?.painted(newest);
        });
    const history = [];
    let range, label;
    const receive = (content, [body]) => {
        const values = new Float32Array(body.buffer.slice(body.byteOffset,
                                                          body.byteOffset + body.byteLength));
        let offset = 0;
        const take = n => values.subarray(offset, offset += n);
        const { number, features: k, samples: n } = content;
        range ??= Float32Array.from({ length: k }, (_, i) => i + 1);
        label ??= Float32Array.from({ length: n }, (_, i) => i % 10);
        history.push([number, ...take(5)]);
        source("spectrum").data = { x: range, y: take(k) };
        source("cumulative").data = { x: range, quality: take(k), utilization: take(k) };
        source("projections").data = { x: take(n), y: take(n), label };
        const column = i => Float32Array.from(history, row => row[i]);
        source("history").data = { x: column(0), s0: column(1), s1: column(2), s2: column(3),
                                   s3: column(4), s4: column(5) };
        // Sources pass new data to glyphs in microtasks: what is painted from the next task on
        // shows this frame.
        setTimeout(() => { newest = number; for (const name in views) waiting.add(name); });
    };
    model.on("msg:custom", receive);
    receive(model.get("header"), [model.get("first")]);
    return () => model.off("msg:custom", receive);
} };
"""


@cache
def bokehjs() -> bytes:
    """BokehJS of the installed package, gzip'ed."""
    source = resources.files("bokeh") / "server" / "static" / "js" / "bokeh.min.js"
    return gzip.compress(source.read_bytes())


def figures() -> dict[str, Any]:
    """Four empty figures."""
    size: dict[str, Any] = {"width": 560, "height": 320, "toolbar_location": None}

    def source(name: str, *columns: str) -> ColumnDataSource:
        return ColumnDataSource({column: [] for column in columns}, name=f"{name}_source")

    spectrum = figure(x_axis_type="log", y_axis_type="log", **size)
    spectrum.line("x", "y", source=source("spectrum", "x", "y"))
    cumulative = figure(x_axis_type="log", **size)
    data = source("cumulative", "x", "quality", "utilization")
    for name, color in (("quality", "firebrick"), ("utilization", "navy")):
        cumulative.line("x", name, source=data, color=color)
    projections = figure(**size)
    projections.scatter(
        "x",
        "y",
        size=5,
        color=linear_cmap("label", Category10_10, 0, 9),
        source=source("projections", "x", "y", "label"),
    )
    history = figure(**size)
    data = source("history", "x", "s0", "s1", "s2", "s3", "s4")
    for index in range(len(SCALARS)):
        history.line("x", f"s{index}", source=data, color=Category10_10[index])
    made = {
        "spectrum": spectrum,
        "cumulative": cumulative,
        "projections": projections,
        "history": history,
    }
    return {name: json_item(plot) for name, plot in made.items()}


class BokehJS(anywidget.AnyWidget):
    """Shows frames with BokehJS, one update a message."""

    _esm = ESM
    bokehjs = traitlets.Bytes().tag(sync=True)
    figures = traitlets.Unicode().tag(sync=True)
    header = traitlets.Dict().tag(sync=True)
    first = traitlets.Bytes().tag(sync=True)

    def __init__(self, frame: Frame) -> None:
        header, body = small_payload(0, frame)
        super().__init__(
            bokehjs=bokehjs(), figures=json.dumps(figures()), header=header, first=body
        )

    def show(self, number: int, frame: Frame) -> None:
        """Send a frame."""
        header, body = small_payload(number, frame)
        self.send(header, buffers=[body])
