// Quality of each feature against its intensity, over time: the paper's figure 5.

import type { Plot } from "../bokeh/plot";
import { logTicks } from "../bokeh/ranges";
import type { Scene, Style } from "../data/scene";
import type { Frame } from "../data/wire";
import { format } from "../host/dom";
import type { Label } from "./labels";
import type { Table } from "./panel";

/** Frames that are drawn, as in print, and the least quality that is: what packed curves resolve. */
const FRAMES = 5;
const LEAST = 5e-4;

/** Intensity and quality of each feature. */
function strengths({ arrays }: Frame): [x: number, y: number][] {
  const { eigenvalues = [], quality = [] } = arrays;
  return Array.from(eigenvalues, (rho, k) => [
    rho / (eigenvalues[0] ?? Number.NaN),
    (quality[k] ?? Number.NaN) - (k > 0 ? (quality[k - 1] ?? 0) : 0),
  ]);
}

/** Frames up to the one on show, evenly spread, with their colours. */
function chosen({ run, index, theme }: Scene, { value_colors: colors }: Style) {
  const places = Array.from({ length: FRAMES }, (_, at) => Math.round((index * at) / (FRAMES - 1)));
  const unique = [...new Set(places)];
  return unique.flatMap((place, at) => {
    const frame = run.frames[place];
    // The palette ends in a yellow that is too light for a light page, and begins in a violet that
    // is too dark for a dark one.
    const from = theme === "light" ? 0.85 : 0.2;
    const share = unique.length > 1 ? at / (unique.length - 1) : 1;
    const to = from + (theme === "light" ? -0.85 : 0.8) * share;
    const color = colors[Math.round(to * (colors.length - 1))] ?? "";
    return frame ? [{ frame, color }] : [];
  });
}

export function fillIntensity(plot: Plot, scene: Scene, style: Style): void {
  plot.data("strengths", [scene.frame, scene.theme], () => {
    const points = chosen(scene, style).flatMap(({ frame, color }) =>
      strengths(frame)
        .filter(([x, y]) => x > style.floor && y > LEAST)
        .map(([x, y]) => ({ x, y, color })),
    );
    const low = points.reduce((least, { x }) => Math.min(least, x), 0.1) / 1.5;
    plot.range("x", [low, 1.5]);
    plot.ticks("x", logTicks([low, 1.5], 5));
    plot.range("y", [LEAST, 1]);
    plot.ticks("y", logTicks([LEAST, 1], 5));
    return {
      x: points.map(({ x }) => x),
      y: points.map(({ y }) => y),
      color: points.map(({ color }) => color),
    };
  });
}

const agreement = ({ scalars }: Frame) => format(scalars.quality_agreement, 2);

export function wordsOfIntensity(plot: Plot, scene: Scene, style: Style): Label[] {
  const { left, right, top, bottom } = plot.view.frame.bbox;
  const shown = chosen(scene, style);
  return [
    { text: "quality of each", x: left, y: top - 9, role: "dim" },
    { text: "rank correlation", x: right, y: top - 9, role: "dim", anchor: "end" },
    { text: "ρₖ / ρ₁", x: (left + right) / 2, y: bottom + 11, role: "dim", anchor: "middle" },
    ...shown.map(
      ({ frame, color }, at): Label => ({
        text: `epoch ${format(frame.epoch)}: ${agreement(frame)}`,
        ...{ x: right - 4, y: bottom - 8 - 14 * (shown.length - 1 - at), anchor: "end" },
        ...{ color, bold: true, halo: true },
      }),
    ),
  ];
}

export function tableOfIntensity({ frame }: Scene): Table {
  return {
    head: ["k", "intensity", "quality"],
    rows: strengths(frame).map((values, k) => [k + 1, ...values]),
  };
}

export function describeIntensity({ run, frame }: Scene): string {
  const [first = frame] = run.frames;
  return `Rank correlation of features' quality and intensity: ${agreement(first)} at first, ${agreement(frame)} at epoch ${format(frame.epoch)}.`;
}
