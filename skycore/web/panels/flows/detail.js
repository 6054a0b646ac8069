/** One conversation: where it was seen, all fields, how it went over time, and its packets. */

import { bitRate, byteCount, count, duration, timeOfDay } from '../../lib/format.js';
import { download } from '../../lib/download.js';
import { Icon } from '../../lib/icons.js';
import { notice } from '../../lib/notice.js';
import { useStore } from '../../lib/store.js';
import { html, useMemo, useState } from '../../lib/ui.js';
import { ask as request, gremlin, quoted } from '../../server/api.js';
import { app, may, select, shown } from '../../state.js';
import { useAsked, wordsOf } from '../parts/asked.js';
import { Chart } from '../parts/chart.js';
import { Tabs } from '../parts/form.js';
import { Grid } from '../parts/grid.js';
import { Tree } from '../parts/tree.js';
import { bytesOf, decode, hexdump } from './decode.js';
import { narrow } from './query.js';

/** @typedef {import('./model.js').Flow} Flow */
/** @typedef {import('./model.js').Talk} Talk */
/** @typedef {{Timestamp: number, Index: number, Data: string, LinkType: number}} Packet */

const PLACES_AT_MOST = 200;
const PCAP = 'application/vnd.tcpdump.pcap';

/** @param {{talk: Talk}} props */
export function Detail({ talk }) {
  const [view, see] = useState('places');
  const [chosen, choose] = useState(talk.first.UUID);
  const flow = talk.flows.find(({ UUID }) => UUID === chosen) ?? talk.first;
  const kept = talk.flows.some(({ RawPacketsCaptured }) => RawPacketsCaptured);
  const views = /** @type {[string, string][]} */ ([
    ['places', talk.flows.length > 1 ? `Seen at (${talk.flows.length})` : 'Seen at'],
    ['fields', 'Fields'],
    ...(app.value.rights?.History ? [['time', 'Over time']] : []),
    ...(kept && may('capture', 'rawpackets') ? [['packets', 'Packets']] : []),
  ]);
  return html`<div class="stack">
    <${Tabs} label="About the flow" value=${view} set=${see} options=${views} />
    ${view === 'places' && html`<${Places} talk=${talk} chosen=${flow.UUID} choose=${choose} />`}
    ${view === 'fields' &&
    html`<div class="row">
        ${['TrackingID', 'L3TrackingID', 'CaptureID', 'Application'].map((key) => {
          const value = /** @type {any} */ (flow)[key];
          return value && html`<button key=${key} type="button" class="chip" onClick=${() => narrow({ key, test: '=', value })}>only ${key} ${value}</button>`;
        })}
      </div>
      <${Tree} value=${flow} label="Flow" open=${2} />`}
    ${view === 'time' && html`<${OverTime} flow=${flow} />`}
    ${view === 'packets' && html`<${Packets} flow=${talk.flows.find((one) => one.UUID === chosen && one.RawPacketsCaptured) ?? talk.flows.find((one) => one.RawPacketsCaptured)} />`}
  </div>`;
}

/** @param {{talk: Talk, chosen: string, choose: (uuid: string) => void}} props */
function Places({ talk, chosen, choose }) {
  const show = (/** @type {Flow} */ flow) => {
    const node = [...shown().nodes.values()].find((one) => one.Metadata.TID === flow.NodeTID);
    if (node) select([node.ID]);
  };
  return html`<${Grid}
    name="flow.places"
    label="Where the flow was seen"
    tools=${false}
    rows=${talk.flows.slice(0, PLACES_AT_MOST)}
    keyOf=${(/** @type {Flow} */ flow) => flow.UUID}
    onRow=${(/** @type {Flow} */ flow) => choose(flow.UUID)}
    kind=${(/** @type {Flow} */ flow) => flow.UUID === chosen && 'chosen'}
    columns=${[
      { id: 'At', title: 'Interface', value: (/** @type {Flow} */ flow) => flow.At?.Name ?? flow.NodeTID, show: (/** @type {Flow} */ flow) => html`<button type="button" class="linkish" onClick=${() => show(flow)}>${flow.At?.Name ?? flow.NodeTID ?? 'imported'}</button>` },
      { id: 'Namespace', title: 'In', value: (/** @type {Flow} */ flow) => flow.At?.Container ?? flow.At?.Namespace ?? flow.At?.Host },
      { id: 'A', title: 'From', value: (/** @type {Flow} */ flow) => `${flow.Network?.A ?? flow.Link?.A ?? ''}${flow.Transport ? `:${flow.Transport.A}` : ''}` },
      { id: 'B', title: 'To', value: (/** @type {Flow} */ flow) => `${flow.Network?.B ?? flow.Link?.B ?? ''}${flow.Transport ? `:${flow.Transport.B}` : ''}` },
      { id: 'AB', title: 'A→B', numeric: true, value: (/** @type {Flow} */ flow) => flow.Metric?.ABBytes, show: (/** @type {Flow} */ flow) => byteCount(flow.Metric?.ABBytes ?? 0) },
      { id: 'BA', title: 'B→A', numeric: true, value: (/** @type {Flow} */ flow) => flow.Metric?.BABytes, show: (/** @type {Flow} */ flow) => byteCount(flow.Metric?.BABytes ?? 0) },
      { id: 'RTT', title: 'RTT', numeric: true, value: (/** @type {Flow} */ flow) => flow.Metric?.RTT, show: (/** @type {Flow} */ flow) => flow.Metric?.RTT && roundTrip(flow.Metric.RTT) },
      { id: 'Start', title: 'From', value: (/** @type {Flow} */ flow) => flow.Start, show: (/** @type {Flow} */ flow) => timeOfDay(flow.Start) },
      { id: 'Long', title: 'For', numeric: true, value: (/** @type {Flow} */ flow) => flow.Last - flow.Start, show: (/** @type {Flow} */ flow) => duration(flow.Last - flow.Start) },
    ]}
  />`;
}

/** @param {number} nanoseconds */
export const roundTrip = (nanoseconds) => (nanoseconds < 1e6 ? `${Math.round(nanoseconds / 1e3)} µs` : `${(nanoseconds / 1e6).toFixed(1)} ms`);

/** Where everything is that is kept of a flow. @param {Flow} flow */
const pastOf = (flow) => `G.At(${flow.Last + 1}, ${Math.ceil((flow.Last - flow.Start) / 1000) + 120}).Flows().Has('UUID', ${quoted(flow.UUID)})`;

/** @param {{flow: Flow}} props */
function OverTime({ flow }) {
  const asked = useAsked(
    async (signal) => {
      const { result } = await gremlin(`${pastOf(flow)}.Metrics()`, signal);
      const metrics = /** @type {import('./model.js').Counters[]} */ ((result ?? []).flatMap((/** @type {any} */ one) => Object.values(one).flat()));
      return metrics.sort((one, other) => one.Last - other.Last);
    },
    [flow.UUID, flow.Last],
  );
  const drawn = useMemo(() => {
    const metrics = (asked.value ?? []).filter(({ Start, Last }) => Last > Start);
    const rate = (/** @type {'ABBytes' | 'BABytes'} */ key) => metrics.map((one) => ((one[key] ?? 0) * 8000) / (one.Last - one.Start));
    return { times: metrics.map(({ Last }) => Last), lines: [{ label: 'A→B', values: rate('ABBytes') }, { label: 'B→A', values: rate('BABytes') }] };
  }, [asked.value]);
  if (asked.error) return html`<p class="error">${asked.error}</p>`;
  if (asked.value && !drawn.times.length) return html`<p class="empty">It ended before its counters were sent a second time</p>`;
  return html`<${Chart} label="Bandwidth" times=${drawn.times} lines=${drawn.lines} unit=${bitRate} />`;
}

/** The packets are in the agent's table as long as the flow is; then in the store. @param {Flow} flow @param {AbortSignal} [signal] */
async function packetsOf(flow, signal) {
  const past = `${pastOf(flow)}.RawPackets()`;
  const queries = app.value.moment.mode === 'live' ? [`G.Flows().Has('UUID', ${quoted(flow.UUID)}).RawPackets()`, past] : [past];
  for (const query of queries) {
    const { result } = await gremlin(query, signal);
    const packets = /** @type {Packet[]} */ ((result ?? []).flatMap((/** @type {any} */ one) => Object.values(one).flat()).filter(Boolean));
    if (packets.length) return { query, packets };
  }
  return { query: past, packets: /** @type {Packet[]} */ ([]) };
}

/** @param {{flow: Flow | undefined}} props */
function Packets({ flow }) {
  useStore(app, (state) => state.moment);
  const asked = useAsked(async (signal) => (flow ? packetsOf(flow, signal) : null), [flow?.UUID]);
  const [open, setOpen] = useState('');
  const rows = useMemo(
    () => (asked.value?.packets ?? []).map((packet) => {
      const bytes = bytesOf(packet.Data);
      return { packet, bytes, ...decode(bytes, packet.LinkType) };
    }),
    [asked.value],
  );
  /** @typedef {typeof rows[number]} Row */
  const save = async () => {
    try {
      const response = await request('/api/topology', {
        method: 'POST',
        headers: { Accept: PCAP, 'Content-Type': 'application/json' },
        body: JSON.stringify({ GremlinQuery: asked.value?.query }),
      });
      download(`flow-${flow?.UUID}.pcap`, await response.blob());
    } catch (error) {
      notice(wordsOf(error), 'bad');
    }
  };
  if (asked.error) return html`<p class="error">${asked.error}</p>`;
  if (!asked.value) return html`<p class="empty">Asking …</p>`;
  const began = rows[0]?.packet.Timestamp ?? 0;
  return html`<${Grid}
    name="flow.packets"
    label="Packets that were kept"
    rows=${rows}
    keyOf=${(/** @type {Row} */ row) => String(row.packet.Index)}
    empty="No packet is left"
    open=${open}
    onRow=${(/** @type {Row} */ row) => setOpen(open === String(row.packet.Index) ? '' : String(row.packet.Index))}
    detail=${(/** @type {Row} */ row) => html`<pre class="hex" tabindex="0">${hexdump(row.bytes)}</pre>`}
    more=${html`<button type="button" class="button small" disabled=${!rows.length} onClick=${save}><${Icon} name="save" size=${14} /> pcap</button>`}
    columns=${[
      { id: 'Index', title: '#', numeric: true, value: (/** @type {Row} */ row) => row.packet.Index },
      { id: 'Time', title: 'Time', value: (/** @type {Row} */ row) => row.packet.Timestamp, show: (/** @type {Row} */ row) => `${timeOfDay(row.packet.Timestamp)} +${row.packet.Timestamp - began} ms` },
      { id: 'From', title: 'From', value: (/** @type {Row} */ row) => row.from },
      { id: 'To', title: 'To', value: (/** @type {Row} */ row) => row.to },
      { id: 'Layers', title: 'Layers', value: (/** @type {Row} */ row) => row.layers.join('/') },
      { id: 'About', title: 'About', value: (/** @type {Row} */ row) => row.about },
      { id: 'Size', title: 'Bytes', numeric: true, value: (/** @type {Row} */ row) => row.bytes.length, show: (/** @type {Row} */ row) => count(row.bytes.length) },
    ]}
  />`;
}
