// The page's colours, for the canvas: read from the style sheet, so that there is one place for them.
export interface Palette {
  background: string;
  card: string;
  /** Cards too small for words. */
  tiny: string;
  cardBorder: string;
  box: string;
  boxBorder: string;
  text: string;
  muted: string;
  faint: string;
  accent: string;
  accentSoft: string;
  forwarded: string;
  dropped: string;
  droppedSoft: string;
  audit: string;
  error: string;
  added: string;
  removed: string;
  pill: string;
}

const NAMES: Record<keyof Palette, string> = {
  background: "--map", card: "--card", tiny: "--tiny", cardBorder: "--card-border", box: "--box", boxBorder: "--box-border", text: "--text", muted: "--muted",
  faint: "--faint", accent: "--accent", accentSoft: "--accent-soft", forwarded: "--forwarded", dropped: "--dropped", droppedSoft: "--dropped-soft",
  audit: "--audit", error: "--error", added: "--added", removed: "--removed", pill: "--raised",
};

export function readPalette(element: Element): Palette {
  const style = getComputedStyle(element);
  return Object.fromEntries(Object.entries(NAMES).map(([key, name]) => [key, style.getPropertyValue(name).trim()])) as unknown as Palette;
}
