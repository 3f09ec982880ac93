"""The least that can be done: four canvases, drawn by hand, one draw an animation frame."""

from __future__ import annotations

import anywidget
import traitlets

from fswidget.recording.frame import Frame

from .payload import small_payload

ESM = """
export default { render({ model, el }) {
    const contexts = [0, 1, 2, 3].map(() => {
        const canvas = document.createElement("canvas");
        canvas.width = 560; canvas.height = 320;
        el.append(canvas);
        const context = canvas.getContext("2d");
        context.font = "12px sans-serif";
        return context;
    });
    let newest = null, asked = false;
    const history = [];
    const frame = (context, top) => {
        context.clearRect(0, 0, 560, 320);
        context.strokeStyle = "#888"; context.strokeRect(40, 10, 510, 280);
        context.fillStyle = "#222";
        for (let i = 0; i <= 5; i++) {
            context.fillText((top * (1 - i / 5)).toPrecision(2), 2, 14 + 56 * i);
            context.fillText(String(i * 20), 36 + 102 * i, 306);
        }
    };
    const line = (context, values, low, high, color) => {
        context.strokeStyle = color; context.beginPath();
        const step = 510 / Math.max(1, values.length - 1);
        for (let i = 0; i < values.length; i++)
            context.lineTo(40 + step * i, 290 - 280 * (values[i] - low) / (high - low));
        context.stroke();
    };
    const draw = () => {
        asked = false;
        const { number, scalars, spectrum, quality, utilization, x, y } = newest;
        const [a, b, c, d] = contexts;
        frame(a, 1); line(a, spectrum.map(Math.log10), -8, 2, "#0072b2");
        frame(b, 1); line(b, quality, 0, 1, "#c04f00"); line(b, utilization, 0, 1, "#0072b2");
        frame(c, 3);
        for (let i = 0; i < x.length; i++) {
            c.fillStyle = `hsl(${(i % 10) * 36} 80% 45%)`;
            c.fillRect(295 + 60 * x[i] - 2, 150 - 40 * y[i] - 2, 4, 4);
        }
        history.push(scalars);
        frame(d, 1);
        for (let i = 0; i < scalars.length; i++)
            line(d, history.map(row => row[i]), 0, 1, `hsl(${i * 70} 80% 40%)`);
        globalThis.bench?.painted(number);
    };
    const receive = (content, [body]) => {
        const values = new Float32Array(body.buffer.slice(body.byteOffset,
                                                          body.byteOffset + body.byteLength));
        let offset = 0;
        const take = n => values.subarray(offset, offset += n);
        const { number, features: k, samples: n } = content;
        newest = { number, scalars: [...take(5)], spectrum: take(k), quality: take(k),
                   utilization: take(k), x: take(n), y: take(n) };
        if (!asked) { asked = true; requestAnimationFrame(draw); }
    };
    model.on("msg:custom", receive);
    if (model.get("first").byteLength) receive(model.get("header"), [model.get("first")]);
    return () => model.off("msg:custom", receive);
} };
"""


class Canvas(anywidget.AnyWidget):
    """Draws frames on bare canvases."""

    _esm = ESM
    header = traitlets.Dict().tag(sync=True)
    first = traitlets.Bytes(b"").tag(sync=True)

    def __init__(self, frame: Frame) -> None:
        header, body = small_payload(0, frame)
        super().__init__(header=header, first=body)

    def show(self, number: int, frame: Frame) -> None:
        """Send a frame."""
        header, body = small_payload(number, frame)
        self.send(header, buffers=[body])
