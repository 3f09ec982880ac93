import type { Plot } from "../bokeh/plot";
import { linearTicks, type Tick } from "../bokeh/ranges";
import { memo } from "../data/memo";
import { available, type Band, minimal, type Scene, scalarOf } from "../data/scene";
import { seedsOf } from "../data/seeds";
import { changes, marks } from "../data/steered";
import type { Run } from "../data/store";
import type { Frame } from "../data/wire";
import { attribute, button, format, h, menu, rich } from "../host/dom";
import { flag } from "../host/model";
import { edges, outlines, places, Scale } from "./bands";
import type { Found } from "./card";
import { FigurePanel } from "./figure";
import { type Label, LINE, spread, withoutCrowd } from "./labels";
import type { Host, Table } from "./panel";
import { regimeName, regimeSaid, scalar } from "./words";
import { behindFeatures, strips, zones, zonesOf } from "./zones";

const BANDS: Band[] = ["shares", "features", "others"];
/** Curves in one band, each in a colour of its own. */
const MOST = 6;

interface Curve {
  name: string;
  band: Band;
  color: string;
}

export class HistoryPanel extends FigurePanel {
  protected readonly roles = {
    cursor: ["ink", "line_color"],
    "steered:glyph": ["ink", "line_color"],
  } satisfies FigurePanel["roles"];
  readonly #scales = new Map(BANDS.map((name) => [name, new Scale(name)]));
  readonly #boxes = h("div", { class: "fsw-menu", role: "group", "aria-label": "Curves" });
  readonly #logButton = button("log epochs", "Logarithmic epochs", {
    class: "fsw-q",
    "aria-pressed": "false",
  });
  readonly #names = memo<string[]>();
  readonly #colored = memo<Curve[]>();
  readonly #offered = memo();
  readonly #known = memo<Run>();
  readonly #knownGhost = memo<Run | null>();
  #curves: Curve[] = [];
  #end = 1;
  #ghostColor = "";
  #run: Run | null = null;
  #logEpochs = false;
  /** What stays chosen when a box is ticked: the curves on show, and those of other kinds of run. */
  #kept: string[] = [];

  constructor(host: Host) {
    super(host, "history");
    const chooser = menu("Curves", null, "Choose the curves", this.cleanup, this.#boxes);
    this.tools.append(this.#logButton, chooser);
    this.cleanup.on(this.#logButton, "click", () => host.choose({ logEpochs: !this.#logEpochs }));
    this.cleanup.on<MouseEvent>(this.body, "click", (event) => this.#pick(event));
    this.cleanup.on(this.#boxes, "change", (event) => {
      const { value, checked } = event.target as HTMLInputElement;
      const rest = this.#kept.filter((name) => name !== value);
      host.choose({ scalars: checked ? [...rest, value] : rest });
    });
  }

  override resetRanges(): void {
    super.resetRanges();
    for (const scale of this.#scales.values()) scale.reset();
  }

  /** Where an epoch lies on the axis. */
  #at(epoch: number): number {
    return this.#logEpochs ? Math.log10(1 + 10 * epoch) : epoch;
  }

  override draw(scene: Scene): void {
    super.draw(flag(this.host.model, "reveal") ? this.#upTo(scene) : scene);
  }

  /** The scene as one knows it who has seen no later frame; the axis is as long as ever. */
  #upTo(scene: Scene): Scene {
    const { run, frame, ghost } = scene;
    const known = (of: Run): Run => {
      const frames = of.frames.filter(({ epoch }) => epoch <= frame.epoch);
      return { ...of, frames };
    };
    return {
      ...scene,
      run: this.#known([run, run.revision, frame], () => known(run)),
      ghost: this.#knownGhost([ghost, ghost?.revision, frame], () => ghost && known(ghost)),
    };
  }

  protected fill(plot: Plot, scene: Scene): void {
    const { run, frame, ghost, choices, colors, end } = scene;
    this.#run = run;
    this.#logEpochs = choices.logEpochs;
    this.#ghostColor = colors.roles.ghost ?? "";
    attribute(this.#logButton, "aria-pressed", String(choices.logEpochs));
    const last = run.frames.at(-1) ?? frame;
    const names = this.#names([run, run.revision, choices.scalars], () =>
      available(this.host.style, run.frames, choices.scalars),
    );
    const { estimates } = this.host.style;
    const others = choices.scalars.filter((name) => !estimates.includes(name));
    this.#kept = [...new Set([...names, ...others])];
    const measured = Object.keys(last.scalars);
    this.#offered([names.length, ...names, ...measured], () => this.#offer(measured, names));
    this.#curves = this.#colored([names, colors], () => this.#style(names, scene));
    this.#end = end;
    this.#arrange(scene);
    const bounds = [...this.#scales.values()].flatMap(({ bounds, span }) => [...bounds, ...span]);
    const drawn = [this.#curves, choices.logEpochs, zonesOf(run, frame).join(), ...bounds];
    plot.data("curves", [run, run.revision, ...drawn], () => this.#columns(run, false));
    plot.data("ghost", [ghost, ghost?.revision, ...drawn], () => this.#columns(ghost, true));
    const seeds = seedsOf(last) > 1;
    const measure = this.#measure();
    // One standard error around D_LR; of several seeds one standard deviation around every curve.
    plot.data("band", [run, run.revision, seeds, ...drawn], () =>
      this.#edges(seeds ? null : run, measure?.name ?? "", "shares"),
    );
    plot.data("spread", [run, run.revision, seeds, ...drawn], () => this.#spread(seeds, run));
    plot.data("steered", [run, run.revision, choices.logEpochs], () => {
      return marks(changes(run).map(({ epoch }) => this.#at(epoch)));
    });
    if (measure) plot.set("band:area", { fill_color: measure.color });
    plot.data("zones", [run, run.revision, ghost, ghost?.revision, this.#end, ...drawn], () => {
      const at = (epoch: number) => this.#at(epoch);
      const features = names.some((name) => this.#band(name) === "features");
      const behind = features ? this.#scales.get("features") : undefined;
      return zones([
        ...strips(run, ghost, colors, this.host.style.strips, at),
        ...(behind ? behindFeatures(behind, at(this.#end), scene) : []),
      ]);
    });
    plot.data("dots", [frame, scene.ghostFrame, ...drawn], () => this.#dots(scene));
    plot.set("cursor", { location: this.#at(frame.epoch) });
    plot.range("x", [this.#at(0), this.#at(this.#end)]);
    plot.ticks("x", this.#epochTicks());
    plot.range("y", [0, 1]);
    plot.ticks("y", this.#valueTicks());
  }

  #value(run: Run, frame: Frame, name: string): number {
    return scalarOf(this.host.style, run, frame, name);
  }

  #band(name: string): Band {
    return this.host.style.bands[name] ?? "others";
  }

  /** Colours, no two alike; of more curves than colours, no two alike in a band. */
  #style(names: string[], { colors }: Scene): Curve[] {
    const { curves } = this.host.style;
    const taken: Curve[] = [];
    return names.map((name) => {
      const band = this.#band(name);
      const own = colors.roles[curves[name] ?? ""];
      const wanted = [...(own ? [own] : []), ...colors.lines];
      const free = (of: Curve[]) => wanted.find((color) => of.every((one) => one.color !== color));
      const color = free(taken) ?? free(taken.filter((one) => one.band === band)) ?? "";
      const curve = { name, band, color: color || (colors.roles.strong ?? "") };
      taken.push(curve);
      return curve;
    });
  }

  /** Give each band that is shown its place, and its scale all that is to be on it. */
  #arrange({ run, ghost }: Scene): void {
    const spans = places(
      this.host.style,
      this.#curves.map(({ band }) => band),
    );
    for (const [name, scale] of this.#scales) scale.span = spans[name] ?? [0, 0];
    // So that the zones of the regimes are in sight, whatever a run needed.
    this.#scales.get("features")?.include([minimal(run) / 2, 4 * minimal(run)]);
    for (const { name, band } of this.#curves) {
      for (const of of [run, ghost]) {
        this.#scales
          .get(band)
          ?.include(of?.frames.map((frame) => this.#value(of, frame, name)) ?? []);
      }
    }
  }

  #columns(of: Run | null, faint: boolean) {
    const frames = of?.frames ?? [];
    const x = Float64Array.from(frames, ({ epoch }) => this.#at(epoch));
    const curves = of ? this.#curves : [];
    return {
      xs: curves.map(() => x),
      ys: curves.map(({ name, band }) => {
        const values = of ? frames.map((frame) => this.#value(of, frame, name)) : [];
        return this.#scales.get(band)?.placeAll(values) ?? [];
      }),
      color: curves.map(({ color }) => (faint ? this.#ghostColor : color)),
    };
  }

  /** The curve of D_LR, the better estimate of it where both are shown. */
  #measure(): Curve | undefined {
    const shown = this.host.style.estimates.map((of) =>
      this.#curves.find(({ name }) => name === of),
    );
    return shown.find((curve) => curve !== undefined);
  }

  #spread(seeds: boolean, run: Run) {
    const curves = seeds ? this.#curves : [];
    return outlines(
      curves.map(({ name, band, color }) => ({ color, ...this.#edges(run, name, band) })),
    );
  }

  #edges(run: Run | null, name: string, band: Band) {
    const value = (frame: Frame) => (run ? this.#value(run, frame, name) : Number.NaN);
    const at = (epoch: number) => this.#at(epoch);
    return edges(run?.frames ?? [], name, value, at, this.#scales.get(band));
  }

  /** The values of a frame, where they stand on the figure. */
  #marks(run: Run | null, frame: Frame | null): { curve: Curve; value: number; y: number }[] {
    return this.#curves.flatMap((curve) => {
      const value = run && frame ? this.#value(run, frame, curve.name) : Number.NaN;
      const y = this.#scales.get(curve.band)?.placeAll([value])[0] ?? Number.NaN;
      return Number.isFinite(y) ? [{ curve, value, y }] : [];
    });
  }

  #dots({ run, frame, ghost, ghostFrame }: Scene) {
    const now = this.#marks(run, frame);
    const then = this.#marks(ghost, ghostFrame);
    return {
      x: [
        ...then.map(() => this.#at(ghostFrame?.epoch ?? 0)),
        ...now.map(() => this.#at(frame.epoch)),
      ],
      y: [...then, ...now].map(({ y }) => y),
      color: [...then.map(() => this.#ghostColor), ...now.map(({ curve }) => curve.color)],
    };
  }

  #epochTicks(): Tick[] {
    if (!this.#logEpochs) return linearTicks([0, this.#end], 4);
    const powers = [0, 0.1, 1, 10, 100, 1000, 10_000].filter((epoch) => epoch <= this.#end);
    return powers.map((epoch) => [this.#at(epoch), String(epoch)]);
  }

  #valueTicks(): Tick[] {
    const shown = new Set(this.#curves.map(({ band }) => band));
    return [...this.#scales].flatMap(([name, scale]) => (shown.has(name) ? scale.ticks() : []));
  }

  #written(name: string, value: number, when = ""): string {
    const unit = this.host.style.scalars[name]?.[0] ?? "";
    return `${this.#pretty(name)}${when} ${scalar(name, unit, value)}`;
  }

  protected words(plot: Plot, { run, frame, ghostFrame, ghost, scale: z }: Scene): Label[] {
    const { left, right, top, bottom } = plot.view.frame.bbox;
    const x = right + 12;
    const label = (name: string, value: number, y: number) => ({
      text: this.#written(name, value),
      x,
      y: plot.y(y),
      title: this.host.style.scalars[name]?.[1] ?? name,
    });
    const labels: Label[] = this.#marks(run, frame).map(({ curve, value, y }) => ({
      ...label(curve.name, value, y),
      color: curve.color,
    }));
    // What is withheld is a dash at the foot; what it is says why.
    for (const name of this.#kept)
      if (name in frame.scalars && Number.isNaN(this.#value(run, frame, name)))
        labels.push({ ...label(name, Number.NaN, 0), role: "dim" });
    for (const { curve, value, y } of this.#marks(ghost, ghostFrame)) {
      const unit = this.host.style.scalars[curve.name]?.[0] ?? "";
      const text = `before ${scalar(curve.name, unit, value)}`;
      // Where this run's own value coincides, that alone is written.
      const title = `${this.#pretty(curve.name)} of the run before`;
      labels.push({ text, x, y: plot.y(y), role: "ghost", title });
    }
    const kept = withoutCrowd(labels, (bottom - top - 20) / LINE);
    spread(kept, LINE, top + 22, bottom + 2);
    const [now] = regimeSaid(this.host.words, run, frame);
    kept.push({ text: now, x, y: top + 4, bold: true });
    if (ghost && ghostFrame) {
      const text = `was ${regimeSaid(this.host.words, ghost, ghostFrame)[0]}`;
      kept.push({ text, x: x + z * (9 + 7.4 * now.length), y: top + 4, role: "ghost" });
    }
    const ticks = this.#epochTicks().map(([at]) => plot.x(at));
    const [a = left, b = right] = ticks.slice(-2);
    // Between the last two ticks, where it fits.
    if (b - a > 60)
      kept.push({ text: "epoch", x: (a + b) / 2, y: bottom + 11, anchor: "middle", role: "dim" });
    return kept;
  }

  protected override probe(plot: Plot, { run, ghost }: Scene, x: number, y: number): Found | null {
    if (!this.within(plot, x, y)) return null;
    const frame = this.#nearest(plot, run, x);
    const then = ghost && frame ? this.#nearest(plot, ghost, x) : null;
    if (!frame) return null;
    const marks = this.#marks(run, frame);
    const rows = marks.map(({ curve, value }) => this.#written(curve.name, value));
    for (const { epoch, words } of changes(run)) {
      if (Math.abs(plot.x(this.#at(epoch)) - plot.x(this.#at(frame.epoch))) < 6) rows.push(words);
    }
    const near = marks.sort((a, b) => Math.abs(plot.y(a.y) - y) - Math.abs(plot.y(b.y) - y));
    const measure = near[0]?.curve.name ?? "";
    const was = ghost && then ? this.#value(ghost, then, measure) : Number.NaN;
    return {
      x: plot.x(this.#at(frame.epoch)),
      y: near[0] ? plot.y(near[0].y) : plot.view.frame.bbox.top,
      title: `epoch ${format(frame.epoch)} · ${regimeName(this.host.words, run, frame)}`,
      rows,
      before: Number.isNaN(was) ? "" : this.#written(measure, was, " before"),
    };
  }

  #nearest(plot: Plot, { frames }: Run, x: number): Frame | undefined {
    const away = (frame: Frame) => Math.abs(plot.x(this.#at(frame.epoch)) - x);
    return frames.reduce<Frame | undefined>(
      (best, frame) => (best && away(best) <= away(frame) ? best : frame),
      undefined,
    );
  }

  protected table({ run }: Scene): Table {
    return {
      head: ["epoch", "regime", ...this.#curves.map(({ name }) => this.#pretty(name))],
      rows: run.frames.map((frame) => [
        frame.epoch,
        regimeName(this.host.words, run, frame),
        ...this.#curves.map(({ name }) => this.#value(run, frame, name)),
      ]),
    };
  }

  protected describe({ run, frame }: Scene): string {
    const first = run.frames[0] ?? frame;
    const trends = this.#curves.map(({ name }) => {
      const unit = this.host.style.scalars[name]?.[0] ?? "";
      const value = (of: Frame) => this.#value(run, of, name);
      // The loss, for one, is not known before training.
      const from = value(run.frames.find((of) => Number.isFinite(value(of))) ?? first);
      const to = value(frame);
      const verb = to > from ? "rises" : to < from ? "falls" : "goes";
      const [begin, end] = [from, to].map((each) => scalar(name, unit, each));
      return `${this.#pretty(name)} ${verb} from ${begin} to ${end}`;
    });
    const steered = changes(run).map(({ epoch, words }) => ` At epoch ${format(epoch)}: ${words}.`);
    return `Epoch ${format(first.epoch)} to ${format(frame.epoch)}: ${trends.join(", ")}.${steered.join("")}`;
  }

  #pretty(name: string): string {
    return this.host.style.labels[name] ?? name.replaceAll("_", " ");
  }

  #offer(measured: string[], chosen: string[]): void {
    const known = Object.keys(this.host.style.scalars);
    const place = (name: string) => known.indexOf(name) + 1 || known.length + 1;
    const names = measured
      .filter((name) => !name.endsWith("_error"))
      .sort((a, b) => place(a) - place(b));
    const full = (name: string) =>
      chosen.filter((other) => this.#band(other) === this.#band(name)).length >= MOST;
    const boxes = names.map((name) => {
      const checked = chosen.includes(name);
      return h("input", {
        type: "checkbox",
        value: name,
        checked,
        disabled: !checked && full(name),
      });
    });
    const active = (this.#boxes.getRootNode() as Document | ShadowRoot).activeElement ?? null;
    const focused = active instanceof HTMLInputElement && this.#boxes.contains(active);
    const again = focused ? boxes.find(({ value }) => value === active.value) : undefined;
    this.#boxes.replaceChildren(
      ...boxes.map((box) => {
        const title = this.host.style.scalars[box.value]?.[1] ?? box.value;
        return h("label", { title }, box, h("span", {}, ...rich(this.#pretty(box.value))));
      }),
    );
    again?.focus();
  }

  #pick(event: MouseEvent): void {
    const plot = this.current;
    if (!plot || !this.#run) return;
    const { left, right } = plot.view.frame.bbox;
    const screen = event.clientX - this.body.getBoundingClientRect().left;
    if (screen < left - 4 || screen > right + 4) return;
    const best = this.#nearest(plot, this.#run, screen);
    if (best) this.host.goTo(best);
  }
}
