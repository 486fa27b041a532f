// The second row: verdicts, how the picture is grouped, what is left out, which picture.
import { useComputed, useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { type Term, formatTerms } from "../model/filter";
import { type Verdict, VERDICTS } from "../model/flow";
import type { Grouping } from "../model/graph";
import { NOISE, type View } from "../model/url";
import { log, namespaces, terms, tick } from "../state/engine";
import { change, view } from "../state/view";
import { Hide } from "./icons";
import { Choice, Menu } from "./Menu";

const TITLES: Record<Verdict, string> = { forwarded: "Forwarded", dropped: "Dropped", audit: "Audit", error: "Error", other: "Other" };

function Verdicts(): JSX.Element {
  const counts = useComputed(() => {
    void tick.value;
    const result: Record<Verdict, number> = { forwarded: 0, dropped: 0, audit: 0, error: 0, other: 0 };
    for (const flow of log.all) result[flow.verdict]++;
    return result;
  });
  const chosen = terms.value.filter((term) => term.key === "verdict" && !term.negated).map((term) => term.value.toLowerCase());
  const toggle = (verdict: Verdict) => {
    const others = terms.value.filter((term) => !(term.key === "verdict" && term.value.toLowerCase() === verdict));
    const term: Term = { negated: false, side: "", key: "verdict", value: verdict };
    change({ query: formatTerms(chosen.includes(verdict) ? others : [...others, term]) }, true);
  };
  return (
    <div class="verdicts" role="group" aria-label="Verdicts">
      {VERDICTS.filter((verdict) => verdict === "forwarded" || verdict === "dropped" || counts.value[verdict] > 0 || chosen.includes(verdict)).filter((verdict) => verdict !== "other").map((verdict) => (
        <button type="button" key={verdict} class={`verdict ${verdict}`} aria-pressed={chosen.includes(verdict)} onClick={() => toggle(verdict)}>
          <i class="mark" />
          {TITLES[verdict]} <span class="n">{counts.value[verdict].toLocaleString("en")}</span>
        </button>
      ))}
    </div>
  );
}

export function NamespaceMenu(): JSX.Element {
  const { namespace } = view.value;
  // A namespace that came with the link, or that is only seen in flows, is there too.
  const all = [...new Set([...namespaces.value, ...(namespace ? [namespace] : [])])].sort();
  return (
    <Menu label={`Namespace: ${namespace || "all"}`} title={<><span class="note">Namespace</span> {namespace || "All"}</>}>
      {(close) => (
        <Choice
          label="Namespaces"
          search={all.length > 8 ? "Find a namespace" : ""}
          selected={namespace}
          options={[{ value: "", text: "All namespaces" }, ...all.map((name) => ({ value: name, text: name }))]}
          onPick={(value) => { change({ namespace: value, selected: "" }, true); close(); }}
        />
      )}
    </Menu>
  );
}

const GROUPINGS: { value: Grouping; text: string }[] = [
  { value: "workload", text: "Workload" },
  { value: "pod", text: "Pod" },
  { value: "namespace", text: "Namespace" },
  { value: "label:app", text: "Label app" },
  { value: "label:app.kubernetes.io/name", text: "Label app.kubernetes.io/name" },
  { value: "label:app.kubernetes.io/part-of", text: "Label app.kubernetes.io/part-of" },
];

function GroupMenu(): JSX.Element {
  const { grouping } = view.value;
  const own = useSignal("");
  const known = GROUPINGS.some((option) => option.value === grouping) ? GROUPINGS : [...GROUPINGS, { value: grouping, text: `Label ${grouping.slice(6)}` }];
  const title = known.find((option) => option.value === grouping)!.text;
  const pick = (value: Grouping) => change({ grouping: value, selected: "" }, true);
  return (
    <Menu label={`Group by: ${title}`} title={<><span class="note">Group by</span> {title}</>}>
      {(close) => (
        <>
          <Choice label="Group by" selected={grouping} options={known} onPick={(value) => { pick(value as Grouping); close(); }} />
          <form onSubmit={(event) => { event.preventDefault(); if (own.value.trim()) { pick(`label:${own.value.trim()}`); close(); } }}>
            <input class="search" style={{ margin: "6px 0 0" }} placeholder="Another label, then Enter" aria-label="Another label" value={own.value} onInput={(event) => { own.value = event.currentTarget.value; }} />
          </form>
        </>
      )}
    </Menu>
  );
}

function HideMenu(): JSX.Element {
  const { hidden } = view.value;
  return (
    <Menu label="Hide noisy peers" title={<><Hide /> Hide {hidden.length > 0 && <span class="count">{hidden.length}</span>}</>}>
      {() => (
        <>
          {Object.entries(NOISE).map(([name, text]) => (
            <label key={name}>
              <input type="checkbox" checked={hidden.includes(name)} onChange={(event) => change({ hidden: event.currentTarget.checked ? [...hidden, name] : hidden.filter((each) => each !== name) }, true)} />
              {text}
            </label>
          ))}
          <p class="hint">Drops are always shown. To hide one peer, select it on the map.</p>
        </>
      )}
    </Menu>
  );
}

const VIEWS: { value: View; text: string }[] = [
  { value: "map", text: "Traffic" },
  { value: "policies", text: "Policies" },
  { value: "compare", text: "Compare" },
];

export function Tools(): JSX.Element {
  return (
    <section class="tools" aria-label="View">
      <div class="segments" role="group" aria-label="Picture">
        {VIEWS.map((each) => (
          <button type="button" key={each.value} aria-pressed={view.value.view === each.value} onClick={() => change({ view: each.value, selected: "" }, true)}>{each.text}</button>
        ))}
      </div>
      <Verdicts />
      <span class="grow" />
      <GroupMenu />
      <HideMenu />
    </section>
  );
}
