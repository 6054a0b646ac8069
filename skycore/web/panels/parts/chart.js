/** Lines over time, drawn by uPlot (https://github.com/leeoniya/uPlot). */

import { timeOfDay } from '../../lib/format.js';
import { useStore } from '../../lib/store.js';
import { html, useEffect, useRef, useState } from '../../lib/ui.js';
import { app } from '../../state.js';
import uPlot from '../../vendor/uplot.js';

/**
 * @typedef {object} Line
 * @property {string} label
 * @property {(number | null)[]} values one for each time
 */

/** Colours of lines, as names of styles in `style/panels.css`. */
const COLOURS = ['--line-1', '--line-2', '--line-3', '--line-4', '--line-5', '--line-6'];

/**
 * @param {{label: string, times: number[], lines: Line[], unit: (value: number) => string, height?: number,
 *   from?: number, to?: number}} props times in milliseconds; `from`, `to`: what is shown, else all of them
 */
export function Chart({ label, times, lines, unit, height = 150, from, to }) {
  const place = useRef(/** @type {HTMLElement | null} */ (null));
  const plot = useRef(/** @type {uPlot | null} */ (null));
  const [at, point] = useState(/** @type {number | null} */ (null));
  const theme = useStore(app, (state) => state.theme);
  const names = lines.map((line) => line.label).join('\0');
  const format = useRef(unit);
  format.current = unit;

  useEffect(() => {
    const element = /** @type {HTMLElement} */ (place.current);
    const style = getComputedStyle(document.documentElement);
    const colour = (/** @type {string} */ name) => style.getPropertyValue(name).trim() || '#888';
    const axis = { stroke: colour('--dim'), grid: { stroke: colour('--line'), width: 1 }, ticks: { stroke: colour('--line'), width: 1 }, font: '11px sans-serif' };
    const made = new uPlot(
      {
        width: Math.max(120, element.clientWidth),
        height,
        ms: 1,
        legend: { show: false },
        cursor: { y: false, points: { size: 5 } },
        scales: { x: { time: true }, y: { range: (_, low, high) => [Math.min(0, low ?? 0), Math.max(high ?? 1, 1) * 1.05] } },
        axes: [
          { ...axis, size: 28, space: 70, values: (_, splits) => splits.map(timeOfDay) },
          { ...axis, size: 70, values: (_, splits) => splits.map((split) => format.current(split)) },
        ],
        series: [
          {},
          ...names.split('\0').map((name, index) => ({
            label: name,
            stroke: colour(COLOURS[index % COLOURS.length]),
            width: 1.5,
            spanGaps: false,
            points: { size: 4 },
          })),
        ],
        hooks: { setCursor: [(self) => point(self.cursor.idx ?? null)] },
      },
      [[], ...names.split('\0').map(() => [])],
      element,
    );
    plot.current = made;
    const watch = new ResizeObserver(() => made.setSize({ width: Math.max(120, element.clientWidth), height }));
    watch.observe(element);
    return () => {
      watch.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [names, theme, height]);

  useEffect(() => {
    plot.current?.setData([times, ...lines.map((line) => line.values)], false);
    const low = from ?? times[0] ?? Date.now() - 1;
    const high = to ?? times.at(-1) ?? Date.now();
    plot.current?.setScale('x', { min: low, max: Math.max(high, low + 1) });
  }, [times, lines, from, to, theme, names]);

  const index = at ?? times.length - 1;
  return html`<figure class="chart" role="img" aria-label=${`${label}: ${spoken(lines, times, unit)}`}>
    <figcaption>
      <strong>${label}</strong>
      ${lines.map(
        (line, number) =>
          html`<span key=${line.label} class=${`chart-line line-${(number % COLOURS.length) + 1}`}>
            ${line.label} <b>${line.values[index] === undefined || line.values[index] === null ? '–' : unit(/** @type {number} */ (line.values[index]))}</b>
          </span>`,
      )}
      <span class="grow"></span>
      <span class="dim">${times[index] === undefined ? '' : timeOfDay(times[index])}</span>
    </figcaption>
    <div ref=${place}></div>
  </figure>`;
}

/**
 * The newest value of each line, for those who do not see it.
 * @param {Line[]} lines
 * @param {number[]} times
 * @param {(value: number) => string} unit
 */
function spoken(lines, times, unit) {
  const last = times.length - 1;
  if (last < 0) return 'nothing measured';
  return lines.map((line) => `${line.label} ${line.values[last] === null ? 'unknown' : unit(/** @type {number} */ (line.values[last]))}`).join(', ');
}
