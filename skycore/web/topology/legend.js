/** What is on the picture in figures, and what its colours say. */

import { count } from '../lib/format.js';
import { html, useEffect, useReducer } from '../lib/ui.js';

/** @typedef {import('./topology.js').Topology} Topology */

/** @param {{topology: Topology}} props */
export function Legend({ topology }) {
  const [, again] = useReducer((/** @type {number} */ number) => number + 1, 0);
  useEffect(() => {
    const look = () => again(0);
    topology.shapeListeners.add(look);
    return () => void topology.shapeListeners.delete(look);
  }, [topology]);
  const nodes = topology.mirror?.nodes.size ?? 0;
  const edges = topology.mirror?.edges.size ?? 0;
  const cards = topology.model.items.size;
  return html`<p class="legend" role="status">
    <b>${count(nodes)}</b> nodes · <b>${count(edges)}</b> edges
    ${cards < nodes && html` · <span>${count(cards)} cards</span>`}
    <i class="dot good"></i>up <i class="dot bad"></i>down
  </p>`;
}
