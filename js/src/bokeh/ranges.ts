// Axes that hold still: a range grows in round steps and shrinks only on reset.

export class Range {
  private low = Number.POSITIVE_INFINITY;
  private high = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly log = false,
    private readonly least: readonly [number, number] | null = null,
    /** Grow by whole decades, for an axis whose ticks would otherwise be few. */
    private readonly decades = false,
  ) {}

  reset(): void {
    this.low = Number.POSITIVE_INFINITY;
    this.high = Number.NEGATIVE_INFINITY;
  }

  include(...values: number[]): this {
    for (const value of values) {
      if (!Number.isFinite(value) || (this.log && value <= 0)) continue;
      if (value < this.low) this.low = this.round(value, -1);
      if (value > this.high) this.high = this.round(value, 1);
    }
    return this;
  }

  includeAll(values: ArrayLike<number>): this {
    let low = Number.POSITIVE_INFINITY;
    let high = Number.NEGATIVE_INFINITY;
    for (let index = 0; index < values.length; index++) {
      const value = values[index] ?? Number.NaN;
      if (!Number.isFinite(value) || (this.log && value <= 0)) continue;
      if (value < low) low = value;
      if (value > high) high = value;
    }
    return this.include(low, high);
  }

  private round(value: number, direction: 1 | -1): number {
    return roundOut(value, this.decades ? [1, 10] : this.log ? [1, 2, 5, 10] : LINEAR, direction);
  }

  /** A little beyond the bounds of a log axis: what lies on them stays whole, and Bokeh, which
   * changes its ticks below two decades, is not thrown by rounding. */
  get padded(): readonly [number, number] {
    const [low, high] = this.bounds;
    return [low / 1.06, high * 1.06];
  }

  get bounds(): readonly [number, number] {
    const [least, most] = this.least ?? [this.low, this.high];
    const low = Math.min(this.low, least);
    const high = Math.max(this.high, most);
    if (!Number.isFinite(low) || !Number.isFinite(high)) return this.log ? [0.1, 10] : [0, 1];
    if (low === high) return this.log ? [low / 2, high * 2] : [low - 1, high + 1];
    return [low, high];
  }
}

/** Ticks of a logarithmic axis: powers of ten, and numbers between them where those are few. */
export function logTicks([low, high]: readonly [number, number]): number[] {
  const decades = Math.log10(high / low);
  const every = Math.ceil(decades / 5);
  const ticks: number[] = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
    for (const digit of decades < 2 ? [1, 2, 5] : [1]) {
      const tick = digit * 10 ** power;
      if (power % every === 0 && tick >= low && tick <= high) ticks.push(tick);
    }
  }
  return ticks;
}

const LINEAR = [1, 1.5, 2, 3, 4, 5, 6, 8, 10];

/** The next number outwards that is a step times a power of ten. */
function roundOut(value: number, steps: number[], direction: 1 | -1): number {
  if (value === 0) return 0;
  const away = value > 0 === direction > 0;
  const magnitude = 10 ** Math.floor(Math.log10(Math.abs(value)));
  const fraction = (Math.abs(value) / magnitude) * (away ? 1 - 1e-9 : 1 + 1e-9);
  const rounded = away
    ? (steps.find((step) => step >= fraction) ?? 10)
    : (steps.findLast((step) => step <= fraction) ?? 1);
  return Math.sign(value) * rounded * magnitude;
}
