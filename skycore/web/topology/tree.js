/** Who holds whom: the nested groups of the graph, from its edges. */

import { BRIDGES } from './kinds.js';

/** @typedef {import('../lib/types.js').Node} Node */
/** @typedef {import('../server/mirror.js').Mirror} Mirror */

/**
 * Of a node with several owners, the closest: a bridge before a container before a namespace before a host.
 * @param {Node} owner
 */
function closeness(owner) {
  const type = owner.Metadata.Type;
  if (BRIDGES.has(type)) return 4;
  if (type === 'container' || type === 'pod') return 3;
  return type === 'netns' ? 2 : 1;
}

/**
 * @typedef {object} Tree
 * @property {Map<string, string>} parents ID → ID of the group that holds it; nodes at the top have none
 * @property {Map<string, string[]>} children
 * @property {string[]} roots
 */

/**
 * @param {Mirror} mirror
 * @returns {Tree}
 */
export function treeOf(mirror) {
  /** @type {Map<string, string>} */
  const parents = new Map();
  for (const edge of mirror.edges.values()) {
    if (edge.Metadata.RelationType !== 'ownership') continue;
    const owner = mirror.nodes.get(edge.Parent);
    if (!owner || !mirror.nodes.has(edge.Child)) continue;
    const before = mirror.nodes.get(parents.get(edge.Child) ?? '');
    if (!before || closeness(owner) > closeness(before)) parents.set(edge.Child, edge.Parent);
  }
  const owners = new Map(parents);
  for (const edge of mirror.edges.values()) {
    if (edge.Metadata.RelationType !== 'layer2') continue;
    const bridge = mirror.nodes.get(edge.Parent);
    const port = mirror.nodes.get(edge.Child);
    if (!bridge || !port || !BRIDGES.has(bridge.Metadata.Type) || BRIDGES.has(port.Metadata.Type)) continue;
    // Only what lies beside the bridge; a peer in a namespace stays there.
    if (owners.get(edge.Child) === owners.get(edge.Parent)) parents.set(edge.Child, edge.Parent);
  }
  breakCircles(parents);
  /** @type {Map<string, string[]>} */
  const children = new Map();
  const roots = [];
  for (const id of mirror.nodes.keys()) {
    const parent = parents.get(id);
    if (parent === undefined) {
      roots.push(id);
      continue;
    }
    const siblings = children.get(parent);
    if (siblings) siblings.push(id);
    else children.set(parent, [id]);
  }
  return { parents, children, roots };
}

/** What publishers and rules say may own itself in a circle. @param {Map<string, string>} parents */
function breakCircles(parents) {
  const sound = new Set();
  for (const start of [...parents.keys()]) {
    const way = new Set();
    let id = /** @type {string | undefined} */ (start);
    while (id !== undefined && !sound.has(id)) {
      way.add(id);
      const next = parents.get(id);
      if (next !== undefined && way.has(next)) {
        parents.delete(id);
        break;
      }
      id = next;
    }
    for (const one of way) sound.add(one);
  }
}

/**
 * The groups around a node, innermost first.
 * @param {Tree} tree
 * @param {string} id
 */
export function around(tree, id) {
  const found = [];
  for (let at = tree.parents.get(id); at !== undefined; at = tree.parents.get(at)) found.push(at);
  return found;
}
