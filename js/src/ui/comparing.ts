// Several runs in one view: their curves in shared axes, their samples side by side, one scrubber.

import { type Bokeh, loadBokeh } from "../bokeh/runtime";
import { Scrubber } from "../controls/scrubber";
import {
  type Choices,
  lowRankOf,
  minimal,
  minimalName,
  type Scene,
  scalarOf,
  usedOf,
} from "../data/scene";
import type { Run, Store } from "../data/store";
import { retarget } from "../data/wire";
import { attribute, Cleanup, h, hide, setRich, setText } from "../host/dom";
import { type Buffer, flag, listen, type Model } from "../host/model";
import { type Theme, watchTheme } from "../host/theme";
import { type Compared, RanksPanel, TimePanel } from "../panels/overlay";
import type { Host, Panel } from "../panels/panel";
import { ProjectionsPanel } from "../panels/projections";
import { count, regimeName, regimeSaid, share } from "../panels/words";
import { type Figures, figuresOf, restyle } from "./figures";

export interface Part {
  title: string;
  store: Store;
}

/** Colours of the runs, by role; further ones are those of further curves. */
const COLORS = ["accent", "quality", "accuracy", "loss"];

export class Comparing {
  readonly #cleanup = new Cleanup();
  readonly #root = h("div", { class: "fswidget", "data-lm-suppress-shortcuts": "true" });
  readonly #grid = h("div", { class: "fsw-compare" });
  readonly #heads: {
    root: HTMLElement;
    swatch: HTMLElement;
    label: HTMLElement;
    told: HTMLElement;
  }[];
  readonly #problem = h("p", { class: "fsw-problem", role: "alert", hidden: true });
  readonly #overlays: Panel[];
  readonly #samples: Panel[];
  readonly #scrubber: Scrubber;
  readonly #figures: Figures;
  #choices: Choices = {
    ...{ k: 1, l: 2, target: 0, heldOut: false, relative: true, log: true, logEpochs: false },
    ...{ errorBands: false, deep: false, each: false, scalars: [] },
  };
  #all: Compared[] = [];
  #theme: Theme = "light";
  #large: Panel | null = null;
  #drawing: ReturnType<typeof setTimeout> | undefined;
  #presented = 0;

  constructor(
    private readonly model: Model,
    private readonly parts: Part[],
    el: HTMLElement,
  ) {
    const cleanup = this.#cleanup;
    this.#figures = figuresOf(model);
    const redraw = () => this.#redraw();
    const all = () => this.#all;
    this.#scrubber = new Scrubber(model, () => this.#longest(), redraw, cleanup);
    const host = this.#host();
    this.#overlays = [
      new RanksPanel(host, "spectrum", all),
      new RanksPanel(host, "cumulative", all),
      new TimePanel(host, all),
    ];
    this.#samples = parts.map(({ title }) => new ProjectionsPanel(this.#named(host, title)));
    this.#heads = parts.map(({ title }) => head(title));
    for (const panel of this.#panels) {
      panel.captioned = flag(model, "captions", true);
      cleanup.add(() => panel.dispose());
    }
    this.#build();
    for (const { store } of parts) cleanup.add(store.subscribe(redraw));
    cleanup.add(listen(model, { "change:epoch": redraw, "change:theme": () => this.#restyle() }));
    cleanup.add(watchTheme(() => this.#restyle()));
    cleanup.on(this.#root, "keydown keyup keypress", (event) => event.stopPropagation());
    cleanup.on<KeyboardEvent>(this.#root, "keydown", ({ key }) => {
      if (
        key !== "Escape" ||
        this.#panels.some((panel) => panel.explain(false) || panel.tabulate(false))
      )
        return;
      this.#enlarge(null);
    });
    el.append(this.#root);
    this.#restyle();
  }

  dispose(): void {
    clearTimeout(this.#drawing);
    cancelAnimationFrame(this.#presented);
    this.#cleanup.run();
    this.#root.remove();
  }

  get #panels(): Panel[] {
    return [...this.#overlays, ...this.#samples];
  }

  #host(): Host {
    let bokeh: Promise<Bokeh> | undefined;
    const { figures, style, words } = this.#figures;
    return {
      model: this.model,
      style,
      words,
      bokeh: () => (bokeh ??= loadBokeh(this.model.get("_bokehjs") as Buffer)),
      // Lines of several colours are drawn as those of the history are.
      figure: (name) => structuredClone(figures[name === "projections" ? name : "history"]),
      choose: (choices) => {
        this.#choices = { ...this.#choices, ...choices };
        this.#redraw();
      },
      goTo: (frame) => this.#scrubber.look(frame),
      enlarge: (panel) => this.#enlarge(panel),
      redraw: () => this.#redraw(),
      announce: () => {},
      fail: (error) => {
        console.error(error);
        hide(this.#problem, false);
        setText(this.#problem, `The figures cannot be drawn: ${error}`);
      },
    };
  }

  /** The same for the samples of one run, which are called by its name. */
  #named(host: Host, title: string): Host {
    const [, caption = ""] = host.words.panels.projections ?? [];
    const panels = { ...host.words.panels, projections: [title, caption] as [string, string] };
    return { ...host, words: { ...host.words, panels } };
  }

  #build(): void {
    const row = (kind: string, parts: HTMLElement[]) => {
      const made = h("div", { class: `fsw-compare-row ${kind}` }, ...parts);
      made.style.setProperty("--n", String(parts.length));
      return made;
    };
    const heads = row(
      "fsw-heads",
      this.#heads.map(({ root }) => root),
    );
    attribute(heads, "role", "list");
    this.#grid.append(
      heads,
      row(
        "fsw-curves",
        this.#overlays.map(({ root }) => root),
      ),
      row(
        "fsw-samples",
        this.#samples.map(({ root }) => root),
      ),
      h("div", { class: "fsw-compare-bar" }, this.#scrubber.time, this.#scrubber.steps),
    );
    this.#root.append(this.#problem, this.#grid);
  }

  #longest(): Run | undefined {
    const end = (run: Run | undefined) => run?.frames.at(-1)?.epoch ?? -1;
    return this.parts
      .map(({ store }) => store.current)
      .reduce((best, run) => (end(run) > end(best) ? run : best), undefined);
  }

  #redraw(): void {
    if (this.#drawing !== undefined || this.#cleanup.done.signal.aborted) return;
    this.#drawing = setTimeout(() => {
      this.#drawing = undefined;
      this.#draw();
      cancelAnimationFrame(this.#presented);
      this.#presented = requestAnimationFrame(() => this.#paint());
    });
  }

  #draw(): void {
    const longest = this.#longest();
    const colors = this.#figures.style.themes[this.#theme];
    const palette = [...COLORS.flatMap((role) => colors.roles[role] ?? []), ...colors.lines];
    const all = this.parts.map(({ title, store }, at) => {
      const scene = store.current && this.#compose(store.current);
      return scene && { name: title, color: palette[at % palette.length] ?? "", scene };
    });
    if (!longest || all.some((one) => !one)) return;
    this.#all = all as Compared[];
    const lead = this.#all.find(({ scene }) => scene.run === longest)?.scene;
    if (!lead) return;
    for (const panel of this.#overlays) if (this.#isShown(panel)) panel.draw(lead);
    this.#samples.forEach((panel, at) => {
      const one = this.#all[at];
      if (one && this.#isShown(panel)) panel.draw(one.scene);
    });
    this.#scrubber.draw(lead);
    for (const [at, one] of this.#all.entries()) this.#tell(one, at);
    attribute(this.#root, "data-epoch", lead.frame.epoch);
  }

  /** Whether somebody may be looking at it. */
  #isShown(panel: Panel): boolean {
    return panel.inSight && (!this.#large || this.#large === panel);
  }

  #paint(): void {
    const shown = this.#panels.filter((panel) => this.#isShown(panel));
    for (const panel of shown) panel.paint();
    if (this.#all.length > 0 && !shown.some(({ loading }) => loading))
      attribute(this.#root, "data-drawn", this.#all.map(({ scene }) => scene.frame.seq).join(" "));
  }

  #compose(run: Run): Scene | null {
    const index = this.#scrubber.place(run);
    const frame = run.frames[index];
    if (!frame) return null;
    run.info = retarget(run.info, this.#choices.target);
    return {
      ...{ run, index, frame, ghost: null, ghostFrame: null, before: "", choices: this.#choices },
      ...{
        theme: this.#theme,
        colors: this.#figures.style.themes[this.#theme],
        end: this.#longest()?.frames.at(-1)?.epoch || 1,
        scale: 1,
      },
    };
  }

  /** What a run is now, beside its name. */
  #tell({ color, scene: { run, frame } }: Compared, at: number): void {
    const parts = this.#heads[at];
    if (!parts) return;
    const { style, words } = this.#figures;
    parts.swatch.style.background = color;
    setText(parts.label, regimeName(words, run, frame));
    attribute(parts.label, "title", regimeSaid(words, run, frame)[1]);
    const accuracy = frame.scalars.test_accuracy ?? frame.scalars.test_r2;
    const name = frame.scalars.test_accuracy === undefined ? "R²" : "acc.";
    const said = [
      `k95 ${count(usedOf(run, frame))}, ${minimalName(run)} = ${minimal(run)}`,
      `D_LR ${share(scalarOf(style, run, frame, lowRankOf(style, frame)))}`,
      ...(accuracy === undefined ? [] : [`test ${name} ${share(accuracy)}`]),
    ].join(" · ");
    if (parts.told.dataset.said === said) return;
    parts.told.dataset.said = said;
    setRich(parts.told, said);
  }

  #enlarge(panel: Panel | null): void {
    this.#large = panel;
    for (const each of this.#panels) each.resize(each === this.#large);
    attribute(this.#grid, "data-large", panel?.name ?? null);
    this.#redraw();
  }

  #restyle(): void {
    this.#theme = restyle(this.#root, this.model, this.#figures.style);
    this.#redraw();
  }
}

function head(title: string) {
  const swatch = h("span", { class: "fsw-swatch", "aria-hidden": "true" });
  const label = h("b");
  const told = h("p", { class: "fsw-c-dim" });
  const name = h("p", { class: "fsw-compare-name" }, swatch, h("span", { title }, title), label);
  return { root: h("div", { role: "listitem" }, name, told), swatch, label, told };
}
