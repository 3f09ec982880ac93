// The classes beside the samples: a click on one shows it alone.

import { memo } from "../data/memo";
import type { Colors, Style } from "../data/scene";
import type { RunInfo } from "../data/wire";
import { attribute, type Cleanup, format, h } from "../host/dom";
import { classColor, classMarker, GLYPHS, isRegression, mapping } from "./classes";
import { type Written, written } from "./labels";

/** Classes that are named before the rest is only counted. */
const NAMED = 12;

export class Key {
  readonly root = h("div", { class: "fsw-key", role: "group", "aria-label": "Classes" });
  info: RunInfo | undefined;
  #alone: number | null = null;
  readonly #made = memo<number>();

  constructor(
    private readonly isolate: (label: number | null) => void,
    cleanup: Cleanup,
  ) {
    cleanup.on<MouseEvent>(this.root, "click", (event) => {
      const pressed = (event.target as HTMLElement).closest<HTMLElement>("button")?.dataset.label;
      if (pressed === undefined) return;
      const label = Number(pressed);
      this.#alone = this.#alone === label ? null : label;
      this.#mark();
      this.isolate(this.#alone);
    });
  }

  /** Nothing is shown alone any more. */
  release(): void {
    this.#alone = null;
    this.#mark();
  }

  /** Name these classes; returns the room that they take, in pixels. */
  describe(style: Style, colors: Colors, info: RunInfo): number {
    return this.#made([style, colors, info], () => {
      this.info = info;
      const parts = isRegression(info) ? scale(style, colors, info) : names(style, colors, info);
      this.root.replaceChildren(...parts);
      this.#mark();
      const longest = Math.max(...info.classNames.slice(0, NAMED).map(({ length }) => length), 1);
      const room = isRegression(info) ? 52 : Math.min(96, Math.max(36, 24 + 7 * longest));
      this.root.style.width = `${room - 4}px`;
      return room;
    });
  }

  /** What it says, for a picture. */
  list(): Written[] {
    return [...this.root.querySelectorAll<HTMLElement>("span:not(.fsw-scale)")].map(written);
  }

  #mark(): void {
    for (const part of this.root.querySelectorAll<HTMLElement>("button")) {
      attribute(part, "aria-pressed", String(Number(part.dataset.label) === this.#alone));
    }
  }
}

function names(style: Style, colors: Colors, info: RunInfo): HTMLElement[] {
  const made = info.classNames.slice(0, NAMED).map((name, label) => {
    const shape = h(
      "span",
      { "aria-hidden": "true", style: `color: ${classColor(colors, label)[0]}` },
      GLYPHS[classMarker(style, label)],
    );
    const title = `${name}: show it alone`;
    return h(
      "button",
      { type: "button", class: "fsw-q", title, "data-label": label },
      shape,
      h("span", {}, name),
    );
  });
  const more = info.classNames.length - NAMED;
  return more > 0 ? [...made, h("span", {}, `+ ${more}`)] : made;
}

function scale(style: Style, colors: Colors, info: RunInfo): HTMLElement[] {
  const { palette, low, high } = mapping(style, colors, info, 0);
  const gradient = `background: linear-gradient(0deg, ${palette.join()})`;
  return [
    h("span", {}, format(high)),
    h("span", { class: "fsw-scale", style: gradient, "aria-hidden": "true" }),
    h("span", {}, format(low)),
    h("span", { class: "fsw-c-dim" }, info.targets ? `target ${info.target + 1}` : "target"),
  ];
}
