// A flow as this page thinks of it: short, flat, made once from what the relay says.
import type { WireEndpoint, WireFlow, WirePolicy } from "../api/wire";

export type Verdict = "forwarded" | "dropped" | "audit" | "error" | "other";
export const VERDICTS: readonly Verdict[] = ["forwarded", "dropped", "audit", "error", "other"];

export interface End {
  namespace: string;
  pod: string;
  workload: string;
  kind: string;
  labels: readonly string[];
  identity: number;
  ip: string;
  port: number;
  /** DNS names that lead to the address. */
  names: readonly string[];
  service: string;
  /** "world", "host", …: what is no pod; "" for pods. */
  reserved: string;
}

interface PolicyRef {
  kind: string;
  namespace: string;
  name: string;
  denies: boolean;
  direction: "ingress" | "egress";
}

export interface Flow {
  id: string;
  time: number;
  verdict: Verdict;
  /** The verdict's own word: REDIRECTED counts as forwarded, and is shown as itself. */
  verdictWord: string;
  reason: string;
  direction: "ingress" | "egress" | "";
  reply: boolean;
  protocol: string;
  source: End;
  destination: End;
  node: string;
  layer: "L3/L4" | "HTTP" | "DNS" | "L7" | "SOCK";
  http?: { method: string; path: string; code: number; host: string };
  dns?: { query: string; rcode: number; ips: readonly string[] };
  latencyMs?: number;
  flags: string;
  policies: readonly PolicyRef[];
  bytes: number;
  packets: number;
  dropRule: string;
  explanation: string;
  suggestedPolicy: string;
}

const NONE: readonly string[] = [];
const VERDICT_OF: Record<string, Verdict> = {
  FORWARDED: "forwarded",
  REDIRECTED: "forwarded",
  DROPPED: "dropped",
  AUDIT: "audit",
  ERROR: "error",
};

/** reserved:world-ipv4 is "world" to people; all else keeps its name. */
function reservedOf(labels: readonly string[], namespace: string): string {
  if (namespace) return "";
  for (const label of labels) {
    if (!label.startsWith("reserved:")) continue;
    const name = label.slice(9);
    if (name === "world-ipv4" || name === "world-ipv6") return "world";
    // A node may be several things at once; the API server says most about it.
    if (labels.includes("reserved:kube-apiserver")) return "kube-apiserver";
    return name;
  }
  return "world";
}

function endOf(
  end: WireEndpoint | undefined,
  ip: string,
  port: number,
  names: string[] | undefined,
  service: { name?: string; namespace?: string } | undefined,
): End {
  const labels = end?.labels ?? NONE;
  const namespace = end?.namespace ?? "";
  const workload = end?.workloads?.[0];
  return {
    namespace,
    pod: end?.pod_name ?? "",
    workload: workload?.name ?? "",
    kind: workload?.kind ?? "",
    labels,
    identity: end?.identity ?? 0,
    ip,
    port,
    names: names?.map((name) => (name.endsWith(".") ? name.slice(0, -1) : name)) ?? NONE,
    service: service?.name ? (service.namespace ? `${service.namespace}/${service.name}` : service.name) : "",
    reserved: reservedOf(labels, namespace),
  };
}

function policiesOf(list: WirePolicy[] | undefined, denies: boolean, direction: "ingress" | "egress", into: PolicyRef[]) {
  for (const policy of list ?? []) {
    into.push({ kind: policy.kind ?? "", namespace: policy.namespace ?? "", name: policy.name ?? "", denies, direction });
  }
}

/** Path and host of "http://host:80/path?x", or of "/path". */
export function splitUrl(url: string): { path: string; host: string } {
  const match = /^[a-z][a-z0-9+.-]*:\/\/([^/?#]*)([^#]*)/i.exec(url);
  return match ? { host: match[1]!, path: match[2] || "/" } : { host: "", path: url };
}

let unnamed = 0;

export function parseFlow(wire: WireFlow): Flow {
  const l4 = wire.l4 ?? {};
  const withPorts = l4.TCP ?? l4.UDP ?? l4.SCTP;
  const protocol = l4.TCP ? "TCP" : l4.UDP ? "UDP" : l4.SCTP ? "SCTP" : l4.ICMPv4 ? "ICMP" : l4.ICMPv6 ? "ICMPv6" : l4.VRRP ? "VRRP" : l4.IGMP ? "IGMP" : "";
  const policies: PolicyRef[] = [];
  policiesOf(wire.egress_allowed_by, false, "egress", policies);
  policiesOf(wire.ingress_allowed_by, false, "ingress", policies);
  policiesOf(wire.egress_denied_by, true, "egress", policies);
  policiesOf(wire.ingress_denied_by, true, "ingress", policies);
  const flags = l4.TCP?.flags
    ? Object.entries(l4.TCP.flags).filter(([, set]) => set).map(([name]) => name).join(" ")
    : "";
  const http = wire.l7?.http;
  const dns = wire.l7?.dns;
  const extension = wire.extensions;
  const flow: Flow = {
    id: wire.uuid || `unnamed-${++unnamed}`,
    time: wire.time ? Date.parse(wire.time) : Date.now(),
    verdict: VERDICT_OF[wire.verdict ?? ""] ?? "other",
    verdictWord: wire.verdict ?? "VERDICT_UNKNOWN",
    reason: wire.drop_reason_desc && wire.drop_reason_desc !== "DROP_REASON_UNKNOWN" ? wire.drop_reason_desc : "",
    direction: wire.traffic_direction === "INGRESS" ? "ingress" : wire.traffic_direction === "EGRESS" ? "egress" : "",
    reply: wire.is_reply === true,
    protocol,
    source: endOf(wire.source, wire.IP?.source ?? "", withPorts?.source_port ?? 0, wire.source_names, wire.source_service),
    destination: endOf(wire.destination, wire.IP?.destination ?? "", withPorts?.destination_port ?? 0, wire.destination_names, wire.destination_service),
    node: wire.node_name ?? "",
    layer: http ? "HTTP" : dns ? "DNS" : wire.Type === "L7" ? "L7" : wire.Type === "SOCK" ? "SOCK" : "L3/L4",
    flags,
    policies,
    bytes: Number(extension?.bytes ?? 0),
    packets: Number(extension?.packets ?? 0),
    dropRule: extension?.drop_rule ?? "",
    explanation: extension?.explanation ?? "",
    suggestedPolicy: extension?.suggested_policy ?? "",
  };
  if (http) flow.http = { method: http.method ?? "", code: http.code ?? 0, ...splitUrl(http.url ?? "") };
  if (dns) flow.dns = { query: (dns.query ?? "").replace(/\.$/, ""), rcode: dns.rcode ?? 0, ips: dns.ips ?? NONE };
  if (wire.l7?.latency_ns) flow.latencyMs = Number(wire.l7.latency_ns) / 1e6;
  const icmp = l4.ICMPv4 ?? l4.ICMPv6;
  if (icmp) flow.flags = `type ${icmp.type ?? 0} code ${icmp.code ?? 0}`;
  return flow;
}

/** The end that asked: a reply's source is the server. */
export const clientOf = (flow: Flow): End => (flow.reply ? flow.destination : flow.source);
export const serverOf = (flow: Flow): End => (flow.reply ? flow.source : flow.destination);
export const serverPort = (flow: Flow): number => serverOf(flow).port;

const RCODES = ["no error", "format error", "server failure", "no such name", "not implemented", "refused"];

/** What happened, in a line. */
export function summaryOf(flow: Flow): string {
  if (flow.http) {
    const { method, path, code } = flow.http;
    const timing = flow.latencyMs === undefined ? "" : ` in ${flow.latencyMs < 10 ? flow.latencyMs.toFixed(1) : Math.round(flow.latencyMs)} ms`;
    return `${code ? `${code} ` : ""}${method} ${path}${timing}`;
  }
  if (flow.dns) {
    const { query, rcode, ips } = flow.dns;
    if (rcode) return `${query}: ${RCODES[rcode] ?? `rcode ${rcode}`}`;
    return ips.length ? `${query} → ${ips.join(", ")}` : `${query}?`;
  }
  if (flow.verdict === "dropped" && flow.reason) return reasonText(flow.reason);
  return flow.flags;
}

/** POLICY_DENIED → "Policy denied" */
export function reasonText(reason: string): string {
  const words = reason.replace(/^DROP_/, "").replaceAll("_", " ").toLowerCase();
  return words
    .replace(/^./, (first) => first.toUpperCase())
    .replace(/\b(tcp|ct|l[234]|ip|nat46|nat64|icmpv[46]|mac|fib|snat|dsr|vni|vlan|srv6|ttl|edt|sid|ipv6|igmp)\b/gi, (word) => word.toUpperCase());
}

/** "shop/cart", "world", "api.example.com" */
export function endName(end: End): string {
  if (end.namespace) return `${end.namespace}/${end.workload || end.pod || end.ip}`;
  return end.names[0] ?? (end.reserved === "world" ? end.ip || "world" : end.reserved);
}

export function endDetail(end: End): string {
  if (end.namespace && end.pod) return `${end.namespace}/${end.pod}`;
  return endName(end);
}
