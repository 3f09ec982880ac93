// @vitest-environment node

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { openStore } from "../src/data/store";
import { FakeModel, frameHeader, framesMessage, proxy, runMessage, traits } from "./fake";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** A store on a model that has just begun run "a". */
async function started(host: "jupyter" | "marimo" = "jupyter") {
  const model = new FakeModel(traits({ run: "a" }), host);
  const { store, close } = openStore(model);
  await store.ready;
  const { content, body } = runMessage("a");
  model.message(content, body);
  return { model, store, close };
}

function push(model: FakeModel, run: string, ...seqs: number[]): void {
  const { content, body } = framesMessage(run, ...seqs);
  model.message(content, body);
}

const seqs = (frames: { seq: number }[] | undefined) => frames?.map(({ seq }) => seq);

describe.each(["jupyter", "marimo"] as const)("in %s", (host) => {
  test("asks for everything at the start and confirms what it got", async () => {
    const { model, store } = await started(host);
    expect(model.sent).toEqual([{ type: "sync", run: "a", next: 0, described: false }]);
    push(model, "a", 0);
    push(model, "a", 1, 2, 3);
    expect(seqs(store.runs.get("a")?.frames)).toEqual([0, 1, 2, 3]);
    expect(model.sent).toHaveLength(1);
    vi.advanceTimersByTime(500);
    expect(model.sent.at(-1)).toEqual({ type: "ack", run: "a", next: 4 });
    for (const seq of [4, 5, 6, 7, 8]) push(model, "a", seq);
    expect(model.sent).toHaveLength(3); // well before the kernel waits, at 8
    expect(model.sent.at(-1)).toMatchObject({ type: "ack", next: 9 });
  });

  test("a new run is asked for by nobody: its frames come, the old ones stay", async () => {
    const { model, store } = await started(host);
    push(model, "a", 0, 1);
    model.set("run", "b");
    expect(store.current?.id).toBe("a"); // nothing of b yet: what is on screen stays
    const { content, body } = runMessage("b");
    model.message(content, body);
    push(model, "b", 0);
    expect(store.current?.id).toBe("b");
    push(model, "a", 2); // a late frame of the old run is kept, and not shown
    expect(store.current?.frames).toHaveLength(1);
    expect(store.runs.get("a")?.frames).toHaveLength(3);
  });
});

test("a gap is asked for again, and frames behind it are not shown before", async () => {
  const { model, store } = await started();
  push(model, "a", 0);
  vi.advanceTimersByTime(1500);
  push(model, "a", 2);
  expect(seqs(store.runs.get("a")?.frames)).toEqual([0]);
  expect(model.sent.at(-1)).toMatchObject({ type: "sync", next: 1 });
  push(model, "a", 1, 2);
  expect(seqs(store.runs.get("a")?.frames)).toEqual([0, 1, 2]);
});

test("a frame that the kernel thinned out is no gap", async () => {
  const { model, store } = await started();
  push(model, "a", 0);
  const { header, body } = frameHeader(5, 0);
  model.message({ type: "frames", run: "a", frames: [header] }, body);
  expect(seqs(store.runs.get("a")?.frames)).toEqual([0, 5]);
  expect(model.sent.filter(({ type }) => type === "sync")).toHaveLength(1);
});

test("frames that come twice are held once", async () => {
  const { model, store } = await started();
  push(model, "a", 0, 1);
  push(model, "a", 0, 1, 2);
  expect(seqs(store.runs.get("a")?.frames)).toEqual([0, 1, 2]);
});

test("an announced frame that never comes is asked for after a second", async () => {
  const { model } = await started();
  push(model, "a", 0);
  model.set("num_frames", 3);
  vi.advanceTimersByTime(900);
  expect(model.sent.filter(({ type }) => type === "sync")).toHaveLength(1);
  vi.advanceTimersByTime(2000);
  expect(model.sent.at(-1)).toMatchObject({ type: "sync", run: "a", next: 1 });
});

test("a kernel that never answers is not asked for ever", async () => {
  const { model } = await started();
  model.set("num_frames", 3);
  vi.advanceTimersByTime(10 * 60_000);
  expect(model.sent.length).toBeLessThan(40);
  expect(vi.getTimerCount()).toBe(0);
});

test("frames of a run never heard of make it ask for the run", async () => {
  const { model } = await started();
  push(model, "z", 0);
  expect(model.sent.at(-1)).toMatchObject({ type: "sync", run: "z", next: 0 });
});

test("views that a host wraps anew share one store, which the last one closes", () => {
  const model = new FakeModel(traits());
  const first = openStore(proxy(model));
  const second = openStore(proxy(model));
  expect(second.store).toBe(first.store);
  expect(openStore(new FakeModel(traits())).store).not.toBe(first.store);
  first.close();
  first.close();
  expect(model.listeners).toBeGreaterThan(0);
  second.close();
  expect(model.listeners).toBe(0);
});

test("a page without a kernel asks nobody", async () => {
  const model = new FakeModel(traits({ run: "a", num_frames: 5 }));
  const bare = { ...proxy(model), send: undefined };
  const { store } = openStore(bare as never);
  await store.ready;
  model.set("num_frames", 9);
  expect(vi.getTimerCount()).toBe(0);
});
