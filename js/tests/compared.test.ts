import { gzipSync } from "node:zlib";
import { afterEach, describe, expect, it, vi } from "vitest";
import type { Words } from "../src/data/scene";
import { Store } from "../src/data/store";
import { mount } from "../src/host/page";
import widget from "../src/index";
import { compared, parts } from "../src/ui/compared";
import { Comparing } from "../src/ui/comparing";
import { FakeModel, fakeBokeh, frameMessage, golden, runMessage, traits } from "./fake";

afterEach(() => document.body.replaceChildren());

function make(extra: Record<string, unknown> = {}) {
  const pack = new DataView(new ArrayBuffer(0));
  const views = ["plain", "batch norm"].map((title) => ({
    title,
    run: "run-1",
    num_frames: 3,
  }));
  return new FakeModel(
    traits({
      _bokehjs: new DataView(new ArrayBuffer(8)),
      _compared: JSON.stringify(views),
      _packs: [pack, pack],
      _linked: true,
      ...extra,
    }),
  );
}

describe("several recordings in one widget", () => {
  it("has a model each, with a store of its own", () => {
    const model = make();
    expect(compared(model).map(({ title }) => title)).toEqual(["plain", "batch norm"]);
    const { models } = parts(model);
    const [one, two] = models.map((part) => part.get("_bokehjs"));
    expect(one).not.toBe(two);
    expect(models[0]?.get("_packed")).toBeDefined();
  });

  it("goes through the epochs together, and tells and hears them from outside", () => {
    const model = make();
    const { models, close } = parts(model);
    models[1]?.set("epoch", 2);
    expect(models[0]?.get("epoch")).toBe(2);
    expect(model.get("epoch")).toBe(2);
    model.set("epoch", 1);
    expect(models.map((part) => part.get("epoch"))).toEqual([1, 1]);
    model.set("theme", "dark");
    expect(models[1]?.get("theme")).toBe("dark");
    close();
    model.set("epoch", 0);
    expect(models.map((part) => part.get("epoch"))).toEqual([1, 1]);
  });

  it("may leave them apart", () => {
    const { models } = parts(make({ _linked: false }));
    models[0]?.set("epoch", 2);
    expect(models[1]?.get("epoch")).toBeNull();
  });
});

/** A page of three recordings, as fswidget/widget/html.py writes it. */
async function page(extra: Partial<Words> = {}) {
  const packed = gzipSync(Buffer.from(golden().block, "base64")).toString("base64");
  const { _bokehjs, _packed, ...plain } = traits({ captions: true });
  const figures = JSON.parse(String(plain._figures));
  const _figures = JSON.stringify({ ...figures, words: { ...figures.words, ...extra } });
  const views = ["plain", "batch norm", "<b>"].map((title, at) => ({
    title,
    traits: { run: `run-${at + 1}`, num_frames: 3, epoch: null },
    bytes: { _packed: packed },
  }));
  const root = document.createElement("div");
  document.body.append(root);
  const plots = fakeBokeh(7);
  const style = "";
  const own = { _bokehjs: Buffer.from(new Uint8Array(7)).toString("base64") };
  await mount(widget, root, { traits: { ...plain, _figures }, bytes: own, style, views });
  await vi.waitFor(() =>
    expect(root.querySelector(".fswidget")?.getAttribute("data-drawn")).toBeTruthy(),
  );
  return { root, plots };
}

describe("several recordings in one view", () => {
  it("overlays their curves in shared axes, and has the samples of each", async () => {
    const { root, plots } = await page();
    expect(root.querySelectorAll(".fswidget")).toHaveLength(1);
    expect(root.querySelectorAll("[data-testid=scrubber]")).toHaveLength(1);
    expect(root.querySelectorAll("[data-panel=projections]")).toHaveLength(3);
    expect(root.querySelector(".fsw-heads")?.textContent).toContain("<b>"); // names stay text
    const overlays = plots.filter(({ name }) => name === "history");
    expect(overlays).toHaveLength(3);
    for (const plot of overlays) {
      const { xs, color } = plot.data("curves") as unknown as { xs: unknown[]; color: string[] };
      expect(xs.length % 3).toBe(0);
      expect(new Set(color).size).toBe(3);
      expect(plot.find("range:x").start).toBeLessThan(plot.find("range:x").end as number);
    }
  });

  it("says beside a name where its regime is still that of the frame before", async () => {
    const heads = async (kept: string) => {
      const { root } = await page({ kept });
      return root.querySelector(".fsw-heads")?.textContent ?? "";
    };
    expect(await heads("no sentence begins so")).toContain("plainMF–EF");
    expect(await heads("")).toContain("plainstill MF–EF"); // every sentence begins so
  });

  it("goes through the epochs with one slider", async () => {
    const { root, plots } = await page();
    const view = root.querySelector(".fswidget") as HTMLElement;
    const kept = () => plots.filter(({ name }) => name === "history")[2]?.data("curves");
    const curves = kept();
    const { epochs } = golden().expected;
    expect(view.dataset.drawn?.split(" ")).toHaveLength(3);
    const slider = root.querySelector("[data-testid=scrubber]") as HTMLInputElement;
    slider.value = "0";
    slider.dispatchEvent(new Event("input"));
    await vi.waitFor(() => expect(view.dataset.epoch).toBe(String(epochs[0])));
    await vi.waitFor(() => expect(new Set(view.dataset.drawn?.split(" ")).size).toBe(1));
    // The curves over all epochs are what they were: only the dots have moved.
    expect(kept()).toBe(curves);
  });

  it("colours the samples by the target that is chosen", async () => {
    const plots = fakeBokeh(7);
    const model = new FakeModel(traits({ run: "a" }));
    const store = new Store(model);
    const targets = [10, 11, 12, 13].map((second, first) => [first, second]);
    const info = { class_names: [], task: "squared_error", num_outputs: 2 };
    for (const { content, body } of [runMessage("a", info, targets), frameMessage("a", 0, -1)]) {
      model.message(content, body);
    }
    const root = document.createElement("div");
    document.body.append(root);
    const view = new Comparing(model, [{ title: "one", store }], root);
    const labels = () => plots.find(({ name }) => name === "projections")?.data("samples").label;
    await vi.waitFor(() => expect([...(labels() as Float32Array)]).toEqual([0, 1, 2, 0]));
    const choice = root.querySelector("[data-testid=target]") as HTMLSelectElement;
    choice.value = "1";
    choice.dispatchEvent(new Event("change"));
    await vi.waitFor(() => expect([...(labels() as Float32Array)]).toEqual([10, 11, 12, 13]));
    view.dispose();
    store.close();
  });
});
