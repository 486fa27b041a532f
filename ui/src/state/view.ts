// What is looked at: one signal, kept in the address.
import { signal } from "@preact/signals";
import { type ViewState, formatView, parseView } from "../model/url";

export const view = signal<ViewState>(parseView(location.search));

/** push: the browser's "back" undoes it. */
export function change(part: Partial<ViewState>, push = false): void {
  const next = { ...view.value, ...part };
  const search = formatView(next);
  if (search === formatView(view.value)) return;
  view.value = next;
  history[push ? "pushState" : "replaceState"](null, "", search || location.pathname);
}

const PAUSED_MS = 300_000;

/** Two periods can be compared, now cannot: there the way back leads to the map. */
export function goLive(): void {
  change({ period: null, before: null, selected: "", ...(view.value.view === "compare" ? { view: "map" as const } : {}) }, true);
}

/** What was live until then stays. */
export function pause(until: number): void {
  change({ period: { since: until - PAUSED_MS, until }, selected: "" }, true);
}

window.addEventListener("popstate", () => {
  view.value = parseView(location.search);
});

type Theme = "dark" | "light";
export const theme = signal<Theme>(document.documentElement.dataset.theme === "dark" ? "dark" : "light");

export function setTheme(next: Theme): void {
  theme.value = next;
  document.documentElement.dataset.theme = next;
  try {
    localStorage.setItem("axoneme.theme", next);
  } catch {
    // A browser that keeps nothing for us asks its system again next time.
  }
}
