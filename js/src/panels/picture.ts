// A figure as a picture at twice its size, with its words, its title and where it comes from.

import type { Plot } from "../bokeh/plot";
import type { Labels } from "./labels";

const SCALE = 2;
const HEAD = 28;
const FOOT = 22;
const FONT = "system-ui, sans-serif";

export async function picture(
  plot: Plot,
  body: HTMLElement,
  words: ReturnType<Labels["list"]>,
  title: string,
  note: string,
): Promise<Blob> {
  const drawing = await createImageBitmap(await plot.image("png"));
  const { width, height, left, top } = body.getBoundingClientRect();
  const canvas = document.createElement("canvas");
  canvas.width = width * SCALE;
  canvas.height = (height + HEAD + FOOT) * SCALE;
  const context = canvas.getContext("2d");
  if (!context) throw new Error("this browser draws no picture");
  const style = getComputedStyle(body);
  const root = getComputedStyle(body.closest(".fswidget") ?? body);
  context.scale(SCALE, SCALE);
  context.fillStyle = root.backgroundColor;
  context.fillRect(0, 0, width, height + HEAD + FOOT);
  context.drawImage(drawing, 0, HEAD, width, height);
  context.textBaseline = "middle";
  for (const { text, box, color, bold } of words) {
    context.font = `${bold ? 600 : 400} 11px ${FONT}`;
    context.fillStyle = color;
    context.fillText(text, box.left - left, box.top - top + box.height / 2 + HEAD);
  }
  context.fillStyle = style.color;
  context.font = `600 13px ${FONT}`;
  context.fillText(title, 12, HEAD / 2 + 2, width - 24);
  context.font = `400 9px ${FONT}`;
  context.fillText(note, 12, HEAD + height + FOOT / 2, width - 24);
  return new Promise((done, failed) => {
    canvas.toBlob((blob) => (blob ? done(blob) : failed(new Error("no picture"))), "image/png");
  });
}
