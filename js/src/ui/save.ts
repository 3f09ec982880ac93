// Files to keep: the recording and the page come from the kernel, pictures and numbers from here.

import type { Scene } from "../data/scene";
import type { Frame } from "../data/wire";
import { button, type Cleanup, h, hide, menu, setOptions } from "../host/dom";
import { FigurePanel } from "../panels/figure";
import type { Panel } from "../panels/panel";
import { provenance } from "../panels/words";

export function download(name: string, content: Blob): void {
  const link = h("a", { href: URL.createObjectURL(content), download: name });
  // VS Code listens to the document, which hears nothing of a link that is not part of it.
  link.hidden = true;
  document.body.append(link);
  link.click();
  link.remove();
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

/** What a file is called: after the run and the epoch that it shows. */
export function fileName({ run, frame }: Scene, what: string, type: string): string {
  const title = (run.info.title || "run").replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "");
  return `${title}-epoch-${Number(frame.epoch.toFixed(2))}-${what}.${type}`.toLowerCase();
}

export function saveMenu({ scene, panels, command, hasKernel, fail }: Source, cleanup: Cleanup) {
  const plain = { class: "fsw-plain" };
  const figure = h("select", { "aria-label": "Figure" });
  const recording = button("Recording (.npz)", "All frames of this run, for fs.load", plain);
  const page = button("Page (.html)", "One file that replays this run without a network", plain);
  const png = button("PNG", "A picture at twice its size", plain);
  const svg = button("SVG", "A drawing", plain);
  const history = button("History (.csv)", "Every scalar of every frame", plain);
  const features = button("This frame (.csv)", "Eigenvalues, quality and utilization", plain);
  const kernel = h("div", { class: "fsw-row" }, recording, page);
  const content = h(
    "div",
    { class: "fsw-menu" },
    kernel,
    h("div", { class: "fsw-row" }, figure, png, svg),
    h("div", { class: "fsw-row" }, history, features),
  );
  const root = menu("Save", "save", "Keep what is on show", cleanup, content);
  const drawn = () => panels.filter((panel) => panel instanceof FigurePanel && panel.plot);
  const picture = async (type: "png" | "svg") => {
    const panel = drawn().find(({ name }) => name === figure.value);
    const now = scene();
    if (!panel || !now) return;
    try {
      const title = [panel.title, now.run.info.title].filter(Boolean).join(" · ");
      const made = await panel.image(type, title, provenance(now.run, now.frame));
      if (made) download(fileName(now, panel.name, type), made);
    } catch (error) {
      fail(error);
    }
  };
  const csv = (what: string, write: (scene: Scene) => string) => {
    const now = scene();
    if (now) download(fileName(now, what, "csv"), new Blob([write(now)], { type: "text/csv" }));
  };
  cleanup.on(root, "toggle", () => {
    hide(kernel, !hasKernel());
    setOptions(
      figure,
      drawn().map(({ name, title }) => [name, title]),
    );
  });
  cleanup.on(recording, "click", () => command("save_recording"));
  cleanup.on(page, "click", () => command("save_page"));
  cleanup.on(png, "click", () => void picture("png"));
  cleanup.on(svg, "click", () => void picture("svg"));
  cleanup.on(history, "click", () => csv("history", ({ run }) => scalarsCsv(run.frames)));
  cleanup.on(features, "click", () => csv("features", ({ frame }) => featuresCsv(frame)));
  return root;
}
