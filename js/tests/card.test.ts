import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Cleanup } from "../src/host/dom";
import { HoverCard } from "../src/panels/card";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
  document.body.replaceChildren();
});

function point(target: EventTarget, type: string, pointerType: string): void {
  target.dispatchEvent(new PointerEvent(type, { bubbles: true, composed: true, pointerType }));
  vi.advanceTimersByTime(20);
}

test("a tap does what hovering does, and stays until the next one elsewhere", () => {
  const body = document.createElement("div");
  document.body.append(body);
  const cleanup = new Cleanup();
  const card = new HoverCard(
    body,
    () => ({ x: 1, y: 2, title: "k = 3", rows: ["ρ 0.5"] }),
    cleanup,
  );
  expect(card.root.hidden).toBe(true);
  point(body, "pointermove", "mouse");
  expect(card.root.hidden).toBe(false);
  expect(card.root.textContent).toContain("k = 3");
  point(body, "pointerleave", "mouse");
  expect(card.root.hidden).toBe(true);
  point(body, "pointerdown", "touch");
  point(body, "pointerleave", "touch"); // the finger is lifted
  expect(card.root.hidden).toBe(false);
  point(document, "pointerdown", "touch");
  expect(card.root.hidden).toBe(true);
  cleanup.run();
});
