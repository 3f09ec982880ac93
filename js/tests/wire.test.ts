// @vitest-environment node

import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import {
  column,
  copyBody,
  decodeFrame,
  decodeRun,
  type RunInfo,
  retarget,
  unpack,
} from "../src/data/wire";
import { bytes, frameHeader, golden } from "./fake";

test("reads the frames that Python wrote", () => {
  const { frames, body, expected } = golden();
  const decoded = frames.map((header) => decodeFrame(header, bytes(body)));
  expect(decoded.map(({ epoch }) => epoch)).toEqual(expected.epochs);
  expect(decoded.map(({ scalars }) => scalars.loss)).toEqual(expected.loss);
  expect(decoded.map(({ labels }) => labels.regime)).toEqual(expected.regimes);
  const last = decoded.at(-1);
  const start = Array.from(last?.arrays.eigenvalues ?? []).slice(0, expected.eigenvalues.length);
  expect(start).toEqual(expected.eigenvalues);
});

test("reads the run that Python wrote", () => {
  const { run, runBody, expected } = golden();
  const info = decodeRun(run, bytes(runBody));
  expect(Array.from(info.labels)).toEqual(expected.labels);
  expect(info.classNames).toEqual(run.class_names);
});

test("point clouds come back from 16 bits to within half a step", () => {
  const { frames, body, expected } = golden();
  const last = decodeFrame(frames.at(-1) as never, bytes(body));
  const [, columns = 0] = last.shapes.projections ?? [];
  const values = expected.projections;
  for (let k = 0; k < columns; k++) {
    const found = column(last, "projections", k);
    const scale = last.arrays["projections:scale"]?.[k] ?? 0;
    for (let row = 0; row * columns + k < values.length; row++) {
      expect(Math.abs((found?.[row] ?? 0) - (values[row * columns + k] ?? 0))).toBeLessThan(
        0.51 * scale + 1e-6,
      );
    }
  }
});

test("what stands for NaN comes back as NaN, and nothing else does", () => {
  const { header, body } = frameHeader(3);
  const second = column(decodeFrame(header, body), "projections", 1);
  expect(Array.from(second ?? [])).toEqual([-2, 0, 1, Number.NaN]);
  expect(column(decodeFrame(header, body), "projections", 3)).toBeNull();
});

test("a saved recording is unpacked whole", async () => {
  const { block, expected, frames } = golden();
  const packed = new DataView(new Uint8Array(gzipSync(Buffer.from(block, "base64"))).buffer);
  const recording = await unpack(packed);
  expect(recording.frames.map(({ epoch }) => epoch)).toEqual(expected.epochs);
  expect(recording.frames.map(({ seq }) => seq)).toEqual(frames.map(({ seq }) => seq));
  expect(Array.from(recording.info.labels)).toEqual(expected.labels);
});

test("something else than a recording is refused", async () => {
  const packed = new DataView(new Uint8Array(gzipSync(Buffer.from("GIF89a and more"))).buffer);
  await expect(unpack(packed)).rejects.toThrow(/not a recording/);
});

test("a body at an odd address, later reused by its host, does not matter", () => {
  const { header, body } = frameHeader(0);
  const shifted = new Uint8Array(body.byteLength + 3);
  shifted.set(new Uint8Array(body), 3);
  const copy = copyBody(new DataView(shifted.buffer, 3));
  shifted.fill(0);
  expect(Array.from(decodeFrame(header, copy).arrays.eigenvalues ?? [])).toEqual([8, 4, 2, 1]);
});

test("a body that was cut short is an error, not zeros", () => {
  const { header, body } = frameHeader(0);
  expect(() => decodeFrame(header, body.slice(0, 40))).toThrow(RangeError);
});

test("another target takes the labels' place, and the first one gives all back", () => {
  const values = Float32Array.of(0, 10, 1, 11);
  const heldOutLabels = Float32Array.of(7);
  const labels = Float32Array.of(0, 1);
  const info = { target: 0, first: null, labels, heldOutLabels, targets: { values, columns: 2 } };
  const first = info as unknown as RunInfo;
  const second = retarget(first, 1);
  expect(second).toMatchObject({ target: 1, heldOutLabels: null });
  expect([...second.labels]).toEqual([10, 11]);
  expect(retarget(second, 1)).toBe(second);
  expect(retarget(second, 2)).toBe(second); // there is no third
  expect(retarget(second, 0)).toBe(first);
});
