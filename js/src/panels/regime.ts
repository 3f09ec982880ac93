// The regime: where k95 stands between minimal and extended features, and the evidence in words.

import { memo } from "../data/memo";
import { DEBIASED, lowRankOf, minimal, PLAIN, type Scene } from "../data/scene";
import type { Run } from "../data/store";
import type { Frame } from "../data/wire";
import { attribute, format, h, hide, setText } from "../host/dom";

const TITLES: Record<string, [title: string, meaning: string]> = {
  MF: ["Minimal features", "about as many features as outputs are in use"],
  EF: ["Extended features", "many more features are in use than the output needs"],
  TRANSITION: ["In transition", "between minimal and extended features"],
  LAZY: ["Lazy", "the outputs learned while the features hardly moved"],
  CONSTANT: ["Constant", "the features or the outputs are the same for every sample"],
  UNTRAINED: ["Untrained", "nothing has been learned yet"],
};

/** What a low-rank measure's name says about how it was estimated. */
const ESTIMATES: Record<string, string> = {
  [DEBIASED]:
    "the bias of a finite probe is removed; the paper's plain estimate is among History's curves",
  [PLAIN]: "the paper's plain estimate, which a small probe makes too small",
};

export class RegimeView {
  readonly root: HTMLElement;
  private readonly title = h("span", { class: "fsw-title" });
  private readonly label = h("strong", { class: "fsw-regime-label" });
  private readonly meaning = h("span", { class: "fsw-faint" });
  private readonly confidence = h("span", { class: "fsw-confidence" });
  private readonly evidence = h("p", { class: "fsw-evidence" });
  private readonly zones = {
    MF: h("span", { class: "fsw-zone", "data-regime": "MF" }, "MF"),
    TRANSITION: h("span", { class: "fsw-zone", "data-regime": "TRANSITION" }),
    EF: h("span", { class: "fsw-zone", "data-regime": "EF" }, "EF"),
  };
  private readonly needle = h("span", { class: "fsw-needle" });
  private readonly whisker = h("span", { class: "fsw-whisker" });
  private readonly ghost = h("span", { class: "fsw-needle fsw-needle-ghost", hidden: true });
  private readonly ticks = h("div", { class: "fsw-ticks", "aria-hidden": "true" });
  private readonly gauge: HTMLElement;
  private readonly numbers = h("div", { class: "fsw-numbers", role: "list" });
  private readonly drawn = memo();
  private readonly scale = memo();

  constructor() {
    const { MF, TRANSITION, EF } = this.zones;
    const track = h(
      "div",
      { class: "fsw-track" },
      MF,
      TRANSITION,
      EF,
      this.whisker,
      this.ghost,
      this.needle,
    );
    this.gauge = h(
      "div",
      {
        class: "fsw-gauge",
        role: "meter",
        "aria-label": "Features in use, k95",
        "aria-valuenow": 1,
      },
      track,
      this.ticks,
    );
    this.root = h(
      "section",
      {
        class: "fsw-regime",
        "data-panel": "regime",
        "data-testid": "regime",
        "aria-label": "Regime",
      },
      h("div", { class: "fsw-regime-head" }, this.label, this.confidence, this.meaning, this.title),
      this.gauge,
      this.evidence,
      this.numbers,
    );
  }

  draw({ run, frame, ghostFrame, theme }: Scene): void {
    this.drawn([frame, ghostFrame, theme], () => this.show(run, frame, ghostFrame));
  }

  private show(run: Run, frame: Frame, ghostFrame: Frame | null): void {
    const { scalars, labels } = frame;
    const regime = labels.regime ?? "";
    const [title, meaning] = TITLES[regime] ?? [regime || "–", ""];
    attribute(this.root, "data-regime", regime);
    setText(
      this.label,
      title === "–" || regime === title ? title : `${title} (${shortRegime(regime)})`,
    );
    setText(this.title, run.info.title);
    setText(this.meaning, meaning);
    const sure = scalars.regime_confidence;
    setText(
      this.confidence,
      sure === undefined || Number.isNaN(sure) ? "" : `${Math.round(100 * sure)}% agreement`,
    );
    this.confidence.title =
      "Share of jackknife replicates (the measures with a part of the samples left out) that agree on the regime";
    setText(this.evidence, labels.evidence ?? "");
    const outputs = minimal(run) === run.info.numOutputs ? "C" : "d + 1";
    const before = ghostFrame?.scalars.used_features;
    const { label, name } = lowRankOf(frame);
    this.drawGauge(run.info.numFeatures, minimal(run), outputs, scalars, before);
    this.drawNumbers([
      [label, ...withError(scalars, name), `low-rank measure: 0 rich, 1 lazy; ${ESTIMATES[name]}`],
      ["k95", ...withError(scalars, "used_features"), "features that hold 95% of the utilization"],
      [outputs, format(minimal(run)), "", "features that the output needs at least"],
      [
        "moved",
        format(scalars.kernel_drift),
        "",
        "how far the kernel moved from the start, 1 − CKA",
      ],
      [
        "eff. rank",
        format(scalars.effective_rank),
        "",
        "exponential of the entropy of the eigenvalues",
      ],
    ]);
  }

  private drawGauge(
    features: number,
    outputs: number,
    name: string,
    scalars: Record<string, number>,
    before: number | undefined,
  ): void {
    // On a log axis from 1 to p, so that C, 2C and p keep apart at any width.
    const most = Math.max(features, 2 * outputs + 1, 4);
    const place = (k: number) => (100 * Math.log(Math.min(Math.max(k, 1), most))) / Math.log(most);
    this.scale([most, outputs, name], () => {
      const [c, cc] = [place(outputs), place(2 * outputs)];
      this.zones.MF.style.width = `${c}%`;
      this.zones.TRANSITION.style.width = `${cc - c}%`;
      this.zones.EF.style.width = `${100 - cc}%`;
      const ticks: [number, string][] = [
        [1, "1"],
        [outputs, `${name} = ${outputs}`],
      ];
      if (place(2 * outputs) - place(outputs) > 9) ticks.push([2 * outputs, String(2 * outputs)]);
      if (place(2 * outputs) < 90) ticks.push([most, String(most)]);
      this.ticks.replaceChildren(
        ...ticks.map(([k, label]) => h("span", { style: `left: ${place(k)}%` }, label)),
      );
    });
    const used = scalars.used_features;
    const known = used !== undefined && !Number.isNaN(used);
    hide(this.needle, !known);
    hide(this.whisker, !known);
    attribute(this.gauge, "aria-valuemin", 1);
    attribute(this.gauge, "aria-valuemax", most);
    attribute(this.gauge, "aria-label", "Features in use, k95");
    attribute(this.gauge, "aria-valuenow", known ? Math.round(used) : 1);
    const valueText = known
      ? `${Math.round(used)} features in use; up to ${outputs} is minimal`
      : "not known";
    attribute(this.gauge, "aria-valuetext", valueText);
    this.gauge.title = valueText;
    if (!known) return;
    this.needle.style.left = `${place(used)}%`;
    const error = scalars.used_features_error ?? 0;
    const [from, to] = [place(used - error), place(used + error)];
    hide(this.whisker, !(error > 0));
    this.whisker.style.left = `${from}%`;
    this.whisker.style.width = `${to - from}%`;
    hide(this.ghost, before === undefined || Number.isNaN(before));
    if (before !== undefined) this.ghost.style.left = `${place(before)}%`;
  }

  private drawNumbers(rows: [name: string, value: string, error: string, meaning: string][]): void {
    if (this.numbers.children.length !== rows.length) {
      this.numbers.replaceChildren(
        ...rows.map(([, , , meaning]) =>
          h("div", { role: "listitem", title: meaning }, h("span"), h("p", {}, h("b"), h("small"))),
        ),
      );
    }
    rows.forEach(([name, value, error], at) => {
      const { children } = this.numbers;
      for (const [tag, text] of [
        ["span", name],
        ["b", value],
        ["small", error && ` ± ${error}`],
      ] as const) {
        const part = children[at]?.querySelector(tag);
        if (part) setText(part, text);
      }
    });
  }
}

export function shortRegime(regime: string): string {
  return regime === "TRANSITION" ? "MF–EF" : regime;
}

function withError(scalars: Record<string, number>, name: string): [value: string, error: string] {
  const error = scalars[`${name}_error`] ?? 0;
  return [format(scalars[name]), error > 0 ? format(error, 1) : ""];
}
