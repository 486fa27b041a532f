// The history: how much happened when, and which part of it is looked at. Drag to choose a period; Live goes back to now.
import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useRef } from "preact/hooks";
import { agoText, clockText, dayText, spanText } from "../model/format";
import { type Period, SPANS } from "../model/url";
import { history, link } from "../state/engine";
import { change, goLive, pause, view } from "../state/view";

const SHORTEST_MS = 5_000;

function Bars({ width }: { width: number }): JSX.Element {
  const { buckets, since, until, step } = history.value;
  const span = Math.max(1, until - since);
  const most = Math.max(1, ...buckets.map((bucket) => bucket.forwarded + bucket.dropped + bucket.audit + bucket.error));
  const scale = (value: number) => (value === 0 ? 0 : Math.max(1.5, (Math.sqrt(value) / Math.sqrt(most)) * 30));
  const bar = Math.max(1, (step * 1000 * width) / span - 1);
  return (
    <svg class="bars" viewBox={`0 0 ${width} 46`} preserveAspectRatio="none" aria-hidden="true">
      {buckets.map((bucket) => {
        const x = ((Date.parse(bucket.time) - since) / span) * width;
        const total = bucket.forwarded + bucket.dropped + bucket.audit + bucket.error;
        const height = scale(total);
        const bad = total ? Math.max(bucket.dropped + bucket.error ? 2 : 0, (height * (bucket.dropped + bucket.error)) / total) : 0;
        const audit = total ? (height * bucket.audit) / total : 0;
        return (
          <g key={bucket.time}>
            <rect class="f" x={x} y={46 - height} width={bar} height={Math.max(0, height - bad - audit)} />
            {audit > 0 && <rect class="a" x={x} y={46 - bad - audit} width={bar} height={audit} />}
            {bad > 0 && <rect class="d" x={x} y={46 - bad} width={bar} height={bad} />}
          </g>
        );
      })}
    </svg>
  );
}

export function Timeline(): JSX.Element {
  const chart = useRef<HTMLDivElement>(null);
  const drag = useSignal<Period | null>(null);
  const { period, before, span, view: kind } = view.value;
  const { since, until, error } = history.value;
  const from = since || Date.now() - span * 60_000;
  const to = until || Date.now();
  const total = to - from;
  const chosen = drag.value ?? period;

  const timeAt = (clientX: number) => {
    const rect = chart.current!.getBoundingClientRect();
    return from + Math.max(0, Math.min(1, (clientX - rect.left) / rect.width)) * total;
  };

  function onDown(event: PointerEvent): void {
    if (event.button !== 0) return;
    const target = event.target as HTMLElement;
    const start = timeAt(event.clientX);
    const grip = target.dataset.grip;
    const origin = period;
    chart.current!.setPointerCapture(event.pointerId);
    const move = (now: PointerEvent) => {
      const at = timeAt(now.clientX);
      if (grip === "since" && origin) drag.value = { since: Math.min(at, origin.until - SHORTEST_MS), until: origin.until };
      else if (grip === "until" && origin) drag.value = { since: origin.since, until: Math.max(at, origin.since + SHORTEST_MS) };
      else if (grip === "range" && origin) {
        const by = Math.max(from - origin.since, Math.min(to - origin.until, at - start));
        drag.value = { since: origin.since + by, until: origin.until + by };
      } else if (Math.abs(at - start) > total / 300) drag.value = { since: Math.min(at, start), until: Math.max(at, start) };
    };
    const released = new AbortController();
    const up = () => {
      released.abort();
      if (drag.value) {
        const { since: a, until: b } = drag.value;
        change({ period: { since: a, until: Math.max(b, a + SHORTEST_MS) }, selected: "" }, true);
      } else if (!grip) {
        // A click: the bar under it, and a little around.
        const half = Math.max(SHORTEST_MS, total / 60);
        change({ period: { since: Math.max(from, start - half), until: Math.min(to, start + half) }, selected: "" }, true);
      }
      drag.value = null;
    };
    const cancel = () => {
      released.abort();
      drag.value = null;
    };
    chart.current!.addEventListener("pointermove", move, released);
    chart.current!.addEventListener("pointerup", up, released);
    chart.current!.addEventListener("pointercancel", cancel, released);
  }

  function onKey(which: "since" | "until") {
    return (event: KeyboardEvent) => {
      if (!period) return;
      const by = ({ ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10 } as Record<string, number>)[event.key];
      if (by === undefined) return;
      event.preventDefault();
      const moved = { ...period, [which]: period[which] + (by * total) / 120 };
      if (moved.until - moved.since < SHORTEST_MS) return;
      change({ period: { since: Math.max(from, moved.since), until: Math.min(to, moved.until) } });
    };
  }

  const part = (time: number) => `${Math.max(0, Math.min(100, ((time - from) / total) * 100))}%`;
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((share) => clockText(from + share * total, false).slice(0, 5));
  const live = !period;
  return (
    <footer class="timeline" aria-label="Time">
      <div class="when">
        <strong>{live ? (link.value.state === "unreachable" ? "No longer live" : "Live") : chosen ? `${clockText(chosen.since, false)} – ${clockText(chosen.until, false)}` : ""}</strong>
        <span>{live ? "the last 5 minutes" : `${dayText(period.since).slice(0, 10)}, ${agoText(period.until - period.since)}`}</span>
      </div>
      <div class="chart" ref={chart} onPointerDown={onDown} title={error ? `There is no history: ${error}` : period ? "" : "Drag to look at a period"}>
        <Bars width={1000} />
        <div class="axis" aria-hidden="true">{ticks.map((text, index) => <span key={index}>{text}</span>)}</div>
        {kind === "compare" && before && <div class="range before" style={{ left: part(before.since), width: `calc(${part(before.until)} - ${part(before.since)})` }} />}
        {chosen && (
          <>
            <div class="range" data-grip="range" style={{ left: part(chosen.since), width: `calc(${part(chosen.until)} - ${part(chosen.since)})` }} />
            {(["since", "until"] as const).map((which) => (
              <button
                type="button" key={which} class="thumb" data-grip={which} style={{ left: part(chosen[which]) }} role="slider"
                aria-label={which === "since" ? "Start" : "End"} aria-valuemin={Math.round(from / 1000)} aria-valuemax={Math.round(to / 1000)}
                aria-valuenow={Math.round(chosen[which] / 1000)} aria-valuetext={dayText(chosen[which])} onKeyDown={onKey(which)}
              />
            ))}
          </>
        )}
      </div>
      {live ? (
        <button type="button" class="button" onClick={() => pause(to)}>Pause</button>
      ) : (
        <button type="button" class="button primary" onClick={goLive}>Live</button>
      )}
      <select aria-label="History shown" value={String(span)} onChange={(event) => change({ span: Number(event.currentTarget.value) })}>
        {SPANS.map((minutes) => <option key={minutes} value={String(minutes)}>{spanText(minutes)}</option>)}
      </select>
    </footer>
  );
}
