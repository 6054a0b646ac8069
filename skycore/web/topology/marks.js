/** What is marked on the picture: what was searched for, what others lay over it, what is the difference of two times. */

/** @typedef {import('./topology.js').Topology} Topology */
/** @typedef {import('../state.js').App} App */

/**
 * @param {Topology} topology
 * @param {App} state
 * @returns {{marks: Map<string, string>, bright: Set<string> | null}}
 */
export function marksOf(topology, state) {
  /** @type {Map<string, string>} */
  const marks = new Map();
  /** @type {Set<string> | null} */
  let bright = null;
  const { standing } = topology.model;
  const { found } = state.highlight;
  if (found) {
    bright = new Set();
    for (const id of found) lighten(topology, id, bright);
    for (const id of found) mark(topology, id, 'accent', marks);
  }
  for (const overlay of Object.values(state.overlays)) {
    bright ??= new Set();
    for (const id of overlay.nodes) {
      lighten(topology, id, bright);
      mark(topology, id, overlay.colour, marks);
    }
    if (!overlay.edges.size) continue;
    for (const link of topology.model.links) {
      if (!link.ids.some((id) => overlay.edges.has(id))) continue;
      marks.set(link.id, overlay.colour);
      for (const end of [link.a, link.b]) if (standing.has(end.id)) lighten(topology, end.id, bright);
    }
  }
  for (const id of state.selection) {
    const link = topology.model.links.find((one) => one.ids.includes(id));
    if (link) topology.selected.add(link.id);
  }
  return { marks, bright };
}

/** Whatever stands for a node. @param {Topology} topology @param {string} id @param {string} colour @param {Map<string, string>} marks */
function mark(topology, id, colour, marks) {
  const item = topology.model.standing.get(id);
  if (item) marks.set(item.id, colour);
}

/** A node and the groups around it. @param {Topology} topology @param {string} id @param {Set<string>} bright */
function lighten(topology, id, bright) {
  for (let item = topology.model.standing.get(id) ?? null; item; item = item.parent) bright.add(item.id);
}
