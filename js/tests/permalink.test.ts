// @vitest-environment node
import { readFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { PageModel } from "../src/host/page";
import { permalink, readLink, take, writeLink } from "../src/host/permalink";

// tests/unit/test_links.py reads the same.
const CASES: [Record<string, unknown>, string][] = JSON.parse(
  readFileSync(new URL("../../tests/fixtures/links.json", import.meta.url), "utf-8"),
);

it.each(CASES)("writes %j as a link and reads it back", (state, link) => {
  expect(writeLink(state)).toBe(link);
  expect(readLink(link)).toEqual(state);
  expect(readLink(`https://example.org/explore.html${link}`)).toEqual(state);
});

it("reads what is no link as it is written", () => {
  expect(readLink("#a=NaN&b&=c&d=%zz")).toEqual({ a: "NaN", "": "c", d: "%zz" });
});

/** A window with an address. */
function addressed(hash: string) {
  const frame = Object.assign(new EventTarget(), {
    location: { hash },
    history: {
      replaceState: (_: unknown, __: string, to: string) => {
        frame.location.hash = to.trim();
      },
    },
  });
  return frame;
}

function made(state: Record<string, unknown> = {}) {
  const controls = JSON.stringify([{ name: "width" }, { name: "seed" }]);
  const places = { epoch: null, axes: [2, 3], panel: "", hide: [], lock: [] };
  return new PageModel({ _controls: controls, width: 8, seed: "all", ...places, ...state });
}

describe("permalink", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it("opens where the address says, and follows", () => {
    const model = made({ theme: "auto" });
    const frame = addressed(
      "#epoch=3&width=16&theme=dark&panel=spectrum&hide=seed&lock=width,seed&axes=2,4",
    );
    const stop = permalink(model, ["width", "seed"], frame as unknown as Window);
    const shown = ["epoch", "width", "theme", "panel", "hide", "lock", "axes"];
    expect(shown.map((name) => model.get(name))).toEqual([
      3,
      16,
      "auto",
      "spectrum",
      ["seed"],
      ["width", "seed"],
      [2, 4],
    ]);
    for (const epoch of [4, 5]) model.set("epoch", epoch);
    expect(frame.location.hash).toContain("epoch=3"); // not at once: browsers bear only so many
    vi.runAllTimers();
    expect(frame.location.hash).toBe(
      "#width=16&seed=all&epoch=5&axes=2,4&panel=spectrum&hide=seed&lock=width,seed",
    );
    stop();
    model.set("epoch", 7);
    frame.location.hash = "#epoch=1";
    frame.dispatchEvent(new Event("hashchange"));
    expect(model.get("epoch")).toBe(7);
  });

  it("writes of what is no setting only what the page was not made with", () => {
    const model = made({ epoch: 0, hide: ["seed"] });
    const frame = addressed("");
    permalink(model, ["width", "seed"], frame as unknown as Window);
    model.set("width", 16);
    vi.runAllTimers();
    expect(frame.location.hash).toBe("#width=16&seed=all");
    model.set("epoch", null); // the newest, which is not where the page opens
    vi.runAllTimers();
    expect(frame.location.hash).toBe("#width=16&seed=all&epoch=null");
  });

  it("follows an address that somebody changes, and goes back with it", () => {
    const model = made();
    const frame = addressed("#panel=history");
    permalink(model, ["width", "seed"], frame as unknown as Window);
    frame.location.hash = "#width=16&epoch=2";
    frame.dispatchEvent(new Event("hashchange"));
    expect([model.get("width"), model.get("epoch"), model.get("panel")]).toEqual([16, 2, ""]);
  });

  it("takes nothing impossible", () => {
    const model = made();
    const saved = vi.spyOn(model, "save_changes");
    take(model, { epoch: -1, axes: [1], panel: 3, hide: [4], lock: { a: 1 }, other: 3, width: 16 });
    const shown = ["epoch", "axes", "panel", "hide", "lock", "other", "width"];
    expect(shown.map((name) => model.get(name))).toEqual([null, [2, 3], "", [], [], undefined, 16]);
    expect(saved).toHaveBeenCalledOnce();
  });
});
