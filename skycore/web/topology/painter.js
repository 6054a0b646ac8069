/**
 * Draws a frame.  What lies outside of the view is passed over; how much of a card is drawn depends on its size on the
 * screen: a block, then an icon, then names, then addresses and badges.
 */

import { loadOf } from './bandwidth.js';
import { colours } from './colours.js';
import { paintLinks } from './paint-links.js';
import { sprite } from './sprites.js';

/** @typedef {import('./model.js').Item} Item */
/** @typedef {import('./model.js').Link} Link */
/** @typedef {import('./camera.js').Camera} Camera */
/**
 * What is drawn.
 * @typedef {object} Scene
 * @property {Item[]} items parents before their children
 * @property {Link[]} links
 * @property {Camera} camera
 * @property {number} ratio pixels of the device for one of the page
 * @property {Set<string>} selected items and links
 * @property {string} hovered
 * @property {string} focused by the keyboard
 * @property {Set<string>} pinned
 * @property {Map<string, string>} marks item or link → the name of a colour, of overlays and differences
 * @property {Set<string> | null} bright items that are not faded; null: all
 * @property {number} time for what moves, in milliseconds
 */

/** Zooms from which on more is drawn. */
const SHOWS = { icon: 0.16, name: 0.36, note: 0.62 };
/** Pixels; nobody sees the corners of smaller boxes. */
const ROUNDED = 90;
/** Units; names of groups are no larger within their own heading. */
const HEADING = 26;
const FONT = 'Inter, system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Scene} scene
 */
export function paint(context, scene) {
  const { camera, ratio } = scene;
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.fillStyle = colours.canvas;
  context.fillRect(0, 0, context.canvas.width, context.canvas.height);
  context.setTransform(ratio * camera.zoom, 0, 0, ratio * camera.zoom, ratio * camera.x, ratio * camera.y);
  const { left, top, right, bottom } = camera.view();
  /** @type {Item[]} */
  const groups = [];
  /** @type {Item[]} */
  const cards = [];
  for (const item of scene.items) {
    const [halfWidth, halfHeight] = [item.w / 2, item.h / 2];
    if (item.x + halfWidth < left || item.x - halfWidth > right) continue;
    if (item.y + halfHeight < top || item.y - halfHeight > bottom) continue;
    (item.form === 'group' ? groups : cards).push(item);
  }
  paintGroups(context, scene, groups);
  paintLinks(context, scene, { left, top, right, bottom }, loadOf);
  if (camera.zoom < SHOWS.icon) paintBlocks(context, scene, cards);
  else paintCards(context, scene, cards);
  paintNames(context, scene, groups);
  context.globalAlpha = 1;
}

/** From far away, names of groups lie over what is in them. @param {CanvasRenderingContext2D} context @param {Scene} scene @param {Item[]} groups */
function paintNames(context, { camera, ratio }, groups) {
  const size = 12 / camera.zoom;
  if (size <= HEADING) return;
  context.font = `600 ${size}px ${FONT}`;
  context.textBaseline = 'top';
  context.lineJoin = 'round';
  context.lineWidth = 4 / camera.zoom;
  context.strokeStyle = colours.canvas;
  context.globalAlpha = 0.92;
  for (const item of groups) {
    // Only where there is room: of nested groups the outer ones.
    if (item.w * camera.zoom < 72 || item.h * camera.zoom < 40) continue;
    const [x, y] = [item.x - item.w / 2 + size * 0.5, item.y - item.h / 2 + size * 0.4];
    const name = cut(context, item.label, item.w - size * 2.4);
    context.drawImage(sprite(item.icon, colours[item.hue], 14 * ratio), x, y - size * 0.05, size * 1.15, size * 1.15);
    context.strokeText(name, x + size * 1.4, y);
    context.fillStyle = colours.text;
    context.fillText(name, x + size * 1.4, y);
  }
}

/** @param {Scene} scene @param {Item} item */
const faded = (scene, item) => scene.bright !== null && !scene.bright.has(item.id);

/** @param {CanvasRenderingContext2D} context @param {Scene} scene @param {Item[]} groups */
function paintGroups(context, scene, groups) {
  const { zoom } = scene.camera;
  for (const item of groups) {
    const [x, y] = [item.x - item.w / 2, item.y - item.h / 2];
    const hue = colours[item.hue];
    context.globalAlpha = faded(scene, item) ? 0.45 : 1;
    context.fillStyle = item.depth % 2 ? colours['group-2'] : colours.group;
    const mark = markOf(scene, item);
    context.lineWidth = (mark ? 2.5 : 1) / Math.min(1, zoom);
    context.strokeStyle = mark || colours.line;
    if (item.w * zoom < ROUNDED) {
      context.fillRect(x, y, item.w, item.h);
      if (mark || item.w * zoom > 12) context.strokeRect(x, y, item.w, item.h);
    } else {
      box(context, x, y, item.w, item.h, 12);
      context.fill();
      context.stroke();
    }
    // Names of groups stay readable a little longer than those of cards.
    const size = Math.min(HEADING, Math.max(13, 11 / zoom));
    if (12 / zoom > HEADING || item.w * zoom < 34) continue;
    context.drawImage(sprite(item.icon, hue, size * 1.3 * zoom * scene.ratio), x + 10, y + 6, size * 1.3, size * 1.3);
    context.font = `600 ${size}px ${FONT}`;
    context.textBaseline = 'middle';
    context.fillStyle = colours.text;
    const name = cut(context, item.label, item.w - size * 1.3 - 34);
    context.fillText(name, x + 16 + size * 1.3, y + 7 + size * 0.65);
    if (zoom > SHOWS.name) {
      const at = x + 16 + size * 1.3 + context.measureText(name).width + 8;
      context.font = `${size * 0.8}px ${FONT}`;
      context.fillStyle = colours.dim;
      if (at < x + item.w - 40) context.fillText(`${item.type} · ${item.inside}`, at, y + 7.5 + size * 0.65, x + item.w - at - 8);
      if (scene.pinned.has(item.id)) {
        context.drawImage(sprite('pin', colours.accent, 14 * zoom * scene.ratio), x + item.w - 22, y + 6, 14, 14);
      }
    }
  }
}

/** One rectangle each, by colour, for thousands at a time. @param {CanvasRenderingContext2D} context @param {Scene} scene @param {Item[]} cards */
function paintBlocks(context, scene, cards) {
  /** @type {Map<string, Item[]>} */
  const byColour = new Map();
  for (const item of cards) {
    const colour = markOf(scene, item) || (item.state === 'down' ? colours.bad : colours[item.hue]);
    const key = faded(scene, item) ? `~${colour}` : colour;
    const same = byColour.get(key);
    if (same) same.push(item);
    else byColour.set(key, [item]);
  }
  for (const [key, items] of byColour) {
    const weak = key.startsWith('~');
    context.globalAlpha = weak ? 0.18 : 0.85;
    context.fillStyle = weak ? key.slice(1) : key;
    for (const item of items) context.fillRect(item.x - item.w / 2, item.y - item.h / 2, item.w, item.h);
  }
}

/** @param {CanvasRenderingContext2D} context @param {Scene} scene @param {Item[]} cards */
function paintCards(context, scene, cards) {
  for (const item of cards) {
    context.globalAlpha = faded(scene, item) ? 0.25 : 1;
    paintCard(context, scene, item);
  }
}

/** @param {CanvasRenderingContext2D} context @param {Scene} scene @param {Item} item */
function paintCard(context, scene, item) {
  const { zoom } = scene.camera;
  const [x, y, width, height] = [item.x - item.w / 2, item.y - item.h / 2, item.w, item.h];
  const mark = markOf(scene, item);
  const hue = colours[item.hue];
  if (item.form !== 'leaf') {
    // A folded group and a bundle look like a pile.
    box(context, x + 5, y + 5, width, height, 8);
    context.fillStyle = colours['panel-2'];
    context.fill();
    context.lineWidth = 1;
    context.strokeStyle = colours.line;
    context.stroke();
  }
  box(context, x, y, width, height, 8);
  context.fillStyle = colours.card;
  context.fill();
  context.lineWidth = (mark ? 2.5 : 1.2) / Math.min(1, zoom);
  context.strokeStyle = mark || (item.state === 'down' ? colours.bad : colours.line);
  context.stroke();
  context.fillStyle = item.state === 'down' ? colours.bad : hue;
  context.fillRect(x, y + 8, 3, height - 16);
  const icon = zoom < SHOWS.name ? height - 8 : 22;
  const at = zoom < SHOWS.name ? item.x - icon / 2 : x + 10;
  context.drawImage(sprite(item.icon, hue, icon * zoom * scene.ratio), at, item.y - icon / 2, icon, icon);
  if (zoom < SHOWS.name) return;
  const both = zoom >= SHOWS.note && item.note !== '';
  const room = width - 46 - (item.form === 'folded' ? 26 : 0) - (item.state ? 8 : 0);
  context.textBaseline = 'middle';
  context.font = `500 13px ${FONT}`;
  context.fillStyle = colours.text;
  context.fillText(cut(context, item.label, room), x + 39, both ? y + 14 : item.y);
  if (both) {
    context.font = `11px ${FONT}`;
    context.fillStyle = colours.dim;
    context.fillText(cut(context, item.note, width - 46), x + 39, y + 28);
  }
  if (item.form === 'folded') {
    context.font = `600 11px ${FONT}`;
    context.fillStyle = colours.dim;
    context.textAlign = 'right';
    context.fillText(`+${item.inside}`, x + width - 8, y + 14);
    context.textAlign = 'left';
  } else if (item.state) {
    context.beginPath();
    context.arc(x + width - 10, y + 11, 3.5, 0, 2 * Math.PI);
    context.fillStyle = item.state === 'up' ? colours.good : colours.bad;
    context.fill();
  }
  paintBadges(context, scene, item);
}

/** @param {CanvasRenderingContext2D} context @param {Scene} scene @param {Item} item */
function paintBadges(context, scene, item) {
  const { zoom } = scene.camera;
  let right = item.x + item.w / 2 + 4;
  const top = item.y - item.h / 2 - 8;
  if (scene.pinned.has(item.id)) {
    context.drawImage(sprite('pin', colours.accent, 14 * zoom * scene.ratio), right - 14, top - 1, 14, 14);
    right -= 16;
  }
  if (zoom < SHOWS.note) return;
  for (const badge of item.badges) {
    const drawn = badge === 'capture' || badge === 'inject';
    context.font = `600 9px ${FONT}`;
    const width = drawn ? 18 : context.measureText(badge).width + 10;
    box(context, right - width, top, width, 14, 7);
    context.fillStyle = badge === 'capture' ? colours.bad : badge === 'inject' ? colours.warn : colours['panel-2'];
    context.fill();
    context.lineWidth = 1;
    context.strokeStyle = colours.line;
    context.stroke();
    if (drawn) {
      context.drawImage(sprite(badge, colours.canvas, 11 * zoom * scene.ratio), right - width + 3.5, top + 1.5, 11, 11);
    } else {
      context.fillStyle = colours.dim;
      context.fillText(badge, right - width + 5, top + 7.5);
    }
    right -= width + 3;
  }
}

/** The colour with which an item is marked, if it is. @param {Scene} scene @param {Item} item */
function markOf(scene, item) {
  if (scene.selected.has(item.id)) return colours.accent;
  const mark = scene.marks.get(item.id);
  if (mark) return colours[mark];
  return scene.hovered === item.id || scene.focused === item.id ? colours.dim : '';
}

/** @param {CanvasRenderingContext2D} context @param {number} x @param {number} y @param {number} width @param {number} height @param {number} radius */
function box(context, x, y, width, height, radius) {
  context.beginPath();
  context.roundRect(x, y, width, height, radius);
}

/** @type {Map<string, string>} */
const cuts = new Map();

/** Text that fits. @param {CanvasRenderingContext2D} context @param {string} text @param {number} room */
function cut(context, text, room) {
  // No glyph is wider than its font is high; most are half as wide.
  if (text.length * 5 < room) return text;
  const key = `${context.font}\0${Math.round(room)}\0${text}`;
  let found = cuts.get(key);
  if (found === undefined) {
    found = text;
    for (let length = text.length; length > 1 && context.measureText(found).width > room; length -= 1) {
      found = `${text.slice(0, length - 1)}…`;
    }
    if (cuts.size > 20_000) cuts.clear();
    cuts.set(key, found);
  }
  return found;
}
