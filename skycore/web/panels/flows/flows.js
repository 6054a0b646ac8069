/** Flows: who talks to whom, over which interfaces, at the moment that is shown. */

import { byteCount, count, dateTime, duration, timeOfDay } from '../../lib/format.js';
import { Icon } from '../../lib/icons.js';
import { remember } from '../../lib/local.js';
import { useStore } from '../../lib/store.js';
import { html, useCallback, useEffect, useMemo, useState } from '../../lib/ui.js';
import { app, may } from '../../state.js';
import { wishes } from '../captures/wishes.js';
import { language, stepNamed } from '../language/suggest.js';
import { useAsked } from '../parts/asked.js';
import { Choice, Tabs } from '../parts/form.js';
import { Grid } from '../parts/grid.js';
import { dockPanel } from '../registry.js';
import { Detail, roundTrip } from './detail.js';
import { FilterBar } from './filter-bar.js';
import { endpoint, KEYS, nameOfEnd, placesOf, service, talks } from './model.js';
import { follow, forget } from './path.js';
import { ask, asking, flowsQuery, LIMITS, narrow, ORDERS, SPANS } from './query.js';
import { Matrix, TalkMap, Top } from './talkers.js';

/** @typedef {import('./model.js').Talk} Talk */

const GROUPS = /** @type {[string, string][]} */ ([['conversation', 'each conversation'], ['ends', 'who with whom'], ['TrackingID', 'each TrackingID'], ['L3TrackingID', 'each L3TrackingID'], ['flow', 'each place it was seen']]);
const VIEWS = /** @type {[string, string][]} */ ([['table', 'Flows'], ['top', 'Top talkers'], ['matrix', 'Matrix'], ['map', 'Map']]);
const REFRESHED = /** @type {[string, string][]} */ ([['0', 'by hand'], ['1', 'every 1 s'], ['5', 'every 5 s'], ['10', 'every 10 s'], ['20', 'every 20 s'], ['40', 'every 40 s']]);
const FINISHED = ['', 'nothing came', 'closed', 'reset'];

/** @param {Partial<typeof asking.value>} fields */
function choose(fields) {
  asking.set(fields);
  for (const [key, value] of Object.entries(fields)) if (['span', 'limit', 'group', 'every'].includes(key)) remember(`flows.${key}`, value);
}

function Flows() {
  const asked = useStore(asking, (value) => value);
  const moment = useStore(app, (state) => state.moment);
  const wish = useStore(wishes, (value) => value.flows);
  useEffect(() => {
    if (!wish) return;
    const [key, value] = wish.split('=');
    asking.set({ filters: [{ key, test: '=', value }], view: 'table' });
    wishes.set({ flows: '' });
  }, [wish]);
  useEffect(() => forget, []);
  const query = flowsQuery(asked, moment);
  const every = moment.mode === 'live' ? Number(asked.every) * 1000 : 0;
  const { value, error, busy, again } = useAsked((signal) => ask(query, signal), [query], every);
  const flows = useMemo(() => value?.flows ?? [], [value]);
  const mark = useCallback((/** @type {import('./model.js').Flow[]} */ some) => follow(some, asking.value.span), []);
  return html`<div class="panel flows">
    <div class="row tight">
      <${Tabs} label="View of the flows" value=${asked.view} set=${(/** @type {string} */ view) => choose({ view })} options=${VIEWS} />
      <span class="grow"></span>
      <${Choice} label="Time" value=${asked.span} options=${SPANS} set=${(/** @type {string} */ span) => choose({ span })} />
      <${Choice} label="First" value=${asked.order} options=${ORDERS} set=${(/** @type {string} */ order) => choose({ order })} />
      <${Choice} label="At most" value=${asked.limit} options=${LIMITS} set=${(/** @type {string} */ limit) => choose({ limit })} />
      <${Choice} label="Asked" value=${asked.every} options=${REFRESHED} set=${(/** @type {string} */ one) => choose({ every: one })} />
      <button type="button" class="button small" disabled=${busy} onClick=${again}>Ask again</button>
    </div>
    <${FilterBar} />
    ${moment.mode !== 'live' && html`<p class="warn-text">${asked.span === '0' ? 'Flows that were there' : 'Flows until'} ${dateTime(moment.at)}</p>`}
    ${error && html`<pre class="error" role="alert">${error}</pre>`}
    ${value?.gaps.length ? html`<p class="warn-text">History has ${value.gaps.length} gaps in this time.</p>` : null}
    ${asked.view === 'table' && html`<${Table} flows=${flows} group=${asked.group} mark=${mark} waiting=${busy && !value} />`}
    ${asked.view === 'top' && html`<${Top} flows=${flows} follow=${mark} />`}
    ${asked.view === 'matrix' && html`<${Matrix} flows=${flows} follow=${mark} />`}
    ${asked.view === 'map' && html`<${TalkMap} flows=${flows} follow=${mark} />`}
    ${!error && value && !flows.length && may('capture', 'read') && html`<p class="dim">Flows come from <button type="button" class="linkish" onClick=${() => app.set({ dock: 'captures' })}><${Icon} name="capture" size=${12} /> captures</button>.</p>`}
  </div>`;
}

/** @param {{flows: import('./model.js').Flow[], group: string, mark: (flows: import('./model.js').Flow[]) => void, waiting: boolean}} props */
function Table({ flows, group, mark, waiting }) {
  const [open, setOpen] = useState('');
  const rows = useMemo(() => talks(flows, KEYS[group] ?? KEYS.flow), [flows, group]);
  const last = (/** @type {Talk} */ talk) => Math.max(...talk.flows.map((flow) => flow.Last));
  const first = (/** @type {Talk} */ talk) => Math.min(...talk.flows.map((flow) => flow.Start));
  const field = (/** @type {string} */ id, /** @type {string} */ title, /** @type {(flow: import('./model.js').Flow) => unknown} */ value, more = {}) => ({ id, title, value: (/** @type {Talk} */ talk) => value(talk.first), rare: true, ...more });
  const end = (/** @type {Talk} */ talk, /** @type {'From' | 'To'} */ side) => (group === 'ends' ? nameOfEnd(talk.first, side) : endpoint(talk.first, side));
  const columns = [
    { id: 'From', title: 'From', value: (/** @type {Talk} */ talk) => end(talk, 'From'), show: (/** @type {Talk} */ talk) => html`<${Who} talk=${talk} side="From" text=${end(talk, 'From')} />` },
    { id: 'To', title: 'To', value: (/** @type {Talk} */ talk) => end(talk, 'To'), show: (/** @type {Talk} */ talk) => html`<${Who} talk=${talk} side="To" text=${end(talk, 'To')} />` },
    { id: 'Service', title: 'Service', value: (/** @type {Talk} */ talk) => service(talk.first) },
    { id: 'Sent', title: 'A→B', numeric: true, value: (/** @type {Talk} */ talk) => talk.sent, show: (/** @type {Talk} */ talk) => byteCount(talk.sent) },
    { id: 'Received', title: 'B→A', numeric: true, value: (/** @type {Talk} */ talk) => talk.received, show: (/** @type {Talk} */ talk) => byteCount(talk.received) },
    { id: 'Packets', title: 'Packets', numeric: true, value: (/** @type {Talk} */ talk) => talk.packets, show: (/** @type {Talk} */ talk) => count(talk.packets) },
    field('RTT', 'RTT', (flow) => flow.Metric?.RTT, { rare: false, numeric: true, show: (/** @type {Talk} */ talk) => talk.first.Metric?.RTT && roundTrip(talk.first.Metric.RTT) }),
    { id: 'Over', title: 'Over', value: (/** @type {Talk} */ talk) => placesOf(talk.flows).join(' → ') },
    { id: 'Last', title: 'Last packet', numeric: true, value: last, show: (/** @type {Talk} */ talk) => timeOfDay(last(talk)) },
    { id: 'Long', title: 'For', numeric: true, rare: true, value: (/** @type {Talk} */ talk) => last(talk) - first(talk), show: (/** @type {Talk} */ talk) => duration(last(talk) - first(talk)) },
    { id: 'Seen', title: 'Seen at', numeric: true, rare: true, value: (/** @type {Talk} */ talk) => talk.flows.length },
    field('Layers', 'Layers', (flow) => flow.LayersPath),
    field('Application', 'Application', (flow) => flow.Application),
    field('A', 'Address A', (flow) => flow.Network?.A ?? flow.Link?.A),
    field('B', 'Address B', (flow) => flow.Network?.B ?? flow.Link?.B),
    field('PortA', 'Port A', (flow) => flow.Transport?.A, { numeric: true }),
    field('PortB', 'Port B', (flow) => flow.Transport?.B, { numeric: true }),
    field('MACA', 'MAC A', (flow) => flow.Link?.A),
    field('MACB', 'MAC B', (flow) => flow.Link?.B),
    field('ProcessA', 'Process A', (flow) => flow.From?.Process),
    field('ProcessB', 'Process B', (flow) => flow.To?.Process),
    field('Finish', 'Ended', (flow) => FINISHED[flow.FinishType ?? 0]),
    field('Kept', 'Kept packets', (flow) => flow.RawPacketsCaptured, { numeric: true }),
    field('TrackingID', 'TrackingID', (flow) => flow.TrackingID),
    field('L3TrackingID', 'L3TrackingID', (flow) => flow.L3TrackingID),
    field('UUID', 'UUID', (flow) => flow.UUID),
  ];
  return html`<${Grid}
    key=${group}
    name="flows"
    label="Flows"
    rows=${rows}
    columns=${columns}
    keyOf=${(/** @type {Talk} */ talk) => talk.key}
    order=${{ by: 'Last', down: true }}
    onRow=${(/** @type {Talk} */ talk) => setOpen(open === talk.key ? '' : talk.key)}
    onPoint=${(/** @type {Talk | null} */ talk) => mark(talk?.flows ?? [])}
    open=${open}
    detail=${(/** @type {Talk} */ talk) => html`<${Detail} talk=${talk} />`}
    empty=${waiting ? 'Asking …' : 'No flows'}
    more=${html`<${Choice} label="A row is" value=${group} options=${GROUPS} set=${(/** @type {string} */ one) => choose({ group: one })} />`}
  />`;
}

/** An end; a click keeps only the flows of it. @param {{talk: Talk, side: 'From' | 'To', text: string}} props */
function Who({ talk, side, text }) {
  const end = talk.first[side];
  const key = end?.Pod ? 'Pod' : end?.Container ? 'Container' : end?.Namespace ? 'Namespace' : '';
  if (!key || !end) return text;
  const only = (/** @type {Event} */ event) => {
    event.stopPropagation();
    narrow({ key, test: '=', value: /** @type {any} */ (end)[key] });
  };
  return html`<button type="button" class="linkish" title=${`Only flows of ${/** @type {any} */ (end)[key]}`} onClick=${only}>${text}</button>`;
}

/** Whether this server has flows to ask for: it says so by the steps that it knows. */
let known = false;
app.on((now, before) => {
  if (now.phase !== 'in' || before.phase === 'in' || known || !may('topology', 'read')) return;
  void language().then((spoken) => {
    known = stepNamed(spoken, 'Flows') !== undefined && now.about?.Service === 'analyzer';
    // Panels are offered anew when rights are heard of.
    if (known) app.set({ rights: app.value.rights && { ...app.value.rights } });
  });
});

dockPanel({ id: 'flows', title: 'Flows', icon: 'flows', order: 10, key: 'w', when: () => known && may('topology', 'read'), component: Flows });
