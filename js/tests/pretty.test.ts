// @vitest-environment node

import { expect, test } from "vitest";
import { pretty } from "../src/panels/history";

test("scalars have the field's names", () => {
  expect(pretty("low_rank_measure")).toBe("D_LR");
  expect(pretty("low_rank_measure_debiased")).toBe("D_LR debiased");
  expect(pretty("used_features_held_out")).toBe("k95 held out");
  expect(pretty("test_accuracy")).toBe("test accuracy");
});
