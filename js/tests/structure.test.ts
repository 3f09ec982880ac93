// @vitest-environment node
// The plan of the house: imports point one way, and nothing is too long to read.

import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const SOURCE = fileURLToPath(new URL("../src", import.meta.url));

/** A folder may use those after it, and itself; `index.ts` uses all of them. */
const ROOMS = ["ui", "panels", "controls", "bokeh", "data", "host"];
const LINES = 400;

const files = readdirSync(SOURCE, { recursive: true, encoding: "utf-8" })
  .filter((name) => name.endsWith(".ts"))
  .map((name) => ({ name, text: readFileSync(join(SOURCE, name), "utf-8") }));

/** The files that a file imports, types too. */
function imports({ name, text }: { name: string; text: string }): string[] {
  const named = [...text.matchAll(/(?:from|import)\s*\(?"(\.[^"]+)"/g)].flatMap(
    ([, to]) => to ?? [],
  );
  return named.map((to) => `${relative(SOURCE, join(SOURCE, dirname(name), to))}.ts`);
}

const room = (name: string) => (name.includes("/") ? name.split("/", 1).join() : "");
const place = (name: string) => ["", ...ROOMS].indexOf(room(name));

test("every file stands in a room that the plan names", () => {
  expect(files.length).toBeGreaterThan(20);
  const elsewhere = files.filter(
    ({ name }) => place(name) < 0 || (!room(name) && name !== "index.ts"),
  );
  expect(elsewhere.map(({ name }) => name)).toEqual([]);
});

test("imports point down the plan only", () => {
  const arrows = files.flatMap((file) => imports(file).map((to) => [file.name, to] as const));
  const known = new Set(files.map(({ name }) => name));
  expect(arrows.length).toBeGreaterThan(50);
  expect(arrows.filter(([, to]) => !known.has(to))).toEqual([]);
  expect(arrows.filter(([from, to]) => place(to) < place(from))).toEqual([]);
});

test("no file imports itself, by whatever way", () => {
  const graph = new Map(files.map((file) => [file.name, imports(file)]));
  const circles: string[][] = [];
  const walk = (name: string, path: string[]) => {
    if (path.includes(name)) circles.push([...path.slice(path.indexOf(name)), name]);
    else for (const to of graph.get(name) ?? []) walk(to, [...path, name]);
  };
  for (const { name } of files) walk(name, []);
  expect(circles).toEqual([]);
});

test(`no file is longer than ${LINES} lines`, () => {
  const long = files.filter(({ text }) => text.split("\n").length > LINES);
  expect(long.map(({ name }) => name)).toEqual([]);
});
