// Native inputs built from the specifications that the kernel sends, each bound to its trait.

import { attribute, type Cleanup, format, h, hide, setText } from "../host/dom";
import { assign, type ControlSpec, listen, type Model, specs } from "../host/model";

/** Steps of a logarithmic slider. */
const STEPS = 100;

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

class Control {
  readonly root: HTMLElement;
  private readonly input: HTMLInputElement | HTMLSelectElement;
  private readonly output = h("output");
  private readonly reason = h("span", { class: "fsw-reason" });
  /** A value was chosen and its consequences have not come back yet. */
  private editing = false;

  constructor(
    private spec: ControlSpec,
    private readonly model: Model,
    cleanup: Cleanup,
  ) {
    this.input = this.build();
    const { name, label, kind } = spec;
    const caption = h("span", { class: "fsw-label" }, label);
    this.root = h(
      "label",
      { class: `fsw-control fsw-${kind}`, "data-control": name },
      ...(kind === "checkbox" ? [this.input, caption] : [caption, this.output, this.input]),
      this.reason,
    );
    cleanup.on(this.input, "input", () => {
      this.editing = true;
      this.describe(this.read());
    });
    // "change" comes on release, on Enter and on leaving: once for a drag, not for each pixel.
    cleanup.on(this.input, "change", () => {
      this.editing = false;
      const value = this.read();
      if (value === undefined) this.show();
      else if (!Object.is(value, this.model.get(name))) assign(this.model, name, value);
    });
    cleanup.add(listen(model, { [`change:${name}`]: () => this.show() }));
    this.update(spec);
  }

  update(spec: ControlSpec): void {
    const choices = JSON.stringify(spec.choices) !== JSON.stringify(this.spec.choices);
    this.spec = spec;
    if (this.input instanceof HTMLSelectElement) {
      if (choices) this.input.replaceChildren(...options(spec));
    } else {
      this.limit(this.input);
    }
    attribute(this.input, "disabled", Boolean(spec.disabled));
    attribute(this.root, "title", spec.disabled ? `${spec.disabled}. ${spec.help}` : spec.help);
    setText(this.reason, spec.disabled ?? "");
    this.show();
  }

  private build(): HTMLInputElement | HTMLSelectElement {
    const { spec } = this;
    if (spec.kind === "select") return h("select", {}, ...options(spec));
    if (spec.kind === "checkbox") return h("input", { type: "checkbox" });
    const input = h("input", { type: spec.kind === "slider" ? "range" : "number" });
    this.limit(input);
    return input;
  }

  private limit(input: HTMLInputElement): void {
    const { spec } = this;
    if (spec.kind === "checkbox") return;
    const scaled = spec.log && spec.kind === "slider";
    attribute(input, "min", scaled ? 0 : spec.min);
    attribute(input, "max", scaled ? STEPS : spec.max);
    attribute(input, "step", scaled ? 1 : (spec.step ?? (isWhole(spec) ? 1 : "any")));
    attribute(input, "placeholder", spec.value === null ? "auto" : null);
  }

  private read(): unknown {
    const { input, spec } = this;
    if (input instanceof HTMLSelectElement) return spec.choices?.[input.selectedIndex];
    if (spec.kind === "checkbox") return input.checked;
    if (spec.kind === "slider") return toValue(spec, input.valueAsNumber);
    // A number that may be left open is null where its field is empty.
    if (input.value === "" && spec.value === null) return null;
    const value = input.valueAsNumber;
    return Number.isFinite(value) && input.checkValidity() ? value : undefined;
  }

  /** The trait's value, unless the user is at it. */
  private show(): void {
    if (this.editing) return;
    const { input, spec } = this;
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
    this.describe(value);
  }

  private describe(value: unknown): void {
    if (this.spec.kind !== "slider" || typeof value !== "number") return;
    setText(this.output, format(value, 4));
    attribute(this.input, "aria-valuetext", format(value, 4));
  }
}

function options({ choices }: ControlSpec): HTMLOptionElement[] {
  return (choices ?? []).map((choice) => h("option", {}, choice === null ? "–" : String(choice)));
}

/** All controls: the main ones in sight, the advanced ones folded. */
export function controls(
  model: Model,
  cleanup: Cleanup,
): { main: HTMLElement; folded: HTMLElement } {
  const main = h("div", { class: "fsw-controls" });
  const advanced = h("div", { class: "fsw-controls" });
  const folded = h(
    "details",
    { class: "fsw-advanced" },
    h("summary", {}, "More settings"),
    advanced,
  );
  const known = new Map<string, Control>();
  const update = () => {
    for (const spec of specs(model)) {
      const control = known.get(spec.name);
      if (control) {
        control.update(spec);
        continue;
      }
      const made = new Control(spec, model, cleanup);
      known.set(spec.name, made);
      (spec.group === "main" ? main : advanced).append(made.root);
    }
    hide(main, main.children.length === 0);
    hide(folded, advanced.children.length === 0);
  };
  update();
  cleanup.add(listen(model, { "change:_controls": update, "change:_controls_now": update }));
  return { main, folded };
}
