// Two periods side by side: what is new, what has gone, what has become much more or much less.
import type { Verdict } from "./flow";
import { type Edge, type Graph, type Node, edgeCount } from "./graph";
import type { Shape, ShapeNode, ShapePort } from "./layout";

export type Change = "added" | "removed" | "more" | "less" | "same";

export interface EdgeChange {
  id: string;
  source: string;
  target: string;
  portKey: string;
  verdict: Verdict;
  change: Change;
  /** Per second. */
  before: number;
  after: number;
  edge: Edge;
}

export interface Comparison extends Shape {
  nodes: Map<string, ShapeNode>;
  titles: Map<string, Node>;
  edges: Map<string, EdgeChange>;
}

const FACTOR = 2;
const FEW = 5; // a handful of connections more or less says nothing

export function changeOf(before: number, after: number, seconds: { before: number; after: number }): Change {
  if (before === 0) return "added";
  if (after === 0) return "removed";
  const was = before / seconds.before;
  const is = after / seconds.after;
  if (before + after < FEW) return "same";
  return is > was * FACTOR ? "more" : is * FACTOR < was ? "less" : "same";
}

export function compare(before: Graph, after: Graph, seconds: { before: number; after: number }): Comparison {
  const nodes = new Map<string, ShapeNode>();
  const titles = new Map<string, Node>();
  for (const graph of [before, after]) {
    for (const node of graph.nodes.values()) {
      const ports = new Map<string, ShapePort>(nodes.get(node.id)?.ports ?? []);
      for (const [key, port] of node.ports) ports.set(key, port);
      nodes.set(node.id, { id: node.id, group: node.group, kind: node.kind, ports });
      titles.set(node.id, node);
    }
  }
  const edges = new Map<string, EdgeChange>();
  for (const id of new Set([...before.edges.keys(), ...after.edges.keys()])) {
    const was = before.edges.get(id);
    const is = after.edges.get(id);
    const edge = (is ?? was)!;
    const counts = { before: was ? edgeCount(was) || 1 : 0, after: is ? edgeCount(is) || 1 : 0 };
    edges.set(id, {
      id, source: edge.source, target: edge.target, portKey: edge.portKey, verdict: edge.verdict, edge,
      change: changeOf(counts.before, counts.after, seconds), before: counts.before / seconds.before, after: counts.after / seconds.after,
    });
  }
  return { nodes, titles, edges };
}

const WEIGHT: Record<Change, number> = { added: 0, removed: 1, more: 2, less: 3, same: 4 };

/** Drops that are new come first: they are what somebody looks for. */
export function ordered(changes: Iterable<EdgeChange>): EdgeChange[] {
  return [...changes]
    .filter(({ change }) => change !== "same")
    .sort(
      (a, b) =>
        Number(b.verdict === "dropped" && b.change === "added") - Number(a.verdict === "dropped" && a.change === "added") ||
        WEIGHT[a.change] - WEIGHT[b.change] || Math.abs(b.after - b.before) - Math.abs(a.after - a.before) || (a.id < b.id ? -1 : 1),
    );
}
