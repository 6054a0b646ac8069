/** The visible nodes as a table, for whoever cannot use a picture, and for whoever likes to sort. */

import { useShown } from '../lib/graph-hooks.js';
import { Icon } from '../lib/icons.js';
import { useStore } from '../lib/store.js';
import { classes, html, useEffect, useReducer, useState } from '../lib/ui.js';
import { app, select } from '../state.js';

/** @typedef {import('./topology.js').Topology} Topology */
/** @typedef {import('./model.js').Item} Item */

const COLUMNS = /** @type {const} */ (['Name', 'Type', 'State', 'Addresses', 'Inside', 'Links']);
const SHOWN = 500;
const always = () => true;

/** @param {Item} item @param {Map<Item, number>} links @returns {Record<typeof COLUMNS[number], string | number>} */
function row(item, links) {
  const { IPV4, IPV6 } = item.node?.Metadata ?? {};
  return {
    Name: item.label,
    Type: item.type,
    State: item.state,
    Addresses: [IPV4, IPV6].flat().filter(Boolean).join(' '),
    Inside: within(item),
    Links: links.get(item) ?? 0,
  };
}

/** @param {Item} item */
const within = (item) => item.parent?.label ?? '';

/** @param {{topology: Topology}} props */
export function NodeTable({ topology }) {
  const [, again] = useReducer((/** @type {number} */ number) => number + 1, 0);
  useShown(always);
  useEffect(() => {
    const look = () => again(0);
    topology.shapeListeners.add(look);
    return () => void topology.shapeListeners.delete(look);
  }, [topology]);
  const [sort, sortBy] = useState({ by: /** @type {typeof COLUMNS[number]} */ ('Name'), down: false });
  const selection = useStore(app, (state) => state.selection);
  /** @type {Map<Item, number>} */
  const links = new Map();
  for (const { a, b } of topology.links) for (const end of [a, b]) links.set(end, (links.get(end) ?? 0) + 1);
  const bright = topology.bright;
  const rows = topology.items
    .filter((item) => !bright || bright.has(item.id))
    .map((item) => ({ item, cells: row(item, links) }));
  const way = sort.down ? -1 : 1;
  rows.sort((one, other) => way * String(one.cells[sort.by]).localeCompare(String(other.cells[sort.by]), 'en', { numeric: true }));
  return html`<div class="node-table" role="region" aria-label="Visible nodes">
    <header>
      <h2>Visible nodes <span class="dim">${rows.length}</span></h2>
      <button class="tool" aria-label="Close the table" onClick=${() => app.set({ table: false })}><${Icon} name="close" /></button>
    </header>
    <div class="scroll" tabindex="0" aria-label="Visible nodes, scrollable">
      <table class="grid">
        <thead>
          <tr>
            ${COLUMNS.map(
              (name) => html`<th aria-sort=${sort.by === name ? (sort.down ? 'descending' : 'ascending') : 'none'}>
                <button onClick=${() => sortBy({ by: name, down: sort.by === name && !sort.down })}>${name}</button>
              </th>`,
            )}
            <th><span class="spoken">Folding</span></th>
          </tr>
        </thead>
        <tbody>
          ${rows.slice(0, SHOWN).map(
            ({ item, cells }) => html`<tr key=${item.id} class=${classes(selection.includes(item.id) && 'chosen')}>
              ${COLUMNS.map((name) =>
                name === 'Name'
                  ? html`<th scope="row"><button class="plain" onClick=${() => choose(topology, item)}>${cells.Name}</button></th>`
                  : html`<td class=${name === 'State' ? `state-${cells.State}` : ''}>${cells[name]}</td>`,
              )}
              <td>
                ${item.form !== 'leaf' &&
                html`<button class="plain" onClick=${() => topology.toggle(item.id)}>${item.form === 'group' ? 'fold' : `unfold ${item.inside}`}</button>`}
              </td>
            </tr>`,
          )}
        </tbody>
      </table>
      ${rows.length > SHOWN && html`<p class="dim">and ${rows.length - SHOWN} more; search for some of them to see them here</p>`}
    </div>
  </div>`;
}

/** @param {Topology} topology @param {Item} item */
function choose(topology, item) {
  if (item.form === 'bundle') return topology.toggle(item.id);
  select([item.id]);
  app.set({ side: true });
  topology.reveal([item.id]);
}
