// The search field: words become chips; while typing it proposes keys, and values that have been seen.
import { useComputed, useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";
import { KEYS, type Term, formatTerm, formatTerms, parseTerms, termProblem } from "../model/filter";
import { log, namespaces, nodes, terms } from "../state/engine";
import { change } from "../state/view";
import { Close, Search } from "./icons";

interface Suggestion {
  text: string;
  what: string;
  /** A key waits for its value; a value is complete. */
  complete: boolean;
}

const MOST = 9;
const LOOKED_AT = 4000;

const FIXED: Record<string, string[]> = {
  verdict: ["dropped", "forwarded", "audit", "error", "redirected"],
  direction: ["ingress", "egress"],
  reply: ["true", "false"],
  proto: ["TCP", "UDP", "HTTP", "DNS", "ICMP", "SCTP"],
  status: ["5xx", "4xx", "2xx"],
  entity: ["world", "host", "remote-node", "kube-apiserver", "health"],
};

/** The commonest values of a key among the latest flows. */
function seen(key: string): string[] {
  if (key in FIXED) return FIXED[key]!;
  if (key === "ns") return [...namespaces.value];
  if (key === "node") return nodes.value.map((node) => node.name);
  const counts = new Map<string, number>();
  const put = (value: string | number | undefined) => {
    if (value) counts.set(String(value), (counts.get(String(value)) ?? 0) + 1);
  };
  for (const flow of log.all.slice(-LOOKED_AT)) {
    for (const end of [flow.source, flow.destination]) {
      if (key === "pod" && end.pod) put(`${end.namespace}/${end.pod}`);
      if (key === "workload" && end.namespace) put(end.workload && `${end.namespace}/${end.workload}`);
      if (key === "ip") put(end.ip);
      if (key === "dns") end.names.forEach(put);
      if (key === "service") put(end.service);
      if (key === "identity") put(end.identity);
      if (key === "label") for (const label of end.labels) if (label.startsWith("k8s:") && !label.includes("io.kubernetes") && !label.includes("io.cilium")) put(label.slice(4));
    }
    if (key === "port") put(flow.reply ? flow.source.port : flow.destination.port);
    if (key === "dns") put(flow.dns?.query);
    if (key === "path") put(flow.http?.path.split("?")[0]);
    if (key === "method") put(flow.http?.method);
    if (key === "reason") put(flow.reason);
    if (key === "policy") for (const policy of flow.policies) put(policy.namespace ? `${policy.namespace}/${policy.name}` : policy.name);
  }
  return [...counts].sort((a, b) => b[1] - a[1]).map(([value]) => value);
}

function suggestionsFor(text: string): Suggestion[] {
  const match = /^(-?)((?:from|to)\.)?(?:([a-z]+):)?(.*)$/.exec(text);
  if (!match) return [];
  const [, minus = "", side = "", key, rest = ""] = match;
  if (key && key in KEYS) {
    const lower = rest.toLowerCase();
    return seen(key)
      .filter((value) => value.toLowerCase().includes(lower))
      .slice(0, MOST)
      .map((value) => ({ text: formatTerm({ negated: minus === "-", side: side.replace(".", "") as Term["side"], key, value }), what: "", complete: true }));
  }
  return Object.entries(KEYS)
    .filter(([name, info]) => (name.startsWith(rest) || (rest.length > 1 && info.help.toLowerCase().includes(rest.toLowerCase()))) && (!side || info.sided))
    .slice(0, rest ? MOST : 20)
    .map(([name, info]) => ({ text: `${minus}${side}${name}:`, what: info.help, complete: false }));
}

export function FilterBar(): JSX.Element {
  const input = useRef<HTMLInputElement>(null);
  const text = useSignal("");
  const open = useSignal(false);
  const picked = useSignal(-1);
  const options = useComputed(() => (open.value ? suggestionsFor(text.value.split(/\s+(?=\S*$)/).at(-1) ?? "") : []));
  const problem = useComputed(() => terms.value.map(termProblem).find(Boolean) ?? "");

  useLayoutEffect(() => {
    const focus = (event: KeyboardEvent) => {
      const target = event.target as HTMLElement;
      if (event.key !== "/" || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName)) return;
      event.preventDefault();
      input.current?.focus();
    };
    window.addEventListener("keydown", focus);
    return () => window.removeEventListener("keydown", focus);
  }, []);

  const set = (list: readonly Term[]) => change({ query: formatTerms(list) }, true);

  function commit(value: string): void {
    const added = parseTerms(value);
    text.value = "";
    picked.value = -1;
    if (added.length === 0) return;
    const known = new Set(terms.value.map(formatTerm));
    set([...terms.value, ...added.filter((term) => !known.has(formatTerm(term)))]);
  }

  function pick(suggestion: Suggestion): void {
    const head = text.value.replace(/\S*$/, "");
    if (suggestion.complete) commit(head + suggestion.text);
    else {
      text.value = head + suggestion.text;
      picked.value = -1;
    }
    input.current?.focus();
  }

  function onKeyDown(event: KeyboardEvent): void {
    const list = options.value;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      if (!list.length) {
        open.value = true;
        return;
      }
      picked.value = (picked.value + (event.key === "ArrowDown" ? 1 : -1) + list.length + 1) % (list.length + 1);
      if (picked.value === list.length) picked.value = -1;
    } else if (event.key === "Enter" || (event.key === "Tab" && picked.value >= 0)) {
      const chosen = list[picked.value];
      if (chosen) pick(chosen);
      else commit(text.value);
    } else if (event.key === "Backspace" && text.value === "" && terms.value.length) {
      set(terms.value.slice(0, -1));
      return;
    } else if (event.key === "Escape") {
      if (open.value && list.length) open.value = false;
      else input.current?.blur();
    } else return;
    event.preventDefault();
  }

  return (
    <div class="filter">
      <div class="field" onClick={() => input.current?.focus()}>
        <Search />
        {terms.value.map((term, index) => (
          <span key={`${index} ${formatTerm(term)}`} class={`chip ${term.negated ? "negated" : ""} ${termProblem(term) ? "bad" : ""}`} title={termProblem(term) || formatTerm(term)}>
            {(term.key || term.negated) && <span class="key">{term.negated ? "not " : ""}{term.side ? `${term.side} ` : ""}{term.key}</span>}
            <span class="value">{term.value}</span>
            <button type="button" aria-label={`Remove ${formatTerm(term)}`} onClick={(event) => { event.stopPropagation(); set(terms.value.filter((_, at) => at !== index)); }}><Close /></button>
          </span>
        ))}
        <input
          ref={input}
          value={text.value}
          placeholder={terms.value.length ? "" : "Filter: verdict:dropped, port:443, label:app=web …"}
          aria-label="Filter flows"
          role="combobox"
          aria-expanded={options.value.length > 0}
          aria-controls="filter-suggestions"
          aria-autocomplete="list"
          aria-activedescendant={picked.value >= 0 ? `suggestion-${picked.value}` : undefined}
          autocomplete="off"
          spellcheck={false}
          onInput={(event) => { text.value = event.currentTarget.value; open.value = true; picked.value = -1; }}
          onFocus={() => { open.value = true; }}
          onBlur={() => { open.value = false; if (text.value.trim() && /:\S|^\S+$/.test(text.value) && !text.value.endsWith(":")) commit(text.value); }}
          onKeyDown={onKeyDown}
        />
        {!terms.value.length && !open.value && <kbd aria-hidden="true">/</kbd>}
      </div>
      {problem.value && <div class="problem" role="alert">{problem.value}. It is left out.</div>}
      <div id="filter-suggestions" role="listbox" aria-label="Suggestions" class={options.value.length ? "menu suggestions" : "sr-only"}>
        {options.value.map((option, index) => (
          <div key={option.text} id={`suggestion-${index}`} role="option" aria-selected={index === picked.value} class={index === picked.value ? "active" : ""} onMouseDown={(event) => { event.preventDefault(); pick(option); }}>
            <span>{option.text}</span>
            <span class="what">{option.what}</span>
          </div>
        ))}
      </div>
    </div>
  );
}
