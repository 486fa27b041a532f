// What is on every page and seldom the answer: switched off by name.
import type { Flow } from "./flow";
import type { Term } from "./filter";

const HOSTS = new Set(["host", "remote-node", "health"]);

const TESTS: Record<string, (flow: Flow) => boolean> = {
  dns: (flow) => flow.layer === "DNS" || flow.destination.port === 53 || flow.source.port === 53,
  host: (flow) => HOSTS.has(flow.source.reserved) || HOSTS.has(flow.destination.reserved),
  world: (flow) => flow.source.reserved === "world" || flow.destination.reserved === "world",
  system: (flow) => flow.source.namespace === "kube-system" || flow.destination.namespace === "kube-system",
};

/** A drop is never noise. */
export function isNoise(hidden: readonly string[]): (flow: Flow) => boolean {
  const tests = hidden.map((name) => TESTS[name]).filter((test) => test !== undefined);
  return (flow) => flow.verdict !== "dropped" && tests.some((test) => test(flow));
}

/** The term that hides a node; null for what has no name to hide it by. */
export function hideTerm(nodeId: string): Term | null {
  const [kind, ...rest] = nodeId.split(":");
  const name = rest.join(":");
  const term = (key: string, value: string): Term => ({ negated: true, side: "", key, value });
  if (kind === "workload") return term("workload", name);
  if (kind === "pod") return term("pod", name);
  if (kind === "ns") return term("ns", name);
  if (kind === "dns" && name) return term("dns", name);
  if (kind === "reserved") return term("entity", name);
  if (kind === "world") return term("entity", "world");
  return null;
}
