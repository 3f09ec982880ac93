// What this module asks of its host. anywidget's model in Jupyter, marimo's, and the exported page's
// all fit: a change handler's arguments differ between them, so handlers read with `get` again.

export type Buffer = DataView | ArrayBuffer | ArrayBufferView;
export type Handler = (...args: unknown[]) => void;

export interface Model {
  get(name: string): unknown;
  set(name: string, value: unknown): void;
  save_changes(): void;
  on(event: string, handler: Handler): void;
  off(event: string, handler: Handler): void;
  send?(content: unknown, callbacks?: unknown, buffers?: ArrayBuffer[]): void;
}

export interface ControlSpec {
  name: string;
  label: string;
  help: string;
  group: "main" | "advanced";
  kind: "slider" | "number" | "select" | "checkbox";
  value: unknown;
  choices?: (string | number | null)[] | null;
  min?: number | null;
  max?: number | null;
  step?: number | null;
  log?: boolean;
  /** Whether the lowest value itself is not allowed. */
  above?: boolean;
  /** Why the control has no effect now; null where it has. */
  disabled?: string | null;
  /** Whether a run that is on can take it up. */
  steers?: boolean;
  /** Part of the further settings that it stands in. */
  section?: string;
  /** What another setting has changed here, and why. */
  note?: string | null;
}

export interface Preset {
  name: string;
  title: string;
  /** What to look for. */
  help: string;
  /** The runs that it makes, one after the other. */
  arms?: string[];
  /** What is missing, and how much there is to fetch; or null. */
  missing?: string | null;
  fetch?: string | null;
  /** Whether it is played and not run. */
  recorded?: boolean;
}

export interface RunEntry {
  run: string;
  label: string;
  changed: string;
  frames: number;
  /** The run that it branched from, at an epoch. */
  parent?: string;
  /** The run in whose place it stands: the mean of more seeds. */
  replaces?: string;
}

export interface Progress {
  epoch?: number;
  epochs?: number;
  fraction?: number;
  seconds?: number | null;
  seconds_left?: number | null;
}

export function text(model: Model, name: string, otherwise = ""): string {
  const value = model.get(name);
  return typeof value === "string" ? value : otherwise;
}

export function number(model: Model, name: string, otherwise = 0): number {
  const value = model.get(name);
  return typeof value === "number" ? value : otherwise;
}

export function flag(model: Model, name: string, otherwise = false): boolean {
  const value = model.get(name);
  return typeof value === "boolean" ? value : otherwise;
}

/** A list of names; empty where there is none. */
export function names(model: Model, name: string): string[] {
  const value = model.get(name);
  return Array.isArray(value) ? value.map(String) : [];
}

/** A JSON string trait; `otherwise` where it is absent or broken. */
export function json<T>(model: Model, name: string, otherwise: T): T {
  const value = text(model, name);
  if (!value) return otherwise;
  try {
    return JSON.parse(value) as T;
  } catch {
    return otherwise;
  }
}

/** The controls as they are now: `_controls` says what never changes, `_controls_now` what did. */
export function specs(model: Model): ControlSpec[] {
  const now = (model.get("_controls_now") ?? {}) as Record<string, Partial<ControlSpec>>;
  return json<ControlSpec[]>(model, "_controls", []).map((spec) => ({
    ...spec,
    ...now[spec.name],
  }));
}

/** One handler for changes of several traits; what is returned removes it. */
export function onChange(model: Model, names: readonly string[], handler: () => void): () => void {
  return listen(model, Object.fromEntries(names.map((name) => [`change:${name}`, handler])));
}

/** Several handlers whose removal is one call; never `off` without the handler, which would take
 * other views' handlers along. */
export function listen(model: Model, handlers: Record<string, Handler>): () => void {
  for (const [event, handler] of Object.entries(handlers)) model.on(event, handler);
  return () => {
    for (const [event, handler] of Object.entries(handlers)) model.off(event, handler);
  };
}

/** Set one trait from this side. */
export function assign(model: Model, name: string, value: unknown): void {
  model.set(name, value);
  model.save_changes();
}
