// A part of the view with a title and tools; what it shows is said behind its "?".

import type { Bokeh } from "../bokeh/runtime";
import type { Choices, Scene, Style, Words } from "../data/scene";
import type { Frame } from "../data/wire";
import {
  attribute,
  button,
  Cleanup,
  format,
  h,
  hide,
  iconButton,
  rich,
  setText,
} from "../host/dom";
import { setIcon } from "../host/icons";
import type { Model } from "../host/model";

/** What the view offers to its panels. */
export interface Host {
  model: Model;
  style: Style;
  words: Words;
  bokeh(): Promise<Bokeh>;
  /** The declaration of a figure. */
  figure(name: string): unknown;
  choose(choices: Partial<Choices>): void;
  goTo(frame: Frame): void;
  /** Have one panel fill the view, or, with null, none. */
  enlarge(panel: Panel | null): void;
  /** Ask for a draw of every panel that has something new. */
  redraw(): void;
  announce(text: string): void;
  fail(error: unknown): void;
}

/** What a figure shows, as numbers. */
export interface Table {
  head: string[];
  rows: (string | number | undefined)[][];
}

/** Rows of a table at most: more of them nobody reads. */
const ROWS = 1000;

export abstract class Panel {
  readonly root: HTMLElement;
  readonly tools = h("div", { class: "fsw-tools" });
  readonly body = h("div", { class: "fsw-body" });
  protected readonly heading: HTMLElement;
  protected readonly cleanup = new Cleanup();
  readonly #sizing: HTMLButtonElement;
  readonly #help: HTMLButtonElement;
  readonly #card: HTMLElement;
  readonly #now = h("p", { class: "fsw-says" });
  readonly #caption = h("span");
  readonly #usual: string;
  readonly #numbers = button("Table of numbers (t)", "The same as a table; key t", {
    class: "fsw-plain",
  });
  #table: HTMLElement | null = null;
  readonly title: string;
  large = false;
  /** Out of sight, a panel draws nothing. */
  inSight = true;
  #scene: Scene | null = null;

  constructor(
    protected readonly host: Host,
    readonly name: string,
  ) {
    const [title = name, caption = ""] = host.words.panels[name] ?? [];
    this.title = title;
    this.#usual = caption;
    this.#caption.textContent = caption;
    const id = `fsw-${name}-${Math.random().toString(36).slice(2, 8)}`;
    this.heading = h("h3", { id }, title);
    this.#sizing = iconButton("grow", "Enlarge");
    this.#help = iconButton("help", "What does this show?", undefined, {
      "aria-expanded": "false",
    });
    this.#card = h(
      "div",
      { class: "fsw-card", role: "note", hidden: true },
      h("p", { class: "fsw-caption" }, h("b", {}, `${title}. `), this.#caption),
      this.#now,
      this.#numbers,
    );
    this.root = h(
      "section",
      { class: "fsw-panel", "data-panel": name, "aria-labelledby": id },
      h("header", {}, this.heading, this.tools, this.#help, this.#sizing),
      this.#card,
      this.body,
    );
    this.cleanup.on(this.#help, "click", () => this.explain(Boolean(this.#card.hidden)));
    this.cleanup.on(this.#numbers, "click", () => {
      this.explain(false);
      this.tabulate(true);
    });
    this.cleanup.on<KeyboardEvent>(this.root, "keydown", (event) => {
      const typing = event.target instanceof HTMLSelectElement || event.ctrlKey || event.metaKey;
      if (event.key === "t" && !typing) this.tabulate(this.#table === null);
    });
    this.cleanup.on(this.#sizing, "click", () => host.enlarge(this.large ? null : this));
    this.cleanup.on<PointerEvent>(document, "pointerdown", (event) => {
      const inside = [this.#card, this.#help].some((part) => event.composedPath().includes(part));
      if (!inside) this.explain(false);
    });
    if (typeof IntersectionObserver === "undefined") return;
    const observer = new IntersectionObserver((entries) => {
      const before = this.inSight;
      this.inSight = entries.at(-1)?.isIntersecting ?? true;
      if (this.inSight && !before) this.host.redraw();
    });
    observer.observe(this.root);
    this.cleanup.add(() => observer.disconnect());
  }

  /** Open or close the caption; whether there was something to do. */
  explain(open: boolean): boolean {
    if (open === !this.#card.hidden) return false;
    setText(this.#now, this.#scene ? this.describe(this.#scene) : "");
    hide(this.#card, !open);
    attribute(this.#help, "aria-expanded", String(open));
    return true;
  }

  /** Show what is on show as a table, or the figure again; whether there was something to do. */
  tabulate(open: boolean): boolean {
    if (open === (this.#table !== null)) return false;
    if (!open) {
      this.#table?.remove();
      this.#table = null;
      this.#help.focus({ preventScroll: true });
      return true;
    }
    const table = this.#scene && this.table(this.#scene);
    if (!table) return false;
    const close = iconButton("x", "Close the table", "Close the table (t)");
    const scroll = h("div", {
      tabindex: 0,
      role: "region",
      "aria-label": `${this.title}, numbers`,
    });
    this.#table = h("div", { class: "fsw-table" }, close, scroll);
    this.cleanup.on(close, "click", () => this.tabulate(false));
    this.#fillTable(table);
    this.body.append(this.#table);
    scroll.focus({ preventScroll: true });
    return true;
  }

  #fillTable({ head, rows }: Table): void {
    const cell = (value: string | number | undefined, at: number) => {
      const written = typeof value === "string" ? value : format(value, 4);
      return at === 0 ? h("th", { scope: "row" }, written) : h("td", {}, written);
    };
    const table = h(
      "table",
      {},
      h("thead", {}, h("tr", {}, ...head.map((name) => h("th", { scope: "col" }, ...rich(name))))),
      h("tbody", {}, ...rows.slice(0, ROWS).map((row) => h("tr", {}, ...row.map(cell)))),
    );
    this.#table?.lastElementChild?.replaceChildren(table);
  }

  /** Fill the view, or stand in its place again. */
  resize(large: boolean): void {
    if (this.large === large) return;
    this.large = large;
    this.root.classList.toggle("fsw-large", large);
    const label = large ? "Shrink" : "Enlarge";
    attribute(this.#sizing, "aria-label", label);
    attribute(this.#sizing, "title", large ? "Shrink (Escape)" : label);
    setIcon(this.#sizing, large ? "shrink" : "grow");
    this.resized(large);
  }

  /** Whether captions are offered. */
  set captioned(shown: boolean) {
    hide(this.#help, !shown);
    if (!shown) this.explain(false);
  }

  /** What the caption says; its usual words where nothing else is given. */
  set caption(words: string | undefined) {
    setText(this.#caption, words ?? this.#usual);
  }

  /** Show a scene; called at most once an animation frame, and only in sight. */
  draw(scene: Scene): void {
    this.#scene = scene;
    this.show(scene);
    const table = this.#table && this.table(scene);
    if (table) this.#fillTable(table);
  }

  protected abstract show(scene: Scene): void;

  /** What is on show, in a sentence with its numbers. */
  protected abstract describe(scene: Scene): string;

  /** The same as numbers. */
  protected abstract table(scene: Scene): Table | null;

  /** Put on screen what `draw` has prepared; a task later. */
  paint(): void {}

  /** Whether something is still to come before this panel shows its scene. */
  get loading(): boolean {
    return false;
  }

  protected resized(_large: boolean): void {}

  /** Forget how far the axes have grown. */
  resetRanges(): void {}

  /** A picture of the figure, where there is one. */
  image(_type: "png" | "svg", _title: string, _note: string): Promise<Blob> | null {
    return null;
  }

  dispose(): void {
    this.cleanup.run();
  }
}
