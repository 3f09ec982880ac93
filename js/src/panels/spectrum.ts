import type { Plot } from "../bokeh/plot";
import { linearTicks, logTicks, Range, type Tick } from "../bokeh/ranges";
import { memo } from "../data/memo";
import { minimal, minimalName, ranks, type Scene } from "../data/scene";
import type { Run } from "../data/store";
import type { Frame } from "../data/wire";
import { format, h } from "../host/dom";
import type { Found } from "./card";
import { FigurePanel } from "./figure";
import { beforeText, type Label, LINE } from "./labels";
import type { Host, Table } from "./panel";
import { eigen } from "./words";

/** A share of the trace that one direction may hold before that is said. */
const MOST = 0.99;

/** What theory gives of a linear network. */
const EXACT = "exact_eigenvalues";

/** How near to a feature's point a click must be, in pixels. */
const REACH = 24;

/** Text that ends where it stands. */
const ENDS = { anchor: "end", halo: true } as const;

type Curve = {
  x: Float32Array;
  y: Float32Array;
};

export class SpectrumPanel extends FigurePanel {
  protected readonly roles = {
    "now:glyph": ["accent", "line_color"],
    "first:glyph": ["first", "line_color"],
    "ghost:glyph": ["ghost", "line_color"],
    "points:glyph": ["accent", "line_color"],
    "exact:glyph": ["ink", "line_color"],
    outputs: ["strong", "line_color"],
  } satisfies FigurePanel["roles"];
  #x = 10;
  #y = new Range(true);
  readonly #scale = memo<Range>();
  readonly #curves = {
    now: memo<Curve>(),
    first: memo<Curve>(),
    ghost: memo<Curve>(),
    exact: memo<Curve>(),
  };
  readonly #holds = memo<string>();
  #drawn: { now: Curve; first: Curve; ghost: Curve; exact: Curve } | null = null;
  #next: "k" | "l" = "k";
  #clickable = 0;

  constructor(host: Host) {
    super(host, "spectrum");
    const relative = this.#select("Eigenvalues", ["relative", "ρₖ/ρ₁"], ["absolute", "ρₖ"]);
    const log = this.#select("Axes", ["log", "log"], ["linear", "linear"]);
    this.tools.append(h("div", { class: "fsw-further" }, relative, log));
    this.cleanup.on(relative, "change", () =>
      host.choose({ relative: relative.value === "relative" }),
    );
    this.cleanup.on(log, "change", () => host.choose({ log: log.value === "log" }));
    this.cleanup.on<MouseEvent>(this.body, "click", (event) => this.#pick(event));
  }

  #select(label: string, ...options: [string, string][]): HTMLSelectElement {
    return h(
      "select",
      { class: "fsw-mini", "aria-label": label, title: label },
      ...options.map(([value, name]) => h("option", { value }, name)),
    );
  }

  protected override figureName({ choices }: Scene): string {
    return choices.log ? "spectrum" : "spectrum_linear";
  }

  override resetRanges(): void {
    super.resetRanges();
    this.#x = 10;
    this.#y.reset();
  }

  /** Eigenvalues over their rank, or what theory gives beside them; rounding noise of float32 is
   * none. */
  #curve(of: Frame | null, relative: boolean, name = "eigenvalues"): Curve {
    const values = of?.arrays[name] ?? [];
    const [top = 0] = of?.arrays.eigenvalues ?? [];
    const scale = relative ? 1 / top : 1;
    const { floor } = this.host.style;
    const y = Float32Array.from(values, (value) =>
      value > top * floor ? value * scale : Number.NaN,
    );
    return { x: ranks(y.length), y };
  }

  protected fill(plot: Plot, scene: Scene): void {
    const { run, frame, index, ghostFrame, choices, colors } = scene;
    const { relative, log } = choices;
    this.#y = this.#scale([relative, log], () => new Range(log, log ? null : [0, 0], log));
    const first = index > 0 ? (run.frames[0] ?? null) : null;
    const curve = (name: "now" | "first" | "ghost" | "exact", of: Frame | null, array?: string) => {
      const made = this.#curves[name]([of, relative], () => this.#curve(of, relative, array));
      this.#x = Math.max(this.#x, made.x.length);
      this.#y.includeAll(made.y);
      plot.data(name, [made, log], () => made);
      return made;
    };
    const now = curve("now", frame);
    this.#drawn = {
      now,
      first: curve("first", first),
      ghost: curve("ghost", ghostFrame),
      exact: curve("exact", frame, EXACT),
    };
    this.#clickable = Math.min(frame.shapes.projections?.[1] ?? 0, now.x.length);
    const { k, l } = choices;
    plot.data("points", [now, k, l, log, colors], () => {
      const x = Array.from({ length: this.#clickable }, (_, at) => at + 1);
      const chosen = x.map((_, at) => at === k || at === l);
      return {
        x,
        y: x.map((rank) => now.y[rank - 1]),
        size: chosen.map((is) => (is ? 8 : 2)),
        color: chosen.map((is) => (is ? colors.roles.page : colors.roles.accent)),
      };
    });
    plot.set("outputs", { location: minimal(run) });
    if (log) this.#logAxes(plot, scene);
    else {
      plot.range("x", [0, this.#x + 1]);
      plot.range("y", [0, this.#y.bounds[1] * 1.04]);
    }
  }

  #logAxes(plot: Plot, { run }: Scene): void {
    const [low, high] = this.#y.bounds;
    // Below, there is noise, and the numbers that matter would be squeezed.
    const bounds = [Math.max(low, high * 1e-5), high] as const;
    plot.range("x", [0.97, this.#x * 1.03]);
    plot.ticks("x", rankTicks(this.#x, minimal(run), minimalName(run)));
    plot.range("y", [bounds[0] * 0.97, bounds[1] * 1.03]);
    plot.ticks("y", logTicks(bounds, 6));
  }

  protected words(plot: Plot, scene: Scene): Label[] {
    const { choices, before, run } = scene;
    if (!this.#drawn) return [];
    const { now, first, ghost, exact } = this.#drawn;
    const { left, right, top, bottom } = plot.view.frame.bbox;
    const labels: Label[] = [
      { text: choices.relative ? "ρₖ / ρ₁" : "ρₖ", x: left, y: top - 9, role: "dim" },
    ];
    labels.push(
      axisTitle(plot, choices.log ? "feature k" : "k", this.#x, minimal(run), choices.log),
    );
    const at = (curve: Curve, rank: number) => {
      const y = curve.y[rank - 1] ?? Number.NaN;
      return { x: plot.x(rank), y: Math.min(bottom, plot.y(y)) };
    };
    for (const k of [choices.k, choices.l]) {
      const place = at(now, k + 1);
      if (k < this.#clickable && Number.isFinite(place.y)) {
        labels.push({
          text: eigen(k),
          x: place.x + 2,
          y: place.y - 12,
          anchor: "middle",
          halo: true,
        });
      }
    }
    if (exact.x.length > 0) {
      const place = at(exact, exact.x.length);
      const beside = {
        x: place.x - 9,
        y: Math.min(bottom - 8, place.y + 6),
        anchor: "end",
      } as const;
      labels.push({ text: "theory", ...beside, role: "ink", halo: true });
    }
    const holds = this.#held(scene);
    if (holds)
      labels.push({
        text: `one direction holds ${holds}`,
        x: right,
        y: top - 9,
        anchor: "end",
        role: "bad",
        title: "Of all that the features vary; beside it the others are hard to see",
      });
    if (!choices.log) return labels.filter(({ y }) => Number.isFinite(y));
    // Of two curves that fall the higher one has room at its right, the lower one at its left.
    const rank = Math.max(2, Math.round(this.#x ** 0.6));
    const over = at(ghost, rank).y < at(now, rank).y;
    const beside = (curve: Curve, power: number, higher: boolean) => {
      const middle = Math.max(higher ? 3 : 2, Math.round(this.#x ** power));
      const { x, y } = at(curve, Math.min(middle, curve.x.length));
      return higher
        ? { x: x + 8, y: y - 10, halo: true }
        : { x: Math.max(x - 12, left + 44), y: Math.min(bottom - 12, y + 22), ...ENDS };
    };
    const begun = at(first, Math.min(ghost.x.length > 0 ? 3 : 4, first.x.length));
    const start = { ...begun, y: begun.y + 12 };
    if (now.x.length > 1)
      labels.push({ text: "now", role: "accent", ...beside(now, over ? 0.6 : 0.66, !over) });
    if (ghost.x.length > 0) {
      const place = beside(ghost, over ? 0.66 : 0.6, over);
      const text = beforeText(before, over ? right - place.x : place.x - 4 - left);
      labels.push({ text, role: "ghost", ...place });
    }
    const low = labels.at(over ? -2 : -1);
    if (ghost.x.length > 0 && low && Math.abs(start.y - low.y) < LINE) start.y = Number.NaN;
    labels.push({ text: "start", ...start, anchor: "middle", role: "first", halo: true });
    return labels.filter(({ y }) => Number.isFinite(y));
  }

  /** What the largest eigenvalue holds, where that is nearly all; else nothing. */
  #held({ frame, run }: Scene): string {
    return this.#holds([frame, run.info], () => {
      const share = leading(frame, run);
      return share >= MOST ? `${Math.floor(100 * share)}% of the trace` : "";
    });
  }

  protected override probe(plot: Plot, scene: Scene, x: number, y: number): Found | null {
    if (!this.within(plot, x, y)) return null;
    const { frame, ghostFrame } = scene;
    const values = frame.arrays.eigenvalues ?? [];
    const k = Math.max(1, Math.min(values.length, Math.round(plot.view.frame.x_scale.invert(x))));
    const shown = this.#drawn?.now.y[k - 1];
    if (shown === undefined) return null;
    const share = (of: Frame | null) => {
      const [top = Number.NaN] = of?.arrays.eigenvalues ?? [];
      return format((of?.arrays.eigenvalues?.[k - 1] ?? Number.NaN) / top);
    };
    return {
      x: plot.x(k),
      y: Math.min(plot.view.frame.bbox.bottom, plot.y(shown)),
      title: `k = ${k}`,
      rows: [`ρ ${format(values[k - 1])} · ρₖ/ρ₁ ${share(frame)}`],
      before: ghostFrame ? `before ${share(ghostFrame)}` : "",
    };
  }

  protected table({ frame, ghostFrame }: Scene): Table {
    const { eigenvalues: now = [] } = frame.arrays;
    const { eigenvalues: then } = ghostFrame?.arrays ?? {};
    const [top = Number.NaN] = now;
    const further = [
      ["ρ before", then] as const,
      ["ρ, theory", frame.arrays[EXACT]] as const,
    ].filter(([, values]) => values);
    return {
      head: ["k", "ρ", "ρ/ρ₁", ...further.map(([name]) => name)],
      rows: Array.from(now, (rho, at) => [
        at + 1,
        rho,
        rho / top,
        ...further.map(([, values]) => values?.[at]),
      ]),
    };
  }

  protected describe(scene: Scene): string {
    const { frame, run } = scene;
    const values = frame.arrays.eigenvalues ?? [];
    const [top = Number.NaN] = values;
    const ratio = (k: number) => format((values[k - 1] ?? Number.NaN) / top);
    const c = minimal(run);
    const holds = this.#held(scene);
    const one = holds ? ` One direction holds ${holds}.` : "";
    return (
      `Relative eigenvalues of ${values.length} features at epoch ${format(frame.epoch)} fall from ` +
      `1 at k = 1 to ${ratio(c)} at k = ${minimalName(run)} = ${c}, ${ratio(2 * c)} at ${2 * c} and ` +
      `${ratio(values.length)} at k = ${values.length}.${one}`
    );
  }

  /** A click on feature k puts e_k on the axis that was not chosen last. */
  #pick(event: MouseEvent): void {
    const plot = this.current;
    if (!plot || this.#clickable === 0) return;
    const { left } = this.body.getBoundingClientRect();
    const screen = event.clientX - left;
    const at = Math.round(plot.view.frame.x_scale.invert(screen)) - 1;
    const k = Math.max(0, Math.min(this.#clickable - 1, at));
    if (Math.abs(plot.x(k + 1) - screen) > REACH) return;
    this.host.choose({ [this.#next]: k });
    this.host.announce(`e${k + 1} on the ${this.#next === "k" ? "horizontal" : "vertical"} axis`);
    this.#next = this.#next === "k" ? "l" : "k";
  }
}

/** Share of the trace in the largest eigenvalue. Where not all of them were found, the trace is known
 * from the share that the first C hold. */
function leading({ arrays, scalars }: Frame, { info }: Run): number {
  const values = Array.from(arrays.eigenvalues ?? []);
  const sum = (count: number) => values.slice(0, count).reduce((total, value) => total + value, 0);
  const { top_share: top = Number.NaN } = scalars;
  const known = values.length >= info.numFeatures || !(top > 0);
  return (values[0] ?? Number.NaN) / (known ? sum(values.length) : sum(info.minimalFeatures) / top);
}

/** 1, C and powers of ten that do not come too near to it. */
export function rankTicks(most: number, c: number, name: string): Tick[] {
  const powers = logTicks([1, Math.max(most, 2)], 4).filter(
    ([k]) => Math.abs(Math.log2(k / c)) > 1.2,
  );
  return [...powers, [c, `${name} = ${c}`] as Tick].filter(([k]) => k <= most * 1.02);
}

/** What the ranks on the lower axis are, in the widest gap between its ticks. */
export function axisTitle(plot: Plot, text: string, most: number, c: number, log: boolean): Label {
  const { bottom, left, right } = plot.view.frame.bbox;
  const ticks = log ? rankTicks(most, c, "C") : linearTicks([0, most], 4);
  const ends = [...ticks.map(([at]) => plot.x(at)), right + 24].sort((a, b) => a - b);
  let best = { x: (left + right) / 2, gap: 0 };
  ends.forEach((x, at) => {
    const from = ends[at - 1];
    // A tick's label is about 30 pixels wide, that of C 50.
    if (from !== undefined && x - from > best.gap) best = { x: (from + x) / 2 + 4, gap: x - from };
  });
  const fits = best.gap > 104 || (!log && best.gap > 60);
  return { text: fits ? text : "", x: best.x, y: bottom + 11, anchor: "middle", role: "dim" };
}
