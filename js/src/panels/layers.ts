import { FigurePanel, type Host, legendItem } from "../panel";
import type { Plot } from "../plot";
import { Range } from "../ranges";
import { ranks, type Scene } from "../scene";

export class LayersPanel extends FigurePanel {
  protected readonly roles = {
    "low_rank_measure:glyph": ["now", "line_color"],
    "low_rank_measure:points": ["now", "fill_color"],
    "effective_rank:glyph": ["quality", "line_color"],
    "effective_rank:points": ["quality", "fill_color"],
  } satisfies FigurePanel["roles"];
  private readonly right = new Range(true, [1, 10], true);
  private names = "";

  constructor(host: Host) {
    super(host, {
      name: "layers",
      title: "Layer by layer",
      caption:
        "The same measures on what every layer computes, from the input side to the last layer: " +
        "where along the depth the features become low-rank.",
    });
    this.legend.append(
      legendItem("now", "solid", "D_LR (left)"),
      legendItem("quality", "dashed", "effective rank (right)"),
    );
  }

  override resetRanges(): void {
    super.resetRanges();
    this.right.reset();
  }

  protected fill(plot: Plot, { run, frame }: Scene): void {
    for (const name of ["low_rank_measure", "effective_rank"]) {
      const y = frame.arrays[`layer_${name}`] ?? new Float32Array(0);
      if (name === "effective_rank") this.right.includeAll(y);
      plot.data(name, `${run.id}/${frame.seq}`, () => ({ x: ranks(y.length), y }));
    }
    const { layers } = run.info;
    plot.range("x", [0.5, layers.length + 0.5]);
    plot.range("right", this.right.padded);
    const names = layers.join("\n");
    if (this.names === names) return;
    this.names = names;
    const [axis] = plot.model.below as {
      ticker: { setv(a: object): void };
      setv(a: object): void;
    }[];
    axis?.ticker.setv({ ticks: layers.map((_, at) => at + 1) });
    const { left, right } = plot.view.frame.bbox;
    const letters = Math.max(...layers.map((name) => shorten(name).length));
    const crowded = letters * layers.length * 8 > right - left;
    axis?.setv({
      major_label_overrides: new Map(layers.map((name, at) => [at + 1, shorten(name)])),
      major_label_orientation: crowded ? 0.5 : "horizontal",
    });
  }
}

function shorten(name: string): string {
  return name.length > 16 ? `…${name.slice(-15)}` : name;
}
