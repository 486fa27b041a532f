// A relay for tests: the web API of docs/hubble.md over flows that are made up, with faults on demand.
import { createReadStream, existsSync, statSync } from "node:fs";
import { type IncomingMessage, type Server, type ServerResponse, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join, normalize } from "node:path";
import type { WireFilter, WireFlow, WireLine, WireNode } from "../../ui/src/api/wire";
import { type Cluster, chooser, flowsOf, random } from "./cluster";

const TYPES: Record<string, string> = { ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".woff2": "font/woff2", ".json": "application/json" };
// What axoneme-relay sends with its pages.
const POLICY = "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'";

interface Faults {
  /** The API answers nothing. */
  refuse?: boolean;
  /** /history answers with this status. */
  history?: number;
  /** The peer service does not answer. */
  blind?: boolean;
}

interface Stream {
  response: ServerResponse;
  wanted: (flow: WireFlow) => boolean;
}

/** A flow, and what would cost much to make again for every request. */
interface Kept {
  flow: WireFlow;
  time: number;
  text: string;
}
const keep = (flow: WireFlow): Kept => ({ flow, time: Date.parse(flow.time!), text: JSON.stringify(flow) });

const number = (text: string | null, otherwise: number) => (text === null ? otherwise : Number(text));

const line = (flows: readonly Kept[]) => `{"flows":[${flows.map((each) => each.text).join(",")}]}\n`;

/** Hubble's filter semantics for the fields that the page sends; written apart from the page's own filters. */
export function matches(filter: WireFilter, flow: WireFlow): boolean {
  const any = <T>(list: T[] | undefined, test: (wanted: T) => boolean) => list === undefined || list.length === 0 || list.some(test);
  const l4 = flow.l4?.TCP ?? flow.l4?.UDP ?? flow.l4?.SCTP;
  const pod = (side: "source" | "destination") => (wanted: string) => {
    const end = flow[side];
    if (!end) return false;
    const [namespace, name] = wanted.includes("/") ? wanted.split("/") : ["default", wanted];
    return end.namespace === namespace && (end.pod_name ?? "").startsWith(name ?? "");
  };
  const label = (side: "source" | "destination") => (wanted: string) =>
    (flow[side]?.labels ?? []).some((each) => each === wanted || each.replace(/^[a-z0-9]+:/, "") === wanted || each.replace(/^[a-z0-9]+:/, "").split("=")[0] === wanted);
  const address = (ip: string | undefined) => (wanted: string) => {
    const [base = "", length = "32"] = wanted.split("/");
    const bits = (text: string) => text.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
    const size = 2 ** (32 - Number(length));
    return ip !== undefined && Math.floor(bits(ip) / size) === Math.floor(bits(base) / size);
  };
  return (
    any(filter.uuid, (each) => each === flow.uuid) &&
    any(filter.verdict, (each) => each === flow.verdict) &&
    any(filter.drop_reason_desc, (each) => each === flow.drop_reason_desc) &&
    any(filter.source_pod, pod("source")) && any(filter.destination_pod, pod("destination")) &&
    any(filter.source_label, label("source")) && any(filter.destination_label, label("destination")) &&
    any(filter.source_ip, address(flow.IP?.source)) && any(filter.destination_ip, address(flow.IP?.destination)) &&
    any(filter.source_identity, (each) => each === flow.source?.identity) && any(filter.destination_identity, (each) => each === flow.destination?.identity) &&
    any(filter.source_workload, (each) => each.name === flow.source?.workloads?.[0]?.name) && any(filter.destination_workload, (each) => each.name === flow.destination?.workloads?.[0]?.name) &&
    any(filter.source_port, (each) => Number(each) === l4?.source_port) && any(filter.destination_port, (each) => Number(each) === l4?.destination_port) &&
    any(filter.http_method, (each) => each === flow.l7?.http?.method) &&
    any(filter.http_path, (each) => flow.l7?.http !== undefined && new RegExp(`^(?:${each})$`).test(new URL(flow.l7.http.url ?? "http://x/").pathname)) &&
    any(filter.http_status_code, (each) => (each.endsWith("+") ? String(flow.l7?.http?.code ?? "").startsWith(each.slice(0, -1)) : String(flow.l7?.http?.code) === each)) &&
    any(filter.traffic_direction, (each) => each === flow.traffic_direction) &&
    any(filter.reply, (each) => each === flow.is_reply)
  );
}

export class TestRelay {
  faults: Faults = {};
  nodes: WireNode[];
  kept: Kept[] = [];
  requests: string[] = [];
  private server: Server;
  private streams = new Set<Stream>();
  private timer: NodeJS.Timeout | null = null;
  private beat: NodeJS.Timeout;
  private next: () => number;
  private pick: () => ReturnType<ReturnType<typeof chooser>>;

  constructor(
    readonly cluster: Cluster,
    private readonly web: string,
    seed = 1,
  ) {
    this.next = random(seed);
    this.pick = chooser(cluster, this.next);
    this.nodes = cluster.nodes.map((name) => ({ name, state: "NODE_CONNECTED", version: "axoneme 1.20.0" }));
    this.server = createServer((request, response) => this.answer(request, response));
    this.beat = setInterval(() => this.say({ heartbeat: new Date().toISOString() }), 1000);
  }

  async listen(port = 0): Promise<number> {
    await new Promise<void>((resolve) => this.server.listen(port, "127.0.0.1", resolve));
    return (this.server.address() as AddressInfo).port;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}/`;
  }

  async close(): Promise<void> {
    this.stop();
    clearInterval(this.beat);
    this.server.closeAllConnections();
    await new Promise<void>((resolve) => this.server.close(() => resolve()));
  }

  /** Breaks all connections, as a relay does that dies. */
  drop(): void {
    this.server.closeAllConnections();
  }

  /** Flows of the past, so many a second. */
  fill(seconds: number, rate: number, now = Date.now()): void {
    const made: WireFlow[] = [];
    for (let at = -seconds; at < 0; at++) {
      for (let count = 0; count < rate; ) {
        const flows = flowsOf(this.cluster, this.pick(), now + at * 1000 + Math.floor(this.next() * 1000), this.next);
        made.push(...flows);
        count += flows.length;
      }
    }
    made.sort((a, b) => (a.time! < b.time! ? -1 : 1));
    for (const flow of made) this.kept.push(keep(flow));
  }

  /** New flows from now on, so many a second. */
  run(rate: number): void {
    this.stop();
    const every = 100;
    let owed = 0;
    this.timer = setInterval(() => {
      owed += (rate * every) / 1000;
      const flows: WireFlow[] = [];
      while (flows.length < owed) flows.push(...flowsOf(this.cluster, this.pick(), Date.now(), this.next));
      owed -= flows.length;
      this.emit(flows);
    }, every);
  }

  stop(): void {
    if (this.timer) clearInterval(this.timer);
    this.timer = null;
  }

  emit(flows: WireFlow[]): void {
    const made = flows.map(keep);
    this.kept.push(...made);
    if (this.kept.length > 300_000) this.kept.splice(0, 100_000);
    for (const stream of this.streams) {
      const wanted = made.filter((each) => stream.wanted(each.flow));
      if (wanted.length) stream.response.write(line(wanted));
    }
  }

  say(line: WireLine): void {
    for (const stream of this.streams) stream.response.write(`${JSON.stringify(line)}\n`);
  }

  setNode(name: string, state: string, message = ""): void {
    this.nodes = this.nodes.map((node) => (node.name === name ? { ...node, state, message } : node));
    this.say({ nodes: this.nodes.filter((node) => node.name === name) });
  }

  private answer(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? "/", "http://relay");
    this.requests.push(url.pathname + url.search);
    if (!url.pathname.startsWith("/api/")) return this.file(url.pathname, response);
    if (this.faults.refuse) return void request.socket.destroy();
    const json = (status: number, body: unknown) => {
      response.writeHead(status, { "content-type": "application/json" });
      response.end(JSON.stringify(body));
    };
    switch (url.pathname) {
      case "/api/v1/status":
        return json(200, { version: "axoneme-relay test", cluster: "kind", nodes: this.nodes, peer_service_connected: !this.faults.blind });
      case "/api/v1/namespaces":
        return json(200, { namespaces: [...new Set(this.cluster.workloads.map((each) => each.namespace))].map((namespace) => ({ cluster: "kind", namespace })) });
      case "/api/v1/policies":
        return json(200, { policies: this.cluster.policies, namespaces: [] });
      case "/api/v1/history":
        return this.faults.history ? json(this.faults.history, { error: "no history" }) : json(200, this.history(url.searchParams));
      case "/api/v1/flows":
        return this.flows(url.searchParams, request, response);
      default:
        return json(404, { error: `${url.pathname}: no such address` });
    }
  }

  private select(query: URLSearchParams): (flow: WireFlow) => boolean {
    const filters = query.getAll("filter").map((text) => JSON.parse(text) as WireFilter);
    const excludes = query.getAll("exclude").map((text) => JSON.parse(text) as WireFilter);
    return (flow) => (filters.length === 0 || filters.some((filter) => matches(filter, flow))) && !excludes.some((filter) => matches(filter, flow));
  }

  private period(query: URLSearchParams): Kept[] {
    const since = number(query.get("since") && String(Date.parse(query.get("since")!)), -Infinity);
    const until = number(query.get("until") && String(Date.parse(query.get("until")!)), Infinity);
    return this.kept.filter(({ time }) => time >= since && time < until);
  }

  private history(query: URLSearchParams): unknown {
    const step = Number.parseInt(query.get("step") ?? "10", 10);
    const wanted = this.select(query);
    const buckets = new Map<number, { forwarded: number; dropped: number; audit: number; error: number }>();
    for (const { flow, time } of this.period(query)) {
      if (!wanted(flow)) continue;
      const at = Math.floor(time / 1000 / step) * step;
      const bucket = buckets.get(at) ?? { forwarded: 0, dropped: 0, audit: 0, error: 0 };
      if (flow.verdict === "DROPPED") bucket.dropped++;
      else if (flow.verdict === "AUDIT") bucket.audit++;
      else bucket.forwarded++;
      buckets.set(at, bucket);
    }
    return { step_seconds: step, complete: true, buckets: [...buckets].sort(([a], [b]) => a - b).map(([at, counts]) => ({ time: new Date(at * 1000).toISOString(), ...counts })) };
  }

  private flows(query: URLSearchParams, request: IncomingMessage, response: ServerResponse): void {
    const wanted = this.select(query);
    const last = number(query.get("last"), Infinity);
    const full = query.get("full") === "true";
    const found = this.period(query).filter((each) => wanted(each.flow));
    const shown = found.slice(Math.max(0, found.length - last));
    response.writeHead(200, { "content-type": "application/x-ndjson" });
    response.write(`${JSON.stringify({ nodes: this.nodes })}\n`);
    for (let at = 0; at < shown.length; at += 250) {
      const part = shown.slice(at, at + 250);
      response.write(full ? `${JSON.stringify({ flows: part.map((each) => this.explained(each.flow)) })}\n` : line(part));
    }
    if (query.get("follow") !== "true") {
      response.end(`${JSON.stringify({ end: { complete: found.length === shown.length } })}\n`);
      return;
    }
    const stream: Stream = { response, wanted };
    this.streams.add(stream);
    request.on("close", () => this.streams.delete(stream));
    response.on("close", () => this.streams.delete(stream));
  }

  private explained(flow: WireFlow): WireFlow {
    const subject = flow.destination?.workloads?.[0]?.name;
    if (flow.verdict !== "DROPPED" || subject !== "postgres") return flow;
    return {
      ...flow,
      extensions: {
        ...flow.extensions,
        explanation: "shop/postgres accepts TCP/5432 only from app=api (policy shop/postgres); the peer has app=reports.",
        suggested_policy: `apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata:\n  name: allow-reports-to-postgres\n  namespace: shop\nspec:\n  endpointSelector:\n    matchLabels:\n      app: postgres\n  ingress:\n    - fromEndpoints:\n        - matchLabels:\n            app: reports\n      toPorts:\n        - ports:\n            - port: "5432"\n              protocol: TCP\n`,
      },
    };
  }

  private file(path: string, response: ServerResponse): void {
    const inside = normalize(path === "/" ? "/index.html" : path);
    const full = join(this.web, inside);
    if (!full.startsWith(this.web) || !existsSync(full) || !statSync(full).isFile()) {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, { "content-type": TYPES[extname(full)] ?? "application/octet-stream", "content-security-policy": POLICY });
    createReadStream(full).pipe(response);
  }
}
