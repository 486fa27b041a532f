// Policies as a picture: what each selects among the workloads that have been seen, whom it lets in and out.
// An answer for people. Who really decides is the agent; for one flow it says so itself (the explanation of a drop).
import type { WireObject, WirePolicies } from "../api/wire";
import type { Shape, ShapeNode, ShapePort } from "./layout";

export interface Known {
  id: string;
  namespace: string;
  title: string;
  subtitle: string;
  kind: string;
  labels: readonly string[];
  reserved: string;
}

interface PolicyEdge {
  id: string;
  source: string;
  target: string;
  portKey: string;
  deny: boolean;
  direction: "ingress" | "egress";
  policies: string[];
}

interface PolicyInfo {
  key: string; // "CiliumNetworkPolicy shop/web"
  kind: string;
  namespace: string;
  name: string;
  /** Ids of what it selects. */
  subjects: string[];
  ingress: boolean;
  egress: boolean;
  rules: number;
  edges: string[];
  object: WireObject;
}

export interface PolicyPicture extends Shape {
  nodes: Map<string, ShapeNode>;
  known: Map<string, Known>;
  edges: Map<string, PolicyEdge>;
  policies: PolicyInfo[];
  /** Closed but for what is drawn. */
  closed: Map<string, { ingress: boolean; egress: boolean }>;
}

type Json = Record<string, unknown>;
const list = (value: unknown): Json[] => (Array.isArray(value) ? (value.filter((item) => item !== null && typeof item === "object") as Json[]) : []);
const strings = (value: unknown): string[] => (Array.isArray(value) ? value.filter((item): item is string => typeof item === "string") : []);
const record = (value: unknown): Json | null => (value !== null && typeof value === "object" && !Array.isArray(value) ? (value as Json) : null);

const NS_KEY = "io.kubernetes.pod.namespace";
const NS_LABELS = "io.cilium.k8s.namespace.labels.";

/** Value of a label by its key, with any source: "k8s:app", "any.app" and "app" are asked for alike. */
function labelValue(known: Known, rawKey: string): string | undefined {
  const match = /^(any|k8s|container|reserved|cni|cidr|fqdn)[:.](.+)$/.exec(rawKey);
  const source = match && match[1] !== "any" ? match[1]! : "";
  const key = match ? match[2]! : rawKey;
  if (key === NS_KEY && known.namespace) return known.namespace;
  for (const label of known.labels) {
    const colon = label.indexOf(":");
    if (source && label.slice(0, colon) !== source) continue;
    const rest = label.slice(colon + 1);
    const equals = rest.indexOf("=");
    if ((equals < 0 ? rest : rest.slice(0, equals)) === key) return equals < 0 ? "" : rest.slice(equals + 1);
  }
  return undefined;
}

/** A Kubernetes LabelSelector. */
export function selects(selector: Json | null, known: Known, prefix = ""): boolean {
  for (const [key, value] of Object.entries(record(selector?.matchLabels) ?? {})) {
    if (labelValue(known, prefix + key) !== value) return false;
  }
  for (const expression of list(selector?.matchExpressions)) {
    const value = labelValue(known, prefix + String(expression.key ?? ""));
    const values = strings(expression.values);
    const holds =
      expression.operator === "In" ? value !== undefined && values.includes(value)
      : expression.operator === "NotIn" ? value === undefined || !values.includes(value)
      : expression.operator === "Exists" ? value !== undefined
      : expression.operator === "DoesNotExist" ? value === undefined
      : false;
    if (!holds) return false;
  }
  return true;
}

/** A selector that names no namespace is about the policy's own. */
function namesNamespace(selector: Json | null): boolean {
  const keys = [...Object.keys(record(selector?.matchLabels) ?? {}), ...list(selector?.matchExpressions).map((each) => String(each.key ?? ""))];
  return keys.some((key) => key.includes(NS_KEY) || key.includes(NS_LABELS) || key.startsWith("reserved"));
}

type Peers = { ids: Set<string>; extra: Known[] };

function outside(id: string, title: string, subtitle: string, kind: string): Known {
  return { id, namespace: "", title, subtitle, kind, labels: [], reserved: "" };
}

const ENTITY_TITLES: Record<string, string> = { world: "World", host: "Host", "remote-node": "Other nodes", "kube-apiserver": "Kubernetes API", health: "Health checks", ingress: "Ingress" };

/** "All" is one node, not a line to everybody: a picture in which everything is joined says nothing. */
function addEntity(entity: string, peers: Peers): void {
  const name = entity.startsWith("world") ? "world" : entity;
  const host = name === "host" || name === "remote-node";
  peers.extra.push(
    name === "all" ? outside("entity:all", "Everything", "inside and outside", "reserved")
    : name === "cluster" ? outside("entity:cluster", "Whole cluster", "all pods and nodes", "namespace")
    : name === "world" ? outside("world", "World", "outside the cluster", "world")
    : outside(`reserved:${name}`, ENTITY_TITLES[name] ?? name, "reserved", host ? "host" : "reserved"),
  );
}

const allOf = (namespace: string): Known => ({ ...outside(`all:${namespace}`, "All pods", `of ${namespace}`, "namespace"), namespace });
const isEmpty = (selector: Json | null): boolean => !selector || (Object.keys(record(selector.matchLabels) ?? {}).length === 0 && list(selector.matchExpressions).length === 0);

function ciliumPeers(rule: Json, way: "from" | "to", namespace: string, all: readonly Known[]): Peers {
  const peers: Peers = { ids: new Set(), extra: [] };
  const fields = ["Endpoints", "Entities", "CIDR", "CIDRSet", "FQDNs", "Nodes", "Services", "Groups"];
  const present = fields.filter((field) => rule[way + field] !== undefined);
  if (present.length === 0) addEntity("all", peers);
  for (const selector of list(rule[`${way}Endpoints`])) {
    if (isEmpty(selector)) {
      peers.extra.push(namespace ? allOf(namespace) : outside("entity:cluster", "Whole cluster", "all pods and nodes", "namespace"));
      continue;
    }
    for (const known of all) {
      if (!known.namespace || (namespace && !namesNamespace(selector) && known.namespace !== namespace)) continue;
      if (selects(selector, known)) peers.ids.add(known.id);
    }
    for (const key of Object.keys(record(selector.matchLabels) ?? {})) {
      const entity = /^reserved[:.](.+)$/.exec(key)?.[1];
      if (entity) addEntity(entity, peers);
    }
  }
  for (const entity of strings(rule[`${way}Entities`])) addEntity(entity, peers);
  for (const cidr of [...strings(rule[`${way}CIDR`]), ...list(rule[`${way}CIDRSet`]).map((set) => String(set.cidr ?? set.cidrGroupRef ?? ""))]) {
    if (cidr) peers.extra.push(outside(`cidr:${cidr}`, cidr, "CIDR", "world"));
  }
  for (const fqdn of list(rule[`${way}FQDNs`])) {
    const name = String(fqdn.matchName ?? fqdn.matchPattern ?? "");
    if (name) peers.extra.push(outside(`dns:${name}`, name, "outside", "dns"));
  }
  if (present.includes("Nodes")) addEntity("remote-node", peers);
  for (const service of list(rule[`${way}Services`])) {
    const named = record(service.k8sService);
    if (named) peers.extra.push(outside(`service:${String(named.namespace ?? namespace)}/${String(named.serviceName)}`, String(named.serviceName), "Service", "reserved"));
  }
  return peers;
}

function ciliumPorts(rule: Json): string[] {
  const keys: string[] = [];
  for (const block of list(rule.toPorts)) {
    for (const port of list(block.ports)) {
      const protocol = String(port.protocol ?? "ANY");
      const end = port.endPort ? `-${String(port.endPort)}` : "";
      keys.push(`${protocol === "ANY" ? "any" : protocol}/${String(port.port ?? "0")}${end}`);
    }
  }
  for (const block of list(rule.icmps)) for (const field of list(block.fields)) keys.push(`${field.family === "IPv6" ? "ICMPv6" : "ICMP"}/${String(field.type)}`);
  return keys.length ? keys : ["any"];
}

interface Rule {
  direction: "ingress" | "egress";
  deny: boolean;
  peers: Peers;
  ports: string[];
}

interface Spec {
  subjects: Known[];
  /** It selects all of its namespace: drawn once. */
  whole: string;
  ingress: boolean;
  egress: boolean;
  rules: Rule[];
}

function ciliumSpec(spec: Json, namespace: string, all: readonly Known[]): Spec {
  const selector = record(spec.endpointSelector);
  const host = record(spec.nodeSelector);
  const subjects = host
    ? all.filter((known) => known.id === "reserved:host")
    : all.filter((known) => known.namespace && (!namespace || known.namespace === namespace) && selects(selector, known));
  const enable = record(spec.enableDefaultDeny);
  const rules: Rule[] = [];
  for (const [field, direction, way, deny] of [["ingress", "ingress", "from", false], ["ingressDeny", "ingress", "from", true], ["egress", "egress", "to", false], ["egressDeny", "egress", "to", true]] as const) {
    for (const rule of list(spec[field])) {
      // An empty rule allows nothing and closes: the usual way to write "deny all".
      if (!deny && Object.keys(rule).length === 0) continue;
      rules.push({ direction, deny, peers: ciliumPeers(rule, way, namespace, all), ports: ciliumPorts(rule) });
    }
  }
  const has = (direction: "ingress" | "egress") => spec[direction] !== undefined || spec[`${direction}Deny`] !== undefined;
  return { subjects, whole: host === null && namespace && isEmpty(selector) ? namespace : "", ingress: has("ingress") && enable?.ingress !== false, egress: has("egress") && enable?.egress !== false, rules };
}

function kubernetesSpec(spec: Json, namespace: string, all: readonly Known[], namespaceLabels: ReadonlyMap<string, Record<string, string>>): Spec {
  const subjects = all.filter((known) => known.namespace === namespace && selects(record(spec.podSelector), known));
  const types = strings(spec.policyTypes);
  const ingress = types.length ? types.includes("Ingress") : true;
  const egress = types.length ? types.includes("Egress") : spec.egress !== undefined;
  const inNamespace = (selector: Json, known: Known): boolean => {
    const labels = { "kubernetes.io/metadata.name": known.namespace, ...namespaceLabels.get(known.namespace) };
    return selects(selector, { ...known, namespace: "", labels: Object.entries(labels).map(([key, value]) => `k8s:${key}=${value}`) });
  };
  const rules: Rule[] = [];
  for (const direction of ["ingress", "egress"] as const) {
    if (!(direction === "ingress" ? ingress : egress)) continue;
    for (const rule of list(spec[direction])) {
      const peers: Peers = { ids: new Set(), extra: [] };
      const from = list(rule[direction === "ingress" ? "from" : "to"]);
      if (from.length === 0) addEntity("all", peers);
      for (const peer of from) {
        const block = record(peer.ipBlock);
        if (block) peers.extra.push(outside(`cidr:${String(block.cidr)}`, String(block.cidr), "CIDR", "world"));
        else {
          const spaces = record(peer.namespaceSelector);
          if (isEmpty(record(peer.podSelector)) && (!spaces || isEmpty(spaces))) {
            peers.extra.push(spaces ? outside("entity:cluster", "Whole cluster", "all pods and nodes", "namespace") : allOf(namespace));
            continue;
          }
          for (const known of all) {
            if (!known.namespace || !(spaces ? inNamespace(spaces, known) : known.namespace === namespace)) continue;
            if (selects(record(peer.podSelector), known)) peers.ids.add(known.id);
          }
        }
      }
      const ports = list(rule.ports).map((port) => `${String(port.protocol ?? "TCP")}/${String(port.port ?? "0")}${port.endPort ? `-${String(port.endPort)}` : ""}`);
      rules.push({ direction, deny: false, peers, ports: ports.length ? ports : ["any"] });
    }
  }
  return { subjects, whole: isEmpty(record(spec.podSelector)) ? namespace : "", ingress, egress, rules };
}

const policyKey = (object: WireObject): string =>
  `${object.kind ?? ""} ${object.metadata?.namespace ? `${object.metadata.namespace}/` : ""}${object.metadata?.name ?? ""}`;

export function drawPolicies(wire: WirePolicies, all: readonly Known[], onlyNamespace: string): PolicyPicture {
  const namespaceLabels = new Map((wire.namespaces ?? []).map((each) => [each.name, each.labels ?? {}]));
  const known = new Map(all.map((each) => [each.id, each]));
  const edges = new Map<string, PolicyEdge>();
  const closed = new Map<string, { ingress: boolean; egress: boolean }>();
  const policies: PolicyInfo[] = [];
  for (const object of wire.policies) {
    const namespace = object.metadata?.namespace ?? "";
    if (onlyNamespace && namespace && namespace !== onlyNamespace) continue;
    const key = policyKey(object);
    const info: PolicyInfo = { key, kind: object.kind ?? "", namespace, name: object.metadata?.name ?? "", subjects: [], ingress: false, egress: false, rules: 0, edges: [], object };
    const specs = [...(object.spec ? [object.spec] : []), ...(object.specs ?? [])].map((spec) =>
      object.kind === "NetworkPolicy" ? kubernetesSpec(spec, namespace, all, namespaceLabels) : ciliumSpec(spec, object.kind === "CiliumClusterwideNetworkPolicy" ? "" : namespace, all),
    );
    for (const spec of specs) {
      const subjects = spec.subjects.filter((subject) => !onlyNamespace || subject.namespace === onlyNamespace || !subject.namespace);
      info.ingress ||= spec.ingress;
      info.egress ||= spec.egress;
      info.rules += spec.rules.length;
      for (const subject of subjects) {
        if (!info.subjects.includes(subject.id)) info.subjects.push(subject.id);
        const now = closed.get(subject.id) ?? { ingress: false, egress: false };
        closed.set(subject.id, { ingress: now.ingress || spec.ingress, egress: now.egress || spec.egress });
      }
      const whole = spec.whole && subjects.length > 1 ? allOf(spec.whole) : null;
      if (whole) known.set(whole.id, whole);
      for (const subject of whole ? [whole] : subjects) {
        for (const rule of spec.rules) {
          for (const extra of rule.peers.extra) if (!known.has(extra.id)) known.set(extra.id, extra);
          for (const peer of new Set([...rule.peers.ids, ...rule.peers.extra.map((each) => each.id)])) {
            const [source, target] = rule.direction === "ingress" ? [peer, subject.id] : [subject.id, peer];
            for (const portKey of rule.ports) {
              const id = `${source}>${target}>${portKey}>${rule.deny ? "deny" : "allow"}`;
              const edge = edges.get(id) ?? { id, source, target, portKey, deny: rule.deny, direction: rule.direction, policies: [] };
              if (!edge.policies.includes(key)) edge.policies.push(key);
              edges.set(id, edge);
              if (!info.edges.includes(id)) info.edges.push(id);
            }
          }
        }
      }
    }
    policies.push(info);
  }
  const nodes = new Map<string, ShapeNode>();
  const used = new Set<string>([...closed.keys(), ...[...edges.values()].flatMap((edge) => [edge.source, edge.target])]);
  for (const each of known.values()) {
    const own = each.namespace !== "" && !each.id.startsWith("all:") && (!onlyNamespace || each.namespace === onlyNamespace);
    if (!own && !used.has(each.id)) continue;
    nodes.set(each.id, { id: each.id, group: each.namespace, kind: each.kind, ports: new Map<string, ShapePort>() });
  }
  for (const edge of edges.values()) {
    const [protocol, port] = edge.portKey.split("/");
    const ports = nodes.get(edge.target)?.ports as Map<string, ShapePort> | undefined;
    ports?.set(edge.portKey, { key: edge.portKey, protocol: protocol === "any" ? "" : protocol!, port: Number.parseInt(port ?? "0", 10) || 0, layer: "" });
  }
  policies.sort((a, b) => (a.key < b.key ? -1 : 1));
  return { nodes, known, edges, policies, closed };
}
