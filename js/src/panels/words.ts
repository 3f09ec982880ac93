// How numbers and names are written.

import { lowRankOf, regimeOf, type Style, scalarOf, type Words } from "../data/scene";
import type { Run } from "../data/store";
import type { Frame } from "../data/wire";
import { format } from "../host/dom";

/** e₂ for the second eigenfunction, which is number 1. */
export function eigen(k: number): string {
  return `e${String(k + 1).replace(/\d/g, (digit) => "₀₁₂₃₄₅₆₇₈₉".charAt(Number(digit)))}`;
}

/** Three decimals for a share, as D_LR is read; whole numbers for counts. */
export function share(value: number | undefined): string {
  if (value === undefined || Number.isNaN(value)) return "–";
  return value.toFixed(3).replace("-", "−");
}

export function count(value: number | undefined): string {
  return value === undefined || Number.isNaN(value) ? "–" : String(Math.round(value));
}

/** A scalar as it is written beside its curve. */
export function scalar(name: string, unit: string, value: number | undefined): string {
  if (unit === "features" && !name.includes("rank") && !name.includes("ratio")) return count(value);
  if (["fraction", "R²", "D_LR", "1 − CKA"].includes(unit)) return share(value);
  return format(value, 3);
}

/** Whether the label is still that of the frame before: another one is not sure enough yet. */
function isKept({ kept }: Words, { labels }: Frame): boolean {
  return Boolean(labels.evidence?.startsWith(kept));
}

/** What the regime is called in a line of text. */
export function regimeName(says: Words, run: Run, frame: Frame): string {
  const regime = regimeOf(run, frame);
  if (regime === "UNDEFINED") return "not defined";
  return (isKept(says, frame) ? "still " : "") + (regime === "TRANSITION" ? "MF–EF" : regime);
}

/** Its sign, and the words and the sentence that stand beside it. */
export function regimeSaid(says: Words, run: Run, frame: Frame): Words["regimes"][string] {
  const regime = regimeOf(run, frame);
  const [sign, words, meaning] = says.regimes[regime] ?? [regime || "–", "", ""];
  return [sign, (isKept(says, frame) && says.still[regime]) || words, meaning];
}

/** A frame for a screen reader. */
export function spokenFrame(style: Style, says: Words, run: Run, frame: Frame): string {
  const measure = scalarOf(style, run, frame, lowRankOf(style, frame));
  const value = Number.isNaN(measure) ? "" : `, D_LR ${measure.toFixed(2)}`;
  const regime = regimeName(says, run, frame) || "unknown";
  return `Epoch ${Number(frame.epoch.toFixed(1))}: regime ${regime}${value}`;
}

/** Where a picture comes from: epoch, settings, seed, versions and what to cite. */
export function provenance(run: Run, frame: Frame): string {
  const epoch = `epoch ${Number(frame.epoch.toFixed(2))}`;
  return [epoch, run.info.provenance].filter(Boolean).join(" · ");
}
