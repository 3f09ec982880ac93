// A figure as a picture at twice its size, with its words, its title and where it comes from.

import type { Plot } from "../bokeh/plot";
import type { Written } from "./labels";

const SCALE = 2;
const HEAD = 28;
const LINE = 12;
const FONT = "system-ui, sans-serif";
const SMALL = `400 9px ${FONT}`;

export async function picture(
  plot: Plot,
  body: HTMLElement,
  words: Written[],
  title: string,
  note: string,
): Promise<Blob> {
  // The canvas has the screen's own resolution; the drawing as lines has any.
  const drawing = new Image();
  drawing.src = `data:image/svg+xml,${encodeURIComponent(await (await plot.image("svg")).text())}`;
  await drawing.decode();
  const { width, height, left, top } = body.getBoundingClientRect();
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("2d");
  if (!context) throw new Error("this browser draws no picture");
  context.font = SMALL;
  const lines = wrapped(note, (text) => context.measureText(text).width < width - 24);
  const foot = LINE * lines.length + 8;
  canvas.width = width * SCALE;
  canvas.height = (height + HEAD + foot) * SCALE;
  const style = getComputedStyle(body);
  const root = getComputedStyle(body.closest(".fswidget") ?? body);
  context.scale(SCALE, SCALE);
  context.fillStyle = root.backgroundColor;
  context.fillRect(0, 0, width, height + HEAD + foot);
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
  context.font = SMALL;
  for (const [at, line] of lines.entries()) {
    context.fillText(line, 12, HEAD + height + LINE * (at + 0.5), width - 24);
  }
  return new Promise((done, failed) => {
    canvas.toBlob((blob) => (blob ? done(blob) : failed(new Error("no picture"))), "image/png");
  });
}

/** Parts between dots, as many in a line as fit. */
export function wrapped(text: string, fits: (line: string) => boolean): string[] {
  const lines: string[] = [];
  for (const part of text.split(" · ")) {
    const longer = [...lines.slice(-1), part].join(" · ");
    if (lines.length > 0 && fits(longer)) lines[lines.length - 1] = longer;
    else lines.push(part);
  }
  return lines;
}
