// “Try: batch norm”: one click that shows what a setting does, after a run that lacks it.

import type { Run } from "../data/store";
import { button, type Cleanup, h, hide, setText } from "../host/dom";
import { icon } from "../host/icons";
import { type Model, names, specs, text } from "../host/model";

const SUGGESTIONS = [
  { name: "batchnorm", label: "batch norm" },
  { name: "last_layer_only", label: "last layer only" },
] as const;

export class Suggestion {
  readonly #label = h("span");
  readonly root = button("", "Set this and run", { class: "fsw-chip", hidden: true });
  #wanted: string | null = null;
  readonly #tried = new Set<string>();

  constructor(
    private readonly model: Model,
    cleanup: Cleanup,
  ) {
    this.root.append(this.#label, icon("next"));
    cleanup.on(this.root, "click", () => {
      if (!this.#wanted) return;
      this.#tried.add(this.#wanted);
      // What was tried before gives way: one change at a time is what can be read.
      for (const { name } of SUGGESTIONS) {
        if (this.model.get(name) === true) this.model.set(name, false);
      }
      this.model.set(this.#wanted, true);
      this.model.save_changes();
    });
  }

  draw(run: Run | undefined): void {
    const finished = text(this.model, "state") === "finished";
    const left = new Set([...names(this.model, "hide"), ...names(this.model, "lock")]);
    const known = specs(this.model).filter(({ name }) => !left.has(name));
    const next = SUGGESTIONS.find(({ name }) => {
      const spec = known.find((one) => one.name === name);
      return spec && !spec.disabled && run?.info.config[name] !== true && !this.#tried.has(name);
    });
    this.#wanted = next?.name ?? null;
    setText(this.#label, next ? `Try: ${next.label}` : "");
    hide(this.root, !finished || !next || !run?.frames.length);
  }
}
