import type { Plot } from "../bokeh/plot";
import { minimal, minimalName, ranks, type Scene, usedOf } from "../data/scene";
import type { Run } from "../data/store";
import type { Frame } from "../data/wire";
import { h } from "../host/dom";
import type { Found } from "./card";
import { FigurePanel } from "./figure";
import { describeIntensity, fillIntensity, tableOfIntensity, wordsOfIntensity } from "./intensity";
import { beforeText, type Label } from "./labels";
import type { Host, Table } from "./panel";
import { axisTitle, rankTicks } from "./spectrum";
import { count, share } from "./words";

const EMPTY = { x: [], y: [] };
/** The curves with the roles whose colours they have; room that a name takes, in pixels. */
const NAMES: [string, string][] = [
  ["utilization", "accent"],
  ["quality", "quality"],
];
const ACCURACY: [string, string] = ["accuracy", "accuracy"];
const ROOM = 76;

const CURVES: FigurePanel["roles"] = {
  "quality:glyph": ["quality", "line_color"],
  "utilization:glyph": ["accent", "line_color"],
  "truncated_accuracy:glyph": ["accuracy", "line_color"],
  "quality_band:glyph": ["quality", "fill_color"],
  "utilization_band:glyph": ["accent", "fill_color"],
  "ghost_utilization:glyph": ["ghost", "line_color"],
  level: ["strong", "line_color"],
  outputs: ["strong", "line_color"],
};

export class CumulativePanel extends FigurePanel {
  protected roles: FigurePanel["roles"] = CURVES;
  #x = 10;

  constructor(host: Host) {
    super(host, "cumulative");
    const bands = h("input", { type: "checkbox", checked: true });
    const label = h("label", { class: "fsw-inline fsw-further" }, bands, "errors");
    const each = h(
      "select",
      { class: "fsw-mini fsw-further", "aria-label": "Features" },
      h("option", { value: "" }, "the first k"),
      h("option", { value: "each" }, "each by its strength"),
    );
    this.tools.append(each, label);
    this.cleanup.on(each, "change", () => host.choose({ each: Boolean(each.value) }));
    this.cleanup.on(bands, "change", () => host.choose({ errorBands: bands.checked }));
  }

  /** Of the two figures one is shown, and the other is not even made. */
  protected override figureName({ choices }: Scene): string {
    this.roles = choices.each ? {} : CURVES;
    return choices.each ? "intensity" : this.name;
  }

  override resetRanges(): void {
    super.resetRanges();
    this.#x = 10;
  }

  protected fill(plot: Plot, scene: Scene): void {
    const { run, frame, ghost, ghostFrame, choices, colors } = scene;
    if (choices.each) {
      fillIntensity(plot, scene, this.host.style);
      return;
    }
    const curve = (of: Frame | null, name: string) => {
      const y = of?.arrays[name];
      return y ? { x: ranks(y.length), y } : EMPTY;
    };
    for (const of of [frame, ghostFrame]) {
      this.#x = Math.max(this.#x, of?.arrays.utilization?.length ?? 0);
    }
    plot.data("ghost_utilization", [ghostFrame], () => curve(ghostFrame, "utilization"));
    plot.data("truncated_accuracy", [frame], () => curve(frame, "truncated_accuracy"));
    for (const name of ["quality", "utilization"]) {
      plot.data(name, [frame], () => curve(frame, name));
      plot.data(`${name}_band`, [frame, choices.errorBands], () => {
        const error = frame.arrays[`${name}_error`];
        if (!error || !choices.errorBands) return { x: [], y1: [], y2: [] };
        const { x, y } = curve(frame, name);
        const edge = (sign: number) =>
          Float32Array.from(y, (value, at) => value + sign * (error[at] ?? Number.NaN));
        return { x, y1: edge(-1), y2: edge(1) };
      });
    }
    plot.data("used", [frame, ghostFrame, colors], () => {
      const marks = [
        { ...used(ghost, ghostFrame), color: colors.roles.ghost },
        { ...used(run, frame), color: colors.roles.accent },
      ].filter(({ y }) => Number.isFinite(y));
      return {
        x: marks.map(({ x }) => x),
        y: marks.map(({ y }) => y),
        color: marks.map(({ color }) => color),
      };
    });
    plot.set("outputs", { location: minimal(run) });
    plot.range("x", [0.97, this.#x * 1.03]);
    plot.ticks("x", rankTicks(this.#x, minimal(run), minimalName(run)));
    plot.range("y", [0, 1.01]);
    plot.ticks(
      "y",
      [0, 0.5, 1].map((at) => [at, String(at)]),
    );
  }

  protected words(plot: Plot, scene: Scene): Label[] {
    const { frame, ghost, ghostFrame, run } = scene;
    if (scene.choices.each) return wordsOfIntensity(plot, scene, this.host.style);
    const { left, right, top } = plot.view.frame.bbox;
    const labels: Label[] = [
      { text: "share", x: left, y: top - 9, role: "dim" },
      { text: "95%", x: left + 4, y: plot.y(0.95) + 9, role: "dim", halo: true },
      axisTitle(plot, "first k", this.#x, minimal(run), true),
    ];
    const now = used(run, frame);
    const then = used(ghost, ghostFrame);
    if (Number.isFinite(then.y)) {
      const x = plot.x(then.x);
      const beyond = then.x > now.x && x + 30 < right;
      labels.push({
        text: count(then.x),
        x: beyond ? x + 9 : x - 9,
        y: plot.y(then.y) + 12,
        anchor: beyond ? "start" : "end",
        role: "ghost",
        bold: true,
        halo: true,
      });
    }
    if (Number.isFinite(now.y)) {
      const x = Math.max(left + 56, Math.min(plot.x(now.x), right - 22)); // beside the 95%
      const text = `k95 ${count(now.x)}`;
      labels.push({
        text,
        x,
        y: plot.y(now.y) + 20,
        anchor: "middle",
        role: "accent",
        bold: true,
        halo: true,
      });
    }
    return [...labels, ...this.#named(plot, scene)];
  }

  /** The curves' names. Where utilization is at about a half, there is room at its right, and for
   * its ghost at its left; the other way round where the ghost is the one at the right. */
  #named(plot: Plot, { frame, ghostFrame, before }: Scene): Label[] {
    const { left, right } = plot.view.frame.bbox;
    const labels: Label[] = [];
    const turned = middle(ghostFrame, 0.5) > middle(frame, 0.5) && middle(frame, 0.5) > 0;
    const half = middle(frame, 0.42);
    const aside = turned && plot.x(half) - left > ROOM;
    if (half) {
      const x = aside ? plot.x(half) - 10 : Math.min(plot.x(half) + 14, right - 58);
      const place = { x, anchor: aside ? "end" : "start", halo: true } as const;
      const names = frame.arrays.truncated_accuracy ? [...NAMES, ACCURACY] : NAMES;
      names.forEach(([text, role], at) => {
        labels.push({ text, role, y: plot.y(0.42) + 15 * at, ...place });
      });
    }
    const ghost = middle(ghostFrame, 0.62);
    if (ghost && turned) {
      const x = Math.min(plot.x(ghost) + 10, right - 44);
      const text = beforeText(before, right - x);
      labels.push({ text, x, y: plot.y(0.62), role: "ghost", halo: true });
    } else if (ghost) {
      const x = Math.max(plot.x(ghost) - 10, left + 44);
      const text = beforeText(before, x - left);
      labels.push({ text, x, y: plot.y(0.62), anchor: "end", role: "ghost", halo: true });
    }
    return labels;
  }

  protected override probe(plot: Plot, scene: Scene, x: number, y: number): Found | null {
    if (scene.choices.each || !this.within(plot, x, y)) return null;
    const { utilization = [], quality = [], truncated_accuracy: kept } = scene.frame.arrays;
    const k = Math.round(plot.view.frame.x_scale.invert(x));
    const at = Math.max(1, Math.min(utilization.length, k));
    const value = utilization[at - 1];
    if (value === undefined) return null;
    const before = scene.ghostFrame?.arrays.utilization?.[at - 1];
    return {
      x: plot.x(at),
      y: plot.y(value),
      title: `k = ${at}`,
      rows: [
        `utilization Π̂ ${share(value)}`,
        `quality Π* ${share(quality[at - 1])}`,
        ...(kept ? [`accuracy with these alone ${share(kept[at - 1])}`] : []),
      ],
      before: before === undefined ? "" : `before ${share(before)}`,
    };
  }

  protected table(scene: Scene): Table {
    const { frame, ghostFrame } = scene;
    if (scene.choices.each) return tableOfIntensity(scene);
    const { utilization = [], utilization_error: error, quality = [] } = frame.arrays;
    const { truncated_accuracy: kept } = frame.arrays;
    const { utilization: then } = ghostFrame?.arrays ?? {};
    return {
      head: [
        ...["k", "utilization", "±", "quality"],
        ...(kept ? ["accuracy"] : []),
        ...(then ? ["utilization before"] : []),
      ],
      rows: Array.from(utilization, (value, at) => [
        ...[at + 1, value, error?.[at], quality[at]],
        ...(kept ? [kept[at]] : []),
        ...(then ? [then[at]] : []),
      ]),
    };
  }

  protected describe(scene: Scene): string {
    const { frame, ghost, ghostFrame, run } = scene;
    if (scene.choices.each) return describeIntensity(scene);
    const { utilization = [], quality = [] } = frame.arrays;
    const c = minimal(run);
    const was = ghost ? `, before ${count(usedOf(ghost, ghostFrame))}` : "";
    return (
      `The first ${c} features hold ${share(utilization[c - 1])} of what the last layer computes ` +
      `and express ${share(quality[c - 1])} of the target. Utilization reaches 95% at ` +
      `k = ${count(usedOf(run, frame))}${was}.`
    );
  }
}

/** k95 and the utilization that the features up to it hold. */
function used(run: Run | null, frame: Frame | null) {
  const k = run ? usedOf(run, frame) : Number.NaN;
  return { x: k, y: utilization(frame)[Math.round(k) - 1] ?? Number.NaN };
}

/** Of features that do not vary there is one point, and no curve. */
function utilization(frame: Frame | null): ArrayLike<number> {
  const values = frame?.arrays.utilization ?? [];
  return values.length > 1 ? values : [];
}

/** The first k at which utilization reaches a share. */
function middle(frame: Frame | null, share: number): number {
  const at = Array.from(utilization(frame)).findIndex((value) => value >= share);
  return at < 0 ? 0 : at + 1;
}
