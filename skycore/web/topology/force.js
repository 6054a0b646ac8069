/** Siblings as bodies that push each other away and are held together by their links (d3-force). */

import {
  forceCollide, forceLink, forceManyBody, forceSimulation, forceX, forceY,
} from '../vendor/d3-force.js';

/** @typedef {import('./nesting.js').Level} Level */
/** @typedef {import('../vendor/d3-force.js').Body & {piece: import('./nesting.js').Piece, radius: number}} Sibling */

/** @param {Level} level */
export function force({ pieces, members, links }) {
  const index = new Map(members.map((member, place) => [member, place]));
  const known = members.filter((member) => !Number.isNaN(pieces[member].x)).length;
  const bodies = members.map((member, place) => bodyOf(pieces[member], place));
  const springs = links.map(([a, b]) => ({
    source: /** @type {number} */ (index.get(a)),
    target: /** @type {number} */ (index.get(b)),
  }));
  const spread = forceManyBody();
  spread.strength((/** @type {Sibling} */ body) => -4 * body.radius);
  spread.distanceMax(1500);
  const springy = forceLink(springs);
  springy.distance((/** @type {any} */ link) => link.source.radius + link.target.radius + 24);
  // What has its place mostly stays there.
  const settled = known / Math.max(1, members.length);
  const simulation = forceSimulation(bodies)
    .stop()
    .randomSource(seeded())
    .force('charge', spread)
    .force('link', springy)
    .force('collide', forceCollide((body) => body.radius))
    .force('x', forceX(0))
    .force('y', forceY(0))
    .alpha(settled > 0.6 ? 0.15 : 1);
  simulation.tick(Math.max(20, Math.min(settled > 0.6 ? 60 : 260, Math.round(260_000 / members.length))));
  separate(bodies);
  for (const body of bodies) {
    body.piece.x = body.x;
    body.piece.y = body.y;
  }
}

/** @param {import('./nesting.js').Piece} piece @param {number} place @returns {Sibling} */
function bodyOf(piece, place) {
  const radius = Math.hypot(piece.w, piece.h) / 2 + 6;
  // A spiral, as d3 begins, in the size of these bodies.
  const angle = place * 2.399963;
  const far = radius * Math.sqrt(place + 0.5);
  const x = Number.isNaN(piece.x) ? far * Math.cos(angle) : piece.x;
  const y = Number.isNaN(piece.x) ? far * Math.sin(angle) : piece.y;
  return { x, y, radius, piece, fx: piece.pinned ? x : null, fy: piece.pinned ? y : null };
}

/** Boxes that still lie over each other are moved apart along the shorter way. @param {Sibling[]} bodies */
function separate(bodies) {
  if (bodies.length > 1500) return;
  for (let round = 0; round < 12; round += 1) {
    let moved = false;
    const sorted = [...bodies].sort((one, other) => one.x - one.piece.w / 2 - (other.x - other.piece.w / 2));
    sorted.forEach((one, place) => {
      for (let next = place + 1; next < sorted.length; next += 1) {
        const other = sorted[next];
        if (other.x - other.piece.w / 2 > one.x + one.piece.w / 2 + 8) break;
        moved = push(one, other) || moved;
      }
    });
    if (!moved) return;
  }
}

/** @param {Sibling} one @param {Sibling} other */
function push(one, other) {
  const dx = (one.piece.w + other.piece.w) / 2 + 8 - Math.abs(one.x - other.x);
  const dy = (one.piece.h + other.piece.h) / 2 + 8 - Math.abs(one.y - other.y);
  if (dx <= 0 || dy <= 0) return false;
  const along = dx < dy ? 'x' : 'y';
  const way = ((one[along] < other[along] ? -1 : 1) * Math.min(dx, dy)) / 2;
  if (one.piece.pinned && other.piece.pinned) return false;
  if (!one.piece.pinned) one[along] += other.piece.pinned ? 2 * way : way;
  if (!other.piece.pinned) other[along] -= one.piece.pinned ? 2 * way : way;
  return true;
}

/** The same picture for the same graph. */
function seeded() {
  let state = 1;
  return () => {
    state = (1664525 * state + 1013904223) % 4294967296;
    return state / 4294967296;
  };
}
