// Curves of several runs in one picture: shared axes, and a colour for each run.

import type { Plot } from "../bokeh/plot";
import { linearTicks, logTicks, Range, type Tick } from "../bokeh/ranges";
import { memo } from "../data/memo";
import { lowRank, minimal, minimalName, ranks, type Scene, scalarOf, usedOf } from "../data/scene";
import type { Frame } from "../data/wire";
import { format } from "../host/dom";
import { places, Scale } from "./bands";
import type { Found } from "./card";
import { FigurePanel } from "./figure";
import type { Label } from "./labels";
import type { Host, Table } from "./panel";
import { count, share } from "./words";

const BANDS = ["shares", "features"] as const;

/** One of the runs that are compared, as it is on show. */
export interface Compared {
  name: string;
  color: string;
  scene: Scene;
}

interface Line {
  x: ArrayLike<number>;
  y: ArrayLike<number>;
  color: string;
}

abstract class OverlayPanel extends FigurePanel {
  protected readonly roles = { cursor: ["ink", "line_color"] } satisfies FigurePanel["roles"];

  constructor(
    host: Host,
    name: string,
    protected readonly all: () => Compared[],
  ) {
    super(host, name);
  }

  /** Draw lines, made of these inputs. */
  protected curves(plot: Plot, inputs: unknown[], make: () => Line[]): void {
    plot.data("curves", inputs, () => {
      const lines = make();
      return {
        xs: lines.map(({ x }) => x),
        ys: lines.map(({ y }) => y),
        color: lines.map(({ color }) => color),
      };
    });
    plot.margin(12);
  }

  /** Draw a dot where each of these begins. */
  protected dots(plot: Plot, inputs: unknown[], make: () => Line[]): void {
    plot.data("dots", inputs, () => {
      const dots = make();
      return {
        x: dots.map(({ x }) => x[0]),
        y: dots.map(({ y }) => y[0]),
        color: dots.map(({ color }) => color),
      };
    });
  }

  /** Titles of the axes, where curves that fall, or rise, leave room. */
  protected titles(plot: Plot, falls: boolean, up: string, across: string): Label[] {
    const { left, right, top, bottom } = plot.view.frame.bbox;
    const y = top + 8;
    return [
      falls
        ? { text: up, x: right, y, anchor: "end", role: "dim", halo: true }
        : { text: up, x: left + 4, y, role: "dim", halo: true },
      {
        text: across,
        x: falls ? left + 4 : right,
        y: bottom - 8,
        anchor: falls ? "start" : "end",
        role: "dim",
        halo: true,
      },
    ];
  }
}

/** Something over the rank k of the features, both on logarithmic axes or k alone. */
export class RanksPanel extends OverlayPanel {
  #most = 10;
  readonly #y: Range | null;
  readonly #shown = memo<Float32Array[]>();

  constructor(host: Host, name: "spectrum" | "cumulative", all: () => Compared[]) {
    super(host, name, all);
    this.#y = name === "spectrum" ? new Range(true, null, true) : null;
  }

  override resetRanges(): void {
    super.resetRanges();
    this.#most = 10;
    this.#y?.reset();
  }

  #values(frame: Frame): Float32Array {
    if (!this.#y) return Float32Array.from(frame.arrays.utilization ?? []);
    const values = frame.arrays.eigenvalues ?? [];
    const [top = 0] = values;
    const { floor } = this.host.style;
    return Float32Array.from(values, (value) => (value > top * floor ? value / top : Number.NaN));
  }

  #place(value: number): number {
    return this.#y ? Math.log10(value) : value;
  }

  protected fill(plot: Plot, { run }: Scene): void {
    const all = this.all();
    const values = this.#shown(
      all.map(({ scene }) => scene.frame),
      () => all.map(({ scene }) => this.#values(scene.frame)),
    );
    for (const y of values) {
      this.#most = Math.max(this.#most, y.length);
      this.#y?.includeAll(y);
    }
    const [low, high] = this.#y?.bounds ?? [0, 1];
    const bounds = [Math.max(low, high * 1e-5), high] as const;
    const inputs = all.flatMap(({ scene, color }) => [scene.frame, color]);
    this.curves(plot, inputs, () =>
      values.map((y, at) => ({
        x: ranks(y.length).map(Math.log10),
        y: y.map((value) => this.#place(value)),
        color: all[at]?.color ?? "",
      })),
    );
    this.dots(plot, inputs, () =>
      all.flatMap(({ scene, color }, at) => {
        const k = usedOf(scene.run, scene.frame);
        const y = values[at]?.[Math.round(k) - 1];
        return this.#y || y === undefined ? [] : [{ x: [Math.log10(k)], y: [y], color }];
      }),
    );
    const c = minimal(run);
    plot.set("cursor", { location: Math.log10(c) });
    plot.range("x", [-0.01, Math.log10(this.#most) + 0.01]);
    const tick = ([at, label]: Tick): Tick => [Math.log10(at), label];
    const powers = logTicks([1, this.#most], 4).filter(([k]) => Math.abs(Math.log2(k / c)) > 1.2);
    plot.ticks("x", [...powers, [c, `${minimalName(run)} = ${c}`] as Tick].map(tick));
    plot.range("y", this.#y ? [Math.log10(bounds[0]), Math.log10(bounds[1]) + 0.05] : [0, 1.01]);
    plot.ticks(
      "y",
      this.#y ? logTicks(bounds, 6).map(tick) : [0, 0.5, 1].map((at) => [at, String(at)]),
    );
  }

  protected words(plot: Plot): Label[] {
    const [up, across] = this.#y ? ["ρₖ / ρ₁", "feature k"] : ["utilization", "first k"];
    return this.titles(plot, this.#y !== null, up ?? "", across ?? "");
  }

  protected override probe(plot: Plot, _: Scene, x: number, y: number): Found | null {
    if (!this.within(plot, x, y)) return null;
    const k = Math.max(
      1,
      Math.min(this.#most, Math.round(10 ** plot.view.frame.x_scale.invert(x))),
    );
    const found = this.all().map(({ name, scene }) => ({
      name,
      value: this.#values(scene.frame)[k - 1],
    }));
    const near = found
      .map(({ value }) => plot.y(this.#place(value ?? Number.NaN)))
      .filter(Number.isFinite)
      .sort((a, b) => Math.abs(a - y) - Math.abs(b - y))[0];
    return {
      x: plot.x(Math.log10(k)),
      y: Math.min(plot.view.frame.bbox.bottom, near ?? y),
      title: `k = ${k}`,
      rows: found.map(({ name, value }) => `${name} ${this.#y ? format(value) : share(value)}`),
    };
  }

  protected table(): Table {
    const all = this.all();
    const values = all.map(({ scene }) => this.#values(scene.frame));
    const most = Math.max(...values.map(({ length }) => length));
    return {
      head: ["k", ...all.map(({ name }) => name)],
      rows: Array.from({ length: most }, (_, at) => [at + 1, ...values.map((of) => of[at])]),
    };
  }

  protected describe({ run }: Scene): string {
    const c = minimal(run);
    const what = this.#y ? "Relative eigenvalue" : "Utilization";
    const parts = this.all().map(({ name, scene }) => {
      const values = this.#values(scene.frame);
      return `${name} ${format(values[c - 1])} there and ${format(values.at(-1))} at k = ${values.length}`;
    });
    return `${what} at k = ${minimalName(run)} = ${c} and at the end: ${parts.join("; ")}.`;
  }
}

/** D_LR and k95 of every run over the epochs, in a band each. */
export class TimePanel extends OverlayPanel {
  readonly #scales = { shares: new Scale("shares"), features: new Scale("features") };
  readonly #included = memo();

  constructor(host: Host, all: () => Compared[]) {
    super(host, "history", all);
  }

  override resetRanges(): void {
    super.resetRanges();
    this.#included.forget();
    for (const scale of Object.values(this.#scales)) scale.reset();
  }

  #value({ run }: Scene, frame: Frame, band: (typeof BANDS)[number]): number {
    if (band === "features") return usedOf(run, frame);
    const { style } = this.host;
    const name = lowRank(style, (of) => Number.isFinite(frame.scalars[of]));
    return scalarOf(style, run, frame, name);
  }

  protected fill(plot: Plot, scene: Scene): void {
    const all = this.all();
    const told = all.flatMap(({ scene: { run } }) => [run, run.revision]);
    this.#included(told, () => {
      const spans = places(this.host.style, BANDS);
      for (const band of BANDS) this.#scales[band].span = spans[band] ?? [0, 1];
      this.#scales.features.include([minimal(scene.run) / 2]);
      for (const { scene: of } of all) {
        for (const band of BANDS)
          this.#scales[band].include(of.run.frames.map((frame) => this.#value(of, frame, band)));
      }
    });
    const line = (
      frames: Frame[],
      { scene: of, color }: Compared,
      band: (typeof BANDS)[number],
    ) => ({
      x: frames.map(({ epoch }) => epoch),
      y: this.#scales[band].placeAll(frames.map((frame) => this.#value(of, frame, band))),
      color,
    });
    const bounds = BANDS.flatMap((band) => this.#scales[band].bounds);
    const inputs = [...told, ...all.map(({ color }) => color), ...bounds];
    this.curves(plot, inputs, () =>
      all.flatMap((one) => BANDS.map((band) => line(one.scene.run.frames, one, band))),
    );
    this.dots(plot, [...inputs, ...all.map(({ scene: of }) => of.frame)], () =>
      all
        .flatMap((one) => BANDS.map((band) => line([one.scene.frame], one, band)))
        .filter(({ y }) => Number.isFinite(y[0])),
    );
    plot.set("cursor", { location: scene.frame.epoch });
    plot.range("x", [0, scene.end]);
    plot.ticks("x", linearTicks([0, scene.end], 4));
    plot.range("y", [0, 1]);
    plot.ticks(
      "y",
      BANDS.flatMap((band) => this.#scales[band].ticks()),
    );
  }

  protected words(plot: Plot): Label[] {
    const { right, bottom } = plot.view.frame.bbox;
    const top = (band: (typeof BANDS)[number]) => plot.y(this.#scales[band].span[1]) + 6;
    return [
      { text: "D_LR", x: right, y: top("shares"), anchor: "end", role: "dim", halo: true },
      { text: "k95", x: right, y: top("features"), anchor: "end", role: "dim", halo: true },
      { text: "epoch", x: right, y: bottom - 8, anchor: "end", role: "dim", halo: true },
    ];
  }

  protected override probe(plot: Plot, { end }: Scene, x: number, y: number): Found | null {
    if (!this.within(plot, x, y)) return null;
    const wanted = plot.view.frame.x_scale.invert(x);
    const rows = this.all().map(({ name, scene: of }) => {
      const { frames } = of.run;
      const frame = frames.reduce((best, one) =>
        Math.abs(one.epoch - wanted) < Math.abs(best.epoch - wanted) ? one : best,
      );
      const value = share(this.#value(of, frame, "shares"));
      return `${name} D_LR ${value} · k95 ${count(usedOf(of.run, frame))}`;
    });
    const epoch = Math.max(0, Math.min(end, Math.round(wanted)));
    return { x: plot.x(epoch), y: Math.min(y, plot.y(0)), title: `epoch ${format(epoch)}`, rows };
  }

  protected table(): Table {
    const rows = this.all().flatMap(({ name, scene: of }) =>
      of.run.frames.map((frame) => [
        ...[name, frame.epoch, this.#value(of, frame, "shares")],
        usedOf(of.run, frame),
      ]),
    );
    return { head: ["run", "epoch", "D_LR", "k95"], rows };
  }

  protected describe({ frame }: Scene): string {
    const parts = this.all().map(({ name, scene: of }) => {
      const first = of.run.frames[0] ?? of.frame;
      const [from, to] = [first, of.frame].map((one) => share(this.#value(of, one, "shares")));
      const used = [first, of.frame].map((one) => count(usedOf(of.run, one)));
      return `${name} D_LR from ${from} to ${to}, k95 from ${used[0]} to ${used[1]}`;
    });
    return `Up to epoch ${format(frame.epoch)}: ${parts.join("; ")}.`;
  }
}
