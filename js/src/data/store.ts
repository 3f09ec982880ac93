// The frames of every run that this model has sent, and what of them to ask for again.

import { type Buffer, listen, type Model, number, text } from "../host/model";
import {
  copyBody,
  decodeFrame,
  decodeRun,
  type Frame,
  type FrameHeader,
  type RunHeader,
  type RunInfo,
  type Unpacked,
  unpack,
} from "./wire";

/** A frame that is announced but does not come within this time is asked for again. */
const PATIENCE_MS = 1000;
/** So many messages are confirmed at once, fewer after this time. The kernel waits at 8. */
const CONFIRM_EVERY = 5;
const CONFIRM_MS = 500;
/** Without any answer it stops asking: there is no kernel behind a saved notebook. */
const MAX_TRIES = 30;

export interface Run {
  id: string;
  info: RunInfo;
  frames: Frame[];
  /** The next sequence number expected. */
  next: number;
  /** Grows with every frame that is added or replaced. */
  revision: number;
}

export type Change = "frames" | "run" | "file";

export interface FileMessage {
  name: string;
  mime: string;
  body: ArrayBuffer;
}

export class Store {
  readonly runs = new Map<string, Run>();
  /** What there is to look at: the run in progress, and until its first frame the one before. */
  current: Run | undefined;
  /** Resolves when a packed recording, if there is one, has been read. */
  readonly ready: Promise<void>;
  /** When a cell has shown the model last, in ms. */
  shown = 0;
  readonly #listeners = new Set<(change: Change, file?: FileMessage) => void>();
  readonly #stopListening: () => void;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #confirming: ReturnType<typeof setTimeout> | undefined;
  #unconfirmed = 0;
  #heard = 0;
  #tries = 0;
  readonly #asked = new Map<string, number>();
  #closed = false;

  constructor(private readonly model: Model) {
    this.#stopListening = listen(model, {
      "msg:custom": (content, buffers) =>
        this.#receive(content as Message, (buffers as Buffer[] | undefined) ?? []),
      "change:num_frames": () => this.#watch(),
      "change:run": () => {
        if (text(model, "run") === "") this.current = undefined;
        this.#look();
        this.#emit("run");
        this.#watch();
      },
      "change:_packed": () => void this.#readPacked(),
    });
    this.ready = this.#readPacked().then(() => {
      if (!this.#closed && text(model, "run")) this.sync(text(model, "run"));
    });
  }

  subscribe(listener: (change: Change, file?: FileMessage) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Ask for the frames of a run that are not here yet. */
  sync(run: string): void {
    if (!this.model.send) return;
    this.#asked.set(run, Date.now());
    const held = this.runs.get(run);
    const next = held?.next ?? 0;
    this.send({ type: "sync", run, next, described: held !== undefined });
  }

  /** Fetch an older run, for the ghost, unless it is here. */
  fetch(run: string): void {
    if (!this.runs.get(run)?.frames.length) this.sync(run);
  }

  send(content: Record<string, unknown>): void {
    try {
      this.model.send?.(content);
    } catch {
      // No kernel: a saved notebook or an exported page shows what it holds.
    }
  }

  close(): void {
    this.#closed = true;
    for (const { info } of this.runs.values()) info.pictures?.close();
    clearTimeout(this.#timer);
    clearTimeout(this.#confirming);
    this.#stopListening();
    this.#listeners.clear();
    this.runs.clear();
  }

  #look(): void {
    const run = this.runs.get(text(this.model, "run"));
    if (run?.frames.length) this.current = run;
  }

  #emit(change: Change, file?: FileMessage): void {
    for (const listener of [...this.#listeners]) listener(change, file);
  }

  async #readPacked(): Promise<void> {
    const block = this.model.get("_packed") as Buffer | null | undefined;
    if (!block || block.byteLength === 0) return;
    let unpacked: Unpacked;
    try {
      unpacked = await unpack(block);
    } catch (error) {
      console.warn("fswidget: the saved recording cannot be read", error);
      return;
    }
    if (this.#closed) return;
    const { run, info, frames } = unpacked;
    if (this.runs.get(run)?.frames.length) return;
    // What is saved may be thinned, so a kernel that is there is asked for all of it: next stays 0.
    this.runs.set(run, { id: run, info, frames, next: 0, revision: 0 });
    this.current ??= this.runs.get(run);
    this.#look();
    this.#emit("frames");
  }

  #receive(message: Message, buffers: Buffer[]): void {
    this.#heard = Date.now();
    this.#tries = 0;
    if (message?.type === "run") {
      if (!this.runs.has(message.run)) {
        const info = decodeRun(message.info, copyBody(buffers[0]));
        this.runs.set(message.run, { id: message.run, info, frames: [], next: 0, revision: 0 });
      }
      this.#emit("run");
    } else if (message?.type === "frames") {
      this.#receiveFrames(message, buffers);
    } else if (message?.type === "shown") {
      this.shown = Date.now();
    } else if (message?.type === "file") {
      const { name, mime } = message;
      this.#emit("file", { name, mime, body: copyBody(buffers[0]) });
    }
  }

  #receiveFrames(message: FramesMessage, buffers: Buffer[]): void {
    const run = this.runs.get(message.run);
    if (!run) {
      this.#syncSoon(message.run);
      return;
    }
    const body = copyBody(buffers[0]);
    let gap = false;
    for (const header of message.frames) {
      if (header.seq < run.next) continue; // here already: a second view asked too
      if (header.previous >= run.next) {
        gap = true;
        break;
      }
      insert(run, decodeFrame(header, body));
      run.next = header.seq + 1;
    }
    this.#acknowledge(run);
    if (gap) this.#syncSoon(run.id);
    this.#look();
    this.#emit("frames");
    this.#watch();
  }

  /** Confirm several messages at once: each confirmation makes the kernel busy for a moment, which
   * JupyterLab shows in its toolbar, status bar and favicon. */
  #acknowledge(run: Run): void {
    this.#unconfirmed += 1;
    if (this.#unconfirmed < CONFIRM_EVERY) {
      this.#confirming ??= setTimeout(() => this.#confirm(run), CONFIRM_MS);
    } else {
      this.#confirm(run);
    }
  }

  #confirm(run: Run): void {
    clearTimeout(this.#confirming);
    this.#confirming = undefined;
    this.#unconfirmed = 0;
    this.send({ type: "ack", run: run.id, next: run.next });
  }

  /** Ask again, but not while the answer to the last request may be on its way. */
  #syncSoon(run: string): void {
    if (Date.now() - (this.#asked.get(run) ?? 0) >= PATIENCE_MS) this.sync(run);
    else this.#watch();
  }

  /** See to it that an announced frame that never came is asked for. */
  #watch(): void {
    if (this.#timer !== undefined || this.#closed || !this.model.send) return;
    if (!this.#behind()) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      if (!this.#behind()) return;
      if (Date.now() - this.#heard >= PATIENCE_MS) this.#syncSoon(text(this.model, "run"));
      if (++this.#tries < MAX_TRIES) this.#watch();
    }, PATIENCE_MS);
  }

  #behind(): boolean {
    const run = text(this.model, "run");
    return run !== "" && (this.runs.get(run)?.next ?? 0) < number(this.model, "num_frames");
  }
}

/** Add a frame in order; one of the same number, out of a saved recording, gives way. */
function insert(run: Run, frame: Frame): void {
  const before = run.frames.findLastIndex(({ seq }) => seq <= frame.seq);
  const replaces = run.frames[before]?.seq === frame.seq;
  run.frames.splice(replaces ? before : before + 1, replaces ? 1 : 0, frame);
  run.revision += 1;
}

interface FramesMessage {
  type: "frames";
  run: string;
  frames: FrameHeader[];
}

type Message =
  | { type: "run"; run: string; info: RunHeader }
  | FramesMessage
  | { type: "shown" }
  | { type: "file"; name: string; mime: string };

const KEPT = Symbol("fswidget.store");

interface Holder {
  [KEPT]?: { store: Store; users: number } | undefined;
}

/** The model's store, shared by its views, and what to call when it is no longer needed.
 *
 * A host may wrap the model anew for every view (anywidget does), so the store is kept on a value
 * that each model holds once: its copy of BokehJS. */
export function openStore(model: Model): { store: Store; close: () => void } {
  const held = model.get("_bokehjs");
  const holder: Holder = typeof held === "object" && held !== null ? held : model;
  holder[KEPT] ??= { store: new Store(model), users: 0 };
  const entry = holder[KEPT];
  entry.users += 1;
  let open = true;
  const close = () => {
    if (!open) return;
    open = false;
    entry.users -= 1;
    if (entry.users > 0) return;
    entry.store.close();
    delete holder[KEPT];
  };
  return { store: entry.store, close };
}
