// The card beside the pointer. Bokeh's own tooltips would build HTML out of names and rebuild an
// index for every frame; here a panel says what is under the pointer, only while it is there.

import { type Cleanup, h, hide, rich, setText } from "../host/dom";

export interface Found {
  /** The mark, in pixels of the panel's body. */
  x: number;
  y: number;
  title: string;
  rows: string[];
  /** What the run before had there. */
  before?: string;
  /** Draws a picture and says whether there is one. */
  picture?: (canvas: HTMLCanvasElement, later: () => void) => boolean;
}

export type Probe = (x: number, y: number) => Found | null;

export class HoverCard {
  readonly root = h("div", { class: "fsw-hover", "data-testid": "hover-card", hidden: true });
  readonly #ring = h("div", { class: "fsw-ring", hidden: true });
  readonly #picture = h("canvas", { "aria-hidden": "true" });
  readonly #title = h("b");
  readonly #rows = h("div");
  readonly #before = h("div", { class: "fsw-c-ghost" });
  #pointer: { x: number; y: number } | null = null;
  #asked = 0;

  constructor(
    private readonly body: HTMLElement,
    private readonly probe: Probe,
    cleanup: Cleanup,
  ) {
    this.root.append(this.#picture, h("div", {}, this.#title, this.#rows, this.#before));
    body.append(this.#ring, this.root);
    // A tap does what hovering does, and stays until the next one.
    cleanup.on<PointerEvent>(body, "pointermove pointerdown", (event) => {
      const { left, top } = body.getBoundingClientRect();
      this.#pointer = { x: event.clientX - left, y: event.clientY - top };
      this.#later();
    });
    cleanup.on<PointerEvent>(body, "pointerleave", ({ pointerType }) => {
      if (pointerType !== "touch") this.#leave();
    });
    cleanup.on<PointerEvent>(document, "pointerdown", (event) => {
      if (this.#pointer && !event.composedPath().includes(body)) this.#leave();
    });
    cleanup.add(() => cancelAnimationFrame(this.#asked));
  }

  /** What lies under the pointer may be something else now. */
  moved(): void {
    if (this.#pointer) this.#later();
  }

  #leave(): void {
    this.#pointer = null;
    this.#later();
  }

  #later(): void {
    if (this.#asked) return;
    this.#asked = requestAnimationFrame(() => {
      this.#asked = 0;
      this.#update();
    });
  }

  #update(): void {
    const found = this.#pointer ? this.probe(this.#pointer.x, this.#pointer.y) : null;
    hide(this.root, !found);
    hide(this.#ring, !found);
    if (!found) return;
    const { x, y, title, rows, before = "", picture } = found;
    this.#ring.style.transform = `translate(${x}px, ${y}px)`;
    setText(this.#title, title);
    this.#rows.replaceChildren(...rows.map((row) => h("div", {}, ...rich(row))));
    setText(this.#before, before);
    hide(this.#picture, !picture?.(this.#picture, () => this.#later()));
    const right = x + 14 + this.root.offsetWidth > this.body.clientWidth;
    const below = y + 10 + this.root.offsetHeight < this.body.clientHeight;
    this.root.style.transform =
      `translate(${right ? x - 14 : x + 14}px, ${below ? y + 10 : y - 10}px) ` +
      `translate(${right ? "-100%" : "0"}, ${below ? "0" : "-100%"})`;
  }
}
