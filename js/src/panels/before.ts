// The eigenfunctions of the run before: which of them stand for those on show.
//
// Eigenfunctions of two runs may swap places and signs, so each is compared by its correlation on
// the samples that both runs show.

import type { Run } from "../data/store";
import { column, type Frame } from "../data/wire";

export interface Match {
  /** Number of the other run's eigenfunction, from 0, and its values with the sign that fits. */
  k: number;
  correlation: number;
  values: Float32Array;
}

/** Whether two runs show the same samples. */
export function sameSamples(run: Run, other: Run | null): boolean {
  const [one, two] = [run.info.labels, other?.info.labels];
  return (
    one.length > 0 && one.length === two?.length && one.every((label, at) => label === two[at])
  );
}

/** The other frame's eigenfunction that correlates most with number k of this one. */
export function match(frame: Frame, other: Frame, k: number): Match | null {
  const now = column(frame, "projections", k);
  const columns = other.shapes.projections?.[1] ?? 0;
  if (!now) return null;
  let best: Match | null = null;
  for (let at = 0; at < columns; at++) {
    const values = column(other, "projections", at);
    if (!values || values.length !== now.length) continue;
    const correlation = correlate(now, values);
    if (Math.abs(correlation) > Math.abs(best?.correlation ?? 0))
      best = { k: at, correlation, values };
  }
  if (best && best.correlation < 0) best.values = best.values.map((value) => -value);
  return best;
}

function correlate(x: Float32Array, y: Float32Array): number {
  let [n, sx, sy, sxx, syy, sxy] = [0, 0, 0, 0, 0, 0];
  x.forEach((a, at) => {
    const b = y[at] ?? Number.NaN;
    if (!Number.isFinite(a) || !Number.isFinite(b)) return;
    n += 1;
    sx += a;
    sy += b;
    sxx += a * a;
    syy += b * b;
    sxy += a * b;
  });
  const spread = (n * sxx - sx * sx) * (n * syy - sy * sy);
  return spread > 0 ? (n * sxy - sx * sy) / Math.sqrt(spread) : 0;
}

export interface Cloud {
  label: number;
  n: number;
  x: number;
  y: number;
  xx: number;
  xy: number;
  yy: number;
}

/** Mean and covariance of each class. */
export function clouds(x: Float32Array, y: Float32Array, labels: Float32Array): Cloud[] {
  const found = new Map<number, Cloud>();
  labels.forEach((label, at) => {
    const [a = Number.NaN, b = Number.NaN] = [x[at], y[at]];
    if (!Number.isFinite(a) || !Number.isFinite(b)) return;
    const cloud = found.get(label) ?? { label, n: 0, x: 0, y: 0, xx: 0, xy: 0, yy: 0 };
    found.set(label, cloud);
    cloud.n += 1;
    cloud.x += a;
    cloud.y += b;
    cloud.xx += a * a;
    cloud.xy += a * b;
    cloud.yy += b * b;
  });
  return [...found.values()].map(({ label, n, ...sums }) => {
    const [mx, my] = [sums.x / n, sums.y / n];
    const [xx, xy, yy] = [sums.xx / n - mx * mx, sums.xy / n - mx * my, sums.yy / n - my * my];
    return { label, n, x: mx, y: my, xx, xy, yy };
  });
}

/** The ellipse of one standard deviation around a class. */
export function outline({ x, y, xx, xy, yy }: Cloud, points = 33): { xs: number[]; ys: number[] } {
  const angle = 0.5 * Math.atan2(2 * xy, xx - yy);
  const middle = (xx + yy) / 2;
  const apart = Math.hypot((xx - yy) / 2, xy);
  const long = Math.sqrt(Math.max(0, middle + apart));
  const short = Math.sqrt(Math.max(0, middle - apart));
  const turn = Array.from({ length: points }, (_, at) => (2 * Math.PI * at) / (points - 1));
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  return {
    xs: turn.map((t) => x + long * Math.cos(t) * cos - short * Math.sin(t) * sin),
    ys: turn.map((t) => y + long * Math.cos(t) * sin + short * Math.sin(t) * cos),
  };
}
