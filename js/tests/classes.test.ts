import { expect, test } from "vitest";
import type { RunInfo } from "../src/data/wire";
import { sampleName } from "../src/panels/classes";

function tokens(values: number[], columns: number, config: Record<string, unknown>): RunInfo {
  return { tokens: { values: Float32Array.from(values), columns }, config } as unknown as RunInfo;
}

test("pairs of modular arithmetic are named, other tokens are listed", () => {
  const config = { dataset: "modular", operation: "subtract", modulus: 13 };
  const info = tokens([3, 13, 7, 14, 12, 13, 0, 14], 4, config);
  expect([0, 1].map((at) => sampleName(info, at))).toEqual(["3 − 7 mod 13", "12 − 0 mod 13"]);
  expect(sampleName(tokens([5, 2, 9], 3, {}), 0)).toBe("5 2 9");
  expect(sampleName({ tokens: null } as RunInfo, 0)).toBe("");
});
