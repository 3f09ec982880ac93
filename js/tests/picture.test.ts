import { expect, test } from "vitest";
import type { Run } from "../src/data/store";
import type { Frame } from "../src/data/wire";
import { wrapped } from "../src/panels/picture";
import { provenance } from "../src/panels/words";

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
