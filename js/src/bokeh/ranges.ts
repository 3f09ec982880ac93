// Axes that hold still: a range grows in round steps and shrinks only on reset.

export class Range {
  #low = Number.POSITIVE_INFINITY;
  #high = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly log = false,
    private readonly least: readonly [number, number] | null = null,
    /** Grow by whole decades, for an axis whose ticks would otherwise be few. */
    private readonly decades = false,
  ) {}

  reset(): void {
    this.#low = Number.POSITIVE_INFINITY;
    this.#high = Number.NEGATIVE_INFINITY;
  }

  include(...values: number[]): this {
    for (const value of values) {
      if (!Number.isFinite(value) || (this.log && value <= 0)) continue;
      if (value < this.#low) this.#low = this.#round(value, -1);
      if (value > this.#high) this.#high = this.#round(value, 1);
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

  #round(value: number, direction: 1 | -1): number {
    return roundOut(value, this.decades ? [1, 10] : this.log ? [1, 2, 5, 10] : LINEAR, direction);
  }

  get bounds(): readonly [number, number] {
    const [least, most] = this.least ?? [this.#low, this.#high];
    const low = Math.min(this.#low, least);
    const high = Math.max(this.#high, most);
    if (!Number.isFinite(low) || !Number.isFinite(high)) return this.log ? [0.1, 10] : [0, 1];
    if (low === high) return this.log ? [low / 2, high * 2] : [low - 1, high + 1];
    return [low, high];
  }
}

export type Tick = [at: number, label: string];

/** Ticks of a logarithmic axis: powers of ten, and numbers between them where those are few. */
export function logTicks([low, high]: readonly [number, number], most = 5): Tick[] {
  const decades = Math.log10(high / low);
  const every = Math.max(1, Math.ceil(decades / most));
  const ticks: Tick[] = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
    for (const digit of decades < 2 ? [1, 2, 5] : [1]) {
      const tick = digit * 10 ** power;
      const within = tick >= low * (1 - 1e-9) && tick <= high * (1 + 1e-9);
      if (power % every === 0 && within) ticks.push([tick, tickLabel(tick)]);
    }
  }
  return ticks;
}

/** Two to six round ticks of a linear axis. */
export function linearTicks([low, high]: readonly [number, number], most = 5): Tick[] {
  const span = high - low;
  if (!(span > 0)) return [];
  const rough = span / most;
  const magnitude = 10 ** Math.floor(Math.log10(rough));
  const step = magnitude * ([1, 2, 5, 10].find((digit) => digit * magnitude >= rough) ?? 10);
  const ticks: Tick[] = [];
  for (let at = Math.ceil(low / step - 1e-9); at * step <= high * (1 + 1e-9); at++) {
    const tick = Number((at * step).toPrecision(12));
    ticks.push([tick, tickLabel(tick)]);
  }
  return ticks;
}

/** 0.01 and 1000 as they are, 0.001 as a power of ten. */
export function tickLabel(tick: number): string {
  const power = tick > 0 ? Math.log10(tick) : 0;
  const round = Math.round(power);
  if (Math.abs(power - round) > 1e-9 || (round > -3 && round < 4)) {
    return String(Number(tick.toPrecision(3))).replace("-", "−");
  }
  return `10${String(round).replace(/./g, (sign) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹".charAt("-0123456789".indexOf(sign)))}`;
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
