// A card with a figure in it: title, tools, the figure, its legend and its caption.

import { Plot, type Roles } from "../bokeh/plot";
import type { Bokeh } from "../bokeh/runtime";
import type { Choices, Scene, Style } from "../data/scene";
import { attribute, button, Cleanup, h } from "../host/dom";
import type { Model } from "../host/model";

/** What the view offers to its panels. */
export interface Host {
  model: Model;
  style: Style;
  bokeh(): Promise<Bokeh>;
  /** The declaration of a figure. */
  figure(name: string): unknown;
  choose(choices: Partial<Choices>): void;
  goTo(seq: number): void;
  /** Ask for a draw of every panel that has something new. */
  redraw(): void;
  announce(text: string): void;
  fail(error: unknown): void;
}

export interface PanelText {
  name: string;
  title: string;
  caption: string;
}

export abstract class Panel {
  readonly root: HTMLElement;
  readonly tools = h("div", { class: "fsw-tools" });
  readonly body = h("div", { class: "fsw-body" });
  readonly legend = h("div", { class: "fsw-legend" });
  protected readonly cleanup = new Cleanup();
  /** Out of sight, a panel draws nothing. */
  inSight = true;

  constructor(
    protected readonly host: Host,
    readonly text: PanelText,
  ) {
    const { name, title, caption } = text;
    const heading = `fsw-${name}-${Math.random().toString(36).slice(2, 8)}`;
    const enlarge = button("⤢", "Enlarge", { class: "fsw-icon", "aria-label": "Enlarge" });
    this.root = h(
      "section",
      { class: "fsw-panel", "data-panel": name, "aria-labelledby": heading },
      h("header", {}, h("h3", { id: heading }, title), this.tools, enlarge),
      this.body,
      this.legend,
      h("p", { class: "fsw-caption" }, caption),
    );
    this.cleanup.on(enlarge, "click", () => {
      const large = this.root.classList.toggle("fsw-large");
      const label = large ? "Shrink" : "Enlarge";
      attribute(enlarge, "aria-label", label);
      attribute(enlarge, "title", label);
      enlarge.textContent = large ? "⤡" : "⤢";
      this.resized(large);
      this.host.redraw();
    });
    if (typeof IntersectionObserver !== "undefined") {
      const observer = new IntersectionObserver((entries) => {
        const before = this.inSight;
        this.inSight = entries.at(-1)?.isIntersecting ?? true;
        if (this.inSight && !before) this.host.redraw();
      });
      observer.observe(this.root);
      this.cleanup.add(() => observer.disconnect());
    }
  }

  /** Show a scene; called at most once an animation frame, and only in sight. */
  abstract draw(scene: Scene): void;

  /** Put on screen what `draw` has prepared; a task later. */
  paint(): void {}

  /** Whether something is still to come before this panel shows its scene. */
  get loading(): boolean {
    return false;
  }

  protected resized(_large: boolean): void {}

  /** Forget how far the axes have grown. */
  resetRanges(): void {}

  /** The figure for "save as picture", where there is one. */
  get plot(): Plot | null {
    return null;
  }

  dispose(): void {
    this.cleanup.run();
  }
}

/** A panel around one Bokeh figure. */
export abstract class FigurePanel extends Panel {
  protected current: Plot | null = null;
  /** The declaration that is to be shown, and the one that is. */
  private wanted: string | null = null;
  private embedded: string | null = null;
  private styled = "";
  private disposed = false;
  protected abstract readonly roles: Roles;

  override get plot(): Plot | null {
    return this.current;
  }

  /** Which declaration to show; another one replaces the figure. */
  protected figureName(_scene: Scene): string {
    return this.text.name;
  }

  constructor(host: Host, text: PanelText) {
    super(host, text);
    if (typeof ResizeObserver === "undefined") return;
    // What fits beside an axis depends on the figure's width.
    const observer = new ResizeObserver(() => host.redraw());
    observer.observe(this.body);
    this.cleanup.add(() => observer.disconnect());
  }

  protected abstract fill(plot: Plot, scene: Scene): void;

  /** Called once a figure is in place. */
  protected ready(_plot: Plot): void {}

  draw(scene: Scene): void {
    const name = this.figureName(scene);
    if (this.wanted !== name) {
      this.wanted = name;
      void this.embed(name);
    }
    const plot = this.current;
    if (!plot || this.loading) return;
    plot.update(() => {
      if (this.styled !== scene.theme) {
        this.styled = scene.theme;
        plot.restyle(scene.colors, this.roles);
      }
      this.fill(plot, scene);
    });
  }

  override paint(): void {
    this.current?.paint();
  }

  override get loading(): boolean {
    return this.current === null || this.embedded !== this.wanted;
  }

  override resetRanges(): void {
    this.current?.forget();
  }

  private async embed(name: string): Promise<void> {
    try {
      const bokeh = await this.host.bokeh();
      if (this.disposed || this.wanted !== name) return;
      this.current?.dispose();
      this.current = null;
      const target = h("div", { class: "fsw-figure" });
      this.body.querySelector(":scope > .fsw-figure")?.remove();
      this.body.prepend(target);
      const plot = await Plot.create(bokeh, this.host.figure(name), target);
      if (this.disposed || this.wanted !== name) {
        plot.dispose();
        target.remove();
        return;
      }
      this.current = plot;
      this.embedded = name;
      this.styled = "";
      this.ready(plot);
      this.host.redraw();
    } catch (error) {
      if (!this.disposed) this.host.fail(error);
    }
  }

  override dispose(): void {
    this.disposed = true;
    this.current?.dispose();
    this.current = null;
    super.dispose();
  }
}

/** An entry of a legend: a stroke in the figure's colour and dash, and what it stands for. */
export function legendItem(role: string, dash: string, label: string): HTMLElement {
  return h(
    "span",
    { class: "fsw-key" },
    h("span", { class: `fsw-stroke fsw-${dash}`, "data-role": role, "aria-hidden": "true" }),
    label,
  );
}
