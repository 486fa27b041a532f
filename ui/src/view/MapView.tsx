// The picture and how it is moved: pointer, wheel, two fingers, keys.
import { effect, signal, useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useMemo, useRef } from "preact/hooks";
import { zoomAt } from "../map/camera";
import { readPalette } from "../map/palette";
import { type Hit, Renderer } from "../map/renderer";
import type { Scene } from "../map/scene";
import { theme } from "../state/view";
import { Fit, Minus, Plus } from "./icons";

interface MapProps {
  scene: Scene;
  selected: string;
  /** Ids to show while all else fades. */
  focus: ReadonlySet<string> | null;
  label: string;
  onSelect: (hit: Hit) => void;
  describe: (hit: Hit) => { title: string; text: string } | null;
  /** What the picture is of: another one is fitted into view anew. */
  subject: string;
}

const MOST_OPTIONS = 300;

/** Width to height of the picture, in few steps: a small change of the window moves nothing. */
export const mapAspect = signal(2.4);
const ASPECTS = [0.6, 0.9, 1.3, 1.8, 2.4, 3.2];
const roughly = (aspect: number) => ASPECTS.reduce((best, each) => (Math.abs(Math.log(each / aspect)) < Math.abs(Math.log(best / aspect)) ? each : best));

/** The nearest node in a direction; nodes straight ahead before nodes aside. */
export function step(renderer: Renderer, from: string, dx: number, dy: number): string {
  const at = renderer.positionOf(from);
  let best = "";
  let least = Infinity;
  for (const id of renderer.placedIds) {
    const to = renderer.positionOf(id)!;
    if (!at) {
      const distance = to.x + to.y;
      if (distance < least) [best, least] = [id, distance];
      continue;
    }
    if (id === from) continue;
    const x = to.x + to.width / 2 - at.x - at.width / 2;
    const y = to.y + to.height / 2 - at.y - at.height / 2;
    const ahead = x * dx + y * dy;
    const aside = Math.abs(x * dy) + Math.abs(y * dx);
    if (ahead <= 1 || aside > ahead * 3 + 60) continue;
    const distance = ahead + aside * 2;
    if (distance < least) [best, least] = [id, distance];
  }
  return best || from;
}

export function MapView(props: MapProps): JSX.Element {
  const box = useRef<HTMLDivElement>(null);
  const base = useRef<HTMLCanvasElement>(null);
  const top = useRef<HTMLCanvasElement>(null);
  const renderer = useRef<Renderer | null>(null);
  const latest = useRef(props);
  const tip = useSignal<{ x: number; y: number; title: string; text: string } | null>(null);
  const cursor = useSignal("");
  const frame = useRef({ draw: false, pulses: true, id: 0, last: 0 });
  latest.current = props;

  const redraw = useRef(() => {
    frame.current.draw = true;
    wake();
  });

  function wake(): void {
    const state = frame.current;
    if (state.id === 0 && !document.hidden) state.id = requestAnimationFrame(paint);
  }

  function paint(now: number): void {
    const state = frame.current;
    state.id = 0;
    const view = renderer.current;
    if (!view) return;
    if (state.draw) {
      state.draw = view.draw(now);
      state.last = 0;
      if (!ready && latest.current.scene.nodes.size > 0) {
        ready = true;
        performance.mark("axoneme-first-picture");
      }
    }
    // Half of the frames are enough for what only moves along.
    if (now - state.last > 30) {
      state.last = now;
      state.pulses = view.drawPulses(now);
    }
    if (state.draw || state.pulses) wake();
  }

  useEffect(() => {
    const element = box.current!;
    const view = new Renderer(base.current!, top.current!);
    renderer.current = view;
    const motion = matchMedia("(prefers-reduced-motion: reduce)");
    const setMotion = () => {
      view.still = motion.matches;
      redraw.current();
    };
    setMotion();
    motion.addEventListener("change", setMotion);
    view.setPalette(readPalette(element));
    const stopTheme = effect(() => {
      void theme.value;
      view.setPalette(readPalette(element));
      redraw.current();
    });
    const resize = () => {
      view.resize(element.clientWidth, element.clientHeight, devicePixelRatio);
      mapAspect.value = roughly(element.clientWidth / Math.max(1, element.clientHeight));
      redraw.current();
    };
    const observer = new ResizeObserver(resize);
    observer.observe(element);
    resize();
    void document.fonts.ready.then(() => {
      view.forgetTexts();
      redraw.current();
    });
    const visible = () => redraw.current();
    document.addEventListener("visibilitychange", visible);
    const stopPointers = handlePointers(element, view);
    return () => {
      stopPointers();
      stopTheme();
      observer.disconnect();
      motion.removeEventListener("change", setMotion);
      document.removeEventListener("visibilitychange", visible);
      cancelAnimationFrame(frame.current.id);
      renderer.current = null;
    };
  }, []);

  function handlePointers(element: HTMLElement, view: Renderer): () => void {
    const pointers = new Map<number, { x: number; y: number }>();
    let travelled = 0;
    let hoverAt = 0;
    const local = (event: { clientX: number; clientY: number }) => {
      const rect = element.getBoundingClientRect();
      return { x: event.clientX - rect.left, y: event.clientY - rect.top };
    };
    const hover = (x: number, y: number) => {
      const hit = view.hit(x, y);
      const id = hit && hit.kind !== "box" ? hit.id : "";
      cursor.value = hit ? "pointing" : "";
      const text = hit ? latest.current.describe(hit) : null;
      tip.value = text ? { x: Math.min(x + 14, element.clientWidth - 240), y: Math.min(y + 16, element.clientHeight - 70), ...text } : null;
      if (id !== view.hovered) {
        view.hovered = id;
        if (!view.heavy) redraw.current();
      }
    };
    const down = (event: PointerEvent) => {
      if ((event.target as Element).tagName !== "CANVAS") return;
      pointers.set(event.pointerId, local(event));
      travelled = 0;
      // Arrow keys go on from where the pointer was.
      element.querySelector<HTMLElement>(".map-keys")?.focus({ preventScroll: true });
      event.preventDefault();
      element.setPointerCapture(event.pointerId);
    };
    const move = (event: PointerEvent) => {
      const now = local(event);
      const before = pointers.get(event.pointerId);
      if (!before) {
        if (event.timeStamp - hoverAt < 25) return;
        hoverAt = event.timeStamp;
        if ((event.target as Element).tagName === "CANVAS") hover(now.x, now.y);
        return;
      }
      if (pointers.size === 1) {
        travelled += Math.abs(now.x - before.x) + Math.abs(now.y - before.y);
        if (travelled > 4) {
          view.camera = { ...view.camera, x: view.camera.x - (now.x - before.x) / view.camera.scale, y: view.camera.y - (now.y - before.y) / view.camera.scale };
          view.steered = true;
          cursor.value = "grabbing";
          tip.value = null;
          redraw.current();
        }
      } else {
        const other = [...pointers].find(([id]) => id !== event.pointerId)![1];
        const was = Math.hypot(before.x - other.x, before.y - other.y);
        const is = Math.hypot(now.x - other.x, now.y - other.y);
        if (was > 0) view.camera = zoomAt(view.camera, (now.x + other.x) / 2, (now.y + other.y) / 2, is / was);
        view.steered = true;
        travelled = 99;
        redraw.current();
      }
      pointers.set(event.pointerId, now);
    };
    const up = (event: PointerEvent) => {
      const at = pointers.get(event.pointerId);
      pointers.delete(event.pointerId);
      cursor.value = "";
      if (at && travelled <= 4 && event.type === "pointerup") latest.current.onSelect(view.hit(at.x, at.y));
    };
    const leave = () => {
      tip.value = null;
      if (view.hovered) {
        view.hovered = "";
        redraw.current();
      }
    };
    const wheel = (event: WheelEvent) => {
      event.preventDefault();
      const at = local(event);
      const lines = event.deltaMode === 1 ? 16 : 1;
      if (event.ctrlKey || event.metaKey || Math.abs(event.deltaX) < Math.abs(event.deltaY)) {
        view.camera = zoomAt(view.camera, at.x, at.y, Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.008 : 0.0016)));
      } else {
        view.camera = { ...view.camera, x: view.camera.x + (event.deltaX * lines) / view.camera.scale };
      }
      view.steered = true;
      tip.value = null;
      redraw.current();
    };
    element.addEventListener("pointerdown", down);
    element.addEventListener("pointermove", move);
    element.addEventListener("pointerup", up);
    element.addEventListener("pointercancel", up);
    element.addEventListener("pointerleave", leave);
    element.addEventListener("wheel", wheel, { passive: false });
    return () => {
      element.removeEventListener("pointerdown", down);
      element.removeEventListener("pointermove", move);
      element.removeEventListener("pointerup", up);
      element.removeEventListener("pointercancel", up);
      element.removeEventListener("pointerleave", leave);
      element.removeEventListener("wheel", wheel);
    };
  }

  useEffect(() => {
    const view = renderer.current!;
    view.setScene(props.scene);
    redraw.current();
  }, [props.scene]);

  useEffect(() => {
    renderer.current!.fit();
    redraw.current();
  }, [props.subject]);

  useEffect(() => {
    const view = renderer.current!;
    view.selected = props.selected;
    view.focus = props.focus;
    redraw.current();
  }, [props.selected, props.focus]);

  function zoom(factor: number): void {
    const view = renderer.current!;
    const { clientWidth, clientHeight } = box.current!;
    view.camera = zoomAt(view.camera, clientWidth / 2, clientHeight / 2, factor);
    view.steered = true;
    redraw.current();
  }

  function fitAll(): void {
    renderer.current!.fit();
    redraw.current();
  }

  function onKeyDown(event: KeyboardEvent): void {
    if (event.target !== event.currentTarget) return;
    const view = renderer.current!;
    const arrows: Record<string, [number, number]> = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const arrow = arrows[event.key];
    if (arrow) {
      if (event.shiftKey) {
        view.camera = { ...view.camera, x: view.camera.x + (arrow[0] * 80) / view.camera.scale, y: view.camera.y + (arrow[1] * 80) / view.camera.scale };
        view.steered = true;
      } else {
        const id = step(view, latest.current.selected, arrow[0], arrow[1]);
        if (id) {
          view.reveal(id);
          latest.current.onSelect({ kind: "node", id });
        }
      }
      redraw.current();
    } else if (event.key === "+" || event.key === "=") zoom(1.25);
    else if (event.key === "-") zoom(0.8);
    else if (event.key === "0" || event.key === "f") fitAll();
    else if (event.key === "Escape") latest.current.onSelect(null);
    else return;
    event.preventDefault();
  }

  const options = useMemo(() => [...props.scene.nodes].slice(0, MOST_OPTIONS), [props.scene]);
  const optionId = (id: string) => `map-${id.replace(/[^A-Za-z0-9_-]/g, "_")}`;
  const selectedIsNode = options.some(([id]) => id === props.selected);
  return (
    <div class={`map ${cursor.value}`} ref={box}>
      <canvas ref={base} aria-hidden="true" />
      <canvas ref={top} class="top-layer" aria-hidden="true" />
      <ul
        class="map-keys"
        role="listbox"
        tabIndex={0}
        aria-label={props.label}
        aria-activedescendant={selectedIsNode ? optionId(props.selected) : undefined}
        onKeyDown={onKeyDown}
      >
        {options.map(([id, node]) => (
          <li key={id} id={optionId(id)} role="option" aria-selected={id === props.selected} data-node={id} onClick={() => props.onSelect({ kind: "node", id })}>
            {node.title}, {node.subtitle}
            {node.alarm ? ", drops" : ""}
          </li>
        ))}
      </ul>
      <div class="map-tools" role="group" aria-label="Zoom">
        <button type="button" aria-label="Zoom in" title="Zoom in (+)" onClick={() => zoom(1.25)}><Plus /></button>
        <button type="button" aria-label="Zoom out" title="Zoom out (-)" onClick={() => zoom(0.8)}><Minus /></button>
        <button type="button" aria-label="Show all" title="Show all (f)" onClick={fitAll}><Fit /></button>
      </div>
      {tip.value && (
        <div class="tip" style={{ left: `${tip.value.x}px`, top: `${tip.value.y}px` }}>
          <strong>{tip.value.title}</strong>
          <span>{tip.value.text}</span>
        </div>
      )}
    </div>
  );
}

let ready = false;
