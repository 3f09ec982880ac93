// What is eigenfunction k: the samples on which it is lowest and highest.

import { memo } from "../data/memo";
import type { Scene } from "../data/scene";
import { column, type Frame, type RunInfo } from "../data/wire";
import { attribute, h, setOptions, setText } from "../host/dom";
import { className } from "./classes";
import { type Host, Panel } from "./panel";

/** Samples at each end. */
const COUNT = 8;

class Strip {
  private readonly picture = h("canvas", { "aria-hidden": "true" });
  private readonly names = h("ol");
  readonly root: HTMLElement;

  constructor(title: string) {
    this.root = h("div", { class: "fsw-strip" }, h("h4", {}, title), this.picture, this.names);
  }

  show(info: RunInfo, samples: number[], later: () => void): void {
    this.picture.hidden = !info.pictures?.draw(this.picture, samples, later);
    while (this.names.children.length < samples.length) this.names.append(h("li"));
    while (this.names.children.length > samples.length) this.names.lastChild?.remove();
    samples.forEach((sample, place) => {
      const name = className(info, info.labels[sample]);
      const item = this.names.children[place];
      if (!item) return;
      setText(item, name);
      attribute(item, "title", name);
    });
    this.names.classList.toggle("fsw-pictured", info.pictures !== null);
  }
}

export class ExtremesPanel extends Panel {
  private readonly which = h("select", { "aria-label": "Eigenfunction" });
  private readonly highest = new Strip("highest");
  private readonly lowest = new Strip("lowest");
  private follow = true;
  private readonly drawn = memo();
  private chosen = -1;

  constructor(host: Host) {
    super(host, {
      name: "extremes",
      title: "What is this feature?",
      caption:
        "The samples on which the eigenfunction is highest and lowest. A feature that the " +
        "network learned for its task groups a class at one end.",
    });
    this.tools.append(this.which);
    this.body.append(this.highest.root, this.lowest.root);
    this.cleanup.on(this.which, "change", () => {
      this.follow = false;
      host.redraw();
    });
  }

  draw({ run, frame, choices }: Scene): void {
    const columns = frame.shapes.projections?.[1] ?? 0;
    setOptions(
      this.which,
      Array.from({ length: columns }, (_, at) => [String(at), `e${at + 1}`]),
    );
    const last = this.chosen;
    this.chosen = choices.k;
    if (last !== choices.k) this.follow = true;
    if (this.follow) this.which.value = String(Math.min(choices.k, columns - 1));
    this.drawn([frame, this.which.value], () => this.show(run.info, frame));
  }

  private show(info: RunInfo, frame: Frame): void {
    const values = column(frame, "projections", Number(this.which.value));
    if (!values) return;
    const { high, low } = extremes(values, COUNT);
    const later = () => {
      this.drawn.forget();
      this.host.redraw();
    };
    this.highest.show(info, high, later);
    this.lowest.show(info, low, later);
  }
}

/** Places of the largest values, largest first, and of the smallest, smallest first. */
export function extremes(values: ArrayLike<number>, count: number) {
  const finite: number[] = [];
  for (let at = 0; at < values.length; at++) {
    if (Number.isFinite(values[at])) finite.push(at);
  }
  finite.sort((a, b) => (values[b] ?? 0) - (values[a] ?? 0));
  const ends = Math.min(count, Math.floor(finite.length / 2) || finite.length);
  return { high: finite.slice(0, ends), low: finite.slice(-ends).reverse() };
}
