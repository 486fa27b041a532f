// What is selected: a node with its ports and peers, an edge, a flow; for a drop, why, and what would allow it.
import { useSignal } from "@preact/signals";
import type { ComponentChildren, JSX } from "preact";
import { useEffect } from "preact/hooks";
import { fetchFlow } from "../api/client";
import { type Term, formatTerms } from "../model/filter";
import { type End, type Flow, clientOf, endDetail, endName, parseFlow, reasonText, serverOf, summaryOf } from "../model/flow";
import { agoText, bytesText, clockText, dayText, rateText } from "../model/format";
import { type Edge, type Graph, type Node, edgeCount, edgeRate } from "../model/graph";
import { hideTerm } from "../model/noise";
import { type Period, secondsOf } from "../model/url";
import { suggestPolicy } from "../model/suggest";
import { graph, log, terms, tick } from "../state/engine";
import { change, view } from "../state/view";
import { Code } from "./Code";
import { VerdictBadge } from "./FlowTable";
import { Close, Down, Hide } from "./icons";

export function PanelFrame(props: { kicker: string; title: string; onClose?: () => void; className?: string; children: ComponentChildren }): JSX.Element {
  return (
    <aside class={`panel ${props.className ?? ""}`} aria-label={props.title}>
      <header>
        <div class="grow">
          <div class="kicker">{props.kicker}</div>
          <h2>{props.title}</h2>
        </div>
        {props.onClose && <button type="button" class="button small icon plain" aria-label="Close details" onClick={props.onClose}><Close /></button>}
      </header>
      <div class="body">{props.children}</div>
    </aside>
  );
}

const close = () => change({ selected: "" }, true);
const addTerm = (term: Term) => change({ query: formatTerms([...terms.value, term]) }, true);

function Labels({ end }: { end: { labels: readonly string[] } }): JSX.Element | null {
  const shown = end.labels.filter((label) => label.startsWith("k8s:") && !label.startsWith("k8s:io.kubernetes.") && !label.startsWith("k8s:io.cilium."));
  if (!shown.length) return null;
  return (
    <div class="labels">
      {shown.map((label) => (
        <button type="button" key={label} title={`Filter by ${label.slice(4)}`} onClick={() => addTerm({ negated: false, side: "", key: "label", value: label.slice(4) })}>{label.slice(4)}</button>
      ))}
    </div>
  );
}

function nodeTitle(id: string, from: Graph): string {
  const node = from.nodes.get(id);
  if (!node) return id.replace(/^[a-z]+:/, "");
  return node.group ? `${node.group}/${node.title}` : node.title;
}

/** As the map says it: of the period, or now. */
function rateOf(edge: Edge, from: Graph): number {
  const { period } = view.value;
  return edgeRate(edge, from.now, period && secondsOf(period));
}

function EdgeList({ title, edges, from, side }: { title: string; edges: Edge[]; from: Graph; side: "source" | "target" }): JSX.Element | null {
  if (!edges.length) return null;
  const sorted = [...edges].sort((a, b) => Number(b.verdict === "dropped") - Number(a.verdict === "dropped") || rateOf(b, from) - rateOf(a, from) || edgeCount(b) - edgeCount(a));
  return (
    <section>
      <h3>{title} <span class="n">{edges.length}</span></h3>
      <div class="links">
        {sorted.slice(0, 60).map((edge) => (
          <button type="button" key={edge.id} class={edge.verdict} onClick={() => change({ selected: `edge:${edge.id}` }, true)}>
            <i class="mark" />
            <span class="name">{nodeTitle(edge[side], from)}<small>{edge.portKey}{edge.verdict === "forwarded" ? "" : ` ${edge.verdict}`}</small></span>
            <span class="value">{rateText(rateOf(edge, from))}</span>
          </button>
        ))}
        {sorted.length > 60 && <p class="note">{sorted.length - 60} more; narrow the filter to see them.</p>}
      </div>
    </section>
  );
}

function NodePanel({ node, from }: { node: Node; from: Graph }): JSX.Element {
  const edges = [...from.edges.values()];
  const hide = hideTerm(node.id);
  const only = hide && { ...hide, negated: false };
  return (
    <PanelFrame kicker={node.kind === "pod" ? `${node.subtitle} in ${node.group}` : node.subtitle} title={node.title} onClose={close}>
      <div class="rows">
        {only && <button type="button" class="button small" onClick={() => addTerm(only)}>Only this</button>}
        {hide && <button type="button" class="button small" onClick={() => change({ query: formatTerms([...terms.value, hide]), selected: "" }, true)}><Hide /> Hide this peer</button>}
        {node.group && view.value.namespace !== node.group && <button type="button" class="button small" onClick={() => change({ namespace: node.group }, true)}>Namespace {node.group}</button>}
      </div>
      {node.labels.length > 0 && <section><h3>Labels</h3><Labels end={node} /></section>}
      <EdgeList title="Called by" edges={edges.filter((edge) => edge.target === node.id)} from={from} side="source" />
      <EdgeList title="Calls" edges={edges.filter((edge) => edge.source === node.id)} from={from} side="target" />
      {node.pods.size > 0 && (
        <section>
          <h3>Pods <span class="n">{node.pods.size}</span></h3>
          <div class="links">
            {[...node.pods].sort().slice(0, 50).map((pod) => (
              <button type="button" key={pod} class="other" onClick={() => addTerm({ negated: false, side: "", key: "pod", value: `${node.group}/${pod}` })}>
                <i class="mark" /><span class="name">{pod}</span><span class="value" />
              </button>
            ))}
          </div>
        </section>
      )}
      {node.kind !== "pod" && node.ips.size > 0 && (
        <section>
          <h3>Addresses <span class="n">{node.ips.size}</span></h3>
          <div class="labels">
            {[...node.ips].sort().slice(0, 40).map((ip) => <button type="button" key={ip} onClick={() => addTerm({ negated: false, side: "", key: "ip", value: ip })}>{ip}</button>)}
          </div>
        </section>
      )}
    </PanelFrame>
  );
}

function EndCard({ end }: { end: End }): JSX.Element {
  const id = graph.value.nodeId(end);
  return (
    <button type="button" class="end" onClick={() => change({ selected: `node:${id}` }, true)}>
      <strong>{endName(end)}</strong>
      <span>{[end.pod && end.pod !== end.workload ? end.pod : "", end.ip, end.identity ? `identity ${end.identity}` : ""].filter(Boolean).join(" · ")}</span>
    </button>
  );
}

function Ends({ flow }: { flow: Flow }): JSX.Element {
  const port = serverOf(flow).port;
  return (
    <div class={`ends ${flow.verdict}`}>
      <EndCard end={clientOf(flow)} />
      <div class="arrow"><Down /> {flow.protocol || "any"}{port ? ` ${port}` : ""}{flow.reply ? " (this is a reply)" : ""}</div>
      <EndCard end={serverOf(flow)} />
    </div>
  );
}

/** A flow as the relay has it with all fields; id "" asks for nothing. */
function useFetched(id: string, time: number, around: number): { found: Flow | null; asked: boolean } {
  const answer = useSignal<{ id: string; found: Flow | null }>({ id: "", found: null });
  useEffect(() => {
    if (!id) return undefined;
    const stop = new AbortController();
    fetchFlow(id, time, stop.signal, around)
      .catch(() => null)
      .then((wire) => {
        if (!stop.signal.aborted) answer.value = { id, found: wire && parseFlow(wire) };
      });
    return () => stop.abort();
  }, [id]);
  const asked = answer.value.id === id;
  return { found: asked ? answer.value.found : null, asked };
}

/** Why a flow was dropped. The relay is asked for all that the agent said of it; live flows come without the long texts. */
function Why({ flow }: { flow: Flow }): JSX.Element {
  const told = flow.explanation !== "" || flow.suggestedPolicy !== "" || flow.dropRule !== "";
  const { found, asked } = useFetched(told ? "" : flow.id, flow.time, 1000);
  // Without the agent's words the page says what it knows itself.
  const known = found ?? flow;
  const denied = known.policies.filter((policy) => policy.denies);
  const byPolicy = /^POLICY_DEN/.test(flow.reason);
  const suggestion = known.suggestedPolicy || (byPolicy && denied.length === 0 && asked ? suggestPolicy(known) : "");
  const subject = flow.direction === "egress" ? clientOf(flow) : serverOf(flow);
  return (
    <>
      <div class="why dropped">
        <h3>{reasonText(flow.reason || "unknown reason")}</h3>
        {known.explanation ? <p>{known.explanation}</p> : byPolicy && (
          <p>
            {denied.length
              ? `A rule denies it at the ${flow.direction || "ingress"} of ${endName(subject)}.`
              : `A policy selects ${endName(subject)} for ${flow.direction || "ingress"}, and no rule allows this.`}
          </p>
        )}
        {known.dropRule && <p class="rule">{known.dropRule}</p>}
        {denied.map((policy) => (
          <p key={policy.name} class="rule">{policy.kind || "Policy"} {policy.namespace ? `${policy.namespace}/` : ""}{policy.name} ({policy.direction})</p>
        ))}
        {!asked && <p class="note">Asking the node that dropped it …</p>}
      </div>
      {suggestion && (
        <section>
          <h3>A policy that allows this</h3>
          <Code text={suggestion} file={`${/name: (\S+)/.exec(suggestion)?.[1] ?? "policy"}.yaml`} />
          <p class="note" style={{ marginTop: "7px" }}>
            {known.suggestedPolicy ? "Suggested by the node that dropped it." : "Made from the labels of both ends; check that they say what you mean."} Try it first: axoneme policy diff -f FILE
          </p>
        </section>
      )}
    </>
  );
}

const LATEST = 8;

function latestOf(edge: Edge, from: Graph): Flow[] {
  const found: Flow[] = [];
  for (let at = log.all.length - 1; at >= 0 && found.length < LATEST; at--) {
    const flow = log.all[at]!;
    if (flow.verdict === edge.verdict && from.nodeId(clientOf(flow)) === edge.source && from.nodeId(serverOf(flow)) === edge.target) found.push(flow);
  }
  return found;
}

function EdgePanel({ edge, from }: { edge: Edge; from: Graph }): JSX.Element {
  const flow = edge.sample;
  const related = latestOf(edge, from);
  return (
    <PanelFrame kicker={`${edge.verdict[0]!.toUpperCase()}${edge.verdict.slice(1)} traffic`} title={`${nodeTitle(edge.source, from)} → ${nodeTitle(edge.target, from)}`} onClose={close}>
      <Ends flow={flow} />
      {edge.verdict === "dropped" && <Why flow={flow} />}
      <section>
        <h3>Traffic</h3>
        <dl class="facts">
          <dt>Port</dt><dd>{edge.portKey}</dd>
          <dt>Rate</dt><dd>{rateText(rateOf(edge, from))}</dd>
          <dt>Seen</dt><dd>{edgeCount(edge).toLocaleString("en")} times, first {clockText(edge.firstSeen, false)}, last {clockText(edge.lastSeen, false)}</dd>
          {edge.bytes > 0 && <><dt>Largest</dt><dd>{bytesText(edge.bytes)} in one connection</dd></>}
          {[...edge.reasons].map(([reason, count]) => <><dt key={reason}>{reasonText(reason)}</dt><dd>{count.toLocaleString("en")}</dd></>)}
        </dl>
      </section>
      <Policies flow={flow} />
      <section>
        <h3>Latest</h3>
        <div class="links">
          {related.map((each) => (
            <button type="button" key={each.id} class={each.verdict} onClick={() => change({ selected: `flow:${each.id}` }, true)}>
              <i class="mark" /><span class="name">{clockText(each.time)}<small>{summaryOf(each)}</small></span><span class="value">{each.reply ? "reply" : ""}</span>
            </button>
          ))}
        </div>
      </section>
    </PanelFrame>
  );
}

function Policies({ flow }: { flow: Flow }): JSX.Element | null {
  if (!flow.policies.length) return null;
  return (
    <section>
      <h3>Decided by</h3>
      <div class="links">
        {flow.policies.map((policy) => (
          <button type="button" key={`${policy.direction}${policy.denies}${policy.namespace}/${policy.name}`} class={policy.denies ? "dropped" : "forwarded"} onClick={() => addTerm({ negated: false, side: "", key: "policy", value: policy.namespace ? `${policy.namespace}/${policy.name}` : policy.name })}>
            <i class="mark" />
            <span class="name">{policy.namespace ? `${policy.namespace}/` : ""}{policy.name}<small>{policy.kind}</small></span>
            <span class="value">{policy.denies ? "denies" : "allows"} {policy.direction}</span>
          </button>
        ))}
      </div>
    </section>
  );
}

function FlowPanel({ flow }: { flow: Flow }): JSX.Element {
  const facts: [string, ComponentChildren][] = [
    ["Verdict", <VerdictBadge flow={flow} key="verdict" />],
    ["Time", `${dayText(flow.time)} (${agoText(Date.now() - flow.time)} ago)`],
    ["Direction", flow.direction],
    ["Seen by", flow.node],
    ["Source", `${endDetail(flow.source)} ${flow.source.ip}${flow.source.port ? `:${flow.source.port}` : ""}`],
    ["Destination", `${endDetail(flow.destination)} ${flow.destination.ip}${flow.destination.port ? `:${flow.destination.port}` : ""}`],
    ["Service", [flow.source.service, flow.destination.service].filter(Boolean).join(" → ")],
    ["DNS names", [...flow.source.names, ...flow.destination.names].join(", ")],
    ["TCP flags", flow.protocol === "TCP" ? flow.flags : ""],
    ["HTTP", flow.http ? `${flow.http.method} ${flow.http.host}${flow.http.path} ${flow.http.code || ""}` : ""],
    ["DNS", flow.dns ? summaryOf(flow) : ""],
    ["Took", flow.latencyMs === undefined ? "" : `${flow.latencyMs.toFixed(1)} ms`],
    ["So far", flow.bytes ? `${bytesText(flow.bytes)} in ${flow.packets.toLocaleString("en")} packets` : ""],
    ["Id", <span class="mono" key="id">{flow.id}</span>],
  ];
  return (
    <PanelFrame kicker={flow.layer === "L3/L4" ? "Flow" : `${flow.layer} flow`} title={`${endName(flow.source)} → ${endName(flow.destination)}`} onClose={close}>
      {flow.verdict === "dropped" && <Why flow={flow} />}
      <section>
        <h3>Details</h3>
        <dl class="facts">{facts.filter(([, value]) => value !== "").map(([name, value]) => <><dt key={name}>{name}</dt><dd>{value}</dd></>)}</dl>
      </section>
      <Policies flow={flow} />
      <section><h3>Source labels</h3><Labels end={flow.source} /></section>
      <section><h3>Destination labels</h3><Labels end={flow.destination} /></section>
    </PanelFrame>
  );
}

export function Panel(): JSX.Element | null {
  void tick.value;
  const { selected } = view.value;
  const from = graph.value;
  const [kind] = selected.split(":", 1);
  const id = selected.slice((kind ?? "").length + 1);
  if (kind === "node") {
    const node = from.nodes.get(id);
    return node ? <NodePanel node={node} from={from} /> : <Gone what={id.replace(/^[a-z]+:/, "")} />;
  }
  if (kind === "edge") {
    const edge = from.edges.get(id);
    return edge ? <EdgePanel edge={edge} from={from} /> : <Gone what="This connection" />;
  }
  if (kind === "flow") {
    const flow = log.find(id);
    return flow ? <FlowPanel key={id} flow={flow} /> : <FetchedFlow key={id} id={id} />;
  }
  return null;
}

function Gone({ what }: { what: string }): JSX.Element {
  return (
    <PanelFrame kicker="Selected" title={what} onClose={close}>
      <p class="note">Not seen {view.value.period ? "in this period" : "in the last five minutes"} with this filter.</p>
    </PanelFrame>
  );
}

const HOUR_MS = 3_600_000;

/** A flow that a link names and that is no longer in the list: the history may hold it. */
function FetchedFlow({ id }: { id: string }): JSX.Element {
  const now = Date.now();
  const { since, until }: Period = view.value.period ?? { since: now - HOUR_MS, until: now + HOUR_MS };
  const { found, asked } = useFetched(id, (since + until) / 2, (until - since) / 2);
  if (found) return <FlowPanel flow={found} />;
  return (
    <PanelFrame kicker="Flow" title={asked ? "No longer there" : "Looking for it …"} onClose={close}>
      {asked && <p class="note">The nodes keep neither flow {id} nor its time any more.</p>}
    </PanelFrame>
  );
}
