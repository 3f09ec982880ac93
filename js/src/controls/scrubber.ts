// Going through time: a slider over the frames, play, speed, single steps, and back to live.

import { frameAt, indexOf, type Scene } from "../data/scene";
import type { Run } from "../data/store";
import type { Frame } from "../data/wire";
import { attribute, button, type Cleanup, disable, h, setText } from "../host/dom";
import { assign, listen, type Model, number } from "../host/model";

const SPEEDS = [1, 2, 5, 10, 30];

export class Scrubber {
  readonly root: HTMLElement;
  private readonly slider = h("input", {
    type: "range",
    min: 0,
    max: 0,
    step: 1,
    value: 0,
    "data-testid": "scrubber",
    "aria-label": "Frame",
  });
  private readonly play = button("▶", "Play", { class: "fsw-icon", "aria-label": "Play" });
  private readonly back = button("‹", "One frame back (,)", {
    class: "fsw-icon",
    "aria-label": "Back",
  });
  private readonly forth = button("›", "One frame on (.)", {
    class: "fsw-icon",
    "aria-label": "Forward",
  });
  private readonly live: HTMLButtonElement;
  private readonly speed = h(
    "select",
    { "aria-label": "Speed", title: "Frames a second" },
    ...SPEEDS.map((rate) => h("option", { value: rate }, `${rate}/s`)),
  );
  private readonly where = h("output", { class: "fsw-where" });
  private timer: ReturnType<typeof setInterval> | undefined;
  private met = false;

  constructor(
    private readonly model: Model,
    private readonly run: () => Run | undefined,
    cleanup: Cleanup,
  ) {
    this.speed.value = "5";
    // Without a kernel nothing more will come: the last frame is all there is to return to.
    this.live = model.send
      ? button("Live", "Follow the newest frame", { class: "fsw-live" })
      : button("Last", "Go to the last frame");
    this.root = h(
      "div",
      { class: "fsw-scrubber", role: "group", "aria-label": "Time" },
      this.play,
      this.back,
      this.slider,
      this.forth,
      this.where,
      this.speed,
      this.live,
    );
    cleanup.on(this.slider, "input", () => {
      this.stop();
      this.go(this.slider.valueAsNumber);
    });
    cleanup.on(this.play, "click", () => (this.timer === undefined ? this.start() : this.stop()));
    cleanup.on(this.back, "click", () => this.step(-1));
    cleanup.on(this.forth, "click", () => this.step(1));
    cleanup.on(this.speed, "change", () => {
      if (this.timer === undefined) return;
      this.stop();
      this.start();
    });
    cleanup.on(this.live, "click", () => {
      this.stop();
      this.look(-1);
    });
    cleanup.on<KeyboardEvent>(this.root, "keydown", (event) => {
      if (event.key === "," || event.key === ".") this.step(event.key === "," ? -1 : 1);
      else if (event.key === " " && event.target === this.slider) this.play.click();
      else return;
      event.preventDefault();
    });
    // Another run, or back to live from elsewhere: nothing is left to play.
    cleanup.add(
      listen(model, {
        "change:run": () => this.stop(),
        "change:shown": () => {
          if (this.following) this.stop();
          this.tellEpoch();
        },
        "change:epoch": () => this.followEpoch(),
      }),
    );
    cleanup.add(() => this.stop());
  }

  get following(): boolean {
    return number(this.model, "shown", -1) < 0;
  }

  /** Look at the frame in this place; the newest one that was reached by hand stays put. */
  go(index: number): void {
    const frame = this.run()?.frames[index];
    if (frame) this.look(frame.seq);
  }

  /** Look at the frame with this number, or with −1 at the newest, whatever it is. It is told at
   * once: only from what was told does a host know which of the kernel's echoes are late. */
  look(seq: number): void {
    assign(this.model, "shown", seq);
  }

  draw({ run, index, frame }: Scene): void {
    if (!this.met) {
      // What was asked for before there were frames.
      this.met = true;
      if (this.wanted === null) this.tellEpoch();
      else this.followEpoch();
    }
    attribute(this.slider, "max", run.frames.length - 1);
    if (this.slider.valueAsNumber !== index) this.slider.value = String(index);
    const text = `epoch ${Number(frame.epoch.toFixed(2))}`;
    setText(this.where, `${text} · frame ${index + 1}/${run.frames.length}`);
    attribute(this.slider, "aria-valuetext", text);
    attribute(this.live, "aria-pressed", String(this.following));
    disable(this.back, index === 0);
    disable(this.forth, index >= run.frames.length - 1);
  }

  // `shown` counts this run's frames; `epoch` says the same so that viewers of other runs can be
  // linked by it.
  private get wanted(): number | null {
    const epoch = this.model.get("epoch");
    return typeof epoch === "number" ? epoch : null;
  }

  private tellEpoch(): void {
    const here = this.here();
    if (here === undefined || this.means(here)) return;
    assign(this.model, "epoch", here?.epoch ?? null);
  }

  private followEpoch(): void {
    const { wanted } = this;
    const run = this.run();
    const here = this.here();
    if (!run || here === undefined || this.means(here)) return;
    this.look(wanted === null ? -1 : (frameAt(run, wanted)?.seq ?? -1));
  }

  /** The frame on show; null for the newest, whatever it is; undefined where there is none yet. */
  private here(): Frame | null | undefined {
    return this.following ? null : this.run()?.frames[this.place()];
  }

  /** Whether `epoch` says this frame already: exactly, or as the last one before it. */
  private means(frame: Frame | null): boolean {
    const { wanted } = this;
    const run = this.run();
    if (wanted === null || !frame || !run) return wanted === null && frame === null;
    // Of several frames of one epoch the one on show stays.
    return frame.epoch === wanted || frameAt(run, wanted) === frame;
  }

  private place(): number {
    const run = this.run();
    if (!run) return 0;
    return this.following ? run.frames.length - 1 : indexOf(run, number(this.model, "shown"));
  }

  private step(by: number): void {
    this.stop();
    this.go(this.place() + by);
  }

  private start(): void {
    const run = this.run();
    if (!run) return;
    if (this.place() >= run.frames.length - 1) this.go(0);
    this.label("❚❚", "Stop playing");
    this.timer = setInterval(() => {
      const next = this.place() + 1;
      if (next < (this.run()?.frames.length ?? 0)) this.go(next);
      else this.stop();
    }, 1000 / Number(this.speed.value));
  }

  private stop(): void {
    if (this.timer === undefined) return;
    clearInterval(this.timer);
    this.timer = undefined;
    this.label("▶", "Play");
  }

  private label(sign: string, name: string): void {
    setText(this.play, sign);
    attribute(this.play, "aria-label", name);
    attribute(this.play, "title", name);
  }
}
