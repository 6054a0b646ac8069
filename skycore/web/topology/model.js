/**
 * What is to be seen: the tree of groups as far as it is unfolded, siblings that are alike as one bundle, and links
 * between whatever stands for their ends.
 */

import { bandwidthOf } from './bandwidth.js';
import { badgesOf, kindOf, nameOf, stateOf, typeOf } from './kinds.js';
import { treeOf } from './tree.js';

/** @typedef {import('../lib/types.js').Node} Node */
/** @typedef {import('../lib/types.js').Edge} Edge */
/** @typedef {import('../server/mirror.js').Mirror} Mirror */
/** @typedef {import('./tree.js').Tree} Tree */

/**
 * One thing on the picture.  Positions are centres, in units of the picture; `x0`… is where it comes from while it moves.
 * @typedef {object} Item
 * @property {string} id
 * @property {'leaf' | 'group' | 'folded' | 'bundle'} form a folded group is a card with a number
 * @property {Node | null} node none of a bundle
 * @property {Item | null} parent
 * @property {Item[]} items what is drawn within
 * @property {string[]} members of a bundle: the nodes that it stands for
 * @property {number} inside how many nodes it stands for or holds
 * @property {number} depth
 * @property {string} type
 * @property {string} icon
 * @property {string} hue
 * @property {number} rank
 * @property {string} label
 * @property {string} note
 * @property {'up' | 'down' | ''} state
 * @property {string[]} badges
 * @property {number} x
 * @property {number} y
 * @property {number} w
 * @property {number} h
 * @property {number} x0
 * @property {number} y0
 * @property {number} w0
 * @property {number} h0
 * @property {number} tx where it goes to
 * @property {number} ty
 * @property {number} tw
 * @property {number} th
 */
/**
 * @typedef {object} Link
 * @property {string} id
 * @property {Item} a
 * @property {Item} b
 * @property {string} relation
 * @property {string[]} ids edges that it stands for
 * @property {boolean} directed
 * @property {number} rate bits a second; NaN: not known
 * @property {number} speed bits a second that the slower end can do; NaN: not known
 * @property {string} label
 */

export const CARD = { width: 148, height: 40 };
/** So many leaves of one type become a bundle, where a group has too many for a look. */
const ALIKE = 8;
const CROWDED = 24;
const CROWDED_GROUPS = 120;
/** Groups are unfolded by themselves until so much is on the picture. */
const FIRST_SIGHT = 260;

export class Model {
  constructor() {
    /** What somebody unfolded or folded, and what was unfolded at first sight. @type {Map<string, boolean>} */
    this.unfolded = new Map();
    /** @type {Set<string>} */
    this.unbundled = new Set();
    this.everything = false;
    /** @type {Map<string, Item>} */
    this.items = new Map();
    /** The item that stands for a node. @type {Map<string, Item>} */
    this.standing = new Map();
    /** @type {Item[]} */
    this.roots = [];
    /** @type {Link[]} */
    this.links = [];
    /** Links by their edges, and by the ends of these. @type {Map<string, Link[]>} */
    this.linksAt = new Map();
    /** @type {Tree} */
    this.tree = { parents: new Map(), children: new Map(), roots: [] };
    /** @type {Map<string, number>} */
    this.sizes = new Map();
  }

  /**
   * Work out what is to be seen.  Items that were there before are the same objects.
   * @param {Mirror} mirror
   * @param {Set<string>} keep nodes that no bundle may swallow
   */
  build(mirror, keep) {
    this.tree = treeOf(mirror);
    this.firstSight(mirror);
    const before = this.items;
    this.items = new Map();
    this.standing = new Map();
    this.sizes = new Map();
    this.roots = this.siblings(mirror, this.tree.roots, null, before, keep);
    this.links = this.linksOf(mirror);
  }

  /** Unfold from the top until there is enough to look at. @param {Mirror} mirror */
  firstSight(mirror) {
    let room = FIRST_SIGHT;
    let level = this.tree.roots;
    room -= level.length;
    while (level.length) {
      /** @type {string[]} */
      const next = [];
      for (const id of level) {
        const children = this.tree.children.get(id);
        if (!children) continue;
        const decided = this.unfolded.get(id);
        if (decided === undefined) {
          const shown = Math.min(children.length, CROWDED);
          const fits = room - shown >= 0;
          this.unfolded.set(id, fits);
          if (fits) room -= shown;
        } else if (decided) {
          room -= Math.min(children.length, CROWDED);
        }
        if (this.unfolded.get(id)) next.push(...children.filter((child) => mirror.nodes.has(child)));
      }
      level = next;
    }
  }

  /**
   * @param {Mirror} mirror
   * @param {string[]} ids
   * @param {Item | null} parent
   * @param {Map<string, Item>} before
   * @param {Set<string>} keep
   * @returns {Item[]}
   */
  siblings(mirror, ids, parent, before, keep) {
    const found = [];
    for (const [type, members] of this.bundles(mirror, ids, parent, keep)) {
      if (type === '') {
        for (const id of members) found.push(this.item(mirror, id, parent, before, keep));
      } else {
        found.push(this.bundle(mirror, type, members, parent, before));
      }
    }
    return found;
  }

  /**
   * Which siblings are drawn one by one (under ''), and which as a bundle of their type.
   * @param {Mirror} mirror
   * @param {string[]} ids
   * @param {Item | null} parent
   * @param {Set<string>} keep
   * @returns {Map<string, string[]>}
   */
  bundles(mirror, ids, parent, keep) {
    /** @type {Map<string, string[]>} */
    const plan = new Map([['', []]]);
    const alone = /** @type {string[]} */ (plan.get(''));
    if (this.everything || ids.length <= CROWDED) {
      alone.push(...ids);
      return plan;
    }
    for (const id of ids) {
      const type = typeOf(/** @type {Node} */ (mirror.nodes.get(id)));
      const group = this.tree.children.has(id);
      const free = keep.has(id) || this.unbundled.has(bundleId(parent, type)) || (group && this.unfolded.get(id));
      if (free) {
        alone.push(id);
        continue;
      }
      const members = plan.get(type);
      if (members) members.push(id);
      else plan.set(type, [id]);
    }
    for (const [type, members] of [...plan]) {
      if (type === '') continue;
      const groups = this.tree.children.has(members[0]);
      if (members.length <= (groups ? CROWDED_GROUPS : ALIKE)) {
        alone.push(...members);
        plan.delete(type);
      }
    }
    return plan;
  }

  /**
   * @param {Mirror} mirror
   * @param {string} id
   * @param {Item | null} parent
   * @param {Map<string, Item>} before
   * @param {Set<string>} keep
   * @returns {Item}
   */
  item(mirror, id, parent, before, keep) {
    const node = /** @type {Node} */ (mirror.nodes.get(id));
    const children = this.tree.children.get(id);
    const item = before.get(id) ?? blank(id);
    item.parent = parent;
    item.depth = parent ? parent.depth + 1 : 0;
    item.items = [];
    item.inside = this.size(id);
    this.items.set(id, item);
    this.standing.set(id, item);
    describe(item, node);
    if (!children) {
      item.form = 'leaf';
    } else if (this.everything || this.unfolded.get(id)) {
      item.form = 'group';
      item.items = this.siblings(mirror, children, item, before, keep);
    } else {
      item.form = 'folded';
      this.standFor(children, item);
    }
    return item;
  }

  /**
   * @param {Mirror} mirror
   * @param {string} type
   * @param {string[]} members
   * @param {Item | null} parent
   * @param {Map<string, Item>} before
   */
  bundle(mirror, type, members, parent, before) {
    const id = bundleId(parent, type);
    const item = before.get(id) ?? blank(id);
    const kind = kindOf(type);
    const down = members.filter((one) => stateOf(/** @type {Node} */ (mirror.nodes.get(one))) === 'down').length;
    Object.assign(item, { form: 'bundle', node: null, parent, items: [], members, type, ...kind });
    item.inside = members.length;
    item.depth = parent ? parent.depth + 1 : 0;
    item.label = `${members.length} × ${type}`;
    item.note = down ? `${down} down` : '';
    item.state = down ? 'down' : '';
    item.badges = [];
    this.items.set(id, item);
    this.standFor(members, item);
    return item;
  }

  /** @param {string[]} ids @param {Item} item */
  standFor(ids, item) {
    for (const id of ids) {
      this.standing.set(id, item);
      const children = this.tree.children.get(id);
      if (children) this.standFor(children, item);
    }
  }

  /** How many nodes a group holds, all the way down. @param {string} id @returns {number} */
  size(id) {
    let size = this.sizes.get(id);
    if (size === undefined) {
      size = 0;
      for (const child of this.tree.children.get(id) ?? []) size += 1 + this.size(child);
      this.sizes.set(id, size);
    }
    return size;
  }

  /** @param {Mirror} mirror @returns {Link[]} */
  linksOf(mirror) {
    /** @type {Map<string, Link>} */
    const links = new Map();
    for (const edge of mirror.edges.values()) {
      const a = this.standing.get(edge.Parent);
      const b = this.standing.get(edge.Child);
      if (!a || !b || a === b || holds(a, b) || holds(b, a)) continue;
      const relation = String(edge.Metadata.RelationType ?? '');
      const id = `${a.id}\0${b.id}\0${relation}`;
      const link = links.get(id);
      if (link) link.ids.push(edge.ID);
      else links.set(id, newLink(id, a, b, relation, edge));
    }
    const found = [...links.values()];
    this.linksAt = new Map();
    for (const link of found) {
      measure(link, mirror);
      for (const id of link.ids) {
        const { Parent, Child } = /** @type {Edge} */ (mirror.edges.get(id));
        for (const part of [id, Parent, Child]) {
          const links = this.linksAt.get(part);
          if (links) links.push(link);
          else this.linksAt.set(part, [link]);
        }
      }
    }
    return found;
  }

  /**
   * Take over what has changed of elements that stay where they are.
   * @param {Mirror} mirror
   * @param {Set<string>} touched
   */
  refresh(mirror, touched) {
    for (const id of touched) {
      const item = this.items.get(id);
      const node = mirror.nodes.get(id);
      if (item && node) describe(item, node);
    }
    const again = new Set();
    for (const id of touched) for (const link of this.linksAt.get(id) ?? []) again.add(link);
    for (const link of again) measure(link, mirror);
  }
}

/** @param {Item | null} parent @param {string} type */
const bundleId = (parent, type) => `bundle:${parent?.id ?? ''}:${type}`;

/** @param {Item} group @param {Item} item */
function holds(group, item) {
  for (let at = item.parent; at; at = at.parent) if (at === group) return true;
  return false;
}

/** @param {string} id @returns {Item} */
function blank(id) {
  return {
    id, form: 'leaf', node: null, parent: null, items: [], members: [], inside: 0, depth: 0, type: '', icon: 'unknown',
    hue: 'grey', rank: 0, label: '', note: '', state: '', badges: [],
    x: NaN, y: NaN, w: CARD.width, h: CARD.height, x0: NaN, y0: NaN, w0: CARD.width, h0: CARD.height,
    tx: NaN, ty: NaN, tw: CARD.width, th: CARD.height,
  };
}

/** @param {Item} item @param {Node} node */
function describe(item, node) {
  item.node = node;
  item.members = [];
  item.type = typeOf(node);
  const kind = kindOf(item.type);
  item.icon = kind.icon;
  item.hue = kind.hue;
  item.rank = kind.rank;
  item.label = nameOf(node);
  item.note = noteOf(node);
  item.state = stateOf(node);
  item.badges = badgesOf(node);
}

/** The second line of a card. @param {Node} node */
function noteOf(node) {
  const { IPV4, IPV6, Type, Docker, Container } = node.Metadata;
  // Every interface has a link-local address, which says nothing.
  const addresses = [IPV4, IPV6].flat().filter((one) => typeof one === 'string' && !one.startsWith('fe80:'));
  if (addresses.length) return addresses.length > 1 ? `${addresses[0]} +${addresses.length - 1}` : addresses[0];
  const image = Docker?.ImageName ?? Container?.ImageName;
  return typeof image === 'string' ? image : String(Type ?? '');
}

/** @param {string} id @param {Item} a @param {Item} b @param {string} relation @param {Edge} edge @returns {Link} */
function newLink(id, a, b, relation, edge) {
  const directed = edge.Metadata.Directed === true || edge.Metadata.Directed === 'true' || relation === 'ownership';
  return { id, a, b, relation, ids: [edge.ID], directed, rate: NaN, speed: NaN, label: '' };
}

/** @param {Link} link @param {Mirror} mirror */
function measure(link, mirror) {
  Object.assign(link, bandwidthOf(link, mirror));
}
