import { describe, expect, it, vi } from "vitest";
import type { Model } from "../src/host/model";
import { fromBase64, mount, PageModel, type Widget } from "../src/host/page";

const widget = (render: Widget["render"]): Widget => ({ initialize: () => {}, render });

describe("PageModel", () => {
  it("tells each listener of a change once, and nobody of no change", () => {
    const model = new PageModel({ epoch: null, theme: "auto" });
    const [first, second] = [vi.fn(), vi.fn()];
    model.on("change:epoch", first);
    model.on("change:epoch", second);
    model.set("epoch", 3);
    model.set("epoch", 3);
    model.set("theme", "dark");
    expect(model.get("epoch")).toBe(3);
    expect([first.mock.calls.length, second.mock.calls.length]).toEqual([1, 1]);
  });

  it("removes one listener and leaves the others, even while it tells them", () => {
    const model = new PageModel({ epoch: null });
    const stays = vi.fn();
    const leaves = vi.fn(() => model.off("change:epoch", leaves));
    model.on("change:epoch", leaves);
    model.on("change:epoch", stays);
    model.set("epoch", 0);
    model.set("epoch", 1);
    expect([leaves.mock.calls.length, stays.mock.calls.length]).toEqual([1, 2]);
  });
});

describe("mount", () => {
  const data = { traits: { run: "run-1" }, bytes: { _packed: btoa("\x00\xff!") }, style: "p{}" };

  it("hands traits and bytes to the widget, each root its own", async () => {
    const models: Model[] = [];
    const show = widget(({ model, el }) => {
      models.push(model);
      el.textContent = "drawn";
    });
    const roots = [document.createElement("div"), document.createElement("div")];
    for (const root of roots) await mount(show, root, data);
    expect(roots.map((root) => root.querySelector("div")?.textContent)).toEqual(["drawn", "drawn"]);
    expect(roots[0]?.querySelector("style")?.textContent).toBe("p{}");
    expect(models[0]?.get("run")).toBe("run-1");
    const packed = models[0]?.get("_packed") as DataView | undefined;
    expect([0, 1, 2].map((at) => packed?.getUint8(at))).toEqual([0, 255, 33]);
    models[0]?.set("run", "other");
    expect(models[1]?.get("run")).toBe("run-1");
    expect(models[1]?.get("_packed")).not.toBe(models[0]?.get("_packed"));
  });

  it("keeps the styles of a page that it is a part of away, and its own within", async () => {
    const root = document.createElement("div");
    await mount(
      widget(({ el }) => el.append("drawn")),
      root,
      { ...data, fragment: true },
    );
    expect(root.textContent).toBe("");
    expect(root.shadowRoot?.querySelector("style")?.textContent).toBe("p{}");
    expect(root.shadowRoot?.querySelector("div")?.textContent).toBe("drawn");
  });

  it("reads and writes the address of a page that is its own alone", async () => {
    const models: Model[] = [];
    const show = widget(({ model }) => models.push(model));
    window.history.replaceState(null, "", "#epoch=1");
    const traits = { run: "run-1", epoch: null };
    for (const address of [true, false]) {
      await mount(show, document.createElement("div"), { ...data, traits: { ...traits }, address });
    }
    expect(models.map((model) => model.get("epoch"))).toEqual([1, null]);
    models[0]?.set("epoch", 2);
    await vi.waitFor(() => expect(window.location.hash).toBe("#epoch=2"));
    vi.useFakeTimers();
    models[1]?.set("epoch", 3);
    await vi.advanceTimersByTimeAsync(1000);
    vi.useRealTimers();
    expect(window.location.hash).toBe("#epoch=2");
  });

  it("says in the page what went wrong", async () => {
    const logged = vi.spyOn(console, "error").mockImplementation(() => {});
    const root = document.createElement("div");
    const fails = widget(() => {
      throw new Error("<b>no canvas</b>");
    });
    await mount(fails, root, data);
    expect(root.textContent).toContain("<b>no canvas</b>");
    expect(root.querySelector("b")).toBeNull();
    expect(logged).toHaveBeenCalledOnce();
    logged.mockRestore();
  });
});

it("reads base64 of any length", () => {
  for (let length = 0; length < 5; length++) {
    const bytes = Array.from({ length }, (_, index) => 250 + index);
    expect([...new Uint8Array(fromBase64(btoa(String.fromCharCode(...bytes))).buffer)]).toEqual(
      bytes,
    );
  }
});
