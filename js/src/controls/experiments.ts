// The experiments: a menu, and for the one chosen what to look for, Load and Run, or Play.

import {
  attribute,
  button,
  type Cleanup,
  disable,
  h,
  hide,
  iconButton,
  setRich,
  setText,
} from "../host/dom";
import { json, listen, type Model, type Preset } from "../host/model";
import type { Command } from "./trainer";

export class Experiments {
  readonly row: HTMLElement;
  readonly card: HTMLElement;
  readonly #select = h("select", { "aria-label": "Experiment" });
  readonly #title = h("h4");
  readonly #help = h("p");
  readonly #arms = h("p", { class: "fsw-c-dim" });
  readonly #missing = h("p", { class: "fsw-c-bad" });
  readonly #run = button("", "", { class: "fsw-plain" });

  constructor(
    private readonly model: Model,
    private readonly command: Command,
    /** Called with the number of runs that are to come, of which the last is to be played. */
    private readonly play: (runs: number) => void,
    cleanup: Cleanup,
  ) {
    const load = button("Load", "Set the controls as in this experiment", { class: "fsw-plain" });
    const shut = iconButton("x", "Close", "Close");
    this.card = h(
      "div",
      { class: "fsw-card fsw-experiment", role: "group", "aria-label": "Experiment", hidden: true },
      h("div", { class: "fsw-row" }, this.#title, shut),
      this.#help,
      this.#arms,
      this.#missing,
      h("div", { class: "fsw-row" }, load, this.#run),
    );
    this.row = h(
      "label",
      { class: "fsw-control fsw-select" },
      h("span", { class: "fsw-name" }, "Experiment"),
      this.#select,
    );
    cleanup.on(this.#select, "change", () => {
      this.#describe();
      // Nothing that an experiment has set stays behind it.
      if (!this.#select.value) command("load", "");
    });
    cleanup.on(load, "click", () => this.#act("load"));
    cleanup.on(this.#run, "click", () => this.#perform());
    cleanup.on(shut, "click", () => this.close());
    cleanup.add(listen(model, { "change:_presets": () => this.#update() }));
    this.#update();
  }

  close(): void {
    hide(this.card, true);
  }

  /** Choose none, without a word to the kernel. */
  forget(): void {
    this.#select.value = "";
    this.#describe();
  }

  #list(): Preset[] {
    return json<Preset[]>(this.model, "_presets", []);
  }

  #chosen(): Preset | undefined {
    return this.#list().find(({ name }) => name === this.#select.value);
  }

  #act(name: string): void {
    this.command(name, this.#select.value);
    this.close();
  }

  #perform(): void {
    const { recorded, missing, arms = [] } = this.#chosen() ?? {};
    if (recorded) this.play(arms.length);
    this.#act(missing ? "fetch" : "experiment");
  }

  #describe(): void {
    const preset = this.#chosen();
    hide(this.card, !preset);
    if (!preset) return;
    const { title, help, arms = [], missing, fetch, recorded } = preset;
    setText(this.#title, title);
    setRich(this.#help, help);
    const [first, ...others] = arms;
    setText(this.#arms, others.length ? `First ${first}, then ${others.join(", then ")}.` : "");
    setText(this.#missing, missing ?? "");
    hide(this.#missing, !missing);
    const can = missing && fetch ? `Get the data (${fetch}) and run` : "Run it";
    setText(this.#run, recorded ? "Play" : can);
    attribute(this.#run, "title", recorded ? "As it was recorded" : "One arm after the other");
    disable(this.#run, Boolean(missing && !fetch));
  }

  #update(): void {
    const presets = this.#list();
    hide(this.row, presets.length === 0);
    const { value } = this.#select;
    this.#select.replaceChildren(
      h("option", { value: "" }, "none"),
      ...presets.map(({ name, title: label }) => h("option", { value: name }, label)),
    );
    this.#select.value = value;
    attribute(this.#select, "title", this.#chosen()?.title);
  }
}
