import type { Plot } from "../bokeh/plot";
import { Range } from "../bokeh/ranges";
import { memo } from "../data/memo";
import type { Scene } from "../data/scene";
import { column, type RunInfo } from "../data/wire";
import { attribute, button, format, h, hide, iconButton, setOptions, setText } from "../host/dom";
import { type Cloud, clouds, type Match, match, outline, sameSamples } from "./before";
import type { Found } from "./card";
import { className, isRegression, mapping, markers, sampleName, spokenClass } from "./classes";
import { FigurePanel } from "./figure";
import { Key } from "./key";
import { apart, type Label, LINE, type Written } from "./labels";
import type { Host, Table } from "./panel";
import { eigen } from "./words";

/** How near the pointer must come to a sample, in pixels: half of what a finger touches. */
const REACH = 22;
/** Classes that are named within their clouds, and outlined as they were before. */
const NAMED = 12;
const EMPTY = { xs: [], ys: [] };

interface Points {
  x: Float32Array;
  y: Float32Array;
}

export class ProjectionsPanel extends FigurePanel {
  protected readonly roles = {
    "ghost:glyph": ["ghost", "line_color"],
    "rim:glyph": ["page", "line_color"],
    "ties:glyph": ["ghost", "line_color"],
  } satisfies FigurePanel["roles"];
  readonly #x = new Range(false, [-2, 2]);
  readonly #y = new Range(false, [-2, 2]);
  /** Which of several targets colours the samples. */
  readonly #target = h("select", {
    class: "fsw-mini",
    "data-testid": "target",
    "aria-label": "Target that colours the samples",
    title: "Target that colours the samples",
  });
  readonly #axes = { k: this.#axis("x"), l: this.#axis("y") };
  readonly #heldOut = h("input", { type: "checkbox" });
  readonly #heldOutLabel = h("label", { class: "fsw-inline" }, this.#heldOut, "held-out");
  readonly #lasso = iconButton("lasso", "Lasso", "Select samples with a lasso", {
    "aria-pressed": "false",
  });
  readonly #box = iconButton("box", "Box", "Select samples with a box", {
    "aria-pressed": "false",
  });
  readonly #clear = button("", "Clear the selection", {
    class: "fsw-q",
    "data-testid": "selection",
  });
  readonly #key: Key;
  #points: Points = { x: new Float32Array(0), y: new Float32Array(0) };
  readonly #placed = memo<Points>();
  readonly #grouped = memo<Cloud[]>();
  readonly #matched = memo<[Match | null, Match | null]>();
  /** Each class now, and the eigenfunctions of the run before that stand for those on show. */
  #clouds: Cloud[] = [];
  #matches: [Match | null, Match | null] = [null, null];
  readonly #described = memo();
  readonly #turned = memo();
  readonly #shapes = memo<string[]>();
  readonly #heldOutShapes = memo<string[]>();
  #columns = 0;

  constructor(host: Host) {
    super(host, "projections");
    const { k, l } = this.#axes;
    hide(this.#clear, true);
    hide(this.#target, true);
    this.tools.append(
      this.#clear,
      this.#target,
      h("div", { class: "fsw-further" }, this.#heldOutLabel, this.#lasso, this.#box),
      k,
      h("span", { "aria-hidden": "true" }, "×"),
      l,
    );
    this.cleanup.on(k, "change", () => host.choose({ k: Number(k.value) }));
    this.cleanup.on(l, "change", () => host.choose({ l: Number(l.value) }));
    this.cleanup.on(this.#target, "change", () =>
      host.choose({ target: Number(this.#target.value) }),
    );
    this.cleanup.on(this.#heldOut, "change", () => host.choose({ heldOut: this.#heldOut.checked }));
    this.cleanup.on(this.#lasso, "click", () => this.#use(this.#lasso));
    this.cleanup.on(this.#box, "click", () => this.#use(this.#box));
    this.cleanup.on(this.#clear, "click", () => this.#select([]));
    this.#key = new Key((label) => this.#isolate(label), this.cleanup);
    this.body.append(this.#key.root);
    attribute(this.body, "tabindex", 0);
    attribute(this.body, "role", "group");
    attribute(this.body, "aria-label", "Projections: arrow keys choose the eigenfunctions");
    this.cleanup.on<KeyboardEvent>(this.body, "keydown", (event) => this.#press(event));
  }

  #axis(name: "x" | "y"): HTMLSelectElement {
    const where = name === "x" ? "horizontal" : "vertical";
    const label = `Eigenfunction on the ${where} axis`;
    return h("select", {
      class: "fsw-mini",
      "data-testid": `axis-${name}`,
      "aria-label": label,
      title: label,
    });
  }

  override resetRanges(): void {
    super.resetRanges();
    this.#x.reset();
    this.#y.reset();
  }

  protected override ready(plot: Plot): void {
    this.#described.forget();
    this.#turned.forget();
    const { selected } = plot.source("samples");
    selected.change.connect(() => this.#showSelection(selected.indices));
  }

  protected fill(plot: Plot, scene: Scene): void {
    const { run, frame, choices, colors } = scene;
    const { info } = run;
    const { style } = this.host;
    const [k, l] = this.#chosen(scene);
    this.#described([info, colors], () => {
      plot.set("classes", mapping(style, colors, info, 0));
      plot.set("edges", mapping(style, colors, info, isRegression(info) ? 0 : 1));
      plot.margin(this.#key.describe(style, colors, info));
      const targets = Array.from(
        { length: info.targets?.columns ?? 0 },
        (_, at): [string, string] => [String(at), `target ${at + 1}`],
      );
      setOptions(this.#target, targets);
      this.#target.value = String(info.target);
      hide(this.#target, targets.length === 0);
      const held = plot.source("samples").selected;
      if (held.indices.some((at) => at >= info.labels.length)) held.setv({ indices: [] });
    });
    this.#turned([k, l], () => this.resetRanges());
    this.#points = this.#placed([frame, k, l], () => ({
      x: column(frame, "projections", k) ?? new Float32Array(0),
      y: column(frame, "projections", l) ?? new Float32Array(0),
    }));
    const { x, y } = this.#points;
    const marker = this.#shapes([info, info.labels], () => markers(style, info, info.labels));
    plot.data("samples", [this.#points, info], () => {
      this.#x.includeAll(x);
      this.#y.includeAll(y);
      return { x, y, label: info.labels, marker };
    });
    this.#fillHeldOut(plot, scene, k, l, choices.heldOut);
    this.#fillGhost(plot, scene, k, l);
    plot.range("x", this.#x.bounds);
    plot.range("y", this.#y.bounds);
  }

  /** The two eigenfunctions on show; the menus follow. */
  #chosen({ frame, choices }: Scene): [k: number, l: number] {
    this.#columns = frame.shapes.projections?.[1] ?? 0;
    const options = Array.from({ length: this.#columns }, (_, at): [string, string] => [
      String(at),
      eigen(at),
    ]);
    const last = Math.max(0, this.#columns - 1);
    let [k, l] = [Math.min(choices.k, last), Math.min(choices.l, last)];
    // Of fewer features than were chosen from, still two different ones.
    if (k === l && choices.k < choices.l) k = Math.max(0, l - 1);
    else if (k === l && choices.k > choices.l) l = Math.max(0, k - 1);
    for (const [select, value] of [
      [this.#axes.k, k],
      [this.#axes.l, l],
    ] as const) {
      setOptions(select, options);
      if (select.value !== String(value)) select.value = String(value);
    }
    return [k, l];
  }

  #fillHeldOut(plot: Plot, { run, frame }: Scene, k: number, l: number, wanted: boolean) {
    const labels = run.info.heldOutLabels;
    hide(this.#heldOutLabel, !labels);
    plot.data("held_out", wanted && labels ? [frame, k, l] : [], () => {
      const x = wanted ? column(frame, "held_out_projections", k) : null;
      const y = column(frame, "held_out_projections", l);
      if (!x || !y || !labels) return { x: [], y: [], label: [], marker: [] };
      this.#x.includeAll(x);
      this.#y.includeAll(y);
      const { info } = run;
      const marker = this.#heldOutShapes([info], () => markers(this.host.style, info, labels));
      return { x, y, label: labels, marker };
    });
  }

  /** Of the run before, an outline of each class, tied to where the class is now. */
  #fillGhost(plot: Plot, scene: Scene, k: number, l: number): void {
    const { run, frame, ghost, ghostFrame } = scene;
    const { info } = run;
    const few = !isRegression(info) && info.classNames.length <= NAMED;
    const other = ghostFrame && few && sameSamples(run, ghost) ? ghostFrame : null;
    const now = this.#grouped([this.#points, info], () =>
      few ? clouds(this.#points.x, this.#points.y, info.labels) : [],
    );
    this.#clouds = now;
    this.#matches = this.#matched([frame, other, k, l], () => [
      other && match(frame, other, k),
      other && match(frame, other, l),
    ]);
    const [across, up] = this.#matches;
    const inputs = [now, across, up];
    const then = across && up ? clouds(across.values, up.values, info.labels) : [];
    plot.data("ghost", inputs, () => columns(then.map((cloud) => outline(cloud))));
    plot.data("ties", inputs, () => {
      const ties = then.flatMap((from) => {
        const to = now.find(({ label }) => label === from.label);
        return to ? [{ xs: [from.x, to.x], ys: [from.y, to.y] }] : [];
      });
      return columns(ties);
    });
    for (const { x, y, xx, yy } of then) {
      const [wide, high] = [Math.sqrt(xx), Math.sqrt(yy)];
      this.#x.include(x - wide, x + wide);
      this.#y.include(y - high, y + high);
    }
  }

  protected words(plot: Plot, scene: Scene): Label[] {
    const { left, right, top, bottom } = plot.view.frame.bbox;
    const [k, l] = this.#chosen(scene);
    const labels: Label[] = [
      { text: eigen(l), x: left, y: top - 9, role: "dim" },
      { text: eigen(k), x: right + 16, y: bottom + 11, role: "dim" },
    ];
    const { info } = scene.run;
    const constant = scene.frame.labels.regime === "CONSTANT" && "features do not vary";
    const text = constant || (this.#columns === 0 && "samples were not recorded");
    const middle = { x: (left + right) / 2, y: (top + bottom) / 2, anchor: "middle" } as const;
    if (text) labels.push({ text, ...middle, role: "dim", halo: true });
    const names = this.#clouds.flatMap(({ label, n, x, y }): Label[] => {
      const text = className(info, label);
      // Beside a sample that is alone, not on it.
      const place = { x: plot.x(x), y: plot.y(y) - (n > 1 ? 0 : LINE) };
      return text.length > 10 ? [] : [{ text, ...place, anchor: "middle", big: true, halo: true }];
    });
    labels.push(...apart(names));
    const [across, up] = this.#matches;
    if (across && up) {
      const title = `${eigen(across.k)} and ${eigen(up.k)} of the run before, which correlate most`;
      const place = { x: right, y: top - 9, anchor: "end" } as const;
      labels.push({ text: "- - before, 1 s.d.", ...place, role: "ghost", title });
    }
    return labels;
  }

  protected override probe(plot: Plot, scene: Scene, x: number, y: number): Found | null {
    const at = nearest(plot, this.#points, x, y);
    if (at < 0) return null;
    const { info } = scene.run;
    const [k, l] = this.#chosen(scene);
    const place = { x: this.#points.x[at] ?? 0, y: this.#points.y[at] ?? 0 };
    // A prediction is of the first target.
    const predicted = info.target > 0 ? undefined : scene.frame.arrays.predictions?.[at];
    const known = predicted !== undefined && !Number.isNaN(predicted);
    const { pictures } = info;
    return {
      x: plot.x(place.x),
      y: plot.y(place.y),
      title: [sampleName(info, at), spokenClass(info, info.labels[at])].filter(Boolean).join(": "),
      rows: [
        ...(known ? [`predicted ${spokenClass(info, predicted)}`] : []),
        `sample ${at} · ${eigen(k)} ${format(place.x)} · ${eigen(l)} ${format(place.y)}`,
      ],
      ...(pictures && { picture: (canvas, later) => pictures.draw(canvas, at, later) }),
    };
  }

  /** Where each class lies; of a regression each sample. */
  protected table(scene: Scene): Table {
    const { info } = scene.run;
    const [k, l] = this.#chosen(scene);
    const axes = [eigen(k), eigen(l)];
    if (isRegression(info)) {
      const { x, y } = this.#points;
      const rows = Array.from(info.labels, (label, at) => [at, label, x[at], y[at]]);
      return { head: ["sample", "target", ...axes], rows };
    }
    return {
      head: ["class", "samples", ...axes.flatMap((axis) => [`mean ${axis}`, `s.d. ${axis}`])],
      rows: clouds(this.#points.x, this.#points.y, info.labels)
        .sort((a, b) => a.label - b.label)
        .map(({ label, n, x, y, xx, yy }) => [
          ...[className(info, label), n],
          ...[x, Math.sqrt(xx), y, Math.sqrt(yy)],
        ]),
    };
  }

  protected describe(scene: Scene): string {
    const [k, l] = this.#chosen(scene);
    const { info } = scene.run;
    const groups = isRegression(info)
      ? "coloured by their target"
      : `of ${info.classNames.length} classes`;
    const far = this.#clouds.toSorted((a, b) => Math.hypot(b.x, b.y) - Math.hypot(a.x, a.y))[0];
    const most = far ? ` Farthest from the middle: ${spokenClass(info, far.label)}.` : "";
    return `${this.#points.x.length} samples ${groups} on ${eigen(k)} and ${eigen(l)}.${most}`;
  }

  protected override written(): Written[] {
    return [...super.written(), ...this.#key.list()];
  }

  /** Show one class alone, or all of them again. */
  #isolate(label: number | null): void {
    const { labels } = this.#info() ?? {};
    const indices = Array.from(labels ?? [], (_, at) => at).filter((at) => labels?.[at] === label);
    this.#select(label === null ? [] : indices);
  }

  #info(): RunInfo | undefined {
    return this.#key.info;
  }

  #use(tool: HTMLButtonElement): void {
    const { plot } = this;
    if (!plot) return;
    for (const [control, name] of [
      [this.#lasso, "lasso"],
      [this.#box, "box"],
    ] as const) {
      const active = control === tool && control.getAttribute("aria-pressed") !== "true";
      attribute(control, "aria-pressed", String(active));
      plot.set(name, { active });
    }
  }

  #select(indices: number[]): void {
    this.plot?.source("samples").selected.setv({ indices });
  }

  #showSelection(indices: number[]): void {
    const { length } = indices;
    setText(this.#clear, `✕ ${length}`);
    attribute(this.#clear, "aria-label", `Clear the selection of ${length} samples`);
    hide(this.#clear, length === 0);
    if (length === 0) this.#key.release();
    this.host.redraw();
  }

  #press(event: KeyboardEvent): void {
    const step = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[
      event.key
    ];
    if (event.target !== this.body || !step || this.#columns === 0) return;
    event.preventDefault();
    const turn = (value: string, by: number) =>
      (Number(value) + by + this.#columns) % this.#columns;
    const [dk = 0, dl = 0] = step;
    const k = turn(this.#axes.k.value, dk);
    const l = turn(this.#axes.l.value, dl);
    // Now and not with the next draw: a second key press may come before it.
    this.#axes.k.value = String(k);
    this.#axes.l.value = String(l);
    this.host.choose({ k, l });
    this.host.announce(`e${k + 1} against e${l + 1}`);
  }

  protected override resized(large: boolean): void {
    // The wheel zooms only where it does not take over the notebook's scrolling.
    this.plot?.set("zoom", { active: large });
  }
}

function columns(curves: { xs: number[]; ys: number[] }[]) {
  if (curves.length === 0) return EMPTY;
  return { xs: curves.map(({ xs }) => xs), ys: curves.map(({ ys }) => ys) };
}

/** The sample under the pointer; −1 for none. */
function nearest(plot: Plot, { x, y }: Points, px: number, py: number): number {
  const { left, right, top, bottom } = plot.view.frame.bbox;
  if (px < left || px > right || py < top || py > bottom) return -1;
  // Both scales are linear: two points tell them.
  const [x0, y0] = [plot.x(0), plot.y(0)];
  const [dx, dy] = [plot.x(1) - x0, plot.y(1) - y0];
  let best = -1;
  let least = REACH * REACH;
  for (let at = 0; at < x.length; at++) {
    const distance =
      (x0 + dx * (x[at] ?? Number.NaN) - px) ** 2 + (y0 + dy * (y[at] ?? Number.NaN) - py) ** 2;
    if (distance < least) {
      least = distance;
      best = at;
    }
  }
  return best;
}
