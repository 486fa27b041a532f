// A policy that would allow one dropped flow and as little else as its labels can say. The agent's own suggestion, which
// knows the rules, is better; this one is for flows that come without it.
import type { End, Flow } from "./flow";

const TELLING = ["app.kubernetes.io/name", "app.kubernetes.io/component", "app.kubernetes.io/instance", "app", "k8s-app", "name", "component", "role", "tier", "run"];
const NAMESPACE = "io.kubernetes.pod.namespace";

interface Label {
  key: string;
  value: string;
}

function labelsOf(end: End): Label[] {
  return end.labels
    .filter((label) => label.startsWith("k8s:"))
    .map((label) => {
      const [key, ...value] = label.slice(4).split("=");
      return { key: key!, value: value.join("=") };
    });
}

/** The labels that say what a pod is; all of its own when none is known to. */
function tellingLabels(end: End): Label[] {
  const own = labelsOf(end).filter(({ key }) => !key.startsWith("io.kubernetes.") && !key.startsWith("io.cilium.") && !/hash|revision|generation|pod-index|pod-name/.test(key));
  const telling = own.filter(({ key }) => TELLING.includes(key));
  return (telling.length ? telling : own).sort((a, b) => (a.key < b.key ? -1 : 1));
}

function quote(text: string): string {
  return /^[A-Za-z][A-Za-z0-9._/-]*$/.test(text) && !/^(true|false|yes|no|null|on|off|y|n)$/i.test(text) ? text : JSON.stringify(text);
}

function selector(labels: readonly Label[], indent: string): string {
  if (labels.length === 0) return " {}\n";
  return `\n${indent}matchLabels:\n${labels.map(({ key, value }) => `${indent}  ${/^[A-Za-z0-9._/-]+$/.test(key) ? key : JSON.stringify(key)}: ${quote(value)}\n`).join("")}`;
}

function peerOf(peer: End, subject: End, direction: "ingress" | "egress"): string {
  const way = direction === "ingress" ? "from" : "to";
  if (peer.namespace) {
    const labels = tellingLabels(peer);
    if (peer.namespace !== subject.namespace) labels.unshift({ key: `k8s:${NAMESPACE}`, value: peer.namespace });
    return `    - ${way}Endpoints:\n        -${labels.length ? ` matchLabels:\n${labels.map(({ key, value }) => `            ${key.includes(":") ? JSON.stringify(key) : key}: ${quote(value)}\n`).join("")}` : " {}\n"}`;
  }
  // A rule for the name itself, toFQDNs, would be refused: it is the address that it stood for.
  const named = peer.names[0] ? ` # ${peer.names[0]}` : "";
  if (peer.ip && (peer.reserved === "world" || named)) return `    - ${way}CIDR:\n        - ${peer.ip}${peer.ip.includes(":") ? "/128" : "/32"}${named}\n`;
  return `    - ${way}Entities:\n        - ${peer.reserved}\n`;
}

/** YAML; "" when no policy of a pod decides about the flow. */
export function suggestPolicy(flow: Flow): string {
  const client = flow.reply ? flow.destination : flow.source;
  const server = flow.reply ? flow.source : flow.destination;
  const direction = flow.direction || (server.namespace ? "ingress" : "egress");
  const subject = direction === "ingress" ? server : client;
  const peer = direction === "ingress" ? client : server;
  if (!subject.namespace) return "";
  const name = `allow-${direction === "ingress" ? "from" : "to"}-${(peer.workload || peer.names[0] || peer.reserved || "peer").toLowerCase().replace(/[^a-z0-9.-]+/g, "-")}`.slice(0, 63).replace(/[^a-z0-9]+$/, "");
  let ports = "";
  if (server.port && ["TCP", "UDP", "SCTP"].includes(flow.protocol)) ports = `      toPorts:\n        - ports:\n            - port: "${server.port}"\n              protocol: ${flow.protocol}\n`;
  else if (flow.protocol.startsWith("ICMP")) {
    const type = /type (\d+)/.exec(flow.flags)?.[1] ?? "8";
    ports = `      icmps:\n        - fields:\n            - family: ${flow.protocol === "ICMP" ? "IPv4" : "IPv6"}\n              type: ${type}\n`;
  }
  return (
    `apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata:\n  name: ${name}\n  namespace: ${subject.namespace}\nspec:\n` +
    `  endpointSelector:${selector(tellingLabels(subject), "    ")}` +
    `  ${direction}:\n${peerOf(peer, subject, direction)}${ports}`
  );
}
