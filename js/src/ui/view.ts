// One view of a model: the panels, what the user has chosen, and when to draw.

import { type Bokeh, loadBokeh } from "../bokeh/runtime";
import { Runs } from "../controls/runs";
import { Scrubber } from "../controls/scrubber";
import { controls } from "../controls/settings";
import { presets, trainer } from "../controls/trainer";
import {
  type Choices,
  DEBIASED,
  frameAt,
  indexOf,
  lowRankOf,
  type Scene,
  type Style,
} from "../data/scene";
import type { Change, FileMessage, Store } from "../data/store";
import type { Frame } from "../data/wire";
import { attribute, button, Cleanup, h, hide, setText } from "../host/dom";
import {
  assign,
  type Buffer,
  flag,
  json,
  listen,
  type Model,
  number,
  type Progress,
  text,
} from "../host/model";
import { surroundingTheme, type Theme, watchTheme } from "../host/theme";
import { CumulativePanel } from "../panels/cumulative";
import { ExtremesPanel } from "../panels/extremes";
import { HistoryPanel } from "../panels/history";
import { LayersPanel } from "../panels/layers";
import type { Host, Panel } from "../panels/panel";
import { ProjectionsPanel } from "../panels/projections";
import { RegimeView } from "../panels/regime";
import { SpectrumPanel } from "../panels/spectrum";
import { download, saveMenu } from "./save";

/** A screen reader hears of a new frame no more often than this. */
const ANNOUNCE_MS = 2000;

const WELCOME =
  "Press Start. A network trains with these settings, and here you see its features form: how " +
  "strong each one is, how many the last layer uses, and where they place the samples. Then move " +
  "a control: the run starts anew, and the one before stays as a ghost to compare with.";

export class View {
  private readonly cleanup = new Cleanup();
  private readonly root = h("div", { class: "fswidget", "data-lm-suppress-shortcuts": "true" });
  private readonly status = h("div", { class: "fsw-sr", role: "status", "data-testid": "status" });
  private readonly problem = h("p", { class: "fsw-problem", role: "alert", hidden: true });
  private readonly empty = h("p", { class: "fsw-empty" });
  private readonly grid = h("div", { class: "fsw-grid" });
  private readonly bar = h("div", { class: "fsw-bar" });
  private readonly panels: Panel[];
  private readonly history: HistoryPanel;
  private readonly layers: LayersPanel;
  private readonly regime = new RegimeView();
  private readonly runs: Runs;
  private readonly scrubber: Scrubber;
  private readonly figures: { figures: Record<string, unknown>; style: Style };
  private choices: Choices = {
    k: 1, // e1 is often nearly constant: the plane of the next two shows more
    l: 2,
    heldOut: false,
    relative: true,
    log: true,
    errorBands: true,
    // Of these a run shows what it has: accuracies of classes, R² of a regression.
    scalars: [DEBIASED, "test_accuracy", "train_accuracy", "test_r2", "train_r2", "loss"],
  };
  private theme: Theme = "light";
  private fitted = "";
  /** The progress of the run before, which is told less often than frames are. */
  private former: unknown;
  private stale = false;
  private busy = false;
  private presented = 0;
  private scene: Scene | null = null;
  private drawing: ReturnType<typeof setTimeout> | undefined;
  private announced = 0;
  private announcing: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly model: Model,
    private readonly store: Store,
    el: HTMLElement,
  ) {
    const { cleanup } = this;
    this.figures = json(model, "_figures", { figures: {}, style: {} as Style });
    const host = this.host();
    // Evaluating BokehJS takes a while: begin before there is something to draw. A panel reports it
    // if that fails.
    host.bokeh().catch(() => {});
    this.scrubber = new Scrubber(model, () => this.store.current, cleanup);
    this.runs = new Runs(model, store, () => this.redraw(), cleanup);
    this.history = new HistoryPanel(host);
    this.layers = new LayersPanel(host);
    this.panels = [
      new SpectrumPanel(host),
      new CumulativePanel(host),
      new ProjectionsPanel(host),
      new ExtremesPanel(host),
      this.history,
      this.layers,
    ];
    for (const panel of this.panels) cleanup.add(() => panel.dispose());
    hide(this.layers.root, true);
    this.build();
    this.attend();
    el.append(this.root);
    this.restyle();
    this.redraw();
  }

  dispose(): void {
    cancelAnimationFrame(this.presented);
    clearTimeout(this.drawing);
    clearTimeout(this.announcing);
    this.cleanup.run();
    this.root.remove();
  }

  private host(): Host {
    let bokeh: Promise<Bokeh> | undefined;
    return {
      model: this.model,
      style: this.figures.style,
      bokeh: () => (bokeh ??= loadBokeh(this.model.get("_bokehjs") as Buffer)),
      figure: (name) => structuredClone(this.figures.figures[name]),
      choose: (choices) => {
        this.choices = { ...this.choices, ...choices };
        this.redraw();
      },
      goTo: (seq) => this.scrubber.look(seq),
      redraw: () => this.redraw(),
      announce: (words) => this.announce(words),
      fail: (error) => this.fail(error),
    };
  }

  private command = (name: string, value?: unknown): void => {
    this.store.send({
      type: "command",
      name,
      ...(value === undefined ? {} : { value }),
    });
  };

  private build(): void {
    const { model, cleanup, panels } = this;
    const trainable = flag(model, "_can_train");
    const captions = h("input", { type: "checkbox", checked: flag(model, "captions", true) });
    cleanup.on(captions, "change", () => assign(model, "captions", captions.checked));
    const showCaptions = () => {
      captions.checked = flag(model, "captions", true);
      this.root.classList.toggle("fsw-quiet", !captions.checked);
    };
    cleanup.add(listen(model, { "change:captions": showCaptions }));
    showCaptions();
    const save = saveMenu(
      {
        scene: () => this.scene,
        panels,
        command: this.command,
        hasKernel: () => typeof model.send === "function",
        fail: (error) => this.fail(error),
      },
      cleanup,
    );
    const reset = () => {
      this.fitAxes();
      this.runs.reset();
    };
    const axes = button("Fit axes", "Let the axes shrink to what is shown now");
    cleanup.on(axes, "click", () => {
      this.fitAxes();
      this.redraw();
    });
    const settings = trainable ? controls(model, cleanup) : null;
    const steers = trainable || flag(model, "_can_control");
    const side = h(
      "div",
      { class: "fsw-side" },
      trainer(model, this.command, reset, cleanup),
      trainable ? presets(model, this.command, cleanup) : null,
      settings?.main ?? null,
    );
    this.grid.append(...panels.map((panel) => panel.root));
    this.bar.append(
      this.scrubber.root,
      h(
        "div",
        { class: "fsw-row" },
        this.runs.root,
        save,
        axes,
        h("label", { class: "fsw-inline" }, captions, "captions"),
      ),
    );
    this.root.append(
      this.problem,
      h(
        "div",
        { class: steers ? "fsw-top fsw-steered" : "fsw-top" },
        this.empty,
        this.regime.root,
        steers ? side : null,
      ),
      settings?.folded ?? "",
      this.bar,
      this.runs.banner,
      this.grid,
      this.status,
    );
  }

  private attend(): void {
    const { model, cleanup, store } = this;
    const redraw = () => this.redraw();
    cleanup.add(store.subscribe((change, file) => this.received(change, file)));
    cleanup.add(
      listen(model, {
        "change:shown": redraw,
        "change:run": () => {
          this.former = model.get("progress");
          this.redraw();
        },
        "change:state": redraw,
        "change:progress": redraw,
        "change:theme": () => this.restyle(),
      }),
    );
    cleanup.add(watchTheme(() => this.restyle()));
    // What was never scrolled to is on paper too.
    cleanup.on(window, "beforeprint", () => {
      for (const panel of this.panels) panel.inSight = true;
      this.redraw();
    });
    // The notebook's shortcuts (and VS Code's) must not fire while someone types or steps here.
    cleanup.on(this.root, "keydown keyup keypress", (event) => event.stopPropagation());
    cleanup.on<KeyboardEvent>(this.root, "keydown", (event) => {
      if (event.key !== "Escape") return;
      for (const open of this.root.querySelectorAll<HTMLDetailsElement>(
        "details.fsw-details[open]",
      )) {
        open.open = false;
        open.querySelector("summary")?.focus();
      }
    });
  }

  private received(change: Change, file?: FileMessage): void {
    if (change === "file" && file) download(file.name, new Blob([file.body], { type: file.mime }));
    else this.redraw();
  }

  private redraw(): void {
    this.stale = true;
    if (this.busy || this.cleanup.done.signal.aborted) return;
    this.busy = true;
    // Change now, paint in the next animation frame: Bokeh takes changes over in promises, and all
    // that changed comes on screen as one picture.
    this.drawing = setTimeout(() => {
      this.presented = requestAnimationFrame(() => {
        this.paint();
        this.busy = false;
        if (this.stale) this.redraw();
      });
      this.draw();
    });
  }

  private draw(): void {
    this.stale = false;
    const { model, root } = this;
    const scene = this.compose();
    this.scene = scene;
    const state = text(model, "state", "finished");
    attribute(root, "data-state", state);
    hide(this.empty, scene !== null);
    hide(this.regime.root, !scene);
    if (scene && this.grid.hidden) for (const panel of this.panels) panel.inSight = true;
    hide(this.grid, !scene);
    hide(this.bar, !scene);
    hide(this.runs.banner, !scene?.ghost);
    if (!scene) {
      const idle = flag(model, "_can_train") && state === "idle";
      const waiting =
        state === "running" ? "Waiting for the first frame …" : "Nothing to show yet.";
      setText(this.empty, idle ? WELCOME : waiting);
      return;
    }
    const { run, frame } = scene;
    if (this.fitted !== run.id) {
      // Another run has axes of its own, within which its ghost lies.
      this.fitted = run.id;
      this.fitAxes();
    }
    const layered = run.info.layers.length > 0;
    hide(this.layers.root, !layered);
    this.history.root.classList.toggle("fsw-wide", !layered);
    for (const panel of this.panels) {
      if (panel.inSight && !panel.root.hidden) panel.draw(scene);
    }
    this.regime.draw(scene);
    this.scrubber.draw(scene);
    attribute(root, "data-live", String(this.scrubber.following));
    this.announce(describe(frame));
  }

  /** The second half of a draw: see `Plot.paint`. */
  private paint(): void {
    if (!this.scene) return;
    const { run, frame } = this.scene;
    for (const panel of this.panels) panel.paint();
    attribute(this.root, "data-run", run.id);
    attribute(this.root, "data-frames", run.frames.length);
    const waits = (panel: Panel) => panel.inSight && !panel.root.hidden && panel.loading;
    if (!this.panels.some(waits)) attribute(this.root, "data-drawn", frame.seq);
  }

  private fitAxes(): void {
    for (const panel of this.panels) panel.resetRanges();
  }

  private compose(): Scene | null {
    const run = this.store.current;
    if (!run?.frames.length) return null;
    const shown = number(this.model, "shown", -1);
    const index = shown < 0 ? run.frames.length - 1 : indexOf(run, shown);
    const frame = run.frames[index];
    if (!frame) return null;
    const ghost = this.runs.ghost(run.id);
    const progress = (this.model.get("progress") ?? {}) as Progress;
    const here = run.id === text(this.model, "run") && progress !== this.former;
    return {
      run,
      index,
      frame,
      ghost,
      ghostFrame: ghost ? frameAt(ghost, frame.epoch) : null,
      choices: this.choices,
      theme: this.theme,
      colors: this.figures.style.themes[this.theme],
      epochs: (here && progress.epochs) || 0,
    };
  }

  private restyle(): void {
    const wanted = text(this.model, "theme", "auto");
    this.theme = wanted === "light" || wanted === "dark" ? wanted : surroundingTheme();
    attribute(this.root, "data-theme", this.theme);
    for (const [role, color] of Object.entries(
      this.figures.style.themes?.[this.theme]?.roles ?? {},
    )) {
      this.root.style.setProperty(`--fsw-${role.toLowerCase()}`, color);
    }
    this.redraw();
  }

  /** Say something to a screen reader: at most every two seconds, the newest only. */
  private announce(words: string): void {
    clearTimeout(this.announcing);
    const wait = Math.max(0, this.announced + ANNOUNCE_MS - Date.now());
    this.announcing = setTimeout(() => {
      this.announced = Date.now();
      setText(this.status, words);
    }, wait);
  }

  private fail(error: unknown): void {
    console.error(error);
    hide(this.problem, false);
    setText(
      this.problem,
      `The figures cannot be drawn: ${error instanceof Error ? error.message : error}`,
    );
  }
}

function describe(frame: Frame): string {
  const { epoch, labels, scalars } = frame;
  const { label, name } = lowRankOf(frame);
  const value = scalars[name] === undefined ? "" : `, ${label} ${scalars[name].toFixed(2)}`;
  return `Epoch ${Number(epoch.toFixed(1))}: regime ${labels.regime ?? "unknown"}${value}`;
}
