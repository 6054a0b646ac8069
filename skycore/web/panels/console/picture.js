/** A small picture of the nodes and edges of an answer; the whole topology has its own. */

import { html, useMemo } from '../../lib/ui.js';
import { overlay, select, shown } from '../../state.js';
import { forceLink, forceManyBody, forceSimulation, forceX, forceY } from '../../vendor/d3-force.js';

/** @typedef {import('./answer.js').Elements} Elements */

const AT_MOST = 300;
const TICKS = 160;

/**
 * Places that do not change for the same answer.
 * @param {Elements} elements
 */
function placed(elements) {
  const nodes = elements.nodes.slice(0, AT_MOST).map((node, at) => ({ node, x: Math.cos(at) * (20 + at * 4), y: Math.sin(at) * (20 + at * 4) }));
  const places = new Map(nodes.map(({ node }, at) => [node.ID, at]));
  const links = elements.edges.flatMap((edge) => {
    const [source, target] = [places.get(edge.Parent), places.get(edge.Child)];
    return source === undefined || target === undefined ? [] : [{ edge, source, target }];
  });
  const simulation = forceSimulation(nodes)
    .force('link', forceLink(links.map(({ source, target }) => ({ source, target }))).distance(60))
    .force('charge', forceManyBody().strength(-160))
    .force('x', forceX(0).strength(0.06))
    .force('y', forceY(0).strength(0.1))
    .stop();
  simulation.tick(TICKS);
  return { nodes, links: links.map(({ edge, source, target }) => ({ edge, source: nodes[source], target: nodes[target] })) };
}

/** @param {{elements: Elements}} props */
export function Picture({ elements }) {
  const { nodes, links } = useMemo(() => placed(elements), [elements]);
  const here = (/** @type {string} */ id) => shown().get(id) !== undefined;
  const xs = nodes.map(({ x }) => x);
  const ys = nodes.map(({ y }) => y);
  const box = [Math.min(...xs) - 60, Math.min(...ys) - 30, Math.max(...xs) - Math.min(...xs) + 120, Math.max(...ys) - Math.min(...ys) + 70];
  const mark = () => overlay('console', { nodes: new Set(elements.nodes.map(({ ID }) => ID)), edges: new Set(elements.edges.map(({ ID }) => ID)), colour: 'accent' });
  return html`<div class="stack">
    <div class="row">
      <button type="button" class="button small" onClick=${mark}>Mark on the topology</button>
      <button type="button" class="button small" onClick=${() => overlay('console', null)}>Unmark</button>
      <button type="button" class="button small" onClick=${() => select(elements.nodes.map(({ ID }) => ID).filter(here))}>Select</button>
      <span class="dim">${elements.nodes.length} nodes, ${elements.edges.length} edges${elements.nodes.length > AT_MOST ? `; the first ${AT_MOST} are drawn` : ''}</span>
    </div>
    <svg class="picture" viewBox=${box.join(' ')} role="img" aria-label=${`${nodes.length} nodes and ${links.length} edges`}>
      ${links.map(
        ({ edge, source, target }) =>
          html`<line key=${edge.ID} x1=${source.x} y1=${source.y} x2=${target.x} y2=${target.y} class=${edge.Metadata.RelationType === 'layer2' ? 'layer2' : 'other'}>
            <title>${edge.Metadata.RelationType}</title>
          </line>`,
      )}
      ${nodes.map(
        ({ node, x, y }) =>
          html`<g key=${node.ID} transform=${`translate(${x} ${y})`} class=${node.Metadata.State === 'DOWN' ? 'down' : ''} onClick=${() => here(node.ID) && select([node.ID])}>
            <circle r="7"><title>${node.Metadata.Type} ${node.Metadata.Name}</title></circle>
            <text y="20">${String(node.Metadata.Name ?? node.ID).slice(0, 18)}</text>
          </g>`,
      )}
    </svg>
  </div>`;
}
