/**
 * Layers from top to bottom by rank, long ones wrapped; within a layer what is linked stands close.  What has a place
 * keeps its order, so that a newcomer moves its neighbours aside and nothing else.
 */

import { GAP } from './nesting.js';

/** @typedef {import('./nesting.js').Level} Level */
/** @typedef {import('./nesting.js').Piece} Piece */

const SWEEPS = 4;

/** @param {Level} level */
export function layered({ pieces, members, links }) {
  const free = members.filter((member) => !(pieces[member].pinned && !Number.isNaN(pieces[member].x)));
  /** @type {Map<number, number[]>} */
  const near = new Map(members.map((member) => [member, []]));
  for (const [a, b] of links) {
    near.get(a)?.push(b);
    near.get(b)?.push(a);
  }
  const layers = byRank(pieces, free);
  const order = ordered(pieces, layers, near);
  place(pieces, order);
}

/** @param {Piece[]} pieces @param {number[]} members @returns {number[][]} */
function byRank(pieces, members) {
  /** @type {Map<number, number[]>} */
  const layers = new Map();
  for (const member of members) {
    const layer = layers.get(pieces[member].rank);
    if (layer) layer.push(member);
    else layers.set(pieces[member].rank, [member]);
  }
  return [...layers.keys()].sort((one, other) => one - other).map((rank) => /** @type {number[]} */ (layers.get(rank)));
}

/** @param {Piece[]} pieces @param {number[][]} layers @param {Map<number, number[]>} near @returns {number[][]} */
function ordered(pieces, layers, near) {
  const known = layers.flat().some((member) => !Number.isNaN(pieces[member].x));
  /** Where along its layer each stands, from 0 to 1. @type {Map<number, number>} */
  const at = new Map();
  const byName = (/** @type {number} */ one, /** @type {number} */ other) =>
    pieces[one].name.localeCompare(pieces[other].name, 'en', { numeric: true });
  for (const layer of layers) {
    layer.sort(byName);
    layer.forEach((member, index) => at.set(member, (index + 0.5) / layer.length));
  }
  const middle = (/** @type {number} */ member) => {
    const beside = (near.get(member) ?? []).map((other) => at.get(other)).filter((one) => one !== undefined);
    return beside.length ? beside.reduce((sum, one) => sum + one, 0) / beside.length : at.get(member) ?? 0.5;
  };
  if (known) return layers.map((layer) => inserted(pieces, layer));
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    const way = sweep % 2 ? [...layers].reverse() : layers;
    for (const layer of way) {
      const wanted = new Map(layer.map((member) => [member, middle(member)]));
      layer.sort((one, other) => /** @type {number} */ (wanted.get(one)) - /** @type {number} */ (wanted.get(other)) || byName(one, other));
      layer.forEach((member, index) => at.set(member, (index + 0.5) / layer.length));
    }
  }
  return layers;
}

/** Newcomers by name among those that have a place, which keep their order. @param {Piece[]} pieces @param {number[]} layer sorted by name @returns {number[]} */
function inserted(pieces, layer) {
  const row = (/** @type {number} */ member) => Math.round(pieces[member].y / 8);
  const placed = layer
    .filter((member) => !Number.isNaN(pieces[member].x))
    .sort((one, other) => row(one) - row(other) || pieces[one].x - pieces[other].x);
  for (const member of layer) {
    if (!Number.isNaN(pieces[member].x)) continue;
    const name = pieces[member].name;
    const before = placed.findIndex((one) => pieces[one].name.localeCompare(name, 'en', { numeric: true }) > 0);
    placed.splice(before < 0 ? placed.length : before, 0, member);
  }
  return placed;
}

/** @param {Piece[]} pieces @param {number[][]} layers */
function place(pieces, layers) {
  const all = layers.flat();
  const area = all.reduce((sum, member) => sum + (pieces[member].w + GAP.x) * (pieces[member].h + GAP.y), 0);
  const widest = Math.max(0, ...all.map((member) => pieces[member].w));
  // Screens are wider than high.
  const limit = Math.max(widest, 6 * (148 + GAP.x), Math.sqrt(area * 2.1));
  let top = 0;
  for (const layer of layers) {
    for (const row of wrapped(pieces, layer, limit)) {
      const width = row.reduce((sum, member) => sum + pieces[member].w, 0) + GAP.x * (row.length - 1);
      const height = Math.max(...row.map((member) => pieces[member].h));
      let left = -width / 2;
      for (const member of row) {
        const piece = pieces[member];
        piece.x = left + piece.w / 2;
        piece.y = top + piece.h / 2;
        left += piece.w + GAP.x;
      }
      top += height + GAP.y;
    }
  }
}

/** @param {Piece[]} pieces @param {number[]} layer @param {number} limit @returns {number[][]} */
function wrapped(pieces, layer, limit) {
  const total = layer.reduce((sum, member) => sum + pieces[member].w + GAP.x, 0);
  // Rows of about the same length look better than a full one and a rest.
  const even = total / Math.ceil(total / limit);
  /** @type {number[][]} */
  const rows = [];
  let width = Infinity;
  for (const member of layer) {
    const need = pieces[member].w + GAP.x;
    if (width + need / 2 > even) {
      rows.push([]);
      width = 0;
    }
    rows[rows.length - 1].push(member);
    width += need;
  }
  return rows;
}
