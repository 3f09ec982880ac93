// A panel around one Bokeh figure, with words on it and a card beside the pointer.

import { Plot, type Roles } from "../bokeh/plot";
import { memo } from "../data/memo";
import type { Scene } from "../data/scene";
import { attribute, button, h } from "../host/dom";
import { type Found, HoverCard } from "./card";
import { type Label, Labels, type Written } from "./labels";
import { type Host, Panel } from "./panel";
import { picture } from "./picture";

export abstract class FigurePanel extends Panel {
  protected current: Plot | null = null;
  protected readonly labels = new Labels();
  protected readonly hover: HoverCard;
  readonly #said = h("div", { class: "fsw-figure-text", role: "img" });
  /** The declaration that is to be shown, and the one that is. */
  #wanted: string | null = null;
  #embedded: string | null = null;
  readonly #styled = memo();
  #disposed = false;
  #shown: Scene | null = null;
  protected abstract readonly roles: Roles;

  constructor(host: Host, name: string) {
    super(host, name);
    this.body.append(this.#said, this.labels.root);
    this.hover = new HoverCard(
      this.body,
      (x, y) => {
        const { current } = this;
        const shown = this.#shown;
        return current && shown ? this.probe(current, shown, x, y) : null;
      },
      this.cleanup,
    );
    const fit = button("fit axes", "Let the axes shrink to what is on show now", {
      class: "fsw-q fsw-further",
    });
    this.cleanup.on(fit, "click", () => {
      this.resetRanges();
      host.redraw();
    });
    queueMicrotask(() => this.tools.append(fit));
    // Evaluating BokehJS and embedding a figure take a while: begin before there is something to
    // draw, but once the panel is made; not where another one stands in its place.
    queueMicrotask(() => this.#disposed || this.root.hidden || this.#want(name));
    if (typeof ResizeObserver === "undefined") return;
    // What fits beside an axis depends on the figure's size.
    const observer = new ResizeObserver(() => host.redraw());
    observer.observe(this.body);
    this.cleanup.add(() => observer.disconnect());
  }

  /** The drawing, for tests of the front end. */
  get plot(): Plot | null {
    return this.current;
  }

  /** Which declaration to show; another one replaces the figure. */
  protected figureName(_scene: Scene): string {
    return this.name;
  }

  protected abstract fill(plot: Plot, scene: Scene): void;

  /** The words on the figure; called after it was painted, when places are known. */
  protected abstract words(plot: Plot, scene: Scene): Label[];

  /** What is near a point of the body. */
  protected probe(_plot: Plot, _scene: Scene, _x: number, _y: number): Found | null {
    return null;
  }

  /** Whether a point of the body is on the frame, or hardly beside it. */
  protected within(plot: Plot, x: number, y: number): boolean {
    const { left, right, top, bottom } = plot.view.frame.bbox;
    return x >= left - 4 && x <= right + 4 && y >= top - 4 && y <= bottom + 4;
  }

  /** Called once a figure is in place. */
  protected ready(_plot: Plot): void {}

  protected show(scene: Scene): void {
    this.#want(this.figureName(scene));
    const plot = this.current;
    if (!plot || this.loading) return;
    this.#shown = scene;
    plot.update(() => {
      this.#styled([plot, scene.colors, scene.scale], () => {
        plot.restyle(scene.colors, this.roles, scene.scale);
      });
      this.fill(plot, scene);
    });
  }

  override paint(): void {
    const { current } = this;
    const shown = this.#shown;
    if (!current?.paint() || !shown) return;
    this.labels.show(this.words(current, shown));
    attribute(this.#said, "aria-label", this.describe(shown));
    this.hover.moved();
  }

  override get loading(): boolean {
    return this.current === null || this.#embedded !== this.#wanted;
  }

  override resetRanges(): void {
    this.current?.forget();
  }

  override image(type: "png" | "svg", title: string, note: string): Promise<Blob> | null {
    if (!this.current) return null;
    if (type === "svg") return this.current.image("svg");
    return picture(this.current, this.body, this.written(), title, note);
  }

  /** What is written on the figure and beside it, for a picture. */
  protected written(): Written[] {
    return this.labels.list();
  }

  #want(name: string): void {
    if (this.#wanted === name) return;
    this.#wanted = name;
    void this.#embed(name);
  }

  async #embed(name: string): Promise<void> {
    try {
      const bokeh = await this.host.bokeh();
      if (this.#disposed || this.#wanted !== name) return;
      this.current?.dispose();
      this.current = null;
      const target = h("div", { class: "fsw-figure", "aria-hidden": "true" });
      this.body.querySelector(":scope > .fsw-figure")?.remove();
      this.body.prepend(target);
      const plot = await Plot.create(bokeh, this.host.figure(name), target);
      if (this.#disposed || this.#wanted !== name) {
        plot.dispose();
        target.remove();
        return;
      }
      leaveOut(target);
      this.current = plot;
      this.#embedded = name;
      this.ready(plot);
      this.host.redraw();
    } catch (error) {
      if (!this.#disposed) this.host.fail(error);
    }
  }

  override dispose(): void {
    this.#disposed = true;
    this.current?.dispose();
    this.current = null;
    super.dispose();
  }
}

/** Take the parts of a drawing, which is hidden from assistive technology, out of the order of keys. */
function leaveOut(part: Element | ShadowRoot): void {
  for (const each of part.querySelectorAll<HTMLElement>("*")) {
    if (each.tabIndex >= 0) each.tabIndex = -1;
    if (each.shadowRoot) leaveOut(each.shadowRoot);
  }
}
