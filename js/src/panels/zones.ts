// The regimes behind the history: strips of this run's and the other's, and the zones of k95.

import { type Colors, isUndefined, minimal, regimeOf, type Scene, usedOf } from "../data/scene";
import type { Run } from "../data/store";
import type { Frame } from "../data/wire";
import type { Scale } from "./bands";

export interface Zone {
  left: number;
  right: number;
  bottom: number;
  top: number;
  color: string;
  alpha: number;
}

/** How strong a strip is. */
const STRIP = 0.7;

/** Zones as the columns of a source. */
export function zones(all: Zone[]) {
  const column = <K extends keyof Zone>(name: K) => all.map((zone) => zone[name]);
  return {
    left: column("left"),
    right: column("right"),
    bottom: column("bottom"),
    top: column("top"),
    color: column("color"),
    alpha: column("alpha"),
  };
}

/** One strip for each run, from the top of the figure down. */
export function strips(
  run: Run,
  ghost: Run | null,
  { roles }: Colors,
  height: number,
  at: (epoch: number) => number,
): Zone[] {
  const third = height / 3;
  return [run, ghost].flatMap((of, row) =>
    stretches(of).map(({ left, right, regime }) => ({
      left: at(left),
      right: at(right),
      bottom: 1 - (row * 4 + 3) * (third / 3),
      top: 1 - row * 4 * (third / 3),
      color: roles[regime] ?? "transparent",
      alpha: STRIP,
    })),
  );
}

/** What a frame with few features in use is called; not MF where there are so few features, or
 * samples, that random heads do no worse. */
export function lowest(run: Run, frame: Frame): string {
  if (isUndefined(run)) return "UNDEFINED";
  const untold = usedOf(run, frame) <= minimal(run) && run.info.directions < 2 * minimal(run);
  const { regime } = frame.labels;
  return untold && regime === "TRANSITION" ? regime : "MF";
}

/** The regimes by how many features are in use: from the first number up to the second. None of
 * them reaches beyond p, and where nothing was learned that of k95 is called so. */
export function zonesOf(run: Run, frame: Frame): [regime: string, from: number, to: number][] {
  const { labels } = frame;
  const p = run.info.numFeatures;
  const c = isUndefined(run) ? p : minimal(run);
  const zones: [string, number, number][] = [
    [lowest(run, frame), 0, Math.min(c, p)],
    ["TRANSITION", c, Math.min(2 * c, p)],
    ["EF", 2 * c, p],
  ];
  const used = labels.regime === "UNTRAINED" ? usedOf(run, frame) : Number.NaN;
  return zones
    .filter(([, from, to]) => from < to)
    .map(([name, from, to]) => [from < used && used <= to ? "UNTRAINED" : name, from, to]);
}

/** Up to C, up to 2C, and beyond: no further than there are features. */
export function behindFeatures(scale: Scale, end: number, { colors, run, frame }: Scene): Zone[] {
  return zonesOf(run, frame).map(([regime, from, to]) => ({
    left: 0,
    right: end,
    bottom: scale.place(from || scale.bounds[0]),
    top: scale.place(to),
    color: colors.roles[regime] ?? "transparent",
    alpha: colors.veil,
  }));
}

/** Stretches of one regime; a frame's reaches halfway to its neighbours. */
function stretches(run: Run | null): { left: number; right: number; regime: string }[] {
  const spans: { left: number; right: number; regime: string }[] = [];
  const frames = run?.frames ?? [];
  frames.forEach((frame, at) => {
    const { epoch } = frame;
    const regime = run ? regimeOf(run, frame) : "";
    const right = (epoch + (frames[at + 1]?.epoch ?? epoch)) / 2;
    const open = spans.at(-1);
    if (open?.regime === regime) open.right = right;
    else spans.push({ left: open?.right ?? epoch, right, regime });
  });
  return spans;
}
