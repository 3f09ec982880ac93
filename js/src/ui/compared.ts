// Several recordings side by side in one widget: a view each, on models without a kernel.

import { openStore } from "../data/store";
import { h } from "../host/dom";
import { assign, type Buffer, flag, json, listen, type Model } from "../host/model";
import { PageModel } from "../host/page";
import { Comparing } from "./comparing";
import { View } from "./view";

interface Compared {
  title: string;
  run: string;
  num_frames: number;
}

/** What the views take from the widget that holds them. */
const SHARED = ["_figures", "theme", "captions", "height"];

export function compared(model: Model): Compared[] {
  return json<Compared[]>(model, "_compared", []);
}

/** A model of each recording, whose epochs are those of `model` where they are linked. */
export function parts(model: Model): { models: PageModel[]; close: () => void } {
  const packs = (model.get("_packs") ?? []) as Buffer[];
  const bokeh = model.get("_bokehjs") as ArrayBufferView | ArrayBuffer;
  const shared = Object.fromEntries(SHARED.map((name) => [name, model.get(name)]));
  const models = compared(model).map(({ run, num_frames }, index) => {
    const traits = { run, num_frames, epoch: model.get("epoch") ?? null };
    // Stores are kept on a model's copy of BokehJS: the bytes are shared, the view of them is not.
    const own =
      bokeh instanceof ArrayBuffer
        ? new DataView(bokeh)
        : new DataView(bokeh.buffer, bokeh.byteOffset, bokeh.byteLength);
    return new PageModel({
      ...shared,
      ...traits,
      state: "finished",
      _bokehjs: own,
      _packed: packs[index],
    });
  });
  const follow = (name: string) => () => {
    for (const part of models) part.set(name, model.get(name));
  };
  const handlers = Object.fromEntries(SHARED.map((name) => [`change:${name}`, follow(name)]));
  if (flag(model, "_linked", true)) {
    handlers["change:epoch"] = follow("epoch");
    for (const part of models) {
      part.on("change:epoch", () => {
        const epoch = part.get("epoch");
        for (const other of models) other.set("epoch", epoch);
        if (!Object.is(model.get("epoch"), epoch)) assign(model, "epoch", epoch);
      });
    }
  }
  return { models, close: listen(model, handlers) };
}

/** Draw all of them, in one view where their epochs are linked, else each under its name. */
export function renderCompared(model: Model, el: HTMLElement): () => void {
  if (flag(model, "_linked", true)) return renderTogether(model, el);
  const { models, close } = parts(model);
  const root = h("div", { "data-testid": "compared" });
  root.style.cssText =
    "display: grid; gap: 12px; grid-template-columns: repeat(auto-fit, minmax(min(520px, 100%), 1fr))";
  el.append(root);
  const titles = compared(model);
  const ends = models.map((part, index) => {
    const heading = h("h2", {}, titles[index]?.title ?? "");
    heading.style.cssText = "font: 600 15px system-ui, sans-serif; margin: 0 0 6px";
    const place = h("div", {});
    root.append(h("section", {}, heading, place));
    const store = openStore(part);
    const view = new View(part, store.store, place);
    return () => {
      view.dispose();
      store.close();
    };
  });
  return () => {
    close();
    for (const end of ends) end();
    root.remove();
  };
}

function renderTogether(model: Model, el: HTMLElement): () => void {
  const { models, close } = parts(model);
  const stores = models.map((part) => openStore(part));
  const titles = compared(model);
  const named = stores.map(({ store }, at) => ({ title: titles[at]?.title ?? "", store }));
  const view = new Comparing(model, named, el);
  return () => {
    view.dispose();
    close();
    for (const store of stores) store.close();
  };
}
