// Icons, drawn on a square of 16. They carry no meaning alone: what holds one has a name.

const PATHS = {
  pause: '<path d="M5.5 3.5v9M10.5 3.5v9" stroke-width="2.5"/>',
  play: '<path fill="currentColor" d="M4.5 2.8v10.4L13 8z"/>',
  step: '<path fill="currentColor" d="M3 3v10l7-5z"/><path d="M12.5 3v10"/>',
  stop: '<path fill="currentColor" d="M4 4h8v8H4z"/>',
  more: '<path d="M2 8h7.5M6.5 4.5L10 8l-3.5 3.5M13 3.5v9"/>',
  branch: '<path d="M4 13.5v-11M4 10c0-3 7-1.5 7-5.5M8.7 6.4L11 4l2.3 2.4"/>',
  reset: '<path d="M3.2 8a4.8 4.8 0 1 0 1.6-3.6M5.2 1.6v3.2H2"/>',
  help: '<circle cx="8" cy="8" r="6"/><path d="M6.2 6.4c0-2.4 3.7-2.3 3.7 0 0 1.4-1.9 1.5-1.9 3M8 11.4v.1"/>',
  grow: '<path d="M9.5 2.5h4v4M13.2 2.8L9 7M6.5 13.5h-4v-4M2.8 13.2L7 9"/>',
  shrink: '<path d="M13 7H9V3M9.2 6.8L13.5 2.5M3 9h4v4M6.8 9.2L2.5 13.5"/>',
  prev: '<path d="M10 3.5L5.5 8l4.5 4.5"/>',
  next: '<path d="M6 3.5L10.5 8L6 12.5"/>',
  chev: '<path d="M4.5 6.5L8 10l3.5-3.5"/>',
  runs: '<path d="M2.5 4h11M2.5 8h11M2.5 12h7"/>',
  save: '<path d="M8 2.5v7.5M4.8 7L8 10.2L11.2 7M2.5 13.5h11"/>',
  full: '<path d="M2.5 6V2.5H6M10 2.5h3.5V6M13.5 10v3.5H10M6 13.5H2.5V10"/>',
  tour: '<path d="M3.5 14V2.5h7l-1.2 2.7 1.2 2.8h-7"/>',
  x: '<path d="M4 4l8 8M12 4l-8 8"/>',
  box: '<path stroke-dasharray="2 1.6" d="M3 3h10v10H3z"/>',
  lasso:
    '<path stroke-dasharray="2 1.6" d="M8 3c7 0 7 7 0 7S1 3 8 3"/><path d="M5 9.5c-1 1.5 0 3 1.5 3.5"/>',
} as const;

export type Icon = keyof typeof PATHS;

export function icon(name: Icon): SVGSVGElement {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("class", "fsw-ic");
  svg.setAttribute("aria-hidden", "true");
  svg.dataset.icon = name;
  svg.innerHTML = PATHS[name]; // of this file alone
  return svg;
}

/** Put another icon where one stands, if it is another one. */
export function setIcon(holder: Element, name: Icon): void {
  const held = holder.querySelector<SVGSVGElement>("svg.fsw-ic");
  if (held && held.dataset.icon !== name) held.replaceWith(icon(name));
}
