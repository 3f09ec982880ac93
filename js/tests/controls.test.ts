import { afterEach, describe, expect, test } from "vitest";
import { controls, toPosition, toValue } from "../src/controls/settings";
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
  const { main, folded } = controls(model, cleanup);
  const root = document.createElement("div");
  root.append(main, folded);
  const input = <T extends Element = HTMLInputElement>(name: string) =>
    root.querySelector(`[data-control="${name}"] :is(input, select)`) as T;
  const act = (element: Element, ...events: string[]) => {
    for (const event of events) element.dispatchEvent(new Event(event, { bubbles: true }));
  };
  return { model, root, input, act };
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

test("a select gives its choice back with its type", () => {
  const { model, input, act } = show([dataset]);
  const select = input<HTMLSelectElement>("dataset");
  select.selectedIndex = 2;
  act(select, "change");
  expect(model.get("dataset")).toBeNull();
});

test("a number out of bounds is not sent and shows the old one again", () => {
  const { model, input, act } = show([{ ...momentum, disabled: null }]);
  input("momentum").value = "5";
  act(input("momentum"), "input", "change");
  expect(model.get("momentum")).toBe(0.9);
  expect(input("momentum").value).toBe("0.9");
  expect(model.saves).toBe(0);
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

test("what cannot apply is disabled, with the reason in words and as a tooltip", () => {
  const { model, root, input } = show([momentum]);
  expect(input("momentum").disabled).toBe(true);
  const control = root.querySelector('[data-control="momentum"]') as HTMLElement;
  expect(control.textContent).toContain("Adam has none");
  expect(control.title).toContain("Adam has none");
  model.set("_controls", JSON.stringify([{ ...momentum, disabled: null }]));
  expect(input("momentum").disabled).toBe(false);
  expect(control.textContent).not.toContain("Adam has none");
});

test("advanced settings are folded, main ones are not", () => {
  const { root } = show([width, momentum]);
  expect(root.querySelector('details [data-control="momentum"]')).not.toBeNull();
  expect(root.querySelector('details [data-control="width"]')).toBeNull();
});

test("labels and help are text, whatever they hold", () => {
  const { root } = show([{ ...width, label: "<img src=x>", help: "<b>", disabled: "<i>why</i>" }]);
  expect(root.querySelector("img, b, i")).toBeNull();
  expect(root.textContent).toContain("<img src=x>");
});
