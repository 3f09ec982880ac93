// Files to keep: the recording and the page come from the kernel, pictures and numbers from here.

import type { Scene } from "../data/scene";
import type { Frame } from "../data/wire";
import { button, type Cleanup, h, opensInSight } from "../host/dom";
import type { Panel } from "../panels/panel";

export function download(name: string, content: Blob): void {
  const link = h("a", { href: URL.createObjectURL(content), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function cell(value: string | number): string {
  const plain = String(value);
  return /[",\n]/.test(plain) ? `"${plain.replaceAll('"', '""')}"` : plain;
}

/** One line per frame: epoch, step, every scalar, and the regime. */
export function scalarsCsv(frames: Frame[]): string {
  const names = [...new Set(frames.flatMap(({ scalars }) => Object.keys(scalars)))];
  const lines = frames.map(({ epoch, step, scalars, labels }) => [
    epoch,
    step,
    ...names.map((name) => scalars[name] ?? ""),
    labels.regime ?? "",
  ]);
  return [["epoch", "step", ...names, "regime"], ...lines]
    .map((line) => line.map(cell).join(","))
    .join("\n");
}

/** One line per feature of one frame. */
export function featuresCsv({ arrays }: Frame): string {
  const names = ["eigenvalues", "quality", "quality_error", "utilization", "utilization_error"];
  const present = names.filter((name) => arrays[name]);
  const lines = Array.from(arrays.eigenvalues ?? [], (_, at) => [
    at + 1,
    ...present.map((name) => arrays[name]?.[at] ?? ""),
  ]);
  return [["k", ...present], ...lines].map((line) => line.map(cell).join(",")).join("\n");
}

interface Source {
  scene(): Scene | null;
  panels: Panel[];
  command(name: string): void;
  hasKernel(): boolean;
  fail(error: unknown): void;
}

export function saveMenu({ scene, panels, command, hasKernel, fail }: Source, cleanup: Cleanup) {
  const figure = h("select", { "aria-label": "Figure" });
  const recording = button("Recording (.npz)", "All frames of this run, for fs.load");
  const page = button("Page (.html)", "One file that replays this run without a network");
  const png = button("PNG");
  const svg = button("SVG");
  const history = button("History (.csv)", "Every scalar of every frame");
  const features = button("This frame (.csv)", "Eigenvalues, quality and utilization");
  const kernel = h("div", { class: "fsw-row" }, recording, page);
  const root = h(
    "details",
    { class: "fsw-details fsw-save" },
    h("summary", {}, "Save"),
    h(
      "div",
      { class: "fsw-menu" },
      kernel,
      h("div", { class: "fsw-row" }, figure, png, svg),
      h("div", { class: "fsw-row" }, history, features),
    ),
  );
  const picture = async (type: "png" | "svg") => {
    const panel = panels.find(({ text }) => text.name === figure.value);
    const now = scene();
    if (!panel?.plot || !now) return;
    try {
      const name = `${panel.text.name}-epoch-${Number(now.frame.epoch.toFixed(2))}.${type}`;
      download(name, await panel.plot.image(type));
    } catch (error) {
      fail(error);
    }
  };
  const csv = (name: string, write: (scene: Scene) => string) => {
    const now = scene();
    if (now) download(name, new Blob([write(now)], { type: "text/csv" }));
  };
  opensInSight(root, cleanup);
  cleanup.on(root, "toggle", () => {
    kernel.hidden = !hasKernel();
    const drawn = panels.filter(({ plot }) => plot);
    const { value } = figure;
    figure.replaceChildren(
      ...drawn.map(({ text: { name, title } }) => h("option", { value: name }, title)),
    );
    if (drawn.some(({ text }) => text.name === value)) figure.value = value;
  });
  cleanup.on(recording, "click", () => command("save_recording"));
  cleanup.on(page, "click", () => command("save_page"));
  cleanup.on(png, "click", () => void picture("png"));
  cleanup.on(svg, "click", () => void picture("svg"));
  cleanup.on(history, "click", () => csv("history.csv", ({ run }) => scalarsCsv(run.frames)));
  cleanup.on(features, "click", () => csv("features.csv", ({ frame }) => featuresCsv(frame)));
  return root;
}
