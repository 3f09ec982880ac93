// Where k95 stands between minimal and extended features.
//
// The axis is piecewise logarithmic: whatever C and p are, minimal features, transition and extended
// features hold 25, 25 and 50% of it, so that runs compare and small numbers do not squeeze a zone.

import { memo } from "../data/memo";
import { minimal, minimalName, type Scene, usedOf } from "../data/scene";
import { usedBySeed } from "../data/seeds";
import type { Run } from "../data/store";
import type { Frame } from "../data/wire";
import { attribute, h, hide, setRich, setText } from "../host/dom";
import { count } from "./words";
import { lowest } from "./zones";

/** Where 1, C, 2C and the end stand, in percent: k95 = C is visibly within MF. */
const [ONE, MINIMAL, TWICE, END] = [1.2, 22.2, 47.2, 100] as const;
const ZONES = { MF: [0, 25], TRANSITION: [25, 50], EF: [50, 100] } as const;
/** The largest k that an axis has, and more where a network is wider. */
const LARGEST = 1024;
/** Two ticks, needles with a label, or a needle and a zone's name that are nearer than this lie on
 * each other, in percent. */
const [CLOSE, CLOSE_LABELS, CLOSE_NAME] = [16, 32, 9] as const;
/** A narrower zone has no room for its name, nor one that is narrower than its letters, in percent. */
const [NAMED, LETTER] = [6, 1.5] as const;

/** The place of k on the axis, in percent: within the zone that it belongs to. */
export function place(k: number, c: number, largest: number): number {
  const between = (from: number, to: number, low: number, high: number) => {
    if (to <= from) return high;
    const share = Math.log(Math.max(k, 1) / from) / Math.log(to / from);
    return low + Math.max(0, Math.min(1, share)) * (high - low);
  };
  if (k <= c) return between(1, c, ONE, MINIMAL);
  if (k <= 2 * c) return between(c, 2 * c, ZONES.TRANSITION[0], TWICE);
  return between(2 * c, largest, ZONES.EF[0], END);
}

/** Where a frame's needle stands: on the axis, in the block of LAZY, or nowhere. */
function state(run: Run, frame: Frame | null): "axis" | "lazy" | "none" {
  const regime = frame?.labels.regime;
  if (regime === "LAZY") return "lazy";
  return regime === "UNTRAINED" || Number.isNaN(usedOf(run, frame)) ? "none" : "axis";
}

export class Gauge {
  readonly root: HTMLElement;
  readonly #zones = {
    MF: h("span", { class: "fsw-zone", "data-regime": "MF" }, "MF"),
    TRANSITION: h("span", { class: "fsw-zone", "data-regime": "TRANSITION" }, "transition"),
    EF: h("span", { class: "fsw-zone", "data-regime": "EF" }, "EF"),
  };
  readonly #lazy = h("span", { class: "fsw-zone", "data-regime": "LAZY" }, "LAZY");
  readonly #beyond = h("span", { class: "fsw-zone fsw-beyond" });
  readonly #needle = h("span", { class: "fsw-needle" });
  /** A needle for each seed. */
  readonly #seeds = h("span", { class: "fsw-seeds" });
  readonly #whisker = h("span", { class: "fsw-whisker" });
  readonly #ghost = h("span", { class: "fsw-needle fsw-needle-ghost" });
  readonly #label = h("span", { class: "fsw-needle-label" });
  readonly #ghostLabel = h("span", { class: "fsw-needle-label fsw-c-ghost" });
  readonly #axis = h("span", { class: "fsw-axis" });
  readonly #ticks = h("div", { class: "fsw-ticks" });
  readonly #scaled = memo();

  constructor() {
    const { MF, TRANSITION, EF } = this.#zones;
    const marks = [
      this.#whisker,
      this.#seeds,
      this.#ghost,
      this.#needle,
      this.#ghostLabel,
      this.#label,
    ];
    this.#axis.append(MF, TRANSITION, EF, this.#beyond);
    const on = h("span", { class: "fsw-marks" }, ...marks);
    this.root = h(
      "div",
      { class: "fsw-gauge", role: "meter", "aria-label": "Features in use, k95" },
      h("div", { class: "fsw-track", "aria-hidden": "true" }, this.#lazy, this.#axis, on),
      this.#ticks,
    );
    attribute(this.#ticks, "aria-hidden", "true");
    this.clear();
  }

  /** Before the first run: the axis alone. */
  clear(): void {
    this.#scaled([null], () => this.#scale("", 10, LARGEST, LARGEST));
    attribute(this.root, "data-state", "none");
    this.#seeds.replaceChildren();
    for (const part of [this.#needle, this.#label, this.#ghost, this.#ghostLabel, this.#whisker]) {
      hide(part, true);
    }
    attribute(this.root, "aria-valuenow", 1);
    attribute(this.root, "aria-valuetext", "nothing learned yet");
  }

  /** `words` name the regime. */
  draw({ run, frame, ghost, ghostFrame, before }: Scene, words: string): void {
    const c = minimal(run);
    const p = run.info.numFeatures;
    const largest = Math.max(LARGEST, p, 4 * c, ghost?.info.numFeatures ?? 0);
    this.#scaled([c, p, largest, minimalName(run)], () =>
      this.#scale(minimalName(run), c, p, largest),
    );
    const now = state(run, frame);
    const { MF } = this.#zones;
    const first = lowest(run, frame);
    attribute(MF, "data-regime", first);
    setText(MF, first === "MF" ? first : "");
    const used = frame.scalars.used_features ?? Number.NaN;
    attribute(this.root, "data-state", now === "none" ? "none" : (frame.labels.regime ?? ""));
    this.#mark(
      this.#needle,
      this.#label,
      now,
      place(used, c, largest),
      `k95 ${count(usedOf(run, frame))}`,
    );
    this.#seeds.replaceChildren(
      ...(now === "axis" ? usedBySeed(frame) : []).map((k) =>
        h("span", { class: "fsw-needle-seed", style: `left: ${place(k, c, largest)}%` }),
      ),
    );
    const error = frame.scalars.used_features_error ?? 0;
    hide(this.#whisker, now !== "axis" || !(error > 0));
    const [from, to] = [used - error, used + error].map((k) => place(k, c, largest));
    this.#whisker.style.left = `${from}%`;
    this.#whisker.style.width = `${(to ?? 0) - (from ?? 0)}%`;
    const then = ghost && ghostFrame ? state(ghost, ghostFrame) : "none";
    const was = ghostFrame?.scalars.used_features ?? Number.NaN;
    const [x, y] = [place(used, c, largest), place(was, c, largest)];
    this.#mark(this.#ghost, this.#ghostLabel, then, y, before || "before");
    // Two labels at one place: that of the run before steps aside.
    const close = now === then && (now === "lazy" || Math.abs(x - y) < CLOSE_LABELS);
    attribute(this.#ghostLabel, "data-aside", close ? (y <= x ? "left" : "right") : null);
    const needles = [now === "axis" ? x : -1, then === "axis" ? y : -1];
    for (const [name, [from]] of Object.entries(ZONES)) {
      // A needle on a zone's name: that stands at the zone's other end.
      const covered = needles.some((at) => at > from && at < from + CLOSE_NAME);
      attribute(this.#zones[name as keyof typeof ZONES], "data-aside", covered);
    }
    this.#describe(words, now === "none" ? Number.NaN : used, c, p);
  }

  #mark(
    needle: HTMLElement,
    label: HTMLElement,
    where: ReturnType<typeof state>,
    x: number,
    text: string,
  ): void {
    for (const part of [needle, label]) {
      hide(part, where === "none");
      attribute(part, "data-where", where);
      part.style.left = where === "axis" ? `${x}%` : "";
    }
    setRich(label, text);
  }

  #describe(words: string, used: number, c: number, p: number): void {
    const known = Number.isFinite(used);
    const text = known
      ? `${words}: ${Math.round(used)} features in use; up to ${c} is minimal`
      : words;
    attribute(this.root, "aria-valuemin", 1);
    attribute(this.root, "aria-valuemax", p);
    attribute(this.root, "aria-valuenow", known ? Math.round(used) : 1);
    attribute(this.root, "aria-valuetext", text);
    attribute(this.root, "title", text);
  }

  /** Zones up to p; what cannot be is hatched. */
  #scale(name: string, c: number, p: number, largest: number): void {
    const end = place(p, c, largest);
    for (const [name, [from, to]] of Object.entries(ZONES)) {
      const zone = this.#zones[name as keyof typeof ZONES];
      const width = Math.max(0, Math.min(to, end) - from);
      zone.style.left = `${from}%`;
      zone.style.width = `${width}%`;
      hide(zone, width === 0);
      attribute(zone, "data-narrow", width < Math.max(NAMED, LETTER * name.length));
    }
    this.#beyond.style.left = `${end}%`;
    this.#beyond.style.width = `${100 - end}%`;
    hide(this.#beyond, end >= 100);
    const few = p < c ? ` < ${name} = ${c}` : p === c ? ` = ${name}` : "";
    const ticks: [number, string][] = [
      [1, "1"],
      [c, `${name} = ${c}`],
      [2 * c, String(2 * c)],
      [p, `p = ${p}${few}`],
    ];
    const shown = ticks.filter(
      ([k], at) => at === 3 || (k < p && end - place(k, c, largest) > CLOSE),
    );
    this.#ticks.replaceChildren(
      ...(name ? shown : []).map(([k, label]) =>
        h("span", { style: `left: ${place(k, c, largest)}%` }, label),
      ),
    );
  }
}
