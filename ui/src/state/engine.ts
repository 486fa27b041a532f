// Brings flows in and keeps the picture up to date. The only place that talks to the relay on its own accord.
import { computed, effect, signal, untracked } from "@preact/signals";
import { fetchHistory, fetchNamespaces, fetchStatus, flowsPath } from "../api/client";
import { type LinkState, ApiError, follow, readLines } from "../api/stream";
import type { WireBucket, WireLine, WireNode } from "../api/wire";
import { type Term, compile, parseTerms, serverFilters } from "../model/filter";
import { type Flow, parseFlow } from "../model/flow";
import { Graph, graphOf } from "../model/graph";
import { isNoise } from "../model/noise";
import { FlowLog } from "./log";
import { view } from "./view";

export const KEPT = 20_000;
const WINDOW_MS = 5 * 60_000; // what a live picture remembers
const BACKLOG = 5_000;
const TICK_MS = 250;

export const log = new FlowLog(KEPT);
export const graph = signal(new Graph("workload"));
/** Grows while there is something new to draw, a few times a second. */
export const tick = signal(0);
export const link = signal<{ state: LinkState; why: string; since: number }>({ state: "connecting", why: "", since: Date.now() });
export const nodes = signal<readonly WireNode[]>([]);
export const lost = signal<{ count: number; at: number; last: string }>({ count: 0, at: 0, last: "" });
export const namespaces = signal<readonly string[]>([]);
export const version = signal("");
/** The relay is not told which nodes there are. */
export const blind = signal(false);
export const loading = signal(false);
/** Why what is shown is not all; "" when it is. */
export const truncated = signal("");
export const failure = signal("");
export const history = signal<{ buckets: readonly WireBucket[]; since: number; until: number; step: number; complete: boolean; error: string }>({
  buckets: [], since: 0, until: 0, step: 10, complete: true, error: "",
});

export const terms = computed<Term[]>(() => parseTerms(view.value.query));
const filterKey = computed(() => JSON.stringify([view.value.query, view.value.namespace, view.value.hidden]));
const periodKey = computed(() => JSON.stringify(view.value.period));
const span = computed(() => view.value.span);
/** Policies select pods: a picture of whole namespaces could not show whom. */
const grouping = computed(() => (view.value.view === "policies" && view.value.grouping === "namespace" ? "workload" : view.value.grouping));

function predicate(): (flow: Flow) => boolean {
  const { namespace, hidden } = view.value;
  const test = compile(terms.value);
  const noise = isNoise(hidden);
  return (flow) =>
    (!namespace || flow.source.namespace === namespace || flow.destination.namespace === namespace) && test(flow) && !noise(flow);
}

let ticking = 0;
let shown = 0; // flows, at the last tick

/** A change is shown at the next tick, however many there are. */
function touch(): void {
  if (ticking) return;
  const wait = shown === 0 ? 0 : TICK_MS;
  ticking = window.setTimeout(() => {
    ticking = 0;
    shown = log.size;
    tick.value++;
  }, wait);
}

function rebuild(): void {
  graph.value = graphOf(log.all, untracked(() => grouping.value));
  touch();
}

function ingest(line: WireLine, wanted: (flow: Flow) => boolean): void {
  if (line.flows) {
    const fresh = log.add(line.flows.map(parseFlow).filter(wanted));
    for (const flow of fresh) graph.value.add(flow);
    if (fresh.length) touch();
  }
  if (line.nodes) mergeNodes(line.nodes);
  if (line.lost) {
    const { count, node, source } = line.lost;
    lost.value = { count: lost.value.count + count, at: Date.now(), last: [node, source?.toLowerCase().replaceAll("_", " ")].filter(Boolean).join(", ") };
  }
}

function mergeNodes(list: readonly WireNode[], known = nodes.value): void {
  const byName = new Map(known.map((node) => [node.name, node]));
  for (const node of list) {
    if (node.state === "NODE_GONE") byName.delete(node.name);
    else byName.set(node.name, { ...byName.get(node.name), ...node });
  }
  nodes.value = [...byName.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

function runLive(): () => void {
  const wanted = predicate();
  const filters = serverFilters(terms.value, view.value.namespace);
  return follow({
    path: () => {
      const newest = log.all.at(-1)?.time;
      const since = Math.max(Date.now() - WINDOW_MS, link.value.state === "unreachable" && newest ? newest - 2000 : 0);
      return flowsPath({ follow: true, since, last: BACKLOG, filters });
    },
    line: (line) => ingest(line, wanted),
    state: (state, why) => {
      if (link.value.state === state && link.value.why === why) return;
      link.value = { state, why, since: link.value.state === state ? link.value.since : Date.now() };
    },
  });
}

function runPeriod(since: number, until: number): () => void {
  const wanted = predicate();
  const filters = serverFilters(terms.value, view.value.namespace);
  const stop = new AbortController();
  loading.value = true;
  void readLines(flowsPath({ since, until, last: KEPT, filters }), stop.signal, (line) => {
    if (link.value.state !== "live") link.value = { state: "live", why: "", since: Date.now() };
    if (line.end && !line.end.complete) truncated.value = line.end.reason ?? `Only the latest ${KEPT.toLocaleString("en")} flows of the period are shown`;
    ingest(line, wanted);
  })
    .catch((error: unknown) => {
      if (stop.signal.aborted) return;
      if (error instanceof ApiError) failure.value = error.message;
      else link.value = { state: "unreachable", why: "No connection to the relay", since: Date.now() };
    })
    .finally(() => {
      if (!stop.signal.aborted) loading.value = false;
    });
  return () => stop.abort();
}

let historyRequest: AbortController | null = null;

async function refreshHistory(): Promise<void> {
  historyRequest?.abort();
  const request = new AbortController();
  historyRequest = request;
  const { namespace } = view.value;
  const step = Math.max(1, Math.round((span.value * 60) / 120));
  const until = Math.ceil(Date.now() / 1000 / step) * step * 1000;
  const since = until - span.value * 60_000;
  try {
    const answer = await fetchHistory(since, until, step, serverFilters(terms.value, namespace), request.signal);
    history.value = { buckets: answer.buckets, since, until, step: answer.step_seconds, complete: answer.complete, error: "" };
  } catch (error) {
    if (request.signal.aborted) return;
    // A relay without history still shows what is live.
    history.value = { ...history.value, buckets: [], since, until, step, error: error instanceof ApiError && error.status === 404 ? "" : String(error instanceof Error ? error.message : error) };
  }
}

async function refreshStatus(): Promise<void> {
  try {
    const status = await fetchStatus();
    version.value = status.version ?? "";
    blind.value = status.peer_service_connected === false;
    mergeNodes(status.nodes, []);
    namespaces.value = await fetchNamespaces();
  } catch {
    // The stream tells when the relay is gone.
  }
}

export function start(): void {
  let stop = () => {};
  let previous = "";
  effect(() => {
    const period = periodKey.value;
    void filterKey.value;
    untracked(() => {
      stop();
      truncated.value = "";
      failure.value = "";
      const { period: chosen } = view.value;
      // Another period is another picture; another filter narrows this one at once, and what it lacks comes after.
      if (period !== previous) log.clear();
      else log.keep(predicate());
      previous = period;
      rebuild();
      loading.value = false;
      stop = chosen ? runPeriod(chosen.since, chosen.until) : runLive();
    });
  });
  let grouped = grouping.value;
  effect(() => {
    if (grouping.value === grouped) return;
    grouped = grouping.value;
    untracked(rebuild);
  });
  // The picture first: what is beside it waits for a moment.
  setTimeout(() => {
    effect(() => {
      void filterKey.value;
      void span.value;
      untracked(() => void refreshHistory());
    });
    void refreshStatus();
  }, 400);
  setInterval(() => void refreshStatus(), 30_000);
  setInterval(() => {
    if (!document.hidden) void refreshHistory();
  }, 10_000);
  setInterval(() => {
    if (view.value.period) return;
    if (graph.value.expire(Date.now() - WINDOW_MS)) touch();
    else tick.value++; // rates fall while nothing comes
  }, 2_000);
}
