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

const MARGIN = 28;
const GAP = 6;

/** All of the content, as large as it can be; nothing of it under what floats over the lower left corner, given in pixels of the view. */
export function fit(content: Rect, width: number, height: number, floating: readonly Rect[] = []): Camera {
  if (content.width <= 0 || content.height <= 0) return { x: -width / 2, y: -height / 2, scale: 1 };
  const within = (left: number, bottom: number): Camera => {
    const inner = Math.min((width - left - MARGIN) / content.width, (height - MARGIN - bottom) / content.height);
    const scale = Math.min(1.1, Math.max(MIN_SCALE, inner));
    return {
      x: content.x + content.width / 2 - (width + left - MARGIN) / 2 / scale,
      y: content.y + content.height / 2 - (height - bottom + MARGIN) / 2 / scale,
      scale,
    };
  };
  let best: Camera | null = null;
  for (const left of [MARGIN, ...floating.map((each) => each.x + each.width + GAP)]) {
    for (const bottom of [MARGIN, ...floating.map((each) => height - each.y + GAP)]) {
      const camera = within(left, bottom);
      const { scale } = camera;
      const shown = { x: (content.x - camera.x) * scale, y: (content.y - camera.y) * scale, width: content.width * scale, height: content.height * scale };
      if ((best === null || scale > best.scale) && !floating.some((each) => overlaps(each, shown))) best = camera;
    }
  }
  return best ?? within(MARGIN, MARGIN);
}

/** Zooms so that what is under the pointer stays there. */
export function zoomAt(camera: Camera, px: number, py: number, factor: number): Camera {
  const scale = Math.min(MAX_SCALE, Math.max(MIN_SCALE, camera.scale * factor));
  return { x: camera.x + px / camera.scale - px / scale, y: camera.y + py / camera.scale - py / scale, scale };
}

export function overlaps(a: Rect, b: Rect): boolean {
  return a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;
}
