// How a view is put before its readers: fswidget/widget/presenting.py says what may be chosen.

import { attribute, button, type Cleanup, h, rich } from "../host/dom";
import { listen, type Model, names, number } from "../host/model";
import { take } from "../host/permalink";
import type { Panel } from "../panels/panel";

/** Height of the view, in pixels, to which `height` is compared. */
const HEIGHT = 632;
/** Width of the view from which on its panels stand in three columns. */
const WIDE = 900;

/** Attend to what is chosen of how the view looks, now and later. */
export function present(
  model: Model,
  root: HTMLElement,
  panels: Panel[],
  changed: () => void,
  cleanup: Cleanup,
): void {
  const leave = () => {
    const left = new Set(names(model, "hide"));
    for (const part of root.querySelectorAll<HTMLElement>("[data-part]"))
      attribute(part, "data-left-out", left.has(part.dataset.part ?? ""));
    attribute(root, "data-stripless", left.has("regime"));
  };
  const size = () => {
    const height = number(model, "height", HEIGHT);
    root.style.setProperty("--fsw-extra", `${height - HEIGHT}px`);
  };
  const explain = () => {
    const captions = model.get("captions") ?? true;
    const own = (typeof captions === "object" ? captions : {}) as Record<string, string>;
    for (const panel of panels) {
      panel.captioned = captions !== false;
      panel.caption = own[panel.name];
    }
  };
  const scale = () => {
    // On paper it is as wide as on screen.
    if (!window.matchMedia?.("print").matches)
      root.style.setProperty("--w", String(root.clientWidth || HEIGHT));
    const place = root.getRootNode() as Document | ShadowRoot;
    const whole = place.fullscreenElement === root;
    root.classList.toggle("fsw-whole", whole);
    const screen = Math.min(window.innerWidth / 1180, window.innerHeight / 640, 2.5);
    const wanted = number(model, "scale", 1);
    // Type that is too large for the view's width would not leave room for the panels.
    const factor = Math.max(1, whole ? screen : Math.min(wanted, root.clientWidth / WIDE));
    const value = factor > 1 ? String(Number(factor.toFixed(3))) : "";
    if (root.style.getPropertyValue("--z") === value) return;
    root.style.setProperty("--z", value);
    changed();
  };
  for (const attend of [leave, size, explain]) attend();
  cleanup.add(
    listen(model, {
      "change:hide": leave,
      "change:height": size,
      "change:captions": explain,
      "change:scale": scale,
    }),
  );
  cleanup.on(document, "fullscreenchange", () => {
    scale();
    changed();
  });
  if (typeof ResizeObserver === "undefined") return;
  const observer = new ResizeObserver(scale);
  observer.observe(root);
  cleanup.add(() => observer.disconnect());
}

/** Buttons, each of which sets several things at once; they stand above the view. */
export function presets(model: Model, cleanup: Cleanup): HTMLElement | null {
  const given = Object.entries((model.get("presets") ?? {}) as Record<string, object>);
  if (given.length === 0) return null;
  const buttons = given.map(([title, state]) => {
    const made = button(title, `Show “${title}”`, { class: "fsw-plain" });
    cleanup.on(made, "click", () => take(model, { ...state }));
    return made;
  });
  return h("div", { class: "fsw-presets", role: "group", "aria-label": "Presets" }, ...buttons);
}

/** Questions below the view, with their answers folded. */
export function questions(model: Model): HTMLElement | null {
  const given = (model.get("questions") ?? []) as [string, string][];
  if (given.length === 0) return null;
  const items = given.map(([question, answer]) => {
    const asked = h("summary", {}, h("span", {}, ...rich(question)));
    return h("li", {}, h("details", {}, asked, h("p", {}, ...rich(answer))));
  });
  return h("section", { class: "fsw-questions", "aria-label": "Questions" }, h("ol", {}, ...items));
}
