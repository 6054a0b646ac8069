/** The picture's colours: those of the page's style (`style/base.css`), read again when the theme changes. */

const NAMES = [
  'canvas', 'card', 'panel', 'panel-2', 'line', 'text', 'dim', 'accent', 'good', 'warn', 'bad', 'path',
  'blue', 'teal', 'cyan', 'green', 'amber', 'pink', 'violet', 'sky', 'grey', 'group', 'group-2', 'edge', 'edge-2',
];

/** @type {Record<string, string>} */
export const colours = {};

/** How many times they were read; whoever keeps drawn pieces compares. */
export let palette = 0;

export function readColours() {
  const style = getComputedStyle(document.documentElement);
  for (const name of NAMES) colours[name] = style.getPropertyValue(`--${name}`).trim();
  palette += 1;
}
