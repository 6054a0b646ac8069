/** Flows as the server tells of them (docs/flows.md), their two ends, and conversations made of them. */

/**
 * @typedef {object} End what the graph knows of an end, or of where a flow was seen
 * @property {string} [Node] TID
 * @property {string} [Name]
 * @property {string} [Type]
 * @property {string} [Host]
 * @property {string} [Namespace]
 * @property {string} [Container]
 * @property {string} [Pod]
 * @property {string} [Service]
 * @property {string} [Process]
 */
/** @typedef {{ABPackets: number, ABBytes: number, BAPackets: number, BABytes: number, Start: number, Last: number, RTT?: number}} Counters */
/** @typedef {{Protocol: string, A: string, B: string, ID: number}} Layer */
/**
 * @typedef {object} Flow
 * @property {string} UUID
 * @property {string} LayersPath
 * @property {string} [Application]
 * @property {Layer} [Link]
 * @property {Layer} [Network]
 * @property {{Protocol: string, A: number, B: number}} [Transport]
 * @property {{Type: string, Code?: number, ID?: number}} [ICMP]
 * @property {Counters} Metric
 * @property {Counters} [LastUpdateMetric]
 * @property {number} Start
 * @property {number} Last
 * @property {string} TrackingID
 * @property {string} L3TrackingID
 * @property {string} [CommunityID]
 * @property {string} [NodeTID]
 * @property {string} [CaptureID]
 * @property {number} [RawPacketsCaptured]
 * @property {number} [FinishType]
 * @property {End} [At]
 * @property {End} [From]
 * @property {End} [To]
 */
/** @typedef {'Container' | 'Namespace' | 'Host' | 'Process' | 'Service' | 'Pod' | 'network'} Grouping */
/**
 * @typedef {object} Talk flows that are one, seen at one or several places; or all between two groups
 * @property {string} key
 * @property {Flow[]} flows
 * @property {Flow} first the one that is shown
 * @property {number} sent bytes from A to B, counted once wherever they were seen
 * @property {number} received
 * @property {number} packets both ways
 */

/** @param {Flow} flow @param {'From' | 'To'} side @returns {string} */
export const addressOf = (flow, side) => {
  const layer = flow.Network ?? flow.Link;
  return (side === 'From' ? layer?.A : layer?.B) ?? '';
};

/** The name that says most about who is at an end; its address when nothing is known. @param {Flow} flow @param {'From' | 'To'} side */
export function nameOfEnd(flow, side) {
  const end = flow[side];
  return end?.Pod ?? end?.Container ?? end?.Namespace ?? (end?.Name && end.Host ? `${end.Host}/${end.Name}` : addressOf(flow, side));
}

/** Name and port. @param {Flow} flow @param {'From' | 'To'} side */
export function endpoint(flow, side) {
  const port = side === 'From' ? flow.Transport?.A : flow.Transport?.B;
  const name = nameOfEnd(flow, side);
  return port ? `${name}:${port}` : name;
}

/** The group that an end belongs to. @param {Flow} flow @param {'From' | 'To'} side @param {Grouping} by */
export function groupOf(flow, side, by) {
  const address = addressOf(flow, side);
  if (by === 'network') {
    if (/^\d+\.\d+\.\d+\.\d+$/.test(address)) return `${address.split('.').slice(0, 3).join('.')}.0/24`;
    return flow.Network && address.includes(':') ? `${address.split(':').slice(0, 4).join(':')}::/64` : address || 'unknown';
  }
  const end = flow[side];
  return end?.[by] ?? (by === 'Host' ? undefined : end?.Host && !end.Namespace ? `host ${end.Host}` : undefined) ?? (address || 'unknown');
}

/** Ports that servers have: the lower one, when it is below those that clients get. @param {Flow} flow */
export function service(flow) {
  const { Transport, Application, ICMP } = flow;
  if (ICMP) return `ICMP ${ICMP.Type.toLowerCase()}`;
  if (!Transport) return Application ?? '';
  const name = Application && Application !== Transport.Protocol ? ` ${Application}` : '';
  return `${Transport.Protocol} ${Transport.B}${name}`;
}

/** Which key tells conversations apart. */
export const KEYS = /** @type {Record<string, (flow: Flow) => string>} */ ({
  flow: (flow) => flow.UUID,
  TrackingID: (flow) => flow.TrackingID,
  L3TrackingID: (flow) => flow.L3TrackingID || flow.TrackingID,
  // The one that is the same on both sides of a router, whichever MAC addresses are there.
  conversation: (flow) => flow.CommunityID || flow.L3TrackingID || flow.TrackingID,
  ends: (flow) => [nameOfEnd(flow, 'From'), nameOfEnd(flow, 'To'), service(flow)].join('\0'),
});

/**
 * Flows put together by a key.
 * @param {Flow[]} flows
 * @param {(flow: Flow) => string} keyOf
 * @returns {Talk[]}
 */
export function talks(flows, keyOf) {
  const groups = /** @type {Map<string, Flow[]>} */ (new Map());
  for (const flow of flows) {
    const key = keyOf(flow);
    const group = groups.get(key);
    if (group) group.push(flow);
    else groups.set(key, [flow]);
  }
  return [...groups].map(([key, members]) => ({ key, flows: members, first: members[0], ...counted(members) }));
}

/**
 * Bytes and packets of flows; a conversation that was seen at several places counts once, as where most of it was seen.
 * @param {Flow[]} flows
 */
export function counted(flows) {
  const most = /** @type {Map<string, Flow>} */ (new Map());
  for (const flow of flows) {
    const key = KEYS.conversation(flow);
    const known = most.get(key);
    if (!known || volume(flow) > volume(known)) most.set(key, flow);
  }
  let sent = 0;
  let received = 0;
  let packets = 0;
  for (const { Metric } of most.values()) {
    sent += Metric?.ABBytes ?? 0;
    received += Metric?.BABytes ?? 0;
    packets += (Metric?.ABPackets ?? 0) + (Metric?.BAPackets ?? 0);
  }
  return { sent, received, packets };
}

/** @param {Flow} flow */
const volume = (flow) => (flow.Metric?.ABBytes ?? 0) + (flow.Metric?.BABytes ?? 0);

/**
 * Names of the places where flows were seen, in the order in which packets of the conversation with the most places came by.
 * @param {Flow[]} flows
 */
export function placesOf(flows) {
  const found = /** @type {Map<string, Flow[]>} */ (new Map());
  for (const flow of flows) found.set(KEYS.conversation(flow), [...(found.get(KEYS.conversation(flow)) ?? []), flow]);
  const ways = [...found.values()].map(wayOf).sort((one, other) => other.length - one.length);
  return [...new Set(ways.flat())];
}

/** @param {Flow[]} flows of one conversation */
function wayOf(flows) {
  // The first packet was seen earlier, and its answer later, the nearer a place is to A.
  const ordered = [...flows].sort((one, other) => one.Start - other.Start || (other.Metric?.RTT ?? 0) - (one.Metric?.RTT ?? 0));
  const names = ordered.map(({ At, NodeTID }) => (At?.Name ? `${At.Namespace && !At.Container ? `${At.Namespace}/` : At.Container ? `${At.Container}/` : ''}${At.Name}` : (NodeTID ?? 'imported')));
  return [...new Set(names)];
}

/**
 * Who sent how much to whom.
 * @param {Flow[]} flows
 * @param {Grouping} by
 * @returns {{groups: string[], cells: Map<string, {from: string, to: string, bytes: number, flows: Flow[]}>, total: Map<string, number>}}
 *   cells by `from\0to`; groups with the most first
 */
export function matrix(flows, by) {
  const cells = /** @type {Map<string, {from: string, to: string, bytes: number, flows: Flow[]}>} */ (new Map());
  const total = /** @type {Map<string, number>} */ (new Map());
  const add = (/** @type {string} */ from, /** @type {string} */ to, /** @type {number} */ bytes, /** @type {Flow[]} */ members) => {
    if (!bytes) return;
    const key = `${from}\0${to}`;
    const cell = cells.get(key) ?? { from, to, bytes: 0, flows: [] };
    cell.bytes += bytes;
    cell.flows.push(...members);
    cells.set(key, cell);
    for (const group of new Set([from, to])) total.set(group, (total.get(group) ?? 0) + bytes);
  };
  for (const talk of talks(flows, KEYS.conversation)) {
    const from = groupOf(talk.first, 'From', by);
    const to = groupOf(talk.first, 'To', by);
    add(from, to, talk.sent, talk.flows);
    add(to, from, talk.received, talk.flows);
  }
  const groups = [...total.keys()].sort((one, other) => (total.get(other) ?? 0) - (total.get(one) ?? 0));
  return { groups, cells, total };
}
