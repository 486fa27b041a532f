// Line icons of 24, drawn for this page.
import type { JSX } from "preact";

const line = (path: string) =>
  function Icon(props: { class?: string }): JSX.Element {
    return (
      <svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true" class={props.class}>
        <path d={path} />
      </svg>
    );
  };

export const Search = line("M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14Z M16.200 16.200 21 21");
export const Close = line("M6 6l12 12M18 6 6 18");
export const Caret = line("M6 9l6 6 6-6");
export const Sun = line("M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8Z M12 2v2M12 20v2M2 12h2M20 12h2M4.900 4.900l1.400 1.400M17.700 17.700l1.400 1.400M4.900 19.100l1.400-1.400M17.700 6.300l1.400-1.400");
export const Moon = line("M20 14.500A8.500 8.500 0 0 1 9.500 4a8.500 8.500 0 1 0 10.500 10.500Z");
export const Help = line("M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18Z M9.500 9.500a2.500 2.500 0 1 1 3.600 2.200c-.8.400-1.100 1-1.100 1.800 M12 16.700v.1");
export const Plus = line("M12 5v14M5 12h14");
export const Minus = line("M5 12h14");
export const Fit = line("M4 9V5a1 1 0 0 1 1-1h4M15 4h4a1 1 0 0 1 1 1v4M20 15v4a1 1 0 0 1-1 1h-4M9 20H5a1 1 0 0 1-1-1v-4");
export const Down = line("M12 5v14M6 13l6 6 6-6");
export const Warn = line("M12 4 2.800 19.500h18.400Z M12 10v4.500 M12 17v.1");
export const Unplugged = line("M3 3l18 18M8.500 8.500 5 12a4.900 4.900 0 0 0 7 7l3.500-3.500M11 5l1-1a4.900 4.900 0 0 1 7 7l-1 1M14 10l1-1M9 15l1-1");
export const Quiet = line("M3 12h4l2.500-6 5 12 2.500-6h4");
export const Funnel = line("M4 5h16l-6 7.500V19l-4 1.500v-8Z");
export const Wait = line("M12 3a9 9 0 1 0 9 9");
export const DockBottom = line("M4 5h16v14H4Z M4 14h16");
export const DockRight = line("M4 5h16v14H4Z M14 5v14");
export const Hide = line("M4 4l16 16M10 6.200A9.500 9.500 0 0 1 21.500 12a13 13 0 0 1-2.300 3M6.500 7.500A12.500 12.500 0 0 0 2.500 12a10 10 0 0 0 13.200 5M10 10a2.900 2.900 0 0 0 4 4");
export const Shield = line("M12 3 20 6v6c0 4.500-3.400 7.700-8 9-4.600-1.300-8-4.500-8-9V6Z");
export const Copy = line("M9 9h11v11H9Z M5 15H4V4h11v1");

/** Nine pairs around two: what an axoneme looks like when it is cut across. */
export function Logo(): JSX.Element {
  const dots = Array.from({ length: 9 }, (_, index) => {
    const angle = (index / 9) * Math.PI * 2 - Math.PI / 2;
    return { x: 16 + Math.cos(angle) * 12, y: 16 + Math.sin(angle) * 12, tx: -Math.sin(angle), ty: Math.cos(angle) };
  });
  return (
    <svg viewBox="0 0 32 32" fill="currentColor" aria-hidden="true">
      {dots.map((dot) => (
        <g key={dot.x}>
          <circle cx={dot.x - dot.tx * 1.5} cy={dot.y - dot.ty * 1.5} r="1.700" />
          <circle cx={dot.x + dot.tx * 1.5} cy={dot.y + dot.ty * 1.5} r="1.700" opacity="0.600" />
        </g>
      ))}
      <circle cx="13.300" cy="16" r="2.100" />
      <circle cx="18.700" cy="16" r="2.100" />
    </svg>
  );
}
