import { h, hide, setText } from "../dom";
import { FigurePanel, type Host, legendItem } from "../panel";
import type { Plot } from "../plot";
import { Range } from "../ranges";
import type { Scene } from "../scene";
import type { Run } from "../store";
import type { Frame } from "../wire";

export class HistoryPanel extends FigurePanel {
  protected readonly roles = {
    "band:glyph": ["now", "fill_color"],
    "regime_names:glyph": ["text", "text_color"],
    cursor: ["mark", "line_color"],
  } satisfies FigurePanel["roles"];
  private readonly x = new Range(false, [0, 1]);
  private readonly left = new Range(false, [0, 1]);
  private readonly right = new Range(true, null, true);
  private readonly menu = h("div", { class: "fsw-menu", role: "group", "aria-label": "Curves" });
  private readonly ghostKey = legendItem("ghost", "dotdash", "before");
  private offered = "";
  private run: Run | null = null;

  constructor(host: Host) {
    super(host, {
      name: "history",
      title: "History",
      caption:
        "D_LR falls from lazy (1) to rich (0) while the features align with what the network " +
        "computes. Good accuracy does not need it to fall, and a low value does not promise " +
        "good accuracy. Shaded: the regime of the time. Click to go to an epoch.",
    });
    const chooser = h("details", { class: "fsw-details" }, h("summary", {}, "Curves"), this.menu);
    this.tools.append(chooser);
    this.cleanup.on<MouseEvent>(this.body, "click", (event) => this.pick(event));
    this.cleanup.on(this.menu, "change", () => {
      const boxes = [...this.menu.querySelectorAll("input")];
      host.choose({ scalars: boxes.filter((box) => box.checked).map((box) => box.value) });
    });
  }

  override resetRanges(): void {
    super.resetRanges();
    this.x.reset();
    this.left.reset();
    this.right.reset();
  }

  protected fill(plot: Plot, scene: Scene): void {
    const { run, frame, ghost, choices, colors, epochs } = scene;
    const { frames } = run;
    this.run = run;
    this.offer(frames.at(-1) as Frame, choices.scalars);
    const style = (at: number) => colors.lines[at % colors.lines.length] as [string, string];
    const isShare = (name: string) => this.host.style.shares.includes(name);
    const last = frames.at(-1) as Frame;
    this.x.include(0, last.epoch, epochs, ghost?.run.frames.at(-1)?.epoch ?? 0);
    const curves = (of: Run | null, share: boolean, faint: boolean) => {
      const chosen = choices.scalars
        .map((name, at) => ({ name, at }))
        .filter(({ name }) => isShare(name) === share);
      const ys = chosen.map(({ name }) =>
        Float64Array.from(of?.frames ?? [], ({ scalars }) => positive(scalars[name], share)),
      );
      const x = Float64Array.from(of?.frames ?? [], ({ epoch }) => epoch);
      const range = share ? this.left : this.right;
      for (const y of ys) range.includeAll(y);
      return {
        xs: chosen.map(() => x),
        ys,
        color: chosen.map(({ at }) => (faint ? (colors.roles.ghost as string) : style(at)[0])),
        dash: chosen.map(({ at }) => style(at)[1]),
        alpha: chosen.map(() => (faint ? 0.8 : 1)),
      };
    };
    const chosen = `${choices.scalars.join()}/${scene.theme}`;
    const key = `${run.id}/${last.seq}/${frames.length}/${chosen}`;
    const before = `${ghost?.run.id}/${ghost?.run.frames.length}/${chosen}`;
    plot.data("left", key, () => curves(run, true, false));
    plot.data("right", key, () => curves(run, false, false));
    plot.data("ghost_left", before, () => curves(ghost?.run ?? null, true, true));
    plot.data("ghost_right", before, () => curves(ghost?.run ?? null, false, true));
    plot.data("band", key, () => band(frames, choices.scalars.includes("low_rank_measure")));
    plot.range("x", [0, this.x.bounds[1]]);
    const [low, high] = this.left.bounds;
    plot.range("y", [low, high + 0.04 * (high - low)]);
    plot.range("right", this.right.padded);
    plot.data("regimes", `${key}/${this.x.bounds[1]}`, () => {
      const spans = regimes(frames);
      const { bbox } = plot.view.frame;
      const pixels = (bbox.right - bbox.left) / this.x.bounds[1];
      const named = spans.filter(
        ({ left, right, regime }) => (right - left) * pixels > 9 * regime.length,
      );
      plot.data("regime_names", `${key}/${this.x.bounds[1]}`, () => ({
        x: named.map(({ left }) => left),
        y: named.map(() => high + 0.03 * (high - low)),
        text: named.map(({ regime }) => (regime === "TRANSITION" ? "MF–EF" : regime)),
      }));
      return {
        left: spans.map((span) => span.left),
        right: spans.map((span) => span.right),
        color: spans.map(({ regime }) => colors.roles[regime] ?? "transparent"),
      };
    });
    plot.data("dots", `${key}/${frame.seq}`, () => {
      const shown = choices.scalars
        .map((name, at) => ({ at, y: frame.scalars[name], share: isShare(name) }))
        .filter(({ share, y }) => share && y !== undefined && !Number.isNaN(y));
      return {
        x: shown.map(() => frame.epoch),
        y: shown.map(({ y }) => y),
        color: shown.map(({ at }) => style(at)[0]),
      };
    });
    plot.set("cursor", { location: frame.epoch });
    this.drawLegend(choices.scalars, colors.lines, frame);
    hide(this.ghostKey, !ghost);
  }

  private keys = "";

  private drawLegend(names: string[], lines: [string, string][], frame: Frame): void {
    const keys = `${names.join()}/${lines[0]?.[0]}`;
    if (this.keys !== keys) {
      this.keys = keys;
      const items = names.map((name, at) => {
        const [color, dash] = lines[at % lines.length] as [string, string];
        const item = legendItem("line", dash, "");
        item.title = this.host.style.scalars[name]?.[1] ?? name;
        (item.firstChild as HTMLElement).style.color = color;
        item.append(h("span"));
        return item;
      });
      this.legend.replaceChildren(...items, this.ghostKey);
    }
    names.forEach((name, at) => {
      const label = this.legend.children[at]?.lastElementChild;
      if (label) setText(label, `${pretty(name)} ${short(frame.scalars[name])}`);
    });
  }

  private offer(frame: Frame, chosen: string[]): void {
    const names = Object.keys(frame.scalars).filter((name) => !name.endsWith("_error"));
    const offered = `${names.join()}/${chosen.join()}`;
    if (this.offered === offered) return;
    this.offered = offered;
    const boxes = names.map((name) =>
      h("input", { type: "checkbox", value: name, checked: chosen.includes(name) }),
    );
    const active = document.activeElement;
    const focused = active instanceof HTMLInputElement && this.menu.contains(active);
    const again = focused ? boxes.find(({ value }) => value === active.value) : undefined;
    this.menu.replaceChildren(
      ...boxes.map((box) => {
        const title = this.host.style.scalars[box.value]?.[1] ?? box.value;
        return h("label", { title }, box, pretty(box.value));
      }),
    );
    again?.focus();
  }

  private pick(event: MouseEvent): void {
    const view = this.plot?.view;
    if (!view || !this.run) return;
    const { bbox, x_scale } = view.frame;
    const screen = event.clientX - this.body.getBoundingClientRect().left;
    if (screen < bbox.left - 4 || screen > bbox.right + 4) return;
    const epoch = x_scale.invert(screen);
    let best = this.run.frames[0] as Frame;
    for (const frame of this.run.frames) {
      if (Math.abs(frame.epoch - epoch) < Math.abs(best.epoch - epoch)) best = frame;
    }
    this.host.goTo(best.seq);
  }
}

const NAMES: Record<string, string> = {
  low_rank_measure: "D_LR",
  used_features: "k95",
  nc1: "NC1",
};

export function pretty(name: string): string {
  const [, measure, rest = ""] = /^(low_rank_measure|used_features|nc1)?(.*)$/.exec(name) ?? [];
  return `${NAMES[measure ?? ""] ?? ""}${rest.replaceAll("_", " ")}`;
}

function short(value: number | undefined): string {
  return value === undefined || Number.isNaN(value) ? "–" : String(Number(value.toPrecision(3)));
}

/** A log axis has no place for zero and below. */
function positive(value: number | undefined, share: boolean): number {
  if (value === undefined) return Number.NaN;
  return share || value > 0 ? value : Number.NaN;
}

function band(frames: Frame[], wanted: boolean) {
  const known = wanted
    ? frames.filter(({ scalars }) => Number.isFinite(scalars.low_rank_measure_error))
    : [];
  const edge = (sign: number) =>
    known.map(
      ({ scalars }) =>
        (scalars.low_rank_measure as number) + sign * (scalars.low_rank_measure_error as number),
    );
  return { x: known.map(({ epoch }) => epoch), y1: edge(-1), y2: edge(1) };
}

/** Stretches of one regime, each up to where the next begins. */
function regimes(frames: Frame[]): { left: number; right: number; regime: string }[] {
  const spans: { left: number; right: number; regime: string }[] = [];
  for (const { epoch, labels } of frames) {
    const regime = labels.regime ?? "";
    const open = spans.at(-1);
    if (open) open.right = epoch;
    if (open?.regime !== regime) spans.push({ left: epoch, right: epoch, regime });
  }
  return spans;
}
