// The filter language of the search field: words "key:value", "-" in front excludes, "from." or "to." names the side.
// Words of one key are alternatives, different keys must all hold. A word without key is looked for in every name.
import type { WireFilter } from "../api/wire";
import { inCidr, parseCidr } from "./ip";
import { type End, type Flow, reasonText } from "./flow";

type Side = "from" | "to" | "";

export interface Term {
  negated: boolean;
  side: Side;
  key: string; // "" for free text
  value: string;
}

interface KeyInfo {
  help: string;
  example: string;
  sided?: boolean;
}

export const KEYS: Record<string, KeyInfo> = {
  ns: { help: "Namespace", example: "ns:shop", sided: true },
  pod: { help: "Pod, by the start of its name", example: "pod:shop/web-", sided: true },
  workload: { help: "Workload", example: "workload:web", sided: true },
  label: { help: "Label", example: "label:app=web", sided: true },
  ip: { help: "Address or CIDR", example: "ip:10.0.0.0/8", sided: true },
  port: { help: "Port", example: "port:443", sided: true },
  dns: { help: "DNS name or query, * allowed", example: "dns:*.example.com", sided: true },
  service: { help: "Service", example: "service:shop/web", sided: true },
  identity: { help: "Security identity", example: "identity:4711", sided: true },
  entity: { help: "world, host, kube-apiserver …", example: "entity:world", sided: true },
  verdict: { help: "forwarded, dropped, audit, error", example: "verdict:dropped" },
  reason: { help: "Drop reason", example: "reason:POLICY_DENIED" },
  proto: { help: "TCP, UDP, ICMP, HTTP, DNS", example: "proto:HTTP" },
  path: { help: "HTTP path, the start or a regular expression after ~", example: "path:/api" },
  method: { help: "HTTP method", example: "method:POST" },
  status: { help: "HTTP status", example: "status:5xx" },
  policy: { help: "Policy that decided", example: "policy:allow-web" },
  node: { help: "Node that saw it", example: "node:node-1" },
  direction: { help: "ingress or egress", example: "direction:ingress" },
  reply: { help: "Replies", example: "reply:true" },
};

/** Splits at spaces; quotes keep them. */
export function parseTerms(text: string): Term[] {
  const terms: Term[] = [];
  const word = /(-?)((?:(?:from|to)\.)?)(?:([a-z]+):)?("(?:[^"\\]|\\.)*"?|\S+)/g;
  for (const match of text.matchAll(word)) {
    let key = match[3] ?? "";
    let value = match[4] ?? "";
    let side = match[2] ?? "";
    let negated = match[1] === "-";
    if (value.startsWith('"')) value = value.replace(/^"|"$/g, "").replace(/\\(.)/g, "$1");
    if (key && !(key in KEYS)) {
      // "foo:bar" with an unknown key is text: image tags, addresses with ports.
      value = `${key}:${value}`;
      key = "";
    }
    if (!key && side) {
      value = side + value;
      side = "";
    }
    if (!key && negated && value === "") negated = false;
    if (value === "") continue;
    terms.push({ negated, side: side === "from." ? "from" : side === "to." ? "to" : "", key, value });
  }
  return terms;
}

export function formatTerm(term: Term): string {
  const value = /[\s"]/.test(term.value) ? `"${term.value.replace(/(["\\])/g, "\\$1")}"` : term.value;
  return `${term.negated ? "-" : ""}${term.side ? `${term.side}.` : ""}${term.key ? `${term.key}:` : ""}${value}`;
}

export const formatTerms = (terms: readonly Term[]): string => terms.map(formatTerm).join(" ");

/** What is wrong with a term, for the person who typed it; "" when nothing is. */
export function termProblem(term: Term): string {
  const { key, value } = term;
  if (key === "port" && !(/^\d{1,5}$/.test(value) && Number(value) <= 65535)) return `port:${value} is no port (0 to 65535)`;
  if (key === "ip" && !parseCidr(value)) return `ip:${value} is neither an address nor a CIDR`;
  if (key === "verdict" && !VERDICT_WORDS[value.toLowerCase()]) return `verdict:${value}: there are ${Object.keys(VERDICT_WORDS).join(", ")}`;
  if (key === "direction" && !["ingress", "egress"].includes(value.toLowerCase())) return `direction:${value}: there are ingress, egress`;
  if (key === "reply" && !["true", "false"].includes(value.toLowerCase())) return `reply:${value}: there are true, false`;
  if (key === "identity" && !/^\d+$/.test(value)) return `identity:${value} is no number`;
  if (key === "status" && !/^[1-5](\d\d|xx)$/i.test(value)) return `status:${value}: a number such as 404, or 5xx`;
  if (key === "path" && value.startsWith("~") && !regex(value.slice(1))) return `path:${value} is no regular expression`;
  if (term.side && key && !KEYS[key]?.sided) return `${key}: has no side; leave out ${term.side}.`;
  return "";
}

const VERDICT_WORDS: Record<string, string[]> = {
  forwarded: ["FORWARDED", "REDIRECTED"],
  redirected: ["REDIRECTED"],
  dropped: ["DROPPED"],
  audit: ["AUDIT"],
  error: ["ERROR"],
  traced: ["TRACED"],
  translated: ["TRANSLATED"],
};

function regex(text: string): RegExp | null {
  try {
    return new RegExp(text);
  } catch {
    return null;
  }
}

/** "*.example.com" as a test; * stands for any characters. */
function wildcard(pattern: string): (text: string) => boolean {
  const lower = pattern.toLowerCase().replace(/\.$/, "");
  if (!lower.includes("*")) return (text) => text.toLowerCase() === lower;
  const source = lower.split("*").map((part) => part.replace(/[.+?^${}()|[\]\\]/g, "\\$&")).join(".*");
  const compiled = new RegExp(`^${source}$`);
  return (text) => compiled.test(text.toLowerCase());
}

/** "app=web" is the Kubernetes label; "reserved:world" and "k8s:app=web" are as they stand; a key alone means any value. */
function labelTest(wanted: string): (end: End) => boolean {
  const withSource = /^[a-z0-9-]+:/.test(wanted);
  return (end) =>
    end.labels.some((label) => {
      const bare = withSource ? label : label.replace(/^[a-z0-9-]+:/, "");
      return bare === wanted || (!wanted.includes("=") && bare.startsWith(`${wanted}=`));
    });
}

type EndTest = (end: End) => boolean;
type FlowTest = (flow: Flow) => boolean;

function endTest(key: string, value: string): EndTest | null {
  switch (key) {
    case "ns":
      return (end) => end.namespace === value;
    case "pod": {
      const [namespace, name] = value.includes("/") ? value.split("/", 2) : ["", value];
      return (end) => (!namespace || end.namespace === namespace) && end.pod !== "" && end.pod.startsWith(name ?? "");
    }
    case "workload": {
      const [namespace, name] = value.includes("/") ? value.split("/", 2) : ["", value];
      return (end) => (!namespace || end.namespace === namespace) && (end.workload || end.pod) === name;
    }
    case "label":
      return labelTest(value);
    case "ip": {
      const cidr = parseCidr(value);
      return cidr ? (end) => inCidr(end.ip, cidr) : () => false;
    }
    case "dns": {
      const test = wildcard(value);
      return (end) => end.names.some(test);
    }
    case "service":
      return (end) => end.service === value || end.service.endsWith(`/${value}`);
    case "identity":
      return (end) => end.identity === Number(value);
    case "entity":
      return value === "cluster" ? (end) => end.namespace !== "" : (end) => end.reserved === value;
    default:
      return null;
  }
}

function termTest(term: Term): FlowTest {
  const { key, value, side } = term;
  const lower = value.toLowerCase();
  if (key === "port") {
    const port = Number(value);
    // A port without a side is the one that was asked for, not the client's random one.
    if (side === "from") return (flow) => flow.source.port === port;
    if (side === "to") return (flow) => flow.destination.port === port;
    return (flow) => (flow.reply ? flow.source.port : flow.destination.port) === port;
  }
  if (key === "dns" && side === "") {
    const test = wildcard(value);
    return (flow) => (flow.dns !== undefined && test(flow.dns.query)) || flow.source.names.some(test) || flow.destination.names.some(test);
  }
  const end = endTest(key, value);
  if (end) {
    if (side === "from") return (flow) => end(flow.source);
    if (side === "to") return (flow) => end(flow.destination);
    return (flow) => end(flow.source) || end(flow.destination);
  }
  switch (key) {
    case "verdict": {
      const words = VERDICT_WORDS[lower] ?? [];
      return (flow) => words.includes(flow.verdictWord);
    }
    case "reason":
      return (flow) => flow.reason.toLowerCase() === lower || reasonText(flow.reason).toLowerCase() === lower;
    case "proto":
      return (flow) => flow.protocol.toLowerCase() === lower || flow.layer.toLowerCase() === lower;
    case "path": {
      const pattern = value.startsWith("~") ? regex(value.slice(1)) : null;
      return pattern ? (flow) => flow.http !== undefined && pattern.test(flow.http.path) : (flow) => flow.http?.path.startsWith(value) ?? false;
    }
    case "method":
      return (flow) => flow.http?.method.toLowerCase() === lower;
    case "status":
      return (flow) => {
        const code = flow.http?.code ?? 0;
        return lower.endsWith("xx") ? Math.floor(code / 100) === Number(lower[0]) : code === Number(lower);
      };
    case "policy":
      return (flow) => flow.policies.some((policy) => policy.name === value || `${policy.namespace}/${policy.name}` === value);
    case "node":
      return (flow) => flow.node === value || flow.node.endsWith(`/${value}`);
    case "direction":
      return (flow) => flow.direction === lower;
    case "reply":
      return (flow) => flow.reply === (lower === "true");
    default:
      return (flow) => textOf(flow).includes(lower);
  }
}

function textOf(flow: Flow): string {
  const { source: s, destination: d } = flow;
  return [
    s.namespace, s.pod, s.workload, s.ip, s.reserved, s.service, ...s.names,
    d.namespace, d.pod, d.workload, d.ip, d.reserved, d.service, ...d.names,
    flow.http?.path, flow.http?.method, flow.dns?.query, flow.reason, flow.node, ...flow.policies.map((policy) => policy.name),
  ].join(" ").toLowerCase();
}

/** One test for all terms. */
export function compile(terms: readonly Term[]): FlowTest {
  const groups = new Map<string, FlowTest[]>();
  const excludes: FlowTest[] = [];
  for (const term of terms) {
    if (termProblem(term)) continue;
    const test = termTest(term);
    if (term.negated) excludes.push(test);
    else {
      // Every free word must appear; of a key's words, one.
      const group = term.key ? `${term.side}.${term.key}` : `text ${groups.size}`;
      groups.set(group, [...(groups.get(group) ?? []), test]);
    }
  }
  const all = [...groups.values()];
  if (all.length === 0 && excludes.length === 0) return () => true;
  return (flow) => all.every((any) => any.some((test) => test(flow))) && !excludes.some((test) => test(flow));
}

const SIDED_FIELD: Record<string, (value: string) => [string, string | number | { name: string }] | null> = {
  ns: (value) => ["pod", `${value}/`],
  pod: (value) => (value.includes("/") ? ["pod", value] : null),
  label: (value) => ["label", value],
  ip: (value) => ["ip", value],
  service: (value) => (value.includes("/") ? ["service", value] : null),
  identity: (value) => ["identity", Number(value)],
  workload: (value) => (value.includes("/") ? null : ["workload", { name: value }]),
  entity: (value) => (["world", "cluster"].includes(value) ? null : ["label", `reserved:${value}`]),
};

const PLAIN_FIELD: Record<string, (value: string) => [keyof WireFilter, unknown[]] | null> = {
  verdict: (value) => ["verdict", VERDICT_WORDS[value.toLowerCase()] ?? []],
  reason: (value) => (/^[A-Z0-9_]+$/.test(value) ? ["drop_reason_desc", [value]] : null),
  path: (value) => ["http_path", [value.startsWith("~") ? value.slice(1) : `${value.replace(/[.+?^${}()|[\]\\*]/g, "\\$&")}.*`]],
  method: (value) => ["http_method", [value.toUpperCase()]],
  status: (value) => ["http_status_code", [value.toLowerCase().replace("xx", "+")]],
  direction: (value) => ["traffic_direction", [value.toUpperCase()]],
  reply: (value) => ["reply", [value.toLowerCase() === "true"]],
};

const MOST_FILTERS = 16;

export interface ServerFilters {
  filter: WireFilter[];
  exclude: WireFilter[];
}

/**
 * The part of the terms that Hubble's filters can say, so that the relay sends less. The page tests every flow again:
 * what cannot be said to the server (policies, free text) is left to that.
 */
export function serverFilters(terms: readonly Term[], namespace: string): ServerFilters {
  const good = terms.filter((term) => !termProblem(term));
  const wanted = good.filter((term) => !term.negated);
  if (namespace) wanted.push({ negated: false, side: "", key: "ns", value: namespace });
  const groups = new Map<string, Term[]>();
  for (const term of wanted) {
    const name = `${term.side}.${term.key}`;
    groups.set(name, [...(groups.get(name) ?? []), term]);
  }
  let filters: Record<string, unknown[]>[] = [{}];
  const add = (filter: Record<string, unknown[]>, field: string, values: unknown[]) => ({ ...filter, [field]: [...(filter[field] ?? []), ...values] });
  // A field that is taken by another group would turn AND into OR.
  const free = (field: string) => filters.every((filter) => !(field in filter));
  for (const group of groups.values()) {
    const { key, side } = group[0]!;
    const plain = PLAIN_FIELD[key];
    if (plain) {
      const parts = group.map((term) => plain(term.value));
      if (parts.some((part) => part === null)) continue;
      const field = parts[0]![0];
      if (free(field)) filters = filters.map((filter) => add(filter, field, parts.flatMap((part) => part![1])));
      continue;
    }
    const sided = SIDED_FIELD[key];
    if (!sided) continue;
    const parts = group.map((term) => sided(term.value));
    if (parts.some((part) => part === null)) continue;
    const sides = side === "from" ? ["source"] : side === "to" ? ["destination"] : ["source", "destination"];
    const fields = sides.map((name) => `${name}_${parts[0]![0]}`);
    if (!fields.every(free) || filters.length * fields.length > MOST_FILTERS) continue;
    filters = filters.flatMap((filter) => fields.map((field) => add(filter, field, parts.map((part) => part![1]))));
  }
  const exclude: Record<string, unknown[]>[] = [];
  for (const term of good.filter((each) => each.negated)) {
    const plain = PLAIN_FIELD[term.key]?.(term.value);
    if (plain) exclude.push({ [plain[0]]: plain[1] });
    const sided = SIDED_FIELD[term.key]?.(term.value);
    if (sided) {
      const sides = term.side === "from" ? ["source"] : term.side === "to" ? ["destination"] : ["source", "destination"];
      for (const name of sides) exclude.push({ [`${name}_${sided[0]}`]: [sided[1]] });
    }
  }
  const empty = filters.length === 1 && Object.keys(filters[0]!).length === 0;
  return { filter: empty ? [] : (filters as WireFilter[]), exclude: exclude as WireFilter[] };
}
