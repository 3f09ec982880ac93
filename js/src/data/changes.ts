// What differs between two runs, in the words of the interface.

import type { ControlSpec } from "../host/model";
import type { Run } from "./store";

export interface Difference {
  name: string;
  label: string;
  before: string;
}

/** Differences that are named before the rest is only counted. */
const NAMED = 2;

const WORDS: Record<string, string> = { mse: "squared error", cross_entropy: "cross-entropy" };

/** A setting's value in words. */
export function spoken(value: unknown): string {
  if (typeof value === "boolean") return value ? "on" : "off";
  if (value === null || value === undefined) return "auto";
  if (typeof value === "number") return String(Number(value.toPrecision(4)));
  return WORDS[String(value)] ?? String(value).replaceAll("_", " ");
}

/** The settings in which a run differs from another one before it, the important ones first. */
export function differences(run: Run, before: Run, specs: ControlSpec[]): Difference[] {
  const [now, then] = [run.info.config, before.info.config];
  const known = new Map(specs.map((spec) => [spec.name, spec.label]));
  const names = [...known.keys(), ...Object.keys(now).filter((name) => !known.has(name))];
  return names
    .filter((name) => name in now && JSON.stringify(now[name]) !== JSON.stringify(then[name]))
    .map((name) => {
      const label = known.get(name) ?? name.replaceAll("_", " ");
      return { name, label, before: spoken(then[name]) };
    });
}

/** “batch norm off”: what the run before had instead. */
export function before(changes: Difference[]): string {
  const named = changes.slice(0, NAMED).map(({ label, before }) => `${lower(label)} ${before}`);
  const more = changes.length - NAMED;
  return named.join(", ") + (more > 0 ? ` and ${more} more` : "");
}

/** “batch norm off → on” of “batchnorm off → on”: the settings by what they are called here. */
export function named(changed: string, specs: ControlSpec[]): string {
  const known = new Map(specs.map(({ name, label }) => [name, lower(label)]));
  return changed.replace(/(?<=^|, )\w+/g, (name) => known.get(name) ?? name);
}

/** As within a sentence; symbols and names of their own keep their capitals. */
function lower(label: string): string {
  return /^[A-Z][a-z]/.test(label) ? label.charAt(0).toLowerCase() + label.slice(1) : label;
}
