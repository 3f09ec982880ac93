// The runs of this session, and the one that stays behind as a ghost to compare with.

import { before, differences, named } from "../data/changes";
import { memo } from "../data/memo";
import type { Run, Store } from "../data/store";
import { attribute, button, type Cleanup, h, hide, iconButton, menu, setText } from "../host/dom";
import { type ControlSpec, json, listen, type Model, type RunEntry, text } from "../host/model";

/** Changes of settings that are named before the rest is only counted. */
const NAMED = 3;

export class Runs {
  readonly root: HTMLDetailsElement;
  readonly key: HTMLElement;
  readonly #list = h("ul", { "data-testid": "runs" });
  readonly #said = h("span", { class: "fsw-c-ghost" });
  readonly #lead = h("span", { class: "fsw-lo" }, "before: ");
  #previous = "";
  #current = "";
  /** The run that is the ghost; the one pinned by hand stays through restarts. */
  #chosen = "";
  #pinned = false;
  readonly #described = memo<string>();

  constructor(
    private readonly model: Model,
    private readonly store: Store,
    private readonly changed: () => void,
    cleanup: Cleanup,
  ) {
    this.#current = text(model, "run");
    const dismiss = iconButton("x", "Dismiss", "Stop comparing");
    this.key = h(
      "div",
      { class: "fsw-ghost", "data-testid": "ghost", hidden: true },
      h("span", { class: "fsw-dash", "aria-hidden": "true" }),
      h("span", { class: "fsw-ghost-words fsw-c-ghost" }, this.#lead, this.#said),
      dismiss,
    );
    this.root = menu("Runs", "runs", "Runs of this session", cleanup, this.#list);
    cleanup.on(dismiss, "click", () => this.#pin(""));
    cleanup.on<MouseEvent>(this.#list, "click", (event) => {
      const run = (event.target as HTMLElement).closest<HTMLElement>("button")?.dataset.pin;
      if (run !== undefined) this.#pin(run === this.#chosen && this.#pinned ? "" : run);
    });
    cleanup.add(
      listen(model, { "change:run": () => this.#restarted(), "change:_runs": () => this.#show() }),
    );
    this.#restore();
    this.#show();
  }

  /** The ghost as the draw needs it: only once the run on show is another one. */
  ghost(shown: string): Run | null {
    const run = this.store.runs.get(this.#chosen);
    return run?.frames.length && this.#chosen !== shown ? run : null;
  }

  reset(): void {
    this.#pin("");
  }

  /** After a reload of the page: the ghost is the run before, unless another one, or none, was chosen.
   * It is fetched once the run on show has been asked for. */
  #restore(): void {
    const entries = this.#entries();
    const at = entries.findIndex(({ run }) => run === this.#current);
    const before = entries.slice(0, Math.max(at, 0)).findLast(({ frames }) => frames > 1)?.run;
    const kept = recall(this.#current);
    this.#pinned = entries.some(({ run }) => run === kept);
    this.#chosen = this.#pinned || kept === "" ? (kept ?? "") : (before ?? "");
    if (this.#chosen) void this.store.ready.then(() => this.store.fetch(this.#chosen));
  }

  #entries(): RunEntry[] {
    return json<RunEntry[]>(this.model, "_runs", []);
  }

  #restarted(): void {
    const run = text(this.model, "run");
    if (run === this.#current) return;
    const entry = this.#entries().find((of) => of.run === run);
    const former = this.#current;
    this.#current = run;
    if (entry?.replaces === former) {
      // The mean of more seeds is the same run: its ghost stays.
      if (this.#pinned) remember(run, this.#chosen);
      this.#show();
      this.changed();
      return;
    }
    this.#previous = entry?.parent ?? former;
    const before = this.#entries().find((of) => of.run === this.#previous);
    const held = this.store.runs.get(this.#previous)?.frames.length || before?.frames || 0;
    // A run that never got anywhere is nothing to compare with: the ghost before it stays.
    if (!this.#pinned && held > 1) {
      this.#chosen = this.#previous;
      this.store.fetch(this.#previous);
    }
    if (this.#pinned) remember(run, this.#chosen);
    this.#show();
    this.changed();
  }

  #pin(run: string): void {
    this.#chosen = run;
    this.#pinned = run !== "";
    remember(this.#current, run);
    if (run) this.store.fetch(run);
    this.#show();
    this.changed();
  }

  /** What the run before had instead of this one, in words; its number where nothing differs. */
  before(run: Run, ghost: Run | null): string {
    const specs = text(this.model, "_controls");
    return this.#described([run, ghost, specs, this.#entries().length], () => {
      if (!ghost) return "";
      const changes = differences(run, ghost, json<ControlSpec[]>(this.model, "_controls", []));
      return before(changes) || `run ${this.#entries().findIndex((of) => of.run === ghost.id) + 1}`;
    });
  }

  /** Name the ghost beside its dash. */
  draw(ghost: Run | null, words: string, seeds: string): void {
    hide(this.key, !ghost);
    setText(this.#said, words);
    attribute(this.key, "title", `before: ${words}${seeds && `. ${seeds}`}`);
    attribute(this.key, "data-ghost", ghost?.id ?? null);
  }

  #show(): void {
    const entries = this.#entries();
    hide(this.root, entries.length < 2);
    const specs = json<ControlSpec[]>(this.model, "_controls", []);
    this.#list.replaceChildren(
      ...entries
        .map(({ run, label, changed: raw, frames }, at) => {
          const changed = named(raw ?? "", specs);
          const current = run === this.#current;
          const pinned = run === this.#chosen;
          const count = current ? "" : `${frames} frame${frames === 1 ? "" : "s"}`;
          // Numbered, so that runs of the same settings are told apart.
          const branch = "↳ ".repeat(depth(entries, run));
          const name = [label || run, changed && brief(changed), count].filter(Boolean);
          const pin = button(pinned ? "Unpin" : "Compare", "Keep as the ghost to compare with", {
            class: "fsw-plain",
            "data-pin": run,
            "aria-pressed": String(pinned),
          });
          return h(
            "li",
            { "data-run": run, "aria-current": current ? "true" : null },
            h("span", { title: changed }, `${branch}${at + 1}. ${name.join(" · ")}`),
            current ? h("em", {}, "now") : pin,
          );
        })
        .toReversed(),
    );
  }
}

/** How many runs a run has branched from, one from the other. */
export function depth(entries: RunEntry[], run: string): number {
  const parent = entries.find((of) => of.run === run)?.parent;
  return parent && parent !== run ? 1 + depth(entries, parent) : 0;
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
