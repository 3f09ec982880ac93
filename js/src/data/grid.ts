// A sweep without a kernel: moving a control swaps the recorded run, and keeps the epoch.

import { type Axis, fromBase64, type GridLayout, PageModel } from "../host/page";
import { type Block, openBlock } from "./wire";

/** So many runs are opened ahead of their turn, those that one move would show. */
const AHEAD = 64;

/** The place of a value on an axis; a number between two values is the nearer one. */
export function nearest({ values, log }: Axis, wanted: unknown): number {
  const exact = values.indexOf(wanted);
  if (exact >= 0 || typeof wanted !== "number") return Math.max(exact, 0);
  const scale = (value: unknown) => (log ? Math.log(Number(value)) : Number(value));
  const distances = values.map((value) => Math.abs(scale(value) - scale(wanted)));
  return distances.indexOf(Math.min(...distances));
}

export class GridModel extends PageModel {
  readonly #layout: GridLayout;
  readonly #blocks: Record<string, string>;
  /** Numbers of the frames of each run that was sent. */
  readonly #sent = new Map<string, number[]>();
  /** What was opened and not sent yet, and what runs share, by name. */
  readonly #ahead = new Map<string, Promise<Block>>();
  readonly #shared = new Map<string, Promise<Block>>();
  #visited: { run: string; label: string; changed: string; frames: number }[] = [];
  #place: number[];
  /** Where a move that has begun came from. */
  #from: number[] | undefined;
  #turn = 0;

  constructor(state: Record<string, unknown>, layout: GridLayout, blocks: Record<string, string>) {
    super(state);
    this.#layout = layout;
    this.#blocks = blocks;
    this.#place = layout.axes.map((axis) => nearest(axis, state[axis.name]));
  }

  override set(name: string, value: unknown): void {
    const at = this.#layout.axes.findIndex((axis) => axis.name === name);
    const axis = this.#layout.axes[at];
    if (!axis) {
      super.set(name, value);
      return;
    }
    const before = this.#place;
    this.#place = before.with(at, nearest(axis, value));
    super.set(name, axis.values[this.#place[at] ?? 0]);
    // A control that stands between two values moves to the nearer one, whether or not that is new.
    this.emit(`change:${name}`);
    if (this.#place[at] === before[at]) return;
    // What is set together is shown together: the places between need not have a run.
    if (!this.#from) queueMicrotask(() => this.#move());
    this.#from ??= before;
  }

  #move(): void {
    const before = this.#from;
    this.#from = undefined;
    void this.show(before);
  }

  override ready(): Promise<void> {
    return this.show();
  }

  /** Show the run of the present place; where there is none, go back to `before` and say why. */
  async show(before?: number[]): Promise<void> {
    const turn = ++this.#turn;
    const key = this.#place.join();
    const cell = this.#layout.cells[key];
    if (!cell) {
      const reason = this.#layout.missing[key] ?? "no run has these settings";
      super.set("message", `Nothing to show: ${reason}.`);
      if (before) this.#return(before);
      return;
    }
    if (!this.#sent.has(cell.run)) await this.#send(cell.run, cell.shared);
    if (turn !== this.#turn) return; // moved on meanwhile
    const frames = this.#sent.get(cell.run) ?? [];
    this.#remember(cell.run, cell.label, frames.length, before);
    super.set("message", "");
    super.set("num_frames", (frames.at(-1) ?? -1) + 1);
    super.set("run", cell.run);
    this.#lookAhead(turn);
  }

  /** While there is nothing else to do, open what one move from here would show: along an axis, or,
   * by a click on the map, along two. What is no longer near is let go. */
  #lookAhead(turn: number): void {
    const moved = (key: string) =>
      key.split(",").filter((at, axis) => Number(at) !== this.#place[axis]).length;
    const near = Object.entries(this.#layout.cells)
      .map(([key, { run }]) => ({ run, moves: moved(key) }))
      .filter(({ run, moves }) => moves <= 2 && !this.#sent.has(run))
      .sort((one, other) => one.moves - other.moves)
      .slice(0, AHEAD)
      .map(({ run }) => run);
    for (const run of this.#ahead.keys()) if (!near.includes(run)) this.#ahead.delete(run);
    const next = () => {
      const run = turn === this.#turn ? near.shift() : undefined;
      if (run) void this.#open(this.#ahead, run).then(() => whenIdle(next));
    };
    whenIdle(next);
  }

  #open(opened: Map<string, Promise<Block>>, name: string): Promise<Block> {
    const block = opened.get(name) ?? openBlock(fromBase64(this.#blocks[name] ?? ""));
    opened.set(name, block);
    return block;
  }

  #return(before: number[]): void {
    this.#place = before;
    this.#layout.axes.forEach(({ name, values }, at) => {
      super.set(name, values[before[at] ?? 0]);
      this.emit(`change:${name}`);
    });
  }

  /** Hand a run to whoever listens, as a kernel would. */
  async #send(run: string, shared: string): Promise<void> {
    const opening = [this.#open(this.#ahead, run), this.#open(this.#shared, shared)] as const;
    const [own, common] = await Promise.all(opening);
    this.#ahead.delete(run);
    const { layout, sprite } = common.info;
    const info = { ...own.info, layout, ...(sprite ? { sprite } : {}) };
    this.emit("msg:custom", { type: "run", run, info }, [common.body]);
    this.emit("msg:custom", { type: "frames", run, frames: own.headers }, [own.body]);
    this.#sent.set(
      run,
      own.headers.map(({ seq }) => seq),
    );
  }

  /** The list of runs, the one on show at its end: the ghost is named by what has changed. */
  #remember(run: string, label: string, frames: number, before?: number[]): void {
    const changes = this.#layout.axes.flatMap(({ name, values }, at) => {
      const [from, to] = [before?.[at], this.#place[at]];
      if (from === undefined || to === undefined || from === to) return [];
      return [`${name} ${String(values[from])} → ${String(values[to])}`];
    });
    this.#visited = this.#visited.filter((entry) => entry.run !== run);
    this.#visited.push({ run, label, changed: changes.join(", "), frames });
    super.set("_runs", JSON.stringify(this.#visited));
  }
}

/** Not every browser says when it is idle. */
function whenIdle(next: () => void): void {
  if (typeof requestIdleCallback === "undefined") setTimeout(next, 50);
  else requestIdleCallback(next);
}
