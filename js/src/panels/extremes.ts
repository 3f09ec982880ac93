// What is eigenfunction k: the samples on which it is lowest and highest, now and before.

import { memo } from "../data/memo";
import type { Scene } from "../data/scene";
import type { Run } from "../data/store";
import { column, type RunInfo } from "../data/wire";
import { attribute, button, h, hide, setOptions, setText } from "../host/dom";
import { match, sameSamples } from "./before";
import { className, sampleName } from "./classes";
import { type Host, Panel, type Table } from "./panel";
import { eigen } from "./words";

/** Samples at each end. */
const COUNT = 8;

/** The pictures and the names of some samples in a row. */
class Row {
  readonly root = h("ol", { class: "fsw-faces" });
  readonly #items: { root: HTMLElement; canvas: HTMLCanvasElement; name: HTMLElement }[] = [];

  show(info: RunInfo, samples: number[], later: () => void): void {
    while (this.#items.length < COUNT) {
      const canvas = h("canvas", { "aria-hidden": "true" });
      const name = h("span");
      const root = h("li", {}, canvas, name);
      this.#items.push({ root, canvas, name });
      this.root.append(root);
    }
    this.#items.forEach(({ root, canvas, name }, place) => {
      const sample = samples[place];
      hide(root, sample === undefined);
      if (sample === undefined) return;
      hide(canvas, !info.pictures?.draw(canvas, sample, later));
      const text = className(info, info.labels[sample]);
      const own = sampleName(info, sample);
      setText(name, own.replace(/ mod .*/, "") || text);
      attribute(root, "title", [own, text].filter(Boolean).join(": "));
    });
    this.root.classList.toggle("fsw-pictured", info.pictures !== null);
  }
}

/** One end of an eigenfunction. */
class End {
  readonly now = new Row();
  readonly before = new Row();
  readonly #rule = h(
    "div",
    { class: "fsw-was fsw-c-ghost" },
    "before",
    h("span", { class: "fsw-dash", "aria-hidden": "true" }),
  );
  readonly root: HTMLElement;

  constructor(title: string) {
    this.before.root.classList.add("fsw-small");
    this.root = h(
      "div",
      { class: "fsw-end" },
      h("h4", {}, title),
      this.now.root,
      this.#rule,
      this.before.root,
    );
    this.compare(false);
  }

  compare(shown: boolean): void {
    hide(this.#rule, !shown);
    hide(this.before.root, !shown);
  }
}

export class ExtremesPanel extends Panel {
  readonly #which = h("select", { class: "fsw-mini", "aria-label": "Eigenfunction" });
  /** To the panel of layers, which stands in the same place. */
  readonly layers = button("layers", "Layer by layer", { class: "fsw-q" });
  readonly #without = h("span", { title: "Score of the network without this eigenfunction" });
  readonly #highest = new End("highest");
  readonly #lowest = new End("lowest");
  #follow = true;
  readonly #drawn = memo();
  #chosen = -1;
  #summary = "";

  constructor(host: Host) {
    super(host, "extremes");
    this.tools.append(this.#without, this.layers, this.#which);
    this.cleanup.on(this.layers, "click", () => host.choose({ deep: true }));
    this.body.append(this.#highest.root, this.#lowest.root);
    this.cleanup.on(this.#which, "change", () => {
      this.#follow = false;
      host.redraw();
    });
  }

  protected show({ run, frame, ghost, ghostFrame, choices }: Scene): void {
    const columns = frame.shapes.projections?.[1] ?? 0;
    setOptions(
      this.#which,
      Array.from({ length: columns }, (_, at) => [String(at), eigen(at)]),
    );
    const last = this.#chosen;
    this.#chosen = choices.k;
    if (last !== choices.k) this.#follow = true;
    const follows = String(Math.max(0, Math.min(choices.k, columns - 1)));
    if (this.#follow && this.#which.value !== follows) this.#which.value = follows;
    const k = Number(this.#which.value);
    setText(this.heading, `What is ${eigen(k)}?`);
    const left = frame.arrays.ablated_score?.[k] ?? Number.NaN;
    const without = Number.isFinite(left) ? `without it ${Math.round(100 * left)}%` : "";
    setText(this.#without, without);
    const other = sameSamples(run, ghost) ? ghostFrame : null;
    this.#drawn([frame, other, k], () => {
      const values = column(frame, "projections", k);
      if (!values) return;
      const { high, low } = extremes(values, COUNT);
      this.#fill(run, this.#highest, high, "now");
      this.#fill(run, this.#lowest, low, "now");
      this.#summary = [summarise(run.info, high, low), without].filter(Boolean).join(" ");
      const then = other && match(frame, other, k);
      const before = then ? extremes(then.values, COUNT) : null;
      this.#highest.compare(before !== null);
      this.#lowest.compare(before !== null);
      if (!before) return;
      this.#fill(run, this.#highest, before.high, "before");
      this.#fill(run, this.#lowest, before.low, "before");
    });
  }

  #fill({ info }: Run, end: End, samples: number[], row: "now" | "before"): void {
    end[row].show(info, samples, () => {
      this.#drawn.forget();
      this.host.redraw();
    });
  }

  protected table({ run, frame }: Scene): Table | null {
    const k = Number(this.#which.value);
    const values = column(frame, "projections", k);
    if (!values) return null;
    const { high, low } = extremes(values, COUNT);
    const row = (end: string) => (sample: number) => [
      ...[end, sample, className(run.info, run.info.labels[sample]), values[sample]],
    ];
    const rows = [...high.map(row("highest")), ...low.map(row("lowest"))];
    return { head: ["end", "sample", "class", eigen(k)], rows };
  }

  protected describe(): string {
    return this.#summary;
  }
}

/** “Highest: 1, 1, 4. Lowest: 0, 0, 9.” */
function summarise(info: RunInfo, high: number[], low: number[]): string {
  const names = (samples: number[]) =>
    samples.map((sample) => className(info, info.labels[sample])).join(", ");
  return `Highest: ${names(high)}. Lowest: ${names(low)}.`;
}

/** Places of the largest values, largest first, and of the smallest, smallest first. */
export function extremes(values: ArrayLike<number>, count: number) {
  const finite: number[] = [];
  for (let at = 0; at < values.length; at++) {
    if (Number.isFinite(values[at])) finite.push(at);
  }
  finite.sort((a, b) => (values[b] ?? 0) - (values[a] ?? 0));
  const ends = Math.min(count, Math.floor(finite.length / 2) || finite.length);
  return { high: finite.slice(0, ends), low: finite.slice(-ends).reverse() };
}
