// The other pictures as scenes: what policies allow, and how two periods differ.
import type { Change, Comparison } from "../model/diff";
import { rateText } from "../model/format";
import { type Layout, type Shape, layout } from "../model/layout";
import type { PolicyPicture } from "../model/policy";
import { type EdgeTone, type Scene, type SceneEdge, type SceneNode, plural } from "./scene";

const made = new WeakMap<Shape, { aspect: number; layout: Layout }>();

function layoutOf(shape: Shape, aspect: number): Layout {
  let known = made.get(shape);
  if (known?.aspect !== aspect) {
    known = { aspect, layout: layout(shape, aspect) };
    made.set(shape, known);
  }
  return known.layout;
}

export function policyScene(picture: PolicyPicture, aspect: number): Scene {
  const place = layoutOf(picture, aspect);
  const edges: SceneEdge[] = [...picture.edges.values()].map((edge) => ({
    id: edge.id, source: edge.source, target: edge.target, portKey: edge.portKey, tone: edge.deny ? "dropped" : "added", dashed: edge.deny, rate: 0,
    label: `${edge.deny ? "denied" : edge.portKey === "any" ? "any port" : edge.portKey}`, loud: edge.deny,
  }));
  edges.sort((a, b) => Number(a.loud) - Number(b.loud));
  const nodes = new Map<string, SceneNode>();
  for (const [id, placed] of place.placed) {
    const known = picture.known.get(id)!;
    nodes.set(id, {
      title: known.title, subtitle: known.subtitle, icon: known.subtitle, kind: known.kind, alarm: false, locks: picture.closed.get(id) ?? null,
      rows: placed.ports.map((port) => ({ name: port.protocol === "" ? (port.port ? String(port.port) : "any port") : port.key.split("/")[1] ?? port.key, layer: port.protocol, value: "", dropped: false })),
    });
  }
  return { layout: place, edges, nodes };
}

const TONES: Record<Change, EdgeTone> = { added: "added", removed: "removed", more: "audit", less: "forwarded", same: "plain" };

export function compareScene(comparison: Comparison, aspect: number): Scene {
  const place = layoutOf(comparison, aspect);
  const edges: SceneEdge[] = [...comparison.edges.values()].map((edge) => ({
    id: edge.id, source: edge.source, target: edge.target, portKey: edge.portKey,
    tone: edge.change === "added" && edge.verdict === "dropped" ? "dropped" : TONES[edge.change],
    dashed: edge.change === "removed" || edge.verdict === "dropped", rate: 0,
    label: edge.change === "added" ? `new${edge.verdict === "dropped" ? ", dropped" : ""} · ${rateText(edge.after)}` : edge.change === "removed" ? "gone" : `${rateText(edge.before)} → ${rateText(edge.after)}`,
    loud: edge.change === "added" || (edge.change === "removed"),
  }));
  edges.sort((a, b) => Number(a.loud) - Number(b.loud));
  const nodes = new Map<string, SceneNode>();
  for (const [id, placed] of place.placed) {
    const node = comparison.titles.get(id)!;
    nodes.set(id, {
      title: node.title, subtitle: node.kind === "pod" ? `${node.subtitle} · ${plural(node.pods.size, "pod")}` : node.subtitle, icon: node.subtitle, kind: node.kind, alarm: false, locks: null,
      rows: placed.ports.map((port) => ({ name: port.port ? String(port.port) : port.protocol || "any", layer: port.layer || (port.port ? port.protocol : ""), value: "", dropped: false })),
    });
  }
  return { layout: place, edges, nodes };
}
