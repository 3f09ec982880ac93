// Elements in a line each. Text only ever enters as text nodes: names come from users' data.

import { type Icon, icon } from "./icons";

/** Height of a menu at most and at least, and what stays free beyond it, in pixels. */
const MENU = 300;
const LEAST = 80;
const EDGE = 8;

type Child = Node | string | null | undefined | false;
type Attributes = Record<string, string | number | boolean | null | undefined>;

export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) attribute(element, name, value);
  for (const child of children) if (child) element.append(child);
  return element;
}

export function attribute(
  element: Element,
  name: string,
  value: string | number | boolean | null | undefined,
): void {
  if (value === null || value === undefined || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== (value === true ? "" : String(value)))
    element.setAttribute(name, value === true ? "" : String(value));
}

/** Set text only where it differs: an untouched node costs no layout, and one that stays with other
 * words less than a new one. */
export function setText(element: Element, value: string): void {
  if (element.textContent === value) return;
  const [node, ...others] = element.childNodes;
  if (value && node instanceof Text && others.length === 0) node.data = value;
  else element.textContent = value;
}

/** Hide or show, and leave alone what is so already. */
export function hide(element: HTMLElement, hidden: boolean): void {
  if (element.hidden !== hidden) element.hidden = hidden;
}

/** Enable or disable, likewise. */
export function disable(element: HTMLButtonElement, disabled: boolean): void {
  if (element.disabled !== disabled) element.disabled = disabled;
}

/** Replace the options of a select, keeping the choice. */
export function setOptions(select: HTMLSelectElement, options: [string, string][]): void {
  const known = [...select.options];
  const same = ([key, label]: [string, string], at: number) =>
    known[at]?.value === key && known[at].label === label;
  if (known.length === options.length && options.every(same)) return;
  const { value } = select;
  select.replaceChildren(...options.map(([key, label]) => h("option", { value: key }, label)));
  if (options.some(([key]) => key === value)) select.value = value;
}

/** What has to be undone when a view goes. */
export class Cleanup {
  readonly #steps: (() => void)[] = [];
  readonly done = new AbortController();

  add(step: () => void): void {
    if (this.done.signal.aborted) step();
    else this.#steps.push(step);
  }

  on<E extends Event = Event>(
    target: EventTarget,
    events: string,
    handler: (event: E) => void,
    options: AddEventListenerOptions = {},
  ): void {
    for (const event of events.split(" ")) {
      target.addEventListener(event, handler as EventListener, {
        ...options,
        signal: this.done.signal,
      });
    }
  }

  run(): void {
    this.done.abort();
    for (const step of this.#steps.splice(0).reverse()) step();
  }
}

/** What of the page's height can be seen at an element: what scrolls or clips around it cuts it off. */
function inSight(element: Element): { top: number; bottom: number } {
  let [top, bottom] = [0, window.innerHeight];
  for (let at = element.parentElement; at && at !== document.body; at = at.parentElement) {
    if (getComputedStyle(at).overflowY === "visible") continue;
    const box = at.getBoundingClientRect();
    [top, bottom] = [Math.max(top, box.top), Math.min(bottom, box.bottom)];
  }
  return { top, bottom };
}

/** Let a folded menu open to where it can be seen, downwards where both sides have room for it; the
 * lowest ones, which a cell's end cuts off, upwards. Fold it when something else is clicked. */
export function opensInSight(details: HTMLDetailsElement, cleanup: Cleanup): void {
  cleanup.on(details, "toggle", () => {
    const menu = details.lastElementChild as HTMLElement | null;
    const root = details.closest(".fswidget");
    if (!details.open || !menu || !root) return;
    details.removeAttribute("data-rightward");
    menu.style.maxHeight = "";
    const { left, height } = menu.getBoundingClientRect();
    attribute(details, "data-rightward", left < root.getBoundingClientRect().left);
    const here = details.getBoundingClientRect();
    const { top, bottom } = inSight(details);
    const [above, below] = [here.top - top, Math.min(bottom, end(root)) - here.bottom];
    const up = below < height + EDGE && above > below;
    attribute(details, "data-upward", up);
    menu.style.maxHeight = `${Math.max(LEAST, Math.min(MENU, (up ? above : below) - EDGE))}px`;
  });
  cleanup.on<MouseEvent>(document, "pointerdown", (event) => {
    if (details.open && !event.composedPath().includes(details)) details.open = false;
  });
}

function end(root: Element): number {
  return root.getBoundingClientRect().bottom;
}

/** A folded menu behind a quiet button. */
export function menu(
  name: string,
  sign: Icon | null,
  title: string,
  cleanup: Cleanup,
  ...content: Child[]
): HTMLDetailsElement {
  const label = h("span", {}, name);
  const chevron = sign ? null : icon("chev");
  const summary = h("summary", { class: "fsw-q", title, "aria-label": name }, label, chevron);
  if (sign) summary.prepend(icon(sign));
  const details = h("details", { class: "fsw-details" }, summary, ...content);
  opensInSight(details, cleanup);
  return details;
}

export function button(label: string, title = label, attributes: Attributes = {}) {
  return h("button", { type: "button", title, ...attributes }, label);
}

/** A quiet button that is an icon; its name is for assistive technology and for the tooltip. */
export function iconButton(sign: Icon, name: string, title = name, attributes: Attributes = {}) {
  const made = button("", title, { class: "fsw-q", "aria-label": name, ...attributes });
  made.append(icon(sign));
  return made;
}

/** Text with the subscripts of D_LR and k95 set as such. */
export function rich(text: string): (string | Element)[] {
  const parts = text.split(/(D_LR|k95)/).flatMap((part) => {
    const whole = part === "D_LR" || part === "k95";
    return whole ? [part.charAt(0), h("sub", {}, part.replace(/^D_|^k/, ""))] : [part];
  });
  return parts.filter((part) => part !== "");
}

/** The same within an element, as `setText` does it. */
export function setRich(element: Element, value: string): void {
  const [nodes, parts] = [[...element.childNodes], rich(value)];
  const alike = parts.every((part, at) => (typeof part === "string") === nodes[at] instanceof Text);
  if (!alike || nodes.length !== parts.length) element.replaceChildren(...parts);
  else
    nodes.forEach((node, at) => {
      const part = parts[at];
      if (typeof part === "string" && node.nodeValue !== part) node.nodeValue = part;
      else if (part instanceof Element) setText(node as Element, part.textContent ?? "");
    });
}

/** 0.0123 → "0.0123", 123456 → "1.23e+5": three digits, as short as they come. */
export function format(value: number | undefined, digits = 3): string {
  if (value === undefined || Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  return String(Number(value.toPrecision(digits))).replace("-", "−");
}
