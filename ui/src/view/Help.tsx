import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { KEYS } from "../model/filter";
import { version } from "../state/engine";
import { Close } from "./icons";

const SHORTCUTS: [string, string][] = [
  ["/", "Filter"],
  ["m", "Map: arrow keys go from node to node, Shift moves the view"],
  ["t", "Show or hide the flow table"],
  ["+  -  f", "Zoom in, out, show all"],
  ["p", "Pause, or go live again"],
  ["d", "Dark or light"],
  ["Esc", "Close what is open"],
  ["?", "This page"],
];

export function Help({ onClose }: { onClose: () => void }): JSX.Element {
  const sheet = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const before = document.activeElement as HTMLElement | null;
    sheet.current?.focus();
    return () => before?.focus();
  }, []);
  return (
    <div class="sheet-back" onClick={(event) => { if (event.target === event.currentTarget) onClose(); }} onKeyDown={(event) => { if (event.key === "Escape") { event.stopPropagation(); onClose(); } }}>
      <div class="sheet" role="dialog" aria-modal="true" aria-label="Help" tabIndex={-1} ref={sheet}>
        <header>
          <h2>Keys and filters</h2>
          <button type="button" class="button small icon plain" aria-label="Close help" onClick={onClose}><Close /></button>
        </header>
        <table>
          <tbody>
            {SHORTCUTS.map(([key, text]) => <tr key={key}><th scope="row">{key.split("  ").map((each) => <kbd key={each} style={{ marginRight: "4px" }}>{each}</kbd>)}</th><td>{text}</td></tr>)}
          </tbody>
        </table>
        <h3>Filter words. The same key twice means either, different keys mean both; - in front excludes, from. and to. name the side</h3>
        <table>
          <tbody>
            {Object.entries(KEYS).map(([key, info]) => <tr key={key}><th scope="row" class="mono">{info.example}</th><td>{info.help}</td></tr>)}
            <tr><th scope="row" class="mono">-from.ns:kube-system</th><td>Nothing that comes from kube-system</td></tr>
            <tr><th scope="row" class="mono">cart</th><td>Anywhere in names, paths and policies</td></tr>
          </tbody>
        </table>
        {version.value && <p class="note" style={{ marginTop: "14px" }}>Relay {version.value}</p>}
      </div>
    </div>
  );
}
