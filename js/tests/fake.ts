// Stand-ins for what surrounds the widget: hosts' models, frames, and BokehJS.

import { readFileSync } from "node:fs";
import type { ArrayLayout, FrameHeader, RunHeader } from "../src/data/wire";
import type { Handler, Model } from "../src/host/model";

/** A model that calls change handlers as a host does. */
export class FakeModel implements Model {
  readonly sent: Record<string, unknown>[] = [];
  saves = 0;
  /** What was set and not told since. A host lets a late echo overwrite it. */
  readonly untold = new Set<string>();
  private readonly handlers = new Map<string, Set<Handler>>();

  constructor(
    readonly state: Record<string, unknown>,
    private readonly host: "jupyter" | "marimo" = "jupyter",
  ) {}

  get(name: string): unknown {
    return this.state[name];
  }

  set(name: string, value: unknown): void {
    if (Object.is(this.state[name], value)) return;
    this.state[name] = value;
    this.untold.add(name);
    // Backbone hands over the model and the value, marimo the value alone.
    if (this.host === "jupyter") this.emit(`change:${name}`, this, value, {});
    else this.emit(`change:${name}`, value);
  }

  save_changes(): void {
    this.saves += 1;
    this.untold.clear();
  }

  on(event: string, handler: Handler): void {
    const handlers = this.handlers.get(event) ?? new Set();
    this.handlers.set(event, handlers.add(handler));
  }

  off(event: string, handler: Handler): void {
    if (!handler) throw new Error("off without a handler takes other views' handlers along");
    this.handlers.get(event)?.delete(handler);
  }

  send(content: unknown): void {
    this.sent.push(content as Record<string, unknown>);
  }

  emit(event: string, ...args: unknown[]): void {
    for (const handler of [...(this.handlers.get(event) ?? [])]) handler(...args);
  }

  message(content: unknown, body: ArrayBuffer = new ArrayBuffer(0)): void {
    this.emit("msg:custom", content, [new DataView(body)]);
  }

  get listeners(): number {
    return [...this.handlers.values()].reduce((sum, handlers) => sum + handlers.size, 0);
  }
}

/** A model as anywidget wraps it anew for every view. */
export function proxy(model: FakeModel): Model {
  return {
    get: (name) => model.get(name),
    set: (name, value) => model.set(name, value),
    save_changes: () => model.save_changes(),
    on: (event, handler) => model.on(event, handler),
    off: (event, handler) => model.off(event, handler),
    send: (content) => model.send(content),
  };
}

export interface Golden {
  run: RunHeader;
  runBody: string;
  frames: FrameHeader[];
  body: string;
  next: number;
  block: string;
  expected: {
    epochs: number[];
    loss: number[];
    regimes: string[];
    eigenvalues: number[];
    projections: number[];
    labels: number[];
  };
}

export function bytes(base64: string): ArrayBuffer {
  return Uint8Array.from(Buffer.from(base64, "base64")).buffer;
}

export function golden(): Golden {
  // From the folder js, where tests run.
  return JSON.parse(readFileSync("../tests/fixtures/golden.json", "utf-8"));
}

type Arrays = Record<string, { values: number[]; shape?: number[]; dtype?: ArrayLayout["dtype"] }>;

/** Lay arrays end to end as fswidget/wire.py does. */
function encode(arrays: Arrays): { layout: ArrayLayout[]; body: ArrayBuffer } {
  const types = {
    float64: Float64Array,
    float32: Float32Array,
    int16: Int16Array,
    uint8: Uint8Array,
  };
  const layout: ArrayLayout[] = [];
  const parts: Uint8Array[] = [];
  let offset = 0;
  for (const [name, { values, shape = [values.length], dtype = "float32" }] of Object.entries(
    arrays,
  )) {
    const data = new Uint8Array(new types[dtype](values).buffer);
    layout.push({ name, dtype, shape, offset });
    const padded = new Uint8Array(Math.ceil(data.length / 8) * 8);
    padded.set(data);
    parts.push(padded);
    offset += padded.length;
  }
  const body = new Uint8Array(offset);
  let at = 0;
  for (const part of parts) {
    body.set(part, at);
    at += part.length;
  }
  return { layout, body: body.buffer };
}

export function runMessage(run: string, info: Partial<RunHeader> = {}, targets?: number[][]) {
  const shape = [targets?.length ?? 0, targets?.[0]?.length ?? 0];
  const { layout, body } = encode({
    labels: { values: [0, 1, 2, 0] },
    ...(targets && { targets: { values: targets.flat(), shape } }),
  });
  const header: RunHeader = {
    config: {},
    task: "cross_entropy",
    num_features: 4,
    num_outputs: 3,
    minimal_features: 3,
    class_names: ["ant", "bee", "cat"],
    layers: [],
    title: "",
    layout,
    ...info,
  };
  return { content: { type: "run", run, info: header }, body };
}

export function frameHeader(
  seq: number,
  previous = seq - 1,
  labels: Record<string, string> = {},
  more: Record<string, number> = {},
  arrays: Record<string, number[] | { values: number[]; shape: number[] }> = {},
) {
  const scalars = { epoch: seq, step: 10 * seq, low_rank_measure: 0.5, used_features: 2, ...more };
  const { layout, body } = encode({
    scalars: { values: Object.values(scalars), dtype: "float64" },
    eigenvalues: { values: [8, 4, 2, 1] },
    quality: { values: [0.2, 0.4, 0.6, 0.8] },
    utilization: { values: [0.25, 0.5, 0.75, 1] },
    projections: {
      values: [100, -100, 5, 200, 0, 5, -300, 50, 5, 0, -32768, 5],
      shape: [4, 3],
      dtype: "int16",
    },
    "projections:scale": { values: [0.01, 0.02, 1] },
    predictions: { values: [0, 1, 1, 0] },
    ...Object.fromEntries(
      Object.entries(arrays).map(([name, given]) => [
        name,
        Array.isArray(given) ? { values: given } : given,
      ]),
    ),
  });
  const header: FrameHeader = {
    seq,
    previous,
    scalars: Object.keys(scalars),
    labels: { regime: "MF", evidence: "because", ...labels },
    layout,
  };
  return { header, body };
}

/** A message of one frame; see `frameHeader`. */
export function frameMessage(run: string, ...given: Parameters<typeof frameHeader>) {
  const { header, body } = frameHeader(...given);
  return { content: { type: "frames", run, frames: [header] }, body };
}

export function framesMessage(run: string, ...seqs: number[]) {
  const frames: FrameHeader[] = [];
  const bodies: ArrayBuffer[] = [];
  let offset = 0;
  for (const seq of seqs) {
    const { header, body } = frameHeader(seq);
    frames.push({ ...header, offset });
    bodies.push(body);
    offset += body.byteLength;
  }
  const joined = new Uint8Array(offset);
  frames.forEach(({ offset }, at) => {
    joined.set(new Uint8Array(bodies[at] as ArrayBuffer), offset);
  });
  return { content: { type: "frames", run, frames }, body: joined.buffer };
}

export function traits(extra: Record<string, unknown> = {}): Record<string, unknown> {
  const themes = {
    roles: { MF: "#00ff00", EF: "#ff0000", ink: "#000000", accent: "#0000ff", ghost: "#ff00ff" },
    lines: ["#111111", "#222222"],
    classes: [
      ["#a00000", "#500000"],
      ["#00a000", "#005000"],
    ],
    veil: 0.14,
  };
  const names = [
    "spectrum",
    "spectrum_linear",
    "cumulative",
    "projections",
    "history",
    "layers",
    "intensity",
  ];
  return {
    _bokehjs: new DataView(new ArrayBuffer(7)),
    _figures: JSON.stringify({
      figures: Object.fromEntries(names.map((name) => [name, { name }])),
      style: {
        themes: { light: themes, dark: themes },
        scalars: {
          low_rank_measure: ["D_LR", "0 rich to 1 lazy"],
          low_rank_measure_debiased: ["D_LR", "0 rich to 1 lazy"],
          used_features: ["features", "k95"],
        },
        labels: { low_rank_measure: "D_LR plain", low_rank_measure_debiased: "D_LR" },
        bands: {
          low_rank_measure: "shares",
          low_rank_measure_debiased: "shares",
          test_accuracy: "shares",
          test_r2: "shares",
          used_features: "features",
          loss: "others",
        },
        heights: { shares: 0.33, features: 0.23, others: 0.2 },
        strips: 0.1,
        gap: 0.07,
        curves: {
          low_rank_measure_debiased: "accent",
          test_accuracy: "EF",
          test_r2: "EF",
          used_features: "accent",
          loss: "MF",
        },
        estimates: ["low_rank_measure_debiased", "low_rank_measure"],
        class_markers: ["circle", "square"],
        value_colors: ["#000000", "#ffffff"],
        level: 0.95,
        floor: 1e-8,
      },
      words: {
        panels: { spectrum: ["Spectrum", "How strongly each feature fires."] },
        regimes: {
          MF: ["MF", "Minimal features", "About as many features as outputs are in use."],
          UNTRAINED: ["–", "Nothing learned yet", "The network is as it was drawn."],
          CONSTANT: ["–", "Features are constant", "None of them varies."],
          UNDEFINED: ["–", "Not defined", "All features are needed."],
          LAZY: ["LAZY", "Features hardly moved", "The outputs learned."],
        },
        still: {
          MF: "Still minimal features",
          UNTRAINED: "Still nothing learned yet",
          LAZY: "Features still hardly moved",
        },
        kept: "The label is still",
        welcome: "A network trains.",
        tour: [
          [".fsw-run", "Train", "Start trains."],
          ["[data-panel=spectrum]", "How strong?", "Strongest first."],
        ],
        measures: { low_rank_measure_debiased: "the bias is removed" },
      },
    }),
    _packed: new DataView(new ArrayBuffer(0)),
    _controls: "[]",
    _presets: "[]",
    _runs: "[]",
    _can_train: true,
    _can_control: false,
    run: "",
    state: "idle",
    message: "",
    error_text: "",
    num_frames: 0,
    progress: {},
    epoch: null,
    captions: true,
    theme: "light",
    ...extra,
  };
}

/** What a figure was told, in place of BokehJS, which needs a canvas. */
export class FakePlot {
  paints = 0;
  readonly models = new Map<string, Record<string, unknown>>();

  constructor(readonly name: string) {}

  find(name: string): Record<string, unknown> {
    let model = this.models.get(name);
    if (!model) {
      const made: Record<string, unknown> = { name, selected: { indices: [], change: signal } };
      made.setv = (attributes: object) => Object.assign(made, attributes);
      model = made;
      this.models.set(name, made);
    }
    return model;
  }

  data(name: string): Record<string, ArrayLike<number>> {
    return this.find(name).data as Record<string, ArrayLike<number>>;
  }
}

const signal = { connect: () => {} };

const SIDES = ["left", "right", "top", "bottom"];

/** Put a BokehJS that only remembers where the widget looks for it; returns its figures. */
export function fakeBokeh(size = 7): FakePlot[] {
  const plots: FakePlot[] = [];
  const axis = () => {
    const made: Record<string, unknown> = {};
    made.setv = (attributes: object) => Object.assign(made, attributes);
    return made;
  };
  const bokeh = {
    documents: [] as unknown[],
    embed: {
      embed_item: async ({ name }: { name: string }) => {
        const plot = new FakePlot(name);
        plots.push(plot);
        const document = {
          get_model_by_name: (model: string) => plot.find(model),
          clear: () => {},
        };
        bokeh.documents.push(document);
        const scale = { compute: (value: number) => value, invert: (value: number) => value };
        const view = {
          model: {
            ...{ document, left: [axis()], below: [axis()], center: [] },
            ...Object.fromEntries(SIDES.map((side) => [`min_border_${side}`, 20])),
            setv: (attributes: object) => Object.assign(view.model, attributes),
          } as Record<string, unknown>,
          frame: {
            bbox: { left: 0, right: 400, top: 0, bottom: 300 },
            x_scale: scale,
            y_scale: scale,
          },
          pause: () => {},
          unpause: () => {},
          paint: () => {
            plot.paints += 1;
          },
          repaint: () => {
            plot.paints += 1;
          },
        };
        return { roots: [view], clear: () => {} };
      },
    },
  };
  const page = globalThis as unknown as Record<symbol, unknown>;
  page[Symbol.for(`fswidget.bokehjs:${size}`)] = Promise.resolve(bokeh);
  return plots;
}
