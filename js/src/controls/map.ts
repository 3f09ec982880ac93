// The regimes of a sweep as a small map: a second way to choose a run, by a click or the arrow keys.

import { spoken } from "../data/changes";
import { attribute, button, type Cleanup, h } from "../host/dom";
import { json, type Model, onChange } from "../host/model";

/** What fswidget/widget/grid.py writes: the first two axes, and each run by its place along all. */
interface Layout {
  axes: { name: string; label: string; values: unknown[] }[];
  cells: Record<string, { regime: string; sign: string; words: string }>;
}

/** Cells in a row up to which there is room for the names of their regimes. */
const SIGNED = 4;

const STEPS: Record<string, [x: number, y: number]> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, 1],
  ArrowDown: [0, -1],
};

export class RegimeMap {
  readonly root = h("div", { class: "fsw-group fsw-map", "data-part": "map" });
  #layout: Layout;
  /** Buttons by their place on the map, row by row from below. */
  readonly #cells: HTMLButtonElement[][] = [];

  /** Null where the model has no map. */
  static of(model: Model, cleanup: Cleanup): RegimeMap | null {
    const layout = json<Layout | null>(model, "_map", null);
    return layout ? new RegimeMap(model, layout, cleanup) : null;
  }

  private constructor(
    private readonly model: Model,
    layout: Layout,
    cleanup: Cleanup,
  ) {
    this.#layout = layout;
    this.#build(cleanup);
    const update = () => this.#update();
    const axes = layout.axes.map(({ name }) => name);
    cleanup.add(onChange(model, axes, update));
    // Runs that end later, while a sweep goes on, are cells of the same map.
    const more = () => {
      this.#layout = json<Layout | null>(model, "_map", null) ?? this.#layout;
      update();
    };
    cleanup.add(onChange(model, ["_map"], more));
    update();
  }

  get #axes() {
    const [x, y] = this.#layout.axes;
    return { x, y };
  }

  #build(cleanup: Cleanup): void {
    const { x, y } = this.#axes;
    if (!x) return;
    const rows = y?.values ?? [null];
    const label = y ? `${y.label} against ${x.label}` : x.label;
    const grid = h("div", { role: "radiogroup", "aria-label": `Regimes: ${label}` });
    grid.style.setProperty("--cells", String(x.values.length));
    const made = rows.map((value, row) => {
      const cells = x.values.map((_, column) => {
        const cell = button("", "", { role: "radio" });
        cleanup.on(cell, "click", () => this.#choose(column, row));
        return cell;
      });
      this.#cells.push(cells);
      return [h("span", {}, y ? spoken(value) : ""), ...cells];
    });
    // The largest value stands on top, as on an axis.
    grid.append(...made.toReversed().flat(), h("span"));
    grid.append(...x.values.map((value) => h("span", {}, spoken(value))));
    cleanup.on<KeyboardEvent>(grid, "keydown", (event) => {
      const [right, up] = STEPS[event.key] ?? [0, 0];
      if (!right && !up) return;
      event.preventDefault();
      const { column, row } = this.#here();
      this.#choose(column + right, row + up);
      const now = this.#here();
      this.#cells[now.row]?.[now.column]?.focus();
    });
    this.root.append(h("span", { class: "fsw-c-dim", "aria-hidden": "true" }, label), grid);
  }

  /** The place of the run on show along each axis. */
  #place(): number[] {
    return this.#layout.axes.map(({ name, values }) =>
      Math.max(0, values.indexOf(this.model.get(name))),
    );
  }

  #here(): { column: number; row: number } {
    const [column = 0, row = 0] = this.#place();
    return { column, row: this.#axes.y ? row : 0 };
  }

  #choose(column: number, row: number): void {
    const { x, y } = this.#axes;
    if (!x || !this.#cells[row]?.[column]) return;
    this.model.set(x.name, x.values[column]);
    if (y) this.model.set(y.name, y.values[row]);
    this.model.save_changes();
  }

  #update(): void {
    const here = this.#here();
    const rest = this.#place().slice(this.#axes.y ? 2 : 1);
    const few = (this.#cells[0]?.length ?? 0) <= SIGNED;
    this.#cells.forEach((cells, row) => {
      cells.forEach((cell, column) => {
        const place = this.#axes.y ? [column, row, ...rest] : [column, ...rest];
        const run = this.#layout.cells[place.join()];
        const chosen = here.column === column && here.row === row;
        attribute(cell, "aria-checked", String(chosen));
        attribute(cell, "tabindex", chosen ? 0 : -1);
        attribute(cell, "data-regime", run?.regime ?? null);
        attribute(cell, "aria-label", run?.words ?? "no run");
        attribute(cell, "title", run?.words ?? "no run");
        cell.textContent = few ? (run?.sign ?? "") : "";
      });
    });
  }
}
