// What a draw sees: one frame of one run, the ghost beside it, and what the user has chosen.

import type { Theme } from "../host/theme";
import type { Run } from "./store";
import type { Frame } from "./wire";

export interface Choices {
  /** Eigenfunctions on the axes of the projections, from 0. */
  k: number;
  l: number;
  heldOut: boolean;
  /** Which of several targets colours the samples, from 0. */
  target: number;
  relative: boolean;
  log: boolean;
  logEpochs: boolean;
  errorBands: boolean;
  /** Whether layers are on show, where a run has some, in place of the faces. */
  deep: boolean;
  /** Whether quality is shown feature by feature, against intensity. */
  each: boolean;
  scalars: string[];
}

export interface Scene {
  run: Run;
  index: number;
  frame: Frame;
  /** Another run to compare with, and its frame of the same time. */
  ghost: Run | null;
  ghostFrame: Frame | null;
  /** What was different then, in words. */
  before: string;
  choices: Choices;
  theme: Theme;
  colors: Colors;
  /** Where the axis of epochs ends. */
  end: number;
  /** How much larger than usual type is, in full screen. */
  scale: number;
}

export interface Colors {
  /** Colours by role. */
  roles: Record<string, string>;
  /** Colours of further curves that the user chooses, in order. */
  lines: string[];
  /** Fill and edge of each class. */
  classes: [fill: string, edge: string][];
  /** How strong the zones of the regimes are behind a curve. */
  veil: number;
}

export type Band = "shares" | "features" | "others";

/** What fswidget/figures/theme.py says about looks, so that one place says it. */
export interface Style {
  themes: Record<Theme, Colors>;
  scalars: Record<string, [unit: string, meaning: string]>;
  /** What scalars are called on screen. */
  labels: Record<string, string>;
  /** The band of the history that a scalar belongs to. */
  bands: Record<string, Band>;
  /** Bands from the top, with their share of the height; the strips above them; the gap between. */
  heights: Record<Band, number>;
  strips: number;
  gap: number;
  /** Colours by role of the curves that a run shows at first, in order. */
  curves: Record<string, string>;
  /** The estimates of D_LR, the best one first. */
  estimates: string[];
  class_markers: string[];
  value_colors: string[];
  level: number;
  floor: number;
}

/** The best estimate of D_LR that there is: a small probe makes the paper's plain one too small. */
export function lowRank({ estimates }: Style, has: (name: string) => boolean): string {
  return estimates.find(has) ?? estimates.at(-1) ?? "";
}

export function lowRankOf(style: Style, { scalars }: Frame): string {
  return lowRank(style, (name) => Number.isFinite(scalars[name]));
}

/** k95; of features that do not vary, and of no more than outputs need, it says nothing. */
export function usedOf(run: Run, frame: Frame | null): number {
  const none = isUndefined(run) || frame?.labels.regime === "CONSTANT";
  return none ? Number.NaN : (frame?.scalars.used_features ?? Number.NaN);
}

/** A scalar as it can be shown: a debiased D_LR far outside 0 to 1, or of a single feature, says only
 * that it could not be made. */
export function scalarOf(style: Style, run: Run, frame: Frame, name: string): number {
  const value = frame.scalars[name] ?? Number.NaN;
  if (name === "used_features") return usedOf(run, frame);
  if (!style.estimates.includes(name)) return value;
  return run.info.numFeatures < 2 || value < -0.5 || value > 1.5 ? Number.NaN : value;
}

/** The newest frame at or before an epoch; the first where there is none. */
export function frameAt(run: Run, epoch: number): Frame | null {
  return run.frames[placeAt(run, epoch)] ?? null;
}

/** Its place. */
export function placeAt({ frames }: Run, epoch: number): number {
  return lastWhere(frames, (frame) => frame.epoch <= epoch + 1e-9);
}

/** Place of the last frame that holds, where all before it do; 0 where none does. */
function lastWhere(frames: Frame[], holds: (frame: Frame) => boolean): number {
  let low = 0;
  let high = frames.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    const frame = frames[middle];
    if (frame && holds(frame)) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** The number of used features up to which a run counts as minimal: C, or d + 1 in a regression. */
export function minimal({ info }: Run): number {
  return info.minimalFeatures;
}

/** What that number is called. */
export function minimalName(run: Run): string {
  return minimal(run) === run.info.numOutputs ? "C" : "d + 1";
}

/** Whether there are too few to speak of minimal features: no more, or samples, than outputs need. */
export function isUndefined(run: Run): boolean {
  return run.info.directions <= minimal(run);
}

/** The regime that a frame may be called: where nothing can be told, none. */
export function regimeOf(run: Run, { labels }: Frame): string {
  const regime = labels.regime ?? "";
  return ["MF", "TRANSITION", "EF"].includes(regime) && isUndefined(run) ? "UNDEFINED" : regime;
}

/** 1, 2, … n as a column. */
export function ranks(n: number): Float32Array {
  return Float32Array.from({ length: n }, (_, index) => index + 1);
}

/** What fswidget/figures/words.py has the interface say. */
export interface Words {
  panels: Record<string, [title: string, caption: string]>;
  regimes: Record<string, [sign: string, words: string, meaning: string]>;
  /** The words where the label is that of the frame before, and how the sentence begins there. */
  still: Record<string, string>;
  kept: string;
  welcome: string;
  tour: [at: string, title: string, text: string][];
  measures: Record<string, string>;
}

/** The chosen scalars that a run has; where it has no debiased D_LR, the plain one stands in. */
export function available(style: Style, frames: Frame[], chosen: string[]): string[] {
  const has = (name: string) => frames.some(({ scalars }) => Number.isFinite(scalars[name]));
  const names = chosen.map((name) => (name === style.estimates[0] ? lowRank(style, has) : name));
  return [...new Set(names)].filter(has);
}
