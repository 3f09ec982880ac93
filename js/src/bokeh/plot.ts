// One Bokeh figure: embedded once, its named sources and ranges set frame by frame.

import { type Memo, memo } from "../data/memo";
import type { Colors } from "../data/scene";
import { logTicks } from "./ranges";
import type { Bokeh, BokehDocument, DataSource, HasProps, PlotView, ViewManager } from "./runtime";

export type Columns = Record<string, unknown>;

export type Roles = Record<string, [role: string, ...properties: string[]]>;

export class Plot {
  private readonly memos = new Map<string, Memo<void>>();
  private readonly models = new Map<string, HasProps>();
  private paused = false;
  private settled = false;
  private disposed = false;

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
    return new Plot(bokeh, views, view.model.document, view);
  }

  get model(): HasProps {
    return this.view.model;
  }

  find<T extends HasProps = HasProps>(name: string): T {
    let model = this.models.get(name);
    if (!model) {
      const found = this.document.get_model_by_name(name);
      if (!found) throw new Error(`no ${name} in the figure`);
      model = found;
      this.models.set(name, model);
    }
    return model as T;
  }

  source(name: string): DataSource {
    return this.find<DataSource>(name);
  }

  /** Change sources and ranges, to be painted by `paint`. */
  update(change: () => void): void {
    if (this.disposed) return;
    if (!this.paused) this.view.pause();
    this.paused = true;
    change();
  }

  /** Paint what was changed, once. Bokeh applies data in promises and asks for a paint after each,
   * so this must come in a later task than the change. */
  paint(): void {
    if (!this.paused || this.disposed) return;
    this.paused = false;
    this.view.unpause(true);
    // No range here follows the data, so labels change with `range` only; measuring them for every
    // frame would be a fifth of the work.
    if (this.view._range_manager) this.view._range_manager.invalidate_dataranges = false;
    if (this.settled) this.view.paint();
    else this.view.repaint();
    this.settled = true;
  }

  /** Replace a source's data, unless it is made of the same inputs as last time. */
  data(name: string, inputs: readonly unknown[], columns: () => Columns): void {
    this.memo(name)(inputs, () => {
      this.source(name).data = columns();
    });
  }

  /** Take all data as new at the next update. */
  forget(): void {
    this.memos.clear();
  }

  private memo(name: string): Memo<void> {
    const known = this.memos.get(name) ?? memo();
    this.memos.set(name, known);
    return known;
  }

  set(name: string, attributes: Columns): void {
    change(this.find(name), attributes);
  }

  /** Change the first axis of a side, whose labels may then need other room. */
  axis(side: "below" | "left", attributes: Columns): void {
    const [axis] = this.model[side] as HasProps[];
    if (axis && change(axis, attributes)) this.settled = false;
  }

  /** Set a range where it differs from the last one set, so that a user's zoom stays. */
  range(name: string, [start, end]: readonly [number, number]): void {
    this.memo(`range:${name}`)([start, end], () => {
      this.settled = false;
      this.set(`range:${name}`, { start, end });
    });
  }

  /** Likewise the range of a logarithmic axis, and its ticks. */
  logRange(name: string, range: readonly [number, number]): void {
    const ticker = `ticks:${name}`;
    this.memo(ticker)(range, () => this.set(ticker, { ticks: logTicks(range) }));
    this.range(name, range);
  }

  /** Colours of everything that is not data. `roles` maps a model's name to a role and the
   * properties that take its colour. */
  restyle({ roles: colors }: Colors, roles: Roles = {}): void {
    this.settled = false;
    const list = (name: string) => (this.model[name] as HasProps[] | undefined) ?? [];
    for (const axis of [...list("below"), ...list("left"), ...list("right")]) {
      axis.setv({
        axis_line_color: colors.axis,
        major_tick_line_color: colors.axis,
        major_label_text_color: colors.text,
        axis_label_text_color: colors.text,
      });
    }
    for (const item of list("center")) {
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
    if (this.disposed) return;
    this.disposed = true;
    this.views.clear();
    this.document.clear();
    // Bokeh keeps every document it ever made in a list.
    const { documents } = this.bokeh;
    const at = documents.indexOf(this.document);
    if (at >= 0) documents.splice(at, 1);
  }
}

/** Set the attributes that differ, and say whether there were any. */
function change(model: HasProps, attributes: Columns): boolean {
  const changed = Object.entries(attributes).filter(
    ([key, value]) => !Object.is(model[key], value),
  );
  if (changed.length > 0) model.setv(Object.fromEntries(changed));
  return changed.length > 0;
}
