import type { Plot } from "../bokeh/plot";
import { Range } from "../bokeh/ranges";
import { memo } from "../data/memo";
import { minimal, ranks, type Scene } from "../data/scene";
import type { Frame } from "../data/wire";
import { h, hide } from "../host/dom";
import { FigurePanel, type Host, legendItem } from "./panel";

/** Past spectra that are shown faintly. */
const TRAIL = 8;
/** Points of each of them: enough on a log axis. */
const TRAIL_POINTS = 96;
/** How near to a feature's point a click must be, in pixels. */
const REACH = 24;

export class SpectrumPanel extends FigurePanel {
  protected readonly roles = {
    "now:glyph": ["now", "line_color"],
    "first:glyph": ["first", "line_color"],
    "ghost:glyph": ["ghost", "line_color"],
    "points:glyph": ["now", "fill_color", "line_color"],
    outputs: ["mark", "line_color"],
  } satisfies FigurePanel["roles"];
  private x = 10;
  private y = new Range(true);
  private readonly ghostKey = legendItem("ghost", "dotdash", "before");
  private readonly outputsKey = legendItem("mark", "dashed", "number of outputs");
  private readonly scale = memo<Range>();
  private next: "k" | "l" = "k";
  private shown = 0;

  constructor(host: Host) {
    super(host, {
      name: "spectrum",
      title: "Spectrum of the features",
      caption:
        "How strongly each feature fires over the samples, strongest first. Few tall features " +
        "and a cliff after them: the network has built what it needs. A long flat tail: it " +
        "still carries the random features it began with.",
    });
    const relative = this.select("Eigenvalues", ["relative", "ρₖ/ρ₁"], ["absolute", "ρₖ"]);
    const log = this.select("Axes", ["log", "log"], ["linear", "linear"]);
    this.tools.append(relative, log);
    this.cleanup.on(relative, "change", () =>
      host.choose({ relative: relative.value === "relative" }),
    );
    this.cleanup.on(log, "change", () => host.choose({ log: log.value === "log" }));
    this.legend.append(
      legendItem("now", "solid", "now"),
      legendItem("first", "dashed", "first frame"),
      this.ghostKey,
      this.outputsKey,
    );
    this.cleanup.on<MouseEvent>(this.body, "click", (event) => this.pick(event));
    this.body.title = "Click a feature to put its eigenfunction on an axis of the projections";
  }

  private select(label: string, ...options: [string, string][]): HTMLSelectElement {
    return h(
      "select",
      { "aria-label": label, title: label },
      ...options.map(([value, name]) => h("option", { value }, name)),
    );
  }

  protected override figureName({ choices }: Scene): string {
    return choices.log ? "spectrum" : "spectrum_linear";
  }

  override resetRanges(): void {
    super.resetRanges();
    this.x = 10;
    this.y.reset();
  }

  protected fill(plot: Plot, scene: Scene): void {
    const { run, frame, index, ghostFrame, choices, colors } = scene;
    const { relative, log } = choices;
    this.y = this.scale([relative, log], () => new Range(log, log ? null : [0, 0]));
    const first = run.frames[0] ?? frame;
    const floor = this.host.style.floor;
    const curve = (of: Frame | null, at?: number[]) => {
      const values = of?.arrays.eigenvalues;
      if (!values?.length) return { x: [], y: [] };
      const [top = 0] = values;
      const scale = relative ? 1 / top : 1;
      const x = at ?? ranks(values.length);
      const y = Float32Array.from(x, (k) => {
        const value = values[k - 1] ?? Number.NaN;
        // Rounding noise of float32 is no spectrum.
        return value > top * floor ? value * scale : Number.NaN;
      });
      return { x, y };
    };
    const now = curve(frame);
    const start = curve(first);
    const before = curve(ghostFrame);
    this.x = Math.max(this.x, now.x.length, start.x.length, before.x.length);
    for (const { y } of [now, start, before]) this.y.includeAll(y);
    plot.data("now", [frame, this.y], () => now);
    plot.data("first", [index > 0 && first, this.y], () => (index > 0 ? start : { x: [], y: [] }));
    plot.data("ghost", [ghostFrame, this.y], () => before);
    plot.data("trail", [frame, this.y, colors], () => {
      const chosen = trail(run.frames, index);
      const curves = chosen.map((of) => {
        const length = of.arrays.eigenvalues?.length ?? 0;
        return curve(of, log ? spaced(length, TRAIL_POINTS) : undefined);
      });
      return {
        xs: curves.map(({ x }) => x),
        ys: curves.map(({ y }) => y),
        color: curves.map(() => colors.roles.now),
        dash: curves.map(() => "solid"),
        alpha: curves.map((_, at) => 0.12 + (0.25 * (at + 1)) / curves.length),
      };
    });
    this.shown = Math.min(frame.shapes.projections?.[1] ?? 0, now.x.length);
    plot.data("points", [frame, this.y, choices.k, choices.l], () => {
      const x = Array.from({ length: this.shown }, (_, at) => at + 1);
      const chosen = (at: number) => at === choices.k || at === choices.l;
      return {
        x,
        y: x.map((k) => now.y[k - 1]),
        size: x.map((_, at) => (chosen(at) ? 11 : 6)),
        marker: x.map((_, at) =>
          at === choices.k ? "diamond" : at === choices.l ? "square" : "circle",
        ),
      };
    });
    plot.set("outputs", { location: minimal(run) });
    if (log) plot.logRange("x", [0.9, this.x * 1.15]);
    else plot.range("x", [0, this.x + 1]);
    const [bottom, top] = this.y.bounds;
    plot.range("y", log ? [bottom / 1.25, top * 1.6] : [0, top * 1.04]);
    plot.axis("left", { axis_label: relative ? "relative eigenvalue ρₖ/ρ₁" : "eigenvalue ρₖ" });
    hide(this.ghostKey, !ghostFrame);
    const outputs = minimal(run) === run.info.numOutputs ? "C" : "d + 1";
    (this.outputsKey.lastChild as Text).data = `${outputs} = ${minimal(run)}`;
  }

  /** A click on feature k puts e_k on the axis that was not chosen last. */
  private pick(event: MouseEvent): void {
    const view = this.plot?.view;
    if (!view || this.shown === 0) return;
    const { left } = this.body.getBoundingClientRect();
    const screen = event.clientX - left;
    const at = Math.round(view.frame.x_scale.invert(screen)) - 1;
    const k = Math.max(0, Math.min(this.shown - 1, at));
    if (Math.abs(view.frame.x_scale.compute(k + 1) - screen) > REACH) return;
    this.host.choose({ [this.next]: k });
    this.host.announce(`e${k + 1} on the ${this.next === "k" ? "horizontal" : "vertical"} axis`);
    this.next = this.next === "k" ? "l" : "k";
  }
}

/** Up to `TRAIL` frames before `index`, evenly spaced. */
function trail(frames: Frame[], index: number): Frame[] {
  const count = Math.min(TRAIL, index - 1);
  const places = Array.from({ length: Math.max(0, count) }, (_, at) => (at * (index - 1)) / count);
  return places.flatMap((place) => frames[1 + Math.floor(place)] ?? []);
}

/** Whole numbers from 1 to n, evenly spaced on a log axis. */
function spaced(n: number, points: number): number[] {
  if (n <= points) return Array.from({ length: n }, (_, at) => at + 1);
  const result = new Set<number>();
  for (let at = 0; at < points; at++) result.add(Math.round(n ** (at / (points - 1))));
  return [...result];
}
