import { afterEach, expect, test, vi } from "vitest";
import type { Plot } from "../src/bokeh/plot";
import type { Scene } from "../src/data/scene";
import type { Run } from "../src/data/store";
import type { Frame } from "../src/data/wire";
import { picture, wrapped } from "../src/panels/picture";
import { provenance } from "../src/panels/words";
import { fileName } from "../src/ui/save";

afterEach(() => vi.restoreAllMocks());

test("a picture says epoch, settings, seed, versions and what to cite, in lines that fit", () => {
  const told = "model=mlp · seed=3 · fswidget 0.1.0 · method of arXiv:2410.04264";
  const run = { info: { provenance: told } } as Run;
  const line = provenance(run, { epoch: 2.5 } as Frame);
  expect(line).toBe(`epoch 2.5 · ${told}`);
  const lines = wrapped(line, ({ length }) => length < 30);
  expect(lines.join(" · ")).toBe(line);
  expect(lines.length).toBeGreaterThan(1);
  expect(lines.every(({ length }) => length < 31)).toBe(true);
});

test("a file is called after its run, the epoch and what it shows", () => {
  const scene = { run: { info: { title: "mlp on digits, p = 64" } }, frame: { epoch: 2.5 } };
  expect(fileName(scene as Scene, "history", "png")).toBe(
    "mlp-on-digits-p-64-epoch-2.5-history.png",
  );
});

test("a picture at twice its size is drawn of lines, not of the screen's points", async () => {
  const drawn = vi.fn();
  const context = { measureText: () => ({ width: 9 }), scale: vi.fn(), drawImage: drawn };
  for (const name of ["fillRect", "fillText"]) Object.assign(context, { [name]: () => {} });
  const canvas = HTMLCanvasElement.prototype;
  vi.spyOn(canvas, "getContext").mockReturnValue(context as unknown as null);
  vi.spyOn(canvas, "toBlob").mockImplementation((done) => done(new Blob(["png"])));
  Object.assign(HTMLImageElement.prototype, { decode: async () => {} });
  const image = async (type: string) => new Blob([type === "svg" ? "<svg/>" : "points"]);
  await picture({ image } as unknown as Plot, document.createElement("div"), [], "Title", "note");
  expect(context.scale).toHaveBeenCalledWith(2, 2);
  expect(drawn.mock.calls[0]?.[0].src).toContain("data:image/svg+xml,%3Csvg");
});
