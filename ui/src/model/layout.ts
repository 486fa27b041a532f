// Where everything stands: callers left, callees right; namespaces are boxes, what is outside of them stands at the sides.
// Depends on the graph's shape only, and is the same for the same shape, so that a reload shows the same picture.

export interface ShapePort {
  key: string; // "TCP/80"
  protocol: string;
  port: number;
  layer: string;
}

export interface ShapeNode {
  id: string;
  group: string;
  kind: string;
  ports: ReadonlyMap<string, ShapePort>;
}

/** What can be laid out: traffic seen, what policies allow, two periods side by side. */
export interface Shape {
  nodes: ReadonlyMap<string, ShapeNode>;
  edges: ReadonlyMap<string, { source: string; target: string }>;
}

export interface Placed {
  x: number;
  y: number;
  width: number;
  height: number;
  /** In the order they are drawn; what does not fit is "more". */
  ports: ShapePort[];
  more: number;
}

export interface Box {
  group: string;
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface Layout {
  placed: Map<string, Placed>;
  boxes: Box[];
  width: number;
  height: number;
  dense: boolean;
}

const CARD_WIDTH = 208;
export const HEADER = 46;
export const PORT_ROW = 20;
const CARD_FOOT = 6;
const BOX_TITLE = 34;
const MOST_PORTS = 4;
const DENSE_FROM = 400;

interface Sizes {
  columnGap: number;
  rowGap: number;
  padding: number;
  boxGapX: number;
  boxGapY: number;
}
const ROOMY: Sizes = { columnGap: 72, rowGap: 14, padding: 16, boxGapX: 84, boxGapY: 24 };
const TIGHT: Sizes = { columnGap: 18, rowGap: 5, padding: 10, boxGapX: 48, boxGapY: 18 };

interface Item {
  id: string;
  width: number;
  height: number;
}

/** Longest path from what nobody calls; edges that close a circle are left out. */
export function ranks(ids: readonly string[], out: ReadonlyMap<string, ReadonlySet<string>>): Map<string, number> {
  const state = new Map<string, 1 | 2>();
  const kept = new Map<string, string[]>();
  const order: string[] = [];
  const incoming = new Map<string, number>();
  for (const id of ids) incoming.set(id, 0);
  for (const targets of out.values()) for (const target of targets) incoming.set(target, (incoming.get(target) ?? 0) + 1);
  // Depth first from those with the fewest callers, so that the edges left out are those that lead back.
  const starts = [...ids].sort((a, b) => incoming.get(a)! - incoming.get(b)! || (a < b ? -1 : 1));
  for (const start of starts) {
    if (state.has(start)) continue;
    const stack: { id: string; targets: string[]; next: number }[] = [];
    const enter = (id: string) => {
      state.set(id, 1);
      stack.push({ id, targets: [...(out.get(id) ?? [])].filter((target) => incoming.has(target)).sort(), next: 0 });
    };
    enter(start);
    while (stack.length) {
      const top = stack.at(-1)!;
      const target = top.targets[top.next++];
      if (target === undefined) {
        state.set(top.id, 2);
        order.push(top.id);
        stack.pop();
        continue;
      }
      if (target === top.id || state.get(target) === 1) continue;
      kept.set(top.id, [...(kept.get(top.id) ?? []), target]);
      if (!state.has(target)) enter(target);
    }
  }
  const rank = new Map<string, number>();
  for (const id of order.reverse()) {
    const own = rank.get(id) ?? 0;
    rank.set(id, own);
    for (const target of kept.get(id) ?? []) rank.set(target, Math.max(rank.get(target) ?? 0, own + 1));
  }
  return rank;
}

/** Orders each column by where its callers stand. */
function untangle(columns: string[][], incoming: ReadonlyMap<string, ReadonlySet<string>>): void {
  const place = new Map<string, number>();
  const remember = (column: string[]) => column.forEach((id, index) => place.set(id, index / Math.max(1, column.length)));
  columns.forEach(remember);
  for (const column of columns.slice(1)) {
    const weight = new Map<string, number>();
    for (const id of column) {
      const callers = [...(incoming.get(id) ?? [])].map((caller) => place.get(caller)).filter((at): at is number => at !== undefined);
      weight.set(id, callers.length ? callers.reduce((sum, at) => sum + at, 0) / callers.length : place.get(id)!);
    }
    column.sort((a, b) => weight.get(a)! - weight.get(b)! || (a < b ? -1 : 1));
    remember(column);
  }
}

interface Block {
  width: number;
  height: number;
  at: Map<string, { x: number; y: number }>;
}

/** Columns side by side; a column that is too tall goes on in another one. */
function stack(columns: Item[][], sizes: Sizes, most: number): Block {
  const at = new Map<string, { x: number; y: number }>();
  const split = columns.flatMap((column) => {
    const parts: Item[][] = [[]];
    let height = 0;
    for (const item of column) {
      if (height + item.height > most && parts.at(-1)!.length) {
        parts.push([]);
        height = 0;
      }
      parts.at(-1)!.push(item);
      height += item.height + sizes.rowGap;
    }
    return parts.filter((part) => part.length).map((part, index) => ({ part, sub: index > 0 }));
  });
  const heights = split.map(({ part }) => part.reduce((sum, item) => sum + item.height + sizes.rowGap, -sizes.rowGap));
  const height = Math.max(0, ...heights);
  let x = 0;
  let width = 0;
  split.forEach(({ part, sub }, index) => {
    if (index > 0) x += sub ? Math.min(sizes.columnGap, 28) : sizes.columnGap;
    let y = (height - heights[index]!) / 2;
    for (const item of part) {
      at.set(item.id, { x, y });
      y += item.height + sizes.rowGap;
    }
    x += Math.max(...part.map((item) => item.width));
    width = x;
  });
  return { width, height, at };
}

function neighbours(graph: Shape, inside: (id: string) => string | null): { out: Map<string, Set<string>>; incoming: Map<string, Set<string>> } {
  const out = new Map<string, Set<string>>();
  const incoming = new Map<string, Set<string>>();
  const put = (map: Map<string, Set<string>>, key: string, value: string) => {
    const set = map.get(key);
    if (set) set.add(value);
    else map.set(key, new Set([value]));
  };
  for (const edge of graph.edges.values()) {
    const source = inside(edge.source);
    const target = inside(edge.target);
    if (source === null || target === null || source === target) continue;
    put(out, source, target);
    put(incoming, target, source);
  }
  return { out, incoming };
}

function cardOf(node: ShapeNode, dense: boolean): Placed {
  if (dense) return { x: 0, y: 0, width: 132, height: 22, ports: [], more: 0 };
  const sorted = [...node.ports.values()].sort((a, b) => Number(b.layer !== "") - Number(a.layer !== "") || a.port - b.port || (a.key < b.key ? -1 : 1));
  const ports = sorted.length > MOST_PORTS + 1 ? sorted.slice(0, MOST_PORTS) : sorted;
  const more = sorted.length - ports.length;
  const rows = ports.length + (more ? 1 : 0);
  return { x: 0, y: 0, width: CARD_WIDTH, height: HEADER + (rows ? rows * PORT_ROW + CARD_FOOT : 0), ports, more };
}

/** aspect: width to height of where it will be seen. */
export function layout(graph: Shape, aspect = 2): Layout {
  const dense = graph.nodes.size > DENSE_FROM;
  const sizes = dense ? TIGHT : ROOMY;
  const placed = new Map<string, Placed>();
  const groups = new Map<string, string[]>();
  const outside: string[] = [];
  for (const node of graph.nodes.values()) {
    placed.set(node.id, cardOf(node, dense));
    if (node.group === "") outside.push(node.id);
    else groups.set(node.group, [...(groups.get(node.group) ?? []), node.id]);
  }
  const item = (id: string): Item => ({ id, width: placed.get(id)!.width, height: placed.get(id)!.height });
  const groupOf = (id: string) => graph.nodes.get(id)?.group ?? "";

  // Inside of each namespace.
  const all = neighbours(graph, (id) => (graph.nodes.has(id) ? id : null));
  const blocks: (Block & { group: string })[] = [];
  for (const [group, ids] of [...groups].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const members = new Set(ids);
    const within = (map: Map<string, Set<string>>) =>
      new Map(ids.map((id) => [id, new Set([...(map.get(id) ?? [])].filter((other) => members.has(other)))] as const));
    const rank = ranks(ids.sort(), within(all.out));
    const columns: string[][] = [];
    for (const id of ids) (columns[rank.get(id) ?? 0] ??= []).push(id);
    const filled = columns.filter((column) => column !== undefined);
    untangle(filled, within(all.incoming));
    const area = ids.reduce((sum, id) => sum + (placed.get(id)!.width + 40) * (placed.get(id)!.height + sizes.rowGap), 0);
    const tall = Math.max(dense ? 160 : 420, Math.sqrt(area / (dense ? 1.2 : 1.6)));
    blocks.push({ group, ...stack(filled.map((column) => column.map(item)), sizes, tall) });
  }

  // Namespaces from left to right, each after those that call it.
  const between = neighbours(graph, (id) => groupOf(id) || null);
  const order = ranks([...groups.keys()].sort(), between.out);
  blocks.sort((a, b) => (order.get(a.group) ?? 0) - (order.get(b.group) ?? 0) || b.height * b.width - a.height * a.width || (a.group < b.group ? -1 : 1));
  const outer = blocks.map((block) => ({ ...block, content: block.width, width: Math.max(block.width + 2 * sizes.padding, 160), height: block.height + sizes.padding + BOX_TITLE }));
  const columnHeight = (column: readonly { height: number }[]) => column.reduce((sum, box) => sum + box.height + sizes.boxGapY, -sizes.boxGapY);

  // Outside: who only asks stands left, who is asked stands right. Namespaces as nodes keep their own order.
  const boxesAreNodes = groups.size === 0;
  const left: string[] = [];
  const right: string[] = [];
  const middle: string[] = [];
  for (const id of outside.sort()) {
    const asks = all.out.get(id)?.size ?? 0;
    const asked = all.incoming.get(id)?.size ?? 0;
    if (boxesAreNodes && graph.nodes.get(id)!.kind === "namespace") middle.push(id);
    else if (asks > 0 && asks >= asked) left.push(id);
    else right.push(id);
  }
  let x = 0;
  const boxes: Box[] = [];
  const put = (block: Pick<Block, "at">, top: number, left = x) => {
    for (const [id, { x: dx, y: dy }] of block.at) Object.assign(placed.get(id)!, { x: left + dx, y: top + dy });
  };
  const side = (ids: string[], height: number) => {
    if (!ids.length) return null;
    return stack([ids.map(item)], sizes, Math.max(height, dense ? 200 : 320));
  };
  const middleBlock = (most: number): Block | null => {
    if (!middle.length) return null;
    const rank = ranks(middle, all.out);
    const layers: string[][] = [];
    for (const id of middle) (layers[rank.get(id) ?? 0] ??= []).push(id);
    const filled = layers.filter((layer) => layer !== undefined);
    untangle(filled, all.incoming);
    return stack(filled.map((layer) => layer.map(item)), sizes, most);
  };

  // Boxes fill columns from the left. How tall a column may be decides how wide all becomes: the height is taken that
  // lets everything be shown largest.
  const fill = (most: number) => {
    const columns: (typeof outer)[] = [];
    let used = Infinity;
    for (const box of outer) {
      if (used + box.height > most) {
        columns.push([]);
        used = 0;
      }
      columns.at(-1)!.push(box);
      used += box.height + sizes.boxGapY;
    }
    const inner = middleBlock(most);
    const height = Math.max(0, inner?.height ?? 0, ...columns.map(columnHeight));
    const leftBlock = side(left, height);
    const rightBlock = side(right, height);
    const parts = [leftBlock?.width, inner?.width, ...columns.map((column) => Math.max(...column.map((box) => box.width))), rightBlock?.width].filter((width) => width !== undefined);
    const width = parts.reduce((sum, part) => sum + part + sizes.boxGapX, -sizes.boxGapX);
    const total = Math.max(height, leftBlock?.height ?? 0, rightBlock?.height ?? 0);
    return { columns, inner, leftBlock, rightBlock, total, scale: Math.min(aspect / Math.max(1, width), 1 / Math.max(1, total)) };
  };
  const least = Math.max(200, ...outer.map((box) => box.height));
  const most = Math.max(least, columnHeight(outer), middle.length * 90);
  let best = fill(least);
  for (let step = 1; step <= 24; step++) {
    const tried = fill(least * (most / least) ** (step / 24) + 1);
    // A little larger is not worth another order of things.
    if (tried.scale > best.scale * 1.02) best = tried;
  }
  const { columns, inner, leftBlock, rightBlock, total } = best;
  if (leftBlock) {
    put(leftBlock, (total - leftBlock.height) / 2);
    x += leftBlock.width + sizes.boxGapX;
  }
  if (inner) {
    put(inner, (total - inner.height) / 2);
    x += inner.width + sizes.boxGapX;
  }
  for (const column of columns) {
    let y = (total - columnHeight(column)) / 2;
    const widest = Math.max(...column.map((box) => box.width));
    for (const box of column) {
      const left = x + (widest - box.width) / 2;
      boxes.push({ group: box.group, x: left, y, width: box.width, height: box.height });
      put(box, y + BOX_TITLE, left + (box.width - box.content) / 2);
      y += box.height + sizes.boxGapY;
    }
    x += widest + sizes.boxGapX;
  }
  if (rightBlock) {
    put(rightBlock, (total - rightBlock.height) / 2);
    x += rightBlock.width + sizes.boxGapX;
  }
  return { placed, boxes, width: Math.max(0, x - sizes.boxGapX), height: total, dense };
}
