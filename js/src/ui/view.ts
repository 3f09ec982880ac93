// One view of a model: what the user has chosen, and when to draw.

import { Range } from "../bokeh/ranges";
import { type Bokeh, loadBokeh } from "../bokeh/runtime";
import { Runs } from "../controls/runs";
import { Scrubber } from "../controls/scrubber";
import { type Choices, frameAt, type Scene } from "../data/scene";
import { beyondSeeds } from "../data/seeds";
import type { Change, FileMessage, Store } from "../data/store";
import { retarget } from "../data/wire";
import { attribute, Cleanup, h, hide, setText } from "../host/dom";
import { watchKernel } from "../host/kernel";
import { assign, type Buffer, listen, type Model, type Progress, text } from "../host/model";
import { type Theme, watchTheme } from "../host/theme";
import type { Host, Panel } from "../panels/panel";
import { RegimeView } from "../panels/regime";
import { spokenFrame } from "../panels/words";
import { type Figures, figuresOf, restyle } from "./figures";
import { Layout } from "./layout";
import { Panels } from "./panels";
import { present, presets, questions } from "./presented";
import { download, saveMenu } from "./save";
import { Tour } from "./tour";

/** A screen reader hears of a new frame no more often than this. */
const ANNOUNCE_MS = 2000;

export class View {
  readonly #cleanup = new Cleanup();
  readonly #root = h("div", { class: "fswidget", "data-lm-suppress-shortcuts": "true" });
  readonly #status = h("div", { class: "fsw-sr", role: "status", "data-testid": "status" });
  readonly #problem = h("p", { class: "fsw-problem", role: "alert", hidden: true });
  readonly #panels: Panel[];
  readonly #places: Panels;
  readonly #regime: RegimeView;
  readonly #runs: Runs;
  readonly #scrubber: Scrubber;
  readonly #layout: Layout;
  readonly #tour: Tour;
  readonly #figures: Figures;
  #choices: Choices = {
    k: 1, // e1 is often nearly constant: the plane of the next two shows more
    l: 2,
    heldOut: false,
    target: 0,
    relative: true,
    log: true,
    logEpochs: false,
    errorBands: true,
    deep: false,
    each: false,
    scalars: [],
  };
  /** The connection to the kernel was lost, and nothing has come from it since. */
  #gone = false;
  #theme: Theme = "light";
  #large: Panel | null = null;
  #fitted = "";
  /** The progress of the run before, which is told less often than frames are. */
  #former: unknown;
  #stale = false;
  #busy = false;
  #presented = 0;
  #scene: Scene | null = null;
  #drawing: ReturnType<typeof setTimeout> | undefined;
  #announced = 0;
  #announcing: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly model: Model,
    private readonly store: Store,
    el: HTMLElement,
  ) {
    const cleanup = this.#cleanup;
    this.#figures = figuresOf(model);
    const host = this.#host();
    // Of these a run shows what it has: accuracies of classes, R² of a regression.
    this.#choices.scalars = Object.keys(this.#figures.style.curves ?? {});
    const redraw = () => this.#redraw();
    this.#scrubber = new Scrubber(model, () => this.store.current, redraw, cleanup);
    this.#runs = new Runs(model, store, redraw, cleanup);
    this.#regime = new RegimeView(this.#figures.words, this.#figures.style, cleanup);
    this.#places = new Panels(model, host);
    this.#panels = this.#places.all;
    const { extremes, layers } = this.#places;
    if (extremes && layers) hide(layers.root, true);
    for (const panel of this.#panels) cleanup.add(() => panel.dispose());
    this.#tour = new Tour(this.#root, this.#figures.words.tour, cleanup);
    this.#layout = this.#build();
    const { grid } = this.#layout;
    const parts = [this.#problem, presets(model, cleanup), grid, questions(model)];
    this.#root.append(...parts.filter((part) => part !== null), this.#status);
    this.#attend();
    el.append(this.#root);
    present(model, this.#root, this.#panels, redraw, cleanup);
    this.#enlarged();
    this.#restyle();
    this.#redraw();
  }

  dispose(): void {
    cancelAnimationFrame(this.#presented);
    clearTimeout(this.#drawing);
    clearTimeout(this.#announcing);
    this.#cleanup.run();
    this.#root.remove();
  }

  #host(): Host {
    let bokeh: Promise<Bokeh> | undefined;
    return {
      model: this.model,
      style: this.#figures.style,
      words: this.#figures.words,
      bokeh: () => (bokeh ??= loadBokeh(this.model.get("_bokehjs") as Buffer)),
      figure: (name) => structuredClone(this.#figures.figures[name]),
      choose: (choices) => {
        this.#choices = { ...this.#choices, ...choices };
        const { k, l } = this.#choices;
        if ("k" in choices || "l" in choices) assign(this.model, "axes", [k + 1, l + 1]);
        this.#redraw();
      },
      goTo: (frame) => this.#scrubber.look(frame),
      enlarge: (panel) => assign(this.model, "panel", panel?.name ?? ""),
      redraw: () => this.#redraw(),
      announce: (words) => this.#announce(words),
      fail: (error) => this.#fail(error),
    };
  }

  #command = (name: string, value?: unknown): void => {
    this.store.send({ type: "command", name, ...(value === undefined ? {} : { value }) });
  };

  #build(): Layout {
    const { model } = this;
    const cleanup = this.#cleanup;
    const panels = this.#panels;
    const regime = this.#regime;
    const runs = this.#runs;
    const scrubber = this.#scrubber;
    const save = saveMenu(
      {
        scene: () => this.#scene,
        panels,
        command: this.#command,
        hasKernel: () => typeof model.send === "function" && !this.#gone,
        fail: (error) => this.#fail(error),
      },
      cleanup,
    );
    const parts = { model, panels, regime, runs, scrubber, save, command: this.#command };
    const reset = () => {
      this.#fitAxes();
      this.#runs.reset();
    };
    const { welcome } = this.#figures.words;
    return new Layout({ ...parts, reset, tour: () => this.#tour.start(), welcome }, cleanup);
  }

  #attend(): void {
    const { model, store } = this;
    const cleanup = this.#cleanup;
    const redraw = () => this.#redraw();
    cleanup.add(store.subscribe((change, file) => this.#received(change, file)));
    const turn = () => {
      const [k = 2, l = 3] = (model.get("axes") ?? []) as number[];
      this.#choices = { ...this.#choices, k: k - 1, l: l - 1 };
      this.#redraw();
    };
    turn();
    cleanup.add(
      listen(model, {
        "change:epoch": redraw,
        "change:run": () => {
          this.#former = model.get("progress");
          this.#redraw();
        },
        "change:state": redraw,
        "change:progress": redraw,
        "change:_runs": redraw,
        "change:_controls": redraw,
        "change:_controls_now": redraw,
        "change:theme": () => this.#restyle(),
        "change:axes": turn,
        "change:panel": () => this.#enlarged(),
      }),
    );
    cleanup.add(
      watchKernel(model, () => {
        // Lost, or found again: what is asked for now is answered only in the second case.
        this.#gone = true;
        store.sync(text(model, "run"));
        this.#redraw();
      }),
    );
    cleanup.add(watchTheme(() => this.#restyle()));
    // What was never scrolled to is on paper too.
    cleanup.on(window, "beforeprint", () => {
      for (const panel of this.#panels) panel.inSight = true;
      this.#redraw();
    });
    // The notebook's shortcuts (and VS Code's) must not fire while someone types or steps here.
    cleanup.on(this.#root, "keydown keyup keypress", (event) => event.stopPropagation());
    cleanup.on<KeyboardEvent>(this.#root, "keydown", (event) => {
      if (event.key === "Escape") this.#escape();
    });
  }

  /** Close the innermost thing that is open. */
  #escape(): void {
    if (this.#tour.end() || this.#layout.fold() || this.#regime.explain(false)) return;
    if (this.#panels.some((panel) => panel.explain(false) || panel.tabulate(false))) return;
    const open = this.#root.querySelector<HTMLDetailsElement>("details.fsw-details[open]");
    if (open) {
      open.open = false;
      open.querySelector("summary")?.focus();
    } else {
      assign(this.model, "panel", "");
    }
  }

  /** Have the panel that was chosen fill the view, or none. */
  #enlarged(): void {
    const wanted = text(this.model, "panel");
    const panel = this.#panels.find(({ name }) => name === wanted) ?? null;
    if (panel === this.#large) return;
    this.#large = panel;
    const { extremes, layers } = this.#places;
    if (panel && (panel === layers || panel === extremes)) this.#choices.deep = panel === layers;
    for (const each of this.#panels) each.resize(each === panel);
    attribute(this.#layout.grid, "data-large", panel?.name ?? null);
    this.#redraw();
  }

  #received(change: Change, file?: FileMessage): void {
    this.#gone = false;
    if (change === "file" && file) download(file.name, new Blob([file.body], { type: file.mime }));
    else this.#redraw();
  }

  #redraw(): void {
    this.#stale = true;
    if (this.#busy || this.#cleanup.done.signal.aborted) return;
    this.#busy = true;
    // Change now, paint in the next animation frame: Bokeh takes changes over in promises, and all
    // that changed comes on screen as one picture.
    this.#drawing = setTimeout(() => {
      this.#presented = requestAnimationFrame(() => {
        this.#paint();
        this.#busy = false;
        if (this.#stale) this.#redraw();
      });
      this.#draw();
    });
  }

  #draw(): void {
    this.#stale = false;
    const { model } = this;
    const root = this.#root;
    const layout = this.#layout;
    const scene = this.#compose();
    this.#scene = scene;
    const state = text(model, "state", "finished");
    attribute(root, "data-state", state);
    layout.orphan(this.#gone, scene?.run.frames.length ?? 0);
    const beyond = scene ? beyondSeeds(this.#figures.style, scene) : "";
    this.#runs.draw(scene?.ghost ?? null, scene?.before ?? "", beyond);
    layout.settings?.compare(scene?.run ?? null, scene?.ghost ?? null);
    if (!this.#gone) layout.suggestion?.draw(scene?.run);
    layout.wait(scene ? null : state === "running" ? "Waiting for the first frame …" : "");
    if (!scene) this.#regime.clear();
    if (!scene) return;
    const { run, frame } = scene;
    if (this.#fitted !== run.id) {
      // Another run has axes of its own, within which its ghost lies.
      this.#fitted = run.id;
      this.#fitAxes();
    }
    const layered = run.info.layers.length > 0;
    const { extremes, layers } = this.#places;
    const deep = layered && (this.#choices.deep || !extremes);
    if (layers) hide(layers.root, !deep);
    if (extremes) {
      hide(extremes.root, deep && Boolean(layers));
      hide(extremes.layers, !layered || !layers);
    }
    for (const panel of this.#shown()) panel.draw(scene);
    this.#regime.draw(scene, beyond);
    this.#scrubber.draw(scene);
    attribute(root, "data-live", String(this.#scrubber.following));
    this.#announce(spokenFrame(this.#figures.style, this.#figures.words, run, frame));
  }

  /** The panels that somebody may be looking at. */
  #shown(): Panel[] {
    return this.#panels.filter(
      (panel) => panel.inSight && !panel.root.hidden && (!this.#large || this.#large === panel),
    );
  }

  /** The second half of a draw: see `Plot.paint`. */
  #paint(): void {
    if (!this.#scene) return;
    const { run, frame } = this.#scene;
    const shown = this.#shown();
    for (const panel of shown) panel.paint();
    this.#tour.moved();
    attribute(this.#root, "data-run", run.id);
    attribute(this.#root, "data-frames", run.frames.length);
    if (!shown.some(({ loading }) => loading)) attribute(this.#root, "data-drawn", frame.seq);
  }

  #fitAxes(): void {
    for (const panel of this.#panels) panel.resetRanges();
  }

  #compose(): Scene | null {
    const run = this.store.current;
    if (!run?.frames.length) return null;
    const index = this.#scrubber.place(run);
    const frame = run.frames[index];
    if (!frame) return null;
    const ghost = this.#runs.ghost(run.id);
    for (const of of [run, ghost]) if (of) of.info = retarget(of.info, this.#choices.target);
    const progress = (this.model.get("progress") ?? {}) as Progress;
    const here = run.id === text(this.model, "run") && progress !== this.#former;
    const last = Math.max(...[run, ghost].map((of) => of?.frames.at(-1)?.epoch ?? 0));
    const epochs = (here && progress.epochs) || 0;
    const open = here && !epochs && ["running", "paused"].includes(text(this.model, "state"));
    return {
      run,
      index,
      frame,
      ghost,
      ghostFrame: ghost ? frameAt(ghost, frame.epoch) : null,
      before: this.#runs.before(run, ghost),
      choices: this.#choices,
      theme: this.#theme,
      colors: this.#figures.style.themes[this.#theme],
      // Of a run that may go on for ever it is moved in steps: axes that stand still cost nothing.
      end: (open ? new Range(false, [0, 0]).include(last).bounds[1] : Math.max(last, epochs)) || 1,
      scale: Number(this.#root.style.getPropertyValue("--z")) || 1,
    };
  }

  #restyle(): void {
    this.#theme = restyle(this.#root, this.model, this.#figures.style);
    this.#redraw();
  }

  /** Say something to a screen reader: at most every two seconds, the newest only. */
  #announce(words: string): void {
    clearTimeout(this.#announcing);
    const wait = Math.max(0, this.#announced + ANNOUNCE_MS - Date.now());
    this.#announcing = setTimeout(() => {
      this.#announced = Date.now();
      setText(this.#status, words);
    }, wait);
  }

  #fail(error: unknown): void {
    console.error(error);
    hide(this.#problem, false);
    setText(
      this.#problem,
      `The figures cannot be drawn: ${error instanceof Error ? error.message : error}`,
    );
  }
}
