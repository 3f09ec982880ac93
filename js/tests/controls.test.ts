import { afterEach, describe, expect, test, vi } from "vitest";
import { allowed, Settings, toPosition, toValue } from "../src/controls/settings";
import type { Run } from "../src/data/store";
import { Cleanup } from "../src/host/dom";
import type { ControlSpec } from "../src/host/model";
import { FakeModel, traits } from "./fake";

const width: ControlSpec = {
  name: "width",
  label: "Width",
  help: "Wider networks move each feature less",
  group: "main",
  kind: "slider",
  value: 256,
  min: 8,
  max: 2048,
  step: 1,
  log: true,
  disabled: null,
};
const batchnorm: ControlSpec = { ...width, name: "batchnorm", kind: "checkbox", value: false };
const momentum: ControlSpec = {
  ...width,
  name: "momentum",
  group: "advanced",
  kind: "number",
  value: 0.9,
  min: 0,
  max: 0.99,
  step: 0.01,
  log: false,
  disabled: "Adam has none",
};
const dataset: ControlSpec = {
  ...width,
  name: "dataset",
  kind: "select",
  value: "digits",
  choices: ["digits", "mnist", null],
};

let cleanup = new Cleanup();
afterEach(() => {
  cleanup.run();
  cleanup = new Cleanup();
});

function show(specs: ControlSpec[], host: "jupyter" | "marimo" = "jupyter") {
  const values = Object.fromEntries(specs.map(({ name, value }) => [name, value]));
  const model = new FakeModel(traits({ ...values, _controls: JSON.stringify(specs) }), host);
  const settings = new Settings(model, cleanup);
  const { main, rows, further } = settings;
  const root = document.createElement("div");
  root.append(main, rows, further);
  const input = <T extends Element = HTMLInputElement>(name: string) =>
    root.querySelector(`[data-control="${name}"] :is(input, select)`) as T;
  const act = (element: Element, ...events: string[]) => {
    for (const event of events) element.dispatchEvent(new Event(event, { bubbles: true }));
  };
  return { model, root, input, act, settings };
}

test("a logarithmic slider reaches both ends and returns what it was given", () => {
  expect(toValue(width, 0)).toBe(8);
  expect(toValue(width, 100)).toBe(2048);
  for (const value of [8, 16, 256, 1000, 2048]) {
    const back = toValue(width, toPosition(width, value));
    expect(Math.abs(Math.log(back / value))).toBeLessThan(0.06);
    expect(Number.isInteger(back)).toBe(true);
  }
  const rate = { ...width, min: 1e-5, max: 1, value: 1e-3, step: null };
  expect(toValue(rate, toPosition(rate, 1e-3))).toBeCloseTo(1e-3, 5);
});

describe.each(["jupyter", "marimo"] as const)("in %s", (host) => {
  test("a slider dragged a hundred times sets its trait once, on release", () => {
    const { model, input, act } = show([width], host);
    for (let at = 1; at <= 100; at++) {
      input("width").value = String(at);
      act(input("width"), "input");
    }
    expect(model.saves).toBe(0);
    expect(model.get("width")).toBe(256);
    act(input("width"), "change");
    expect(model.get("width")).toBe(2048);
    expect(model.saves).toBe(1);
  });

  test("a change from Python moves the control", () => {
    const { model, input } = show([width, batchnorm, dataset], host);
    model.set("width", 2048);
    model.set("batchnorm", true);
    model.set("dataset", "mnist");
    expect(input("width").value).toBe("100");
    expect(input("batchnorm").checked).toBe(true);
    expect(input<HTMLSelectElement>("dataset").selectedIndex).toBe(1);
    expect(model.saves).toBe(0);
  });
});

test("while the user drags, a change from Python does not move the slider", () => {
  const { model, input, act } = show([width]);
  input("width").value = "10";
  act(input("width"), "input");
  model.set("width", 2048);
  expect(input("width").value).toBe("10");
});

test("several keys on a slider are one choice, taken after the last one or on leaving", async () => {
  vi.useFakeTimers();
  const { model, input, act } = show([width]);
  const slider = input("width");
  const press = () => {
    slider.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowLeft" }));
    slider.value = String(slider.valueAsNumber - 1);
    act(slider, "input", "change");
  };
  for (let at = 0; at < 3; at++) {
    press();
    await vi.advanceTimersByTimeAsync(300);
  }
  expect(model.saves).toBe(0);
  await vi.advanceTimersByTimeAsync(200);
  expect(model.saves).toBe(1);
  press();
  act(slider, "blur");
  expect(model.saves).toBe(2);
  await vi.advanceTimersByTimeAsync(1000);
  expect(model.saves).toBe(2);
  vi.useRealTimers();
});

test("a select gives its choice back with its type", () => {
  const { model, input, act } = show([dataset]);
  const select = input<HTMLSelectElement>("dataset");
  select.selectedIndex = 2;
  act(select, "change");
  expect(model.get("dataset")).toBeNull();
});

test("a number out of bounds is not sent, and why is said beside the field", () => {
  const rate = { ...momentum, name: "lr", min: 0, max: 10, step: null, above: true };
  const { model, root, input, act } = show([{ ...rate, disabled: null }]);
  const reason = () => root.querySelector(".fsw-reason")?.textContent;
  for (const refused of ["-1", "100", "0", ""]) {
    input("lr").value = refused;
    act(input("lr"), "input", "change");
    expect(model.get("lr")).toBe(0.9);
    expect(input("lr").getAttribute("aria-invalid")).toBe("true");
    expect(reason()).toBe("must be above 0 and at most 10");
  }
  expect(model.saves).toBe(0);
  input("lr").value = "0.1";
  act(input("lr"), "input");
  expect(reason()).toBe("");
  act(input("lr"), "change");
  expect(model.get("lr")).toBe(0.1);
});

test("what a field takes is said in words", () => {
  const whole = { ...momentum, min: 1, max: 64, step: 1 };
  expect(allowed(whole)).toBe("must be a whole number at least 1 and at most 64");
  expect(allowed({ ...momentum, step: null })).toBe("must be at least 0 and at most 0.99");
});

test("what another setting has changed is named where it happened", () => {
  const note = "mlp → transformer: cannot read modular";
  const { root } = show([{ ...dataset, note }]);
  expect(root.querySelector("[data-control=dataset]")?.textContent).toContain(note);
  expect(root.querySelector("[data-refused]")).toBeNull();
});

test("what the kernel refuses looks refused, too", () => {
  const note = "dataset='mnist': not found";
  const { root } = show([{ ...dataset, note }]);
  expect(root.querySelector("[data-refused]")?.textContent).toBe(note);
});

test("a setting says what the run before had there", () => {
  const { root, settings } = show([width, batchnorm]);
  const run = (config: object) => ({ info: { config } }) as unknown as Run;
  const said = (name: string) => root.querySelector(`[data-control=${name}] .fsw-was-value`);
  settings.compare(run({ width: 256, batchnorm: true }), run({ width: 64, batchnorm: false }));
  expect(said("width")?.textContent).toBe("was 64");
  expect(said("batchnorm")?.textContent).toBe("was off");
  settings.compare(run({ width: 256 }), null);
  expect(said("width")?.textContent).toBe("");
});

test("a box too small for a value and for what it was shows the value alone", () => {
  const { root, settings } = show([dataset]);
  const run = (value: string) => ({ info: { config: { dataset: value } } }) as unknown as Run;
  const said = () => root.querySelector("[data-control=dataset] .fsw-was-value")?.textContent;
  settings.compare(run("digits"), run("own"));
  expect(said()).toBe("was own");
  settings.compare(run("digits"), run("mnist")); // the arrow of the menu takes room, too
  expect(said()).toBe("");
});

test("a line too short for what a slider stood at says the number alone", () => {
  const samples = { ...width, name: "train_size", label: "Training samples", value: 1000 };
  const { root, settings } = show([{ ...samples, log: false, min: 2, max: 1437 }]);
  const run = (value: number) => ({ info: { config: { train_size: value } } }) as unknown as Run;
  const said = () => root.querySelector("[data-control=train_size] .fsw-was-value")?.textContent;
  settings.compare(run(1000), run(500));
  expect(said()).toBe("was 500");
  settings.compare(run(1000), run(1437));
  expect(said()).toBe("1437");
});

test("a factor that happens to be 1 takes a half", () => {
  const scale = { ...momentum, name: "scale", value: 1, min: 0, max: null, step: null };
  const { model, input, act } = show([{ ...scale, disabled: null }]);
  input("scale").value = "0.5";
  act(input("scale"), "input", "change");
  expect(model.get("scale")).toBe(0.5);
});

test("a slider between whole numbers steps by whole numbers", () => {
  const depth = { ...width, name: "depth", value: 2, min: 1, max: 8, step: null, log: false };
  const { input } = show([depth]);
  expect(input("depth").step).toBe("1");
});

test("what has no effect is left out, and its part too if nothing else is in it", () => {
  const { model, root } = show([{ ...momentum, section: "Optimisation" }]);
  const control = root.querySelector('[data-control="momentum"]') as HTMLElement;
  expect([control.hidden, control.parentElement?.hidden]).toEqual([true, true]);
  model.set("_controls", JSON.stringify([{ ...momentum, disabled: null }]));
  expect([control.hidden, control.parentElement?.hidden]).toEqual([false, false]);
});

test("further settings stand apart, in parts and in their order", () => {
  const advanced = { ...momentum, disabled: null };
  const { settings } = show([
    width,
    { ...advanced, name: "a", section: "Optimisation" },
    { ...advanced, name: "b", section: "Network" },
    { ...advanced, name: "c", section: "Network" },
  ]);
  expect(settings.main.querySelector('[data-control="width"]')).not.toBeNull();
  const parts = [...settings.further.children].map((part) => part.firstElementChild?.textContent);
  expect(parts).toEqual(["Network", "Optimisation"]);
});

test("labels and help are text, whatever they hold", () => {
  const { root } = show([{ ...width, label: "<img src=x>", help: "<b>", note: "<i>why</i>" }]);
  expect(root.querySelector("img, b, i")).toBeNull();
  expect(root.textContent).toContain("<img src=x>");
});
