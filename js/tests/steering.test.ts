// Steering, branching and seeds, in the view without a kernel.

import { expect, test } from "vitest";
import { depth } from "../src/controls/runs";
import type { Scene, Style } from "../src/data/scene";
import { beyondSeeds } from "../src/data/seeds";
import { changes } from "../src/data/steered";
import type { Run } from "../src/data/store";
import { traits } from "./fake";
import { fresh, pass, plot, show } from "./shown";

fresh();

/** A view with a kernel that trains. */
function steered(extra: Record<string, unknown> = {}) {
  const { model, root, query, begin, send } = show({
    _can_train: true,
    state: "finished",
    ...extra,
  });
  return {
    model,
    root,
    query,
    begin: (run: string, entries: object[] = []) => {
      model.set("_runs", JSON.stringify(entries));
      begin(run, { num_features: 40 });
    },
    push: (run: string, seq: number, labels = {}, more = {}, arrays = {}) => {
      send(run, seq, seq - 1, labels, more, arrays);
      model.set("num_frames", seq + 1);
    },
  };
}

const entry = (run: string, more = {}) => ({ run, label: run, changed: "", frames: 3, ...more });

test("what was steered is a mark in the history, with its words", async () => {
  const { begin, push } = steered();
  begin("a");
  const label = "step 10 (epoch 1): lr 0.1 → 0.01\nstep 20 (epoch 2.5): batch_size 64 → 32";
  push("a", 0);
  push("a", 1);
  push("a", 2, { changes: label });
  await pass();
  expect(Array.from(plot("history").data("steered").x ?? [])).toEqual([1, 2.5]);
  const frames = [{ labels: {} }, { labels: { changes: label } }];
  expect(changes({ frames } as unknown as Run)[1]).toEqual({
    epoch: 2.5,
    words: "batch_size 64 → 32",
  });
});

test("a finished run goes on, and branches at the epoch on show", async () => {
  const { model, begin, push, query } = steered({ epochs: 20, num_frames: 0 });
  expect(query("[aria-label='Branch here']").hidden).toBe(true);
  begin("a");
  for (const seq of [0, 1, 2]) push("a", seq);
  await pass();
  query("[aria-label='Go on']").click();
  query("[aria-label='Branch here']").click();
  const commands = model.sent.filter(({ type }) => type === "command");
  expect(commands).toEqual([
    { type: "command", name: "go_on", value: 10 },
    { type: "command", name: "branch" },
  ]);
  model.set("seeds", 3); // a mean has no state to go on from
  expect(query("[aria-label='Branch here']").hidden).toBe(true);
  expect(query("[aria-label='Go on']").hidden).toBe(true);
  model.set("seeds", 1);
  model.set("state", "running");
  expect(query("[aria-label='Go on']").hidden).toBe(true);
});

test("the ghost of a branch is its parent, and the menu shows the tree", async () => {
  const { begin, push, query } = steered();
  for (const run of ["a", "b"]) {
    begin(run, [entry("a"), entry("b")]);
    for (const seq of [0, 1, 2]) push(run, seq);
    await pass();
  }
  begin("c", [entry("a"), entry("b"), entry("c", { parent: "a", epoch: 1 })]);
  push("c", 0);
  await pass();
  expect(query("[data-testid=ghost]").dataset.ghost).toBe("a");
  const names = [...query("[data-testid=runs]").querySelectorAll("li span")];
  expect(names.map(({ textContent }) => textContent?.slice(0, 4))).toEqual([
    "↳ 3.",
    "2. b",
    "1. a",
  ]);
  expect(depth([entry("a"), entry("b", { parent: "a" }), entry("c", { parent: "b" })], "c")).toBe(
    2,
  );
});

test("the mean of seeds takes the place of its first run; the ghost stays", async () => {
  const { begin, push, query, root } = steered();
  for (const run of ["a", "b"]) {
    begin(run, [entry("a"), entry("b")]);
    for (const seq of [0, 1]) push(run, seq);
    await pass();
  }
  expect(query("[data-testid=ghost]").dataset.ghost).toBe("a");
  begin("b-2", [entry("a"), entry("b-2", { replaces: "b" })]);
  for (const seq of [0, 1]) {
    const errors = { used_features_error: 1, low_rank_measure_error: 0.1 };
    push("b-2", seq, { seeds: "3" }, errors, { seeds_used_features: [1, 2, 3] });
  }
  await pass();
  expect(query("[data-testid=ghost]").dataset.ghost).toBe("a");
  expect(root.querySelectorAll(".fsw-needle-seed")).toHaveLength(3);
  // One band per curve that has a spread, and none of a single run.
  expect(plot("history").data("spread").color).toHaveLength(2);
  expect(plot("history").data("band").x).toHaveLength(0);
  expect(query("[data-testid=ghost]").title).toContain("One of the two has a single seed");
});

test.each([
  [10, 0.5, "k95 differs by more than seeds do, D_LR differs no more than seeds do"],
  [3, 0.9, "k95 differs no more than seeds do, D_LR differs by more than seeds do"],
])("k95 %d and D_LR %d against 2 and 0.45, in words", (used, dlr, said) => {
  const frame = (k: number, d: number) => ({
    labels: { seeds: "3" },
    scalars: {
      ...{ used_features: k, used_features_error: 1 },
      ...{ low_rank_measure: d, low_rank_measure_error: 0.1 },
    },
  });
  const { style } = JSON.parse(String(traits()._figures)) as { style: Style };
  const scene = { frame: frame(used, dlr), ghostFrame: frame(2, 0.45) } as unknown as Scene;
  expect(beyondSeeds(style, scene)).toBe(said);
});

test("a control that steers says so", async () => {
  const control = {
    ...{ name: "lr", label: "Learning rate", help: "Step size.", group: "main", kind: "number" },
    ...{ value: 0.1, steers: true },
  };
  const { query } = steered({ lr: 0.1, _controls: JSON.stringify([control]) });
  expect(query("[data-control=lr]").title).toContain("takes it up at its next step");
  expect(query("[data-control=lr] .fsw-name").dataset.steers).toBe("");
});
