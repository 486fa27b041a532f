// What the renderer draws: a graph with its layout, plus how each edge is to look. Flows, policies and comparisons all
// become one of these.
import { type Graph, edgeCount, edgeRate, portRate } from "../model/graph";
import { type Layout, layout } from "../model/layout";
import { rateText } from "../model/format";

export type EdgeTone = "forwarded" | "dropped" | "audit" | "error" | "added" | "removed" | "plain";

export interface SceneEdge {
  id: string;
  source: string;
  target: string;
  portKey: string;
  tone: EdgeTone;
  dashed: boolean;
  /** Thickness and motion; 0 stands still. */
  rate: number;
  label: string;
  /** Shown without being asked. */
  loud: boolean;
}

export interface SceneNode {
  title: string;
  subtitle: string;
  icon: string;
  kind: string;
  /** Rows in the order of the layout's ports. */
  rows: { name: string; layer: string; value: string; dropped: boolean }[];
  alarm: boolean;
  /** Small signs right of the title: closed in that direction by a policy. */
  locks: { ingress: boolean; egress: boolean } | null;
}

export interface Scene {
  layout: Layout;
  edges: SceneEdge[];
  nodes: Map<string, SceneNode>;
}

export function plural(count: number, one: string, many = `${one}s`): string {
  // toLocaleString is slow, and most numbers are small.
  return `${count < 1000 ? count : count.toLocaleString("en")} ${count === 1 ? one : many}`;
}

/** How often; and when it has stopped, how many there were. */
const dropsText = (rate: number, count: number): string => `✕ ${rate < 0.005 ? count.toLocaleString("en") : rateText(rate)}`;

const tones: Record<string, EdgeTone> = { forwarded: "forwarded", dropped: "dropped", audit: "audit", error: "error", other: "plain" };

export function sceneOf(graph: Graph, place: Layout, now: number, seconds: number | null): Scene {
  const edges: SceneEdge[] = [];
  for (const edge of graph.edges.values()) {
    const rate = edgeRate(edge, now, seconds);
    const dropped = edge.verdict === "dropped";
    edges.push({
      id: edge.id, source: edge.source, target: edge.target, portKey: edge.portKey, tone: tones[edge.verdict] ?? "plain", dashed: dropped || edge.verdict === "audit",
      rate, label: dropped ? dropsText(rate, edgeCount(edge)) : `${edge.portKey} · ${rateText(rate)}`, loud: dropped,
    });
  }
  const rank: Record<string, number> = { forwarded: 0, plain: 0, audit: 1, error: 2, dropped: 3 };
  edges.sort((a, b) => (rank[a.tone] ?? 0) - (rank[b.tone] ?? 0));
  const nodes = new Map<string, SceneNode>();
  for (const node of graph.nodes.values()) {
    const placed = place.placed.get(node.id);
    const rows = (placed?.ports ?? []).flatMap(({ key }) => {
      const port = node.ports.get(key);
      if (!port) return [];
      const rate = portRate(port, now, seconds);
      return {
        name: port.protocol === "" ? "any" : port.port ? `${port.port}` : port.protocol,
        layer: port.layer || (port.port ? port.protocol : ""),
        // Where all is dropped the drops are what there is to tell.
        value: rate < 0.005 && port.dropped.count > 0 ? dropsText(seconds === null ? port.dropped.perSecond(now) : port.dropped.count / seconds, port.dropped.count) : rateText(rate),
        dropped: port.dropped.count > 0,
      };
    });
    const pods = node.pods.size;
    const subtitle = node.kind === "pod" && pods > 0 && !node.id.startsWith("pod:") ? `${node.subtitle} · ${plural(pods, "pod")}` : node.kind === "namespace" ? plural(pods, "pod") : node.subtitle;
    nodes.set(node.id, { title: node.title, subtitle, icon: node.subtitle, kind: node.kind, rows, alarm: node.dropped > 0, locks: null });
  }
  return { layout: place, edges, nodes };
}

const UNHURRIED_FROM = 300; // nodes
const UNHURRIED_MS = 3000;

/** Laid out again only when its shape has changed; a big picture that keeps changing, not at every change. */
export class LayoutCache {
  private graph: Graph | null = null;
  private shape = -1;
  private made: Layout | null = null;
  private at = 0;
  private aspect = 0;

  of(graph: Graph, aspect: number, now = performance.now()): Layout {
    const same = this.graph === graph && this.aspect === aspect;
    if (this.made && same && this.shape === graph.shape) return this.made;
    // The first pictures of a graph that is still being read come at once, as long as they grow a lot.
    const grown = graph.nodes.size > (this.made?.placed.size ?? 0) * 1.5;
    if (this.made && same && graph.nodes.size > UNHURRIED_FROM && !grown && now - this.at < UNHURRIED_MS) return this.made;
    this.made = layout(graph, aspect);
    this.aspect = aspect;
    this.graph = graph;
    this.shape = graph.shape;
    this.at = now;
    return this.made;
  }
}
