import { expect, test } from "vitest";
import { fresh, pass, plot, show } from "./shown";

fresh();

/** A point in a panel's body, where the pointer then is. */
async function point(panel: HTMLElement, type: string, x: number, y: number): Promise<void> {
  const body = panel.querySelector(".fsw-body") as HTMLElement;
  body.dispatchEvent(
    new MouseEvent(type, { bubbles: true, composed: true, clientX: x, clientY: y }),
  );
  await pass();
}

test("every figure says what is under the pointer, and what was there before", async () => {
  const { query, begin, push, send } = show();
  begin("a");
  push("a", 0, 1, 2);
  begin("b");
  for (const seq of [0, 1, 2]) send("b", seq, seq - 1, {}, { used_features: 3 });
  await pass(6);
  const says = async (name: string, x: number, y: number) => {
    const panel = query(`[data-panel=${name}]`);
    await point(panel, "pointermove", x, y);
    const card = panel.querySelector("[data-testid=hover-card]") as HTMLElement;
    expect(card.hidden).toBe(false);
    return card.textContent ?? "";
  };
  const spectrum = await says("spectrum", 2, 4);
  expect(spectrum).toContain("k = 2");
  expect(spectrum).toContain("ρ 4 · ρₖ/ρ₁ 0.5");
  expect(spectrum).toContain("before 0.5");
  const cumulative = await says("cumulative", 2, 0.5);
  expect(cumulative).toContain("utilization Π̂ 0.500");
  expect(cumulative).toContain("quality Π* 0.400");
  expect(cumulative).toContain("before 0.500");
  const history = await says("history", 1, 0.3);
  expect(history).toContain("epoch 1 · MF");
  expect(history).toContain("used features 3");
  expect(history).toContain("before 2");
  expect(await says("projections", 0, 0)).toContain("predicted");
  expect(await says("projections", 20, 0)).toContain("predicted"); // as near as a finger gets
});

test("a click on a class shows it alone, and another one all of them", async () => {
  const { query, begin, push } = show();
  begin("a");
  push("a", 0);
  await pass(6);
  const key = query("[data-panel=projections] .fsw-key");
  const ant = key.querySelector("button") as HTMLButtonElement;
  const selected = () =>
    (plot("projections").find("samples").selected as { indices: number[] }).indices;
  const { selected: held } = plot("projections").find("samples") as Record<string, object>;
  Object.assign(held as object, { setv: (given: object) => Object.assign(held as object, given) });
  ant.click();
  expect(ant.getAttribute("aria-pressed")).toBe("true");
  expect(selected()).toEqual([0, 3]);
  ant.click();
  expect(ant.getAttribute("aria-pressed")).toBe("false");
  expect(selected()).toEqual([]);
});

test("the history's epochs are logarithmic on request", async () => {
  const { query, begin, push } = show();
  begin("a");
  push("a", 0, 1, 2);
  await pass(6);
  const button = [...query("[data-panel=history]").querySelectorAll("button")].find(
    ({ textContent }) => textContent === "log epochs",
  ) as HTMLButtonElement;
  const ticks = () => [...(plot("history").find("ticks:x").ticks as number[])];
  expect(ticks().slice(0, 2)).toEqual([0, 0.5]);
  button.click();
  await pass();
  expect(button.getAttribute("aria-pressed")).toBe("true");
  expect(ticks()[1]).toBeCloseTo(Math.log10(2)); // 0.1
  const [xs] = plot("history").data("curves").xs as unknown as ArrayLike<number>[];
  expect(xs?.[2]).toBeCloseTo(Math.log10(21));
});

test("in the list of runs settings are called what they are called beside it", async () => {
  const runs = [
    { run: "a", label: "digits, mlp", changed: "", frames: 3 },
    { run: "b", label: "digits, mlp", changed: "batchnorm off → on, lr 0.1 → 0.01", frames: 3 },
    { run: "c", label: "digits, mlp", changed: "", frames: 3 },
  ];
  const specs = [
    { name: "batchnorm", label: "Batch norm", kind: "checkbox", value: true, help: "" },
  ];
  const { query } = show({
    _runs: JSON.stringify(runs),
    _controls: JSON.stringify(specs),
    run: "c",
  });
  const said = [...query("[data-testid=runs]").querySelectorAll("li > span")].map(
    ({ textContent }) => textContent,
  );
  expect(said).toEqual([
    "3. digits, mlp",
    "2. digits, mlp · batch norm off → on, lr 0.1 → 0.01 · 3 frames",
    "1. digits, mlp · 3 frames",
  ]);
});

test("of two spectra the higher one is named above it, and the lower one below", async () => {
  const { query, begin, send } = show();
  const heights = async (run: string, rest: number) => {
    begin(run);
    for (const seq of [0, 1])
      send(run, seq, seq - 1, {}, {}, { eigenvalues: [8, rest, rest, rest] });
    await pass(6);
    const labels = [...query("[data-panel=spectrum]").querySelectorAll<HTMLElement>(".fsw-label")];
    return ["now", "before"].map((word) => {
      const label = labels.find(
        ({ hidden, textContent }) => !hidden && textContent?.startsWith(word),
      );
      return Math.sign(Number(label?.style.transform.match(/, (-?\d+)px/)?.[1]));
    });
  };
  await heights("a", 4);
  // What stands here for a plot has its origin above.
  expect(await heights("b", 1)).toEqual([-1, 1]);
  expect(await heights("c", 6)).toEqual([1, -1]);
});

test("k95 of no more features than outputs need is a dash, and trends begin where they can", async () => {
  const { query, begin, send } = show();
  begin("a", { num_features: 3 });
  send("a", 0, -1, {}, { loss: Number.NaN });
  send("a", 1, 0, {}, { loss: 0.5 });
  send("a", 2, 1, {}, { loss: 0.25 });
  await pass(6);
  const history = query("[data-panel=history]");
  const labels = [...history.querySelectorAll<HTMLElement>(".fsw-label")];
  const words = labels.filter(({ hidden }) => !hidden).map(({ textContent }) => textContent);
  expect(words.filter((word) => word?.startsWith("used features"))).toEqual(["used features –"]);
  (history.querySelector("[aria-label='What does this show?']") as HTMLElement).click();
  await pass();
  expect(history.querySelector(".fsw-says")?.textContent).toContain("loss falls from 0.5 to 0.25");
});
