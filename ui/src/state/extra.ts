// What the other two pictures need: policies, and a second period.
import { computed, effect, signal, untracked } from "@preact/signals";
import { fetchPolicies, flowsPath } from "../api/client";
import { readLines } from "../api/stream";
import { compile, serverFilters } from "../model/filter";
import { parseFlow } from "../model/flow";
import { type Comparison, compare } from "../model/diff";
import { Graph } from "../model/graph";
import { isNoise } from "../model/noise";
import { type Known, type PolicyPicture, drawPolicies } from "../model/policy";
import type { WirePolicies } from "../api/wire";
import { type Period, secondsOf } from "../model/url";
import { KEPT, graph, terms } from "./engine";
import { change, view } from "./view";

export const policies = signal<{ answer: WirePolicies | null; error: string }>({ answer: null, error: "" });
export const comparison = signal<{ result: Comparison | null; loading: boolean; error: string; partial: boolean }>({ result: null, loading: false, error: "", partial: false });

/** The workloads that the page has seen, for selectors to choose among. */
function knownOf(from: Graph): Known[] {
  return [...from.nodes.values()].map((node) => ({
    id: node.id, namespace: node.group, title: node.title, subtitle: node.subtitle, kind: node.kind, labels: node.labels, reserved: node.id.startsWith("reserved:") ? node.id.slice(9) : "",
  }));
}

let picture: { answer: WirePolicies; graph: Graph; shape: number; namespace: string; made: PolicyPicture } | null = null;

export function policyPicture(): PolicyPicture | null {
  const { answer } = policies.value;
  if (!answer) return null;
  const from = graph.value;
  const { namespace } = view.value;
  // New traffic changes nothing here as long as nobody new talks.
  if (!picture || picture.answer !== answer || picture.graph !== from || picture.namespace !== namespace || from.nodes.size !== picture.shape) {
    picture = { answer, graph: from, shape: from.nodes.size, namespace, made: drawPolicies(answer, knownOf(from), namespace) };
  }
  return picture.made;
}

async function graphOfPeriod(period: Period, stop: AbortSignal): Promise<{ graph: Graph; complete: boolean }> {
  const { namespace, hidden, grouping } = view.value;
  const test = compile(terms.value);
  const noise = isNoise(hidden);
  const result = new Graph(grouping);
  let complete = true;
  await readLines(flowsPath({ since: period.since, until: period.until, last: KEPT, filters: serverFilters(terms.value, namespace) }), stop, (line) => {
    for (const wire of line.flows ?? []) {
      const flow = parseFlow(wire);
      if (namespace && flow.source.namespace !== namespace && flow.destination.namespace !== namespace) continue;
      if (test(flow) && !noise(flow)) result.add(flow);
    }
    if (line.end && !line.end.complete) complete = false;
  });
  return { graph: result, complete };
}

/** The two periods to begin with: the last five minutes, and the five before. */
function defaultPeriods(): { period: Period; before: Period } {
  const { period } = view.value;
  const now = Math.floor(Date.now() / 1000) * 1000;
  const after = period ?? { since: now - 300_000, until: now };
  const length = after.until - after.since;
  return { period: after, before: { since: after.since - length, until: after.since } };
}

const policiesShown = computed(() => view.value.view === "policies");

export function startExtras(): void {
  effect(() => {
    if (!policiesShown.value) return undefined;
    const stop = new AbortController();
    const load = async () => {
      try {
        const answer = await fetchPolicies(stop.signal);
        const { answer: known } = policies.value;
        // The same policies are the same object: nothing is drawn anew.
        policies.value = { answer: JSON.stringify(answer) === JSON.stringify(known) ? known : answer, error: "" };
      } catch (error) {
        if (!stop.signal.aborted) policies.value = { ...policies.value, error: error instanceof Error ? error.message : String(error) };
      }
    };
    untracked(() => void load());
    const timer = setInterval(() => void load(), 15_000);
    return () => {
      stop.abort();
      clearInterval(timer);
    };
  });
  let asked = "";
  let stop = new AbortController();
  effect(() => {
    const { view: kind, period, before, query, namespace, hidden, grouping } = view.value;
    if (kind !== "compare") {
      asked = "";
      return;
    }
    if (!period || !before) {
      untracked(() => change(defaultPeriods()));
      return;
    }
    const key = JSON.stringify([period, before, query, namespace, hidden, grouping]);
    if (key === asked) return;
    asked = key;
    stop.abort();
    stop = new AbortController();
    const { signal: own } = stop;
    untracked(() => { comparison.value = { ...comparison.value, loading: true, error: "" }; });
    void Promise.all([graphOfPeriod(before, own), graphOfPeriod(period, own)])
      .then(([was, is]) => {
        comparison.value = { result: compare(was.graph, is.graph, { before: secondsOf(before), after: secondsOf(period) }), loading: false, error: "", partial: !was.complete || !is.complete };
      })
      .catch((error: unknown) => {
        if (!own.aborted) comparison.value = { result: null, loading: false, error: error instanceof Error ? error.message : String(error), partial: false };
      });
  });
}
