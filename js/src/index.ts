import { loadBokeh } from "./bokeh/runtime";
import { GridModel } from "./data/grid";
import { openStore } from "./data/store";
import type { Buffer, Model } from "./host/model";
import { mount as mountPage, type PageData, PageModel, type Widget } from "./host/page";
import { reveal } from "./host/reveal";
import { compared, renderCompared } from "./ui/compared";
import { View } from "./ui/view";

/** Show an exported page, whose models are a sweep's where it holds one. */
export const mount = (widget: Widget, root: HTMLElement, page: PageData): Promise<void> =>
  mountPage(widget, root, page, (state, { grid, blocks = {} }) =>
    grid ? new GridModel(state, grid, blocks) : new PageModel(state),
  );

export default {
  initialize({ model }: { model: Model }): () => void {
    // anywidget gives a module two seconds from load to here, and drops later messages: BokehJS is
    // evaluated afterwards, and mostly before the host comes to draw a view.
    const load = async () => loadBokeh(model.get("_bokehjs") as Buffer);
    setTimeout(() => load().catch(() => {})); // a view that needs it says what went wrong
    return openStore(model).close;
  },

  render({ model, el }: { model: Model; el: HTMLElement }): () => void {
    const { store, close } = openStore(model);
    const several = compared(model).length > 0;
    const view = several ? null : new View(model, store, el);
    const steps = [
      view ? () => view.dispose() : renderCompared(model, el),
      reveal(el, store),
      close,
    ];
    return () => {
      for (const step of steps) step();
    };
  },
};
