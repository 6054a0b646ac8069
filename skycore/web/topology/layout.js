/** Places for items: asked for in a worker, one job at a time, the newest wish next. */

import { CARD } from './model.js';

/** @typedef {import('./model.js').Item} Item */
/** @typedef {import('./model.js').Link} Link */
/** @typedef {import('./nesting.js').Job} Job */
/** @typedef {import('./nesting.js').Piece} Piece */
/** @typedef {import('./nesting.js').Done} Done */

const trusted = /** @type {any} */ (window).trustedTypes?.createPolicy('skycore-worker', {
  createScriptURL: (/** @type {string} */ url) => {
    if (new URL(url).origin !== location.origin) throw new TypeError(`${url} is not ours`);
    return url;
  },
});

/** @returns {Worker} */
function startWorker() {
  const url = new URL('./layout-worker.js', import.meta.url).href;
  return new Worker(trusted ? trusted.createScriptURL(url) : url, { type: 'module' });
}

/** @typedef {{items: Item[], links: Link[], how: 'layered' | 'force', pinned: Set<string>, fresh: boolean}} Wish `fresh`: forget where things were */

export class Layout {
  /** @param {(items: Item[], places: Float64Array) => void} done */
  constructor(done) {
    this.done = done;
    this.worker = startWorker();
    this.worker.onmessage = ({ data }) => this.take(data);
    this.serial = 0;
    /** @type {Item[]} */
    this.asked = [];
    this.busy = false;
    /** @type {Wish | null} */
    this.next = null;
  }

  /** @param {Wish} wish */
  ask(wish) {
    if (this.busy) {
      this.next = { ...wish, fresh: wish.fresh || (this.next?.fresh ?? false) };
      return;
    }
    this.busy = true;
    this.asked = wish.items;
    this.serial += 1;
    this.worker.postMessage(jobOf(wish, this.serial));
  }

  /** @param {Done} done */
  take({ serial, places }) {
    if (serial !== this.serial) return;
    this.busy = false;
    const { next } = this;
    this.next = null;
    this.done(this.asked, places);
    if (next) this.ask(next);
  }
}

/** @param {Wish} wish @param {number} serial @returns {Job} */
function jobOf({ items, links, how, pinned, fresh }, serial) {
  const index = new Map(items.map((item, place) => [item, place]));
  const pieces = items.map((item) => pieceOf(item, index, pinned, fresh));
  /** @type {[number, number][]} */
  const pairs = [];
  for (const { a, b } of links) {
    const [from, to] = [index.get(a), index.get(b)];
    if (from !== undefined && to !== undefined) pairs.push([from, to]);
  }
  return { serial, how, pieces, links: pairs };
}

/** @param {Item} item @param {Map<Item, number>} index @param {Set<string>} pinned @param {boolean} fresh @returns {Piece} */
function pieceOf(item, index, pinned, fresh) {
  const { parent } = item;
  const keeps = pinned.has(item.id) || !fresh;
  return {
    parent: parent ? /** @type {number} */ (index.get(parent)) : -1,
    group: item.form === 'group',
    w: item.form === 'group' ? item.w : CARD.width,
    h: item.form === 'group' ? item.h : CARD.height,
    rank: item.rank,
    name: item.label,
    x: keeps ? item.tx - (parent?.tx ?? 0) : NaN,
    y: keeps ? item.ty - (parent?.ty ?? 0) : NaN,
    pinned: pinned.has(item.id),
  };
}
