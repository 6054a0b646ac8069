/** Choosing nodes for an action: picked on the picture, or by a query whose nodes are marked while it is typed. */

import { Icon } from '../../lib/icons.js';
import { html, useEffect, useState } from '../../lib/ui.js';
import { gremlin, quoted } from '../../server/api.js';
import { overlay, pickNode, shown } from '../../state.js';
import { elementsIn } from '../console/answer.js';
import { useAsked, useRested } from './asked.js';
import { QueryField } from './query-field.js';

/** @typedef {import('../../lib/types.js').Node} Node */

/** The query of one node, that goes on to name it when its agent restarts. @param {Node} node */
export const queryOf = (node) => `G.V().Has('TID', ${quoted(node.Metadata.TID ?? node.ID)})`;

/** The query of the nodes on the way from one to another. @param {Node} one @param {Node} other */
export const queryBetween = (one, other) =>
  `${queryOf(one)}.ShortestPathTo(Metadata('TID', ${quoted(other.Metadata.TID ?? other.ID)}), Metadata('RelationType', 'layer2'))`;

/**
 * @param {{label: string, query: string, set: (query: string) => void, mark: string, two?: boolean, error?: string,
 *   accept?: (node: Node) => boolean, found?: (nodes: Node[]) => void}} props
 *   `mark`: the name of the overlay that shows the nodes; `two`: the way between two nodes can be picked
 */
export function Choosing({ label, query, set, mark, two, error, accept = () => true, found }) {
  const [more, setMore] = useState('');
  const rested = useRested(query);
  const asked = useAsked(
    async (signal) => {
      if (!rested.trim()) return [];
      const { nodes } = elementsIn((await gremlin(rested, signal)).result);
      return nodes;
    },
    [rested],
    5000,
  );
  const nodes = rested === query && !asked.error ? (asked.value ?? []) : [];
  const named = nodes.map(({ ID }) => ID).join();
  useEffect(() => {
    overlay(mark, named ? { nodes: new Set(named.split(',')), edges: new Set(), colour: 'accent' } : null);
    found?.(nodes);
  }, [named, mark]);
  useEffect(() => () => overlay(mark, null), [mark]);

  const pick = async (/** @type {string} */ text, /** @type {(node: Node) => boolean} */ fits) => {
    const id = await pickNode(text, (one) => {
      const node = shown().nodes.get(one);
      return node !== undefined && fits(node);
    });
    return id === null ? undefined : shown().nodes.get(id);
  };
  const pickOne = async () => {
    const node = await pick(`${label}: choose a node`, accept);
    if (node) set(queryOf(node));
  };
  const pickTwo = async () => {
    const one = await pick('Choose where the way begins', accept);
    if (!one) return;
    setMore(one.ID);
    overlay(mark, { nodes: new Set([one.ID]), edges: new Set(), colour: 'accent' });
    const other = await pick(`From ${one.Metadata.Name}: choose where it ends`, (node) => accept(node) && node.ID !== one.ID);
    setMore('');
    if (other) set(queryBetween(one, other));
  };
  const types = [...new Set(nodes.map((node) => node.Metadata.Type))].join(', ');
  return html`<div class="stack choosing">
    <${QueryField} label=${label} value=${query} set=${set} error=${error || (rested === query ? asked.error : '')} />
    <div class="row">
      <button type="button" class="button small" onClick=${pickOne}><${Icon} name="pin" size=${14} /> Pick a node</button>
      ${two && html`<button type="button" class="button small" aria-pressed=${String(Boolean(more))} onClick=${pickTwo}><${Icon} name="links" size=${14} /> Pick two: the way between</button>`}
      <span class="dim" role="status">${query.trim() ? (nodes.length ? `${nodes.length} ${nodes.length === 1 ? 'node' : 'nodes'} (${types}): ${nodes.slice(0, 4).map((node) => node.Metadata.Name).join(', ')}${nodes.length > 4 ? ' …' : ''}` : asked.busy ? '' : 'no node now') : ''}</span>
    </div>
  </div>`;
}
