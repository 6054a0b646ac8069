/** Draws the time line. */

import { timeOfDay } from '../lib/format.js';

/** @typedef {import('../state.js').Moment} Moment */
/**
 * @typedef {object} Line
 * @property {number} start
 * @property {number} end
 * @property {import('./timeline.js').Density | null} density
 * @property {Moment} moment
 * @property {[number, number] | null} drag
 * @property {Record<string, string>} colours
 */

const TICKS = [6e4, 3e5, 6e5, 18e5, 36e5, 3 * 36e5, 6 * 36e5, 864e5, 7 * 864e5];
const ROOM = 90;
const FOOT = 13;

/** @param {HTMLCanvasElement} canvas @param {Line} line */
export function paintLine(canvas, line) {
  const { start, end, density, moment, drag, colours } = line;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  const ratio = Math.min(2, window.devicePixelRatio || 1);
  [canvas.width, canvas.height] = [Math.max(1, width * ratio), Math.max(1, height * ratio)];
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
  context.scale(ratio, ratio);
  const at = (/** @type {number} */ time) => ((time - start) / (end - start)) * width;
  const floor = height - FOOT;
  if (density) {
    const most = Math.max(1, ...density.Changes);
    const part = (density.End - density.Start) / density.Changes.length;
    context.fillStyle = colours.blue;
    density.Changes.forEach((count, index) => {
      if (!count) return;
      // By the logarithm: one change among thousands must not vanish.
      const tall = Math.max(2, (Math.log1p(count) / Math.log1p(most)) * (floor - 4));
      const left = at(density.Start + index * part);
      context.fillRect(left, floor - tall, Math.max(1, at(density.Start + (index + 1) * part) - left - 1), tall);
    });
    context.fillStyle = colours.bad;
    for (const gap of density.Gaps) {
      const left = Math.max(0, at(gap.Start));
      context.globalAlpha = 0.3;
      context.fillRect(left, 0, Math.max(2, Math.min(width, at(gap.End)) - left), floor);
    }
    context.globalAlpha = 1;
  }
  ticks(context, line, at, width, floor);
  const pair = drag ?? (moment.mode === 'compare' ? [moment.from, moment.at] : null);
  if (pair) {
    context.globalAlpha = 0.22;
    context.fillStyle = colours.accent;
    context.fillRect(Math.min(at(pair[0]), at(pair[1])), 0, Math.abs(at(pair[1]) - at(pair[0])), floor);
    context.globalAlpha = 1;
  }
  const marks = pair ?? (moment.mode === 'past' ? [moment.at] : [Math.min(Date.now(), end)]);
  for (const time of marks) {
    const x = Math.max(1, Math.min(width - 2, at(time)));
    context.fillStyle = moment.mode === 'live' && !drag ? colours.good : colours.accent;
    context.fillRect(x - 1, 0, 2, floor);
    context.beginPath();
    context.arc(x, 4, 4, 0, 2 * Math.PI);
    context.fill();
  }
}

/** @param {CanvasRenderingContext2D} context @param {Line} line @param {(time: number) => number} at @param {number} width @param {number} floor */
function ticks(context, { start, end, colours }, at, width, floor) {
  const wanted = ((end - start) / width) * ROOM;
  const step = TICKS.find((one) => one >= wanted) ?? TICKS[TICKS.length - 1];
  const zone = new Date(start).getTimezoneOffset() * 6e4;
  context.fillStyle = colours.line;
  context.fillRect(0, floor, width, 1);
  context.font = '10px system-ui, "DejaVu Sans", sans-serif';
  context.textBaseline = 'alphabetic';
  for (let time = Math.ceil((start - zone) / step) * step + zone; time <= end; time += step) {
    const x = at(time);
    context.fillStyle = colours.line;
    context.fillRect(x, floor, 1, 4);
    context.fillStyle = colours.dim;
    const date = new Date(time);
    const text = step >= 864e5 ? `${date.getDate()}.${date.getMonth() + 1}.` : timeOfDay(time).slice(0, 5);
    context.fillText(text, Math.min(x + 3, width - 30), floor + 11);
  }
}
