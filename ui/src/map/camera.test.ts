import { describe, expect, test } from "vitest";
import { type Rect, fit, overlaps } from "./camera";

const WIDTH = 1000;
const HEIGHT = 500;
const FLOATING = [{ x: 14, y: HEIGHT - 106, width: 32, height: 92 }, { x: 58, y: HEIGHT - 44, width: 250, height: 30 }];

function shown(content: Rect, floating: readonly Rect[]): Rect {
  const { x, y, scale } = fit(content, WIDTH, HEIGHT, floating);
  return { x: (content.x - x) * scale, y: (content.y - y) * scale, width: content.width * scale, height: content.height * scale };
}

describe("all in view", () => {
  test("in the middle, as large as it can be", () => {
    const at = shown({ x: 100, y: -50, width: 4000, height: 400 }, []);
    expect(at.x).toBeCloseTo(28);
    expect(at.width).toBeCloseTo(WIDTH - 56);
    expect(at.y + at.height / 2).toBeCloseTo(HEIGHT / 2);
  });

  test.each([[4000, 400], [2000, 1000], [800, 2000], [3000, 1400], [20, 20], [300, 440]])("%i x %i: nothing of it under what floats over it", (width, height) => {
    const at = shown({ x: 0, y: 0, width, height }, FLOATING);
    for (const each of FLOATING) expect(overlaps(each, at)).toBe(false);
    expect(at.x).toBeGreaterThanOrEqual(0);
    expect(at.y).toBeGreaterThanOrEqual(0);
    expect(at.x + at.width).toBeLessThanOrEqual(WIDTH);
    expect(at.y + at.height).toBeLessThanOrEqual(HEIGHT);
  });

  test("what floats costs nothing where nothing is under it", () => {
    const content = { x: 0, y: 0, width: 4000, height: 400 };
    expect(fit(content, WIDTH, HEIGHT, FLOATING)).toEqual(fit(content, WIDTH, HEIGHT));
  });

  test("a view that is too small for both shows the content", () => {
    expect(fit({ x: 0, y: 0, width: 100, height: 100 }, 90, 100, [{ x: 0, y: 0, width: 90, height: 100 }]).scale).toBeGreaterThan(0);
  });
});
