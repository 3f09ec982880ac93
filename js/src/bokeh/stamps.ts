// Many marks on a canvas, quickly: each kind of mark is drawn once, and then copied in pixels.

/** Of fewer marks each is drawn. */
const MANY = 200;
/** Places of a mark within a pixel that are told apart, each way. */
const PHASES = 4;

/** All that tells one mark from another. */
const LOOKS = [
  ...(["marker", "size", "angle", "line_width"] as const),
  ...(["fill_color", "fill_alpha", "line_color", "line_alpha"] as const),
];

/** One value for each mark, or the same one for all. */
interface Uniform {
  is_scalar: boolean;
  get(at: number): unknown;
}

/** What Bokeh's painter of marks holds: places on screen, and what each mark looks like. */
export interface Marks extends Record<(typeof LOOKS)[number], Uniform> {
  sx: ArrayLike<number>;
  sy: ArrayLike<number>;
  max_size: number;
  _paint(ctx: CanvasRenderingContext2D, indices: number[], data?: Partial<Marks>): void;
}

/** Pixels of one kind of mark, a square. */
type Stamp = Uint8ClampedArray;

/** Filling and stroking some thousand paths, each with styles of its own, is most of what a frame
 * would cost; and samples of one class differ in nothing but their place. */
export function stampMarks(marks: Marks | undefined): void {
  if (!marks?._paint) return; // another version of BokehJS: slower, and right all the same
  const paint = marks._paint;
  const pads = new WeakMap<Marks, Pad>();
  marks._paint = function (ctx, indices, data) {
    const { width = 0, height = 0 } = ctx instanceof CanvasRenderingContext2D ? ctx.canvas : {};
    // Not of a figure without room, either: there are no pixels to read.
    if (data || indices.length < MANY || width * height === 0) {
      paint.call(this, ctx, indices, data);
      return;
    }
    const { a: ratio, e, f } = ctx.getTransform();
    // A triangle's tip is farther out than half its size, and a line lies around each.
    const half = Math.ceil((0.58 * this.max_size + 1) * ratio);
    const looks = LOOKS.map((name) => this[name]);
    const shared = looks.filter(({ is_scalar }) => is_scalar).map((look) => look.get(0));
    const own = looks.filter(({ is_scalar }) => !is_scalar);
    const kind = [width, height, ratio, half, ...shared].join(" ");
    let pad = pads.get(this);
    if (pad?.kind !== kind) {
      pad = new Pad(kind, width, height, ratio, half);
      pads.set(this, pad);
    }
    const { sx, sy } = this;
    for (const at of indices) {
      const x = (sx[at] ?? Number.NaN) * ratio + e;
      const y = (sy[at] ?? Number.NaN) * ratio + f;
      const look = own.map((values) => values.get(at)).join(" ");
      pad.stamp(look, x, y, (pen) => {
        const middle = { length: 0, [at]: 0 };
        paint.call(this, pen, [at], { sx: middle, sy: middle });
      });
    }
    pad.print(ctx);
  };
}

/** Stamps, and the sheet on which they come to lie over each other. */
class Pad {
  readonly #stamps = new Map<string, Stamp>();
  readonly #pen: CanvasRenderingContext2D;
  readonly #sheet: CanvasRenderingContext2D;
  readonly #pixels: ImageData;
  /** Of a stamp: a mark's own, and one for its place within a pixel. */
  readonly #size: number;

  /** Of `kind` is what all of its stamps have in common. */
  constructor(
    readonly kind: string,
    width: number,
    height: number,
    private readonly ratio: number,
    private readonly half: number,
  ) {
    this.#size = 2 * half + 1;
    this.#pen = canvas(this.#size, this.#size);
    this.#sheet = canvas(width, height);
    this.#pixels = new ImageData(width, height);
  }

  /** Stamp a mark at a place; `draw` makes one of its kind around 0, 0. */
  stamp(look: string, x: number, y: number, draw: (pen: CanvasRenderingContext2D) => void): void {
    const [across, down] = [Math.round(x * PHASES), Math.round(y * PHASES)];
    const [left, top] = [Math.floor(across / PHASES), Math.floor(down / PHASES)];
    if (!Number.isFinite(left + top)) return;
    const within = [across / PHASES - left, down / PHASES - top] as const;
    const key = `${look} ${within}`;
    let stamp = this.#stamps.get(key);
    if (!stamp) {
      stamp = this.#make(within, draw);
      this.#stamps.set(key, stamp);
    }
    lay(this.#pixels, stamp, this.#size, left - this.half, top - this.half);
  }

  #make([right, down]: readonly [number, number], draw: (pen: CanvasRenderingContext2D) => void) {
    const { half, ratio } = this;
    const [pen, size] = [this.#pen, this.#size];
    pen.resetTransform();
    pen.clearRect(0, 0, size, size);
    pen.setTransform(ratio, 0, 0, ratio, half + right, half + down);
    draw(pen);
    return pen.getImageData(0, 0, size, size).data;
  }

  /** Put on a canvas what was stamped, and begin anew. */
  print(ctx: CanvasRenderingContext2D): void {
    this.#sheet.putImageData(this.#pixels, 0, 0);
    this.#pixels.data.fill(0);
    ctx.save();
    ctx.resetTransform();
    ctx.drawImage(this.#sheet.canvas, 0, 0);
    ctx.restore();
  }
}

/** A canvas that is read and written pixel by pixel. */
function canvas(width: number, height: number): CanvasRenderingContext2D {
  const made = Object.assign(document.createElement("canvas"), { width, height });
  return made.getContext("2d", { willReadFrequently: true }) as CanvasRenderingContext2D;
}

interface Pixels {
  data: Uint8ClampedArray;
  width: number;
  height: number;
}

/** Put a square of pixels over others, as far as it lies on them. */
export function lay(
  { data: under, width, height }: Pixels,
  stamp: Stamp,
  size: number,
  left: number,
  top: number,
): void {
  const [from, to] = [Math.max(0, -left), Math.min(size, width - left)];
  for (let y = Math.max(0, -top); y < size && top + y < height; y++) {
    let i = 4 * (y * size + from);
    let j = 4 * ((top + y) * width + left + from);
    for (let x = from; x < to; x++, i += 4, j += 4) {
      const over = stamp[i + 3] as number;
      if (over === 0) continue;
      const rest = ((under[j + 3] as number) * (255 - over)) / 255;
      const share = over / (over + rest);
      for (let c = 0; c < 3; c++)
        under[j + c] = (stamp[i + c] as number) * share + (under[j + c] as number) * (1 - share);
      under[j + 3] = over + rest;
    }
  }
}
