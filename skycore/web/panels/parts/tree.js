/** Objects as trees whose values are copied by a click. */

import { copyText } from '../../lib/download.js';
import { Icon } from '../../lib/icons.js';
import { html, useState } from '../../lib/ui.js';
import { shownValue } from './values.js';

const MEMBERS_AT_ONCE = 200;

/**
 * @param {{value: any, label: string, open?: number, words?: string}} props `open`: levels that are open at first;
 *   `words`: only branches with these in a key or value, all of them open
 */
export function Tree({ value, label, open = 1, words = '' }) {
  const wanted = words.trim().toLowerCase();
  const kept = wanted ? pruned(value, wanted) : value;
  if (kept === undefined) return html`<p class="empty">Nothing with “${words}”</p>`;
  return html`<div class="tree" role="group" aria-label=${label}>
    <${Members} value=${kept} path="" open=${wanted ? 99 : open} />
  </div>`;
}

/** @param {{value: any, path: string, open: number}} props */
function Members({ value, path, open }) {
  const [room, setRoom] = useState(MEMBERS_AT_ONCE);
  if (value === null || typeof value !== 'object') return html`<${Leaf} name="" path=${path} value=${value} />`;
  const keys = Object.keys(value);
  return html`<ul>
    ${keys.slice(0, room).map((key) => html`<${Member} key=${key} name=${key} path=${path ? `${path}.${key}` : key} value=${value[key]} open=${open} />`)}
    ${keys.length > room && html`<li><button type="button" class="button small" onClick=${() => setRoom(room * 5)}>${keys.length - room} more</button></li>`}
  </ul>`;
}

/** @param {{name: string, path: string, value: any, open: number}} props */
function Member({ name, path, value, open }) {
  const flat = value === null || typeof value !== 'object' || (Array.isArray(value) && value.every(isPlain));
  const [isOpen, setOpen] = useState(open > 0);
  if (flat) return html`<li><${Leaf} name=${name} path=${path} value=${value} /></li>`;
  const size = Object.keys(value).length;
  return html`<li class="branch">
    <div class="line">
      <button type="button" class="key" aria-expanded=${String(isOpen)} onClick=${() => setOpen(!isOpen)}>
        <span class="turn" aria-hidden="true">${isOpen ? '▾' : '▸'}</span>${name}
      </button>
      <span class="dim">${Array.isArray(value) ? `[${size}]` : `{${size}}`}</span>
      <${Copy} what=${path} text=${JSON.stringify(value, null, 2)} />
    </div>
    ${isOpen && html`<${Members} value=${value} path=${path} open=${open - 1} />`}
  </li>`;
}

/** @param {{name: string, path: string, value: any}} props */
function Leaf({ name, path, value }) {
  const shown = shownValue(path, value);
  const raw = typeof value === 'string' ? value : JSON.stringify(value);
  return html`<div class="line">
    ${name && html`<span class="key">${name}</span>`}
    <button type="button" class=${`value ${typeof value}`} title=${`${path || 'value'}: ${raw} (click to copy)`} onClick=${() => copyText(raw)}>
      ${shown === '' ? '–' : shown}
    </button>
  </div>`;
}

/** @param {{what: string, text: string}} props */
export const Copy = ({ what, text }) =>
  html`<button type="button" class="copy" aria-label=${`Copy ${what}`} title=${`Copy ${what}`} onClick=${() => copyText(text)}>
    <${Icon} name="copy" size=${12} />
  </button>`;

/** @param {unknown} value */
const isPlain = (value) => value === null || typeof value !== 'object';

/**
 * The branches that lead to the words, by key or value; undefined when there are none.
 * @param {any} value
 * @param {string} wanted
 * @returns {any}
 */
function pruned(value, wanted) {
  if (isPlain(value)) return String(value).toLowerCase().includes(wanted) ? value : undefined;
  const kept = /** @type {[string, any][]} */ ([]);
  for (const [key, member] of Object.entries(value)) {
    const inner = key.toLowerCase().includes(wanted) ? member : pruned(member, wanted);
    if (inner !== undefined) kept.push([key, inner]);
  }
  if (!kept.length) return undefined;
  return Array.isArray(value) ? kept.map(([, member]) => member) : Object.fromEntries(kept);
}
