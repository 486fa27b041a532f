// The flows themselves. Only the rows in view exist; while somebody reads, nothing moves under their eyes.
import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { clockText } from "../model/format";
import { type End, type Flow, reasonText, serverPort, summaryOf } from "../model/flow";
import { log, tick, truncated } from "../state/engine";
import { change, view } from "../state/view";
import { Close, DockBottom, DockRight, Down } from "./icons";

const ROW = 28;
const OVERSCAN = 6;

function EndCell({ end }: { end: End }): JSX.Element {
  if (!end.namespace) {
    const name = end.names[0];
    return (
      <span role="gridcell" title={`${name ?? end.reserved} ${end.ip}`}>
        {name ?? end.reserved}
        {(name || end.reserved === "world") && <span class="ns"> {end.ip}</span>}
      </span>
    );
  }
  return (
    <span role="gridcell" title={`${end.namespace}/${end.pod || end.workload} ${end.ip}`}>
      <span class="ns">{end.namespace}/</span>
      {end.pod || end.workload || end.ip}
    </span>
  );
}

export function VerdictBadge({ flow }: { flow: Flow }): JSX.Element {
  const word = flow.verdictWord.charAt(0) + flow.verdictWord.slice(1).toLowerCase();
  return <span class={`badge ${flow.verdict}`}>{flow.verdictWord.startsWith("VERDICT") ? "Unknown" : word}</span>;
}

function portText(flow: Flow): string {
  const port = serverPort(flow);
  return port ? `${port}${flow.protocol === "TCP" ? "" : ` ${flow.protocol}`}` : flow.protocol;
}

export function FlowTable(): JSX.Element {
  const body = useRef<HTMLDivElement>(null);
  const scroll = useSignal(0);
  const height = useSignal(240);
  const active = useSignal("");
  /** The list as it was when the reader left its top; null follows. */
  const held = useSignal<{ flows: readonly Flow[]; added: number } | null>(null);
  const hold = () => { held.value ??= { flows: log.all.slice(), added: log.added }; };

  void tick.value;
  const rows = held.value?.flows ?? log.all;
  const count = rows.length;
  const newer = held.value ? log.added - held.value.added : 0;

  useEffect(() => {
    const element = body.current!;
    const observer = new ResizeObserver(() => {
      height.value = element.clientHeight;
    });
    observer.observe(element);
    return () => observer.disconnect();
  }, []);

  function follow(): void {
    held.value = null;
    scroll.value = 0;
    if (body.current) body.current.scrollTop = 0;
  }

  function onScroll(event: Event): void {
    const element = event.currentTarget as HTMLElement;
    scroll.value = element.scrollTop;
    if (element.scrollTop < 4) held.value = null;
    else hold();
  }

  const rowAt = (index: number): Flow | undefined => rows[count - 1 - index];
  const indexOf = (id: string) => {
    for (let index = 0; index < count; index++) if (rowAt(index)?.id === id) return index;
    return -1;
  };

  function onKeyDown(event: KeyboardEvent): void {
    const page = Math.max(1, Math.floor(height.value / ROW) - 1);
    const moves: Record<string, number> = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    const move = moves[event.key];
    const now = active.value ? indexOf(active.value) : -1;
    if (move !== undefined) {
      hold();
      const next = Math.max(0, Math.min(count - 1, now + move));
      active.value = rowAt(next)?.id ?? "";
      const element = body.current!;
      if (next * ROW < element.scrollTop) element.scrollTop = next * ROW;
      else if ((next + 1) * ROW > element.scrollTop + height.value) element.scrollTop = (next + 1) * ROW - height.value;
    } else if (event.key === "Enter" && now >= 0) change({ selected: `flow:${active.value}` }, true);
    else if (event.key === "Escape") follow();
    else return;
    event.preventDefault();
  }

  const first = Math.max(0, Math.floor(scroll.value / ROW) - OVERSCAN);
  const last = Math.min(count, Math.ceil((scroll.value + height.value) / ROW) + OVERSCAN);
  const shown: JSX.Element[] = [];
  const chosen = view.value.selected.startsWith("flow:") ? view.value.selected.slice(5) : active.value;
  for (let index = first; index < last; index++) {
    const flow = rowAt(index);
    if (!flow) continue;
    const info = summaryOf(flow);
    shown.push(
      <div
        key={flow.id}
        id={`row-${flow.id}`}
        role="row"
        aria-rowindex={index + 2}
        aria-selected={flow.id === chosen}
        class={`grid-row ${flow.verdict === "dropped" ? "is-dropped" : ""} ${flow.id === chosen ? "active" : ""}`}
        style={{ transform: `translateY(${index * ROW}px)` }}
        onClick={() => {
          active.value = flow.id;
          change({ selected: `flow:${flow.id}` }, true);
        }}
      >
        <span role="gridcell" class="time">{clockText(flow.time, false)}<span class="ms">{clockText(flow.time).slice(8)}</span></span>
        <EndCell end={flow.source} />
        <EndCell end={flow.destination} />
        <span role="gridcell">{portText(flow)}</span>
        <span role="gridcell"><VerdictBadge flow={flow} /></span>
        <span role="gridcell" class="info" title={flow.reason ? reasonText(flow.reason) : info}>{info}</span>
      </div>,
    );
  }
  const { dock } = view.value;
  return (
    <section class="flows" aria-label="Flows">
      <div class="head">
        <h2>Flows</h2>
        <span class="note grow" role="status">
          {count.toLocaleString("en")} shown{truncated.value ? `. ${truncated.value}` : ""}
        </span>
        <button type="button" class="button small icon plain" aria-label="Table below" aria-pressed={dock === "bottom"} title="Table below the map" onClick={() => change({ dock: "bottom" })}><DockBottom /></button>
        <button type="button" class="button small icon plain" aria-label="Table beside" aria-pressed={dock === "right"} title="Table beside the map" onClick={() => change({ dock: "right" })}><DockRight /></button>
        <button type="button" class="button small icon plain" aria-label="Close the table" title="Close the table (t)" onClick={() => change({ dock: "hidden" })}><Close /></button>
      </div>
      <div class="grid" role="grid" aria-label="Flows, newest first" aria-rowcount={count + 1} aria-colcount={6}>
        <div role="rowgroup">
          <div class="grid-row grid-head" role="row" aria-rowindex={1}>
            {["Time", "From", "To", "Port", "Verdict", "Details"].map((name) => <span key={name} role="columnheader">{name}</span>)}
          </div>
        </div>
        <div class="grid-body" role="rowgroup" ref={body} tabIndex={0} aria-label="Rows" onScroll={onScroll} onKeyDown={onKeyDown}>
          <div role="presentation" style={{ height: `${count * ROW}px` }} />
          {shown}
        </div>
      </div>
      {newer > 0 && (
        <button type="button" class="button small primary newer" onClick={follow}>
          <span style={{ display: "inline-flex", transform: "rotate(180deg)" }}><Down /></span> {newer.toLocaleString("en")} newer
        </button>
      )}
    </section>
  );
}
