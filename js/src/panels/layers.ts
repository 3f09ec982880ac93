import type { Plot } from "../bokeh/plot";
import { memo } from "../data/memo";
import { lowRank, ranks, type Scene } from "../data/scene";
import type { Frame } from "../data/wire";
import { button, format } from "../host/dom";
import { places, Scale } from "./bands";
import type { Found } from "./card";
import { FigurePanel } from "./figure";
import type { Label } from "./labels";
import type { Host, Table } from "./panel";
import { share } from "./words";

/** Size of a letter and of a line of the axis, in pixels. */
const LETTER = 6.2;
const LINE = 13;
const NAMES = ["low_rank_measure", "effective_rank"] as const;

export class LayersPanel extends FigurePanel {
  protected readonly roles = {
    "low_rank_measure:glyph": ["accent", "line_color"],
    "low_rank_measure:points": ["accent", "fill_color"],
    "effective_rank:glyph": ["quality", "line_color"],
    "effective_rank:points": ["quality", "fill_color"],
    "ghost:glyph": ["ghost", "line_color"],
  } satisfies FigurePanel["roles"];
  readonly #measures = {
    low_rank_measure: new Scale("shares"),
    effective_rank: new Scale("others"),
  };
  readonly #names = memo();

  constructor(host: Host) {
    super(host, "layers");
    const back = button("faces", "What an eigenfunction is", { class: "fsw-q" });
    this.tools.append(back);
    this.cleanup.on(back, "click", () => host.choose({ deep: false }));
  }

  override resetRanges(): void {
    super.resetRanges();
    for (const scale of Object.values(this.#measures)) scale.reset();
  }

  #values(frame: Frame, name: "low_rank_measure" | "effective_rank"): Float32Array {
    const of = name === "low_rank_measure" ? this.#estimate(frame) : name;
    return Float32Array.from(frame.arrays[`layer_${of}`] ?? []);
  }

  /** The frame of the run before, where its layers are the same. */
  #then({ run, ghost, ghostFrame }: Scene): Frame | null {
    return String(ghost?.info.layers) === String(run.info.layers) ? ghostFrame : null;
  }

  #estimate({ arrays }: Frame): string {
    return lowRank(this.host.style, (of) => (arrays[`layer_${of}`] ?? []).some(Number.isFinite));
  }

  #measure({ frame }: Scene): string {
    const name = this.#estimate(frame);
    return this.host.style.labels[name] ?? name;
  }

  protected fill(plot: Plot, scene: Scene): void {
    const { layers } = scene.run.info;
    const spans = places(this.host.style, ["shares", "others"]);
    const then = this.#then(scene);
    const before = NAMES.map((name) => {
      const scale = this.#measures[name];
      scale.span = spans[scale.name] ?? [0, 1];
      const [values, was] = [scene.frame, then].map((of) => (of ? this.#values(of, name) : []));
      for (const each of [values, was]) scale.include(each ?? []);
      const curve = (of: ArrayLike<number> = []) => ({
        x: ranks(of.length),
        y: scale.placeAll(of),
      });
      plot.data(name, [scene.frame, ...scale.bounds], () => curve(values));
      return { scale, curve: () => curve(was) };
    });
    plot.data("ghost", [then, ...before.flatMap(({ scale }) => scale.bounds)], () => {
      const curves = then ? before.map(({ curve }) => curve()) : [];
      return { xs: curves.map(({ x }) => x), ys: curves.map(({ y }) => y) };
    });
    plot.range("x", [0.5, layers.length + 0.5]);
    plot.range("y", [0, 1]);
    plot.ticks(
      "y",
      Object.values(this.#measures).flatMap((scale) => scale.ticks()),
    );
    const { left, right } = plot.view.frame.bbox;
    this.#names([plot, left, right, layers], () => this.#nameLayers(plot, layers, left, right));
  }

  /** Names of layers, as flat as the room left of the first one allows. */
  #nameLayers(plot: Plot, layers: string[], left: number, right: number): void {
    const step = (right - left) / layers.length;
    const length = LETTER * Math.max(...layers.map((name) => shorten(name).length));
    const room = Math.min(1, (left + step / 2) / length);
    const angle = Math.max(Math.acos(room), Math.asin(Math.min(1, LINE / step)), 0.5);
    const every = length > step ? Math.ceil(LINE / (step * Math.sin(angle))) : 1;
    const shown = layers.map((name, at) => [at + 1, shorten(name)] as [number, string]);
    plot.ticks(
      "x",
      shown.filter((_, at) => at % every === 0),
    );
    plot.axis({ major_label_orientation: length > step ? angle : "horizontal" });
  }

  protected words(plot: Plot, scene: Scene): Label[] {
    const { left, right } = plot.view.frame.bbox;
    const top = (scale: Scale) => plot.y(scale.span[1]) - 9;
    const values = this.#values(scene.frame, "low_rank_measure").filter(Number.isFinite);
    // Without the output layer; recordings of earlier versions do not have it.
    const mean =
      scene.frame.scalars[`mean_layer_${this.#estimate(scene.frame)}`] ??
      values.reduce((sum, value) => sum + value, 0) / values.length;
    const { low_rank_measure: low, effective_rank: rank } = this.#measures;
    const was = {
      text: "- - before",
      x: right,
      y: top(low),
      anchor: "end",
      role: "ghost",
    } as const;
    return [
      ...(this.#then(scene) ? [was] : []),
      {
        text: this.#measure(scene) + (values.length ? `, mean ${share(mean)}` : ""),
        x: left,
        y: top(low),
        role: "accent",
        halo: true,
      },
      { text: "effective rank", x: left, y: top(rank), role: "quality", halo: true },
    ];
  }

  protected override probe(plot: Plot, scene: Scene, x: number): Found | null {
    const { layers } = scene.run.info;
    const at = Math.max(1, Math.min(layers.length, Math.round(plot.view.frame.x_scale.invert(x))));
    const value = this.#values(scene.frame, "low_rank_measure")[at - 1];
    const rank = this.#values(scene.frame, "effective_rank")[at - 1];
    if (value === undefined) return null;
    const then = this.#then(scene);
    return {
      x: plot.x(at),
      y: plot.y(this.#measures.low_rank_measure.place(value)),
      title: layers[at - 1] ?? "",
      rows: [`${this.#measure(scene)} ${share(value)}`, `effective rank ${format(rank)}`],
      before: then ? `before ${share(this.#values(then, "low_rank_measure")[at - 1])}` : "",
    };
  }

  protected table(scene: Scene): Table {
    const [low, rank] = (["low_rank_measure", "effective_rank"] as const).map((name) =>
      this.#values(scene.frame, name),
    );
    return {
      head: ["layer", this.#measure(scene), "effective rank"],
      rows: scene.run.info.layers.map((layer, at) => [layer, low?.[at], rank?.[at]]),
    };
  }

  protected describe(scene: Scene): string {
    const values = this.#values(scene.frame, "low_rank_measure");
    const { layers } = scene.run.info;
    const [first, last] = [values[0], values.at(-1)].map(share);
    return `${this.#measure(scene)} from ${first} at ${layers[0]} to ${last} at ${layers.at(-1)}.`;
  }
}

function shorten(name: string): string {
  return name.length > 16 ? `…${name.slice(-15)}` : name;
}
