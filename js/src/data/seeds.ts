// Means over seeds: what each run had, and whether two of them differ by more than seeds do.

import { lowRankOf, type Scene, type Style } from "./scene";
import type { Frame } from "./wire";

/** How many seeds a frame is the mean of. */
export function seedsOf({ labels }: Frame): number {
  return Number(labels.seeds ?? 1);
}

/** Features in use with each seed. */
export function usedBySeed({ arrays }: Frame): number[] {
  return [...(arrays.seeds_used_features ?? [])];
}

/** Whether k95 and D_LR differ from the run before by more than seeds do, in words: by more than
 * twice the standard deviations of both, added in squares. Our choice. */
export function beyondSeeds(style: Style, { frame, ghostFrame }: Scene): string {
  if (!ghostFrame || Math.max(seedsOf(frame), seedsOf(ghostFrame)) < 2) return "";
  if (Math.min(seedsOf(frame), seedsOf(ghostFrame)) < 2) {
    return "One of the two has a single seed: whether they differ by more than seeds do is not known";
  }
  const told = [
    ["k95", "used_features"],
    ["D_LR", lowRankOf(style, frame)],
  ].flatMap(([label, name = ""]) => {
    const [now, then] = [frame.scalars[name], ghostFrame.scalars[name]];
    const errors = [frame, ghostFrame].map(({ scalars }) => scalars[`${name}_error`] ?? Number.NaN);
    const apart = Math.abs((now ?? Number.NaN) - (then ?? Number.NaN));
    const spread = 2 * Math.hypot(...errors);
    if (!Number.isFinite(apart) || !Number.isFinite(spread)) return [];
    return [`${label} differs ${apart > spread ? "by more than" : "no more than"} seeds do`];
  });
  return told.join(", ");
}
