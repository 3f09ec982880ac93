// Settings that were changed while a run was on.

import type { Run } from "./store";

export interface Steered {
  epoch: number;
  words: string;
}

const LINE = /^step \d+ \(epoch ([^)]+)\): (.+)$/;

/** What was changed in a run, in order; see `Recording.changes`. */
export function changes({ frames }: Run): Steered[] {
  const lines = frames.at(-1)?.labels.changes?.split("\n") ?? [];
  return lines.flatMap((line) => {
    const [, epoch, words] = LINE.exec(line) ?? [];
    return words === undefined ? [] : [{ epoch: Number(epoch), words }];
  });
}

/** Columns of lines from bottom to top. */
export function marks(x: number[]) {
  return { x, bottom: x.map(() => 0), top: x.map(() => 1) };
}
