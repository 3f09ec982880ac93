// @vitest-environment node

import { expect, test } from "vitest";
import { logTicks, Range } from "../src/bokeh/ranges";

test("a range grows in round steps, and only a reset lets it shrink", () => {
  const range = new Range(false, [-2, 2]).include(2.3);
  expect(range.bounds).toEqual([-2, 3]);
  range.include(-0.1, 2.9);
  expect(range.bounds).toEqual([-2, 3]);
  range.include(-11);
  expect(range.bounds).toEqual([-15, 3]);
  range.reset();
  expect(range.bounds).toEqual([-2, 2]);
});

test("a log range leaves out what a log axis cannot show", () => {
  const range = new Range(true).includeAll([0, -1, Number.NaN, Number.POSITIVE_INFINITY, 0.03, 7]);
  const [low, high] = range.bounds;
  expect(low).toBeCloseTo(0.02, 10);
  expect(high).toBeCloseTo(10, 10);
});

test("decades, for an axis that would have too few ticks", () => {
  const [low, high] = new Range(true, null, true).include(0.3, 40).bounds;
  expect(low).toBeCloseTo(0.1, 10);
  expect(high).toBeCloseTo(100, 10);
});

test("a value on a round number does not push the range on", () => {
  expect(new Range(false, [0, 1]).include(20).bounds).toEqual([0, 20]);
  expect(new Range(true).include(0.001, 100).bounds).toEqual([0.001, 100]);
});

test("without any value there is still an axis", () => {
  expect(new Range(true).bounds).toEqual([0.1, 10]);
  expect(new Range().include(Number.NaN).bounds).toEqual([0, 1]);
});

test("ticks of a log axis are powers of ten, and more where those are few", () => {
  const rounded = (low: number, high: number) =>
    logTicks([low, high]).map(([tick]) => Number(tick.toPrecision(6)));
  expect(rounded(0.94, 13)).toEqual([1, 2, 5, 10]);
  expect(rounded(0.0094, 0.6)).toEqual([0.01, 0.02, 0.05, 0.1, 0.2, 0.5]);
  expect(rounded(0.0094, 1.4)).toEqual([0.01, 0.1, 1]);
  expect(rounded(0.9e-8, 1.1)).toEqual([1e-8, 1e-6, 1e-4, 0.01, 1]);
});
