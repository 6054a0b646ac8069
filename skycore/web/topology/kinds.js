/** What is known of types of nodes: their icon, where they stand in a layer, their colour. Plugins' types get defaults. */

/**
 * @typedef {object} Kind
 * @property {string} icon a name from `lib/icons.js`
 * @property {number} rank layer from the top, among siblings
 * @property {string} hue one of the palette in `topology/colours.js`
 */

/** @type {Map<string, Kind>} */
const kinds = new Map();

/**
 * Say how nodes of some types are drawn.
 * @param {Kind} kind
 * @param {...string} types
 */
export function drawKind(kind, ...types) {
  for (const type of types) kinds.set(type, kind);
}

/** @type {Kind} */
const OTHER = { icon: 'interface', rank: 3, hue: 'grey' };

/** @param {string} type @returns {Kind} */
export const kindOf = (type) => kinds.get(type) ?? OTHER;

drawKind({ icon: 'fabric', rank: 0, hue: 'violet' }, 'fabric', 'switch', 'router');
drawKind({ icon: 'host', rank: 1, hue: 'blue' }, 'host');
drawKind({ icon: 'interface', rank: 2, hue: 'teal' }, 'device', 'internal');
drawKind({ icon: 'bond', rank: 2, hue: 'teal' }, 'bond', 'team');
drawKind({ icon: 'vlan', rank: 3, hue: 'cyan' }, 'vlan', 'macvlan', 'ipvlan', 'macvtap', 'ipvtap');
drawKind({ icon: 'bridge', rank: 4, hue: 'amber' }, 'bridge', 'ovsbridge', 'openvswitch', 'vrf');
drawKind({ icon: 'port', rank: 5, hue: 'amber' }, 'ovsport', 'ovsmirror', 'patch', 'dpdkport');
drawKind({ icon: 'tunnel', rank: 3, hue: 'pink' }, 'vxlan', 'gre', 'gretap', 'geneve', 'ip6gre', 'ip6gretap', 'ipip');
drawKind({ icon: 'tunnel', rank: 3, hue: 'pink' }, 'sit', 'ip6tnl', 'wireguard', 'vti', 'erspan');
drawKind({ icon: 'tap', rank: 5, hue: 'cyan' }, 'tun', 'tap');
drawKind({ icon: 'veth', rank: 5, hue: 'cyan' }, 'veth');
drawKind({ icon: 'netns', rank: 6, hue: 'green' }, 'netns');
drawKind({ icon: 'container', rank: 1, hue: 'sky' }, 'container');
drawKind({ icon: 'pod', rank: 1, hue: 'sky' }, 'pod');
drawKind({ icon: 'service', rank: 1, hue: 'violet' }, 'service', 'ingress', 'deployment', 'replicaset', 'daemonset');
drawKind({ icon: 'vm', rank: 6, hue: 'sky' }, 'vm', 'libvirt');
drawKind({ icon: 'disk', rank: 7, hue: 'grey' }, 'blockdev', 'blockdev_leaf', 'persistentvolume', 'persistentvolumeclaim');
drawKind({ icon: 'interface', rank: 7, hue: 'grey' }, 'dummy', 'ifb', 'nlmon');
drawKind({ icon: 'loopback', rank: 7, hue: 'grey' }, 'loopback');

/** Types that hold the ports that layer 2 connects to them. */
export const BRIDGES = new Set(['bridge', 'ovsbridge', 'openvswitch', 'bond', 'team']);

/** @param {import('../lib/types.js').Node} node */
export function nameOf(node) {
  const { Name, Type } = node.Metadata;
  const name = typeof Name === 'string' && Name ? Name : node.ID.slice(0, 8);
  // Of hosts, what distinguishes them.
  return Type === 'host' ? name.split('.')[0] : name;
}

/** Its kind for drawing: loopback is a device by type. @param {import('../lib/types.js').Node} node */
export const typeOf = (node) => (node.Metadata.Name === 'lo' ? 'loopback' : String(node.Metadata.Type ?? ''));

/**
 * up, down, or neither.
 * @param {import('../lib/types.js').Node} node
 * @returns {'up' | 'down' | ''}
 */
export function stateOf(node) {
  const { State, LinkFlags, Docker, Container } = node.Metadata;
  if (State === 'UP') return 'up';
  if (State === 'DOWN') {
    // A device that nothing is said about is not broken: loopback and dummies are UP or UNKNOWN by flag.
    return Array.isArray(LinkFlags) && LinkFlags.includes('LOWER_UP') ? 'up' : 'down';
  }
  const status = Container?.Status ?? Docker?.Status ?? Container?.State ?? Docker?.State;
  if (typeof status === 'string') return /^(running|up)/i.test(status) ? 'up' : 'down';
  return '';
}

/** Small marks on a card, as words. @param {import('../lib/types.js').Node} node @returns {string[]} */
export function badgesOf(node) {
  const { Captures, PacketInjections, Manager, Runtime } = node.Metadata;
  const badges = [];
  if (Captures) badges.push('capture');
  if (PacketInjections) badges.push('inject');
  const manager = Manager ?? Runtime;
  if (typeof manager === 'string') badges.push(manager.slice(0, 8));
  return badges;
}
