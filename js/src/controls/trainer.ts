// Start, pause, resume, step, stop, reset; how far the run is, and what it says.

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
import { icon, setIcon } from "../host/icons";
import { flag, type Model, number, onChange, type Progress, text } from "../host/model";

export type Command = (name: string, value?: unknown) => void;

const TOLD = [
  "state",
  "progress",
  "message",
  "error_text",
  "_can_train",
  "_can_control",
  "num_frames",
  "seeds",
];

export class Trainer {
  /** The one filled button: it changes its word and keeps its place. */
  readonly #word = h("span");
  readonly #go = button("", "", { class: "fsw-go" });
  readonly #step = iconButton("step", "Step", "Step: train up to the next frame");
  readonly #stop = iconButton("stop", "Stop", "Stop: end this run");
  readonly #more = iconButton("more", "Go on", "Go on: train for half as many epochs more");
  readonly #reset = iconButton("reset", "Reset", "Reset to an untrained network");
  readonly #epoch = h("span", { class: "fsw-epoch" });
  readonly #now = h("b");
  readonly #of = h("span");
  readonly #bar = h("progress", {
    max: 1,
    value: 0,
    "data-testid": "progress",
    "aria-label": "Progress",
  });
  readonly #run = h("div", { class: "fsw-run", role: "group", "aria-label": "Training" });
  readonly #message = h("p", { class: "fsw-message" });
  readonly #traceback = h("pre");
  readonly #error = h(
    "details",
    { class: "fsw-error fsw-details", "data-testid": "error", hidden: true },
    h("summary", {}, "What went wrong"),
    this.#traceback,
  );
  readonly #said = h("div", { class: "fsw-said" }, this.#message, this.#error);
  readonly root = h("div", { class: "fsw-trainer" });
  /** Without a kernel nothing can be trained. */
  #gone = false;

  constructor(
    private readonly model: Model,
    command: Command,
    reset: () => void,
    cleanup: Cleanup,
  ) {
    this.#go.append(icon("play"), this.#word);
    this.#epoch.append(this.#now, this.#of);
    this.#run.append(this.#go, this.#step, this.#more, this.#stop, this.#reset, this.#epoch);
    this.root.append(this.#run, this.#bar, this.#said);
    cleanup.on(this.#go, "click", () => command(this.#action));
    cleanup.on(this.#step, "click", () => command("step"));
    cleanup.on(this.#more, "click", () =>
      command("go_on", Math.ceil(number(model, "epochs", 2) / 2)),
    );
    cleanup.on(this.#stop, "click", () => command("stop"));
    cleanup.on(this.#reset, "click", () => {
      reset();
      command("reset");
    });
    const update = () => this.#update();
    cleanup.add(onChange(model, TOLD, update));
    this.#update();
  }

  /** Leave off what only a kernel can do. */
  set orphaned(gone: boolean) {
    if (this.#gone === gone) return;
    this.#gone = gone;
    this.#update();
  }

  get #action(): string {
    const state = text(this.model, "state", "finished");
    return state === "running" ? "pause" : state === "paused" ? "resume" : "start";
  }

  #update(): void {
    const { model } = this;
    const state = text(model, "state", "finished");
    const trains = flag(model, "_can_train");
    const begun = state === "running" || state === "paused";
    const words = { start: state === "idle" ? "Start" : "Run", pause: "Pause", resume: "Resume" };
    const action = this.#action as keyof typeof words;
    setText(this.#word, words[action]);
    attribute(this.#go, "title", TITLES[action]);
    setIcon(this.#go, action === "pause" ? "pause" : "play");
    const steers = trains || flag(model, "_can_control");
    hide(this.#run, !steers);
    hide(this.#bar, !steers);
    hide(this.#go, !trains && !begun);
    hide(this.#step, !trains && !begun);
    hide(this.#stop, !begun);
    hide(this.#reset, !trains || begun);
    const ended = trains && state === "finished" && number(model, "num_frames") > 1;
    hide(this.#more, !ended || number(model, "seeds", 1) > 1);
    disable(this.#more, this.#gone);
    disable(this.#go, this.#gone);
    disable(this.#step, this.#gone || state === "running");
    disable(this.#stop, this.#gone);
    disable(this.#reset, this.#gone || state === "idle");
    const progress = (model.get("progress") ?? {}) as Progress;
    const { fraction = 0, epoch = 0, epochs } = progress;
    this.#bar.value = Number.isFinite(fraction) ? fraction : 0;
    setText(this.#now, epochs ? String(Number(epoch.toFixed(1))) : "");
    setText(this.#of, epochs ? `/${Number(epochs.toFixed(1))}` : "");
    const said = this.#say(state, progress);
    setText(this.#message, said);
    attribute(this.#message, "title", said);
    attribute(this.#said, "data-state", state);
    setText(this.#traceback, text(model, "error_text"));
    hide(this.#error, !text(model, "error_text"));
  }

  #say(state: string, { seconds, seconds_left: left }: Progress): string {
    const message = text(this.model, "message");
    if (state === "running" && !message) {
      return typeof left === "number" && Number.isFinite(left) ? `${duration(left)} left` : "";
    }
    if (state === "paused" && !message) return "paused · settings may be moved";
    const finished = state === "finished" && message.startsWith("Finished");
    return finished && seconds ? `finished in ${duration(seconds)}` : message;
  }
}

const TITLES = {
  start: "Train with these settings",
  pause: "Pause",
  resume: "Go on",
};

export function duration(seconds: number): string {
  if (seconds < 10) return `${Math.max(0.1, seconds).toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}
