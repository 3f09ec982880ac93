// Many marks on a canvas, quickly: each kind of mark is drawn once, and then copied in pixels.

/** Of fewer marks each is drawn. */
const MANY = 200;
/** Places of a mark within a pixel that are told apart, each way. */
const PHASES = 4;

interface Uniform<T> {
  get(at: number): T;
}

/** What Bokeh's painter of marks holds: places on screen, and what each mark looks like. */
export interface Marks {
  sx: ArrayLike<number>;
  sy: ArrayLike<number>;
  size: Uniform<number>;
  marker: Uniform<string>;
  fill_color: Uniform<number>;
  line_color: Uniform<number>;
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
  const known = new WeakMap<Marks, { ratio: number; stamps: Map<string, Stamp>; sheet: Sheet }>();
  marks._paint = function (ctx, indices, data) {
    if (data || indices.length < MANY || !(ctx instanceof CanvasRenderingContext2D)) {
      paint.call(this, ctx, indices, data);
      return;
    }
    const { a: ratio, e, f } = ctx.getTransform();
    const { width, height } = ctx.canvas;
    const half = Math.ceil((this.max_size / 2 + 1) * ratio);
    let mine = known.get(this);
    if (mine?.ratio !== ratio || !mine.sheet.fits(width, height)) {
      mine = { ratio, stamps: new Map(), sheet: new Sheet(width, height) };
      known.set(this, mine);
    }
    const make = (at: number, right: number, down: number) => {
      const { pen } = new Sheet(2 * half, 2 * half);
      pen.translate(half + right / PHASES, half + down / PHASES);
      pen.scale(ratio, ratio);
      const middle = { length: 0, [at]: 0 };
      paint.call(this, pen, [at], { sx: middle, sy: middle });
      return pen.getImageData(0, 0, 2 * half, 2 * half).data;
    };
    const { sx, sy, size, marker, fill_color, line_color } = this;
    const { stamps, sheet } = mine;
    sheet.clear();
    for (const at of indices) {
      const x = Math.round(((sx[at] ?? Number.NaN) * ratio + e) * PHASES);
      const y = Math.round(((sy[at] ?? Number.NaN) * ratio + f) * PHASES);
      if (!Number.isFinite(x + y)) continue;
      const [left, top] = [Math.floor(x / PHASES), Math.floor(y / PHASES)];
      const [right, down] = [x - left * PHASES, y - top * PHASES];
      const look = `${marker.get(at)} ${size.get(at)} ${fill_color.get(at)} ${line_color.get(at)}`;
      const key = `${look} ${right} ${down}`;
      let stamp = stamps.get(key);
      if (!stamp) {
        stamp = make(at, right, down);
        stamps.set(key, stamp);
      }
      sheet.stamp(stamp, 2 * half, left - half, top - half);
    }
    ctx.save();
    ctx.resetTransform();
    ctx.drawImage(sheet.drawn(), 0, 0);
    ctx.restore();
  };
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

/** A canvas on which stamps lie over each other. */
class Sheet {
  readonly pen: CanvasRenderingContext2D;
  readonly #canvas = document.createElement("canvas");
  readonly #pixels: ImageData;

  constructor(
    readonly width: number,
    readonly height: number,
  ) {
    this.#canvas.width = width;
    this.#canvas.height = height;
    this.pen = this.#canvas.getContext("2d", {
      willReadFrequently: true,
    }) as CanvasRenderingContext2D;
    this.#pixels = new ImageData(width, height);
  }

  fits(width: number, height: number): boolean {
    return this.width === width && this.height === height;
  }

  clear(): void {
    this.#pixels.data.fill(0);
  }

  /** Lay a stamp over what is there. */
  stamp(stamp: Stamp, size: number, left: number, top: number): void {
    lay(this.#pixels, stamp, size, left, top);
  }

  drawn(): HTMLCanvasElement {
    this.pen.putImageData(this.#pixels, 0, 0);
    return this.#canvas;
  }
}
