import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    environment: "jsdom",
    include: ["tests/**/*.test.ts"],
    testTimeout: 60_000,
    // No module holds state that one file could leave to another; a page for each takes longer than its tests.
    isolate: false,
  },
});
