/** What came, went and changed between two moments, as a list to walk through. */

import { Icon } from '../lib/icons.js';
import { html } from '../lib/ui.js';
import { select } from '../state.js';
import { nameOf } from '../topology/kinds.js';
import { topology } from '../topology/view.js';
import { isSteady } from './moment.js';

/** @typedef {import('./moment.js').Difference} Difference */
/** @typedef {import('../lib/types.js').Node} Node */

const MOST = 300;

/** @param {Node} node */
function go(node) {
  select([node.ID]);
  topology()?.reveal([node.ID]);
}

/** @param {unknown} value */
const short = (value) => {
  const text = value === undefined ? '–' : typeof value === 'string' ? value : JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 59)}…` : text;
};

/** @param {{difference: Difference, close: () => void}} props */
export function DifferenceList({ difference, close }) {
  const { Appeared, Vanished, Changed } = difference;
  const line = (/** @type {Node} */ node, /** @type {string} */ kind, /** @type {string} */ sign, /** @type {any} */ more = null) => html`<li key=${kind + node.ID}>
    <span class=${kind}>${sign}</span> <button class="plain" onClick=${() => go(node)}>${nameOf(node)}</button>
    <span class="dim"> ${node.Metadata.Type}</span>${more}
  </li>`;
  const changes = (/** @type {Record<string, {Old?: unknown, New?: unknown}>} */ told) =>
    Object.entries(told)
      .filter(([key]) => isSteady(key))
      .map(([key, { Old, New }]) => html`<span class="change"> <b>${key}</b> <s>${short(Old)}</s> → ${short(New)}</span>`);
  const lines = [
    ...Appeared.Nodes.map((node) => line(node, 'good', '+')),
    ...Vanished.Nodes.map((node) => line(node, 'bad', '−')),
    ...Changed.Nodes.map(({ Element, Changes }) => line(Element, 'warn', '~', changes(Changes))),
  ];
  return html`<section class="difference" aria-label="What is different">
    <header>
      <h3>What is different</h3>
      <button class="tool" aria-label="Close" onClick=${close}><${Icon} name="close" /></button>
    </header>
    <ul tabindex="0" aria-label="Changes">${lines.slice(0, MOST)}${lines.length > MOST && html`<li class="dim">and ${lines.length - MOST} more</li>`}
      ${!lines.length && html`<li class="dim">No node is different.</li>`}
    </ul>
  </section>`;
}
