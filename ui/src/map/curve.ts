// The line of an edge: from the caller's side to the port's row, around what stands between as little as possible.
import { HEADER, PORT_ROW, type Placed } from "../model/layout";
import type { Rect } from "./camera";

export interface Curve {
  x0: number;
  y0: number;
  x1: number;
  y1: number;
  x2: number;
  y2: number;
  x3: number;
  y3: number;
  bounds: Rect;
  /** Where the arrow points: 1 to the right, -1 to the left. */
  heading: 1 | -1;
}

function rowOf(placed: Placed, portKey: string): number {
  if (placed.height <= HEADER) return placed.height / 2;
  const index = placed.ports.findIndex((port) => port.key === portKey);
  return HEADER + (index >= 0 ? index : placed.ports.length) * PORT_ROW + PORT_ROW / 2 - 1;
}

/** shift: of edges to the same port, so that they do not hide each other. */
export function curveOf(source: Placed, target: Placed, portKey: string, shift: number, self: boolean): Curve {
  const sourceY = source.y + Math.min(HEADER, source.height) / 2 + shift * 0.6;
  const targetY = target.y + rowOf(target, portKey) + shift;
  const right = source.x + source.width;
  let x0: number, x1: number, x2: number, x3: number;
  let heading: 1 | -1 = 1;
  if (self) {
    x0 = right;
    x3 = right + 1;
    x1 = x2 = right + 46;
    heading = -1;
  } else if (target.x >= right + 8) {
    x0 = right;
    x3 = target.x;
    const pull = Math.max(30, Math.min(180, (x3 - x0) * 0.5));
    x1 = x0 + pull;
    x2 = x3 - pull;
  } else if (target.x + target.width <= source.x - 8) {
    x0 = source.x;
    x3 = target.x + target.width;
    const pull = Math.max(30, Math.min(180, (x0 - x3) * 0.5));
    x1 = x0 - pull;
    x2 = x3 + pull;
    heading = -1;
  } else {
    // One above the other: out to the left and back in.
    x0 = source.x;
    x3 = target.x;
    const pull = 34 + Math.min(40, Math.abs(targetY - sourceY) * 0.12);
    x1 = x0 - pull;
    x2 = x3 - pull;
  }
  const left = Math.min(x0, x1, x2, x3);
  const top = Math.min(sourceY, targetY);
  return {
    x0, y0: sourceY, x1, y1: sourceY, x2, y2: targetY, x3, y3: targetY, heading,
    bounds: { x: left, y: top - 2, width: Math.max(x0, x1, x2, x3) - left, height: Math.abs(targetY - sourceY) + 4 },
  };
}

export function pointAt(curve: Curve, t: number): { x: number; y: number } {
  const u = 1 - t;
  const a = u * u * u, b = 3 * u * u * t, c = 3 * u * t * t, d = t * t * t;
  return { x: a * curve.x0 + b * curve.x1 + c * curve.x2 + d * curve.x3, y: a * curve.y0 + b * curve.y1 + c * curve.y2 + d * curve.y3 };
}

export function distanceTo(curve: Curve, x: number, y: number): number {
  let best = Infinity;
  let previous = pointAt(curve, 0);
  for (let step = 1; step <= 20; step++) {
    const point = pointAt(curve, step / 20);
    const dx = point.x - previous.x, dy = point.y - previous.y;
    const length = dx * dx + dy * dy;
    const along = length === 0 ? 0 : Math.max(0, Math.min(1, ((x - previous.x) * dx + (y - previous.y) * dy) / length));
    best = Math.min(best, Math.hypot(x - previous.x - along * dx, y - previous.y - along * dy));
    previous = point;
  }
  return best;
}
