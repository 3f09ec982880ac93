// BokehJS, from the bytes that the installed bokeh package ships.

import { gunzip } from "../data/gunzip";
import { copyBody } from "../data/wire";
import type { Buffer } from "../host/model";
import { type Marks, stampMarks } from "./stamps";

// Only what this front end uses; the real types are 500 files.
export interface HasProps {
  name: string | null;
  setv(attrs: Record<string, unknown>): void;
  [property: string]: unknown;
}
export interface Signal {
  connect(slot: () => void): void;
}
export interface DataSource extends HasProps {
  data: Record<string, unknown>;
  selected: HasProps & { indices: number[]; change: Signal };
}
export interface Scale {
  compute(value: number): number;
  invert(screen: number): number;
}
export interface PlotView {
  model: HasProps & { document: BokehDocument };
  frame: {
    bbox: { left: number; right: number; top: number; bottom: number };
    x_scale: Scale;
    y_scale: Scale;
  };
  export(type: "png" | "svg" | "auto", hidpi?: boolean): { to_blob(): Promise<Blob> };
  pause(): void;
  unpause(noRender: boolean): void;
  paint(): void;
  /** The same, after measuring whether all labels still fit. */
  repaint(): void;
  _range_manager?: { invalidate_dataranges: boolean };
  computed_renderer_views?: { model: HasProps; glyph?: GlyphView; [copy: string]: unknown }[];
}
export interface GlyphView {
  paint(...how: unknown[]): void;
  _mask_data?: unknown;
}
export interface BokehDocument {
  roots(): HasProps[];
  clear(): void;
  get_model_by_name(name: string): HasProps | null;
}
export interface Bokeh {
  embed: { embed_item(item: unknown, el: HTMLElement): Promise<ViewManager> };
  documents: BokehDocument[];
  set_log_level?(level: string): void;
  /** Its modules by name. */
  loader?: Record<string, Record<string, { prototype: unknown } | undefined> | undefined>;
}
interface InlineStyleSheet {
  el: HTMLStyleElement;
  _update(css: string): void;
}
export interface ViewManager {
  roots: PlotView[];
  clear(): void;
}

/** BokehJS, evaluated once per page; `window.Bokeh` stays as it is. Hosts evaluate this module once a
 * widget and never forget it, so the promise lives on the page, under a symbol. */
export function loadBokeh(bytes: Buffer): Promise<Bokeh> {
  const page = globalThis as unknown as Record<symbol, Promise<Bokeh> | undefined>;
  const key = Symbol.for(`fswidget.bokehjs:${bytes.byteLength}`);
  let bokeh = page[key];
  if (!bokeh) {
    bokeh = gunzip(copyBody(bytes)).then(evaluate);
    page[key] = bokeh;
    bokeh.catch(() => {
      delete page[key];
    });
  }
  return bokeh;
}

/** Styles as BokehJS sees them, without their price. For every label it asks for the font size, and
 * for every colour and width for a `--bk-*` override, and each question makes the browser bring all
 * styles up to date: most of the time that a frame takes. The figures' font sizes are in pixels, and
 * no stylesheet here sets an override. */
function computedStyle(element: Element, pseudo?: string | null): CSSStyleDeclaration {
  const style = () => window.getComputedStyle(element, pseudo);
  return new Proxy({} as CSSStyleDeclaration, {
    get: (_, key) => {
      if (key === "fontSize") return "13px";
      if (key !== "getPropertyValue") return Reflect.get(style(), key);
      return (name: string) => (name.startsWith("--bk-") ? "" : style().getPropertyValue(name));
    },
  });
}

function evaluate(source: ArrayBuffer): Bokeh {
  const root: { Bokeh?: Bokeh } = {};
  // `visualViewport` is shadowed because every plot adds a listener to it that is never removed.
  const run = new Function("getComputedStyle", "visualViewport", new TextDecoder().decode(source));
  run.call(root, computedStyle, null);
  if (!root.Bokeh) throw new Error("BokehJS did not load");
  root.Bokeh.set_log_level?.("warn");
  keepStyles(root.Bokeh);
  const { ScatterView } = root.Bokeh.loader?.["@bokehjs/models/glyphs/scatter"] ?? {};
  stampMarks(ScatterView?.prototype as Marks | undefined);
  return root.Bokeh;
}

/** Every paint writes the place of every axis and curve into a <style> element of its own, for
 * children in HTML that no figure here has, and each makes the browser resolve all styles again.
 * Leave those out, and write of the others only what has changed. */
function keepStyles(bokeh: Bokeh): void {
  const { InlineStyleSheet } = bokeh.loader?.["@bokehjs/core/dom"] ?? {};
  const sheet = InlineStyleSheet?.prototype as InlineStyleSheet | undefined;
  if (!sheet?._update) return; // another version of BokehJS: slower, and right all the same
  const write = sheet._update;
  sheet._update = function (css) {
    if (this.el.dataset.css === "position" || this.el.textContent === css) return;
    write.call(this, css);
  };
}
