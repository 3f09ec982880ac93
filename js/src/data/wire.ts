// How runs and frames travel: see fswidget/wire.py, whose layout this file reads.

import { gunzip } from "./gunzip";
import { Pictures } from "./pictures";

export type NumberArray = Float64Array | Float32Array | Int16Array | Uint8Array;

export interface ArrayLayout {
  name: string;
  dtype: "float64" | "float32" | "int16" | "uint8";
  shape: number[];
  offset: number;
  /** Holds differences from the same array of the frame before. */
  delta?: boolean;
}

export interface FrameHeader {
  seq: number;
  /** Number of the frame kept before this one, -1 for the first. */
  previous: number;
  scalars: string[];
  labels: Record<string, string>;
  layout: ArrayLayout[];
  /** Where this frame starts in a body of several. */
  offset?: number;
}

export interface RunHeader {
  config: Record<string, unknown>;
  task: string;
  num_features: number;
  num_outputs: number;
  minimal_features: number;
  num_samples?: number;
  class_names: string[];
  layers: string[];
  title: string;
  provenance?: string;
  layout: ArrayLayout[];
  /** Where the pictures of the samples are in the image file that is the array `sprite`. */
  sprite?: { mime: string; columns: number; height: number; width: number };
}

export interface Frame {
  seq: number;
  previous: number;
  epoch: number;
  step: number;
  scalars: Record<string, number>;
  labels: Record<string, string>;
  arrays: Record<string, NumberArray>;
  shapes: Record<string, number[]>;
}

export interface RunInfo {
  config: Record<string, unknown>;
  task: string;
  numFeatures: number;
  numOutputs: number;
  /** Up to how many used features a run counts as minimal. */
  minimalFeatures: number;
  /** p, or the samples of the probe where those are fewer. */
  directions: number;
  classNames: string[];
  layers: string[];
  title: string;
  /** Settings, seed, versions and what to cite, in a line. */
  provenance: string;
  /** Class index of each shown sample, or its target value for a regression. */
  labels: Float32Array;
  heldOutLabels: Float32Array | null;
  pictures: Pictures | null;
  /** All target values of each shown sample, where there are several, and which of them `labels` has. */
  targets: Rows | null;
  target: number;
  /** The same with the first target, where this is another; what `retarget` goes back to. */
  first: RunInfo | null;
  /** The shown samples themselves, where they are short sequences of tokens. */
  tokens: Rows | null;
}

export interface Rows {
  values: NumberArray;
  columns: number;
}

const SIZES = { float64: 8, float32: 4, int16: 2, uint8: 1 } as const;
const TYPES = {
  float64: Float64Array,
  float32: Float32Array,
  int16: Int16Array,
  uint8: Uint8Array,
} as const;
/** What stands for NaN and infinities in a quantised array. */
const MISSING = -32768;

/** A body in memory of its own: received buffers come at any alignment and may be reused. */
export function copyBody(
  buffer: DataView | ArrayBuffer | ArrayBufferView | undefined,
): ArrayBuffer {
  if (buffer === undefined) return new ArrayBuffer(0);
  if (buffer instanceof ArrayBuffer) return buffer.slice(0);
  const bytes = new Uint8Array(buffer.byteLength);
  bytes.set(new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength));
  return bytes.buffer;
}

function count(shape: number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

export function decodeArrays(
  layout: ArrayLayout[],
  body: ArrayBuffer,
  start = 0,
): Record<string, NumberArray> {
  const arrays: Record<string, NumberArray> = {};
  for (const { name, dtype, shape, offset } of layout) {
    const length = count(shape);
    const from = start + offset;
    const end = from + length * SIZES[dtype];
    if (end > body.byteLength) throw new RangeError(`${name}: ${end} > ${body.byteLength} bytes`);
    arrays[name] = new TYPES[dtype](body, from, length);
  }
  return arrays;
}

export function decodeFrame(header: FrameHeader, body: ArrayBuffer): Frame {
  const { scalars: values, ...arrays } = decodeArrays(header.layout, body, header.offset ?? 0);
  const scalars: Record<string, number> = {};
  header.scalars.forEach((name, index) => {
    scalars[name] = Number(values?.[index]);
  });
  const { epoch = Number.NaN, step = Number.NaN } = scalars;
  delete scalars.epoch;
  delete scalars.step;
  const shapes = Object.fromEntries(header.layout.map(({ name, shape }) => [name, shape]));
  const { seq, previous, labels } = header;
  return { seq, previous, epoch, step, scalars, labels, arrays, shapes };
}

export function decodeRun(header: RunHeader, body: ArrayBuffer, start = 0): RunInfo {
  const arrays = decodeArrays(header.layout, body, start);
  const { sprite } = header;
  const file = arrays.sprite as Uint8Array<ArrayBuffer> | undefined;
  const rows = (name: string): Rows | null => {
    const [, columns = 0] = header.layout.find((array) => array.name === name)?.shape ?? [];
    return columns > 0 && arrays[name] ? { values: arrays[name], columns } : null;
  };
  return {
    config: header.config,
    task: header.task,
    numFeatures: header.num_features,
    numOutputs: header.num_outputs,
    minimalFeatures: header.minimal_features,
    directions: Math.min(header.num_features, header.num_samples ?? header.num_features),
    classNames: header.class_names,
    layers: header.layers,
    title: header.title,
    provenance: header.provenance ?? "",
    labels: (arrays.labels as Float32Array | undefined) ?? new Float32Array(0),
    heldOutLabels: (arrays.held_out_labels as Float32Array | undefined) ?? null,
    pictures: sprite && file ? new Pictures(sprite, new Blob([file], { type: sprite.mime })) : null,
    targets: rows("targets"),
    target: 0,
    first: null,
    tokens: rows("tokens"),
  };
}

/** The same run with another of its targets as what stands for a sample. */
export function retarget(info: RunInfo, target: number): RunInfo {
  const { targets } = info;
  if (!targets || info.target === target || target >= targets.columns) return info;
  const first = info.first ?? info;
  if (target === 0) return first;
  const labels = Float32Array.from(
    info.labels,
    (_, row) => targets.values[row * targets.columns + target] ?? Number.NaN,
  );
  // Of held-out samples, and of predictions, only the first target is there.
  return { ...first, labels, target, first, heldOutLabels: null };
}

/** Column k of a frame's point cloud, scaled back from 16 bits; null where there is none. */
export function column(frame: Frame, name: string, k: number): Float32Array | null {
  const values = frame.arrays[name];
  const [rows = 0, columns = 0] = frame.shapes[name] ?? [];
  if (!values || k < 0 || k >= columns) return null;
  const scale = frame.arrays[`${name}:scale`]?.[k];
  const result = new Float32Array(rows);
  for (let row = 0, at = k; row < rows; row++, at += columns) {
    const value = values[at] ?? Number.NaN;
    if (scale === undefined) result[row] = value;
    else result[row] = value === MISSING ? Number.NaN : value * scale;
  }
  return result;
}

export interface Unpacked {
  run: string;
  info: RunInfo;
  frames: Frame[];
}

/** A block as it travels: what the messages of a kernel would hold, with differences undone. */
export interface Block {
  run: string;
  info: RunHeader;
  headers: FrameHeader[];
  body: ArrayBuffer;
  /** Views of the body. */
  frames: Frame[];
}

/** A whole recording out of one block: what a saved notebook and an exported page hold. */
export async function unpack(block: DataView | ArrayBuffer | ArrayBufferView): Promise<Unpacked> {
  const { run, info, body, frames } = await openBlock(block);
  return { run, info: decodeRun(info, body), frames };
}

export async function openBlock(block: DataView | ArrayBuffer | ArrayBufferView): Promise<Block> {
  const raw = await gunzip(copyBody(block));
  const magic = new TextDecoder().decode(new Uint8Array(raw, 0, 4));
  if (magic !== "FSW1") throw new Error(`not a recording: starts with ${JSON.stringify(magic)}`);
  const length = new DataView(raw).getUint32(4, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(raw, 8, length)));
  const body = raw.slice(8 + length);
  const headers = header.frames as FrameHeader[];
  const frames = headers.map((frame) => decodeFrame(frame, body));
  undoDifferences(headers, frames);
  return { run: header.run, info: header.info, headers, body, frames };
}

/** Clouds come as differences, modulo 2^16, from the frame before, which halves them. */
function undoDifferences(headers: FrameHeader[], frames: Frame[]): void {
  headers.forEach(({ layout }, index) => {
    for (const { name, delta } of layout) {
      const values = frames[index]?.arrays[name];
      const before = frames[index - 1]?.arrays[name];
      if (!delta || !values || !before) continue;
      for (let at = 0; at < values.length; at++) {
        values[at] = (values[at] ?? 0) + (before[at] ?? 0);
      }
    }
  });
}
