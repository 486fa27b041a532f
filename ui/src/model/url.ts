// The whole view is in the address: a link shows somebody else the same picture.
import type { Grouping } from "./graph";

export type View = "map" | "policies" | "compare";
type Dock = "bottom" | "right" | "hidden";

export interface Period {
  since: number;
  until: number;
}

export const secondsOf = (period: Period): number => Math.max(1, (period.until - period.since) / 1000);

export interface ViewState {
  namespace: string; // "" is all
  query: string;
  grouping: Grouping;
  view: View;
  /** null is live. */
  period: Period | null;
  /** For comparing: the earlier period. */
  before: Period | null;
  /** What the slider shows, in minutes. */
  span: number;
  /** node:…, edge:…, flow:…; "" is nothing. */
  selected: string;
  /** What is not shown: keys of NOISE. */
  hidden: readonly string[];
  dock: Dock;
}

export const NOISE: Record<string, string> = {
  dns: "DNS",
  host: "Hosts and health checks",
  world: "Outside of the cluster",
  system: "kube-system",
};

export const SPANS = [15, 60, 360, 1440];

export const INITIAL: ViewState = {
  namespace: "", query: "", grouping: "workload", view: "map", period: null, before: null, span: 15, selected: "", hidden: [], dock: "bottom",
};

function period(text: string | null): Period | null {
  const match = /^(\d+)-(\d+)$/.exec(text ?? "");
  if (!match) return null;
  const since = Number(match[1]) * 1000;
  const until = Number(match[2]) * 1000;
  return until > since ? { since, until } : null;
}

const periodText = (value: Period) => `${Math.floor(value.since / 1000)}-${Math.ceil(value.until / 1000)}`;

const oneOf = <T extends string>(value: string | null, accepted: readonly T[], otherwise: T): T => (accepted as readonly string[]).includes(value ?? "") ? (value as T) : otherwise;

export function parseView(search: string): ViewState {
  const from = new URLSearchParams(search);
  const group = from.get("group") ?? "workload";
  return {
    namespace: from.get("ns") ?? "",
    query: from.get("q") ?? "",
    grouping: /^(workload|pod|namespace|label:.+)$/.test(group) ? (group as Grouping) : "workload",
    view: oneOf(from.get("view"), ["map", "policies", "compare"], "map"),
    period: period(from.get("t")),
    before: period(from.get("before")),
    span: SPANS.find((span) => String(span) === from.get("span")) ?? INITIAL.span,
    selected: from.get("sel") ?? "",
    hidden: (from.get("hide") ?? "").split(",").filter((name) => name in NOISE),
    dock: oneOf(from.get("dock"), ["bottom", "right", "hidden"], "bottom"),
  };
}

export function formatView(state: ViewState): string {
  const to = new URLSearchParams();
  if (state.namespace) to.set("ns", state.namespace);
  if (state.query) to.set("q", state.query);
  if (state.grouping !== INITIAL.grouping) to.set("group", state.grouping);
  if (state.view !== INITIAL.view) to.set("view", state.view);
  if (state.period) to.set("t", periodText(state.period));
  if (state.before) to.set("before", periodText(state.before));
  if (state.span !== INITIAL.span) to.set("span", String(state.span));
  if (state.selected) to.set("sel", state.selected);
  if (state.hidden.length) to.set("hide", state.hidden.join(","));
  if (state.dock !== INITIAL.dock) to.set("dock", state.dock);
  const text = to.toString();
  return text ? `?${text}` : "";
}
