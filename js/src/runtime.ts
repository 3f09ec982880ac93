// BokehJS, from the bytes that the installed bokeh package ships.

import { gunzip } from "./gunzip";
import type { Buffer } from "./model";
import { copyBody } from "./wire";

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
  model: HasProps;
  frame: {
    bbox: { left: number; right: number; top: number; bottom: number };
    x_scale: Scale;
    y_scale: Scale;
  };
  export(type: "png" | "svg" | "auto", hidpi?: boolean): { to_blob(): Promise<Blob> };
  repainted: Signal;
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
}
export interface ViewManager {
  roots: PlotView[];
  clear(): void;
}

let bokeh: Promise<Bokeh> | undefined;

/** BokehJS, kept to this module: evaluated once a page, and `window.Bokeh` stays as it is. */
export function loadBokeh(bytes: Buffer): Promise<Bokeh> {
  bokeh ??= gunzip(copyBody(bytes)).then(evaluate);
  bokeh.catch(() => {
    bokeh = undefined;
  });
  return bokeh;
}

/** Styles as BokehJS sees them. It asks for a `--bk-*` override of every colour and width that it
 * paints, a fifth of the time a frame takes; no stylesheet here sets one. */
function computedStyle(element: Element, pseudo?: string | null): CSSStyleDeclaration {
  const style = () => window.getComputedStyle(element, pseudo);
  return new Proxy({} as CSSStyleDeclaration, {
    get: (_, key) => {
      if (key === "getPropertyValue") {
        return (name: string) => (name.startsWith("--bk-") ? "" : style().getPropertyValue(name));
      }
      return Reflect.get(style(), key);
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
  return root.Bokeh;
}
