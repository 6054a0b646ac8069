/** The way that flows take, drawn over the topology. */

import { quoted } from '../../server/api.js';
import { app, overlay, shown } from '../../state.js';
import { ask, source } from './query.js';

/** @typedef {import('./model.js').Flow} Flow */

const OVERLAY = 'path';
const RESTED = 180;
const AT_MOST = 200;
const IDS_AT_MOST = 20;

/** IDs of the nodes with these TIDs. @param {Set<string>} tids */
function nodesWith(tids) {
  const found = /** @type {Set<string>} */ (new Set());
  for (const node of shown().nodes.values()) if (tids.has(node.Metadata.TID)) found.add(node.ID);
  return found;
}

/**
 * Mark where flows were seen and their ends; what joins two of these (a bridge, a pair's link) is on the way, too.
 * @param {Flow[]} flows
 * @param {string} [name] of the overlay
 */
export function mark(flows, name = OVERLAY) {
  const tids = new Set(flows.flatMap((flow) => [flow.NodeTID, flow.From?.Node, flow.To?.Node]).filter((tid) => tid !== undefined));
  const nodes = nodesWith(tids);
  const graph = shown();
  const touching = /** @type {Map<string, number>} */ (new Map());
  const links = [...nodes].flatMap((id) => graph.edgesOf(id)).filter((edge) => edge.Metadata.RelationType === 'layer2');
  for (const edge of links) {
    for (const end of [edge.Parent, edge.Child]) if (!nodes.has(end)) touching.set(end, (touching.get(end) ?? 0) + 1);
  }
  for (const [id, times] of touching) if (times > 1) nodes.add(id);
  const edges = new Set(links.filter((edge) => nodes.has(edge.Parent) && nodes.has(edge.Child)).map((edge) => edge.ID));
  overlay(name, nodes.size ? { nodes, edges, colour: 'path' } : null);
}

/** @param {string} [name] */
export const unmark = (name = OVERLAY) => overlay(name, null);

let turn = 0;
let timer = 0;

/**
 * Mark the way of flows at once by those that are known here, then by all that the server knows.
 * @param {Flow[]} flows
 * @param {string} span
 */
export function follow(flows, span) {
  clearTimeout(timer);
  turn += 1;
  const mine = turn;
  if (!flows.length) return unmark();
  mark(flows);
  timer = window.setTimeout(async () => {
    const within = (/** @type {'CommunityID' | 'L3TrackingID' | 'TrackingID'} */ key) => {
      const ids = [...new Set(flows.map((flow) => flow[key]).filter((id) => id !== undefined))].slice(0, IDS_AT_MOST);
      return `${quoted(key)}, Within(${ids.map(quoted).join(', ')})`;
    };
    const any = `${within('CommunityID')}, ${within('L3TrackingID')}, ${within('TrackingID')}`;
    const query = `${source(app.value.moment, span)}.Flows().HasEither(${any}).Limit(${AT_MOST})`;
    const more = await ask(query).catch(() => null);
    if (more && mine === turn) mark([...flows, ...more.flows]);
  }, RESTED);
}

/** Nothing is followed any more. */
export function forget() {
  clearTimeout(timer);
  turn += 1;
  unmark();
}
