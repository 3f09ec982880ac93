// Start, pause, resume, step, stop, reset; how far the run is, and what it says.

import { attribute, button, type Cleanup, disable, h, hide, setText } from "../host/dom";
import { flag, json, listen, type Model, type Preset, type Progress, text } from "../host/model";

type Command = (name: string, value?: unknown) => void;

export function trainer(model: Model, command: Command, reset: () => void, cleanup: Cleanup) {
  const buttons = {
    start: button("Start", "Train a network with these settings", { class: "fsw-primary" }),
    pause: button("Pause"),
    resume: button("Resume", "Resume", { class: "fsw-primary" }),
    step: button("Step", "Train up to the next frame, then pause"),
    stop: button("Stop", "End this run"),
    reset: button("Reset", "Back to an untrained network"),
  };
  const bar = h("progress", {
    max: 1,
    value: 0,
    "data-testid": "progress",
    "aria-label": "Progress",
  });
  const where = h("span", { class: "fsw-faint" });
  const errorText = h("pre");
  const error = h(
    "details",
    { class: "fsw-error", "data-testid": "error", hidden: true },
    h("summary", {}, "What went wrong"),
    errorText,
  );
  const message = h("p", { class: "fsw-message" });
  for (const [name, element] of Object.entries(buttons)) {
    cleanup.on(element, "click", () => {
      if (name === "reset") reset();
      command(name);
    });
  }
  const update = () => {
    const state = text(model, "state", "finished");
    offer(buttons, model, state);
    const progress = (model.get("progress") ?? {}) as Progress;
    const { fraction = 0, epoch, epochs, seconds_left: left } = progress;
    bar.value = Number.isFinite(fraction) ? fraction : 0;
    hide(bar, !flag(model, "_can_train") && !flag(model, "_can_control"));
    const parts = [
      epochs ? `epoch ${round(epoch ?? 0)} of ${epochs}` : "",
      state === "running" && typeof left === "number" && Number.isFinite(left)
        ? `${duration(left)} left`
        : "",
    ];
    setText(where, parts.filter(Boolean).join(" · "));
    setText(message, text(model, "message"));
    attribute(message, "data-state", state);
    setText(errorText, text(model, "error_text"));
    hide(error, !text(model, "error_text"));
  };
  const told = ["state", "progress", "message", "error_text", "_can_train", "_can_control"];
  cleanup.add(listen(model, Object.fromEntries(told.map((name) => [`change:${name}`, update]))));
  update();
  return h(
    "div",
    { class: "fsw-trainer" },
    h(
      "div",
      { class: "fsw-row", role: "group", "aria-label": "Training" },
      ...Object.values(buttons),
    ),
    h("div", { class: "fsw-row" }, bar, where),
    message,
    error,
  );
}

/** Show the buttons that do something in this state. */
function offer(buttons: Buttons, model: Model, state: string): void {
  const trains = flag(model, "_can_train");
  const controls = trains || flag(model, "_can_control");
  const running = state === "running";
  const paused = state === "paused";
  hide(buttons.start, !trains || running || paused);
  hide(buttons.reset, !trains);
  hide(buttons.pause, !controls || !running);
  hide(buttons.resume, !controls || !paused);
  hide(buttons.step, !controls || !(trains || paused || running));
  hide(buttons.stop, !controls || !(running || paused));
  disable(buttons.step, running);
  disable(buttons.reset, state === "idle");
}

type Buttons = Record<"start" | "pause" | "resume" | "step" | "stop" | "reset", HTMLButtonElement>;

/** The paper's experiments, one click each. */
export function presets(model: Model, command: Command, cleanup: Cleanup): HTMLElement {
  const select = h("select", { "aria-label": "Experiment" });
  const help = h("span", { class: "fsw-faint" });
  const run = button("Load", "Set the controls as in this experiment");
  const root = h(
    "div",
    { class: "fsw-row fsw-presets" },
    h("span", { class: "fsw-label" }, "Experiment"),
    select,
    run,
    help,
  );
  const list = () => json<Preset[]>(model, "_presets", []);
  const describe = () => {
    const chosen = list().find(({ name }) => name === select.value);
    setText(help, chosen?.help ?? "");
    disable(run, !chosen);
  };
  const update = () => {
    const presets = list();
    hide(root, presets.length === 0);
    const chosen = select.value;
    select.replaceChildren(
      h("option", { value: "" }, "choose …"),
      ...presets.map(({ name, title }) => h("option", { value: name }, title)),
    );
    select.value = chosen;
    describe();
  };
  cleanup.on(select, "change", describe);
  cleanup.on(run, "click", () => command("preset", select.value));
  cleanup.add(listen(model, { "change:_presets": update }));
  update();
  return root;
}

function round(epoch: number): string {
  return String(Number(epoch.toFixed(1)));
}

export function duration(seconds: number): string {
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}
