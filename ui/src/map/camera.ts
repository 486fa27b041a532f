// What part of the picture is in view.
export interface Camera {
  /** World coordinates of the view's upper left corner. */
  x: number;
  y: number;
  scale: number;
}

const MIN_SCALE = 0.04;
const MAX_SCALE = 2;

export interface Rect {
  x: number;
  y: number;
  width: number;
  height: number;
}

export function fit(content: Rect, width: number, height: number, margin = 28): Camera {
  if (content.width <= 0 || content.height <= 0) return { x: -width / 2, y: -height / 2, scale: 1 };
  const inner = Math.min((width - 2 * margin) / content.width, (height - 2 * margin) / content.height);
  const scale = Math.min(1.1, Math.max(MIN_SCALE, inner));
  return { x: content.x + content.width / 2 - width / 2 / scale, y: content.y + content.height / 2 - height / 2 / scale, scale };
}

/** Zooms so that what is under the pointer stays there. */
export function zoomAt(camera: Camera, px: number, py: number, factor: number): Camera {
  const scale = Math.min(MAX_SCALE, Math.max(MIN_SCALE, camera.scale * factor));
  return { x: camera.x + px / camera.scale - px / scale, y: camera.y + py / camera.scale - py / scale, scale };
}

export function overlaps(a: Rect, b: Rect): boolean {
  return a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;
}
