/** Who talks to whom: the greatest talkers, a matrix between groups, and a map. */

import { byteCount, count } from '../../lib/format.js';
import { remember, remembered } from '../../lib/local.js';
import { html, useMemo, useState } from '../../lib/ui.js';
import { forceCollide, forceLink, forceManyBody, forceSimulation, forceX, forceY } from '../../vendor/d3-force.js';
import { Choice } from '../parts/form.js';
import { Grid } from '../parts/grid.js';
import { KEYS, matrix, nameOfEnd, placesOf, service, talks } from './model.js';
import { narrow } from './query.js';

/** @typedef {import('./model.js').Flow} Flow */
/** @typedef {import('./model.js').Talk} Talk */
/** @typedef {import('./model.js').Grouping} Grouping */
/** @typedef {{flows: Flow[], follow: (flows: Flow[]) => void}} Props */

const GROUPINGS = /** @type {[Grouping, string][]} */ ([['Container', 'container'], ['Namespace', 'namespace'], ['Pod', 'pod'], ['Service', 'service'], ['Host', 'host'], ['Process', 'process'], ['network', 'network']]);
const MATRIX_AT_MOST = 30;
const MAP_AT_MOST = 60;
const TICKS = 220;

/** @param {Flow[]} flows */
function useGrouping(flows) {
  const offered = GROUPINGS.filter(([by]) => by === 'network' || flows.some((flow) => flow.From?.[by] || flow.To?.[by]));
  const [chosen, choose] = useState(() => remembered('flows.grouping', /** @type {Grouping} */ ('Container')));
  const by = offered.some(([one]) => one === chosen) ? chosen : offered[0][0];
  const field = html`<${Choice} label="Groups are" value=${by} options=${offered} set=${(/** @type {Grouping} */ one) => (choose(one), remember('flows.grouping', one))} />`;
  return { by, field };
}

/** Keep only the flows between two groups, when these have names that can be asked for. @param {Grouping} by @param {string[]} groups */
function keep(by, groups) {
  for (const group of groups) {
    if (by === 'network') narrow({ key: 'Network', test: 'in', value: group });
    else if (!group.startsWith('host ')) narrow({ key: by, test: '=', value: group });
  }
}

/** @param {Props} props */
export function Top({ flows, follow }) {
  const rows = useMemo(() => talks(flows, KEYS.ends), [flows]);
  const most = Math.max(1, ...rows.map(({ sent, received }) => sent + received));
  return html`<${Grid}
    name="flows.top"
    label="Top talkers"
    rows=${rows}
    keyOf=${(/** @type {Talk} */ talk) => talk.key}
    order=${{ by: 'Volume', down: true }}
    onPoint=${(/** @type {Talk | null} */ talk) => follow(talk?.flows ?? [])}
    empty="No flows"
    columns=${[
      { id: 'From', title: 'From', value: (/** @type {Talk} */ talk) => nameOfEnd(talk.first, 'From') },
      { id: 'To', title: 'To', value: (/** @type {Talk} */ talk) => nameOfEnd(talk.first, 'To') },
      { id: 'Service', title: 'Service', value: (/** @type {Talk} */ talk) => service(talk.first) },
      {
        id: 'Volume',
        title: 'Both ways',
        numeric: true,
        value: (/** @type {Talk} */ talk) => talk.sent + talk.received,
        show: (/** @type {Talk} */ talk) => html`<span class="bar"><meter min="0" max=${most} value=${talk.sent + talk.received} aria-hidden="true"></meter>${byteCount(talk.sent + talk.received)}</span>`,
      },
      { id: 'Sent', title: 'Sent', numeric: true, value: (/** @type {Talk} */ talk) => talk.sent, show: (/** @type {Talk} */ talk) => byteCount(talk.sent) },
      { id: 'Received', title: 'Received', numeric: true, value: (/** @type {Talk} */ talk) => talk.received, show: (/** @type {Talk} */ talk) => byteCount(talk.received) },
      { id: 'Packets', title: 'Packets', numeric: true, value: (/** @type {Talk} */ talk) => talk.packets, show: (/** @type {Talk} */ talk) => count(talk.packets) },
      { id: 'Conversations', title: 'Conversations', numeric: true, value: (/** @type {Talk} */ talk) => new Set(talk.flows.map(KEYS.conversation)).size },
      { id: 'Over', title: 'Over', value: (/** @type {Talk} */ talk) => placesOf(talk.flows).join(' → ') },
    ]}
  />`;
}

/** @param {Props} props */
export function Matrix({ flows, follow }) {
  const { by, field } = useGrouping(flows);
  const { groups, cells } = useMemo(() => matrix(flows, by), [flows, by]);
  const shown = groups.slice(0, MATRIX_AT_MOST);
  const most = Math.max(1, ...[...cells.values()].map(({ bytes }) => bytes));
  const share = (/** @type {number} */ bytes) => Math.round(8 + 28 * (Math.log1p(bytes) / Math.log1p(most)));
  return html`<div class="stack">
    <div class="row">${field}<span class="dim">A row sends to the columns. ${groups.length > shown.length ? `The ${shown.length} groups with the most of ${groups.length}.` : ''}</span></div>
    ${!groups.length && html`<p class="empty">No flows</p>`}
    <div class="grid-scroll" tabindex="0" role="region" aria-label="Matrix">
      <table class="matrix" onMouseLeave=${() => follow([])}>
        <thead>
          <tr><td></td>${shown.map((to) => html`<th key=${to} scope="col"><span>${to}</span></th>`)}</tr>
        </thead>
        <tbody>
          ${shown.map(
            (from) =>
              html`<tr key=${from}>
                <th scope="row">${from}</th>
                ${shown.map((to) => {
                  const cell = cells.get(`${from}\0${to}`);
                  if (!cell) return html`<td key=${to}></td>`;
                  return html`<td key=${to} style=${{ background: `color-mix(in srgb, var(--accent) ${share(cell.bytes)}%, transparent)` }}>
                    <button
                      type="button"
                      aria-label=${`${from} sends ${byteCount(cell.bytes)} to ${to}: show these flows`}
                      onClick=${() => keep(by, [from, to])}
                      onMouseEnter=${() => follow(cell.flows)}
                      onFocus=${() => follow(cell.flows)}
                    >
                      ${byteCount(cell.bytes)}
                    </button>
                  </td>`;
                })}
              </tr>`,
          )}
        </tbody>
      </table>
    </div>
  </div>`;
}

/** @param {Props} props */
export function TalkMap({ flows, follow }) {
  const { by, field } = useGrouping(flows);
  const { groups, cells, total } = useMemo(() => matrix(flows, by), [flows, by]);
  const shown = groups.slice(0, MAP_AT_MOST);
  const lines = [...cells.values()].filter(({ from, to }) => from !== to && shown.includes(from) && shown.includes(to));
  const named = `${shown.join('\0')}|${lines.map(({ from, to }) => `${from}\0${to}`).sort().join('|')}`;
  // Groups keep their places while only the bytes change.
  const places = useMemo(() => {
    const at = new Map(shown.map((group, index) => [group, index]));
    const bodies = shown.map((_, index) => ({ x: Math.cos(index) * (40 + index * 8), y: Math.sin(index) * (40 + index * 8) }));
    const links = lines.map(({ from, to }) => ({ source: at.get(from) ?? 0, target: at.get(to) ?? 0 }));
    forceSimulation(bodies)
      .force('link', forceLink(links).distance(150).strength(0.2))
      .force('charge', forceManyBody().strength(-700))
      .force('collide', forceCollide(() => 46))
      .force('x', forceX(0).strength(0.04))
      .force('y', forceY(0).strength(0.12))
      .stop()
      .tick(TICKS);
    return new Map(shown.map((group, index) => [group, bodies[index]]));
  }, [named]);
  const most = Math.max(1, ...lines.map(({ bytes }) => bytes));
  const mostOfAll = Math.max(1, ...total.values());
  const radius = (/** @type {string} */ group) => 8 + 18 * Math.sqrt((total.get(group) ?? 0) / mostOfAll);
  const xs = [...places.values()].map(({ x }) => x);
  const ys = [...places.values()].map(({ y }) => y);
  const [wide, high] = [Math.max(...xs, 300) - Math.min(...xs, -300) + 180, Math.max(...ys, 120) - Math.min(...ys, -120) + 110];
  const box = [Math.min(...xs, -300) - 90, Math.min(...ys, -120) - 50, wide, high];
  const ofGroup = (/** @type {string} */ group) => [...cells.values()].filter(({ from, to }) => from === group || to === group).flatMap((cell) => cell.flows);
  return html`<div class="stack">
    <div class="row">${field}<span class="dim">${shown.length} groups; the wider a line, the more bytes went from one to the other.</span></div>
    ${!groups.length && html`<p class="empty">No flows</p>`}
    <svg class="talk-map" viewBox=${box.join(' ')} role="group" aria-label="Who talks to whom" onMouseLeave=${() => follow([])}>
      ${lines.map((cell) => {
        const [from, to] = [places.get(cell.from), places.get(cell.to)];
        if (!from || !to) return null;
        const [dx, dy] = [to.x - from.x, to.y - from.y];
        const long = Math.hypot(dx, dy) || 1;
        const bend = [(from.x + to.x) / 2 - (dy / long) * 22, (from.y + to.y) / 2 + (dx / long) * 22];
        return html`<path
          key=${`${cell.from}\0${cell.to}`}
          d=${`M${from.x} ${from.y}Q${bend[0]} ${bend[1]} ${to.x} ${to.y}`}
          style=${{ strokeWidth: `${1 + 7 * (Math.log1p(cell.bytes) / Math.log1p(most)) ** 2}px` }}
          onMouseEnter=${() => follow(cell.flows)}
          onClick=${() => keep(by, [cell.from, cell.to])}
        ><title>${`${cell.from} → ${cell.to}: ${byteCount(cell.bytes)}`}</title></path>
        <text class="bytes" x=${bend[0]} y=${bend[1]}>${byteCount(cell.bytes)}</text>`;
      })}
      ${shown.map((group) => {
        const place = places.get(group) ?? { x: 0, y: 0 };
        return html`<g
          key=${group}
          transform=${`translate(${place.x} ${place.y})`}
          role="button"
          tabindex="0"
          aria-label=${`${group}: ${byteCount(total.get(group) ?? 0)} sent and received; show its flows`}
          onMouseEnter=${() => follow(ofGroup(group))}
          onFocus=${() => follow(ofGroup(group))}
          onClick=${() => keep(by, [group])}
          onKeyDown=${(/** @type {KeyboardEvent} */ event) => event.key === 'Enter' && keep(by, [group])}
        >
          <circle r=${radius(group)} />
          <text y=${radius(group) + 13}>${group}</text>
        </g>`;
      })}
    </svg>
  </div>`;
}
