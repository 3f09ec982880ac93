// Where everything stands: the headline on top, causes at the left, effects at the right, time below.

import { Experiments } from "../controls/experiments";
import { RegimeMap } from "../controls/map";
import type { Runs } from "../controls/runs";
import type { Scrubber } from "../controls/scrubber";
import { Settings } from "../controls/settings";
import { Suggestion } from "../controls/suggestions";
import { type Command, Trainer } from "../controls/trainer";
import {
  attribute,
  button,
  type Cleanup,
  disable,
  h,
  hide,
  iconButton,
  setText,
} from "../host/dom";
import { icon } from "../host/icons";
import { flag, type Model, names, number, onChange, specs } from "../host/model";
import type { Panel } from "../panels/panel";
import type { RegimeView } from "../panels/regime";

export interface Parts {
  model: Model;
  panels: Panel[];
  regime: RegimeView;
  runs: Runs;
  scrubber: Scrubber;
  save: HTMLElement;
  command: Command;
  reset: () => void;
  tour: () => void;
  welcome: string;
}

/** The element of the view, and the parts of it that go on changing. */
export class Layout {
  readonly grid = h("div", { class: "fsw-grid" });
  readonly welcome = h("div", { class: "fsw-welcome" });
  readonly banner = h("p", { class: "fsw-banner", role: "status", hidden: true });
  readonly drawer: HTMLElement;
  readonly settings: Settings | null;
  readonly suggestion: Suggestion | null;
  readonly trainer: Trainer;
  readonly #more = button("More…", "Further settings", {
    class: "fsw-q",
    "aria-expanded": "false",
    "aria-haspopup": "dialog",
  });
  readonly #branch = iconButton(
    "branch",
    "Branch here",
    "Branch here: begin a run from the state that is kept nearest to this epoch",
  );
  /** What stands below the settings: experiments, and further ones. */
  #others: HTMLElement | null = null;
  readonly #close: (() => boolean)[] = [];
  readonly #waiting = h("p", {}, "Nothing to show yet.");

  constructor(
    private readonly parts: Parts,
    private readonly cleanup: Cleanup,
  ) {
    const { model, command, reset, regime, panels } = parts;
    const trains = flag(model, "_can_train");
    // A sweep's controls swap recorded runs.
    const steers = trains || specs(model).length > 0;
    this.settings = steers ? new Settings(model, cleanup) : null;
    this.suggestion = trains ? new Suggestion(model, cleanup) : null;
    this.trainer = new Trainer(model, command, reset, cleanup);
    const shut = iconButton("x", "Close");
    this.drawer = h("div", { class: "fsw-card fsw-drawer", role: "dialog", hidden: true });
    attribute(this.drawer, "aria-label", "Further settings");
    if (this.settings) this.drawer.append(shut, this.settings.further);
    this.cleanup.on(shut, "click", () => this.#open(false));
    this.cleanup.on(this.#more, "click", () => this.#open(Boolean(this.drawer.hidden)));
    this.#close.push(() => this.#open(false));
    this.#more.append(icon("chev"));
    this.welcome.append(...this.#invite(trains));
    const rail = steers ? this.#rail() : null;
    this.grid.classList.toggle("fsw-railless", !rail);
    this.grid.append(regime.root);
    if (rail) this.grid.append(rail);
    attribute(regime.root, "data-part", "regime");
    this.grid.append(...this.#shown(panels), this.#bar(), this.welcome);
    this.grid.append(this.drawer, this.banner);
  }

  /** The panels in their places; where some were chosen, one beside the other. */
  #shown(panels: Panel[]): HTMLElement[] {
    const roots = panels.map(({ root }) => root);
    if (names(this.parts.model, "panels").length === 0) return roots;
    // These two stand in one place, one of them at a time.
    const both = ["extremes", "layers"].every((one) => panels.some(({ name }) => name === one));
    const places = panels.length - (both ? 1 : 0);
    const columns = places === 4 ? 2 : Math.min(places, 3);
    const chosen = h("div", { class: "fsw-chosen" }, ...roots);
    chosen.classList.toggle("fsw-faceless", !panels.some(({ name }) => name === "extremes"));
    chosen.style.setProperty("--columns", String(columns));
    return [chosen];
  }

  /** Fold what is open; whether there was something. */
  fold(): boolean {
    return this.#close.some((shut) => shut());
  }

  /** What stands in place of the panels while there is nothing to show. */
  wait(words: string | null): void {
    hide(this.welcome, words === null);
    attribute(this.grid, "data-empty", words !== null);
    if (words !== null) this.#waiting.textContent = words;
  }

  /** Say that there is no kernel any more, and leave alive only what needs none. */
  orphan(gone: boolean, frames: number): void {
    hide(this.banner, !gone);
    if (gone) setText(this.banner, `Kernel gone: showing the last ${frames} frames`);
    this.trainer.orphaned = gone;
    disable(this.#branch, gone);
    const { main, rows, further } = this.settings ?? {};
    for (const group of [main, rows, further, this.#others]) if (group) group.inert = gone;
    if (gone && this.suggestion) hide(this.suggestion.root, true);
  }

  #open(shown: boolean): boolean {
    if (shown === !this.drawer.hidden) return false;
    hide(this.drawer, !shown);
    attribute(this.#more, "aria-expanded", String(shown));
    if (!shown) this.#more.focus({ preventScroll: true });
    return true;
  }

  #invite(trains: boolean): HTMLElement[] {
    if (!trains) return [this.#waiting];
    const tour = button("Take the tour", "Five steps through what is on show", {
      class: "fsw-plain",
    });
    this.cleanup.on(tour, "click", this.parts.tour);
    return [h("h3", {}, "Press Start."), h("p", {}, this.parts.welcome), this.#waiting, tour];
  }

  #rail(): HTMLElement {
    const { model, command, runs } = this.parts;
    const play = (runs: number) => this.parts.scrubber.await(runs);
    const experiments = new Experiments(model, command, play, this.cleanup);
    const { row, card } = experiments;
    this.#close.push(() => {
      if (card.hidden) return false;
      experiments.close();
      return true;
    });
    const slot = h("div", { class: "fsw-slot" }, runs.key, this.suggestion?.root);
    const defaults = button("Defaults", "Set everything as it was at the start", {
      class: "fsw-q",
    });
    hide(defaults, !flag(model, "_can_train"));
    this.cleanup.on(defaults, "click", () => {
      experiments.forget();
      command("defaults");
    });
    const further = h("div", { class: "fsw-more fsw-inline" }, this.#more, defaults);
    attribute(further, "data-part", "further");
    attribute(row, "data-part", "experiment");
    const group = h("div", { class: "fsw-group fsw-more-group" }, row, further);
    this.#others = group;
    const trim = () => {
      hide(this.#more, Boolean(this.settings?.further.hidden));
      hide(
        group,
        [row, this.#more, defaults].every(({ hidden }) => hidden),
      );
    };
    trim();
    const told = ["hide", "_controls", "_controls_now", "_presets"];
    this.cleanup.add(onChange(model, told, trim));
    return h(
      "aside",
      { class: "fsw-rail", "aria-label": "Settings" },
      this.trainer.root,
      slot,
      this.settings?.main,
      RegimeMap.of(model, this.cleanup)?.root,
      this.settings?.rows,
      group,
      card,
    );
  }

  #bar(): HTMLElement {
    const { model, scrubber, runs, save, tour } = this.parts;
    const full = iconButton("full", "Full screen");
    const guide = iconButton("tour", "Guided tour");
    this.cleanup.on(guide, "click", tour);
    this.cleanup.on(full, "click", () => {
      const root = this.grid.closest(".fswidget");
      const place = this.grid.getRootNode() as Document | ShadowRoot;
      if (place.fullscreenElement) void document.exitFullscreen();
      else void root?.requestFullscreen?.().catch(() => hide(full, true));
    });
    hide(full, !document.fullscreenEnabled);
    this.cleanup.on(this.#branch, "click", () => this.parts.command("branch"));
    const branches = () => {
      const one = number(model, "num_frames") > 1 && number(model, "seeds", 1) < 2;
      hide(this.#branch, !flag(model, "_can_train") || !one);
    };
    branches();
    this.cleanup.add(onChange(model, ["num_frames", "seeds"], branches));
    const controls = flag(model, "_can_control") && !this.settings;
    const parts = { runs: runs.root, save, full, tour: guide };
    for (const [name, part] of Object.entries(parts)) attribute(part, "data-part", name);
    const acts = h(
      "div",
      { class: "fsw-acts" },
      scrubber.steps,
      this.#branch,
      h("span", { class: "fsw-space" }),
      controls ? this.trainer.root : null,
      runs.root,
      save,
      full,
      guide,
    );
    return h("div", { class: "fsw-bar" }, scrubber.time, acts);
  }
}
