// The exported page: the same front end on a model that holds everything and has no kernel.

import type { Handler, Model } from "./model";

/** What anywidget's hosts call; the default export of index.ts. */
export interface Widget {
  initialize(context: { model: Model }): unknown;
  render(context: { model: Model; el: HTMLElement }): unknown;
}

/** What fswidget/export.py writes into the page. */
export interface PageData {
  traits: Record<string, unknown>;
  /** Base64 of the traits that are bytes. */
  bytes: Record<string, string>;
  style: string;
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
    for (const handler of [...(this.handlers.get(`change:${name}`) ?? [])]) handler();
  }

  save_changes(): void {} // nobody to tell

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

/** Show a recording in `root`; what goes wrong is said there, a page has no other place for it. */
export async function mount(widget: Widget, root: HTMLElement, data: PageData): Promise<void> {
  try {
    const bytes = Object.entries(data.bytes).map(([name, text]) => [name, fromBase64(text)]);
    const model = new PageModel({ ...data.traits, ...Object.fromEntries(bytes) });
    const style = document.createElement("style");
    style.textContent = data.style;
    const el = document.createElement("div");
    root.append(style, el);
    await widget.initialize({ model });
    await widget.render({ model, el });
  } catch (error) {
    root.append(`This recording cannot be shown: ${error}. Browsers from 2023 on can show it.`);
    console.error("fswidget:", error);
  }
}
