/**
 * The topology view without its page: follows a mirror, keeps what is seen, where it stands, and what the user did to it.
 * Frames are drawn when something has changed, never otherwise.
 */

import { Camera } from './camera.js';
import { palette, readColours } from './colours.js';
import { Layout } from './layout.js';
import { Model } from './model.js';
import { options } from './options.js';
import { touches } from './paint-links.js';
import { paint } from './painter.js';
import { around } from './tree.js';

/** @typedef {import('../server/mirror.js').Mirror} Mirror */
/** @typedef {import('../server/mirror.js').Changes} Changes */
/** @typedef {import('./model.js').Item} Item */
/** @typedef {import('./model.js').Link} Link */

const MOVE_TIME = 320;
/** A new shape is worked out this often at most, however many nodes come and go. */
const SHAPED_EVERY = 250;
/** Figures that change are drawn so often; what the user does is drawn at once. */
const REDRAWN_EVERY = 200;

export class Topology {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d', { alpha: false }));
    this.camera = new Camera();
    this.model = new Model();
    this.layout = new Layout((items, places) => this.placed(items, places));
    /** @type {Mirror | null} */
    this.mirror = null;
    this.unfollow = () => {};
    /** Parents before their children. @type {Item[]} */
    this.items = [];
    /** @type {Link[]} */
    this.links = [];
    /** @type {Set<string>} */
    this.pinned = new Set();
    /** Where pinned items of an address stand, until they are there. @type {Map<string, [number, number]>} */
    this.wanted = new Map();
    /** @type {Set<string>} */
    this.keep = new Set();
    this.selected = /** @type {Set<string>} */ (new Set());
    this.marks = /** @type {Map<string, string>} */ (new Map());
    this.bright = /** @type {Set<string> | null} */ (null);
    this.hovered = '';
    this.focused = '';
    this.moveStart = 0;
    this.moveTime = 0;
    this.fitted = false;
    /** Where an address wants to look at first. @type {{zoom: number, id: string, dx: number, dy: number} | null} */
    this.asked = null;
    this.anchor = '';
    this.frame = 0;
    this.shapedAt = 0;
    this.timer = 0;
    this.redrawTimer = 0;
    this.moving = matchMedia('(prefers-reduced-motion: reduce)').matches ? 0 : MOVE_TIME;
    /** Whoever shows something of this hears of each frame. @type {Set<() => void>} */
    this.listeners = new Set();
    /** Whoever follows what is visible. @type {Set<() => void>} */
    this.shapeListeners = new Set();
    this.scriptTime = 0;
    options.on(() => this.shape());
    readColours();
  }

  // ---------------------------------------------------------------- what is shown

  /** @param {Mirror} mirror */
  follow(mirror) {
    if (this.mirror === mirror) return;
    this.unfollow();
    this.mirror = mirror;
    this.unfollow = mirror.on((changes) => this.changed(changes));
    this.shape();
  }

  /** @param {Changes} changes */
  changed(changes) {
    if (changes.shape) this.shapeSoon();
    else if (this.mirror) {
      this.model.refresh(this.mirror, changes.touched);
      this.redrawTimer ||= window.setTimeout(() => {
        this.redrawTimer = 0;
        this.draw();
      }, REDRAWN_EVERY);
    }
  }

  shapeSoon() {
    if (this.timer) return;
    const wait = Math.max(0, this.shapedAt + SHAPED_EVERY - performance.now());
    this.timer = window.setTimeout(() => this.shape(), wait);
  }

  /** Work out what is seen, and ask for places. @param {boolean} [fresh] forget the places of all that is not pinned */
  shape(fresh = false) {
    clearTimeout(this.timer);
    this.timer = 0;
    this.shapedAt = performance.now();
    if (!this.mirror) return;
    this.model.everything = options.value.everything;
    this.model.build(this.mirror, new Set([...this.keep, ...this.pinned, ...this.selected]));
    const items = flat(this.model.roots);
    const hidden = new Set(options.value.hidden);
    const links = this.model.links.filter((link) => !hidden.has(link.relation));
    this.links = links;
    this.items = items.filter((item) => !Number.isNaN(item.x));
    for (const [id, [x, y]] of this.wanted) {
      const item = this.model.items.get(id);
      if (item && Number.isNaN(item.tx)) [item.tx, item.ty] = [(item.parent?.tx || 0) + x, (item.parent?.ty || 0) + y];
    }
    this.layout.ask({ items, links, how: options.value.how, pinned: this.pinned, fresh });
    for (const listener of this.shapeListeners) listener();
  }

  /** @param {Item[]} items @param {Float64Array} places */
  placed(items, places) {
    const anchored = this.model.items.get(this.anchor) ?? this.middle();
    const before = anchored && !Number.isNaN(anchored.x) ? [anchored.x, anchored.y] : null;
    const now = performance.now();
    const moving = this.fitted ? this.moving : 0;
    items.forEach((item, index) => {
      const [x, y, w, h] = places.subarray(index * 4, index * 4 + 4);
      const [fromX, fromY] = Number.isNaN(item.x) ? [x, y] : [item.x, item.y];
      Object.assign(item, { x0: fromX, y0: fromY, w0: item.w, h0: item.h, tx: x, ty: y, tw: w, th: h });
    });
    // What the user looks at stays where it is on the screen; the rest moves around it.
    if (before && anchored) {
      const [dx, dy] = [anchored.tx - before[0], anchored.ty - before[1]];
      if (this.fitted && Number.isFinite(dx) && Number.isFinite(dy)) this.shift(items, dx, dy);
    }
    this.anchor = '';
    this.items = items;
    this.moveStart = now;
    this.moveTime = moving;
    if (!moving) this.settle(1);
    this.firstLook();
    this.draw();
  }

  /** Begin elsewhere, so that with the camera moved along nothing jumps. @param {Item[]} items @param {number} dx @param {number} dy */
  shift(items, dx, dy) {
    for (const item of items) {
      item.x0 += dx;
      item.y0 += dy;
      item.x += dx;
      item.y += dy;
    }
    this.camera.x -= dx * this.camera.zoom;
    this.camera.y -= dy * this.camera.zoom;
  }

  /** What is nearest to the middle of the view. @returns {Item | undefined} */
  middle() {
    const [x, y] = this.camera.toPicture(this.camera.width / 2, this.camera.height / 2);
    let best;
    let least = Infinity;
    for (const item of this.items) {
      // A group's middle says little of what is seen of it.
      const far = Math.abs(item.x - x) + Math.abs(item.y - y) + (item.form === 'group' ? 1e6 : 0);
      if (far < least) [best, least] = [item, far];
    }
    return best;
  }

  // ---------------------------------------------------------------- frames

  draw() {
    this.frame ||= requestAnimationFrame((now) => this.paint(now));
  }

  /** Put items between where they come from and where they go. @param {number} part */
  settle(part) {
    const eased = 1 - (1 - part) ** 3;
    for (const item of this.items) {
      item.x = item.x0 + (item.tx - item.x0) * eased;
      item.y = item.y0 + (item.ty - item.y0) * eased;
      item.w = item.w0 + (item.tw - item.w0) * eased;
      item.h = item.h0 + (item.th - item.h0) * eased;
    }
  }

  /** @param {number} now */
  paint(now) {
    this.frame = 0;
    const begin = performance.now();
    const moves = this.step(now);
    paint(this.context, this.scene(now));
    for (const listener of this.listeners) listener();
    this.scriptTime = performance.now() - begin;
    if (moves || this.dashes()) this.draw();
  }

  /** @param {number} now */
  step(now) {
    let moves = this.camera.step(now);
    if (this.moveStart) {
      const part = this.moveTime ? Math.min(1, Math.max(0, (now - this.moveStart) / this.moveTime)) : 1;
      this.settle(part);
      if (part >= 1) this.moveStart = 0;
      else moves = true;
    }
    return moves;
  }

  /** Whether a marked path runs, which is drawn as moving dashes. */
  dashes() {
    if (!this.moving) return false;
    for (const mark of this.marks.values()) if (mark === 'path') return true;
    return false;
  }

  /** @param {number} now @returns {import('./painter.js').Scene} */
  scene(now) {
    const { items, links, camera, selected, hovered, focused, pinned, marks, bright } = this;
    return { items, links, camera, selected, hovered, focused, pinned, marks, bright, time: now, ratio: this.ratio };
  }

  get ratio() {
    return Math.min(2, window.devicePixelRatio || 1);
  }

  /** @param {number} width @param {number} height */
  resize(width, height) {
    this.canvas.width = Math.max(1, Math.round(width * this.ratio));
    this.canvas.height = Math.max(1, Math.round(height * this.ratio));
    const { camera } = this;
    if (this.fitted) {
      camera.x += (width - camera.width) / 2;
      camera.y += (height - camera.height) / 2;
    }
    [camera.width, camera.height] = [width, height];
    this.firstLook();
    this.draw();
  }

  recolour() {
    const before = palette;
    readColours();
    if (palette !== before) this.draw();
  }

  // ---------------------------------------------------------------- what the user does

  /** The item or link at a point of the screen; the innermost. @param {number} x @param {number} y @returns {Item | Link | null} */
  at(x, y) {
    const [px, py] = this.camera.toPicture(x, y);
    /** @type {Item | null} */
    let group = null;
    for (let index = this.items.length - 1; index >= 0; index -= 1) {
      const item = this.items[index];
      if (Math.abs(px - item.x) > item.w / 2 || Math.abs(py - item.y) > item.h / 2) continue;
      if (item.form !== 'group') return item;
      if (!group || item.depth > group.depth) group = item;
    }
    const near = 6 / this.camera.zoom;
    const link = this.links.find((one) => touches(one, px, py, near));
    return link ?? group;
  }

  /** What an address asked for, else everything; once there are things and a size. */
  firstLook() {
    if (this.fitted || !this.items.length || this.camera.width <= 1) return;
    this.settle(1);
    this.fitted = true;
    const { camera, asked } = this;
    const item = asked && this.model.items.get(asked.id);
    this.asked = null;
    if (!asked || !item) return this.fit(0);
    const [x, y] = [item.tx + asked.dx, item.ty + asked.dy];
    camera.fly(asked.zoom, camera.width / 2 - x * asked.zoom, camera.height / 2 - y * asked.zoom, 0);
  }

  /** Everything, or these items, as large as it fits. @param {number} [time] @param {Iterable<Item>} [items] */
  fit(time = 350, items = this.items) {
    const box = boxOf(items);
    if (box) this.camera.fit(box, { time: this.moving ? time : 0 });
    this.draw();
  }

  /** @param {string} id an item: fold or unfold it @param {boolean} [open] */
  toggle(id, open) {
    const item = this.model.items.get(id);
    if (!item || item.form === 'leaf') return;
    this.anchor = id;
    if (item.form === 'bundle') this.model.unbundled.add(id);
    else this.model.unfolded.set(id, open ?? item.form !== 'group');
    this.shape();
  }

  /** All groups one level deeper, or less deep. @param {boolean} open */
  level(open) {
    const groups = this.items.filter((item) => item.form === (open ? 'folded' : 'group'));
    const depths = groups.map((item) => item.depth);
    if (!depths.length) return;
    const depth = open ? Math.min(...depths) : Math.max(...depths);
    for (const item of groups) if (item.depth === depth) this.model.unfolded.set(item.id, open);
    if (!open) this.model.unbundled.clear();
    this.shape();
  }

  /** Unfold or fold everything within a group, or everything. @param {string | null} id @param {boolean} open */
  whole(id, open) {
    const { children, roots } = this.model.tree;
    const ahead = id === null ? [...roots] : [id];
    for (let next = ahead.pop(); next !== undefined; next = ahead.pop()) {
      const inner = children.get(next);
      if (!inner) continue;
      this.model.unfolded.set(next, open);
      ahead.push(...inner);
    }
    if (id !== null) this.anchor = id;
    this.shape();
  }

  /** Keep an item where it is, or let it go. @param {string} id @param {boolean} [on] */
  pin(id, on = !this.pinned.has(id)) {
    if (on) this.pinned.add(id);
    else {
      this.pinned.delete(id);
      this.wanted.delete(id);
    }
    this.shape();
  }

  /** Bring nodes into view: their groups are unfolded, and they are taken out of bundles. @param {string[]} ids */
  reveal(ids) {
    for (const id of ids) {
      this.keep.add(id);
      for (const group of around(this.model.tree, id)) {
        this.model.unfolded.set(group, true);
        this.keep.add(group);
      }
    }
    this.shape();
    this.afterLayout(() => {
      const items = ids.map((id) => this.model.standing.get(id)).filter((item) => item !== undefined);
      const box = boxOf(items.map(({ tx, ty, tw, th }) => ({ x: tx, y: ty, w: tw, h: th })));
      if (box) this.camera.fit(box, { nearest: Math.max(1, Math.min(1.2, this.camera.zoom)), time: this.moving, margin: 120 });
      this.draw();
    });
  }

  /** @param {() => void} then */
  afterLayout(then) {
    const { done } = this.layout;
    this.layout.done = (items, places) => {
      done(items, places);
      if (!this.layout.busy) {
        this.layout.done = done;
        then();
      }
    };
  }
}

/** @param {Item[]} roots @returns {Item[]} */
function flat(roots) {
  const found = [...roots];
  for (let index = 0; index < found.length; index += 1) {
    for (const item of found[index].items) found.push(item);
  }
  return found;
}

/** @param {Iterable<{x: number, y: number, w: number, h: number}>} items */
export function boxOf(items) {
  const box = { left: Infinity, top: Infinity, right: -Infinity, bottom: -Infinity };
  for (const { x, y, w, h } of items) {
    box.left = Math.min(box.left, x - w / 2);
    box.right = Math.max(box.right, x + w / 2);
    box.top = Math.min(box.top, y - h / 2);
    box.bottom = Math.max(box.bottom, y + h / 2);
  }
  return box.left < box.right ? box : null;
}
