// Native inputs built from the specifications that the kernel sends, each bound to its trait.

import { differences, spoken } from "../data/changes";
import type { Run } from "../data/store";
import { attribute, type Cleanup, format, h, hide, setText } from "../host/dom";
import { assign, type ControlSpec, type Model, names, onChange, specs } from "../host/model";

/** Letters of a value and of what it was that a box of the rail holds beside each other, one that
 * shares it with a menu's arrow, and the line above a slider, with its name. */
const [ROOM, MENU_ROOM, LINE] = [16, 13, 27] as const;
/** So long after the last key a value that was chosen by keys is taken: several are one choice. */
const KEYS_MS = 400;

/** Steps of a logarithmic slider. */
const STEPS = 100;

/** Parts of the further settings, in order. */
const SECTIONS = ["Network", "Data", "Optimisation", "Measurement"];

/** A slider's position as a value, rounded to a step (and on a log slider to two digits). */
export function toValue(spec: ControlSpec, position: number): number {
  const { low, high } = bounds(spec);
  if (!spec.log) return position;
  const value = low * (high / low) ** (position / STEPS);
  if (position >= STEPS) return high;
  if (position <= 0) return low;
  const digits = Number(value.toPrecision(2));
  const rounded = isWhole(spec) ? Math.round(digits) : digits;
  return Math.min(high, Math.max(low, rounded));
}

export function toPosition(spec: ControlSpec, value: number): number {
  const { low, high } = bounds(spec);
  if (!spec.log) return value;
  return Math.round((STEPS * Math.log(Math.max(value, low) / low)) / Math.log(high / low));
}

function bounds({ min, max }: ControlSpec) {
  return { low: min ?? 0, high: max ?? 1 };
}

/** JSON does not tell 1.0 from 1, so the step decides; without one, a slider between whole numbers
 * is for whole numbers, and a field takes what is typed. */
function isWhole({ kind, step, min, max, value }: ControlSpec): boolean {
  if (typeof step === "number") return Number.isInteger(step);
  return kind === "slider" && [min, max, value].every((number) => Number.isInteger(number));
}

/** What a field takes, in words. */
export function allowed(spec: ControlSpec): string {
  const { min, max, above } = spec;
  const parts = [isWhole(spec) ? "a whole number" : ""];
  if (typeof min === "number") parts.push(`${above ? "above" : "at least"} ${format(min, 6)}`);
  if (typeof max === "number") parts.push(`at most ${format(max, 6)}`);
  const words = parts.filter(Boolean);
  const [first = "", ...rest] = words[0]?.startsWith("a whole") ? words : ["", ...words];
  return `must be ${[first, rest.join(" and ")].filter(Boolean).join(" ") || "a number"}`;
}

class Control {
  readonly root: HTMLElement;
  readonly #input: HTMLInputElement | HTMLSelectElement;
  readonly #output = h("output");
  readonly #was = h("span", { class: "fsw-was-value fsw-c-ghost" });
  readonly #reason = h("span", { class: "fsw-reason" });
  /** A value was chosen and its consequences have not come back yet. */
  #editing = false;
  #refused = "";
  #keyed = false;
  #later: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private spec: ControlSpec,
    private readonly model: Model,
    cleanup: Cleanup,
  ) {
    this.#input = this.#build();
    const { name, label, kind } = spec;
    const caption = h("span", { class: "fsw-name", "data-steers": this.spec.steers }, label);
    this.root = h(
      "label",
      { class: `fsw-control fsw-${kind}`, "data-control": name },
      ...(kind === "slider"
        ? [caption, this.#was, this.#output, this.#input]
        : [caption, this.#was, this.#input]),
      this.#reason,
    );
    cleanup.on(this.#input, "input", () => {
      this.#editing = true;
      this.#refuse("");
      this.#describe(this.#read());
    });
    // "change" comes on release, on Enter and on leaving: once for a drag, not for each pixel; but
    // on a slider once for each key.
    cleanup.on(this.#input, "keydown pointerdown", ({ type }) => {
      this.#keyed = kind === "slider" && type === "keydown";
    });
    cleanup.on(this.#input, "change", () => {
      clearTimeout(this.#later);
      if (this.#keyed) this.#later = setTimeout(() => this.#commit(), KEYS_MS);
      else this.#commit();
    });
    cleanup.on(this.#input, "blur", () => this.#editing && this.#commit());
    cleanup.add(() => clearTimeout(this.#later));
    cleanup.add(onChange(model, [name], () => this.#show()));
    this.update(spec);
  }

  update(spec: ControlSpec): void {
    const choices = JSON.stringify(spec.choices) !== JSON.stringify(this.spec.choices);
    this.spec = spec;
    if (this.#input instanceof HTMLSelectElement) {
      if (choices) this.#input.replaceChildren(...options(spec));
    } else {
      this.#limit(this.#input);
    }
    // One choice is none: it is shown, and why it stays is said beside the pointer.
    const fixed = spec.choices?.length === 1;
    const locked = fixed || names(this.model, "lock").includes(spec.name);
    this.#input.disabled = locked;
    attribute(this.root, "data-locked", locked);
    // What has no effect is left out, and so is what is not for this reader.
    hide(this.root, Boolean(spec.disabled) || names(this.model, "hide").includes(spec.name));
    const steered = "A run that is on takes it up at its next step, while “~” is switched on.";
    const help = spec.steers ? `${spec.help} ${steered}` : spec.help;
    const why = fixed && spec.note ? spec.note : "locked";
    attribute(this.root, "title", locked ? `${help} (${why})`.trim() : help);
    this.#say();
    this.#show();
  }

  /** What the run before had here, where that was something else. */
  compare(before: string | undefined): void {
    const was = before === undefined ? "" : `was ${before}`;
    const slides = this.spec.kind === "slider";
    const room = this.#input instanceof HTMLSelectElement ? MENU_ROOM : slides ? LINE : ROOM;
    const fits = this.#beside.length + was.length <= room;
    setText(this.#was, fits ? was : (slides && before) || "");
  }

  /** What stands beside such words, if something does. */
  get #beside(): string {
    const input = this.#input;
    if (this.spec.kind === "slider") return this.spec.label + this.#output.textContent;
    if (input instanceof HTMLSelectElement) return input.selectedOptions[0]?.text ?? "";
    return this.spec.kind === "number" ? input.value : "";
  }

  #commit(): void {
    clearTimeout(this.#later);
    this.#editing = false;
    const value = this.#read();
    if (value === undefined) this.#refuse(allowed(this.spec));
    else if (!Object.is(value, this.model.get(this.spec.name))) {
      assign(this.model, this.spec.name, value);
    }
  }

  #refuse(reason: string): void {
    this.#refused = reason;
    attribute(this.#input, "aria-invalid", reason ? "true" : null);
    this.#say();
  }

  #say(): void {
    const { spec } = this;
    const refused = this.#refused;
    const note = spec.choices?.length === 1 ? "" : (spec.note ?? "");
    setText(this.#reason, refused || note);
    attribute(this.root, "data-told", Boolean(refused || note));
    attribute(this.#reason, "title", refused || spec.note);
    // The kernel's refusals begin with the setting and its value.
    const byKernel = note.startsWith(`${spec.name}=`);
    attribute(this.#reason, "data-refused", Boolean(refused) || byKernel);
  }

  #build(): HTMLInputElement | HTMLSelectElement {
    const { spec } = this;
    if (spec.kind === "select") return h("select", {}, ...options(spec));
    if (spec.kind === "checkbox") return h("input", { type: "checkbox", role: "switch" });
    const input = h("input", { type: spec.kind === "slider" ? "range" : "number" });
    this.#limit(input);
    return input;
  }

  #limit(input: HTMLInputElement): void {
    const { spec } = this;
    if (spec.kind === "checkbox") return;
    const scaled = spec.log && spec.kind === "slider";
    attribute(input, "min", scaled ? 0 : spec.min);
    attribute(input, "max", scaled ? STEPS : spec.max);
    attribute(input, "step", scaled ? 1 : (spec.step ?? (isWhole(spec) ? 1 : "any")));
    attribute(input, "placeholder", spec.value === null ? "auto" : null);
  }

  #read(): unknown {
    const { spec } = this;
    const input = this.#input;
    if (input instanceof HTMLSelectElement) return spec.choices?.[input.selectedIndex];
    if (spec.kind === "checkbox") return input.checked;
    if (spec.kind === "slider") return toValue(spec, input.valueAsNumber);
    // A number that may be left open is null where its field is empty.
    if (input.value === "" && spec.value === null) return null;
    const value = input.valueAsNumber;
    if (spec.above && value === spec.min) return undefined;
    return Number.isFinite(value) && input.checkValidity() ? value : undefined;
  }

  /** The trait's value, unless the user is at it. */
  #show(): void {
    if (this.#editing) return;
    const { spec } = this;
    const input = this.#input;
    const value = this.model.get(spec.name) ?? spec.value;
    if (input instanceof HTMLSelectElement) {
      input.selectedIndex = (spec.choices ?? []).indexOf(value as string | number | null);
    } else if (spec.kind === "checkbox") {
      input.checked = Boolean(value);
    } else if (spec.kind === "slider") {
      input.value = String(toPosition(spec, Number(value)));
    } else {
      input.value = value === null || value === undefined ? "" : String(value);
    }
    this.#refuse("");
    this.#describe(value);
  }

  #describe(value: unknown): void {
    const input = this.#input;
    if (this.spec.kind !== "slider" || typeof value !== "number") return;
    setText(this.#output, format(value, 4));
    attribute(input, "aria-valuetext", format(value, 4));
    if (!(input instanceof HTMLInputElement)) return;
    const [low, high] = [Number(input.min), Number(input.max)];
    const share = high > low ? (100 * (input.valueAsNumber - low)) / (high - low) : 0;
    input.style.setProperty("--v", `${share}%`);
  }
}

function options({ choices }: ControlSpec): HTMLOptionElement[] {
  return (choices ?? []).map((choice) =>
    h("option", { value: String(choice) }, choice === null ? "–" : spoken(choice)),
  );
}

export class Settings {
  /** Sliders and switches; menus and numbers; further ones, which open over the panels. */
  readonly main = h("div", { class: "fsw-group fsw-main" });
  readonly rows = h("div", { class: "fsw-group fsw-set" });
  readonly further = h("div", { class: "fsw-sections" });
  readonly #known = new Map<string, Control>();
  readonly #sections = new Map<string, HTMLElement>();
  #compared: Set<string> = new Set();

  constructor(
    private readonly model: Model,
    private readonly cleanup: Cleanup,
  ) {
    this.#update();
    const update = () => this.#update();
    const told = ["_controls", "_controls_now", "hide", "lock"];
    cleanup.add(onChange(model, told, update));
  }

  get specs(): ControlSpec[] {
    return specs(this.model);
  }

  /** Say at each setting what the run before had, where that was something else. */
  compare(run: Run | null, before: Run | null): void {
    const found = run && before ? differences(run, before, this.specs) : [];
    for (const { name, before: value } of found) this.#known.get(name)?.compare(value);
    const names = new Set(found.map(({ name }) => name));
    for (const name of this.#compared)
      if (!names.has(name)) this.#known.get(name)?.compare(undefined);
    this.#compared = names;
  }

  #update(): void {
    for (const spec of this.specs) {
      const control = this.#known.get(spec.name);
      if (control) {
        control.update(spec);
        continue;
      }
      const made = new Control(spec, this.model, this.cleanup);
      this.#known.set(spec.name, made);
      this.#place(spec).append(made.root);
    }
    for (const group of [this.main, this.rows, this.further, ...this.#sections.values()]) {
      const shown = [...group.querySelectorAll<HTMLElement>("[data-control]")];
      hide(
        group,
        shown.every(({ hidden }) => hidden),
      );
    }
  }

  #place({ group, kind, section = "Measurement" }: ControlSpec): HTMLElement {
    if (group === "main") return ["slider", "checkbox"].includes(kind) ? this.main : this.rows;
    const known = this.#sections.get(section);
    if (known) return known;
    const made = h("section", {}, h("h4", {}, section));
    this.#sections.set(section, made);
    const order = [...SECTIONS, section];
    const sorted = [...this.#sections].sort(([a], [b]) => order.indexOf(a) - order.indexOf(b));
    this.further.replaceChildren(...sorted.map(([, element]) => element));
    return made;
  }
}
