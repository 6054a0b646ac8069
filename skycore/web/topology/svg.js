/** The picture as SVG text: what is drawn at full detail, without what only a screen has. */

import { PATHS } from '../lib/icons.js';
import { loadOf } from './bandwidth.js';
import { colours } from './colours.js';
import { ends, relationColour } from './paint-links.js';
import { boxOf } from './topology.js';

/** @typedef {import('./topology.js').Topology} Topology */
/** @typedef {import('./model.js').Item} Item */
/** @typedef {import('./model.js').Link} Link */

const LOADS = /** @type {Record<string, string>} */ ({ active: 'good', warning: 'warn', alert: 'bad' });

/** Names come from outside: nothing of them may be markup. @param {string} text */
const escaped = (text) =>
  // eslint-disable-next-line no-control-regex
  text.replace(/[\u0000-\u001f]/g, ' ').replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);

/** @param {Topology} topology @returns {string} */
export function svgOf(topology) {
  const box = boxOf(topology.items) ?? { left: 0, top: 0, right: 1, bottom: 1 };
  const view = [box.left - 30, box.top - 30, box.right - box.left + 60, box.bottom - box.top + 60];
  const groups = topology.items.filter((item) => item.form === 'group').map((item) => group(item));
  const cards = topology.items.filter((item) => item.form !== 'group').map((item) => card(item, topology));
  const lines = topology.links.map((link) => line(link));
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="${view.map(Math.round).join(' ')}" font-family="system-ui, sans-serif">`,
    `<rect x="${view[0]}" y="${view[1]}" width="100%" height="100%" fill="${colours.canvas}"/>`,
    ...groups,
    ...lines,
    ...cards,
    '</svg>',
  ].join('\n');
}

/** @param {string} name @param {number} x @param {number} y @param {number} size @param {string} colour */
const icon = (name, x, y, size, colour) =>
  `<path transform="translate(${x} ${y}) scale(${size / 24})" d="${PATHS[name] ?? PATHS.unknown}" fill="none" stroke="${colour}" stroke-width="1.7"/>`;

/** @param {Item} item */
function group(item) {
  const [x, y] = [item.x - item.w / 2, item.y - item.h / 2];
  return (
    `<rect x="${x}" y="${y}" width="${item.w}" height="${item.h}" rx="12" fill="${item.depth % 2 ? colours['group-2'] : colours.group}" stroke="${colours.line}"/>` +
    icon(item.icon, x + 10, y + 6, 18, colours[item.hue]) +
    `<text x="${x + 34}" y="${y + 20}" font-size="14" font-weight="600" fill="${colours.text}">${escaped(item.label)}</text>`
  );
}

/** @param {Item} item @param {Topology} topology */
function card(item, topology) {
  const [x, y] = [item.x - item.w / 2, item.y - item.h / 2];
  const border = topology.selected.has(item.id) ? colours.accent : item.state === 'down' ? colours.bad : colours.line;
  const state = item.state ? `<circle cx="${x + item.w - 10}" cy="${y + 11}" r="3.5" fill="${item.state === 'up' ? colours.good : colours.bad}"/>` : '';
  return (
    `<rect x="${x}" y="${y}" width="${item.w}" height="${item.h}" rx="8" fill="${colours.card}" stroke="${border}"/>` +
    icon(item.icon, x + 9, item.y - 11, 22, colours[item.hue]) +
    `<text x="${x + 39}" y="${y + 18}" font-size="13" fill="${colours.text}">${escaped(item.label.slice(0, 15))}</text>` +
    `<text x="${x + 39}" y="${y + 32}" font-size="11" fill="${colours.dim}">${escaped(item.note.slice(0, 18))}</text>${state}`
  );
}

/** @param {Link} link */
function line(link) {
  const [x1, y1, x2, y2] = ends(link.a, link.b).map(Math.round);
  const colour = colours[LOADS[loadOf(link)] ?? relationColour(link.relation)];
  const text = link.label
    ? `<text x="${(x1 + x2) / 2}" y="${(y1 + y2) / 2}" font-size="10" text-anchor="middle" fill="${colour}">${escaped(link.label)}</text>`
    : '';
  return `<line x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}" stroke="${colour}" stroke-width="1.5"/>${text}`;
}
