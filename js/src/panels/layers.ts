import type { Plot } from "../bokeh/plot";
import { Range } from "../bokeh/ranges";
import { memo } from "../data/memo";
import { lowRank, ranks, type Scene } from "../data/scene";
import { h, setText } from "../host/dom";
import { FigurePanel, type Host, legendItem } from "./panel";

/** Size of a letter and of a line of the axis, in pixels. */
const LETTER = 7;
const LINE = 13;

export class LayersPanel extends FigurePanel {
  protected readonly roles = {
    "low_rank_measure:glyph": ["now", "line_color"],
    "low_rank_measure:points": ["now", "fill_color"],
    "effective_rank:glyph": ["quality", "line_color"],
    "effective_rank:points": ["quality", "fill_color"],
  } satisfies FigurePanel["roles"];
  private readonly left = new Range(false, [0, 1]);
  private readonly right = new Range(true, [1, 10], true);
  private readonly measure = legendItem("now", "solid", "");
  private readonly names = memo();

  constructor(host: Host) {
    super(host, {
      name: "layers",
      title: "Layer by layer",
      caption:
        "The same measures on what every layer computes, from the input side to the last layer: " +
        "where along the depth the features become low-rank.",
    });
    this.measure.append(h("span"));
    this.legend.append(this.measure, legendItem("quality", "dashed", "effective rank (right)"));
  }

  override resetRanges(): void {
    super.resetRanges();
    this.left.reset();
    this.right.reset();
  }

  protected fill(plot: Plot, { run, frame }: Scene): void {
    const array = (name: string) => frame.arrays[`layer_${name}`] ?? new Float32Array(0);
    const { name: measure, label } = lowRank((name) => array(name).some(Number.isFinite));
    for (const [name, y, range] of [
      ["low_rank_measure", array(measure), this.left],
      ["effective_rank", array("effective_rank"), this.right],
    ] as const) {
      range.includeAll(y);
      plot.data(name, [frame], () => ({ x: ranks(y.length), y }));
    }
    plot.axis("left", { axis_label: label });
    setText(this.measure.lastElementChild as Element, `${label} (left)`);
    const { layers } = run.info;
    plot.range("x", [0.5, layers.length + 0.5]);
    const [low, high] = this.left.bounds;
    plot.range("y", [low, high + 0.04 * (high - low)]);
    plot.logRange("right", this.right.padded);
    const { left, right } = plot.view.frame.bbox;
    this.names([plot, left, right, layers], () => this.label(plot, layers, left, right));
  }

  private label(plot: Plot, layers: string[], left: number, right: number): void {
    const step = (right - left) / layers.length;
    const length = LETTER * Math.max(...layers.map((name) => shorten(name).length));
    // As flat as the room to the left of the first layer allows, and no flatter than lines need.
    const room = Math.min(1, (left + step / 2) / length);
    const angle = Math.max(Math.acos(room), Math.asin(Math.min(1, LINE / step)), 0.5);
    const every = Math.ceil(LINE / (step * Math.sin(angle)));
    const shown = layers.map((_, at) => at + 1).filter((_, at) => at % every === 0);
    plot.set("ticks:x", { ticks: shown });
    plot.axis("below", {
      major_label_overrides: new Map(layers.map((name, at) => [at + 1, shorten(name)])),
      major_label_orientation: length > step ? angle : "horizontal",
    });
  }
}

function shorten(name: string): string {
  return name.length > 16 ? `…${name.slice(-15)}` : name;
}
