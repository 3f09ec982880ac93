import { openStore } from "./data/store";
import type { Model } from "./host/model";
import { View } from "./ui/view";

export { mount } from "./host/page";

// anywidget gives a module two seconds from load to here and drops later messages: BokehJS waits
// until a view is drawn.
export default {
  initialize({ model }: { model: Model }): () => void {
    return openStore(model).close;
  },

  render({ model, el }: { model: Model; el: HTMLElement }): () => void {
    const { store, close } = openStore(model);
    const view = new View(model, store, el);
    return () => {
      view.dispose();
      close();
    };
  },
};
