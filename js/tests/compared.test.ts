import { describe, expect, it } from "vitest";
import { compared, parts } from "../src/ui/compared";
import { FakeModel, traits } from "./fake";

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
