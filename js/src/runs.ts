// The runs of this session, and the one that stays behind as a ghost to compare with.

import { attribute, button, type Cleanup, h, hide, setText } from "./dom";
import { json, listen, type Model, type RunEntry, text } from "./model";
import type { Ghost } from "./scene";
import type { Store } from "./store";

export class Runs {
  readonly root: HTMLElement;
  readonly banner: HTMLElement;
  private readonly list = h("ul", { "data-testid": "runs" });
  private readonly said = h("span");
  private previous = "";
  private current = "";
  /** The run that is the ghost; the one pinned by hand stays through restarts. */
  private chosen = "";
  private pinned = false;

  constructor(
    private readonly model: Model,
    private readonly store: Store,
    private readonly changed: () => void,
    cleanup: Cleanup,
  ) {
    this.current = text(model, "run");
    const dismiss = button("Dismiss", "Stop comparing");
    this.banner = h(
      "div",
      { class: "fsw-ghost", "data-testid": "ghost", hidden: true },
      h("span", { class: "fsw-stroke fsw-dotdash", "data-role": "ghost", "aria-hidden": "true" }),
      this.said,
      dismiss,
    );
    this.root = h(
      "details",
      { class: "fsw-runs fsw-details" },
      h("summary", {}, "Runs"),
      this.list,
    );
    cleanup.on(dismiss, "click", () => this.pin(""));
    cleanup.on<MouseEvent>(this.list, "click", (event) => {
      const run = (event.target as HTMLElement).closest<HTMLElement>("button")?.dataset.pin;
      if (run !== undefined) this.pin(run === this.chosen && this.pinned ? "" : run);
    });
    cleanup.add(
      listen(model, { "change:run": () => this.restarted(), "change:_runs": () => this.show() }),
    );
    this.show();
  }

  /** The ghost as the draw needs it: only once the run on show is another one. */
  ghost(shown: string): Ghost | null {
    const run = this.store.runs.get(this.chosen);
    if (!run?.frames.length || this.chosen === shown) return null;
    return { run, label: this.label() };
  }

  reset(): void {
    this.pin("");
  }

  private restarted(): void {
    const run = text(this.model, "run");
    if (run === this.current) return;
    this.previous = this.current;
    this.current = run;
    const held = this.store.runs.get(this.previous)?.frames.length;
    // A run that never got anywhere is nothing to compare with: the ghost before it stays.
    if (!this.pinned && held && held > 1) this.chosen = this.previous;
    this.show();
    this.changed();
  }

  private pin(run: string): void {
    this.chosen = run;
    this.pinned = run !== "";
    if (run) this.store.fetch(run);
    this.show();
    this.changed();
  }

  private label(): string {
    const entries = json<RunEntry[]>(this.model, "_runs", []);
    const chosen = entries.findIndex(({ run }) => run === this.chosen);
    const now = entries.find(({ run }) => run === this.current);
    if (!this.pinned && now?.changed) return `the run before “${now.changed}”`;
    return entries[chosen]?.label || "another run";
  }

  private show(): void {
    const entries = json<RunEntry[]>(this.model, "_runs", []);
    hide(this.root, entries.length < 2);
    this.list.replaceChildren(
      ...entries.toReversed().map(({ run, label, changed, frames }) => {
        const current = run === this.current;
        const pinned = run === this.chosen;
        const name = [label || run, changed && `(${changed})`, `${frames} frames`];
        const pin = button(pinned ? "Unpin" : "Compare", "Keep as the ghost to compare with", {
          "data-pin": run,
          "aria-pressed": String(pinned),
        });
        return h(
          "li",
          { "data-run": run, "aria-current": current ? "true" : null },
          h("span", {}, name.filter(Boolean).join(" ")),
          current ? h("em", {}, "now") : pin,
        );
      }),
    );
    hide(this.banner, this.chosen === "" || this.chosen === this.current);
    setText(this.said, `Ghost: ${this.label()}`);
    attribute(this.banner, "data-ghost", this.chosen || null);
  }
}
