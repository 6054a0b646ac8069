/** Icons drawn once for each colour and size, so that a frame only copies them. */

import { PATHS } from '../lib/icons.js';
import { palette } from './colours.js';

/** @type {Map<string, OffscreenCanvas>} */
const sprites = new Map();
/** @type {Map<string, Path2D>} */
const shapes = new Map();
let drawnWith = 0;

/** @param {string} name */
export function shapeOf(name) {
  let shape = shapes.get(name);
  if (!shape) {
    shape = new Path2D(PATHS[name] ?? PATHS.unknown);
    shapes.set(name, shape);
  }
  return shape;
}

/**
 * @param {string} name
 * @param {string} colour
 * @param {number} pixels of the screen
 * @returns {OffscreenCanvas}
 */
export function sprite(name, colour, pixels) {
  if (drawnWith !== palette) {
    sprites.clear();
    drawnWith = palette;
  }
  const size = Math.max(8, Math.ceil(pixels / 4) * 4);
  const key = `${name} ${colour} ${size}`;
  let found = sprites.get(key);
  if (!found) {
    found = new OffscreenCanvas(size, size);
    const context = /** @type {OffscreenCanvasRenderingContext2D} */ (found.getContext('2d'));
    context.scale(size / 24, size / 24);
    context.strokeStyle = colour;
    context.lineWidth = 1.7;
    context.lineCap = 'round';
    context.lineJoin = 'round';
    context.stroke(shapeOf(name));
    sprites.set(key, found);
  }
  return found;
}
