// Going through time: a slider over the frames, play, speed, single steps, and back to live.

import { placeAt, type Scene } from "../data/scene";
import type { Run } from "../data/store";
import type { Frame } from "../data/wire";
import {
  attribute,
  button,
  type Cleanup,
  disable,
  h,
  hide,
  iconButton,
  setText,
} from "../host/dom";
import { setIcon } from "../host/icons";
import { assign, listen, type Model, number } from "../host/model";

const SPEEDS = [1, 2, 5, 10, 30];

export class Scrubber {
  /** The slider, which lies under the history; and the rest of the bar. */
  readonly time: HTMLElement;
  readonly steps: HTMLElement;
  readonly #slider = h("input", {
    type: "range",
    min: 0,
    max: 0,
    step: 1,
    value: 0,
    "data-testid": "scrubber",
    "aria-label": "Frame",
  });
  readonly #play = iconButton("play", "Play");
  readonly #back = iconButton("prev", "Back", "One frame back (,)");
  readonly #forth = iconButton("next", "Forward", "One frame on (.)");
  readonly #live: HTMLButtonElement;
  readonly #speed = h(
    "select",
    { class: "fsw-mini", "aria-label": "Speed", title: "Frames a second", hidden: true },
    ...SPEEDS.map((rate) => h("option", { value: rate }, `${rate}/s`)),
  );
  readonly #word = h("span", { class: "fsw-lo" }, "epoch ");
  readonly #where = h("span");
  #timer: ReturnType<typeof setInterval> | undefined;
  /** The frame that was chosen here: of several of one epoch, the one that is meant. */
  #chosen: Frame | null = null;

  /** So many runs are to come, of which the last is played from its beginning. */
  #awaited = 0;
  #arrived = false;

  constructor(
    private readonly model: Model,
    private readonly run: () => Run | undefined,
    private readonly changed: () => void,
    cleanup: Cleanup,
  ) {
    this.#speed.value = "5";
    // Without a kernel nothing more will come: the last frame is all there is to return to.
    const [name, title] = model.send
      ? ["Live", "Follow the newest frame"]
      : ["Last", "Go to the last frame"];
    this.#live = button(name ?? "", title, { class: "fsw-q fsw-live" });
    const output = h("output", {}, this.#word, this.#where);
    this.time = h("div", { class: "fsw-time", role: "group", "aria-label": "Time" });
    this.time.append(this.#play, h("div", { class: "fsw-rail-track" }, this.#slider), output);
    this.steps = h("div", { class: "fsw-steps" }, this.#speed, this.#back, this.#forth, this.#live);
    cleanup.on(this.#slider, "input", () => {
      this.#stop();
      this.go(this.#slider.valueAsNumber);
    });
    cleanup.on(this.#play, "click", () =>
      this.#timer === undefined ? this.#start() : this.#stop(),
    );
    cleanup.on(this.#back, "click", () => this.#step(-1));
    cleanup.on(this.#forth, "click", () => this.#step(1));
    cleanup.on(this.#speed, "change", () => {
      if (this.#timer === undefined) return;
      this.#stop();
      this.#start();
    });
    cleanup.on(this.#live, "click", () => {
      this.#stop();
      this.look(null);
    });
    for (const part of [this.time, this.steps]) {
      cleanup.on<KeyboardEvent>(part, "keydown", (event) => {
        if (event.key === "," || event.key === ".") this.#step(event.key === "," ? -1 : 1);
        else if (event.key === " " && event.target === this.#slider) this.#play.click();
        else return;
        event.preventDefault();
      });
    }
    // Another run, or back to live from elsewhere: nothing is left to play.
    cleanup.add(
      listen(model, {
        "change:run": () => {
          this.#stop();
          this.#arrived = this.#awaited > 0 && --this.#awaited === 0;
        },
        "change:epoch": () => {
          if (this.following) this.#stop();
        },
      }),
    );
    cleanup.add(() => this.#stop());
  }

  /** The epoch on show, or up to which; null for the newest, whatever it is. It is the one place
   * where time is kept, so that viewers of other runs can be linked by it. */
  get #epoch(): number | null {
    const epoch = this.model.get("epoch");
    return typeof epoch === "number" ? epoch : null;
  }

  get following(): boolean {
    return this.#epoch === null;
  }

  /** The place of the frame on show. */
  place(run: Run): number {
    const epoch = this.#epoch;
    if (epoch === null) return run.frames.length - 1;
    const chosen = this.#chosen?.epoch === epoch ? run.frames.indexOf(this.#chosen) : -1;
    return chosen < 0 ? placeAt(run, epoch) : chosen;
  }

  /** Look at the frame in this place; the newest one that was reached by hand stays put. */
  go(index: number): void {
    const frame = this.run()?.frames[index];
    if (frame) this.look(frame);
  }

  /** Look at a frame, or with null at the newest, whatever it is. It is told at once: only from
   * what was told does a host know which of the kernel's echoes are late. */
  look(frame: Frame | null): void {
    const same = this.#chosen !== frame && this.#epoch === (frame?.epoch ?? null);
    this.#chosen = frame;
    assign(this.model, "epoch", frame?.epoch ?? null);
    if (same) this.changed(); // another frame of the same epoch
  }

  /** Play the last of so many runs once all of it is here. */
  await(runs: number): void {
    this.#awaited = runs;
  }

  draw({ run, index, frame, end }: Scene): void {
    const last = run.frames.length - 1;
    if (this.#arrived && run.next >= number(this.model, "num_frames", 1)) {
      this.#arrived = false;
      this.#start();
    }
    attribute(this.#slider, "max", last);
    if (this.#slider.valueAsNumber !== index) this.#slider.value = String(index);
    const text = `epoch ${Number(frame.epoch.toFixed(2))}`;
    setText(this.#where, String(Number(frame.epoch.toFixed(2))));
    attribute(this.#slider, "aria-valuetext", `${text}, frame ${index + 1} of ${last + 1}`);
    attribute(this.#slider, "title", `frame ${index + 1} of ${last + 1}`);
    // As long as the history's curves are, so that thumb and cursor are one line.
    const share = (run.frames.at(-1)?.epoch ?? 0) / end;
    this.#slider.style.setProperty("--v", `${last > 0 ? (100 * index) / last : 100}%`);
    this.#slider.style.setProperty("--end", String(share));
    attribute(this.#live, "aria-pressed", String(this.following));
    disable(this.#back, index === 0);
    disable(this.#forth, index >= run.frames.length - 1);
  }

  #place(): number {
    const run = this.run();
    return run ? this.place(run) : 0;
  }

  #step(by: number): void {
    this.#stop();
    this.go(this.#place() + by);
  }

  #start(): void {
    const run = this.run();
    if (!run) return;
    if (this.#place() >= run.frames.length - 1) this.go(0);
    this.#label("pause", "Stop playing");
    hide(this.#speed, false);
    this.#timer = setInterval(() => {
      const next = this.#place() + 1;
      if (next < (this.run()?.frames.length ?? 0)) this.go(next);
      else this.#stop();
    }, 1000 / Number(this.#speed.value));
  }

  #stop(): void {
    if (this.#timer === undefined) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#label("play", "Play");
    hide(this.#speed, true);
  }

  #label(sign: "play" | "pause", name: string): void {
    setIcon(this.#play, sign);
    attribute(this.#play, "aria-label", name);
    attribute(this.#play, "title", name);
  }
}
