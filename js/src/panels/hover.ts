// A card beside the nearest point. Bokeh's own tooltips would build HTML out of names and rebuild
// an index for every frame; this one looks at the points only while the pointer is there.

import type { Plot } from "../bokeh/plot";
import type { RunInfo } from "../data/wire";
import { type Cleanup, h, hide, setText } from "../host/dom";
import { className } from "./classes";

/** How near the pointer must come, in pixels. */
const REACH = 14;

export interface Points {
  x: Float32Array;
  y: Float32Array;
  info: RunInfo;
  predictions: ArrayLike<number> | undefined;
}

export class HoverCard {
  readonly root = h("div", { class: "fsw-hover", "data-testid": "hover-card", hidden: true });
  private readonly ring = h("div", { class: "fsw-ring", hidden: true });
  private readonly picture = h("canvas", { "aria-hidden": "true" });
  private readonly label = h("b");
  private readonly prediction = h("span");
  private readonly number = h("span", { class: "fsw-faint" });
  private pointer: { x: number; y: number } | null = null;
  private asked = 0;

  constructor(
    private readonly body: HTMLElement,
    private readonly plot: () => Plot | null,
    private readonly points: () => Points | null,
    cleanup: Cleanup,
  ) {
    this.root.append(
      this.picture,
      h("div", {}, this.label, h("br"), this.prediction, h("br"), this.number),
    );
    body.append(this.ring, this.root);
    cleanup.on<PointerEvent>(body, "pointermove", (event) => {
      const { left, top } = body.getBoundingClientRect();
      this.pointer = { x: event.clientX - left, y: event.clientY - top };
      this.later();
    });
    cleanup.on(body, "pointerleave", () => {
      this.pointer = null;
      this.later();
    });
    cleanup.add(() => cancelAnimationFrame(this.asked));
  }

  /** The points have moved. */
  moved(): void {
    if (this.pointer) this.later();
  }

  private later(): void {
    if (this.asked) return;
    this.asked = requestAnimationFrame(() => {
      this.asked = 0;
      this.update();
    });
  }

  private update(): void {
    const points = this.points();
    const view = this.plot()?.view;
    const at = points && view && this.pointer ? this.nearest(points) : -1;
    this.root.hidden = this.ring.hidden = at < 0;
    if (at < 0 || !points || !view) return;
    const { info, predictions } = points;
    const x = view.frame.x_scale.compute(points.x[at] ?? 0);
    const y = view.frame.y_scale.compute(points.y[at] ?? 0);
    this.ring.style.transform = `translate(${x}px, ${y}px)`;
    setText(this.label, className(info, info.labels[at]));
    const predicted = predictions?.[at];
    const known = predicted !== undefined && !Number.isNaN(predicted);
    setText(this.prediction, known ? `predicted ${className(info, predicted)}` : "");
    setText(this.number, `sample ${at}`);
    hide(this.picture, !info.pictures?.draw(this.picture, [at], () => this.later()));
    const right = x + 190 > this.body.clientWidth;
    const below = y + 100 < this.body.clientHeight;
    this.root.style.transform =
      `translate(${right ? x - 14 : x + 14}px, ${below ? y + 10 : y - 10}px) ` +
      `translate(${right ? "-100%" : "0"}, ${below ? "0" : "-100%"})`;
  }

  private nearest({ x, y }: Points): number {
    const view = this.plot()?.view;
    const { pointer } = this;
    if (!view || !pointer) return -1;
    const { bbox, x_scale, y_scale } = view.frame;
    const inside =
      pointer.x >= bbox.left &&
      pointer.x <= bbox.right &&
      pointer.y >= bbox.top &&
      pointer.y <= bbox.bottom;
    if (!inside) return -1;
    // Both scales are linear: two points tell them.
    const x0 = x_scale.compute(0);
    const y0 = y_scale.compute(0);
    const dx = x_scale.compute(1) - x0;
    const dy = y_scale.compute(1) - y0;
    let best = -1;
    let least = REACH * REACH;
    for (let at = 0; at < x.length; at++) {
      const distance =
        (x0 + dx * (x[at] ?? Number.NaN) - pointer.x) ** 2 +
        (y0 + dy * (y[at] ?? Number.NaN) - pointer.y) ** 2;
      if (distance < least) {
        least = distance;
        best = at;
      }
    }
    return best;
  }
}
