// A view without a kernel: what tests of it share.

import { afterEach, beforeEach, vi } from "vitest";
import widget from "../src/index";
import {
  FakeModel,
  type FakePlot,
  fakeBokeh,
  frameMessage,
  framesMessage,
  proxy,
  runMessage,
  traits,
} from "./fake";

let plots: FakePlot[] = [];

/** Each test begins with an empty page, and with clocks of its own. */
export function fresh(): void {
  beforeEach(() => {
    vi.useFakeTimers();
    plots = fakeBokeh();
  });
  afterEach(() => {
    vi.useRealTimers();
    sessionStorage.clear();
    document.body.replaceChildren();
  });
}

/** Let an animation frame, and what follows from it, pass. */
export async function pass(times = 4): Promise<void> {
  for (let at = 0; at < times; at++) await vi.advanceTimersByTimeAsync(17);
}

/** The names of all figures. */
export const drawn = () => plots.map(({ name }) => name);

/** The figure of a panel. */
export const plot = (name: string) => plots.find((found) => found.name === name) as FakePlot;

export function show(extra: Record<string, unknown> = {}, host: "jupyter" | "marimo" = "jupyter") {
  const model = new FakeModel(traits({ run: "a", ...extra }), host);
  const el = document.createElement("div");
  document.body.append(el);
  const close = widget.initialize({ model: proxy(model) });
  const remove = widget.render({ model: proxy(model), el });
  const root = el.firstElementChild as HTMLElement;
  const query = <T extends Element = HTMLElement>(selector: string) =>
    root.querySelector(selector) as T;
  const begin = (run: string, info = {}, targets?: number[][]) => {
    model.set("run", run);
    const { content, body } = runMessage(run, info, targets);
    model.message(content, body);
  };
  const push = (run: string, ...seqs: number[]) => {
    const { content, body } = framesMessage(run, ...seqs);
    model.message(content, body);
  };
  /** One frame of this content; see `frameHeader`. */
  const send = (...given: Parameters<typeof frameMessage>) => {
    const { content, body } = frameMessage(...given);
    model.message(content, body);
  };
  return { model, el, root, query, begin, push, send, close, remove };
}
