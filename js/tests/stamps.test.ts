import { expect, test, vi } from "vitest";
import { lay, type Marks, stampMarks } from "../src/bokeh/stamps";

const sheet = (width: number, height: number) => ({
  data: new Uint8ClampedArray(4 * width * height),
  width,
  height,
});
/** A square of one colour. */
const square = (size: number, ...rgba: number[]) =>
  Uint8ClampedArray.from({ length: 4 * size * size }, (_, at) => rgba[at % 4] ?? 0);

test("a stamp lies over what is there as a drawing would", () => {
  const one = sheet(1, 1);
  lay(one, square(1, 200, 0, 0, 128), 1, 0, 0);
  expect([...one.data]).toEqual([200, 0, 0, 128]);
  lay(one, square(1, 0, 0, 100, 128), 1, 0, 0);
  // 128 of 255, and of what is left by it half again: 192 in all, of which the upper holds 2/3.
  expect([...one.data]).toEqual([66, 0, 67, 192]);
  lay(one, square(1, 9, 8, 7, 255), 1, 0, 0);
  expect([...one.data]).toEqual([9, 8, 7, 255]);
});

test("of a stamp beyond an edge only what lies on the sheet is drawn", () => {
  const places = [-1, 2].flatMap((left) => [-1, 2].map((top) => [left, top] as const));
  const corners = sheet(3, 3);
  for (const [left, top] of places) lay(corners, square(2, 1, 2, 3, 255), 2, left, top);
  const drawn = Array.from({ length: 9 }, (_, at) => corners.data[4 * at + 3]);
  expect(drawn).toEqual([255, 0, 255, 0, 0, 0, 255, 0, 255]);
});

/** A canvas whose marks are a pixel each, of the ink that they were painted with last. */
class Context {
  place = { a: 2, e: 0.5, f: 0 };
  ink = 0;
  shown: number[] = [];
  constructor(readonly canvas: { width: number; height: number }) {}
  getTransform = () => this.place;
  setTransform = (a: number, _b: 0, _c: 0, _d: number, e: number, f: number) => {
    this.place = { a, e, f };
  };
  resetTransform() {}
  save() {}
  restore() {}
  clearRect() {
    this.ink = 0;
  }
  getImageData(_x: 0, _y: 0, width: number, height: number) {
    const data = new Uint8ClampedArray(4 * width * height);
    const { e, f } = this.place;
    data.set([this.ink, 0, 0, 255], 4 * (Math.floor(f) * width + Math.floor(e)));
    return { data };
  }
  putImageData({ data }: ImageData) {
    this.shown = [...data].filter((_, at) => at % 4 === 0);
  }
  drawImage({ context }: { context: Context }) {
    this.shown = context.shown;
  }
}

test("marks that look alike are painted once for each place within a pixel", () => {
  vi.stubGlobal("CanvasRenderingContext2D", Context);
  vi.stubGlobal("ImageData", function (this: object, width: number, height: number) {
    Object.assign(this, sheet(width, height));
  });
  const made = vi.spyOn(HTMLCanvasElement.prototype, "getContext");
  made.mockImplementation(function (this: HTMLCanvasElement) {
    const context = new Context(this);
    return Object.assign(this, { context }).context as unknown as null;
  });
  const painted: number[] = [];
  const every = (value: unknown) => ({ is_scalar: true, get: () => value });
  const each = (get: (at: number) => unknown) => ({ is_scalar: false, get });
  const n = 400;
  const view = {
    ...{ max_size: 4, marker: every("circle"), size: every(4), angle: every(0) },
    ...{ line_color: every(0), fill_alpha: every(1), line_alpha: every(1), line_width: every(1) },
    // Half of them have other colours, and all but the last two stand on whole pixels.
    fill_color: each((at) => (at % 2 ? 7 : 9)),
    ...{ sx: Array(n).fill(10.75), sy: Array(n).fill(5) },
    _paint(pen: unknown, indices: number[]) {
      painted.push(...indices);
      (pen as Context).ink = Number(this.fill_color.get(indices.at(-1) ?? 0));
    },
  };
  view.sx[n - 2] = 3.9;
  view.sx[n - 1] = 5;
  stampMarks(view as unknown as Marks);
  const indices = Array.from({ length: n }, (_, at) => at);
  const paint = (width = 40, height = 20) => {
    const on = new Context({ width, height });
    painted.length = 0;
    view._paint(on as unknown as CanvasRenderingContext2D, indices);
    return on.shown.flatMap((ink, at) => (ink ? [[at % width, Math.floor(at / width), ink]] : []));
  };
  const all = [
    [8, 10, 9],
    [10, 10, 7],
    [22, 10, 7],
  ];
  expect(paint()).toEqual(all);
  expect(painted).toEqual([0, 1, n - 2, n - 1]);
  view.sx.fill(10.75);
  // What stood elsewhere is gone, and nothing is painted again,
  expect([paint(), painted]).toEqual([all.slice(2), []]);
  // unless it looks different now, by itself or with all others, or the figure has another size.
  for (const name of ["marker", "size", "angle", "line_color", "fill_alpha"] as const) {
    Object.assign(view, { [name]: every(0.5) });
    expect([paint().length, painted.length], name).toEqual([1, 2]);
    Object.assign(view, { [name]: each((at) => Math.floor(at / 100)) });
    expect([paint().length, painted.length], name).toEqual([1, 8]);
    Object.assign(view, { [name]: every(0) });
  }
  expect([paint(50).length, painted.length]).toEqual([1, 2]);
  // Where a figure has no room, there is nothing to copy.
  expect([paint(0).length, painted.length]).toEqual([0, n]);
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});
