import type { Plot } from "../bokeh/plot";
import { Range } from "../bokeh/ranges";
import { memo } from "../data/memo";
import { DEBIASED, lowRank, PLAIN, type Scene } from "../data/scene";
import type { Run } from "../data/store";
import type { Frame } from "../data/wire";
import { h, hide, opensInSight, setText } from "../host/dom";
import { FigurePanel, type Host, legendItem } from "./panel";
import { shortRegime } from "./regime";

/** Width of a letter of a regime's name, in pixels. */
const LETTER = 8.5;

export class HistoryPanel extends FigurePanel {
  protected readonly roles = {
    "regime_names:glyph": ["text", "text_color"],
    cursor: ["mark", "line_color"],
  } satisfies FigurePanel["roles"];
  private readonly x = new Range(false, [0, 1]);
  private readonly left = new Range(false, [0, 1]);
  private readonly right = new Range(true, null, true);
  private readonly menu = h("div", { class: "fsw-menu", role: "group", "aria-label": "Curves" });
  private readonly ghostKey = legendItem("ghost", "dotdash", "before");
  private readonly names = memo<string[]>();
  private readonly offered = memo();
  private run: Run | null = null;
  /** What stays chosen when a box is ticked: the curves on show, and those of other kinds of run. */
  private kept: string[] = [];

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
    opensInSight(chooser, this.cleanup);
    this.cleanup.on<MouseEvent>(this.body, "click", (event) => this.pick(event));
    this.cleanup.on(this.menu, "change", (event) => {
      const { value, checked } = event.target as HTMLInputElement;
      const rest = this.kept.filter((name) => name !== value);
      host.choose({ scalars: checked ? [...rest, value] : rest });
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
    const names = this.names([run, run.revision, choices.scalars], () =>
      available(frames, choices.scalars),
    );
    this.kept = [...new Set([...names, ...choices.scalars.filter((name) => name !== DEBIASED)])];
    const last = frames.at(-1) ?? frame;
    this.offered([last, names], () => this.offer(last, names));
    const style = (at: number) => colors.lines[at % colors.lines.length] as [string, string];
    const isShare = (name: string) => this.host.style.shares.includes(name);
    this.x.include(0, last.epoch, epochs, ghost?.frames.at(-1)?.epoch ?? 0);
    const curves = (of: Run | null, share: boolean, faint: boolean) => {
      const chosen = names
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
    const key = [run, run.revision, names, colors];
    const before = [ghost, ghost?.revision, names, colors];
    plot.data("left", key, () => curves(run, true, false));
    plot.data("right", key, () => curves(run, false, false));
    plot.data("ghost_left", before, () => curves(ghost ?? null, true, true));
    plot.data("ghost_right", before, () => curves(ghost ?? null, false, true));
    const measure = [DEBIASED, PLAIN].find((name) => names.includes(name));
    plot.data("band", key, () => band(frames, measure));
    if (measure) plot.set("band:area", { fill_color: style(names.indexOf(measure))[0] });
    plot.range("x", [0, this.x.bounds[1]]);
    // Above the curves, of either axis, a strip is left for the regimes.
    const [low, high] = this.left.bounds;
    const { strip } = this.host.style;
    const top = high + strip * (high - low);
    plot.range("y", [low, top]);
    const [least, most] = this.right.padded;
    plot.logRange("right", [least, most * (most / least) ** strip]);
    this.fillRegimes(plot, scene, [low, high, top]);
    plot.data("dots", [...key, frame], () => {
      const shown = names
        .map((name, at) => ({ at, y: frame.scalars[name], share: isShare(name) }))
        .filter(({ share, y }) => share && y !== undefined && !Number.isNaN(y));
      return {
        x: shown.map(() => frame.epoch),
        y: shown.map(({ y }) => y),
        color: shown.map(({ at }) => style(at)[0]),
      };
    });
    plot.set("cursor", { location: frame.epoch });
    this.drawLegend(names, colors.lines, frame);
    hide(this.ghostKey, !ghost);
  }

  private fillRegimes(
    plot: Plot,
    { run, colors }: Scene,
    [low, high, top]: readonly [number, number, number],
  ): void {
    const { bbox } = plot.view.frame;
    const pixels = (bbox.right - bbox.left) / this.x.bounds[1];
    const place = [run, run.revision, colors, pixels, low, high];
    plot.data("regimes", place, () => {
      const spans = regimes(run.frames);
      const named = spans.filter(
        ({ left, right, regime }) =>
          (right - left) * pixels > LETTER * (shortRegime(regime).length + 1),
      );
      plot.data("regime_names", place, () => ({
        x: named.map(({ left }) => left),
        y: named.map(() => high + 0.6 * (top - high)),
        text: named.map(({ regime }) => shortRegime(regime)),
      }));
      return {
        left: spans.map(({ left }) => left),
        right: spans.map(({ right }) => right),
        bottom: spans.map(() => high + 0.2 * (top - high)),
        color: spans.map(({ regime }) => colors.roles[regime] ?? "transparent"),
      };
    });
  }

  private readonly keys = memo();

  private drawLegend(names: string[], lines: [string, string][], frame: Frame): void {
    this.keys([names, lines], () => {
      const items = names.map((name, at) => {
        const [color, dash] = lines[at % lines.length] as [string, string];
        const item = legendItem("line", dash, "");
        item.title = this.host.style.scalars[name]?.[1] ?? name;
        (item.firstChild as HTMLElement).style.color = color;
        item.append(h("span"));
        return item;
      });
      this.legend.replaceChildren(...items, this.ghostKey);
    });
    names.forEach((name, at) => {
      const label = this.legend.children[at]?.lastElementChild;
      if (label) setText(label, `${this.pretty(name)} ${short(frame.scalars[name])}`);
    });
  }

  private pretty(name: string): string {
    return this.host.style.labels[name] ?? name.replaceAll("_", " ");
  }

  private offer(frame: Frame, chosen: string[]): void {
    const known = Object.keys(this.host.style.scalars);
    const place = (name: string) => known.indexOf(name) + 1 || known.length + 1;
    const names = Object.keys(frame.scalars)
      .filter((name) => !name.endsWith("_error"))
      .sort((a, b) => place(a) - place(b));
    const boxes = names.map((name) =>
      h("input", { type: "checkbox", value: name, checked: chosen.includes(name) }),
    );
    const active = document.activeElement;
    const focused = active instanceof HTMLInputElement && this.menu.contains(active);
    const again = focused ? boxes.find(({ value }) => value === active.value) : undefined;
    this.menu.replaceChildren(
      ...boxes.map((box) => {
        const title = this.host.style.scalars[box.value]?.[1] ?? box.value;
        return h("label", { title }, box, this.pretty(box.value));
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
    let best = this.run.frames[0];
    for (const frame of this.run.frames) {
      if (!best || Math.abs(frame.epoch - epoch) < Math.abs(best.epoch - epoch)) best = frame;
    }
    if (best) this.host.goTo(best.seq);
  }
}

/** The chosen scalars that a run has; where it has no debiased D_LR, the plain one stands in. */
function available(frames: Frame[], chosen: string[]): string[] {
  const has = (name: string) => frames.some(({ scalars }) => Number.isFinite(scalars[name]));
  const names = chosen.map((name) => (name === DEBIASED ? lowRank(has).name : name));
  return [...new Set(names)].filter(has);
}

function short(value: number | undefined): string {
  return value === undefined || Number.isNaN(value) ? "–" : String(Number(value.toPrecision(3)));
}

/** A log axis has no place for zero and below. */
function positive(value: number | undefined, share: boolean): number {
  if (value === undefined) return Number.NaN;
  return share || value > 0 ? value : Number.NaN;
}

/** One standard error around a scalar, where it is known. */
function band(frames: Frame[], name = "") {
  const known = frames.filter(({ scalars }) => Number.isFinite(scalars[`${name}_error`]));
  const edge = (sign: number) =>
    known.map(
      ({ scalars }) =>
        (scalars[name] ?? Number.NaN) + sign * (scalars[`${name}_error`] ?? Number.NaN),
    );
  return { x: known.map(({ epoch }) => epoch), y1: edge(-1), y2: edge(1) };
}

/** Stretches of one regime; a frame's reaches halfway to its neighbours. */
function regimes(frames: Frame[]): { left: number; right: number; regime: string }[] {
  const spans: { left: number; right: number; regime: string }[] = [];
  frames.forEach(({ epoch, labels }, at) => {
    const regime = labels.regime ?? "";
    const right = (epoch + (frames[at + 1]?.epoch ?? epoch)) / 2;
    const open = spans.at(-1);
    if (open?.regime === regime) open.right = right;
    else spans.push({ left: open?.right ?? epoch, right, regime });
  });
  return spans;
}
