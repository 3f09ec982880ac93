// What of a page's state its address holds, from "#" on: "#width=256&epoch=3&axes=2,4".
// fswidget/widget/links.py writes and reads the same, and tests/fixtures/links.json holds both to it.

import { type Model, onChange, specs } from "./model";

/** What a link says beside settings; a preset sets the first three. */
const PLACES = ["epoch", "axes", "panel"];
const CHOICES = [...PLACES, "hide", "lock"];

/** How soon after a change the address says so. */
const TOLD_MS = 200;

const ITEM = /^([A-Za-z_]\w*|\d{1,9})$/;

/** A state out of a link; what cannot be decoded stays as it is written. */
export function readLink(link: string): Record<string, unknown> {
  const parts = link.slice(link.indexOf("#") + 1 || link.length).split("&");
  const pairs = parts.filter((part) => part.includes("="));
  return Object.fromEntries(
    pairs.map((part) => {
      const at = part.indexOf("=");
      return [plain(part.slice(0, at)), read(plain(part.slice(at + 1)))];
    }),
  );
}

export function writeLink(state: Record<string, unknown>): string {
  const quote = (text: string) => encodeURIComponent(text).replaceAll("%2C", ",");
  const parts = Object.entries(state).map(
    ([name, value]) => `${quote(name)}=${quote(written(value))}`,
  );
  return parts.length ? `#${parts.join("&")}` : "";
}

function plain(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function read(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    const items = text.split(",");
    if (items.length < 2 || !items.every((item) => ITEM.test(item))) return text;
    return items.map((item) => (/^\d+$/.test(item) ? Number(item) : item));
  }
}

/** A word as it is, a list of words with commas, anything else as JSON. */
function written(value: unknown): string {
  const whole = JSON.stringify(value);
  if (typeof value === "string") return read(value) === value ? value : whole;
  if (!Array.isArray(value) || value.length < 2) return whole;
  const items = value.map((item) => (typeof item === "string" ? item : JSON.stringify(item)));
  return JSON.stringify(read(items.join())) === whole ? items.join() : whole;
}

/** Set what a link or a preset says, as far as the model knows it, and tell its host once. */
export function take(model: Model, state: Record<string, unknown>): void {
  const known = new Set([...specs(model).map(({ name }) => name), ...CHOICES]);
  for (const [name, value] of Object.entries(state)) {
    const list = name === "hide" || name === "lock" ? [value].flat() : value;
    if (known.has(name) && possible(name, list)) model.set(name, list);
  }
  model.save_changes();
}

function possible(name: string, value: unknown): boolean {
  const all = (test: (item: unknown) => boolean) => Array.isArray(value) && value.every(test);
  switch (name) {
    case "epoch":
      return value === null || (typeof value === "number" && value >= 0);
    case "axes":
      return all((k) => Number.isInteger(k) && Number(k) > 0) && [value].flat().length === 2;
    case "panel":
      return typeof value === "string";
    case "hide":
    case "lock":
      return all((item) => typeof item === "string");
    default:
      return true;
  }
}

/** Open where the address says, keep the address at what is on show, and follow a changed one.
 *
 * Of what is no setting, only what differs from how the page was made is written. */
export function permalink(model: Model, settings: string[], frame: Window = window): () => void {
  const names = [...settings, ...CHOICES];
  const state = () => Object.fromEntries(names.map((name) => [name, model.get(name) ?? null]));
  const made = state();
  const open = () => take(model, readLink(frame.location.hash));
  open();
  const write = () => {
    const told = Object.entries(state()).filter(
      ([name, value]) =>
        settings.includes(name) || JSON.stringify(value) !== JSON.stringify(made[name]),
    );
    const short = told.map(([name, value]) =>
      Array.isArray(value) && value.length === 1 ? [name, value[0]] : [name, value],
    );
    try {
      frame.history.replaceState(null, "", writeLink(Object.fromEntries(short)) || " ");
    } catch {
      // A page within a frame has no address of its own.
    }
  };
  let later: ReturnType<typeof setTimeout> | undefined;
  // Browsers take only so many changes of an address in a while, and each takes time.
  const tell = () => {
    later ??= setTimeout(() => {
      later = undefined;
      write();
    }, TOLD_MS);
  };
  const quiet = () => {
    clearTimeout(later);
    later = undefined;
  };
  const follow = () => {
    quiet();
    take(model, { ...made, ...readLink(frame.location.hash) });
  };
  frame.addEventListener("hashchange", follow);
  const stop = onChange(model, names, tell);
  return () => {
    quiet();
    stop();
    frame.removeEventListener("hashchange", follow);
  };
}
