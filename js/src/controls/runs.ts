// The runs of this session, and the one that stays behind as a ghost to compare with.

import type { Run, Store } from "../data/store";
import { attribute, button, type Cleanup, h, hide, opensInSight, setText } from "../host/dom";
import { json, listen, type Model, type RunEntry, text } from "../host/model";

/** Changes of settings that are named before the rest is only counted. */
const NAMED = 3;

export class Runs {
  readonly root: HTMLDetailsElement;
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
    opensInSight(this.root, cleanup);
    cleanup.on(dismiss, "click", () => this.pin(""));
    cleanup.on<MouseEvent>(this.list, "click", (event) => {
      const run = (event.target as HTMLElement).closest<HTMLElement>("button")?.dataset.pin;
      if (run !== undefined) this.pin(run === this.chosen && this.pinned ? "" : run);
    });
    cleanup.add(
      listen(model, { "change:run": () => this.restarted(), "change:_runs": () => this.show() }),
    );
    this.restore();
    this.show();
  }

  /** The ghost as the draw needs it: only once the run on show is another one. */
  ghost(shown: string): Run | null {
    const run = this.store.runs.get(this.chosen);
    return run?.frames.length && this.chosen !== shown ? run : null;
  }

  reset(): void {
    this.pin("");
  }

  /** After a reload of the page: the ghost is the run before, unless another one, or none, was chosen.
   * It is fetched once the run on show has been asked for. */
  private restore(): void {
    const entries = this.entries();
    const at = entries.findIndex(({ run }) => run === this.current);
    const before = entries.slice(0, Math.max(at, 0)).findLast(({ frames }) => frames > 1)?.run;
    const kept = recall(this.current);
    this.pinned = entries.some(({ run }) => run === kept);
    this.chosen = this.pinned || kept === "" ? (kept ?? "") : (before ?? "");
    if (this.chosen) void this.store.ready.then(() => this.store.fetch(this.chosen));
  }

  private entries(): RunEntry[] {
    return json<RunEntry[]>(this.model, "_runs", []);
  }

  private restarted(): void {
    const run = text(this.model, "run");
    if (run === this.current) return;
    this.previous = this.current;
    this.current = run;
    const held = this.store.runs.get(this.previous)?.frames.length;
    // A run that never got anywhere is nothing to compare with: the ghost before it stays.
    if (!this.pinned && held && held > 1) this.chosen = this.previous;
    if (this.pinned) remember(run, this.chosen);
    this.show();
    this.changed();
  }

  private pin(run: string): void {
    this.chosen = run;
    this.pinned = run !== "";
    remember(this.current, run);
    if (run) this.store.fetch(run);
    this.show();
    this.changed();
  }

  private label(shorten = (changes: string) => changes): string {
    const entries = this.entries();
    const at = entries.findIndex(({ run }) => run === this.chosen);
    const next = entries[at + 1];
    // Only of its direct predecessor a run knows what changed.
    const changed = next?.run === this.current && !this.pinned ? next.changed : "";
    return changed ? `the run before “${shorten(changed)}”` : entries[at]?.label || "another run";
  }

  private show(): void {
    const entries = this.entries();
    hide(this.root, entries.length < 2);
    this.list.replaceChildren(
      ...entries.toReversed().map(({ run, label, changed, frames }) => {
        const current = run === this.current;
        const pinned = run === this.chosen;
        const count = current ? "" : `${frames} frame${frames === 1 ? "" : "s"}`;
        const name = [label || run, changed && `(${brief(changed)})`, count];
        const pin = button(pinned ? "Unpin" : "Compare", "Keep as the ghost to compare with", {
          "data-pin": run,
          "aria-pressed": String(pinned),
        });
        return h(
          "li",
          { "data-run": run, "aria-current": current ? "true" : null },
          h("span", { title: changed }, name.filter(Boolean).join(" ")),
          current ? h("em", {}, "now") : pin,
        );
      }),
    );
    setText(this.said, `Ghost: ${this.label(brief)}`);
    attribute(this.said, "title", this.label());
    attribute(this.banner, "data-ghost", this.chosen || null);
  }
}

/** The first of many changes; after an experiment was loaded there may be a dozen. */
export function brief(changed: string): string {
  const changes = changed.split(", ");
  const more = changes.length - NAMED;
  return more > 0 ? `${changes.slice(0, NAMED).join(", ")} and ${more} more` : changed;
}

/** Keep the choice of a ghost for the page's next load, where the browser lets us. */
function remember(run: string, chosen: string): void {
  try {
    sessionStorage.setItem(`fswidget.ghost.${run}`, chosen);
  } catch {
    // A page in a sandbox keeps nothing.
  }
}

/** The choice that was kept: "" for none, null where nothing was chosen. */
function recall(run: string): string | null {
  try {
    return sessionStorage.getItem(`fswidget.ghost.${run}`);
  } catch {
    return null;
  }
}
