import type { Plot } from "../bokeh/plot";
import { minimal, ranks, type Scene } from "../data/scene";
import type { Frame } from "../data/wire";
import { h, hide, setText } from "../host/dom";
import { FigurePanel, type Host, legendItem } from "./panel";

const EMPTY = { x: [], y: [] };

export class CumulativePanel extends FigurePanel {
  protected readonly roles = {
    "quality:glyph": ["quality", "line_color"],
    "utilization:glyph": ["utilization", "line_color"],
    "quality_band:glyph": ["quality", "fill_color"],
    "utilization_band:glyph": ["utilization", "fill_color"],
    "ghost_quality:glyph": ["ghost", "line_color"],
    "ghost_utilization:glyph": ["ghost", "line_color"],
    level: ["mark", "line_color"],
    outputs: ["mark", "line_color"],
    used: ["utilization", "line_color"],
  } satisfies FigurePanel["roles"];
  private x = 10;
  private readonly ghostKey = legendItem("ghost", "solid", "before");
  private readonly used = h("span", { class: "fsw-key" });

  constructor(host: Host) {
    super(host, {
      name: "cumulative",
      title: "Quality and utilization",
      caption:
        "Quality: how much of the target the first k features express. Utilization: how much " +
        "of what the last layer computes lies in them. Where utilization crosses 95% is k95, " +
        "the number of features in use. Shaded: one standard error.",
    });
    const bands = h("input", { type: "checkbox", checked: true });
    this.tools.append(h("label", { class: "fsw-inline" }, bands, "errors"));
    this.cleanup.on(bands, "change", () => host.choose({ errorBands: bands.checked }));
    this.legend.append(
      legendItem("utilization", "solid", "utilization Π̂"),
      legendItem("quality", "dashed", "quality Π*"),
      this.ghostKey,
      this.used,
    );
  }

  override resetRanges(): void {
    super.resetRanges();
    this.x = 10;
  }

  protected fill(plot: Plot, scene: Scene): void {
    const { run, frame, ghostFrame, choices } = scene;
    const curve = (of: Frame | null, name: string) => {
      const y = of?.arrays[name];
      return y ? { x: ranks(y.length), y } : EMPTY;
    };
    for (const name of ["quality", "utilization"]) {
      const now = curve(frame, name);
      const before = curve(ghostFrame, name);
      this.x = Math.max(this.x, now.x.length, before.x.length);
      plot.data(name, [frame], () => now);
      plot.data(`ghost_${name}`, [ghostFrame], () => before);
      plot.data(`${name}_band`, [frame, choices.errorBands], () => {
        const error = frame.arrays[`${name}_error`];
        if (!error || !choices.errorBands) return { x: [], y1: [], y2: [] };
        const edge = (sign: number) =>
          Float32Array.from(now.y, (value, at) => value + sign * (error[at] ?? Number.NaN));
        return { x: now.x, y1: edge(-1), y2: edge(1) };
      });
    }
    const used = frame.scalars.used_features;
    plot.set("used", { location: used ?? Number.NaN });
    plot.set("outputs", { location: minimal(run) });
    plot.logRange("x", [0.9, this.x * 1.15]);
    setText(this.used, used === undefined ? "" : `k95 = ${Math.round(used)}`);
    hide(this.ghostKey, !ghostFrame);
  }
}
