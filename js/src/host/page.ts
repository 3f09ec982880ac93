// The exported page: the same front end on a model that holds everything and has no kernel.

import type { Handler, Model } from "./model";
import { permalink } from "./permalink";

/** What anywidget's hosts call; the default export of index.ts. */
export interface Widget {
  initialize(context: { model: Model }): unknown;
  render(context: { model: Model; el: HTMLElement }): unknown;
}

export interface Axis {
  name: string;
  values: unknown[];
  log: boolean;
}

/** What fswidget/widget/grid.py writes: runs by their place, "0,2,1", along the axes. */
export interface GridLayout {
  axes: Axis[];
  cells: Record<string, { run: string; shared: string; label: string }>;
  missing: Record<string, string>;
}

/** Traits of one view; base64 of those that are bytes. */
export interface ViewData {
  title?: string;
  traits: Record<string, unknown>;
  bytes: Record<string, string>;
}

/** What fswidget/widget/html.py writes into the page. */
export interface PageData extends ViewData {
  style: string;
  /** What several recordings, whose epochs are linked, have of their own. */
  views?: ViewData[];
  /** Whether the page's address is for this element to read and write. */
  address?: boolean;
  /** Whether it stands in somebody else's page, whose styles must not reach it. */
  fragment?: boolean;
  /** A sweep: its layout, and base64 of its packed runs by name. */
  grid?: GridLayout;
  blocks?: Record<string, string>;
}

export class PageModel implements Model {
  private readonly handlers = new Map<string, Set<Handler>>();

  constructor(private readonly state: Record<string, unknown>) {}

  get(name: string): unknown {
    return this.state[name];
  }

  set(name: string, value: unknown): void {
    if (Object.is(this.state[name], value)) return;
    this.state[name] = value;
    this.emit(`change:${name}`);
  }

  protected emit(event: string, ...args: unknown[]): void {
    for (const handler of [...(this.handlers.get(event) ?? [])]) handler(...args);
  }

  save_changes(): void {} // nobody to tell

  /** Called between the widget's opening and its drawing. */
  async ready(): Promise<void> {}

  on(event: string, handler: Handler): void {
    const handlers = this.handlers.get(event) ?? new Set();
    this.handlers.set(event, handlers.add(handler));
  }

  off(event: string, handler: Handler): void {
    this.handlers.get(event)?.delete(handler);
  }
}

export function fromBase64(text: string): DataView {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let index = 0; index < binary.length; index++) bytes[index] = binary.charCodeAt(index);
  return new DataView(bytes.buffer);
}

/** Show recordings in `element`; what goes wrong is said there, a page has no other place for it. */
export async function mount(
  widget: Widget,
  element: HTMLElement,
  data: PageData,
  make: (state: Record<string, unknown>, data: PageData) => PageModel = (state) =>
    new PageModel(state),
): Promise<void> {
  const root = data.fragment ? element.attachShadow({ mode: "open" }) : element;
  try {
    const style = document.createElement("style");
    style.textContent = data.style;
    root.append(style);
    const model = make(together(data), data);
    if (data.address) permalink(model, data.grid?.axes.map(({ name }) => name) ?? []);
    const el = document.createElement("div");
    root.append(el);
    await widget.initialize({ model });
    await model.ready();
    await widget.render({ model, el });
    const panel = model.get("panel");
    const panels = [...root.querySelectorAll<HTMLElement>("[data-panel]")];
    const large = panels.find(({ dataset }) => panel && dataset.panel === panel);
    large?.scrollIntoView?.({ block: "nearest" });
  } catch (error) {
    root.append(`This recording cannot be shown: ${error}. Browsers from 2023 on can show it.`);
    console.error("fswidget:", error);
  }
}

/** The traits of a page's one model: of several recordings it is that of a comparison. */
function together({ traits, bytes, views }: PageData): Record<string, unknown> {
  const shared = { ...traits, ...decoded(bytes) };
  if (!views) return shared;
  const told = views.map(({ title = "", traits: { run, num_frames } }) => ({
    title,
    run,
    num_frames,
  }));
  const packs = views.map((view) => decoded(view.bytes)._packed);
  const epoch = views[0]?.traits.epoch ?? null;
  return { ...shared, epoch, _compared: JSON.stringify(told), _packs: packs, _linked: true };
}

function decoded(bytes: Record<string, string>): Record<string, DataView> {
  return Object.fromEntries(Object.entries(bytes).map(([name, text]) => [name, fromBase64(text)]));
}
