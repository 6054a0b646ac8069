/**
 * What the worker is given: the visible items as a tree, children after their parents, and links between any two.
 * Each group is laid out by itself, innermost first, so that a change in one moves nothing within the others.
 */

/**
 * @typedef {object} Piece
 * @property {number} parent index; -1 at the top
 * @property {boolean} group
 * @property {number} w
 * @property {number} h
 * @property {number} rank
 * @property {string} name siblings that nothing else distinguishes stand in the order of their names
 * @property {number} x centre, relative to that of the parent; NaN: it has no place yet
 * @property {number} y
 * @property {boolean} pinned
 */
/** @typedef {{serial: number, how: 'layered' | 'force', pieces: Piece[], links: [number, number][]}} Job */
/** @typedef {{serial: number, places: Float64Array}} Done four numbers for each piece: x, y, w, h, of the whole picture */

export const PADDING = 18;
export const HEADER = 30;
export const GAP = { x: 22, y: 34 };
/** A group is at least as wide as its name. */
const NARROWEST = 170;

/** @typedef {{pieces: Piece[], members: number[], links: [number, number][]}} Level siblings, and the links between them (indexes) */

/**
 * @param {Job} job
 * @param {(level: Level, fresh: boolean) => void} arrange gives each member of a level its x and y
 * @returns {Float64Array}
 */
export function nest(job, arrange) {
  const { pieces } = job;
  /** @type {number[][]} */
  const members = pieces.map(() => []);
  /** @type {number[]} */
  const top = [];
  pieces.forEach((piece, index) => (piece.parent < 0 ? top : members[piece.parent]).push(index));
  const between = linksBySiblings(job);
  for (let index = pieces.length - 1; index >= 0; index -= 1) {
    if (pieces[index].group) fold(pieces, index, members[index], between.get(index) ?? [], arrange);
  }
  arrange({ pieces, members: top, links: between.get(-1) ?? [] }, true);
  const places = new Float64Array(pieces.length * 4);
  pieces.forEach((piece, index) => {
    const base = piece.parent < 0 ? [0, 0] : [places[piece.parent * 4], places[piece.parent * 4 + 1]];
    places.set([base[0] + piece.x, base[1] + piece.y, piece.w, piece.h], index * 4);
  });
  return places;
}

/**
 * Lay a group's members out, then take its size from them and move them so that its centre is theirs.
 * @param {Piece[]} pieces
 * @param {number} index
 * @param {number[]} members
 * @param {[number, number][]} links
 * @param {(level: Level, fresh: boolean) => void} arrange
 */
function fold(pieces, index, members, links, arrange) {
  const group = pieces[index];
  if (!members.length) return;
  arrange({ pieces, members, links }, false);
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const member of members) {
    const { x, y, w, h } = pieces[member];
    left = Math.min(left, x - w / 2);
    right = Math.max(right, x + w / 2);
    top = Math.min(top, y - h / 2);
    bottom = Math.max(bottom, y + h / 2);
  }
  group.w = Math.max(right - left + 2 * PADDING, NARROWEST);
  group.h = bottom - top + 2 * PADDING + HEADER;
  const [dx, dy] = [(left + right) / 2, (top + bottom) / 2 - HEADER / 2];
  for (const member of members) {
    pieces[member].x -= dx;
    pieces[member].y -= dy;
  }
}

/**
 * Each link between the two siblings that hold its ends, by their parent.
 * @param {Job} job
 * @returns {Map<number, [number, number][]>}
 */
function linksBySiblings({ pieces, links }) {
  const depths = new Int32Array(pieces.length);
  pieces.forEach((piece, index) => (depths[index] = piece.parent < 0 ? 0 : depths[piece.parent] + 1));
  /** @type {Map<number, [number, number][]>} */
  const found = new Map();
  for (let [a, b] of links) {
    while (depths[a] > depths[b]) a = pieces[a].parent;
    while (depths[b] > depths[a]) b = pieces[b].parent;
    while (pieces[a].parent !== pieces[b].parent) [a, b] = [pieces[a].parent, pieces[b].parent];
    if (a === b) continue;
    const parent = pieces[a].parent;
    const level = found.get(parent);
    if (level) level.push([a, b]);
    else found.set(parent, [[a, b]]);
  }
  return found;
}
