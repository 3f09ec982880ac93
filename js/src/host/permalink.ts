// What of a page's state its address holds, from "#" on: "#width=256&epoch=3".

import { listen, type Model } from "./model";

/** Traits by name; what cannot be read is left out. */
export function readHash(hash: string): Record<string, unknown> {
  const found: Record<string, unknown> = {};
  for (const [name, value] of new URLSearchParams(hash.replace(/^#/, ""))) {
    try {
      found[name] = JSON.parse(value);
    } catch {
      found[name] = value;
    }
  }
  return found;
}

export function writeHash(state: Record<string, unknown>): string {
  const parts = Object.entries(state).filter(([, value]) => value !== null && value !== undefined);
  const text = ([name, value]: [string, unknown]) =>
    `${name}=${encodeURIComponent(typeof value === "string" ? value : JSON.stringify(value))}`;
  return parts.length ? `#${parts.map(text).join("&")}` : "";
}

/** Open where the address says, and keep the address at what is on show. */
export function permalink(model: Model, names: string[], frame: Window = window): () => void {
  const known = new Set([...names, "epoch"]);
  for (const [name, value] of Object.entries(readHash(frame.location.hash))) {
    if (!known.has(name)) continue;
    const epoch = name === "epoch";
    if (!epoch || (typeof value === "number" && value >= 0)) model.set(name, value);
  }
  const tell = () => {
    const { panel } = readHash(frame.location.hash);
    const state = Object.fromEntries([...known].map((name) => [name, model.get(name)]));
    try {
      frame.history.replaceState(null, "", writeHash({ ...state, panel }) || " ");
    } catch {
      // A page within a frame has no address of its own.
    }
  };
  return listen(model, Object.fromEntries([...known].map((name) => [`change:${name}`, tell])));
}

/** Bring the panel that the address names into sight. */
export function revealPanel(root: HTMLElement, frame: Window = window): void {
  const { panel } = readHash(frame.location.hash);
  if (typeof panel !== "string") return;
  root.querySelector(`[data-panel="${CSS.escape(panel)}"]`)?.scrollIntoView?.();
}
