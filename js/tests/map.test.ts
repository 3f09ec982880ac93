// The regimes of a sweep as a map.

import { expect, it, vi } from "vitest";
import { RegimeMap } from "../src/controls/map";
import { Cleanup } from "../src/host/dom";
import { PageModel } from "../src/host/page";

const MAP = JSON.stringify({
  axes: [
    { name: "width", label: "Width", values: [8, 16, 64] },
    { name: "batchnorm", label: "Batch norm", values: [false, true] },
    { name: "seed", label: "Seed", values: ["all", 0] },
  ],
  cells: Object.fromEntries(
    ["0,0,0", "1,0,0", "2,0,0", "2,1,0", "0,0,1"].map((place) => [
      place,
      { regime: place === "0,0,1" ? "EF" : "MF", sign: "MF", words: `${place}: minimal` },
    ]),
  ),
});

function draw(width = 8) {
  const model = new PageModel({ _map: MAP, width, batchnorm: false, seed: "all" });
  const cleanup = new Cleanup();
  const { root } = RegimeMap.of(model, cleanup) as RegimeMap;
  const cells = [...root.querySelectorAll("button")];
  const press = (key: string) =>
    root
      .querySelector("[role=radiogroup]")
      ?.dispatchEvent(new KeyboardEvent("keydown", { key, cancelable: true }));
  const here = () => cells.findIndex((cell) => cell.getAttribute("aria-checked") === "true");
  return { model, cells, press, here, cleanup };
}

it("names every run and marks the one on show", () => {
  const { model, cells, here } = draw();
  expect(cells.map((cell) => cell.textContent)).toEqual(["", "", "MF", "MF", "MF", "MF"]);
  expect(cells[0]?.getAttribute("aria-label")).toBe("no run");
  expect(here()).toBe(3); // the largest value of the second axis stands on top
  expect(cells.map((cell) => cell.tabIndex)).toEqual([-1, -1, -1, 0, -1, -1]);
  model.set("seed", 0);
  expect(cells.map(({ dataset }) => dataset.regime ?? "")).toEqual(["", "", "", "EF", "", ""]);
});

it("chooses along both axes at once", () => {
  const { model, cells, here, cleanup } = draw(16);
  const told = vi.spyOn(model, "save_changes");
  cells[2]?.click();
  expect([model.get("width"), model.get("batchnorm"), here()]).toEqual([64, true, 2]);
  expect(told).toHaveBeenCalledOnce();
  cleanup.run();
  model.set("width", 8);
  expect(here()).toBe(2); // no longer looks
});

it("chooses by keys, and stays within", () => {
  const { model, press, here } = draw();
  for (const key of ["ArrowRight", "ArrowRight", "ArrowRight", "ArrowDown", "Enter"]) press(key);
  expect([model.get("width"), here()]).toEqual([64, 5]);
  press("ArrowUp");
  expect([model.get("batchnorm"), here()]).toEqual([true, 2]);
  press("ArrowLeft");
  expect(here()).toBe(1);
});

it("is not there without a layout", () => {
  expect(RegimeMap.of(new PageModel({ _map: "" }), new Cleanup())).toBeNull();
});
