import { expect, test, vi } from "vitest";
import { brief } from "../src/controls/runs";
import { h, setRich } from "../src/host/dom";
import widget from "../src/index";
import { places } from "../src/panels/bands";
import { proxy, runMessage } from "./fake";
import { fresh, pass, plot, show } from "./shown";

fresh();

test.each(["jupyter", "marimo"] as const)("draws the newest frame in %s", async (host) => {
  const { root, begin, push } = show({}, host);
  begin("a");
  push("a", 0, 1, 2);
  await pass();
  expect(root.dataset).toMatchObject({ run: "a", frames: "3", drawn: "2", live: "true" });
  expect(plot("spectrum").data("now").y).toEqual(Float32Array.of(1, 0.5, 0.25, 0.125));
  expect(plot("cumulative").data("utilization").y).toEqual(Float32Array.of(0.25, 0.5, 0.75, 1));
  expect(root.querySelector("[data-testid=regime]")?.textContent).toContain("Minimal features");
  expect(root.querySelector("[data-testid=regime]")?.textContent).toContain("because");
});

test("accuracy with the first k features alone is drawn where frames hold it", async () => {
  const { root, begin, push, send } = show();
  begin("a");
  push("a", 0);
  await pass();
  const drawn = () => plot("cumulative").data("truncated_accuracy").y;
  expect(drawn()).toHaveLength(0);
  const without = () => root.querySelector("[data-panel=extremes] .fsw-tools")?.textContent;
  expect(without()).not.toContain("without");
  const kept = { truncated_accuracy: [0.25, 0.5, 1, 1], ablated_score: [0.714, 0.714, 0.714] };
  send("a", 1, 0, {}, {}, kept);
  await pass();
  expect(drawn()).toEqual(Float32Array.of(0.25, 0.5, 1, 1));
  expect(root.querySelector(".fsw-c-accuracy")?.textContent).toBe("accuracy");
  expect(without()).toContain("without it 71%");
});

test("many frames in one animation frame are drawn once, the newest", async () => {
  const { begin, push, root } = show();
  begin("a");
  push("a", 0);
  await pass(6);
  const before = plot("spectrum").paints;
  for (let seq = 1; seq <= 50; seq++) push("a", seq);
  await pass(2);
  expect(plot("spectrum").paints).toBe(before + 1);
  expect(root.dataset.drawn).toBe("50");
});

test("nothing new draws nothing", async () => {
  const { begin, push, model } = show();
  begin("a");
  push("a", 0, 1);
  await pass(6);
  const columns = plot("spectrum").data("now");
  model.set("progress", { epoch: 1, epochs: 9 });
  await pass();
  expect(plot("spectrum").data("now")).toBe(columns);
});

test("the scrubber goes back while frames arrive, and one click returns to live", async () => {
  const { begin, push, model, query, root } = show();
  begin("a");
  push("a", 0, 1, 2, 3);
  await pass();
  const scrubber = query<HTMLInputElement>("[data-testid=scrubber]");
  expect(scrubber.value).toBe("3");
  scrubber.value = "1";
  scrubber.dispatchEvent(new Event("input"));
  push("a", 4, 5);
  await pass();
  expect(root.dataset).toMatchObject({ drawn: "1", live: "false", frames: "6" });
  expect(model.get("epoch")).toBe(1);
  query<HTMLButtonElement>(".fsw-live").click();
  await pass();
  expect(root.dataset).toMatchObject({ drawn: "5", live: "true" });
});

test("the epoch on show can be set and read, for links between viewers of other runs", async () => {
  const { begin, push, model, query, root } = show({ epoch: 1 });
  begin("a");
  push("a", 0, 1, 2, 3);
  await pass();
  expect(root.dataset.drawn).toBe("1"); // asked for before there were frames
  model.set("epoch", 2.5);
  await pass();
  expect(root.dataset.drawn).toBe("2");
  expect(model.get("epoch")).toBe(2.5); // not rounded: two linked viewers would pull each other
  query<HTMLButtonElement>("[aria-label=Forward]").click();
  await pass();
  expect(model.get("epoch")).toBe(3);
  query<HTMLButtonElement>(".fsw-live").click();
  await pass();
  expect(model.get("epoch")).toBeNull();
  query<HTMLButtonElement>("[aria-label=Back]").click();
  await pass();
  model.set("epoch", 0); // from a linked viewer, at once
  await pass();
  expect(root.dataset.drawn).toBe("0");
  model.set("epoch", null);
  await pass();
  expect(root.dataset).toMatchObject({ drawn: "3", live: "true" });
});

test("a choice of time is told at once, so that no late echo undoes it", async () => {
  const { begin, push, model, query } = show();
  begin("a");
  push("a", 0, 1, 2);
  await pass();
  model.untold.clear();
  const told = () => [model.get("epoch"), model.untold.size];
  const scrubber = query<HTMLInputElement>("[data-testid=scrubber]");
  scrubber.value = "1";
  scrubber.dispatchEvent(new Event("input"));
  expect(told()).toEqual([1, 0]);
  await pass();
  query<HTMLButtonElement>("[aria-label=Forward]").click();
  expect(told()).toEqual([2, 0]);
  query<HTMLButtonElement>(".fsw-live").click();
  expect(told()).toEqual([null, 0]);
  await pass();
  expect(told()).toEqual([null, 0]);
});

test("of several frames of one epoch each can be reached, and the last stands for the epoch", async () => {
  const { begin, model, query, root, send } = show();
  begin("a");
  for (const [seq, epoch] of [0, 1, 1, 1, 2].entries()) {
    send("a", seq, seq - 1, {}, { epoch });
  }
  model.set("epoch", 1);
  await pass();
  expect(root.dataset.drawn).toBe("3");
  for (const seq of ["2", "1", "0"]) {
    query<HTMLButtonElement>("[aria-label=Back]").click();
    await pass();
    expect(root.dataset.drawn).toBe(seq);
  }
});

test("play goes on frame by frame and stops at the end", async () => {
  const { begin, push, root, query } = show();
  begin("a");
  push("a", 0, 1, 2);
  await pass();
  query<HTMLButtonElement>("[aria-label=Play]").click();
  await pass();
  expect(root.dataset.drawn).toBe("0");
  await vi.advanceTimersByTimeAsync(2000);
  expect(root.dataset.drawn).toBe("2");
  expect(query("[aria-label=Play]")).not.toBeNull();
});

test("a restart leaves the run before as a ghost, until dismissed", async () => {
  const { begin, push, model, query } = show();
  begin("a", { config: { batchnorm: false } });
  push("a", 0, 1, 2);
  await pass();
  const specs = [{ name: "batchnorm", label: "Batch norm", kind: "checkbox", group: "main" }];
  model.set("_controls", JSON.stringify(specs));
  const runs = [
    { run: "a", label: "first", changed: "", frames: 3 },
    { run: "b", label: "second", changed: "batchnorm off → on", frames: 0 },
  ];
  model.set("_runs", JSON.stringify(runs));
  begin("b", { config: { batchnorm: true } });
  push("b", 0);
  await pass();
  expect(query("[data-testid=ghost]").hidden).toBe(false);
  expect(query("[data-testid=ghost]").textContent).toContain("before: batch norm off");
  expect(query(".fsw-strip").textContent).toContain("batch norm off");
  expect(query(".fsw-cell").textContent).toContain("was 2");
  expect(plot("spectrum").data("ghost").y).toHaveLength(4);
  query<HTMLButtonElement>("[data-testid=ghost] button").click();
  await pass();
  expect(query("[data-testid=ghost]").hidden).toBe(true);
  expect(plot("spectrum").data("ghost").y).toHaveLength(0);
  expect(query(".fsw-strip").textContent).not.toContain("was ");
});

test("after a reload the ghost is there again, unless it was dismissed", async () => {
  const entry = (run: string, frames: number) => ({ run, label: run, changed: `${run}!`, frames });
  const _runs = JSON.stringify([entry("x", 5), entry("y", 5), entry("z", 1), entry("a", 0)]);
  const load = async () => {
    const page = show({ _runs, run: "a" });
    page.begin("a");
    page.push("a", 0, 1);
    await pass();
    // Not the run that was over before it began.
    const asked = page.model.sent.filter(({ type, run }) => type === "sync" && run !== "a");
    const ghost = page.query("[data-testid=ghost]");
    for (const { run } of asked) {
      page.model.message(runMessage(run as string).content, runMessage(run as string).body);
      page.push(run as string, 0, 1, 2, 3, 4);
    }
    await pass();
    return { ...page, ghost, asked: asked.map(({ run }) => run) };
  };
  const first = await load();
  expect(first.asked).toEqual(["y"]);
  expect(first.ghost.hidden).toBe(false);
  // Of the same settings: its number tells it apart.
  expect(first.ghost.textContent).toBe("before: run 2");
  expect(first.root.dataset.run).toBe("a");
  first.query<HTMLButtonElement>("[data-testid=runs] [data-run=x] button").click();
  first.remove();
  const second = await load();
  expect(second.asked).toEqual(["x"]);
  second.query<HTMLButtonElement>("[data-testid=ghost] button").click();
  second.remove();
  const third = await load();
  expect(third.asked).toEqual([]);
  expect(third.ghost.hidden).toBe(true);
});

test("the gauge's ghost needle goes to the run that is pinned instead", async () => {
  const { begin, model, query, send } = show();
  const runs = ["x", "y", "a"].map((run) => ({ run, label: run, changed: "", frames: 3 }));
  model.set("_runs", JSON.stringify(runs));
  const used = { x: 1, y: 4, a: 2 };
  for (const [run, used_features] of Object.entries(used)) {
    begin(run);
    send(run, 0, -1, {}, { used_features });
  }
  const pinned = async (run: string) => {
    query<HTMLButtonElement>(`[data-testid=runs] [data-run=${run}] button`).click();
    await pass();
    return query(".fsw-needle-ghost").style.left;
  };
  // Of the same number in their runs, and of the same time.
  expect(await pinned("x")).not.toBe(await pinned("y"));
});

test("of many changes the ghost names three", () => {
  expect(brief("a 1 → 2, b off → on, c x → y")).toBe("a 1 → 2, b off → on, c x → y");
  expect(brief("a 1 → 2, b off → on, c x → y, d 1 → 2, e 0 → 1")).toBe(
    "a 1 → 2, b off → on, c x → y and 2 more",
  );
});

test("any run of the session can be pinned, and is fetched when it is not here", async () => {
  const { begin, push, model, query } = show();
  const runs = ["x", "a"].map((run) => ({ run, label: run, changed: "", frames: 3 }));
  model.set("_runs", JSON.stringify(runs));
  begin("a");
  push("a", 0, 1);
  query<HTMLButtonElement>("[data-testid=runs] [data-run=x] button").click();
  expect(model.sent.at(-1)).toMatchObject({ type: "sync", run: "x", next: 0 });
  model.message(runMessage("x").content, runMessage("x").body);
  push("x", 0, 1, 2);
  await pass();
  expect(plot("spectrum").data("ghost").y).toHaveLength(4);
});

test("axes grow with the frames, keep a zoom, and shrink only when asked", async () => {
  const { begin, push, root, query } = show();
  begin("a");
  push("a", 0);
  await pass(6);
  const range = plot("spectrum").find("range:x");
  const fitted = range.end;
  range.end = 2; // the user zooms
  push("a", 1);
  await pass();
  expect(root.dataset.drawn).toBe("1");
  expect(range.end).toBe(2);
  const fit = [...query("[data-panel=spectrum]").querySelectorAll("button")];
  fit.find(({ textContent }) => textContent === "fit axes")?.click();
  await pass();
  expect(range.end).toBe(fitted);
});

test("another run has axes of its own, with room for its ghost", async () => {
  const { begin, push } = show();
  begin("a");
  push("a", 0, 1, 2, 3, 4);
  await pass(6);
  const range = plot("history").find("range:x");
  const before = range.end;
  begin("b");
  push("b", 0, 1);
  await pass(6);
  expect(range.end).toBe(before);
  begin("c");
  push("c", 0, 1);
  await pass(6);
  expect(range.end).toBeLessThan(before as number);
});

test("the length of the run before says nothing of the next one's", async () => {
  const { begin, push, model } = show({ progress: { epochs: 300 } });
  begin("a");
  push("a", 0, 1);
  await pass(6);
  const range = plot("history").find("range:x");
  expect(range.end).toBe(300);
  begin("b");
  push("b", 0, 1);
  await pass(6);
  expect(range.end).toBeLessThan(10);
  model.set("progress", { epochs: 20 });
  await pass();
  expect(range.end).toBe(20);
});

test("where no length is known the axis moves in steps, and fits when the run ends", async () => {
  const { begin, push, model, query } = show({ state: "running" });
  begin("a");
  const ends = [];
  for (let seq = 0; seq <= 7; seq++) {
    push("a", seq);
    await pass(6);
    ends.push(plot("history").find("range:x").end);
  }
  expect(ends).toEqual([1, 1, 2, 3, 4, 5, 6, 8]);
  const length = () => query(".fsw-time input").style.getPropertyValue("--end");
  expect(length()).toBe("0.875");
  model.set("state", "finished");
  await pass();
  expect([plot("history").find("range:x").end, length()]).toEqual([7, "1"]);
});

test("where words alone change, what holds them stays in the page", () => {
  const label = h("span");
  setRich(label, "k95 3 of k95 4");
  expect(label.innerHTML).toBe("k<sub>95</sub> 3 of k<sub>95</sub> 4");
  const before = [...label.childNodes];
  setRich(label, "D_LR 5 of D_LR 6");
  expect(label.innerHTML).toBe("D<sub>LR</sub> 5 of D<sub>LR</sub> 6");
  expect(before.every((node) => node.parentNode === label)).toBe(true);
  setRich(label, "MF");
  expect(label.innerHTML).toBe("MF");
});

test("a chosen value that a frame withholds is a dash", async () => {
  const { query, begin, send } = show();
  begin("a");
  send("a", 0, -1, {}, { nc1_debiased: Number.NaN });
  await pass(6);
  const history = query("[data-panel=history]");
  const dashes = () => [...history.querySelectorAll("[title]")].map((label) => label.textContent);
  expect(dashes()).not.toContain("nc1 debiased –");
  (history.querySelector("[value=nc1_debiased]") as HTMLInputElement).click();
  await pass(6);
  expect(dashes()).toContain("nc1 debiased –");
});

test("a reset clears the view, and what was on show does not come back", async () => {
  const { begin, push, model, query } = show();
  begin("a");
  push("a", 0, 1);
  await pass();
  const empty = () => query(".fsw-grid").hasAttribute("data-empty");
  expect(empty()).toBe(false);
  expect(query(".fsw-needle:not(.fsw-needle-ghost)").hidden).toBe(false);
  model.set("run", "");
  await pass();
  expect(empty()).toBe(true);
  expect(query("[data-testid=ghost]").hidden).toBe(true);
  expect(query("[data-testid=regime]").textContent).toContain("Nothing learned yet");
  expect(query(".fsw-needle:not(.fsw-needle-ghost)").hidden).toBe(true);
  begin("b");
  await pass();
  expect(empty()).toBe(true);
  push("b", 0);
  await pass();
  expect(empty()).toBe(false);
});

test("a figure that gives way to another is left as it is", async () => {
  const { begin, push, query, root } = show();
  begin("a");
  push("a", 0, 1);
  await pass(6);
  const log = plot("spectrum");
  const ticks = log.find("ticks:x").ticks;
  const select = query<HTMLSelectElement>("[data-panel=spectrum] [aria-label=Axes]");
  select.value = "linear";
  select.dispatchEvent(new Event("change"));
  push("a", 2);
  await pass(6);
  expect(root.dataset.drawn).toBe("2");
  expect(plot("spectrum_linear").find("range:x").start).toBe(0);
  expect(plot("spectrum_linear").models.has("ticks:x")).toBe(false);
  expect([log.find("range:x").start, log.find("ticks:x").ticks]).toEqual([0.97, ticks]);
});

test("keys do not reach the notebook's shortcuts", () => {
  const { query, el } = show();
  const heard = vi.fn();
  el.addEventListener("keydown", heard);
  const event = new KeyboardEvent("keydown", { key: "d", bubbles: true });
  query("[data-testid=scrubber]").dispatchEvent(event);
  expect(heard).not.toHaveBeenCalled();
  expect(el.querySelector("[data-lm-suppress-shortcuts=true]")).not.toBeNull();
});

test("arrow keys choose the eigenfunctions", async () => {
  const { begin, push, query } = show();
  begin("a");
  push("a", 0, 1);
  await pass();
  const body = query("[data-panel=projections] .fsw-body");
  body.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" }));
  await pass();
  expect(query<HTMLSelectElement>("[data-testid=axis-x]").value).toBe("2");
  expect(plot("projections").data("samples").x).toEqual(Float32Array.of(5, 5, 5, 5));
});

test("names from users' data stay text", async () => {
  const { begin, model, root, query, send } = show();
  const evil = "<img src=x onerror=alert(1)>";
  begin("a", { class_names: [evil, evil, evil], title: evil });
  send("a", 0, -1, { regime: evil, evidence: evil });
  model.set("message", evil);
  model.set("error_text", evil);
  model.set("_runs", JSON.stringify([{ run: "a", label: evil, changed: evil, frames: 1 }]));
  await pass();
  expect(root.querySelector("img")).toBeNull();
  expect(query("[data-testid=regime]").textContent).toContain(evil);
  expect(query("[data-panel=projections] .fsw-key").textContent).toContain(evil);
});

test("a screen reader hears of frames at most once in two seconds", async () => {
  const { begin, push, query } = show();
  begin("a");
  const said = new Set<string>();
  const status = query("[data-testid=status]");
  for (let seq = 0; seq < 40; seq++) {
    push("a", seq);
    await vi.advanceTimersByTimeAsync(100);
    if (status.textContent) said.add(status.textContent);
  }
  expect(said.size).toBeGreaterThan(0);
  expect(said.size).toBeLessThanOrEqual(3);
});

test("the trainer's buttons follow the state and send commands", async () => {
  const { model, query, root } = show();
  const visible = () =>
    [...root.querySelectorAll<HTMLButtonElement>(".fsw-trainer button")]
      .filter((button) => !button.hidden)
      .map((button) => button.textContent || button.getAttribute("aria-label"));
  expect(visible()).toEqual(["Start", "Step", "Reset"]);
  query<HTMLButtonElement>(".fsw-trainer button").click();
  expect(model.sent.at(-1)).toMatchObject({ type: "command", name: "start" });
  model.set("state", "running");
  expect(visible()).toEqual(["Pause", "Step", "Stop"]);
  model.set("state", "paused");
  expect(visible()).toEqual(["Resume", "Step", "Stop"]);
  model.set("state", "finished");
  expect(visible()).toEqual(["Run", "Step", "Reset"]);
  model.set("error_text", "Traceback");
  model.set("state", "error");
  expect(query("[data-testid=error]").hidden).toBe(false);
});

test("a viewer has no trainer", () => {
  const { root } = show({ _can_train: false, state: "finished" });
  expect(root.querySelector(".fsw-trainer")).toBeNull();
});

test("the theme can be set, and otherwise follows JupyterLab", async () => {
  const { model, root } = show({ theme: "auto" });
  document.body.dataset.jpThemeLight = "false";
  await pass();
  expect(root.dataset.theme).toBe("dark");
  model.set("theme", "light");
  expect(root.dataset.theme).toBe("light");
  delete document.body.dataset.jpThemeLight;
});

test("fifty views come and go and leave no listener, timer or element behind", async () => {
  const { model, el, begin, push, close, remove } = show();
  begin("a");
  push("a", 0, 1);
  await pass();
  const listeners = model.listeners;
  const add = vi.spyOn(document.body, "addEventListener");
  for (let at = 0; at < 50; at++) {
    const other = document.createElement("div");
    const gone = widget.render({ model: proxy(model), el: other });
    await pass(2);
    gone();
    expect(other.childElementCount).toBe(0);
  }
  expect(model.listeners).toBe(listeners);
  expect(add).not.toHaveBeenCalled();
  remove();
  close();
  await vi.advanceTimersByTimeAsync(5000);
  expect(model.listeners).toBe(0);
  expect(el.childElementCount).toBe(0);
  expect(vi.getTimerCount()).toBe(0);
});

const DEBIASED = {
  low_rank_measure_error: 0.03,
  low_rank_measure_debiased: 0.86,
  low_rank_measure_debiased_error: 0.01,
};

test("the better estimate of D_LR is shown and named, and the band follows it", async () => {
  const { begin, model, query, send } = show();
  const words = (panel: string) =>
    [...query(`[data-panel=${panel}]`).querySelectorAll<HTMLElement>(".fsw-label")]
      .filter(({ hidden }) => !hidden)
      .map(({ textContent }) => textContent);
  begin("a", { layers: ["one", "two"] });
  query<HTMLButtonElement>("[data-panel=extremes] [title='Layer by layer']").click();
  const layers = {
    layer_low_rank_measure: [0.7, 0.5],
    layer_low_rank_measure_debiased: [0.8, 0.6],
    exact_eigenvalues: [8, 2],
  };
  for (const seq of [0, 1]) {
    const mean = { mean_layer_low_rank_measure_debiased: 0.8 };
    send("a", seq, seq - 1, {}, { ...DEBIASED, ...mean }, layers);
  }
  await pass(6);
  const tile = query(".fsw-numbers").children[2] as HTMLElement;
  expect(tile.textContent).toBe("0.860 ± 0.010DLR ");
  expect(tile.title).toContain("bias");
  await vi.advanceTimersByTimeAsync(2500);
  expect(query("[data-testid=status]").textContent).toContain("D_LR 0.86");
  const history = plot("history");
  const band = () => [history.data("band").y1?.[0], history.data("band").y2?.[0]];
  // Shares of 1 on the first of two bands.
  const within = (value: number, [low, high]: readonly [number, number]) =>
    low + value * (high - low);
  const style = JSON.parse(model.get("_figures") as string).style;
  const shares = places(style, ["shares", "features"]).shares ?? [0, 1];
  const expected = (...values: number[]) => values.map((value) => within(value, shares));
  for (const [at, value] of expected(0.85, 0.87).entries()) expect(band()[at]).toBeCloseTo(value);
  expect(words("history")).toContain("DLR 0.860");
  const drawn = plot("layers").data("low_rank_measure").y ?? [];
  const deep = places(style, ["shares", "others"]).shares ?? [0, 1];
  expect(drawn[0]).toBeCloseTo(within(0.8, deep));
  expect(drawn[1]).toBeCloseTo(within(0.6, deep));
  expect(words("layers")).toContain("DLR, mean 0.800"); // without the output layer
  expect(words("spectrum")).toContain("theory");
  const rings = plot("spectrum").data("exact").y ?? [];
  expect(rings[1]).toBeCloseTo((rings[0] ?? Number.NaN) / 4);
  const box = (name: string) =>
    query<HTMLInputElement>(`[data-panel=history] input[value=${name}]`);
  for (const name of ["low_rank_measure", "low_rank_measure_debiased"]) {
    box(name).click();
    await pass();
  }
  // Now the plain one alone is chosen.
  expect(box("low_rank_measure").checked).toBe(true);
  expect(box("low_rank_measure_debiased").checked).toBe(false);
  for (const [at, value] of expected(0.47, 0.53).entries()) expect(band()[at]).toBeCloseTo(value);
  expect(words("history")).toContain("DLR plain 0.500");
});

test("two curves never share a colour, also where both have the same one of their own", async () => {
  const { model, begin, send } = show();
  begin("a");
  const more = { test_accuracy: 0.5, test_r2: 0.5, low_rank_measure_debiased: 0.4, loss: 1 };
  const style = JSON.parse(String(model.get("_figures"))).style;
  expect(style.curves.test_r2).toBe(style.curves.test_accuracy);
  send("a", 0, -1, {}, more);
  await pass(6);
  const colors = plot("history").data("curves").color as unknown as string[];
  expect(colors).toHaveLength(5);
  expect(new Set(colors).size).toBe(5);
});

test("an older recording shows the plain D_LR, under one name, and lets go of it", async () => {
  const { begin, push, query } = show();
  begin("a", { layers: ["one"] });
  push("a", 0, 1);
  query<HTMLButtonElement>("[data-panel=extremes] [title='Layer by layer']").click();
  await pass(6);
  expect(query(".fsw-numbers").children[2]?.textContent).toBe("0.500DLR ");
  const words = (panel: string) =>
    [...query(`[data-panel=${panel}]`).querySelectorAll<HTMLElement>(".fsw-label")]
      .filter(({ hidden }) => !hidden)
      .map(({ textContent }) => textContent);
  expect(words("history")).toContain("DLR plain 0.500");
  expect(words("layers")).toContain("DLR plain");
  query<HTMLInputElement>("[data-panel=history] input[value=low_rank_measure]").click();
  await pass();
  expect(words("history")).not.toContain("DLR plain 0.500");
});

test("of two features both are on an axis, and of none there is an empty picture", async () => {
  const { begin, query, root, send } = show();
  begin("a");
  send("a", 0, -1, {}, {}, { projections: { values: [1, 2, 3, 4], shape: [2, 2] } });
  await pass();
  const chosen = ["x", "y"].map((axis) => query<HTMLSelectElement>(`[data-testid=axis-${axis}]`));
  expect(chosen.map(({ value }) => value)).toEqual(["0", "1"]);
  const nowhere = { values: Array(8).fill(Number.NaN), shape: [4, 2] };
  const none = { eigenvalues: [1], quality: [1], utilization: [1], projections: nowhere };
  send("a", 1, 0, { regime: "CONSTANT" }, { used_features: 1 }, none);
  await pass();
  expect(root.dataset.drawn).toBe("1");
  const words = (name: string) => {
    const shown = root.querySelectorAll(`[data-panel=${name}] .fsw-label:not([hidden])`);
    return [...shown].map(({ textContent }) => textContent).join();
  };
  expect(words("projections")).toContain("features do not vary");
  expect(["spectrum", "cumulative", "history"].map(words).join()).not.toMatch(/now|95 1|quality/);
});

test("strips of regimes stand above the curves, this run's over the other's", async () => {
  const { begin, send } = show();
  begin("a");
  const seen = ["UNTRAINED", "LAZY", "EF", "EF", "MF", "MF", "MF", "MF", "MF", "MF"];
  seen.forEach((regime, seq) => {
    send("a", seq, seq - 1, { regime });
  });
  await pass(6);
  const zones = plot("history").data("zones");
  expect(Array.from(zones.left ?? []).slice(0, 4)).toEqual([0, 0.5, 1.5, 3.5]);
  const strips = Array.from(zones.bottom ?? []).slice(0, 4);
  const curves = plot("history").data("curves").ys as unknown as Float64Array[];
  const highest = Math.max(...curves.flatMap((ys) => [...ys].filter(Number.isFinite)));
  expect(highest).toBeLessThan(Math.min(...strips));
});

test("with no more features, or samples, than outputs, minimal is not defined", async () => {
  const { begin, push, query, model } = show();
  for (const [features, samples, defined] of [
    [2, 9, false],
    [4, 2, false],
    [3, 9, false],
    [4, 9, true],
  ] as const) {
    begin(`p${features}n${samples}`, { num_features: features, num_samples: samples });
    push(`p${features}n${samples}`, 0, 1);
    await pass();
    expect(query(".fsw-regime-label").textContent).toBe(defined ? "MF" : "–");
    expect(query(".fsw-needle:not(.fsw-needle-ghost)").hidden).toBe(!defined);
    expect(query(".fsw-cell b").textContent).toBe(defined ? "2" : "–");
    expect(query(".fsw-zone[data-regime=EF]").hidden).toBe(true);
  }
  expect(model.get("run")).toBe("p4n9");
});

test("a direction that holds nearly all of the trace is named, also where not all were found", async () => {
  const { begin, query, send } = show();
  const said = () =>
    [...query("[data-panel=spectrum] .fsw-labels").querySelectorAll<HTMLElement>("span")]
      .filter(({ hidden }) => !hidden)
      .map(({ textContent }) => textContent)
      .join(" ");
  const push = async (run: string, eigenvalues: number[], more = {}) => {
    begin(run, { num_features: 8 });
    send(run, 0, -1, {}, more, { eigenvalues });
    await pass(6);
  };
  await push("a", [100, 0.4, 0.3, 0.1, 0, 0, 0, 0]);
  expect(said()).toContain("one direction holds 99% of the trace");
  await push("b", [100, 2, 1, 1, 0, 0, 0, 0]);
  expect(said()).not.toContain("one direction");
  // Of four that were found, the first three hold a half.
  await push("c", [100, 0.1, 0.1, 0.1], { top_share: 0.5 });
  expect(said()).not.toContain("one direction");
});

test("one of several targets colours the samples, by choice", async () => {
  const { begin, query, send } = show();
  begin("a", { class_names: [], task: "squared_error", num_outputs: 2 }, [
    [0, 10],
    [1, 11],
    [2, 12],
    [0, 13],
  ]);
  send("a", 0, -1);
  await pass(6);
  const choice = query<HTMLSelectElement>("[data-testid=target]");
  expect(choice.hidden).toBe(false);
  expect([...choice.options].map(({ text }) => text)).toEqual(["target 1", "target 2"]);
  expect([...(plot("projections").data("samples").label as Float32Array)]).toEqual([0, 1, 2, 0]);
  choice.value = "1";
  choice.dispatchEvent(new Event("change"));
  await pass(6);
  expect([...(plot("projections").data("samples").label as Float32Array)]).toEqual([
    10, 11, 12, 13,
  ]);
  expect(plot("projections").find("classes")).toMatchObject({ low: 10, high: 13 });
  expect(query(".fsw-key").textContent).toContain("target 2");
  choice.value = "0";
  choice.dispatchEvent(new Event("change"));
  await pass(6);
  expect([...(plot("projections").data("samples").label as Float32Array)]).toEqual([0, 1, 2, 0]);
});

test("a lazy network's needle stands in the block of its own", async () => {
  const { begin, query, send } = show();
  begin("a", { num_features: 64 });
  send("a", 0, -1, { regime: "LAZY" });
  await pass();
  expect(query(".fsw-needle:not(.fsw-needle-ghost)").dataset.where).toBe("lazy");
  expect(query(".fsw-regime-label").textContent).toBe("LAZY");
});

test("without a kernel the last frames stay, and what needs one is off", async () => {
  const { begin, push, model, query } = show({ state: "running" });
  begin("a");
  push("a", 0, 1, 2);
  await pass();
  const banner = query(".fsw-banner");
  expect(banner.hidden).toBe(true);
  model.emit("comm_live_update");
  await pass();
  expect(banner.textContent).toBe("Kernel gone: showing the last 3 frames");
  expect(banner.hidden).toBe(false);
  expect(query<HTMLButtonElement>(".fsw-go").disabled).toBe(true);
  const scrubber = query<HTMLInputElement>("[data-testid=scrubber]");
  scrubber.value = "1";
  scrubber.dispatchEvent(new Event("input"));
  await pass();
  expect(model.get("epoch")).toBe(1);
  // It answers after all.
  push("a", 3);
  await pass();
  expect(banner.hidden).toBe(true);
  expect(query<HTMLButtonElement>(".fsw-go").disabled).toBe(false);
});

test("a recorded experiment is played from its beginning, its first run as the ghost", async () => {
  const entry = (run: string, frames: number) => ({ run, label: run, changed: "", frames });
  const preset = { name: "grok", title: "Grokking", help: "Look.", arms: ["a", "b"] };
  const { begin, push, model, query, root } = show({
    run: "",
    state: "idle",
    _presets: JSON.stringify([{ ...preset, recorded: true }]),
    _runs: JSON.stringify([entry("A", 3), entry("B", 3)]),
  });
  const select = query<HTMLSelectElement>("[aria-label=Experiment]");
  select.value = "grok";
  select.dispatchEvent(new Event("change"));
  const [, play] = query(".fsw-experiment").querySelectorAll<HTMLButtonElement>(".fsw-plain");
  expect(play?.textContent).toBe("Play");
  play?.click();
  expect(model.sent.at(-1)).toMatchObject({ name: "experiment", value: "grok" });
  model.set("state", "finished");
  for (const run of ["A", "B"]) begin(run);
  model.set("num_frames", 3);
  await pass();
  expect(model.sent).toContainEqual(expect.objectContaining({ type: "sync", run: "A" }));
  push("B", 0, 1, 2);
  await pass();
  expect(root.dataset).toMatchObject({ run: "B", drawn: "0" });
  push("A", 0, 1, 2);
  await pass();
  expect(query(".fsw-ghost").dataset.ghost).toBe("A");
  await vi.advanceTimersByTimeAsync(2000);
  expect(root.dataset.drawn).toBe("2");
});

test("layers, too, show the run before, where they are the same ones", async () => {
  const kept = ["a", "b"].map((run) => ({ run, label: run, changed: run, frames: 2 }));
  const { begin, model, query, send } = show();
  const layered = (run: string, names: string[], ...values: number[]) => {
    begin(run, { layers: names });
    const arrays = { layer_low_rank_measure: values, layer_effective_rank: values };
    for (const seq of [0, 1]) send(run, seq, seq - 1, {}, {}, arrays);
  };
  layered("a", ["one", "two"], 0.9, 0.8);
  query<HTMLButtonElement>("[data-panel=extremes] [title='Layer by layer']").click();
  await pass(6);
  const before = () => plot("layers").data("ghost").ys ?? [];
  const word = () => query("[data-panel=layers] .fsw-label.fsw-c-ghost:not([hidden])")?.textContent;
  expect([before().length, word()]).toEqual([0, undefined]);
  const first = plot("layers").data("low_rank_measure").y;
  model.set("_runs", JSON.stringify(kept.slice(0, 1)));
  layered("b", ["one", "two"], 0.3, 0.2);
  await pass(6);
  expect(before()[0]).toEqual(first);
  expect([before().length, word()]).toEqual([2, "- - before"]);
  model.set("_runs", JSON.stringify(kept));
  layered("c", ["one", "three"], 0.3, 0.2);
  await pass(6);
  expect([before().length, word()]).toEqual([0, undefined]);
});

test("every figure is a table behind one key, which Escape closes", async () => {
  const { begin, push, query, root } = show();
  begin("a", { layers: ["one", "two"] });
  push("a", 0, 1);
  await pass(6);
  const press = (panel: Element, key: string) =>
    panel.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  const panels = [...root.querySelectorAll<HTMLElement>(".fsw-panel")].filter((one) => !one.hidden);
  expect(panels.length).toBeGreaterThanOrEqual(5);
  for (const panel of panels) {
    press(panel, "t");
    const table = panel.querySelector("table");
    const columns = table?.querySelectorAll("thead th").length;
    const rows = [...(table?.querySelectorAll("tbody tr") ?? [])];
    expect(rows.length).toBeGreaterThan(1);
    expect(rows.every((row) => row.childElementCount === columns)).toBe(true);
    press(panel, "Escape");
    expect(panel.querySelector("table")).toBeNull();
  }
  const spectrum = query("[data-panel=spectrum]");
  press(spectrum, "t");
  const cells = [...spectrum.querySelectorAll("tbody tr")].map((row) => row.textContent);
  expect(cells).toEqual(["181", "240.5", "320.25", "410.125"]);
  const history = query("[data-panel=history]");
  press(history, "t");
  const epochs = () => history.querySelectorAll("tbody tr").length;
  expect(epochs()).toBe(2);
  push("a", 2); // what is on show goes on with the run
  await pass(6);
  expect(epochs()).toBe(3);
  expect(query("[data-panel=history] .fsw-figure-text").getAttribute("aria-label")).toMatch(
    /used features goes from 2 to 2/,
  );
});

test("quality is shown against intensity where that is chosen, and made only then", async () => {
  const { begin, query, send } = show();
  begin("a");
  const arrays = { eigenvalues: [4, 2, 1], quality: [0.5, 0.8, 0.8] };
  send("a", 0, -1, {}, { quality_agreement: 0.25 }, arrays);
  send("a", 1, 0, {}, { quality_agreement: 0.75 }, arrays);
  await pass(6);
  const chooser = query<HTMLSelectElement>("[data-panel=cumulative] select");
  chooser.value = "each";
  chooser.dispatchEvent(new Event("change"));
  await pass(8);
  const { x, y, color } = plot("intensity").data("strengths");
  // Two frames of two features each: the third expresses nothing.
  expect([...Array.from(x ?? [])]).toEqual([1, 0.5, 1, 0.5]);
  for (const [at, quality] of [0.5, 0.3, 0.5, 0.3].entries()) {
    expect(y?.[at]).toBeCloseTo(quality);
  }
  expect(new Set(Array.from(color ?? [])).size).toBe(2);
  expect(query("[data-panel=cumulative]").textContent).toContain("0.75");
  chooser.value = "";
  chooser.dispatchEvent(new Event("change"));
  await pass(8);
  expect(plot("cumulative").data("utilization").y?.length).toBeGreaterThan(0);
});
