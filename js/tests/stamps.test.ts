import { expect, test } from "vitest";
import { lay } from "../src/bokeh/stamps";

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
