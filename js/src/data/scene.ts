// What a draw sees: one frame of one run, the ghost beside it, and what the user has chosen.

import type { Theme } from "../host/theme";
import type { Run } from "./store";
import type { Frame } from "./wire";

export interface Choices {
  /** Eigenfunctions on the axes of the projections, from 0. */
  k: number;
  l: number;
  heldOut: boolean;
  relative: boolean;
  log: boolean;
  errorBands: boolean;
  scalars: string[];
}

export interface Scene {
  run: Run;
  index: number;
  frame: Frame;
  /** Another run to compare with, and its frame of the same time. */
  ghost: Run | null;
  ghostFrame: Frame | null;
  choices: Choices;
  theme: Theme;
  colors: Colors;
  /** Epochs that the run is to have, where known. */
  epochs: number;
}

export interface Colors {
  /** Colours by role. */
  roles: Record<string, string>;
  /** Colours and dashes of curves that the user chooses, in order. */
  lines: [color: string, dash: string][];
}

/** What figures.py says about looks, so that one place says it. */
export interface Style {
  themes: Record<Theme, Colors>;
  scalars: Record<string, [unit: string, meaning: string]>;
  /** What scalars are called on screen. */
  labels: Record<string, string>;
  /** Scalars between 0 and 1, which share the left axis. */
  shares: string[];
  /** Height of the strip of regimes above the history's curves, as a share of theirs. */
  strip: number;
  class_colors: string[];
  class_markers: string[];
  value_colors: string[];
  level: number;
  floor: number;
}

export const DEBIASED = "low_rank_measure_debiased";
export const PLAIN = "low_rank_measure";

/** The better estimate of D_LR that there is: a small probe makes the paper's plain one too small. */
export function lowRank(has: (name: string) => boolean): { name: string; label: string } {
  return has(DEBIASED)
    ? { name: DEBIASED, label: "D_LR debiased" }
    : { name: PLAIN, label: "D_LR plain" };
}

export function lowRankOf({ scalars }: Frame): { name: string; label: string } {
  return lowRank((name) => Number.isFinite(scalars[name]));
}

/** The newest frame at or before an epoch; the first where there is none. */
export function frameAt({ frames }: Run, epoch: number): Frame | null {
  return frames[lastWhere(frames, (frame) => frame.epoch <= epoch + 1e-9)] ?? null;
}

/** Place of the newest frame numbered `seq` or lower. */
export function indexOf({ frames }: Run, seq: number): number {
  return lastWhere(frames, (frame) => frame.seq <= seq);
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
export function minimal(run: Run): number {
  const { classNames, numOutputs, task } = run.info;
  return classNames.length > 0 || task === "cross_entropy" ? numOutputs : numOutputs + 1;
}

/** 1, 2, … n as a column. */
export function ranks(n: number): Float32Array {
  return Float32Array.from({ length: n }, (_, index) => index + 1);
}
