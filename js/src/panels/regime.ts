// The headline: the regime in words, the gauge, and the numbers with what they were before.

import { memo } from "../data/memo";
import {
  isUndefined,
  lowRankOf,
  minimal,
  minimalName,
  regimeOf,
  type Scene,
  type Style,
  scalarOf,
  usedOf,
  type Words,
} from "../data/scene";
import type { Run } from "../data/store";
import type { Frame } from "../data/wire";
import { attribute, button, type Cleanup, h, hide, setRich, setText } from "../host/dom";
import { Gauge } from "./gauge";
import { count, provenance, regimeSaid, share } from "./words";

interface Cell {
  value: HTMLElement;
  error: HTMLElement;
  name: HTMLElement;
  was: HTMLElement;
  root: HTMLElement;
}

export class RegimeView {
  readonly root: HTMLElement;
  readonly #label = h("b", { class: "fsw-regime-label" });
  readonly #sure = h("span", { class: "fsw-sure" });
  readonly #why = button("", "The sentence behind the label", {
    class: "fsw-why",
    "aria-expanded": "false",
  });
  readonly #words = h("p", { class: "fsw-regime-words" });
  readonly #meaning = h("p");
  readonly #evidence = h("p", { class: "fsw-evidence" });
  readonly #dashes = h("p");
  readonly #beyond = h("p");
  readonly #title = h("p", { class: "fsw-c-dim" });
  readonly #card = h("div", { class: "fsw-card", role: "note", hidden: true });
  readonly #gauge = new Gauge();
  readonly #cells: Record<"k" | "c" | "d" | "moved", Cell>;
  readonly #drawn = memo();

  constructor(
    private readonly says: Words,
    private readonly style: Style,
    cleanup: Cleanup,
  ) {
    this.#cells = { k: cell(), c: cell("fsw-needed"), d: cell(), moved: cell() };
    this.#why.append(this.#sure, "why?");
    this.#card.append(this.#meaning, this.#evidence, this.#beyond, this.#dashes, this.#title);
    const head = h("div", { class: "fsw-regime-head" }, this.#label, this.#why, this.#words);
    const numbers = h("div", { class: "fsw-numbers", role: "list" });
    numbers.append(...Object.values(this.#cells).map(({ root }) => root));
    const named = { "data-panel": "regime", "data-testid": "regime", "aria-label": "Regime" };
    this.root = h(
      "section",
      { class: "fsw-strip", ...named },
      head,
      this.#gauge.root,
      numbers,
      this.#card,
    );
    cleanup.on(this.#why, "click", () => this.explain(Boolean(this.#card.hidden)));
    cleanup.on<PointerEvent>(document, "pointerdown", (event) => {
      const inside = [this.#card, this.#why].some((part) => event.composedPath().includes(part));
      if (!inside) this.explain(false);
    });
  }

  /** Open or close the sentence behind the label; whether there was something to do. */
  explain(open: boolean): boolean {
    if (open === !this.#card.hidden) return false;
    hide(this.#card, !open);
    attribute(this.#why, "aria-expanded", String(open));
    return true;
  }

  /** `beyond` tells whether the run differs from its ghost by more than seeds do. */
  draw(scene: Scene, beyond: string): void {
    const { run, frame, ghost, ghostFrame, before } = scene;
    this.#drawn([run, frame, ghost, ghostFrame, before], () => {
      this.#name(run, frame);
      this.#gauge.draw(scene, this.#words.textContent);
      this.#count(run, frame, ghost, ghost ? ghostFrame : null);
      setText(this.#beyond, beyond && `${beyond}.`);
    });
  }

  #name(run: Run, frame: Frame): void {
    const { scalars, labels } = frame;
    const state = regimeOf(run, frame);
    const [sign, words, meaning] = regimeSaid(this.says, run, frame);
    attribute(this.root, "data-regime", state);
    setText(this.#label, sign);
    const none = state === "UNDEFINED";
    const [c, p] = [minimal(run), run.info.numFeatures];
    const few = `${p > c ? "n" : "p"} ${run.info.directions < c ? "<" : "="} ${minimalName(run)}`;
    setText(this.#words, none ? `${words}: ${few}` : words);
    const evidence = (!none && labels.evidence) || "";
    // The evidence begins with what the regime means.
    setText(this.#meaning, evidence ? "" : meaning);
    setRich(this.#evidence, evidence);
    setText(this.#title, [run.info.title, provenance(run, frame)].filter(Boolean).join(" · "));
    const sure = scalars.regime_confidence ?? Number.NaN;
    const known = !Number.isNaN(sure) && sign !== "–";
    setText(this.#sure, known ? `${Math.round(100 * sure)}% · ` : "");
    attribute(this.#sure, "title", this.says.measures.agreement);
  }

  #count(run: Run, frame: Frame, ghost: Run | null, then: Frame | null): void {
    const { k, c, d, moved } = this.#cells;
    const undefined_ = isUndefined(run);
    const { scalars } = frame;
    const before = then?.scalars;
    const learned = isLearned(frame);
    const known = learned && !undefined_;
    const { measures } = this.says;
    const [, , meaning] = regimeSaid(this.says, run, frame);
    fill(k, "k95", known ? count(scalars.used_features) : "–", {
      error: known ? count(scalars.used_features_error) : "",
      was: ghost && then && isLearned(then) ? count(usedOf(ghost, then)) : undefined,
      meaning: measures[undefined_ ? "no_used_features" : "used_features"],
    });
    fill(c, `${minimalName(run).replaceAll(" ", "")} needed`, count(minimal(run)), {
      meaning: measures.needed,
    });
    const name = lowRankOf(this.style, frame);
    const value = scalarOf(this.style, run, frame, name);
    const missing = Number.isNaN(value);
    const was =
      ghost && then ? scalarOf(this.style, ghost, then, lowRankOf(this.style, then)) : undefined;
    fill(d, "D_LR", share(value), {
      error: missing ? "" : share(scalars[`${name}_error`]),
      was: share(was),
      meaning: missing && !learned ? meaning : measures[missing ? "no_low_rank_measure" : name],
    });
    // What stands as a dash says why where it can be read without a pointer, too.
    setText(this.#dashes, missing && learned ? `D_LR –: ${measures.no_low_rank_measure}` : "");
    fill(moved, "moved", share(scalars.kernel_drift), {
      was: before && share(before.kernel_drift),
      meaning: measures.kernel_drift,
    });
  }

  /** As before the first run: the axis is there, without colour and without a needle. */
  clear(): void {
    this.#drawn([null], () => {
      const [sign, words, meaning] = this.says.regimes.UNTRAINED ?? ["–", "", ""];
      attribute(this.root, "data-regime", "UNTRAINED");
      setText(this.#label, sign);
      setText(this.#words, words);
      setText(this.#meaning, meaning);
      for (const part of [this.#sure, this.#evidence, this.#beyond, this.#dashes, this.#title])
        setText(part, "");
      this.#gauge.clear();
      const { k, c, d, moved } = this.#cells;
      for (const [cell, name] of [
        [k, "k95"],
        [c, "C needed"],
        [d, "D_LR"],
        [moved, "moved"],
      ] as const) {
        fill(cell, name, "–", { meaning: undefined });
      }
    });
  }
}

function isLearned({ labels }: Frame): boolean {
  return !["UNTRAINED", "CONSTANT"].includes(labels.regime ?? "");
}

function cell(kind = ""): Cell {
  const [value, error, name, was] = [
    h("b"),
    h("small"),
    h("span"),
    h("span", { class: "fsw-c-ghost" }),
  ];
  const number = h("p", {}, value, error);
  const root = h(
    "div",
    { class: `fsw-cell ${kind}`, role: "listitem" },
    number,
    h("p", {}, name, " ", was),
  );
  return { value, error, name, was, root };
}

function fill(
  { value, error, name, was, root }: Cell,
  label: string,
  text: string,
  more: { error?: string; was?: string | undefined; meaning: string | undefined },
): void {
  setRich(name, label);
  setText(value, text);
  setText(error, more.error && more.error !== "–" ? ` ± ${more.error}` : "");
  setText(was, more.was && more.was !== "–" ? `was ${more.was}` : "");
  attribute(root, "title", more.meaning);
}
