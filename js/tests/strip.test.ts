// The headline over networks of every width: what is named, where the gauge ends, and why a number
// is missing.

import { describe, expect, test } from "vitest";
import type { Scene, Style, Words } from "../src/data/scene";
import type { Run } from "../src/data/store";
import type { Frame } from "../src/data/wire";
import { Cleanup } from "../src/host/dom";
import { place } from "../src/panels/gauge";
import { apart } from "../src/panels/labels";
import { RegimeView } from "../src/panels/regime";
import { regimeName, spokenFrame } from "../src/panels/words";
import { behindFeatures, strips, zonesOf } from "../src/panels/zones";
import { traits } from "./fake";

const { style, words } = JSON.parse(String(traits()._figures)) as { style: Style; words: Words };
const MEASURES = { no_low_rank_measure: "so few features leave no bias to remove" };
const says = { ...words, measures: { ...words.measures, ...MEASURES } };

function network(p: number, c: number, k: number, regime: string, dlr = 0.5, n = p) {
  const scalars = { used_features: k, low_rank_measure_debiased: dlr, kernel_drift: 0.4 };
  const frame = {
    epoch: 1,
    scalars,
    arrays: {},
    labels: { regime, evidence: `uses ${k} of ${p}` },
  };
  const directions = Math.min(p, n);
  const info = { numFeatures: p, numOutputs: c, minimalFeatures: c, directions, title: "" };
  return { run: { info, frames: [frame] } as unknown as Run, frame: frame as unknown as Frame };
}

function headline(p: number, c: number, k: number, regime: string, dlr?: number, ghost = 0, n = p) {
  const { run, frame } = network(p, c, k, regime, dlr, n);
  const view = new RegimeView(says, style, new Cleanup());
  const then = ghost ? network(p, c, ghost, regime) : { run: null, frame: null };
  const scene = { run, frame, ghost: then.run, ghostFrame: then.frame, before: "batch norm off" };
  view.draw(scene as unknown as Scene, "");
  const { root } = view;
  const all = (selector: string) => [...root.querySelectorAll<HTMLElement>(selector)];
  const one = (selector: string) => root.querySelector(selector) as HTMLElement;
  const text = (selector: string) => one(selector).textContent;
  const percent = (element: HTMLElement, side: "left" | "width") =>
    Number.parseFloat(element.style[side]);
  return { run, root, all, one, text, percent };
}

describe.each([2, 7])("with C = %i, for every p up to 2C", (c) => {
  test.each(Array.from({ length: 2 * c }, (_, at) => at + 1))("p = %i", (p) => {
    const end = place(p, c, 1024);
    for (const k of new Set([1, Math.ceil(p / 2), p])) {
      for (const regime of ["MF", "TRANSITION", "EF", "LAZY"]) {
        const { run, all, one, text, percent } = headline(p, c, k, regime);
        const told = regime === "LAZY" || p > c;
        // Named only where there are more features than the outputs need.
        expect(text(".fsw-regime-label") === "–").toBe(!told);
        if (!told) expect(text(".fsw-regime-words")).toContain(`p ${p < c ? "<" : "="} C`);
        expect(text(".fsw-cell b")).toBe(p > c ? String(k) : "–");
        expect(text(".fsw-evidence")).toBe(told ? `uses ${k} of ${p}` : "");
        // The axis ends at p: no zone, no tick and no needle beyond it, and none is of EF.
        const zones = all(".fsw-axis .fsw-zone:not(.fsw-beyond)").filter(({ hidden }) => !hidden);
        expect(zones.map(({ dataset }) => dataset.regime)).not.toContain("EF");
        // The zone of MF reaches a little beyond C, so that k95 = C is visibly within it.
        const reach = Math.max(
          ...zones.map((zone) => percent(zone, "left") + percent(zone, "width")),
        );
        expect(reach).toBeLessThanOrEqual(end + 1e-9);
        for (const tick of all(".fsw-ticks span")) {
          expect(percent(tick, "left")).toBeLessThanOrEqual(end + 1e-9);
        }
        const needle = one(".fsw-needle:not(.fsw-needle-ghost)");
        expect(needle.hidden).toBe(!told);
        if (needle.dataset.where === "axis" && told) {
          expect(percent(needle, "left")).toBeLessThanOrEqual(end + 1e-9);
        }
        expect(one(".fsw-gauge").getAttribute("aria-valuemax")).toBe(String(p));
        // The strips above the history call it nothing else.
        const colors = { roles: { [regime]: "named", UNDEFINED: "grey" } };
        const [strip] = strips(run, null, colors as never, 0.1, (epoch) => epoch);
        expect(strip?.color).toBe(told ? "named" : "grey");
      }
    }
  });
});

test.each([
  [1, -13.2],
  [1, 0.4],
  [8, -2],
  [8, 1.8],
  [8, Number.NaN],
])("with %i features D_LR = %f is a dash with its reason", (p, dlr) => {
  const { root, text } = headline(p, 4, 1, "TRANSITION", dlr);
  const cells = [...root.querySelectorAll<HTMLElement>(".fsw-cell")];
  const [value, title] = [cells[2]?.querySelector("b")?.textContent, cells[2]?.title];
  expect(value).toBe("–");
  expect(title).toContain("no bias to remove");
  expect(text(".fsw-strip .fsw-card")).toContain("no bias to remove");
});

test.each([
  [10, 19, "right"],
  [19, 10, "left"],
  [19, 19, "left"],
  [59, 10, null],
])("k95 = %i beside %i before: the label of before steps to the %s", (now, before, aside) => {
  const { one } = headline(256, 10, now, "EF", 0.5, before);
  expect(one(".fsw-needle-label.fsw-c-ghost").getAttribute("data-aside")).toBe(aside);
});

test("a lazy network of few features is not said to use a number of them", () => {
  const { text } = headline(8, 10, 8, "LAZY");
  expect(text(".fsw-regime-label")).toBe("LAZY");
  expect(text(".fsw-needle-label:not(.fsw-c-ghost)")).toBe("k95 –");
  expect(headline(256, 10, 25, "LAZY").text(".fsw-needle-label:not(.fsw-c-ghost)")).toBe("k95 25");
});

test.each([
  [25, ["EF"]],
  [12, ["TRANSITION"]],
  [59, []],
])("with k95 = %i the names of zones that a needle covers step aside", (used, aside) => {
  const { root } = headline(256, 10, used, "EF");
  const moved = [...root.querySelectorAll<HTMLElement>(".fsw-zone[data-aside]")];
  expect(moved.map(({ dataset }) => dataset.regime)).toEqual(aside);
});

test("labels that would lie on each other are moved down, by a line at most", () => {
  const at = (text: string, x: number, y: number) => ({ text, x, y, big: true });
  const places = apart([at("4", 100, 50), at("6", 104, 52), at("0", 300, 51), at("7", 101, 58)]);
  expect(places.map(({ text, y }) => [text, y])).toEqual([
    ["4", 50],
    ["0", 51],
    ["6", 64],
  ]);
});

test.each(["MF", "LAZY", "CONSTANT", "UNTRAINED"])(
  "the gauge says in words that it is %s",
  (regime) => {
    const { root, one, text } = headline(20, 4, 3, regime, Number.NaN);
    const told = one(".fsw-gauge").getAttribute("aria-valuetext") ?? "";
    expect(text(".fsw-regime-words")).not.toBe("");
    expect(told).toContain(text(".fsw-regime-words"));
    const known = ["MF", "LAZY"].includes(regime);
    expect(told.includes("3 features")).toBe(known);
    // Where nothing was learned, D_LR is not missing for want of features.
    const dlr = root.querySelectorAll<HTMLElement>(".fsw-cell")[2];
    expect(dlr?.title.includes("no bias to remove")).toBe(known);
  },
);

test.each([
  ["CONSTANT", 20, ""],
  ["UNTRAINED", 20, ""],
  ["EF", 3, ""],
  ["EF", 20, "was 9"],
])(
  "of a ghost that is %s with %i features k95 is told where it says something",
  (regime, p, was) => {
    const { run, frame } = network(20, 4, 3, "MF");
    const ghost = network(p, 4, 9, regime);
    const view = new RegimeView(says, style, new Cleanup());
    const scene = { run, frame, ghost: ghost.run, ghostFrame: ghost.frame, before: "" };
    view.draw(scene as unknown as Scene, "");
    expect(view.root.querySelector(".fsw-cell .fsw-c-ghost")?.textContent).toBe(was);
  },
);

test.each([
  // Samples: fewer than outputs, fewer than twice as many, and enough.
  [7, "TRANSITION", "UNDEFINED"],
  [7, "LAZY", "UNDEFINED"],
  [10, "TRANSITION", "UNDEFINED"],
  [15, "TRANSITION", "TRANSITION"],
  [15, "MF", "MF"],
  [100, "TRANSITION", "MF"],
])("with %i samples of 10 classes %s the needle stands in a zone of %s", (n, regime, zone) => {
  const { run, root, one, all, text } = headline(64, 10, 6, regime, 0.5, 0, n);
  const undefined_ = zone === "UNDEFINED";
  const first = all(".fsw-axis .fsw-zone")[0];
  expect([first?.dataset.regime, first?.textContent]).toEqual([zone, zone === "MF" ? "MF" : ""]);
  expect(text(".fsw-cell b")).toBe(undefined_ ? "–" : "6");
  expect(text(".fsw-needle-label:not(.fsw-c-ghost)")).toBe(undefined_ ? "k95 –" : "k95 6");
  const strip = root.dataset.regime;
  expect(strip).toBe(undefined_ && regime !== "LAZY" ? zone : regime);
  expect(one(".fsw-needle:not(.fsw-needle-ghost)").hidden).toBe(strip === "UNDEFINED");
  if (strip === "UNDEFINED")
    expect(text(".fsw-regime-words")).toContain(`n ${n < 10 ? "<" : "="} C`);
  // Behind the history's k95 the same.
  const colors = { roles: { [zone]: "named" }, veil: 0.2 };
  const scale = { place: (k: number) => k, bounds: [0.5, 64] };
  const scene = { run, frame: run.frames[0], colors };
  expect(behindFeatures(scale as never, 1, scene as never)[0]?.color).toBe("named");
});

test.each([
  ["MF", 64, "Still minimal features", "still MF"],
  ["LAZY", 64, "Features still hardly moved", "still LAZY"],
  ["UNTRAINED", 64, "Still nothing learned yet", "still UNTRAINED"],
  // Of these nothing is told, kept or not.
  ["MF", 10, "Not defined: p = C", "not defined"],
])("a label %s of %i features that is kept is said to be kept", (regime, p, words, name) => {
  const { run, frame } = network(p, 10, 11, regime);
  frame.labels.evidence = `${says.kept} that of the frame before: TRANSITION is not sure enough`;
  const view = new RegimeView(says, style, new Cleanup());
  view.draw({ run, frame, ghost: null, ghostFrame: null } as never, "");
  const text = (selector: string) => view.root.querySelector(selector)?.textContent;
  expect(text(".fsw-regime-words")).toBe(words);
  const told = view.root.querySelector(".fsw-gauge")?.getAttribute("aria-valuetext");
  expect(told?.startsWith(words)).toBe(true);
  expect(regimeName(says, run, frame)).toBe(name);
  expect(spokenFrame(style, says, run, frame)).toContain(`regime ${name},`);
  frame.labels.evidence = "Few features do the work.";
  expect(regimeName(says, run, frame)).toBe(name.replace("still ", ""));
});

test.each([
  [6, 0],
  [15, 1],
  [40, 2],
])("where nothing was learned the zone of k95 = %i says so", (used, at) => {
  const zones = (regime: string) => {
    const { run, frame } = network(64, 10, used, regime);
    return zonesOf(run, frame).map(([name]) => name);
  };
  const named = ["MF", "TRANSITION", "EF"];
  expect(zones("LAZY")).toEqual(named);
  expect(zones("UNTRAINED")).toEqual(named.with(at, "UNTRAINED"));
});

test.each([2, 10, 11, 13, 100, 1000])("a needle stands in the zone of its k, C = %i", (c) => {
  const at = (k: number) => place(k, c, Math.max(1024, 4 * c));
  expect(at(c)).toBeLessThan(25);
  expect(at(c + 1)).toBeGreaterThan(25);
  expect(at(2 * c)).toBeLessThan(50);
  expect(at(2 * c + 1)).toBeGreaterThan(50);
});
