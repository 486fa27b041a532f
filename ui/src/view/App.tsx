import { useComputed, useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useLayoutEffect, useMemo, useRef } from "preact/hooks";
import { rateText } from "../model/format";
import { secondsOf } from "../model/url";
import { graph, failure, history, link, loading, log, nodes, terms, tick } from "../state/engine";
import { comparison, policies, policyPicture } from "../state/extra";
import { change, goLive, pause, setTheme, theme, view } from "../state/view";
import type { Hit } from "../map/renderer";
import { LayoutCache, type Scene, sceneOf } from "../map/scene";
import { compareScene, policyScene } from "../map/scenes";
import { Banners } from "./Banners";
import { FilterBar } from "./FilterBar";
import { FlowTable } from "./FlowTable";
import { Help as HelpSheet } from "./Help";
import { Help, Logo, Moon, Quiet, Funnel, Sun, Unplugged, Wait, Shield } from "./icons";
import { CompareList, PolicyList } from "./Lists";
import { MapView, mapAspect } from "./MapView";
import { Panel } from "./Panel";
import { Timeline } from "./Timeline";
import { NamespaceMenu, Tools } from "./Tools";

const EMPTY: Scene = { layout: { placed: new Map(), boxes: [], width: 0, height: 0, dense: false }, edges: [], nodes: new Map() };

function StatusPill(): JSX.Element {
  const { state } = link.value;
  const past = view.value.period !== null;
  const up = nodes.value.filter((node) => node.state === "NODE_CONNECTED").length;
  const text = state === "unreachable" ? "Unreachable" : state === "connecting" ? "Connecting" : past ? "Past" : "Live";
  const detail = nodes.value.length ? `${up}/${nodes.value.length} nodes` : "";
  return (
    <button type="button" class={`status ${state === "live" && past ? "past" : state}`} title={nodes.value.map((node) => `${node.name}: ${node.state.replace("NODE_", "").toLowerCase()}${node.message ? `, ${node.message}` : ""}`).join("\n") || link.value.why} onClick={() => view.value.period && goLive()}>
      <i class="dot" />
      <span>{text}</span>
      {detail && <span class="note">{detail}</span>}
    </button>
  );
}

function Empty(): JSX.Element | null {
  const state = link.value.state;
  const { query, namespace, hidden, period, view: kind } = view.value;
  const filtered = terms.value.length > 0 || namespace !== "" || hidden.length > 0;
  if (kind === "policies") {
    if (policies.value.error) return <Message icon={<Unplugged />} title="No policies to show" text={policies.value.error} />;
    return policies.value.answer ? <Message icon={<Shield />} title="Nobody to draw yet" text="Policies are drawn among workloads that have been seen. None has been seen with this filter." /> : <Message icon={<Wait class="spin" />} title="Reading policies" text="" />;
  }
  if (kind === "compare" && comparison.value.error) return <Message icon={<Unplugged />} title="The periods cannot be compared" text={comparison.value.error} />;
  if (loading.value || (kind === "compare" && comparison.value.loading)) return <Message icon={<Wait class="spin" />} title="Reading the history" text="" />;
  if (state === "connecting") return <Message icon={<Wait class="spin" />} title="Connecting" text="Asking the relay for flows." />;
  if (state === "unreachable") return <Message icon={<Unplugged />} title="The relay cannot be reached" text={`${link.value.why}. This page tries again by itself.`} />;
  if (failure.value) return <Message icon={<Unplugged />} title="The relay refused" text={failure.value} />;
  if (filtered) {
    return (
      <Message icon={<Funnel />} title="Nothing matches" text={`No flow ${period ? "of this period" : "of the last five minutes"} passes the filter.`}>
        {query && <button type="button" class="button" onClick={() => change({ query: "" }, true)}>Clear the filter</button>}
        {namespace && <button type="button" class="button" onClick={() => change({ namespace: "" }, true)}>All namespaces</button>}
        {hidden.length > 0 && <button type="button" class="button" onClick={() => change({ hidden: [] }, true)}>Show hidden peers</button>}
      </Message>
    );
  }
  return <Message icon={<Quiet />} title={period ? "Nothing happened" : "No flows yet"} text={period ? "No flow of this period is kept." : "The relay is connected. The picture appears with the first connection that a pod makes."} />;
}

function Message(props: { icon: JSX.Element; title: string; text: string; children?: preact.ComponentChildren }): JSX.Element {
  return (
    <div class="empty">
      <div>
        {props.icon}
        <h2>{props.title}</h2>
        {props.text && <p>{props.text}</p>}
        <div class="row">{props.children}</div>
      </div>
    </div>
  );
}

function Picture(): JSX.Element {
  const cache = useRef(new LayoutCache());
  const { view: kind, selected, period, namespace } = view.value;
  const now = tick.value;
  const compared = comparison.value.result;
  const allowed = kind === "policies" ? policyPicture() : null;
  const aspect = mapAspect.value;
  const last = useRef<{ scene: Scene; of: unknown; at: number }>({ scene: EMPTY, of: null, at: 0 });
  const scene = useMemo<Scene>(() => {
    if (kind === "policies") return allowed ? policyScene(allowed, aspect) : EMPTY;
    if (kind === "compare") return compared ? compareScene(compared, aspect) : EMPTY;
    const from = graph.value;
    // A picture of thousands shows new rates once a second: nobody reads them faster, and each costs a frame.
    const crowded = from.nodes.size > 400 && last.current.of === from && last.current.scene.nodes.size > from.nodes.size * 0.7;
    if (crowded && performance.now() - last.current.at < 1000) return last.current.scene;
    const made = sceneOf(from, cache.current.of(from, aspect), period ? from.now : Math.max(from.now, Date.now()), period && secondsOf(period));
    last.current = { scene: made, of: from, at: performance.now() };
    return made;
  }, [kind, allowed, compared, kind === "map" ? now : 0, kind === "map" ? graph.value : 0, period, aspect]);

  const id = selected.replace(/^(node|edge):/, "");
  const focus = useMemo<ReadonlySet<string> | null>(() => {
    if (kind !== "policies" || !selected.startsWith("policy:") || !allowed) return null;
    const policy = allowed.policies.find((each) => `policy:${each.key}` === selected);
    if (!policy) return null;
    const ids = new Set([...policy.edges, ...policy.subjects]);
    for (const edge of policy.edges) {
      const drawn = allowed.edges.get(edge);
      if (drawn) ids.add(drawn.source).add(drawn.target);
    }
    return ids;
  }, [kind, selected, allowed]);

  function onSelect(hit: Hit): void {
    if (!hit) change({ selected: "" }, true);
    else if (hit.kind === "box") change({ namespace: hit.group, selected: "" }, true);
    else change({ selected: `${hit.kind}:${hit.id}` }, true);
  }

  function describe(hit: Hit): { title: string; text: string } | null {
    if (!hit) return null;
    if (hit.kind === "box") return { title: hit.group, text: "Click for this namespace alone" };
    const edge = scene.edges.find((each) => each.id === hit.id);
    if (edge) {
      const from = scene.nodes.get(edge.source)?.title ?? "";
      const to = scene.nodes.get(edge.target)?.title ?? "";
      return { title: `${from} → ${to}`, text: `${edge.portKey}${edge.tone === "plain" ? "" : ` ${kind === "policies" ? (edge.tone === "dropped" ? "denied" : "allowed") : kind === "map" ? edge.tone : ""}`}${kind === "map" ? `, ${rateText(edge.rate)}` : kind === "compare" ? `, ${edge.label}` : ""}` };
    }
    const node = scene.nodes.get(hit.id);
    if (!node) return null;
    const group = kind === "map" ? graph.value.nodes.get(hit.id)?.group ?? "" : "";
    return { title: group ? `${group}/${node.title}` : node.title, text: node.subtitle };
  }

  const empty = scene.nodes.size === 0;
  const what = kind === "policies" ? "Policies" : kind === "compare" ? "Differences" : "Service map";
  const withPanel = selected !== "" && kind === "map";
  return (
    <section class="pictured" aria-label={what}>
      <div class="picture">
        <MapView
          scene={scene}
          selected={id}
          focus={focus}
          subject={`${kind} ${namespace}`}
          label={`${what} of ${namespace ? `namespace ${namespace}` : "all namespaces"}: ${scene.nodes.size} nodes, ${scene.edges.length} edges. Arrow keys go from node to node.`}
          onSelect={onSelect}
          describe={describe}
        />
        {empty && <Empty />}
        {!empty && <Legend kind={kind} />}
      </div>
      {withPanel && <Panel />}
      {kind === "policies" && allowed && <PolicyList picture={allowed} />}
      {kind === "compare" && compared && <CompareList result={compared} />}
    </section>
  );
}

function Legend({ kind }: { kind: string }): JSX.Element {
  const lines: [string, string][] =
    kind === "policies" ? [["added-line", "allowed"], ["dropped", "denied"]]
    : kind === "compare" ? [["added-line", "new"], ["other", "gone"], ["audit-line", "more"], ["forwarded", "less"]]
    : [["forwarded", "forwarded"], ["dropped", "dropped"], ["audit", "audited"]];
  return <div class="legend" aria-hidden="true">{lines.map(([name, text]) => <span key={text} class={name}><i />{text}</span>)}</div>;
}

function Splitter({ vertical }: { vertical: boolean }): JSX.Element {
  const stage = () => document.querySelector<HTMLElement>(".stage")!;
  const name = vertical ? "--table-wide" : "--table";
  const size = useSignal(vertical ? 640 : 260);
  const set = (value: number) => {
    const rect = stage().getBoundingClientRect();
    size.value = Math.round(Math.max(vertical ? 320 : 110, Math.min(value, (vertical ? rect.width : rect.height) - 180)));
    stage().style.setProperty(name, `${size.value}px`);
  };
  function onDown(event: PointerEvent): void {
    const element = event.currentTarget as HTMLElement;
    element.setPointerCapture(event.pointerId);
    const move = (now: PointerEvent) => {
      const rect = stage().getBoundingClientRect();
      set(vertical ? rect.right - now.clientX : rect.bottom - now.clientY);
    };
    const released = new AbortController();
    const up = () => released.abort();
    element.addEventListener("pointermove", move, released);
    element.addEventListener("pointerup", up, released);
    element.addEventListener("pointercancel", up, released);
  }
  return (
    <div
      class="splitter" role="separator" tabIndex={0} aria-orientation={vertical ? "vertical" : "horizontal"} aria-label="Size of the flow table" aria-valuenow={size.value} aria-valuemin={110} aria-valuemax={2000}
      onPointerDown={onDown}
      onKeyDown={(event) => {
        const by = ({ ArrowUp: 24, ArrowLeft: 24, ArrowDown: -24, ArrowRight: -24 } as Record<string, number>)[event.key];
        if (by === undefined) return;
        event.preventDefault();
        set(size.value + by);
      }}
    />
  );
}

export function App(): JSX.Element {
  const help = useSignal(false);
  const dock = useComputed(() => view.value.dock);

  // Before the browser counts the page as loaded: an early key is heard too.
  useLayoutEffect(() => {
    const keys = (event: KeyboardEvent) => {
      const target = event.target as HTMLElement;
      if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName)) return;
      if (event.key === "?") help.value = true;
      else if (event.key === "m") document.querySelector<HTMLElement>(".map-keys")?.focus();
      else if (event.key === "t") change({ dock: view.value.dock === "hidden" ? "bottom" : "hidden" });
      else if (event.key === "d") setTheme(theme.value === "dark" ? "light" : "dark");
      else if (event.key === "p") {
        if (view.value.period) goLive();
        else pause(history.value.until || Date.now());
      } else if (event.key === "Escape" && view.value.selected) change({ selected: "" }, true);
      else return;
      event.preventDefault();
    };
    window.addEventListener("keydown", keys);
    return () => window.removeEventListener("keydown", keys);
  }, []);

  const where = view.value.namespace || "all namespaces";
  useEffect(() => {
    document.title = `Axoneme: ${where}`;
  }, [where]);

  return (
    <div class="page">
      <header class="top">
        <h1 class="brand"><Logo /><span>Axoneme</span></h1>
        <NamespaceMenu />
        <FilterBar />
        <StatusPill />
        <button type="button" class="button icon plain" aria-label={theme.value === "dark" ? "Light theme" : "Dark theme"} title="Dark or light (d)" onClick={() => setTheme(theme.value === "dark" ? "light" : "dark")}>{theme.value === "dark" ? <Sun /> : <Moon />}</button>
        <button type="button" class="button icon plain" aria-label="Help" title="Keys and filters (?)" onClick={() => { help.value = true; }}><Help /></button>
      </header>
      <Tools />
      <Banners />
      <main class={`stage ${dock.value === "right" ? "right" : dock.value === "hidden" ? "hidden" : "bottom"}`}>
        <Picture />
        {dock.value !== "hidden" && <Splitter key={dock.value} vertical={dock.value === "right"} />}
        {dock.value === "hidden" ? <ShowTable /> : <FlowTable />}
      </main>
      <Timeline />
      {help.value && <HelpSheet onClose={() => { help.value = false; }} />}
    </div>
  );
}

function ShowTable(): JSX.Element {
  void tick.value;
  return (
    <div class="flows">
      <div class="head">
        <button type="button" class="button small plain" onClick={() => change({ dock: "bottom" })}>Show {log.size.toLocaleString("en")} flows</button>
      </div>
    </div>
  );
}
