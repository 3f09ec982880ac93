// Words within a figure, as elements: they can have subscripts, be clicked, and be read aloud.

import { h, setRich } from "../host/dom";

export interface Label {
  text: string;
  /** Where, in pixels of the panel's body, and which point of the text lies there. */
  x: number;
  y: number;
  anchor?: "start" | "middle" | "end";
  /** A role whose colour it takes. */
  role?: string;
  /** Or a colour of its own. */
  color?: string;
  bold?: boolean;
  big?: boolean;
  halo?: boolean;
  title?: string;
}

/** A text where it stands on screen. */
export interface Written {
  text: string;
  box: DOMRect;
  color: string;
  bold: boolean;
}

export function written(span: HTMLElement): Written {
  const { color, fontWeight } = getComputedStyle(span);
  const box = span.getBoundingClientRect();
  return { text: span.textContent ?? "", box, color, bold: Number(fontWeight) >= 600 };
}

const SHIFT = { start: "0", middle: "-50%", end: "-100%" } as const;

export class Labels {
  readonly root = h("div", { class: "fsw-labels", "aria-hidden": "true" });
  readonly #spans: HTMLElement[] = [];
  readonly #drawn: string[] = [];
  #shown = 0;

  /** Show these labels and no others; what is as it was is left alone. */
  show(labels: Label[]): void {
    labels.forEach((label, at) => {
      const span = this.#span(at);
      const {
        text,
        anchor = "start",
        role = "ink",
        color = "",
        bold,
        big,
        halo,
        title = "",
      } = label;
      if (this.#drawn[at] !== text) {
        this.#drawn[at] = text;
        setRich(span, text);
      }
      const place = `translate(${Math.round(label.x)}px, ${Math.round(label.y)}px)`;
      const transform = `${place} translate(${SHIFT[anchor]}, -50%)`;
      if (span.style.transform !== transform) span.style.transform = transform;
      const marks = `${bold ? " fsw-strong" : ""}${big ? " fsw-big" : ""}${halo ? " fsw-halo" : ""}`;
      const name = `fsw-label fsw-c-${role}${marks}`;
      if (span.className !== name) span.className = name;
      if (span.dataset.color !== color) span.style.color = span.dataset.color = color;
      if (span.title !== title) span.title = title;
      if (span.hidden) span.hidden = false;
    });
    for (let at = labels.length; at < this.#shown; at++) {
      const span = this.#spans[at];
      if (span) span.hidden = true;
    }
    this.#shown = labels.length;
  }

  /** What is written, for a picture that is saved. */
  list(): Written[] {
    return this.#spans.slice(0, this.#shown).map(written);
  }

  #span(at: number): HTMLElement {
    const known = this.#spans[at];
    if (known) return known;
    const made = h("span", { class: "fsw-label" });
    this.#spans.push(made);
    this.root.append(made);
    return made;
  }
}

/** Height of a line of labels. */
export const LINE = 14;
/** Width of a letter, in pixels, at most. */
const LETTER = 6.6;

/** “before: batch norm off” where there is room for it, else “before”. */
export function beforeText(before: string, room: number): string {
  const text = before ? `before: ${before}` : "before";
  return text.length * LETTER < room ? text : "before";
}

/** Move labels apart that would lie on each other, as little as that takes. */
export function spread<T extends { y: number }>(
  labels: T[],
  gap: number,
  low: number,
  high: number,
) {
  const sorted = labels.toSorted((a, b) => a.y - b.y);
  let least = low;
  for (const label of sorted) {
    label.y = Math.max(label.y, least);
    least = label.y + gap;
  }
  let most = high;
  for (const label of sorted.toReversed()) {
    label.y = Math.min(label.y, most);
    most = label.y - gap;
  }
  return labels;
}

/** Move labels down that would lie on each other; those for which a line's height is not enough are
 * left out, rather than standing where they do not belong. */
export function apart(labels: Label[]): Label[] {
  const half = ({ text, big }: Label) => (text.length * LETTER * (big ? 1.3 : 1)) / 2;
  const placed: Label[] = [];
  for (const label of labels.toSorted((a, b) => a.y - b.y)) {
    let { y } = label;
    for (const other of placed) {
      const beside = Math.abs(other.x - label.x) >= half(other) + half(label);
      if (!beside && y - other.y < LINE) y = other.y + LINE;
    }
    if (y - label.y <= LINE) placed.push({ ...label, y });
  }
  return placed;
}

/** As many labels as there is room for; those of the run before go first. */
export function withoutCrowd(labels: Label[], room: number): Label[] {
  const surplus = labels.length - Math.floor(room);
  if (surplus <= 0) return labels;
  const own = labels.filter(({ role }) => role !== "ghost");
  const ghosts = labels.filter(({ role }) => role === "ghost");
  return [...own, ...ghosts.slice(0, Math.max(0, ghosts.length - surplus))].slice(0, room);
}
