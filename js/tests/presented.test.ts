// What a lecturer may choose of a view.

import { expect, test, vi } from "vitest";
import { download } from "../src/ui/save";
import { drawn, fresh, pass, plot, show } from "./shown";

fresh();

const CONTROLS = JSON.stringify([
  {
    name: "width",
    label: "Width p",
    help: "",
    group: "main",
    kind: "slider",
    value: 8,
    min: 8,
    max: 64,
  },
  {
    name: "batchnorm",
    label: "Batch norm",
    help: "",
    group: "main",
    kind: "checkbox",
    value: false,
  },
  {
    name: "lr",
    label: "Rate",
    help: "",
    group: "advanced",
    kind: "number",
    value: 1,
    section: "Data",
  },
]);

async function shown(extra: Record<string, unknown> = {}) {
  const values = { width: 8, batchnorm: false, lr: 1 };
  const { model, el, begin, push } = show({ _controls: CONTROLS, ...values, ...extra });
  begin("a");
  push("a", 0, 1, 2, 3);
  await pass();
  const all = (selector: string) => [...el.querySelectorAll<HTMLElement>(selector)];
  const one = (selector: string) => all(selector)[0] as HTMLElement;
  return { model, all, one, pass };
}

const left = (element: HTMLElement) => element.hidden || "leftOut" in element.dataset;

test("hidden controls and parts vanish, and come back", async () => {
  const { model, one } = await shown({ hide: ["width", "lr", "tour", "save", "regime"] });
  const named = [
    "[data-control=width]",
    "[data-part=tour]",
    "[data-part=save]",
    "[data-part=regime]",
  ];
  expect(named.map((selector) => left(one(selector)))).toEqual([true, true, true, true]);
  expect(left(one("[data-control=batchnorm]"))).toBe(false);
  expect(one(".fsw-sections").hidden).toBe(true); // nothing is left of it
  model.set("hide", ["batchnorm"]);
  expect(named.map((selector) => left(one(selector)))).toEqual([false, false, false, false]);
  expect(one("[data-control=batchnorm]").hidden).toBe(true);
  expect(one(".fsw-sections").hidden).toBe(false);
});

test("locked controls show their value and take none", async () => {
  const { model, one } = await shown({ lock: ["width"] });
  const input = (name: string) => one(`[data-control=${name}] input`) as HTMLInputElement;
  expect([input("width").disabled, input("lr").disabled]).toEqual([true, false]);
  expect(one("[data-control=width] output").textContent).toBe("8");
  expect("locked" in one("[data-control=width]").dataset).toBe(true);
  model.set("width", 16); // by a preset
  expect(one("[data-control=width] output").textContent).toBe("16");
  model.set("lock", ["lr"]);
  expect([input("width").disabled, input("lr").disabled]).toEqual([false, true]);
});

test("what a sweep keeps fixed is shown like what is locked, without a line of its own", async () => {
  const fixed = { label: "Loss", help: "", group: "main", kind: "select", note: "fixed" };
  const controls = [{ ...fixed, name: "loss", value: "mse", choices: ["mse"] }];
  const { one } = await shown({ _controls: JSON.stringify(controls), loss: "mse" });
  const control = one("[data-control=loss]");
  expect((control.querySelector("select") as HTMLSelectElement).disabled).toBe(true);
  expect(control.querySelector(".fsw-reason")?.textContent).toBe("");
  expect(control.title).toContain("fixed");
});

test("captions are the lecturer's words, and the usual ones elsewhere", async () => {
  const { model, one } = await shown({ captions: { spectrum: "Look for the <b>cliff</b>." } });
  const caption = (name: string) => one(`[data-panel=${name}] .fsw-caption`).textContent;
  const usual = caption("history");
  expect(caption("spectrum")).toContain("Look for the <b>cliff</b>.");
  model.set("captions", { history: "Up to here." });
  expect(caption("history")).toContain("Up to here.");
  expect(caption("spectrum")).not.toContain("cliff");
  model.set("captions", true);
  expect(caption("history")).toBe(usual);
  const help = one("[data-panel=history] [aria-expanded]");
  expect(help.hidden).toBe(false);
  model.set("captions", false);
  expect(help.hidden).toBe(true);
});

test("chosen panels stand alone, in the order given", async () => {
  const { all } = await shown({ panels: ["history", "spectrum"] });
  expect(all("[data-panel]").map(({ dataset }) => dataset.panel)).toEqual([
    "regime",
    "history",
    "spectrum",
  ]);
  expect(drawn().sort()).toEqual(["history", "spectrum"]);
});

test("the panel and the axes are the model's, both ways", async () => {
  const { model, one, pass } = await shown({ panel: "history", axes: [1, 3] });
  expect(one(".fsw-grid").dataset.large).toBe("history");
  const axis = (name: string) => (one(`[data-testid=axis-${name}]`) as HTMLSelectElement).value;
  one("[data-panel=history] [aria-label=Shrink]").click();
  expect(model.get("panel")).toBe("");
  model.set("panel", "projections");
  await pass();
  expect([axis("x"), axis("y")]).toEqual(["0", "2"]);
  expect(one(".fsw-grid").dataset.large).toBe("projections");
  const select = one("[data-testid=axis-x]") as HTMLSelectElement;
  select.value = "1";
  select.dispatchEvent(new Event("change", { bubbles: true }));
  expect(model.get("axes")).toEqual([2, 3]);
  model.set("axes", [3, 1]);
  await pass();
  expect([axis("x"), axis("y")]).toEqual(["2", "0"]);
});

test("History shows nothing after the epoch on show where that is to be revealed", async () => {
  const { model, pass } = await shown({ epoch: 1, reveal: true });
  const curve = () => {
    const { xs } = plot("history")?.data("curves") ?? {};
    return [...((xs as unknown as Float64Array[])[0] ?? [])];
  };
  expect(curve()).toEqual([0, 1]);
  model.set("epoch", 2);
  await pass();
  expect(curve()).toEqual([0, 1, 2]);
  model.set("epoch", null);
  await pass();
  expect(curve()).toEqual([0, 1, 2, 3]);
});

test("questions fold their answers, and a preset sets several things at once", async () => {
  const { model, all, one } = await shown({
    questions: [["Why D_LR?", "<b>Because</b>"]],
    presets: { Wide: { width: 64, batchnorm: true, epoch: 1 } },
  });
  expect(one(".fsw-questions summary").textContent).toBe("Why DLR?");
  expect(one(".fsw-questions details").hasAttribute("open")).toBe(false);
  expect(one(".fsw-questions p").textContent).toBe("<b>Because</b>");
  const { saves } = model;
  const [preset] = all(".fsw-presets button");
  preset?.click();
  expect(["width", "batchnorm", "epoch"].map((name) => model.get(name))).toEqual([64, true, 1]);
  expect(model.saves).toBe(saves + 1);
});

test("what is saved is clicked as a part of the document, and gone then", () => {
  URL.createObjectURL = () => "blob:x";
  const heard = vi.fn((event: Event) => event.preventDefault());
  document.addEventListener("click", heard);
  download("run.html", new Blob(["x"]));
  const clicked = heard.mock.calls.map(([event]) => (event.target as HTMLAnchorElement).download);
  expect(clicked).toEqual(["run.html"]);
  expect(document.querySelector("a")).toBeNull();
  document.removeEventListener("click", heard);
});
