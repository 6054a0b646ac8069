/** Links: one path for all that look alike, arrows and figures where there is room. */

import { colours } from './colours.js';

/** @typedef {import('./model.js').Link} Link */
/** @typedef {import('./model.js').Item} Item */
/** @typedef {import('./painter.js').Scene} Scene */
/** @typedef {{left: number, top: number, right: number, bottom: number}} Box */

/** Beyond so many, straight lines do. */
const CURVED = 1500;
const LABELLED = 300;
const FONT = '10px Inter, system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';
/** @type {Record<string, string>} */
const LOADS = { active: 'good', warning: 'warn', alert: 'bad' };
/** @type {Record<string, string>} */
const RELATIONS = { layer2: 'edge-2', ownership: 'edge', vlan: 'cyan', fabric: 'violet', netns: 'green' };

/** The colour of a relation in switches and lines. @param {string} relation */
export const relationColour = (relation) => RELATIONS[relation] ?? 'edge';

/**
 * Where a line from one item to another meets their borders.
 * @param {Item} a
 * @param {Item} b
 * @returns {[number, number, number, number]}
 */
export function ends(a, b) {
  const [dx, dy] = [b.x - a.x, b.y - a.y];
  const [from, to] = [share(a, dx, dy), share(b, dx, dy)];
  return [a.x + dx * from, a.y + dy * from, b.x - dx * to, b.y - dy * to];
}

/** @param {Item} item @param {number} dx @param {number} dy */
const share = (item, dx, dy) =>
  Math.min(0.5, dx ? item.w / 2 / Math.abs(dx) : Infinity, dy ? item.h / 2 / Math.abs(dy) : Infinity);

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Scene} scene
 * @param {Box} view
 * @param {(link: Link) => string} loadOf
 */
export function paintLinks(context, scene, view, loadOf) {
  const zoom = Math.min(1, scene.camera.zoom);
  /** @type {Map<string, Link[]>} */
  const styles = new Map();
  let seen = 0;
  for (const link of scene.links) {
    const { a, b } = link;
    if ((a.x < view.left && b.x < view.left) || (a.x > view.right && b.x > view.right)) continue;
    if ((a.y < view.top && b.y < view.top) || (a.y > view.bottom && b.y > view.bottom)) continue;
    seen += 1;
    const style = styleOf(scene, link, loadOf(link));
    const same = styles.get(style);
    if (same) same.push(link);
    else styles.set(style, [link]);
  }
  const curved = seen <= CURVED;
  for (const [style, links] of styles) {
    const [colour, width, alpha, dash] = style.split(' ');
    context.strokeStyle = colours[colour];
    context.globalAlpha = Number(alpha);
    context.lineWidth = Number(width) / zoom;
    context.setLineDash(dash === '0' ? [] : [Number(dash), Number(dash)]);
    context.lineDashOffset = dash === '9' ? -scene.time / 40 : 0;
    context.beginPath();
    for (const link of links) trace(context, link, curved);
    context.stroke();
  }
  context.setLineDash([]);
  context.globalAlpha = 1;
  if (scene.camera.zoom > 0.45 && seen <= LABELLED) {
    for (const [style, links] of styles) paintSigns(context, links, style);
  }
}

/** Colour, width, opacity, dash. @param {Scene} scene @param {Link} link @param {string} load */
function styleOf(scene, link, load) {
  const mark = scene.marks.get(link.id);
  const chosen = scene.selected.has(link.id) || scene.hovered === link.id;
  const weak = scene.bright !== null && !(scene.bright.has(link.a.id) && scene.bright.has(link.b.id));
  if (chosen) return 'accent 3 1 0';
  if (mark) return `${mark} 3 1 ${mark === 'path' ? 9 : 0}`;
  const colour = LOADS[load] ?? relationColour(link.relation);
  const width = load === 'alert' ? 3.5 : load === 'warning' ? 2.8 : load ? 2 : link.ids.length > 1 ? 2 : 1.3;
  return `${colour} ${width} ${weak ? 0.12 : link.relation === 'ownership' ? 0.5 : 0.85} ${link.relation === 'ownership' ? 4 : 0}`;
}

/** @param {CanvasRenderingContext2D} context @param {Link} link @param {boolean} curved */
function trace(context, { a, b }, curved) {
  if (!curved) {
    context.moveTo(a.x, a.y);
    context.lineTo(b.x, b.y);
    return;
  }
  const [x1, y1, x2, y2] = ends(a, b);
  const bend = (y2 - y1) / 2;
  context.moveTo(x1, y1);
  if (Math.abs(y2 - y1) < 30) context.lineTo(x2, y2);
  else context.bezierCurveTo(x1, y1 + bend, x2, y2 - bend, x2, y2);
}

/** Arrow heads, and what goes over links. @param {CanvasRenderingContext2D} context @param {Link[]} links @param {string} style */
function paintSigns(context, links, style) {
  const colour = colours[style.split(' ')[0]];
  for (const link of links) {
    const [x1, y1, x2, y2] = ends(link.a, link.b);
    const length = Math.hypot(x2 - x1, y2 - y1);
    if (length < 24) continue;
    if (link.directed) {
      const steep = Math.abs(y2 - y1) >= 30;
      arrow(context, x2, y2, steep ? 0 : (x2 - x1) / length, steep ? Math.sign(y2 - y1) : (y2 - y1) / length, colour);
    }
    const text = link.label || (link.ids.length > 1 ? `× ${link.ids.length}` : '');
    if (!text || length < 60) continue;
    const [x, y] = [(x1 + x2) / 2, (y1 + y2) / 2];
    context.font = FONT;
    context.textBaseline = 'middle';
    context.textAlign = 'center';
    const width = context.measureText(text).width + 10;
    context.fillStyle = colours.canvas;
    context.globalAlpha = 0.85;
    context.beginPath();
    context.roundRect(x - width / 2, y - 8, width, 16, 8);
    context.fill();
    context.globalAlpha = 1;
    context.fillStyle = link.label ? colour : colours.dim;
    context.fillText(text, x, y + 0.5);
    context.textAlign = 'left';
  }
}

/** @param {CanvasRenderingContext2D} context @param {number} x @param {number} y @param {number} dx @param {number} dy @param {string} colour */
function arrow(context, x, y, dx, dy, colour) {
  const size = 7;
  context.fillStyle = colour;
  context.beginPath();
  context.moveTo(x, y);
  context.lineTo(x - size * dx - size * 0.55 * dy, y - size * dy + size * 0.55 * dx);
  context.lineTo(x - size * dx + size * 0.55 * dy, y - size * dy - size * 0.55 * dx);
  context.closePath();
  context.fill();
}

/**
 * Whether a point is on a link's line, within some units.
 * @param {Link} link
 * @param {number} x
 * @param {number} y
 * @param {number} near
 */
export function touches(link, x, y, near) {
  const [x1, y1, x2, y2] = ends(link.a, link.b);
  if (x < Math.min(x1, x2) - near || x > Math.max(x1, x2) + near) return false;
  if (y < Math.min(y1, y2) - near || y > Math.max(y1, y2) + near) return false;
  const bend = Math.abs(y2 - y1) < 30 ? 0 : (y2 - y1) / 2;
  let [px, py] = [x1, y1];
  for (let step = 1; step <= 12; step += 1) {
    const t = step / 12;
    const u = 1 - t;
    const qx = bend ? u ** 3 * x1 + 3 * u * u * t * x1 + 3 * u * t * t * x2 + t ** 3 * x2 : x1 + (x2 - x1) * t;
    const qy = bend ? u ** 3 * y1 + 3 * u * u * t * (y1 + bend) + 3 * u * t * t * (y2 - bend) + t ** 3 * y2 : y1 + (y2 - y1) * t;
    if (toSegment(x, y, px, py, qx, qy) <= near) return true;
    [px, py] = [qx, qy];
  }
  return false;
}

/** @param {number} x @param {number} y @param {number} x1 @param {number} y1 @param {number} x2 @param {number} y2 */
function toSegment(x, y, x1, y1, x2, y2) {
  const [dx, dy] = [x2 - x1, y2 - y1];
  const along = Math.max(0, Math.min(1, ((x - x1) * dx + (y - y1) * dy) / (dx * dx + dy * dy || 1)));
  return Math.hypot(x - x1 - along * dx, y - y1 - along * dy);
}
