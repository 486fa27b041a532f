// The addresses of the web API. Relative to the page: it may be served under a path.
import type { ServerFilters } from "../model/filter";
import type { WireFlow, WireHistory, WirePolicies, WireStatus } from "./wire";
import { getJson, readLines } from "./stream";

const API = "api/v1/";

interface FlowsQuery {
  follow?: boolean;
  since?: number;
  until?: number;
  last?: number;
  filters?: ServerFilters;
  /** All fields, also the explanation of a drop. */
  full?: boolean;
}

export function flowsPath(query: FlowsQuery): string {
  const search = new URLSearchParams();
  if (query.follow) search.set("follow", "true");
  if (query.since !== undefined) search.set("since", new Date(query.since).toISOString());
  if (query.until !== undefined) search.set("until", new Date(query.until).toISOString());
  if (query.last !== undefined) search.set("last", String(query.last));
  if (query.full) search.set("full", "true");
  for (const filter of query.filters?.filter ?? []) search.append("filter", JSON.stringify(filter));
  for (const filter of query.filters?.exclude ?? []) search.append("exclude", JSON.stringify(filter));
  const text = search.toString();
  return `${API}flows${text ? `?${text}` : ""}`;
}

export const fetchStatus = (signal?: AbortSignal): Promise<WireStatus> => getJson(`${API}status`, signal);

export async function fetchNamespaces(signal?: AbortSignal): Promise<string[]> {
  const answer = await getJson<{ namespaces: { namespace?: string }[] }>(`${API}namespaces`, signal);
  return [...new Set(answer.namespaces.map((each) => each.namespace ?? "").filter(Boolean))].sort();
}

export const fetchPolicies = (signal?: AbortSignal): Promise<WirePolicies> => getJson(`${API}policies`, signal);

export function fetchHistory(since: number, until: number, stepSeconds: number, filters: ServerFilters, signal?: AbortSignal): Promise<WireHistory> {
  const search = new URLSearchParams({ since: new Date(since).toISOString(), until: new Date(until).toISOString(), step: `${stepSeconds}s` });
  for (const filter of filters.filter) search.append("filter", JSON.stringify(filter));
  for (const filter of filters.exclude) search.append("exclude", JSON.stringify(filter));
  return getJson(`${API}history?${search}`, signal);
}

/** One flow with all its fields. */
export async function fetchFlow(uuid: string, time: number, signal: AbortSignal, around = 1000): Promise<WireFlow | null> {
  let found: WireFlow | null = null;
  const filters = { filter: [{ uuid: [uuid] }], exclude: [] };
  await readLines(flowsPath({ since: time - around, until: time + around, last: 1, full: true, filters }), signal, (line) => {
    found = line.flows?.[0] ?? found;
  });
  return found;
}
