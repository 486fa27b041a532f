// Flows for unit tests, made from the few things a test is about.
import type { WireFlow } from "../api/wire";
import { type Flow, parseFlow } from "./flow";

interface Brief {
  from?: string; // "shop/web", "world", "host"
  to?: string;
  port?: number;
  verdict?: string;
  reply?: boolean;
  direction?: "INGRESS" | "EGRESS";
  time?: number;
  uuid?: string;
  more?: WireFlow;
}

let count = 0;

function end(name: string) {
  if (!name.includes("/")) return { identity: 1, labels: [`reserved:${name}`] };
  const [namespace = "", workload = ""] = name.split("/");
  return { identity: 1000, namespace, pod_name: `${workload}-0`, labels: [`k8s:app=${workload}`, `k8s:io.kubernetes.pod.namespace=${namespace}`], workloads: [{ name: workload, kind: "Deployment" }] };
}

export function brief(given: Brief = {}): Flow {
  const { from = "shop/web", to = "shop/api", port = 80, verdict = "FORWARDED", reply = false, direction = "INGRESS", time = 1_000_000 } = given;
  const ports = reply ? { source_port: port, destination_port: 40000 } : { source_port: 40000, destination_port: port };
  return parseFlow({
    uuid: given.uuid ?? `id-${++count}`, time: new Date(time).toISOString(), verdict, is_reply: reply, traffic_direction: direction,
    source: end(reply ? to : from), destination: end(reply ? from : to), IP: { source: "10.0.0.1", destination: "10.0.0.2" }, l4: { TCP: ports }, ...given.more,
  });
}
