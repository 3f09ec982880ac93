// @vitest-environment node
import { gzipSync } from "node:zlib";
import { describe, expect, it, vi } from "vitest";
import { GridModel, nearest } from "../src/data/grid";
import { Store } from "../src/data/store";
import type { GridLayout } from "../src/host/page";
import { golden } from "./fake";

const LAYOUT = {
  axes: [
    { name: "width", values: [8, 16, 64], log: true },
    { name: "batchnorm", values: [false, true], log: false },
  ],
  cells: {
    "0,0": { run: "run-1", shared: "run-1", label: "width 8, batchnorm off" },
    "1,0": { run: "run-2", shared: "run-1", label: "width 16, batchnorm off" },
    "2,0": { run: "run-3", shared: "run-1", label: "width 64, batchnorm off" },
  },
  missing: { "1,1": "this run failed" },
};

function make(state: Record<string, unknown> = {}, layout: GridLayout = LAYOUT) {
  const block = gzipSync(Buffer.from(golden().block, "base64")).toString("base64");
  const blocks = { "run-1": block, "run-2": block, "run-3": block };
  return new GridModel(
    { width: 8, batchnorm: false, epoch: null, run: "", ...state },
    layout,
    blocks,
  );
}

describe("nearest", () => {
  it("takes the nearer value, on a logarithmic axis by ratio", () => {
    const [width, batchnorm] = LAYOUT.axes as [never, never];
    expect([8, 10, 13, 30, 40, 1000].map((value) => nearest(width, value))).toEqual([
      0, 0, 1, 1, 2, 2,
    ]);
    expect([false, true, "other"].map((value) => nearest(batchnorm, value))).toEqual([0, 1, 0]);
  });
});

describe("GridModel", () => {
  it("opens in idle time what one move would show", async () => {
    // First of all, before other models are idle.
    const idle: (() => void)[] = [];
    vi.stubGlobal("requestIdleCallback", (next: () => void) => idle.push(next));
    const opened = vi.fn();
    class Counted extends DecompressionStream {
      constructor(format: CompressionFormat) {
        super(format);
        opened();
      }
    }
    vi.stubGlobal("DecompressionStream", Counted);
    try {
      const model = make();
      await model.ready();
      expect(opened).toHaveBeenCalledTimes(2); // a run, and what runs share
      for (let turn = 0; turn < 2; turn++) {
        await vi.waitFor(() => expect(idle).toHaveLength(1));
        idle.pop()?.();
      }
      await vi.waitFor(() => expect(opened).toHaveBeenCalledTimes(4));
      model.set("width", 64);
      await vi.waitFor(() => expect(model.get("run")).toBe("run-3"));
      expect(opened).toHaveBeenCalledTimes(4);
    } finally {
      vi.unstubAllGlobals();
    }
  });

  it("hands each run to the store once, and names what has changed", async () => {
    const model = make();
    const store = new Store(model);
    await model.ready();
    expect(store.current?.id).toBe("run-1");
    expect(store.current?.frames.map(({ epoch }) => epoch)).toEqual(golden().expected.epochs);
    const sent = vi.fn();
    model.on("msg:custom", sent);
    model.set("width", 20);
    expect(model.get("width")).toBe(16);
    await vi.waitFor(() => expect(model.get("run")).toBe("run-2"));
    expect(store.current?.id).toBe("run-2");
    expect(store.current?.info.labels).toEqual(store.runs.get("run-1")?.info.labels);
    expect(sent).toHaveBeenCalledTimes(2);
    model.set("width", 8);
    await vi.waitFor(() => expect(model.get("run")).toBe("run-1"));
    expect(sent).toHaveBeenCalledTimes(2);
    const runs = JSON.parse(String(model.get("_runs")));
    expect(runs.map(({ run }: { run: string }) => run)).toEqual(["run-2", "run-1"]);
    expect(runs[1].changed).toBe("width 16 → 8");
    store.close();
  });

  it("keeps the epoch on show", async () => {
    const model = make({ epoch: 1 });
    await model.ready();
    model.set("width", 64);
    await vi.waitFor(() => expect(model.get("run")).toBe("run-3"));
    expect(model.get("epoch")).toBe(1);
  });

  it("goes back where there is no run, and says why", async () => {
    const model = make({ width: 16 });
    await model.ready();
    const told = vi.fn();
    model.on("change:batchnorm", told);
    model.set("batchnorm", true);
    await vi.waitFor(() => expect(model.get("batchnorm")).toBe(false));
    expect(model.get("message")).toBe("Nothing to show: this run failed.");
    expect(told).toHaveBeenCalled(); // the control must move back
    model.set("width", 8);
    await vi.waitFor(() => expect(model.get("message")).toBe(""));
  });

  it("takes what is set at once as one move, past places that have no run", async () => {
    const cells = { ...LAYOUT.cells, "2,1": { run: "run-2", shared: "run-1", label: "wide, on" } };
    const model = make({ width: 16 }, { ...LAYOUT, cells });
    await model.ready();
    const told = vi.fn();
    model.on("change:message", told);
    model.set("batchnorm", true); // (16, on) has failed
    model.set("width", 64);
    await vi.waitFor(() => expect(JSON.parse(String(model.get("_runs")))).toHaveLength(1));
    await vi.waitFor(() => expect(model.get("message")).toBe(""));
    const [entry] = JSON.parse(String(model.get("_runs")));
    expect(entry.changed).toBe("width 16 → 64, batchnorm false → true");
    expect(told).not.toHaveBeenCalled();
  });

  it("shows the last of several quick moves", async () => {
    const model = make();
    await model.ready();
    const seen = vi.fn();
    model.on("change:run", () => seen(model.get("run")));
    model.set("width", 16);
    model.set("width", 64);
    await vi.waitFor(() => expect(model.get("run")).toBe("run-3"));
    expect(seen.mock.calls).toEqual([["run-3"]]);
  });
});
