import type { Plot } from "../bokeh/plot";
import { Range } from "../bokeh/ranges";
import { memo } from "../data/memo";
import type { Scene } from "../data/scene";
import { column, type RunInfo } from "../data/wire";
import { attribute, button, format, h, hide, setOptions, setText } from "../host/dom";
import { classColor, classMarker, isRegression, mapping, markers } from "./classes";
import { HoverCard, type Points } from "./hover";
import { FigurePanel, type Host } from "./panel";

/** Classes that the legend names before it only counts them. */
const NAMED = 12;
/** Shapes as characters, for the legend. */
const GLYPHS: Record<string, string> = {
  circle: "●",
  square: "■",
  triangle: "▲",
  diamond: "◆",
  inverted_triangle: "▼",
  hex: "⬢",
  star: "★",
  plus: "✚",
  square_pin: "✦",
  triangle_pin: "▴",
};

export class ProjectionsPanel extends FigurePanel {
  protected readonly roles = {};
  private readonly x = new Range(false, [-2, 2]);
  private readonly y = new Range(false, [-2, 2]);
  private readonly axes = { k: this.axis("x"), l: this.axis("y") };
  private readonly heldOut = h("input", { type: "checkbox" });
  private readonly heldOutLabel = h("label", { class: "fsw-inline" }, this.heldOut, "held-out");
  private readonly lasso = button("◌", "Select samples with a lasso", {
    "aria-label": "Lasso",
    "aria-pressed": "false",
  });
  private readonly box = button("⬚", "Select samples with a box", {
    "aria-label": "Box",
    "aria-pressed": "false",
  });
  private readonly clear = button("", "Clear the selection", { "data-testid": "selection" });
  private readonly card: HoverCard;
  private points: Points | null = null;
  private readonly described = memo();
  private readonly turned = memo();
  private columns = 0;

  constructor(host: Host) {
    super(host, {
      name: "projections",
      title: "Samples on two features",
      caption:
        "Each point is a sample, placed by two eigenfunctions of the feature map. When the " +
        "network learns features that separate the classes, the clouds of colour pull apart " +
        "and tighten. Click the spectrum, or use the arrow keys here, to look along others.",
    });
    const { k, l } = this.axes;
    this.tools.append(k, "×", l, this.heldOutLabel, this.lasso, this.box, this.clear);
    hide(this.clear, true);
    this.cleanup.on(k, "change", () => host.choose({ k: Number(k.value) }));
    this.cleanup.on(l, "change", () => host.choose({ l: Number(l.value) }));
    this.cleanup.on(this.heldOut, "change", () => host.choose({ heldOut: this.heldOut.checked }));
    this.cleanup.on(this.lasso, "click", () => this.use(this.lasso));
    this.cleanup.on(this.box, "click", () => this.use(this.box));
    this.cleanup.on(this.clear, "click", () => this.select([]));
    attribute(this.body, "tabindex", 0);
    attribute(this.body, "role", "group");
    attribute(this.body, "aria-label", "Projections: arrow keys choose the eigenfunctions");
    this.cleanup.on<KeyboardEvent>(this.body, "keydown", (event) => this.key(event));
    this.card = new HoverCard(
      this.body,
      () => this.plot,
      () => this.points,
      this.cleanup,
    );
  }

  private axis(name: "x" | "y"): HTMLSelectElement {
    const where = name === "x" ? "horizontal" : "vertical";
    const label = `Eigenfunction on the ${where} axis`;
    return h("select", { "data-testid": `axis-${name}`, "aria-label": label, title: label });
  }

  override resetRanges(): void {
    super.resetRanges();
    this.x.reset();
    this.y.reset();
  }

  protected override ready(plot: Plot): void {
    this.described.forget();
    this.turned.forget();
    const { selected } = plot.source("samples");
    selected.change.connect(() => this.showSelection(selected.indices));
  }

  protected fill(plot: Plot, scene: Scene): void {
    const { run, frame, choices } = scene;
    const { info } = run;
    this.columns = frame.shapes.projections?.[1] ?? 0;
    const options = Array.from({ length: this.columns }, (_, at): [string, string] => [
      String(at),
      `e${at + 1}`,
    ]);
    const last = Math.max(0, this.columns - 1);
    let [k, l] = [Math.min(choices.k, last), Math.min(choices.l, last)];
    // Of fewer features than were chosen from, still two different ones.
    if (k === l && choices.k < choices.l) k = Math.max(0, l - 1);
    else if (k === l && choices.k > choices.l) l = Math.max(0, k - 1);
    for (const [select, value] of [
      [this.axes.k, k],
      [this.axes.l, l],
    ] as const) {
      setOptions(select, options);
      if (select.value !== String(value)) select.value = String(value);
    }
    this.described([info], () => {
      plot.set("classes", mapping(this.host.style, info));
      this.drawLegend(info);
      const held = plot.source("samples").selected;
      if (held.indices.some((at) => at >= info.labels.length)) held.setv({ indices: [] });
    });
    this.turned([k, l], () => {
      this.resetRanges();
      plot.axis("below", { axis_label: `eigenfunction e${subscript(k + 1)}` });
      plot.axis("left", { axis_label: `eigenfunction e${subscript(l + 1)}` });
    });
    plot.data("samples", [frame, k, l], () => {
      const x = column(frame, "projections", k) ?? new Float32Array(0);
      const y = column(frame, "projections", l) ?? new Float32Array(0);
      this.points = { x, y, info, predictions: frame.arrays.predictions };
      this.x.includeAll(x);
      this.y.includeAll(y);
      this.card.moved();
      return { x, y, label: info.labels, marker: this.markers(info, info.labels) };
    });
    const labels = info.heldOutLabels;
    hide(this.heldOutLabel, !labels);
    plot.data("held_out", choices.heldOut && labels ? [frame, k, l] : [], () => {
      const x = choices.heldOut ? column(frame, "held_out_projections", k) : null;
      const y = column(frame, "held_out_projections", l);
      if (!x || !y || !labels) return { x: [], y: [], label: [], marker: [] };
      this.x.includeAll(x);
      this.y.includeAll(y);
      return { x, y, label: labels, marker: this.markers(info, labels) };
    });
    plot.range("x", this.x.bounds);
    plot.range("y", this.y.bounds);
  }

  private readonly known = new WeakMap<Float32Array, string[]>();

  private markers(info: RunInfo, labels: Float32Array): string[] {
    const known = this.known.get(labels) ?? markers(this.host.style, info, labels);
    this.known.set(labels, known);
    return known;
  }

  private drawLegend(info: RunInfo): void {
    const { style } = this.host;
    if (isRegression(info)) {
      const { palette, low, high } = mapping(style, info);
      const scale = `background: linear-gradient(90deg, ${palette.join()})`;
      this.legend.replaceChildren(
        h(
          "span",
          { class: "fsw-key" },
          `target ${format(low)}`,
          h("span", { class: "fsw-scale", style: scale, "aria-hidden": "true" }),
          format(high),
        ),
      );
      return;
    }
    const names = info.classNames.slice(0, NAMED).map((name, label) => {
      const shape = h(
        "span",
        { "aria-hidden": "true", style: `color: ${classColor(style, label)}` },
        GLYPHS[classMarker(style, label)],
      );
      return h("span", { class: "fsw-key", title: name }, shape, h("span", {}, name));
    });
    const more = info.classNames.length - NAMED;
    if (more > 0) names.push(h("span", { class: "fsw-key" }, `and ${more} more`));
    this.legend.replaceChildren(...names);
  }

  private use(tool: HTMLButtonElement): void {
    const { plot } = this;
    if (!plot) return;
    for (const [control, name] of [
      [this.lasso, "lasso"],
      [this.box, "box"],
    ] as const) {
      const active = control === tool && control.getAttribute("aria-pressed") !== "true";
      attribute(control, "aria-pressed", String(active));
      plot.set(name, { active });
    }
  }

  private select(indices: number[]): void {
    this.plot?.source("samples").selected.setv({ indices });
  }

  private showSelection(indices: number[]): void {
    const { length } = indices;
    setText(this.clear, `✕ ${length}`);
    attribute(this.clear, "aria-label", `Clear the selection of ${length} samples`);
    hide(this.clear, length === 0);
  }

  private key(event: KeyboardEvent): void {
    const step = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[
      event.key
    ];
    if (event.target !== this.body || !step || this.columns === 0) return;
    event.preventDefault();
    const turn = (value: string, by: number) => (Number(value) + by + this.columns) % this.columns;
    const [dk = 0, dl = 0] = step;
    const k = turn(this.axes.k.value, dk);
    const l = turn(this.axes.l.value, dl);
    // Now and not with the next draw: a second key press may come before it.
    this.axes.k.value = String(k);
    this.axes.l.value = String(l);
    this.host.choose({ k, l });
    this.host.announce(`e${k + 1} against e${l + 1}`);
  }

  protected override resized(large: boolean): void {
    // The wheel zooms only where it does not take over the notebook's scrolling.
    this.plot?.set("zoom", { active: large });
  }
}

function subscript(n: number): string {
  return String(n).replace(/\d/g, (digit) => "₀₁₂₃₄₅₆₇₈₉".charAt(Number(digit)));
}
