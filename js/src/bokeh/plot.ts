// One Bokeh figure: embedded once, its named sources and ranges set frame by frame.

import { type Memo, memo } from "../data/memo";
import type { Colors } from "../data/scene";
import type { Tick } from "./ranges";
import type { Bokeh, BokehDocument, DataSource, HasProps, PlotView, ViewManager } from "./runtime";

export type Columns = Record<string, unknown>;

export type Roles = Record<string, [role: string, ...properties: string[]]>;

export class Plot {
  readonly #memos = new Map<string, Memo<void>>();
  readonly #models = new Map<string, HasProps>();
  #paused = false;
  #scale = 1;
  readonly #margins: Partial<Record<"left" | "right" | "top" | "bottom", number>> = {};
  #settled = false;
  #disposed = false;

  private constructor(
    private readonly bokeh: Bokeh,
    private readonly views: ViewManager,
    private readonly document: BokehDocument,
    readonly view: PlotView,
  ) {}

  static async create(bokeh: Bokeh, item: unknown, host: HTMLElement): Promise<Plot> {
    const views = await bokeh.embed.embed_item(item, host);
    const [view] = views.roots;
    if (!view) throw new Error("BokehJS drew no figure");
    relieve(view);
    return new Plot(bokeh, views, view.model.document, view);
  }

  get model(): HasProps {
    return this.view.model;
  }

  find<T extends HasProps = HasProps>(name: string): T {
    let model = this.#models.get(name);
    if (!model) {
      const found = this.document.get_model_by_name(name);
      if (!found) throw new Error(`no ${name} in the figure`);
      model = found;
      this.#models.set(name, model);
    }
    return model as T;
  }

  source(name: string): DataSource {
    return this.find<DataSource>(name);
  }

  /** Change sources and ranges, to be painted by `paint`. */
  update(change: () => void): void {
    if (this.#disposed) return;
    if (!this.#paused) this.view.pause();
    this.#paused = true;
    change();
  }

  /** Paint what was changed, once. Bokeh applies data in promises and asks for a paint after each,
   * so this must come in a later task than the change. Says whether there was something. */
  paint(): boolean {
    if (!this.#paused || this.#disposed) return false;
    this.#paused = false;
    this.view.unpause(true);
    // No range here follows the data, so labels change with `range` only; measuring them for every
    // frame would be a fifth of the work.
    if (this.view._range_manager) this.view._range_manager.invalidate_dataranges = false;
    if (this.#settled) this.view.paint();
    else this.view.repaint();
    this.#settled = true;
    return true;
  }

  /** Replace a source's data, unless it is made of the same inputs as last time. */
  data(name: string, inputs: readonly unknown[], columns: () => Columns): void {
    this.#memo(name)(inputs, () => {
      this.source(name).data = columns();
    });
  }

  /** Take all data as new at the next update. */
  forget(): void {
    this.#memos.clear();
  }

  #memo(name: string): Memo<void> {
    const known = this.#memos.get(name) ?? memo();
    this.#memos.set(name, known);
    return known;
  }

  set(name: string, attributes: Columns): void {
    change(this.find(name), attributes);
  }

  /** Set a range where it differs from the last one set, so that a user's zoom stays. */
  range(name: string, [start, end]: readonly [number, number]): void {
    this.#memo(`range:${name}`)([start, end], () => {
      this.#settled = false;
      this.set(`range:${name}`, { start, end });
    });
  }

  /** The ticks of an axis and what stands beside them. */
  ticks(name: "x" | "y", ticks: Tick[]): void {
    this.#memo(`ticks:${name}`)(ticks.flat(), () => {
      this.#settled = false;
      this.set(`ticks:${name}`, { ticks: ticks.map(([at]) => at) });
      const [axis] = list(this.model[name === "x" ? "below" : "left"]);
      axis?.setv({ major_label_overrides: new Map(ticks) });
    });
  }

  /** Room at the right, in pixels. */
  margin(right: number): void {
    this.#margins.right = right;
    if (change(this.model, { min_border_right: right * this.#scale })) this.#settled = false;
  }

  /** Change the lower axis, whose labels may then need other room. */
  axis(attributes: Columns): void {
    const [axis] = list(this.model.below);
    if (axis && change(axis, attributes)) this.#settled = false;
  }

  /** Where a value of an axis lies, in pixels of the figure. */
  x(value: number): number {
    return this.view.frame.x_scale.compute(value);
  }

  y(value: number): number {
    return this.view.frame.y_scale.compute(value);
  }

  /** Colours of everything that is not data. `roles` maps a model's name to a role and the
   * properties that take its colour. */
  restyle({ roles: colors }: Colors, roles: Roles, scale: number): void {
    this.#settled = false;
    this.#scale = scale;
    for (const side of ["left", "right", "top", "bottom"] as const) {
      const size = this.#margins[side] ?? Number(this.model[`min_border_${side}`]);
      this.#margins[side] = size;
      this.model.setv({ [`min_border_${side}`]: size * scale });
    }
    for (const axis of [...list(this.model.below), ...list(this.model.left)]) {
      axis.setv({
        major_label_text_color: colors.dim,
        major_label_text_font_size: `${Math.round(11 * scale)}px`,
      });
    }
    for (const item of list(this.model.center)) {
      if ("grid_line_color" in item) item.setv({ grid_line_color: colors.grid });
    }
    for (const [name, [role, ...properties]] of Object.entries(roles)) {
      const model = this.find(name);
      const target = (model.glyph as HasProps | undefined) ?? model;
      target.setv(Object.fromEntries(properties.map((key) => [key, colors[role]])));
    }
  }

  async image(type: "png" | "svg"): Promise<Blob> {
    return this.view.export(type).to_blob();
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.views.clear();
    this.document.clear();
    // Bokeh keeps every document it ever made in a list.
    const { documents } = this.bokeh;
    const at = documents.indexOf(this.document);
    if (at >= 0) documents.splice(at, 1);
  }
}

/** Bokeh keeps four copies of each glyph, for what is selected, not selected, muted or left out while
 * somebody drags, and gives every one all data anew, which is more work than painting. Only samples
 * can be selected, and nothing is muted or left out. */
function relieve({ computed_renderer_views: views = [] }: PlotView): void {
  for (const { model, glyph, ...copies } of views) {
    if (!glyph) continue;
    // All of a figure is in sight: to ask of each point whether it is costs more than to draw it.
    glyph._mask_data = undefined;
    const selectable = ["samples:glyph", "held_out:glyph"].includes(model.name ?? "");
    for (const name of [
      "muted_glyph",
      "decimated_glyph",
      ...(selectable ? [] : ["selection_glyph", "nonselection_glyph"]),
    ]) {
      const nothing = () => {};
      Object.assign(copies[name] ?? {}, {
        set_data: nothing,
        set_visuals: nothing,
        map_data: nothing,
        paint: (...how: unknown[]) => glyph.paint(...how),
      });
    }
  }
}

/** The models of a side of a figure. */
function list(side: unknown): HasProps[] {
  return (side as HasProps[] | undefined) ?? [];
}

/** Set the attributes that differ, and say whether there were any. */
function change(model: HasProps, attributes: Columns): boolean {
  const changed = Object.entries(attributes).filter(
    ([key, value]) => !Object.is(model[key], value),
  );
  if (changed.length > 0) model.setv(Object.fromEntries(changed));
  return changed.length > 0;
}
