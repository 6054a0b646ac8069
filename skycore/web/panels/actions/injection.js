/** Injecting packets, and seeing how far they come. */

import { count } from '../../lib/format.js';
import { Icon } from '../../lib/icons.js';
import { classes, html, useEffect, useState } from '../../lib/ui.js';
import { quoted, send } from '../../server/api.js';
import { app, may, overlay, select, shown } from '../../state.js';
import { placesOf } from '../flows/model.js';
import { mark, unmark } from '../flows/path.js';
import { ask, asking } from '../flows/query.js';
import { useAsked } from '../parts/asked.js';
import { Choosing } from '../parts/choosing.js';
import { Choice, Field, useSending } from '../parts/form.js';
import { Grid } from '../parts/grid.js';
import { placed, useFields, useObjects } from '../parts/objects.js';
import { dockPanel } from '../registry.js';

/** @typedef {import('../flows/model.js').Flow} Flow */
/**
 * @typedef {{UUID: string, Src: string, Dst: string, SrcIP: string, DstIP: string, Type: string, Count: number, Interval: number, DstPort: number,
 *   TrackingIDs?: string[], L3TrackingIDs?: string[], Nodes?: Record<string, any>[] | Record<string, any>}} Injection
 */

const NAMESPACE = 'OnDemandPacketInjectionNotification';
const TYPES = /** @type {[string, string][]} */ ([['icmp4', 'ICMP echo, IPv4'], ['icmp6', 'ICMP echo, IPv6'], ['tcp4', 'TCP SYN, IPv4'], ['tcp6', 'TCP SYN, IPv6'], ['udp4', 'UDP, IPv4'], ['udp6', 'UDP, IPv6']]);
const MODES = /** @type {[string, string][]} */ ([['unique', 'one for each node'], ['random', 'another for each packet']]);
const OVERLAY = 'injection';
const FOLLOWED_EVERY = 2000;
const BEGIN = { Src: '', Dst: '', Type: 'icmp4', Count: '5', Interval: '500', SrcIP: '', DstIP: '', SrcMAC: '', DstMAC: '', SrcPort: '', DstPort: '', ICMPID: '', TTL: '64', Payload: '', IncrementPayload: '', Mode: 'unique' };
const NUMBERS = ['Count', 'Interval', 'SrcPort', 'DstPort', 'ICMPID', 'TTL', 'IncrementPayload'];
/** Milliseconds for which an injection is kept after its last packet. */
const KEPT = 600_000;

/** @param {{done: (made: Injection) => void, close: () => void}} props */
function InjectionForm({ done, close }) {
  const [form, change] = useState(BEGIN);
  const [pcap, setPcap] = useState(/** @type {{name: string, data: string} | null} */ (null));
  const fields = useFields('/api/injectpacket');
  const set = (/** @type {keyof typeof BEGIN} */ field) => (/** @type {string} */ value) => change((before) => ({ ...before, [field]: value }));
  const sending = useSending(async () => {
    const said = Object.entries(form).filter(([, value]) => value !== '');
    const body = Object.fromEntries(said.map(([key, value]) => [key, NUMBERS.includes(key) ? Number(value) : value]));
    const lives = Math.ceil((Number(form.Interval) * Number(form.Count) + KEPT) / 1000);
    done(await send('POST', '/api/injectpacket', { ...body, ...(pcap && { Pcap: pcap.data }) }, { 'X-Resource-TTL': `${lives}s` }));
  });
  const wrong = placed(sending.error, Object.keys(fields ?? {}));
  const field = (/** @type {keyof typeof BEGIN} */ key, /** @type {string} */ label, more = {}) =>
    fields && key in fields && html`<${Field} key=${key} label=${label} value=${form[key]} set=${set(key)} type=${NUMBERS.includes(key) ? 'number' : 'text'} min=${0} error=${wrong.field === key ? wrong.text : ''} ...${more} />`;
  const read = async (/** @type {any} */ event) => {
    const [file] = event.target.files;
    if (!file) return setPcap(null);
    const bytes = new Uint8Array(await file.arrayBuffer());
    let text = '';
    for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
    setPcap({ name: file.name, data: btoa(text) });
  };
  const ports = /^(tcp|udp)/.test(form.Type);
  return html`<form class="form" aria-label="New injection" onSubmit=${sending.send}>
    <div class="halves">
      <${Choosing} label="Send from (Gremlin)" query=${form.Src} set=${set('Src')} mark="inject-from" error=${wrong.field === 'Src' ? wrong.text : ''} />
      <${Choosing} label="Send to (Gremlin)" query=${form.Dst} set=${set('Dst')} mark="inject-to" error=${wrong.field === 'Dst' ? wrong.text : ''} />
    </div>
    <div class="fields">
      <${Choice} label="What" value=${form.Type} set=${set('Type')} options=${TYPES} />
      ${field('Count', 'Packets')} ${field('Interval', 'Milliseconds between')} ${field('DstIP', 'To address', { hint: 'else that of the node' })}
      ${ports && field('DstPort', 'To port')} ${!ports && field('ICMPID', 'ICMP id')}
    </div>
    <details>
      <summary>More options</summary>
      <div class="fields">
        ${field('SrcIP', 'From address')} ${field('SrcMAC', 'From MAC')} ${field('DstMAC', 'To MAC')} ${ports && field('SrcPort', 'From port')} ${field('TTL', 'TTL')}
        ${field('Payload', 'Payload')} ${field('IncrementPayload', 'Letters more each time')}
        <${Choice} label="ICMP id or port" value=${form.Mode} set=${set('Mode')} options=${MODES} />
        ${fields && 'Pcap' in fields && html`<label class="field"><span>Frames of a recording (pcap)</span><input class="input" type="file" accept=".pcap,.pcapng,.cap" onChange=${read} /></label>`}
      </div>
    </details>
    ${sending.error && !wrong.field && html`<pre class="error" role="alert">${wrong.text}</pre>`}
    <div class="row">
      <button type="submit" class="button primary" disabled=${sending.busy || !form.Src.trim()}>${sending.busy ? 'Sending …' : 'Send'}</button>
      <button type="button" class="button" onClick=${close}>Close</button>
    </div>
  </form>`;
}

function Injections() {
  const { objects, error, again, remove } = useObjects('injectpacket', NAMESPACE);
  const [making, make] = useState(false);
  const [open, setOpen] = useState('');
  useEffect(() => () => unmark(OVERLAY), []);
  const list = /** @type {Injection[]} */ (objects ?? []);
  const writable = may('injectpacket', 'write');
  const nodes = (/** @type {Injection} */ one) => Object.values(one.Nodes ?? {});
  return html`<div class="panel">
    ${making &&
    html`<${InjectionForm}
      close=${() => make(false)}
      done=${(/** @type {Injection} */ made) => {
        make(false);
        setOpen(made.UUID);
        again();
      }}
    />`}
    ${error && html`<p class="error">${error}</p>`}
    <${Grid}
      name="injections"
      label="Injections"
      rows=${list}
      keyOf=${(/** @type {Injection} */ one) => one.UUID}
      empty=${objects ? 'No injections' : 'Asking …'}
      open=${open}
      onRow=${(/** @type {Injection} */ one) => setOpen(open === one.UUID ? '' : one.UUID)}
      detail=${(/** @type {Injection} */ one) => html`<${Way} injection=${one} remove=${writable ? remove : null} />`}
      more=${writable && !making ? html`<button type="button" class="button small primary" onClick=${() => make(true)}><${Icon} name="inject" size=${14} /> New injection</button>` : null}
      columns=${[
        { id: 'Type', title: 'What', value: (/** @type {Injection} */ one) => one.Type },
        { id: 'Src', title: 'From', value: (/** @type {Injection} */ one) => one.Src, show: (/** @type {Injection} */ one) => html`<code>${one.Src}</code>` },
        { id: 'Dst', title: 'To', value: (/** @type {Injection} */ one) => one.DstIP || one.Dst, show: (/** @type {Injection} */ one) => html`<code>${one.DstIP || one.Dst}</code>` },
        { id: 'State', title: 'State', value: (/** @type {Injection} */ one) => [...new Set(nodes(one).map((node) => node.State))].join(', ') },
        { id: 'Sent', title: 'Sent', numeric: true, value: (/** @type {Injection} */ one) => nodes(one).reduce((sum, node) => sum + (node.PacketCount ?? 0), 0), show: (/** @type {Injection} */ one) => count(nodes(one).reduce((sum, node) => sum + (node.PacketCount ?? 0), 0)) },
        { id: 'Count', title: 'Of', numeric: true, value: (/** @type {Injection} */ one) => one.Count || 1 },
        { id: 'Error', title: 'Error', value: (/** @type {Injection} */ one) => nodes(one).map((node) => node.Error).filter(Boolean).join('; ') },
        { id: 'UUID', title: 'UUID', rare: true, value: (/** @type {Injection} */ one) => one.UUID },
      ]}
    />
  </div>`;
}

/**
 * Flows that the injected packets are part of, behind routers, too.
 * @param {Injection} injection
 * @param {AbortSignal} signal
 * @returns {Promise<Flow[]>}
 */
async function flowsOf(injection, signal) {
  const ids = (/** @type {string} */ key, /** @type {string[]} */ values) => `${quoted(key)}, Within(${values.map(quoted).join(', ')})`;
  const { TrackingIDs = [], L3TrackingIDs = [] } = injection;
  if (!TrackingIDs.length && !L3TrackingIDs.length) return [];
  const found = [];
  // Short ones have left the agents' tables; the store has them.
  for (const graph of ['G', ...(app.value.rights?.History ? ['G.At(NOW, 900)'] : [])]) {
    const near = await ask(`${graph}.Flows().HasEither(${ids('TrackingID', TrackingIDs)}, ${ids('L3TrackingID', L3TrackingIDs)}).Limit(500)`, signal);
    found.push(...near.flows);
  }
  return [...new Map(found.map((flow) => [flow.UUID, flow])).values()];
}

/** @param {{injection: Injection, remove: ((injection: any) => void) | null}} props */
function Way({ injection, remove }) {
  const named = [...(injection.TrackingIDs ?? []), ...(injection.L3TrackingIDs ?? [])].join();
  const { value, error } = useAsked((signal) => flowsOf(injection, signal), [injection.UUID, named], FOLLOWED_EVERY);
  const flows = value ?? [];
  const uuids = flows.map(({ UUID }) => UUID).sort().join();
  useEffect(() => {
    if (flows.length) mark(flows, OVERLAY);
    return () => overlay(OVERLAY, null);
  }, [uuids]);
  const places = placesOf(flows);
  const answered = flows.some((flow) => (flow.Metric?.BAPackets ?? 0) > 0);
  const show = () => {
    asking.set({ filters: (injection.L3TrackingIDs ?? []).map((id) => ({ key: 'L3TrackingID', test: '=', value: id })), view: 'table', span: '600' });
    app.set({ dock: 'flows' });
  };
  const nodes = () => {
    const tids = new Set(flows.map(({ NodeTID }) => NodeTID));
    select([...shown().nodes.values()].filter((node) => tids.has(node.Metadata.TID)).map(({ ID }) => ID));
  };
  return html`<div class="stack">
    ${error && html`<p class="error">${error}</p>`}
    <p class="way" role="status">
      ${flows.length
        ? html`<span class="chip good">seen at ${places.length} ${places.length === 1 ? 'place' : 'places'}</span> <b>${places.join(' → ')}</b>
            <span class=${classes('chip', answered ? 'good' : 'warn')}>${answered ? 'answered' : 'no answer seen'}</span>`
        : html`<span class="dim">${value ? 'No capture has seen its packets yet; captures on the way show where they come through.' : 'Looking for its packets …'}</span>`}
    </p>
    <div class="row">
      <button type="button" class="button small" disabled=${!flows.length} onClick=${show}><${Icon} name="flows" size=${14} /> Its flows</button>
      <button type="button" class="button small" disabled=${!flows.length} onClick=${nodes}>Select these interfaces</button>
      ${remove && html`<button type="button" class="button small danger" onClick=${() => remove(injection)}>Delete the injection</button>`}
    </div>
  </div>`;
}

dockPanel({ id: 'injections', title: 'Injection', icon: 'inject', order: 25, key: 'i', when: () => may('injectpacket', 'read'), component: Injections });
