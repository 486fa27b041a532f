// A cluster that is made up: workloads that call each other, and the flows of it, the same for the same seed.
import type { WireEndpoint, WireFlow, WireObject } from "../../ui/src/api/wire";

/** Numbers that look random and are the same in every run. */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

export interface Workload {
  namespace: string;
  name: string;
  kind: string;
  pods: WireEndpoint[];
  ips: string[];
  labels: string[];
}

interface Call {
  from: Workload | "world" | "host";
  to: Workload | "world" | "host" | "kube-apiserver";
  port: number;
  protocol: "TCP" | "UDP";
  weight: number;
  verdict?: "DROPPED" | "AUDIT";
  reason?: string;
  http?: string[];
  dns?: string[];
  name?: string;
  policy?: { name: string; namespace: string; kind: string };
}

export interface Cluster {
  workloads: Workload[];
  calls: Call[];
  nodes: string[];
  policies: WireObject[];
}

let identities = 1000;

export function workload(namespace: string, name: string, kind: string, pods: number, index: number): Workload {
  const identity = ++identities;
  const labels = [`k8s:app=${name}`, `k8s:io.kubernetes.pod.namespace=${namespace}`, "k8s:io.cilium.k8s.policy.serviceaccount=default"];
  const ips: string[] = [];
  const list: WireEndpoint[] = [];
  for (let pod = 0; pod < pods; pod++) {
    const number = index * 64 + pod;
    ips.push(`10.${Math.floor(number / 65536) % 256}.${Math.floor(number / 256) % 256}.${(number % 254) + 1}`);
    const suffix = kind === "StatefulSet" ? `-${pod}` : `-${(identity * 7919 + 1048576).toString(36).slice(-6)}-${(pod * 48271 + 60466176).toString(36).slice(-5)}`;
    list.push({ ID: number + 1, identity, cluster_name: "kind", namespace, labels, pod_name: `${name}${suffix}`, workloads: [{ name, kind }] });
  }
  return { namespace, name, kind, pods: list, ips, labels };
}

/** A shop: small enough to be read. One call is dropped by policy, one is audited, one never finds its way out. */
export function shop(): Cluster {
  const make = (namespace: string, name: string, kind: string, pods: number, index: number) => workload(namespace, name, kind, pods, index);
  const web = make("shop", "web", "Deployment", 3, 0);
  const api = make("shop", "api", "Deployment", 4, 1);
  const cart = make("shop", "cart", "Deployment", 2, 2);
  const redis = make("shop", "redis", "StatefulSet", 1, 3);
  const postgres = make("shop", "postgres", "StatefulSet", 2, 4);
  const reports = make("shop", "reports", "CronJob", 1, 5);
  const checkout = make("payments", "checkout", "Deployment", 2, 6);
  const ledger = make("payments", "ledger", "StatefulSet", 1, 7);
  const prometheus = make("monitoring", "prometheus", "StatefulSet", 1, 8);
  const exporter = make("monitoring", "node-exporter", "DaemonSet", 3, 9);
  const dns = make("kube-system", "coredns", "Deployment", 2, 10);
  const policy = (name: string, namespace: string) => ({ name, namespace, kind: "CiliumNetworkPolicy" });
  const calls: Call[] = [
    { from: "world", to: web, port: 443, protocol: "TCP", weight: 8, policy: policy("web-from-world", "shop") },
    { from: web, to: api, port: 8080, protocol: "TCP", weight: 10, http: ["GET /v1/items", "GET /v1/items/42", "POST /v1/orders"], policy: policy("api", "shop") },
    { from: api, to: cart, port: 8080, protocol: "TCP", weight: 6, http: ["GET /cart/17", "PUT /cart/17"] },
    { from: api, to: postgres, port: 5432, protocol: "TCP", weight: 5, policy: policy("postgres", "shop") },
    { from: cart, to: redis, port: 6379, protocol: "TCP", weight: 7 },
    { from: api, to: checkout, port: 8443, protocol: "TCP", weight: 2, policy: policy("checkout", "payments") },
    { from: checkout, to: ledger, port: 5432, protocol: "TCP", weight: 2 },
    { from: checkout, to: "world", port: 443, protocol: "TCP", weight: 1.5, name: "api.stripe.com" },
    { from: web, to: dns, port: 53, protocol: "UDP", weight: 1.5, dns: ["api.shop.svc.cluster.local"] },
    { from: checkout, to: dns, port: 53, protocol: "UDP", weight: 1, dns: ["api.stripe.com"] },
    { from: prometheus, to: api, port: 9090, protocol: "TCP", weight: 1, http: ["GET /metrics"] },
    { from: prometheus, to: exporter, port: 9100, protocol: "TCP", weight: 1 },
    { from: prometheus, to: "kube-apiserver", port: 6443, protocol: "TCP", weight: 0.6 },
    { from: "host", to: web, port: 443, protocol: "TCP", weight: 0.5 },
    { from: reports, to: postgres, port: 5432, protocol: "TCP", weight: 1.2, verdict: "DROPPED", reason: "POLICY_DENIED" },
    { from: cart, to: "host", port: 10250, protocol: "TCP", weight: 0.4, verdict: "DROPPED", reason: "POLICY_DENIED" },
    { from: reports, to: "world", port: 25, protocol: "TCP", weight: 0.3, verdict: "DROPPED", reason: "POLICY_DENY", policy: policy("no-mail", "shop") },
    { from: prometheus, to: redis, port: 6379, protocol: "TCP", weight: 0.5, verdict: "AUDIT" },
  ];
  const policies: WireObject[] = [
    {
      apiVersion: "cilium.io/v2", kind: "CiliumNetworkPolicy", metadata: { name: "postgres", namespace: "shop" },
      spec: { endpointSelector: { matchLabels: { app: "postgres" } }, ingress: [{ fromEndpoints: [{ matchLabels: { app: "api" } }], toPorts: [{ ports: [{ port: "5432", protocol: "TCP" }] }] }] },
    },
    {
      apiVersion: "cilium.io/v2", kind: "CiliumNetworkPolicy", metadata: { name: "api", namespace: "shop" },
      spec: {
        endpointSelector: { matchLabels: { app: "api" } },
        ingress: [
          { fromEndpoints: [{ matchLabels: { app: "web" } }], toPorts: [{ ports: [{ port: "8080", protocol: "TCP" }] }] },
          { fromEndpoints: [{ matchLabels: { "k8s:io.kubernetes.pod.namespace": "monitoring" } }], toPorts: [{ ports: [{ port: "9090", protocol: "TCP" }] }] },
        ],
      },
    },
    {
      apiVersion: "cilium.io/v2", kind: "CiliumNetworkPolicy", metadata: { name: "no-mail", namespace: "shop" },
      spec: { endpointSelector: {}, egressDeny: [{ toEntities: ["world"], toPorts: [{ ports: [{ port: "25", protocol: "TCP" }] }] }], egress: [{ toEntities: ["all"] }] },
    },
    {
      apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", metadata: { name: "checkout", namespace: "payments" },
      spec: { podSelector: { matchLabels: { app: "checkout" } }, policyTypes: ["Ingress"], ingress: [{ from: [{ namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "shop" } }, podSelector: { matchLabels: { app: "api" } } }], ports: [{ port: 8443, protocol: "TCP" }] }] },
    },
  ];
  return { workloads: [web, api, cart, redis, postgres, reports, checkout, ledger, prometheus, exporter, dns], calls, nodes: ["kind/node-1", "kind/node-2", "kind/node-3"], policies };
}

/** So many pods in namespaces of eight workloads. */
export function large(pods: number, seed = 7): Cluster {
  const next = random(seed);
  const workloads: Workload[] = [];
  const perWorkload = 5;
  const count = Math.ceil(pods / perWorkload);
  for (let index = 0; index < count; index++) {
    const kinds = ["Deployment", "Deployment", "Deployment", "StatefulSet", "DaemonSet"];
    workloads.push(workload(`team-${String(Math.floor(index / 8) + 1).padStart(2, "0")}`, `svc-${String((index % 8) + 1)}`, kinds[Math.floor(next() * kinds.length)]!, perWorkload, index));
  }
  const calls: Call[] = [];
  for (let index = 0; index < workloads.length; index++) {
    const from = workloads[index]!;
    const base = Math.floor(index / 8) * 8;
    for (let way = 0; way < 2; way++) {
      const near = next() < 0.8;
      const to = workloads[near ? base + Math.floor(next() * 8) : Math.floor(next() * workloads.length)];
      if (to && to !== from) calls.push({ from, to, port: [8080, 5432, 6379, 9090, 443][Math.floor(next() * 5)]!, protocol: "TCP", weight: next(), ...(next() < 0.03 ? { verdict: "DROPPED" as const, reason: "POLICY_DENIED" } : {}) });
    }
    if (next() < 0.1) calls.push({ from: "world", to: from, port: 443, protocol: "TCP", weight: next() });
  }
  return { workloads, calls, nodes: Array.from({ length: 20 }, (_, index) => `kind/node-${index + 1}`), policies: [] };
}

const WORLD: WireEndpoint = { identity: 2, labels: ["reserved:world"] };
const HOST: WireEndpoint = { identity: 1, labels: ["reserved:host"] };
const API: WireEndpoint = { identity: 7, labels: ["reserved:kube-apiserver", "reserved:remote-node"] };

let serial = 0;

/** The flows of one call: as seen where it arrives, sometimes where it left, sometimes the answer. */
export function flowsOf(cluster: Cluster, call: Call, time: number, next: () => number): WireFlow[] {
  const end = (who: Call["from"] | Call["to"]): { endpoint: WireEndpoint; ip: string } => {
    if (who === "world") return { endpoint: WORLD, ip: `203.0.113.${1 + Math.floor(next() * 30)}` };
    if (who === "host") return { endpoint: HOST, ip: "172.18.0.2" };
    if (who === "kube-apiserver") return { endpoint: API, ip: "172.18.0.3" };
    const index = Math.floor(next() * who.pods.length);
    return { endpoint: who.pods[index]!, ip: who.ips[index]! };
  };
  const source = end(call.from);
  const destination = end(call.to);
  const node = (who: WireEndpoint) => cluster.nodes[(who.ID ?? 0) % cluster.nodes.length]!;
  const verdict = call.verdict ?? "FORWARDED";
  const uuid = () => `00000000-0000-4000-8000-${String(++serial).padStart(12, "0")}`;
  const egress = typeof call.to === "string";
  const stamp = (ms: number) => new Date(ms).toISOString().replace(/(\.\d{3})Z/, `$1${String(Math.floor(next() * 1e6)).padStart(6, "0")}Z`);
  const port = 32768 + Math.floor(next() * 28000);
  const base: WireFlow = {
    time: stamp(time), uuid: uuid(), verdict, IP: { source: source.ip, destination: destination.ip },
    l4: call.protocol === "TCP" ? { TCP: { source_port: port, destination_port: call.port, flags: { SYN: true } } } : { UDP: { source_port: port, destination_port: call.port } },
    source: source.endpoint, destination: destination.endpoint, Type: "L3_L4", node_name: node(egress ? source.endpoint : destination.endpoint),
    traffic_direction: egress ? "EGRESS" : "INGRESS", is_reply: false, extensions: { packets: "1", bytes: String(60 + Math.floor(next() * 4000)) },
  };
  if (call.name) base.destination_names = [call.name];
  if (call.reason) base.drop_reason_desc = call.reason;
  if (call.policy) {
    const field = verdict === "DROPPED" ? "egress_denied_by" : egress ? "egress_allowed_by" : "ingress_allowed_by";
    base[field] = [call.policy];
  }
  const flows = [base];
  if (verdict === "FORWARDED") {
    if (!egress && typeof call.from !== "string") flows.unshift({ ...base, time: stamp(time - 1), uuid: uuid(), node_name: node(source.endpoint), traffic_direction: "EGRESS" });
    const turned: WireFlow = {
      ...base, time: stamp(time + 1), uuid: uuid(), is_reply: true, source: destination.endpoint, destination: source.endpoint, IP: { source: destination.ip, destination: source.ip },
      l4: call.protocol === "TCP" ? { TCP: { source_port: call.port, destination_port: port, flags: { SYN: true, ACK: true } } } : { UDP: { source_port: call.port, destination_port: port } },
      ...(call.name ? { source_names: [call.name], destination_names: [] } : {}),
    };
    if (next() < 0.5) flows.push(turned);
    if (call.http) {
      const [method = "", path = ""] = call.http[Math.floor(next() * call.http.length)]!.split(" ");
      const host = typeof call.to === "string" ? "" : `${call.to.name}.${call.to.namespace}`;
      flows.push({ ...turned, uuid: uuid(), Type: "L7", l7: { type: "RESPONSE", latency_ns: String(Math.floor(1e6 + next() * 4e7)), http: { code: next() < 0.03 ? 503 : 200, method, url: `http://${host}:${call.port}${path}`, protocol: "HTTP/1.1" } } });
    }
    if (call.dns) {
      const query = `${call.dns[Math.floor(next() * call.dns.length)]!}.`;
      flows.push({ ...turned, uuid: uuid(), Type: "L7", l7: { type: "RESPONSE", latency_ns: "800000", dns: { query, ips: next() < 0.1 ? [] : ["10.96.0.12"], rcode: next() < 0.08 ? 3 : 0, qtypes: ["A"] } } });
    }
  }
  return flows;
}

/** Chooses calls by weight. */
export function chooser(cluster: Cluster, next: () => number): () => Call {
  let sum = 0;
  const edges = cluster.calls.map((call) => (sum += call.weight));
  return () => {
    const at = next() * sum;
    let low = 0;
    let high = edges.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (edges[middle]! < at) low = middle + 1;
      else high = middle;
    }
    return cluster.calls[low]!;
  };
}
