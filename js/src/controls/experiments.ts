// The paper's experiments: a menu, and for the one chosen what to look for, Load and Run.

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
import { json, listen, type Model, type Preset } from "../host/model";
import type { Command } from "./trainer";

export function experiments(model: Model, command: Command, cleanup: Cleanup) {
  const select = h("select", { "aria-label": "Experiment" });
  const title = h("h4");
  const help = h("p");
  const arms = h("p", { class: "fsw-c-dim" });
  const missing = h("p", { class: "fsw-c-bad" });
  const load = button("Load", "Set the controls as in this experiment", { class: "fsw-plain" });
  const run = button("Run it", "One arm after the other", { class: "fsw-plain" });
  const shut = iconButton("x", "Close", "Close");
  const card = h(
    "div",
    { class: "fsw-card fsw-experiment", role: "group", "aria-label": "Experiment", hidden: true },
    h("div", { class: "fsw-row" }, title, shut),
    help,
    arms,
    missing,
    h("div", { class: "fsw-row" }, load, run),
  );
  const list = () => json<Preset[]>(model, "_presets", []);
  const chosen = () => list().find(({ name }) => name === select.value);
  const describe = () => {
    const preset = chosen();
    hide(card, !preset);
    setText(title, preset?.title ?? "");
    setText(help, preset?.help ?? "");
    const [first, ...others] = preset?.arms ?? [];
    setText(arms, others.length ? `First ${first}, then ${others.join(", then ")}.` : "");
    setText(missing, preset?.missing ?? "");
    hide(missing, !preset?.missing);
    disable(run, Boolean(preset?.missing));
  };
  const row = h(
    "label",
    { class: "fsw-control fsw-select" },
    h("span", { class: "fsw-name" }, "Experiment"),
    select,
  );
  const update = () => {
    const presets = list();
    hide(row, presets.length === 0);
    const { value } = select;
    select.replaceChildren(
      h("option", { value: "" }, "none"),
      ...presets.map(({ name, title: label }) => h("option", { value: name }, label)),
    );
    select.value = value;
    attribute(select, "title", chosen()?.title);
  };
  const close = () => hide(card, true);
  const act = (name: string) => {
    command(name, select.value);
    close();
  };
  cleanup.on(select, "change", () => {
    describe();
    // Nothing that an experiment has set stays behind it.
    if (!select.value) command("load", "");
  });
  cleanup.on(load, "click", () => act("load"));
  cleanup.on(run, "click", () => act("experiment"));
  cleanup.on(shut, "click", close);
  cleanup.add(listen(model, { "change:_presets": update }));
  update();
  const forget = () => {
    select.value = "";
    describe();
  };
  return { row, card, close, forget };
}
