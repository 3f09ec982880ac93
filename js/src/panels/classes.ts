// What a sample's label is called and how it is drawn: colour and shape for a class, a colour scale
// for a regression's target.

import type { Colors, Style } from "../data/scene";
import type { RunInfo } from "../data/wire";
import { format } from "../host/dom";

export function className(info: RunInfo, label: number | undefined): string {
  if (label === undefined || Number.isNaN(label)) return "–";
  if (info.classNames.length === 0) return format(label);
  return info.classNames[label] ?? `class ${label}`;
}

/** The same within a sentence: a name that is a number alone says nothing. */
export function spokenClass(info: RunInfo, label: number | undefined): string {
  const name = className(info, label);
  const which = info.targets ? ` ${info.target + 1}` : "";
  return isRegression(info)
    ? `target${which} ${name}`
    : /^\d+$/.test(name)
      ? `class ${name}`
      : name;
}

const SIGNS: Record<string, string> = { add: "+", subtract: "−", multiply: "×", divide: "/" };

/** What a sample itself is called: a pair of modular arithmetic, or other tokens; "" for none. */
export function sampleName({ tokens, config }: RunInfo, at: number): string {
  if (!tokens) return "";
  const { values, columns } = tokens;
  const row = values.subarray(at * columns, (at + 1) * columns);
  const { dataset, operation, modulus } = config;
  const [a, , b] = row;
  if (dataset !== "modular") return Array.from(row, (token) => format(token)).join(" ");
  return `${a} ${SIGNS[String(operation)] ?? "∘"} ${b} mod ${modulus}`;
}

export function isRegression(info: RunInfo): boolean {
  return info.classNames.length === 0;
}

/** Class i's colour and shape: ten of each, shifted so that a hundred classes differ. */
export function classColor(colors: Colors, label: number): [fill: string, edge: string] {
  return colors.classes[label % colors.classes.length] ?? ["", ""];
}

export function classMarker(style: Style, label: number): string {
  const { length } = style.class_markers;
  return style.class_markers[(label + Math.floor(label / length)) % length] ?? "circle";
}

export function markers(style: Style, info: RunInfo, labels: Float32Array): string[] {
  if (isRegression(info)) return Array.from(labels, () => "circle");
  return Array.from(labels, (label) => classMarker(style, label));
}

/** How Bokeh maps labels to colours. */
export function mapping(style: Style, colors: Colors, info: RunInfo, part: 0 | 1) {
  if (isRegression(info)) {
    let low = Number.POSITIVE_INFINITY;
    let high = Number.NEGATIVE_INFINITY;
    for (const value of info.labels) {
      if (value < low) low = value;
      if (value > high) high = value;
    }
    return { palette: style.value_colors, low, high: high > low ? high : low + 1 };
  }
  const count = Math.max(1, info.classNames.length);
  const palette = Array.from({ length: count }, (_, label) => classColor(colors, label)[part]);
  return { palette, low: -0.5, high: count - 0.5 };
}

/** Shapes as characters, for the legend. */
export const GLYPHS: Record<string, string> = {
  circle: "●",
  square: "■",
  triangle: "▲",
  diamond: "◆",
  inverted_triangle: "▼",
  hex: "⬢",
  star: "★",
  plus: "✚",
  square_pin: "✦",
  triangle_pin: "▴",
};
