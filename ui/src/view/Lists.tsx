// The lists beside the other two pictures: policies, and what has changed.
import type { JSX } from "preact";
import { plural } from "../map/scene";
import { type Comparison, type EdgeChange, ordered } from "../model/diff";
import { clockText, rateText } from "../model/format";
import type { PolicyPicture } from "../model/policy";
import { comparison } from "../state/extra";
import { change, view } from "../state/view";
import { Code, toYaml } from "./Code";
import { PanelFrame } from "./Panel";

export function PolicyList({ picture }: { picture: PolicyPicture }): JSX.Element {
  const { selected } = view.value;
  const chosen = picture.policies.find((policy) => selected === `policy:${policy.key}`);
  if (chosen) {
    const closes = [chosen.ingress && "ingress", chosen.egress && "egress"].filter(Boolean).join(" and ");
    return (
      <PanelFrame kicker={chosen.kind} title={chosen.namespace ? `${chosen.namespace}/${chosen.name}` : chosen.name} onClose={() => change({ selected: "" }, true)}>
        <dl class="facts">
          <dt>Selects</dt><dd>{chosen.subjects.length ? chosen.subjects.map((id) => picture.known.get(id)?.title ?? id).join(", ") : "nothing that has been seen"}</dd>
          <dt>Closes</dt><dd>{closes || "nothing"}</dd>
          <dt>Allows</dt><dd>{plural(chosen.edges.length, "connection")} in this picture</dd>
        </dl>
        <Code text={toYaml(chosen.object)} file={`${chosen.name}.yaml`} />
      </PanelFrame>
    );
  }
  const node = selected.startsWith("node:") ? selected.slice(5) : "";
  const shown = node ? picture.policies.filter((policy) => policy.subjects.includes(node)) : picture.policies;
  const title = node ? picture.known.get(node)?.title ?? "" : "";
  const { ingress, egress } = picture.closed.get(node) ?? { ingress: false, egress: false };
  return (
    <PanelFrame className="list-panel" kicker={node ? `${plural(shown.length, "policy", "policies")} select` : "Who may talk to whom"} title={node ? title : plural(shown.length, "policy", "policies")} {...(node ? { onClose: () => change({ selected: "" }, true) } : {})}>
      {node && <p class="note" style={{ padding: "4px 10px 8px" }}>{ingress ? "Accepts only what is drawn." : "Accepts from everybody."} {egress ? "Calls only what is drawn." : "May call everybody."}</p>}
      {!node && <p class="note" style={{ padding: "4px 10px 8px" }}>“in” and “out” mark what is closed but for the lines drawn. What carries no mark is open. Among workloads that were seen with this filter.</p>}
      {shown.map((policy) => (
        <button type="button" key={policy.key} class="policy-item" aria-pressed={false} onClick={() => change({ selected: `policy:${policy.key}` }, true)}>
          <strong>{policy.namespace ? `${policy.namespace}/` : ""}{policy.name}</strong>
          <span>{policy.kind.replace("CiliumClusterwide", "Clusterwide ").replace("Cilium", "").replace("NetworkPolicy", "network policy")}, selects {policy.subjects.length}, {plural(policy.rules, "rule")}</span>
        </button>
      ))}
      {shown.length === 0 && <p class="note" style={{ padding: "0 10px" }}>{node ? "No policy selects it: everything is allowed." : "There are no policies here: everything is allowed."}</p>}
    </PanelFrame>
  );
}

const WORDS: Record<EdgeChange["change"], string> = { added: "new", removed: "gone", more: "more", less: "less", same: "same" };
const BADGES: Record<EdgeChange["change"], string> = { added: "added", removed: "removed", more: "audit", less: "forwarded", same: "other" };

export function CompareList({ result }: { result: Comparison }): JSX.Element {
  const changes = ordered(result.edges.values());
  const { period, before, selected } = view.value;
  const title = (id: string) => {
    const node = result.titles.get(id);
    return node ? (node.group ? `${node.group}/${node.title}` : node.title) : id;
  };
  const time = (at: number) => clockText(at, false);
  return (
    <PanelFrame className="list-panel" kicker={before && period ? `${time(before.since)} – ${time(before.until)} against ${time(period.since)} – ${time(period.until)}` : ""} title={changes.length ? plural(changes.length, "difference") : "No difference"}>
      <div class="rows" style={{ padding: "2px 10px 8px" }}>
        <button type="button" class="button small" onClick={() => period && change({ before: { since: period.since - (period.until - period.since), until: period.since } })}>The period before</button>
        <button type="button" class="button small" onClick={() => period && change({ before: { since: period.since - 3_600_000, until: period.until - 3_600_000 } })}>One hour before</button>
        <button type="button" class="button small" onClick={() => change({ period: null, before: null }, true)}>Latest</button>
      </div>
      {comparison.value.partial && <p class="note" style={{ padding: "0 10px 8px" }}>A period holds more flows than are compared; the latest of each are.</p>}
      {changes.slice(0, 300).map((each) => (
        <button type="button" key={each.id} class="change" aria-pressed={selected === `edge:${each.id}`} onClick={() => change({ selected: `edge:${each.id}` })}>
          <span><i class={`badge ${each.verdict === "dropped" ? "dropped" : BADGES[each.change]}`}>{each.verdict === "dropped" && each.change === "added" ? "drop" : WORDS[each.change]}</i></span>
          <span class="name">{title(each.source)} → {title(each.target)}<small>{each.portKey}, {each.verdict}</small></span>
          <span class="value">{rateText(each.before)}<br />{rateText(each.after)}</span>
        </button>
      ))}
      {changes.length === 0 && <p class="note" style={{ padding: "0 10px" }}>The same peers talk at the same ports, as much as before. Drag on the time bar to choose another period.</p>}
    </PanelFrame>
  );
}
