// Bands above each other on one axis from 0 to 1: see fswidget/figures/theme.py, `places`.

import { linearTicks, logTicks, Range, type Tick } from "../bokeh/ranges";
import type { Band, Style } from "../data/scene";
import type { Frame } from "../data/wire";

export type Span = readonly [bottom: number, top: number];

/** Bottom and top of each band that is shown, as shares of the figure's height. */
export function places(style: Style, shown: Iterable<Band>): Partial<Record<Band, Span>> {
  const wanted = new Set(shown);
  const bands = (Object.keys(style.heights) as Band[]).filter((name) => wanted.has(name));
  const room = 1 - style.strips - style.gap * (bands.length - 1);
  const total = bands.reduce((sum, name) => sum + style.heights[name], 0);
  let top = 1 - style.strips;
  const result: Partial<Record<Band, Span>> = {};
  for (const name of bands) {
    const height = (room * style.heights[name]) / total;
    result[name] = [top - height, top];
    top -= height + style.gap;
  }
  return result;
}

/** One band: from values to places on the common axis. Its range only grows. */
export class Scale {
  span: Span = [0, 1];
  readonly #range: Range;

  constructor(readonly name: Band) {
    const shares = name === "shares";
    this.#range = new Range(!shares, shares ? [0, 1] : null, name === "others");
  }

  get log(): boolean {
    return this.name !== "shares";
  }

  reset(): void {
    this.#range.reset();
  }

  include(values: ArrayLike<number>): void {
    this.#range.includeAll(values);
  }

  get bounds(): readonly [number, number] {
    return this.#range.bounds;
  }

  place(value: number): number {
    const [low, high] = this.bounds;
    const [bottom, top] = this.span;
    const share = this.log
      ? Math.log(value / low) / Math.log(high / low)
      : (value - low) / (high - low);
    return bottom + Math.max(0, Math.min(1, share)) * (top - bottom);
  }

  placeAll(values: ArrayLike<number>): Float64Array {
    return Float64Array.from(values, (value) =>
      Number.isFinite(value) && (!this.log || value > 0) ? this.place(value) : Number.NaN,
    );
  }

  ticks(): Tick[] {
    const all = this.log ? logTicks(this.bounds, 3) : linearTicks(this.bounds, 1);
    const powers = all.filter(([at]) => !this.log || Number.isInteger(Math.log10(at)));
    const ticks = powers.length > 1 ? powers : all;
    const every = Math.ceil(ticks.length / 3);
    return ticks
      .filter((_, at) => at % every === 0)
      .map(([value, label]) => [this.place(value), label]);
  }
}

/** A curve less its error, and with it, where that is known. */
export function edges(
  frames: Frame[],
  name: string,
  value: (frame: Frame) => number,
  at: (epoch: number) => number,
  scale: Scale | undefined,
) {
  const error = (frame: Frame) => frame.scalars[`${name}_error`] ?? Number.NaN;
  const known = frames.filter((frame) => Number.isFinite(value(frame) + error(frame)));
  const edge = (sign: number) =>
    known.map((frame) => {
      const y = value(frame) + sign * error(frame);
      return scale?.place(scale.log ? Math.max(y, Number.MIN_VALUE) : y);
    });
  return { x: known.map(({ epoch }) => at(epoch)), y1: edge(-1), y2: edge(1) };
}

/** Polygons of what `edges` gives of some curves. */
export function outlines(curves: (ReturnType<typeof edges> & { color: string })[]) {
  const known = curves.filter(({ x }) => x.length > 1);
  return {
    xs: known.map(({ x }) => [...x, ...x.toReversed()]),
    ys: known.map(({ y1, y2 }) => [...y1, ...y2.toReversed()]),
    color: known.map(({ color }) => color),
  };
}
