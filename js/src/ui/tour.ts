// Five steps through what happens, for whoever sees it for the first time.

import type { Words } from "../data/scene";
import { button, type Cleanup, h, hide, iconButton, setRich, setText } from "../host/dom";

export class Tour {
  readonly #title = h("h4");
  readonly #text = h("p");
  readonly #count = h("span", { class: "fsw-c-dim" });
  readonly #back = button("Back", "Back", { class: "fsw-plain" });
  readonly #next = button("Next", "Next", { class: "fsw-plain fsw-accent" });
  readonly #ring = h("div", { class: "fsw-tour-ring", hidden: true });
  readonly #card: HTMLElement;
  #at = -1;

  constructor(
    private readonly root: HTMLElement,
    private readonly stops: Words["tour"],
    cleanup: Cleanup,
  ) {
    const close = iconButton("x", "End the tour");
    this.#card = h(
      "div",
      { class: "fsw-card fsw-tour", role: "dialog", "aria-label": "Guided tour", hidden: true },
      h("div", { class: "fsw-row" }, this.#title, close),
      this.#text,
      h("div", { class: "fsw-row" }, this.#count, this.#back, this.#next),
    );
    root.append(this.#ring, this.#card);
    cleanup.on(close, "click", () => this.end());
    cleanup.on(this.#back, "click", () => this.#go(this.#at - 1));
    cleanup.on(this.#next, "click", () => this.#go(this.#at + 1));
  }

  start(): void {
    this.#go(0);
  }

  /** End it; whether it was on. */
  end(): boolean {
    if (this.#at < 0) return false;
    this.#at = -1;
    hide(this.#card, true);
    hide(this.#ring, true);
    return true;
  }

  /** The layout has changed under it. */
  moved(): void {
    if (this.#at >= 0) this.#place();
  }

  #go(step: number): void {
    const stop = this.stops[step];
    if (!stop) {
      this.end();
      return;
    }
    this.#at = step;
    const [, title, words] = stop;
    setRich(this.#title, title);
    setRich(this.#text, words);
    setText(this.#count, `${step + 1} of ${this.stops.length}`);
    hide(this.#back, step === 0);
    setText(this.#next, step + 1 < this.stops.length ? "Next" : "Done");
    hide(this.#card, false);
    this.#place();
    this.#next.focus({ preventScroll: true });
  }

  #place(): void {
    const names = this.stops[this.#at]?.[0].split(", ") ?? [];
    const target = names
      .map((name) => this.root.querySelector<HTMLElement>(name))
      .find((found) => found?.checkVisibility?.() ?? found);
    hide(this.#ring, !target);
    if (!target) return;
    const frame = this.root.getBoundingClientRect();
    const box = target.getBoundingClientRect();
    const [left, top] = [box.left - frame.left - 6, box.top - frame.top - 6];
    Object.assign(this.#ring.style, {
      left: `${left}px`,
      top: `${top}px`,
      width: `${box.width + 12}px`,
      height: `${box.height + 12}px`,
    });
    const { offsetWidth: width, offsetHeight: height } = this.#card;
    const right = left + box.width + 24;
    const beside = right + width < frame.width;
    const x = beside ? right : Math.max(12, Math.min(left, frame.width - width - 12));
    const below = top + box.height + 24;
    const fits = below + height < frame.height;
    const y = beside ? top : fits ? below : Math.max(12, top - height - 12);
    this.#card.style.left = `${x}px`;
    this.#card.style.top = `${Math.max(12, Math.min(y, frame.height - height - 12))}px`;
  }
}
