// From flows to the picture: nodes (what talks), their ports, and edges (who asks whom, at which port, with which verdict).
import { type End, type Flow, type Verdict, clientOf, serverOf } from "./flow";

export type Grouping = "workload" | "pod" | "namespace" | `label:${string}`;

interface PortStat {
  key: string; // "TCP/80"
  protocol: string;
  port: number;
  layer: string; // "HTTP", "DNS", "" for plain
  /** Counted where it arrived and where it left, like edges. */
  ingress: Rate;
  egress: Rate;
  dropped: Rate;
}

export interface Node {
  id: string;
  /** The box it is drawn in: a namespace, or "" for what is outside of the cluster's pods. */
  group: string;
  title: string;
  subtitle: string;
  kind: "pod" | "world" | "dns" | "host" | "reserved" | "namespace";
  labels: readonly string[];
  pods: Set<string>;
  ips: Set<string>;
  ports: Map<string, PortStat>;
  dropped: number;
  lastSeen: number;
}

export interface Edge {
  id: string;
  source: string;
  target: string;
  portKey: string;
  verdict: Verdict;
  /** Counted where it left and where it arrived: one connection is seen at both, and is one. */
  ingress: Rate;
  egress: Rate;
  bytes: number;
  reasons: Map<string, number>;
  /** The latest, what the explanation starts from. */
  sample: Flow;
  /** The latest drop: agents tell of one twice, when the policy refuses and when the packet goes. */
  lastDrop: string;
  firstSeen: number;
  lastSeen: number;
}

const TAU = 8; // seconds

/** Events per second, smoothed; a count and a decaying mean, with nothing to do while nothing happens. */
export class Rate {
  count = 0;
  private value = 0;
  private at = 0;

  add(time: number, amount = 1): void {
    this.count += amount;
    if (time > this.at) {
      this.value *= Math.exp((this.at - time) / 1000 / TAU);
      this.at = time;
      this.value += amount / TAU;
    } else {
      // Out of order (nodes' clocks, merged streams): as old as it is.
      this.value += (amount / TAU) * Math.exp((time - this.at) / 1000 / TAU);
    }
  }

  perSecond(now: number): number {
    return now <= this.at ? this.value : this.value * Math.exp((this.at - now) / 1000 / TAU);
  }
}

interface Identity {
  id: string;
  group: string;
  title: string;
  subtitle: string;
  kind: Node["kind"];
}

/** What the commonest labels call it. */
function appOf(labels: readonly string[]): string {
  for (const key of ["k8s:app.kubernetes.io/name=", "k8s:app=", "k8s:k8s-app="]) {
    const label = labels.find((each) => each.startsWith(key));
    if (label && label.length > key.length) return label.slice(key.length);
  }
  return "";
}

const WORLD_NAMES = 40; // more DNS names than that are one node

export class Graph {
  readonly nodes = new Map<string, Node>();
  readonly edges = new Map<string, Edge>();
  /** Grows when a node, port or edge comes or goes: what the layout depends on. */
  shape = 0;
  private names = new Set<string>();
  private latest = 0;

  constructor(readonly grouping: Grouping) {}

  get now(): number {
    return this.latest;
  }

  private identify(end: End): Identity {
    if (!end.namespace) {
      const name = end.names[0];
      if (name && end.reserved === "world") {
        if (this.names.has(name) || this.names.size < WORLD_NAMES) {
          this.names.add(name);
          return { id: `dns:${name}`, group: "", title: name, subtitle: "outside", kind: "dns" };
        }
        return { id: "dns:", group: "", title: "other names", subtitle: "outside", kind: "dns" };
      }
      if (end.reserved === "world") return { id: "world", group: "", title: "World", subtitle: "outside the cluster", kind: "world" };
      const host = end.reserved === "host" || end.reserved === "remote-node";
      const titles: Record<string, string> = { host: "Host", "remote-node": "Other nodes", "kube-apiserver": "Kubernetes API", health: "Health checks", ingress: "Ingress", unmanaged: "Unmanaged pods", init: "Starting pods" };
      return { id: `reserved:${end.reserved}`, group: "", title: titles[end.reserved] ?? end.reserved, subtitle: host ? "node" : "reserved", kind: host ? "host" : "reserved" };
    }
    const { namespace } = end;
    if (this.grouping === "namespace") return { id: `ns:${namespace}`, group: "", title: namespace, subtitle: "namespace", kind: "namespace" };
    if (this.grouping === "pod" && end.pod) return { id: `pod:${namespace}/${end.pod}`, group: namespace, title: end.pod, subtitle: end.workload || "pod", kind: "pod" };
    if (this.grouping.startsWith("label:")) {
      const key = this.grouping.slice(6);
      for (const label of end.labels) {
        const bare = label.replace(/^[a-z0-9-]+:/, "");
        if (bare.startsWith(`${key}=`)) {
          const value = bare.slice(key.length + 1);
          return { id: `label:${namespace}/${value}`, group: namespace, title: value || '""', subtitle: key, kind: "pod" };
        }
      }
    }
    // What a pod sends before it uses its address ("::") has labels, but no pod's name.
    const title = end.workload || end.pod || appOf(end.labels) || end.ip;
    return { id: `workload:${namespace}/${title}`, group: namespace, title, subtitle: end.kind || "Pod", kind: "pod" };
  }

  nodeId(end: End): string {
    return this.identify(end).id;
  }

  private touch(end: End, time: number): Node {
    const identity = this.identify(end);
    let node = this.nodes.get(identity.id);
    if (!node) {
      node = { ...identity, labels: end.labels, pods: new Set(), ips: new Set(), ports: new Map(), dropped: 0, lastSeen: time };
      this.nodes.set(identity.id, node);
      this.shape++;
    }
    if (end.pod) node.pods.add(end.pod);
    if (end.ip && node.ips.size < 64) node.ips.add(end.ip);
    if (time > node.lastSeen) {
      node.lastSeen = time;
      if (end.labels.length) node.labels = end.labels;
    }
    return node;
  }

  add(flow: Flow): void {
    const { time } = flow;
    if (time > this.latest) this.latest = time;
    const client = this.touch(clientOf(flow), time);
    const serverEnd = serverOf(flow);
    const server = this.touch(serverEnd, time);
    const portKey = flow.protocol ? (serverEnd.port ? `${flow.protocol}/${serverEnd.port}` : flow.protocol) : "any";
    let port = server.ports.get(portKey);
    if (!port) {
      port = { key: portKey, protocol: flow.protocol, port: serverEnd.port, layer: "", ingress: new Rate(), egress: new Rate(), dropped: new Rate() };
      server.ports.set(portKey, port);
      this.shape++;
    }
    if (flow.layer === "HTTP" || flow.layer === "DNS") port.layer = flow.layer;
    const id = `${client.id}>${server.id}>${portKey}>${flow.verdict}`;
    let edge = this.edges.get(id);
    if (!edge) {
      edge = {
        id, source: client.id, target: server.id, portKey, verdict: flow.verdict, ingress: new Rate(), egress: new Rate(),
        bytes: 0, reasons: new Map(), sample: flow, lastDrop: "", firstSeen: time, lastSeen: time,
      };
      this.edges.set(id, edge);
      this.shape++;
    }
    if (time < edge.firstSeen) edge.firstSeen = time;
    if (time >= edge.lastSeen) {
      edge.lastSeen = time;
      if (!flow.reply || edge.sample.reply) edge.sample = flow;
    }
    edge.bytes = Math.max(edge.bytes, flow.bytes);
    if (flow.reply) return; // an answer is no second request
    if (flow.verdict === "dropped") {
      const { source, destination } = flow;
      const drop = `${time} ${flow.node} ${flow.direction} ${flow.reason} ${source.ip} ${source.port} ${destination.ip}`;
      if (source.port && drop === edge.lastDrop) return;
      edge.lastDrop = drop;
    }
    // A drop happens in one place; what is forwarded is seen on both sides.
    (flow.direction === "egress" ? edge.egress : edge.ingress).add(time);
    if (flow.verdict === "dropped") {
      port.dropped.add(time);
      server.dropped++;
      const reason = flow.reason || "unknown";
      edge.reasons.set(reason, (edge.reasons.get(reason) ?? 0) + 1);
    } else {
      (flow.direction === "egress" ? port.egress : port.ingress).add(time);
    }
  }

  /** Forgets what has not been seen since, and the drops that were of it; true when something went. */
  expire(before: number): boolean {
    const shape = this.shape;
    for (const [id, edge] of this.edges) {
      if (edge.lastSeen >= before) continue;
      this.edges.delete(id);
      this.shape++;
      const server = edge.verdict === "dropped" ? this.nodes.get(edge.target) : undefined;
      if (!server) continue;
      const drops = edgeCount(edge);
      server.dropped -= drops;
      server.ports.get(edge.portKey)!.dropped.count -= drops;
    }
    const used = new Set([...this.edges.values()].map((edge) => `${edge.target}>${edge.portKey}`));
    for (const [id, node] of this.nodes) {
      if (node.lastSeen < before) {
        this.nodes.delete(id);
        if (node.kind === "dns") this.names.delete(node.title);
        this.shape++;
        continue;
      }
      for (const key of node.ports.keys()) {
        if (used.has(`${id}>${key}`)) continue;
        node.ports.delete(key);
        this.shape++;
      }
    }
    return shape !== this.shape;
  }
}

/** Connections per second of an edge: now, or on the average of a period of so many seconds. */
export function edgeRate(edge: Edge, now: number, seconds: number | null): number {
  if (seconds !== null) return edgeCount(edge) / seconds;
  const inward = edge.ingress.perSecond(now);
  const outward = edge.egress.perSecond(now);
  return edge.verdict === "dropped" ? inward + outward : Math.max(inward, outward);
}

export function portRate(port: PortStat, now: number, seconds: number | null): number {
  if (seconds !== null) return Math.max(port.ingress.count, port.egress.count) / seconds;
  return Math.max(port.ingress.perSecond(now), port.egress.perSecond(now));
}

export function edgeCount(edge: Edge): number {
  return edge.verdict === "dropped" ? edge.ingress.count + edge.egress.count : Math.max(edge.ingress.count, edge.egress.count);
}

export function graphOf(flows: Iterable<Flow>, grouping: Grouping): Graph {
  const graph = new Graph(grouping);
  for (const flow of flows) graph.add(flow);
  return graph;
}
