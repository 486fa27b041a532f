// Draws a scene on two canvases: the picture, redrawn when something changes, and what moves on top of it.
import { type Box, HEADER, PORT_ROW, type Placed } from "../model/layout";
import { type Camera, type Rect, fit, overlaps } from "./camera";
import { type Curve, curveOf, distanceTo, pointAt } from "./curve";
import { icon } from "./icons";
import type { Palette } from "./palette";
import type { EdgeTone, Scene, SceneEdge, SceneNode } from "./scene";

interface Drawn {
  edge: SceneEdge;
  curve: Curve;
}

export type Hit = { kind: "node"; id: string } | { kind: "edge"; id: string } | { kind: "box"; group: string } | null;

const FONT = '"Inter Variable", Inter, system-ui, sans-serif';
const FAR = 0.5; // below, texts of cards cannot be read
const MOST_PULSES = 140;
const MOVE_MS = 320;
const HEAVY = 1500; // things to draw: from there on a picture is kept and moved, not drawn for every frame
const MARGIN = 200; // of the kept picture around what is in view, in pixels
const SPOTS = [0.5, 0.44, 0.56, 0.38, 0.62, 0.32, 0.68, 0.26, 0.74, 0.2, 0.8, 0.15, 0.85, 0.11, 0.89, 0.08, 0.92]; // of labels on lines, the best first
const SETTLE_MS = 120; // a heavy picture is drawn sharp again when zooming has paused so long

export class Renderer {
  camera: Camera = { x: 0, y: 0, scale: 1 };
  selected = "";
  hovered = "";
  /** Edge or node ids to show while all else fades; null shows all. */
  focus: ReadonlySet<string> | null = null;
  private scene: Scene | null = null;
  private palette!: Palette;
  private width = 0;
  private height = 0;
  private ratio = 1;
  private readonly base: CanvasRenderingContext2D;
  private readonly top: CanvasRenderingContext2D;
  private drawn: Drawn[] = [];
  private edgeIds = new Set<string>();
  private moving: { from: Map<string, { x: number; y: number }>; boxes: Map<string, Box>; start: number } | null = null;
  private positions = new Map<string, Placed>();
  private boxes: Box[] = [];
  private trimmed = new Map<string, string>();
  private widths = new Map<string, number>(); // of titles, in parts of the size
  private kept: { canvas: HTMLCanvasElement; camera: Camera; key: string } | null = null;
  private version = 0;
  private topEmpty = true;
  private zoomedAt = 0;
  /** The person has moved the view: it is not taken away again. */
  steered = false;
  still = false;

  constructor(
    private readonly baseCanvas: HTMLCanvasElement,
    private readonly topCanvas: HTMLCanvasElement,
  ) {
    this.base = baseCanvas.getContext("2d")!;
    this.top = topCanvas.getContext("2d")!;
  }

  resize(width: number, height: number, wantedRatio: number): void {
    // Twice as sharp is as sharp as anybody sees; more costs frames.
    const ratio = Math.min(wantedRatio, 2);
    if (width === this.width && height === this.height && ratio === this.ratio) return;
    this.width = width;
    this.height = height;
    this.ratio = ratio;
    for (const canvas of [this.baseCanvas, this.topCanvas]) {
      canvas.width = Math.round(width * this.ratio);
      canvas.height = Math.round(height * this.ratio);
      canvas.style.width = `${width}px`;
      canvas.style.height = `${height}px`;
    }
    if (!this.steered) this.fit();
  }

  setPalette(palette: Palette): void {
    this.palette = palette;
    this.version++;
  }

  get heavy(): boolean {
    return this.drawn.length + this.positions.size > HEAVY;
  }

  setScene(scene: Scene): void {
    const relaid = this.scene?.layout !== scene.layout;
    const first = this.scene === null || this.scene.nodes.size === 0;
    this.scene = scene;
    if (relaid) {
      const small = scene.nodes.size <= 300;
      if (!first && small && !this.still) {
        this.moving = {
          from: new Map([...this.positions].map(([id, at]) => [id, { x: at.x, y: at.y }])),
          boxes: new Map(this.boxes.map((box) => [box.group, box])),
          start: performance.now(),
        };
      }
      this.place(first || !small ? 1 : this.moving ? 0 : 1);
      if (!this.steered) this.fit();
    }
    this.route();
  }

  get content(): Rect {
    const layout = this.scene?.layout;
    return { x: 0, y: 0, width: layout?.width ?? 0, height: layout?.height ?? 0 };
  }

  /** The buttons, and the legend beside them (style/page.css), which a narrow view does not have. */
  private floating(): Rect[] {
    const buttons = { x: 14, y: this.height - 106, width: 32, height: 92 };
    return this.width > 700 ? [buttons, { x: 58, y: this.height - 44, width: 270, height: 30 }] : [buttons];
  }

  fit(): void {
    if (!this.width) return;
    this.camera = fit(this.content, this.width, this.height, this.floating());
    this.steered = false;
  }

  /** Brings a node into view, when it is not. */
  reveal(id: string): void {
    const at = this.positions.get(id);
    if (!at || !this.width) return;
    const view = this.view();
    const margin = 24 / this.camera.scale;
    let { x, y } = this.camera;
    let { scale } = this.camera;
    if (scale < 0.35) {
      scale = 0.7;
      x = at.x + at.width / 2 - this.width / 2 / scale;
      y = at.y + at.height / 2 - this.height / 2 / scale;
    } else {
      if (at.x < view.x + margin) x = at.x - margin;
      if (at.x + at.width > view.x + view.width - margin) x = at.x + at.width + margin - view.width;
      if (at.y < view.y + margin) y = at.y - margin;
      if (at.y + at.height > view.y + view.height - margin) y = at.y + at.height + margin - view.height;
    }
    if (x !== this.camera.x || y !== this.camera.y) {
      this.camera = { x, y, scale };
      this.steered = true;
    }
  }

  positionOf(id: string): Placed | undefined {
    return this.positions.get(id);
  }

  /** Texts were measured with another font. */
  forgetTexts(): void {
    this.version++;
    this.trimmed.clear();
    this.widths.clear();
  }

  get placedIds(): Iterable<string> {
    return this.positions.keys();
  }

  private view(): Rect {
    const { x, y, scale } = this.camera;
    return { x, y, width: this.width / scale, height: this.height / scale };
  }

  /** Where things are on their way from the last layout to this one; 1 is there. */
  private place(progress: number): void {
    const layout = this.scene!.layout;
    if (progress >= 1 || !this.moving) {
      this.positions = layout.placed;
      this.boxes = layout.boxes;
      this.moving = null;
      return;
    }
    const eased = 1 - (1 - progress) ** 3;
    this.positions = new Map();
    for (const [id, to] of layout.placed) {
      const from = this.moving.from.get(id);
      this.positions.set(id, from ? { ...to, x: from.x + (to.x - from.x) * eased, y: from.y + (to.y - from.y) * eased } : to);
    }
    this.boxes = layout.boxes.map((to) => {
      const from = this.moving!.boxes.get(to.group);
      if (!from) return to;
      const mix = (a: number, b: number) => a + (b - a) * eased;
      return { group: to.group, x: mix(from.x, to.x), y: mix(from.y, to.y), width: mix(from.width, to.width), height: mix(from.height, to.height) };
    });
  }

  private route(): void {
    this.version++;
    const beside = new Map<string, number>();
    this.drawn = [];
    for (const edge of this.scene!.edges) {
      const source = this.positions.get(edge.source);
      const target = this.positions.get(edge.target);
      if (!source || !target) continue;
      const key = `${edge.source}>${edge.target}>${edge.portKey}`;
      const index = beside.get(key) ?? 0;
      beside.set(key, index + 1);
      const dense = this.scene!.layout.dense;
      this.drawn.push({ edge, curve: curveOf(source, target, dense ? "" : edge.portKey, index * (dense ? 3 : 6), edge.source === edge.target) });
    }
    this.edgeIds = new Set(this.drawn.map(({ edge }) => edge.id));
  }

  hit(px: number, py: number): Hit {
    const x = this.camera.x + px / this.camera.scale;
    const y = this.camera.y + py / this.camera.scale;
    for (const [id, at] of this.positions) {
      if (x >= at.x && x <= at.x + at.width && y >= at.y && y <= at.y + at.height) return { kind: "node", id };
    }
    const near = 7 / this.camera.scale;
    let best: Drawn | null = null;
    let distance = near;
    for (const drawn of this.drawn) {
      const { bounds } = drawn.curve;
      if (x < bounds.x - near || x > bounds.x + bounds.width + near || y < bounds.y - near || y > bounds.y + bounds.height + near) continue;
      const away = distanceTo(drawn.curve, x, y) - (drawn.edge.loud ? 1 / this.camera.scale : 0);
      if (away < distance) {
        distance = away;
        best = drawn;
      }
    }
    if (best) return { kind: "edge", id: best.edge.id };
    for (const box of this.boxes) {
      if (x >= box.x && x <= box.x + box.width && y >= box.y && y <= box.y + Math.max(30, 22 / this.camera.scale)) return { kind: "box", group: box.group };
    }
    return null;
  }

  /** True while things are moving to their places: draw again. */
  draw(now: number): boolean {
    if (!this.scene || !this.width) return false;
    if (this.moving) {
      this.place((now - this.moving.start) / MOVE_MS);
      this.route();
    }
    if (this.heavy && !this.moving) return this.drawKept(now);
    this.kept = null;
    this.render(this.base, this.camera, this.width, this.height);
    return this.moving !== null;
  }

  /** Moves the picture that is kept; draws it anew when it is another one, or when it does not reach. */
  private drawKept(now: number): boolean {
    const { camera, ratio } = this;
    const key = [this.version, this.selected, this.focus ? this.focus.size : "", this.width, this.height, ratio].join(" ");
    const dx = this.kept ? (camera.x - this.kept.camera.x) * camera.scale : 0;
    const dy = this.kept ? (camera.y - this.kept.camera.y) * camera.scale : 0;
    const zoomed = this.kept !== null && this.kept.camera.scale !== camera.scale;
    if (zoomed && this.zoomedAt === 0) this.zoomedAt = now;
    const settling = zoomed && now - this.zoomedAt < SETTLE_MS;
    const reaches = Math.abs(dx) <= MARGIN && Math.abs(dy) <= MARGIN;
    if (!this.kept || (!settling && (this.kept.key !== key || zoomed || !reaches))) {
      const canvas = this.kept?.canvas ?? document.createElement("canvas");
      const width = Math.round((this.width + 2 * MARGIN) * ratio);
      const height = Math.round((this.height + 2 * MARGIN) * ratio);
      if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
      const wide = { x: camera.x - MARGIN / camera.scale, y: camera.y - MARGIN / camera.scale, scale: camera.scale };
      this.render(canvas.getContext("2d", { alpha: false })!, wide, this.width + 2 * MARGIN, this.height + 2 * MARGIN);
      this.kept = { canvas, camera, key };
      this.zoomedAt = 0;
    }
    const by = camera.scale / this.kept.camera.scale;
    const left = ((this.kept.camera.x - camera.x) * camera.scale - MARGIN * by) * ratio;
    const up = ((this.kept.camera.y - camera.y) * camera.scale - MARGIN * by) * ratio;
    this.base.setTransform(1, 0, 0, 1, 0, 0);
    if (by < 1) {
      this.base.fillStyle = this.palette.background;
      this.base.fillRect(0, 0, this.baseCanvas.width, this.baseCanvas.height);
    }
    this.base.drawImage(this.kept.canvas, left, up, this.kept.canvas.width * by, this.kept.canvas.height * by);
    return settling;
  }

  private render(c: CanvasRenderingContext2D, camera: Camera, width: number, height: number): void {
    const { x, y, scale } = camera;
    c.setTransform(1, 0, 0, 1, 0, 0);
    c.fillStyle = this.palette.background;
    c.fillRect(0, 0, width * this.ratio + 1, height * this.ratio + 1);
    const s = scale * this.ratio;
    c.setTransform(s, 0, 0, s, -x * s, -y * s);
    const view = { x, y, width: width / scale, height: height / scale };
    this.drawBoxes(c, view);
    this.drawEdges(c, view);
    this.drawNodes(c, view);
    this.drawLabels(c, view);
  }

  private drawBoxes(c: CanvasRenderingContext2D, view: Rect): void {
    const p = this.palette;
    const { scale } = this.camera;
    for (const box of this.boxes) {
      if (!overlaps(box, view)) continue;
      c.beginPath();
      c.roundRect(box.x, box.y, box.width, box.height, 14);
      c.fillStyle = p.box;
      c.fill();
      c.lineWidth = 1 / Math.max(scale, 0.5);
      c.strokeStyle = p.boxBorder;
      c.stroke();
    }
  }

  /** Names of namespaces keep a size that can be read, up to the width of their box. */
  private drawTitles(c: CanvasRenderingContext2D, view: Rect): void {
    const p = this.palette;
    const { scale } = this.camera;
    c.textBaseline = "middle";
    c.textAlign = "left";
    for (const box of this.boxes) {
      if (!overlaps(box, view)) continue;
      const far = scale < (this.scene!.layout.dense ? 0.4 : 0.2);
      const size = far ? Math.min(13 / scale, box.height * 0.42, box.width * 0.17) : Math.min(22, Math.max(12.5, 11.5 / scale));
      c.font = `600 ${size}px ${FONT}`;
      const text = this.trim(c, box.group, box.width - 20, `600 ${size}`);
      if (far) {
        // Seen from afar the name is written over its box.
        c.textAlign = "center";
        c.lineWidth = size * 0.28;
        c.lineJoin = "round";
        c.strokeStyle = p.box;
        c.strokeText(text, box.x + box.width / 2, box.y + box.height / 2);
        c.fillStyle = p.text;
        c.fillText(text, box.x + box.width / 2, box.y + box.height / 2);
        c.textAlign = "left";
      } else {
        c.fillStyle = p.muted;
        c.fillText(text, box.x + 16, box.y + 18.5);
      }
    }
  }

  private color(tone: EdgeTone): string {
    return tone === "plain" ? this.palette.faint : this.palette[tone];
  }

  /** What all else fades for: nothing, when a flow is selected, or what is no longer in the picture. Pointing at things does not redraw a heavy picture. */
  private get active(): string {
    const shown = (id: string) => this.positions.has(id) || this.edgeIds.has(id);
    if (!this.heavy && shown(this.hovered)) return this.hovered;
    return shown(this.selected) ? this.selected : "";
  }

  private lit(edge: SceneEdge): boolean {
    if (this.focus) return this.focus.has(edge.id);
    const active = this.active;
    if (!active) return true;
    return active === edge.id || active === edge.source || active === edge.target;
  }

  private drawEdges(c: CanvasRenderingContext2D, view: Rect): void {
    const { scale } = this.camera;
    const thin = 1 / Math.max(scale, 0.4);
    // Edges of one look are one path: thousands cost what some cost.
    const batches = new Map<string, Drawn[]>();
    for (const drawn of this.drawn) {
      if (!overlaps(drawn.curve.bounds, view)) continue;
      const { edge } = drawn;
      const lit = this.lit(edge);
      const strong = edge.id === this.active;
      const width = strong ? 3 : Math.round((1.1 + Math.min(2.4, Math.log10(1 + edge.rate) * 1.1)) * 2) / 2;
      const key = `${edge.tone} ${edge.dashed ? 1 : 0} ${lit ? 1 : 0} ${width}`;
      const batch = batches.get(key);
      if (batch) batch.push(drawn);
      else batches.set(key, [drawn]);
    }
    const order = [...batches].sort(([a], [b]) => Number(a.split(" ")[2]) - Number(b.split(" ")[2]));
    for (const [key, batch] of order) {
      const [tone, dashed, lit, width] = key.split(" ") as [EdgeTone, string, string, string];
      c.beginPath();
      for (const { curve } of batch) {
        c.moveTo(curve.x0, curve.y0);
        c.bezierCurveTo(curve.x1, curve.y1, curve.x2, curve.y2, curve.x3 - curve.heading * 5, curve.y3);
      }
      c.strokeStyle = c.fillStyle = this.color(tone);
      const loud = tone === "dropped" || tone === "added" || tone === "error";
      c.globalAlpha = lit === "1" ? (loud ? 0.95 : this.scene!.layout.dense ? 0.35 : 0.62) : 0.08;
      c.lineWidth = Number(width) * thin;
      c.setLineDash(dashed === "1" ? [5 * thin, 4 * thin] : []);
      c.stroke();
      if (scale > 0.3) {
        c.beginPath();
        for (const { curve } of batch) {
          const h = curve.heading;
          c.moveTo(curve.x3, curve.y3);
          c.lineTo(curve.x3 - h * 7, curve.y3 - 4);
          c.lineTo(curve.x3 - h * 7, curve.y3 + 4);
          c.closePath();
        }
        c.fill();
      }
    }
    c.globalAlpha = 1;
    c.setLineDash([]);
  }

  private related(id: string): boolean {
    const active = this.active;
    if (this.focus) return this.focus.has(id);
    if (!active || active === id) return true;
    return this.neighbours().has(id);
  }

  private neighbourCache: { key: string; drawn: Drawn[]; set: Set<string> } | null = null;
  private neighbours(): Set<string> {
    const key = this.active;
    if (this.neighbourCache?.key === key && this.neighbourCache.drawn === this.drawn) return this.neighbourCache.set;
    const set = new Set<string>();
    for (const { edge } of this.drawn) {
      if (edge.id === key || edge.source === key || edge.target === key) {
        set.add(edge.source);
        set.add(edge.target);
      }
    }
    this.neighbourCache = { key, drawn: this.drawn, set };
    return set;
  }

  private drawNodes(c: CanvasRenderingContext2D, view: Rect): void {
    const near = this.camera.scale >= FAR;
    const dense = this.scene!.layout.dense;
    for (const [id, at] of this.positions) {
      if (!overlaps(at, view)) continue;
      const node = this.scene!.nodes.get(id);
      if (!node) continue;
      c.globalAlpha = this.related(id) ? 1 : 0.28;
      this.drawCard(c, at, node, id, near, dense);
    }
    c.globalAlpha = 1;
    if (near) c.textAlign = "left";
    this.drawTitles(c, view);
  }

  private drawCard(c: CanvasRenderingContext2D, at: Placed, node: SceneNode, id: string, near: boolean, dense: boolean): void {
    const p = this.palette;
    const { scale } = this.camera;
    const selected = id === this.selected;
    const hovered = id === this.active && !selected;
    const radius = dense ? 5 : 10;
    c.beginPath();
    c.roundRect(at.x, at.y, at.width, at.height, radius);
    const tiny = scale < (dense ? 0.4 : 0.2);
    c.fillStyle = tiny ? (node.alarm ? p.dropped : p.tiny) : p.card;
    c.fill();
    c.lineWidth = (selected || hovered ? 2 : 1) / Math.min(1, Math.max(scale, 0.4));
    c.strokeStyle = selected ? p.accent : node.alarm ? p.dropped : hovered ? p.muted : tiny ? p.tiny : p.cardBorder;
    c.stroke();
    if (scale < 0.22) return;
    c.textBaseline = "middle";
    c.textAlign = "left";
    if (dense) {
      if (scale < 0.55) return;
      c.font = `500 11px ${FONT}`;
      c.fillStyle = p.text;
      c.fillText(this.trim(c, node.title, at.width - 16, "500 11"), at.x + 8, at.y + at.height / 2 + 0.5);
      return;
    }
    if (!near) {
      // Only the name, as large as the card lets it.
      const size = this.fittingSize(c, node.title, at.width - 20, Math.min(28, Math.max(13, 9.5 / scale)));
      c.font = `600 ${size}px ${FONT}`;
      c.fillStyle = p.text;
      c.fillText(this.trim(c, node.title, at.width - 20, `600 ${size}`), at.x + 10, at.y + Math.min(at.height, HEADER) / 2);
      return;
    }
    const outside = node.kind !== "pod" && node.kind !== "namespace";
    c.save();
    c.translate(at.x + 10, at.y + 11);
    c.beginPath();
    c.roundRect(0, 0, 24, 24, 7);
    c.fillStyle = node.alarm ? p.droppedSoft : p.accentSoft;
    c.fill();
    c.translate(4, 4);
    c.strokeStyle = node.alarm ? p.dropped : outside ? p.muted : p.accent;
    c.lineWidth = 1.35;
    c.lineJoin = c.lineCap = "round";
    c.stroke(icon(node.kind, node.icon));
    c.restore();
    const locks = node.locks ? (node.locks.ingress ? 1 : 0) + (node.locks.egress ? 1 : 0) : 0;
    const room = at.width - 54 - locks * 14;
    c.font = `600 13px ${FONT}`;
    c.fillStyle = p.text;
    c.fillText(this.trim(c, node.title, room, "600 13"), at.x + 43, at.y + 17);
    c.font = `400 11px ${FONT}`;
    c.fillStyle = p.muted;
    c.fillText(this.trim(c, node.subtitle, room, "400 11"), at.x + 43, at.y + 32.5);
    if (node.locks) this.drawLocks(c, at, node.locks);
    if (node.rows.length === 0 && at.more === 0) return;
    c.strokeStyle = p.cardBorder;
    c.lineWidth = 1;
    c.beginPath();
    c.moveTo(at.x + 1, at.y + HEADER - 1.5);
    c.lineTo(at.x + at.width - 1, at.y + HEADER - 1.5);
    c.stroke();
    let rowY = at.y + HEADER + PORT_ROW / 2 - 1;
    for (const row of node.rows) {
      c.font = `500 11.5px ${FONT}`;
      c.fillStyle = row.dropped ? p.dropped : p.text;
      c.fillText(row.name, at.x + 12, rowY + 0.5);
      const width = c.measureText(row.name).width;
      c.font = `500 10px ${FONT}`;
      c.fillStyle = p.muted;
      c.fillText(row.layer, at.x + 12 + width + 6, rowY + 0.5);
      c.textAlign = "right";
      c.font = `400 11px ${FONT}`;
      c.fillStyle = row.value.startsWith("✕") ? p.dropped : row.value === "idle" ? p.faint : p.muted;
      c.fillText(row.value, at.x + at.width - 12, rowY + 0.5);
      c.textAlign = "left";
      rowY += PORT_ROW;
    }
    if (at.more) {
      c.font = `400 11px ${FONT}`;
      c.fillStyle = p.muted;
      c.fillText(`${at.more} more ports`, at.x + 12, rowY + 0.5);
    }
  }

  private drawLocks(c: CanvasRenderingContext2D, at: Placed, locks: { ingress: boolean; egress: boolean }): void {
    let x = at.x + at.width - 12;
    c.font = `600 10px ${FONT}`;
    c.textAlign = "right";
    c.fillStyle = this.palette.accent;
    const words = [locks.egress ? "out" : "", locks.ingress ? "in" : ""].filter(Boolean);
    for (const word of words) {
      const width = c.measureText(word).width;
      c.beginPath();
      c.roundRect(x - width - 8, at.y + 8, width + 8, 15, 4);
      c.fillStyle = this.palette.accentSoft;
      c.fill();
      c.fillStyle = this.palette.accent;
      c.fillText(word, x - 4, at.y + 16);
      x -= width + 12;
    }
    c.textAlign = "left";
  }

  /** Words on edges: drops say so by themselves, the others when they are pointed at. */
  private drawLabels(c: CanvasRenderingContext2D, view: Rect): void {
    const { scale } = this.camera;
    const p = this.palette;
    const active = this.active;
    const size = 11 / Math.min(1, Math.max(scale, 0.55));
    const taken: Rect[] = [];
    const wanted = this.drawn.filter(({ edge, curve }) => {
      if (!overlaps(curve.bounds, view)) return false;
      const asked = active !== "" && (edge.id === active || ((edge.source === active || edge.target === active) && scale > 0.4));
      return asked || (edge.loud && scale > 0.42 && this.lit(edge));
    });
    // What is pointed at first; then what is loud; no label hides another.
    wanted.sort((a, b) => Number(b.edge.id === active) - Number(a.edge.id === active) || Number(b.edge.loud) - Number(a.edge.loud) || b.edge.rate - a.edge.rate);
    c.textBaseline = "middle";
    c.textAlign = "center";
    for (const { edge, curve } of wanted.slice(0, 120)) {
      c.font = `600 ${size}px ${FONT}`;
      const width = c.measureText(edge.label).width + size * 1.1;
      const height = size * 1.75;
      const spot = this.freeSpot(curve, width, height, taken, edge.loud || edge.id === active);
      if (!spot) continue;
      taken.push(spot);
      c.beginPath();
      c.roundRect(spot.x, spot.y, width, height, height / 2);
      c.fillStyle = p.pill;
      c.fill();
      c.lineWidth = 1 / Math.max(scale, 0.5);
      c.strokeStyle = this.color(edge.tone);
      c.stroke();
      c.fillStyle = edge.tone === "plain" || edge.tone === "removed" ? p.muted : this.color(edge.tone);
      c.fillText(edge.label, spot.x + width / 2, spot.y + height / 2 + size * 0.05);
    }
    c.textAlign = "left";
  }

  /** A place on the line that hides no other label, and no card; if there is none and it insists, over a card. */
  private freeSpot(curve: Curve, width: number, height: number, taken: readonly Rect[], insist: boolean): Rect | null {
    let second: Rect | null = null;
    for (const t of SPOTS) {
      const point = pointAt(curve, t);
      const rect = { x: point.x - width / 2, y: point.y - height / 2, width, height };
      if (taken.some((other) => overlaps(other, rect))) continue;
      second ??= rect;
      if (this.positions.size > 200) return second;
      let covered = false;
      for (const card of this.positions.values()) {
        if (overlaps(card, rect)) {
          covered = true;
          break;
        }
      }
      if (!covered) return rect;
    }
    return insist ? second : null;
  }

  /** Dots that run along the edges; false when there is nothing to move. */
  drawPulses(now: number): boolean {
    const c = this.top;
    const quiet = !this.scene || this.still || this.heavy || this.camera.scale < 0.3;
    if (quiet && this.topEmpty) return false;
    c.setTransform(1, 0, 0, 1, 0, 0);
    c.clearRect(0, 0, this.topCanvas.width, this.topCanvas.height);
    this.topEmpty = quiet;
    if (quiet) return false;
    const { x, y, scale } = this.camera;
    const s = scale * this.ratio;
    c.setTransform(s, 0, 0, s, -x * s, -y * s);
    const view = this.view();
    const alive = this.drawn.filter(({ edge, curve }) => edge.rate >= 0.05 && this.lit(edge) && overlaps(curve.bounds, view));
    if (alive.length > MOST_PULSES) {
      alive.sort((a, b) => b.edge.rate - a.edge.rate);
      alive.length = MOST_PULSES;
    }
    const byTone = new Map<EdgeTone, Drawn[]>();
    for (const drawn of alive) byTone.set(drawn.edge.tone, [...(byTone.get(drawn.edge.tone) ?? []), drawn]);
    for (const [tone, list] of byTone) {
      c.fillStyle = this.color(tone);
      c.beginPath();
      for (const { edge, curve } of list) {
        const count = edge.rate > 20 ? 3 : edge.rate > 3 ? 2 : 1;
        const period = edge.rate > 20 ? 1500 : edge.rate > 3 ? 2000 : 2800;
        let offset = 0;
        for (let i = 0; i < edge.id.length; i += 3) offset = (offset * 31 + edge.id.charCodeAt(i)) % 997;
        for (let dot = 0; dot < count; dot++) {
          const t = (now / period + offset / 997 + dot / count) % 1;
          // What is dropped does not arrive.
          if (tone === "dropped" && t > 0.86) continue;
          const point = pointAt(curve, t);
          c.moveTo(point.x + 2.6, point.y);
          c.arc(point.x, point.y, 2.6, 0, Math.PI * 2);
        }
      }
      c.fill();
    }
    return alive.length > 0;
  }

  /** So large that the text fits, but no smaller than what is trimmed instead. */
  private fittingSize(c: CanvasRenderingContext2D, text: string, room: number, most: number): number {
    let width = this.widths.get(text);
    if (width === undefined) {
      c.font = `600 20px ${FONT}`;
      width = c.measureText(text).width / 20;
      if (this.widths.size > 5000) this.widths.clear();
      this.widths.set(text, width);
    }
    return Math.floor(Math.max(Math.min(13, most), Math.min(most, room / width)) * 2) / 2;
  }

  private trim(c: CanvasRenderingContext2D, text: string, width: number, font: string): string {
    const key = `${font} ${Math.round(width)} ${text}`;
    const known = this.trimmed.get(key);
    if (known !== undefined) return known;
    let result = text;
    if (c.measureText(text).width > width) {
      let low = 0;
      let high = text.length;
      while (low < high) {
        const middle = (low + high + 1) >> 1;
        if (c.measureText(`${text.slice(0, middle)}…`).width <= width) low = middle;
        else high = middle - 1;
      }
      result = low === 0 ? "" : `${text.slice(0, low)}…`;
    }
    if (this.trimmed.size > 5000) this.trimmed.clear();
    this.trimmed.set(key, result);
    return result;
  }
}
