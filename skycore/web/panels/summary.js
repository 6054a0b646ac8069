/** What an element is in a few lines, and its neighbours to walk to. */

import { dateTime } from '../lib/format.js';
import { html } from '../lib/ui.js';
import { select, shown } from '../state.js';
import { kindOf, nameOf, stateOf, typeOf } from '../topology/kinds.js';
import { topology } from '../topology/view.js';
import { detailPanel } from './registry.js';

/** @typedef {import('../lib/types.js').Node} Node */
/** @typedef {import('../lib/types.js').Edge} Edge */

const MOST = 40;

/** @param {string} id */
function go(id) {
  select([id]);
  topology()?.reveal([id]);
}

/** @param {{node: Node}} props */
function Way({ node }) {
  const mirror = shown();
  const neighbours = mirror.edgesOf(node.ID).map((edge) => {
    const out = edge.Parent === node.ID;
    return { edge, out, other: mirror.nodes.get(out ? edge.Child : edge.Parent) };
  });
  neighbours.sort((one, other) => String(one.edge.Metadata.RelationType).localeCompare(String(other.edge.Metadata.RelationType)));
  return html`<ul class="neighbours">
    ${neighbours.slice(0, MOST).map(
      ({ edge, out, other }) =>
        other &&
        html`<li key=${edge.ID}>
          <button class="plain dim" onClick=${() => select([edge.ID])}>${edge.Metadata.RelationType} ${out ? '→' : '←'}</button>
          <button class="plain" onClick=${() => go(other.ID)}>${nameOf(other)}</button> <span class="dim">${other.Metadata.Type}</span>
        </li>`,
    )}
    ${neighbours.length > MOST && html`<li class="dim">and ${neighbours.length - MOST} more</li>`}
  </ul>`;
}

/** @param {{element: Node | Edge}} props */
function Summary({ element }) {
  const mirror = shown();
  if ('Parent' in element) {
    const ends = [element.Parent, element.Child].map((id) => mirror.nodes.get(id));
    return html`<ul class="neighbours">
      ${ends.map((node, index) => node && html`<li><span class="dim">${index ? 'to' : 'from'}</span> <button class="plain" onClick=${() => go(node.ID)}>${nameOf(node)}</button> <span class="dim">${node.Metadata.Type}</span></li>`)}
    </ul>`;
  }
  const state = stateOf(element);
  return html`<p class="row">
      <span class="chip" style=${{ color: `var(--${kindOf(typeOf(element)).hue})` }}>${element.Metadata.Type}</span>
      ${state && html`<span class=${`chip ${state === 'up' ? 'good' : 'bad'}`}>${state}</span>`}
      <span class="dim">on ${element.Host || element.Origin} since ${dateTime(element.CreatedAt)}</span>
    </p>
    <${Way} node=${element} />`;
}

detailPanel({ id: 'summary', title: 'Summary', order: 0, open: true, when: () => true, component: Summary });
