/** Making a capture. */

import { html, useEffect, useState } from '../../lib/ui.js';
import { gremlin, quoted, send } from '../../server/api.js';
import { may } from '../../state.js';
import { useAsked, useRested } from '../parts/asked.js';
import { Choosing } from '../parts/choosing.js';
import { Choice, Field, Tick, useSending } from '../parts/form.js';
import { placed, useFields } from '../parts/objects.js';

/** @typedef {import('../../lib/types.js').Node} Node */

/** Kinds of captures by types of nodes, the first when none is named (docs/captures.md). @type {Record<string, string[]>} */
const TYPES = { ovsbridge: ['ovssflow', 'pcapsocket', 'ovsnetflow'], ovsport: ['ovsmirror'], dpdkport: ['dpdk'] };
const INTERFACE = ['afpacket', 'pcap', 'pcapsocket', 'sflow', 'ebpf'];
/** Bits of `ExtraLayers`. */
const LAYERS = /** @type {[string, number][]} */ ([['DNS', 2], ['DHCPv4', 4], ['VRRP', 1]]);
const BEGIN = {
  GremlinQuery: '',
  Name: '',
  Description: '',
  BPFFilter: '',
  Type: '',
  LayerKeyMode: '',
  RawPacketLimit: '0',
  HeaderSize: '',
  Port: '',
  SamplingRate: '1',
  PollingInterval: '10',
  TargetType: '',
  Target: '',
  Lives: '',
  ExtraLayers: 0,
  ExtraTCPMetric: true,
  IPDefrag: false,
  ReassembleTCP: false,
};

/** @param {Node} node */
const capturable = (node) => node.Metadata.IfIndex !== undefined || node.Metadata.Type in TYPES;

/** @param {{query: string, name: string, done: () => void}} props `query`, `name`: to begin with */
export function CaptureForm({ query, name, done }) {
  const [form, change] = useState({ ...BEGIN, GremlinQuery: query, Name: name });
  const [nodes, setNodes] = useState(/** @type {Node[]} */ ([]));
  const fields = useFields('/api/capture');
  useEffect(() => {
    if (query) change((before) => ({ ...before, GremlinQuery: query, Name: name }));
  }, [query, name]);
  const set = (/** @type {string} */ field) => (/** @type {unknown} */ value) => change((before) => ({ ...before, [field]: value }));
  const sending = useSending(async () => {
    await send('POST', '/api/capture', bodyOf(form), form.Lives ? { 'X-Resource-TTL': form.Lives } : {});
    done();
  });
  const has = (/** @type {string} */ field) => fields !== null && field in fields;
  const wrong = placed(sending.error, Object.keys(fields ?? {}));
  const errorOf = (/** @type {string} */ field) => (wrong.field === field ? wrong.text : '');
  const bpf = useBpfCheck(form.BPFFilter);
  const types = [...new Set(nodes.flatMap((node) => TYPES[node.Metadata.Type] ?? INTERFACE))];
  const sflow = /sflow/.test(form.Type);
  return html`<form class="form" aria-label="New capture" onSubmit=${sending.send}>
    <${Choosing} label="Capture where (Gremlin)" query=${form.GremlinQuery} set=${set('GremlinQuery')} mark="capture" two accept=${capturable} found=${setNodes} error=${errorOf('GremlinQuery')} />
    <div class="fields">
      <${Field} label="Name" value=${form.Name} set=${set('Name')} error=${errorOf('Name')} />
      <${Field} label="Only packets (BPF)" value=${form.BPFFilter} set=${set('BPFFilter')} hint="as tcpdump has it: tcp port 80" error=${errorOf('BPFFilter') || bpf} />
      ${has('RawPacketLimit') &&
      may('capture', 'rawpackets') &&
      html`<${Field} label="Keep packets of each flow" type="number" min=${0} max=${10} value=${form.RawPacketLimit} set=${set('RawPacketLimit')} error=${errorOf('RawPacketLimit')} />`}
      <${Field} label="Description" value=${form.Description} set=${set('Description')} />
    </div>
    <details>
      <summary>More options</summary>
      <div class="fields">
        ${has('Type') && html`<${Choice} label="How" value=${form.Type} set=${set('Type')} options=${[['', 'what suits the node'], ...types.map((type) => [type, type])]} />`}
        ${errorOf('Type') && html`<pre class="error">${errorOf('Type')}</pre>`}
        ${has('LayerKeyMode') && html`<${Choice} label="Flows are told apart" value=${form.LayerKeyMode} set=${set('LayerKeyMode')} options=${[['', 'as configured'], ['L2', 'from layer 2 on'], ['L3', 'from layer 3 on']]} />`}
        ${has('HeaderSize') && html`<${Field} label="Bytes read of each packet" type="number" min=${0} max=${4096} value=${form.HeaderSize} set=${set('HeaderSize')} hint="14 to 4096; without it 256" error=${errorOf('HeaderSize')} />`}
        ${has('Port') && sflow && html`<${Field} label="sFlow port" type="number" min=${0} max=${65535} value=${form.Port} set=${set('Port')} error=${errorOf('Port')} />`}
        ${has('SamplingRate') && sflow && html`<${Field} label="One packet of" type="number" min=${1} value=${form.SamplingRate} set=${set('SamplingRate')} />`}
        ${has('PollingInterval') && sflow && html`<${Field} label="Counters each (seconds)" type="number" min=${0} value=${form.PollingInterval} set=${set('PollingInterval')} />`}
        ${has('TargetType') && html`<${Field} label="Flows go to (kind)" value=${form.TargetType} set=${set('TargetType')} list=${['local', 'netflowv5', 'ipfix', 'erspanv0', 'erspanv1']} hint="without it: to the analyzer" error=${errorOf('TargetType')} />`}
        ${has('Target') && form.TargetType && form.TargetType !== 'local' && html`<${Field} label="Flows go to (host:port)" value=${form.Target} set=${set('Target')} error=${errorOf('Target')} />`}
        <${Field} label="Ends after" value=${form.Lives} set=${set('Lives')} hint="1h30m; without it, when it is deleted" />
      </div>
      <div class="row wrap">
        ${has('ExtraTCPMetric') && html`<${Tick} label="TCP times and TTL" value=${form.ExtraTCPMetric} set=${set('ExtraTCPMetric')} />`}
        ${has('IPDefrag') && html`<${Tick} label="Put IP fragments together" value=${form.IPDefrag} set=${set('IPDefrag')} />`}
        ${has('ReassembleTCP') && html`<${Tick} label="Follow TCP segments" value=${form.ReassembleTCP} set=${set('ReassembleTCP')} />`}
        ${has('ExtraLayers') && LAYERS.map(([layer, bit]) => html`<${Tick} key=${layer} label=${`Read ${layer}`} value=${(form.ExtraLayers & bit) > 0} set=${(/** @type {boolean} */ on) => set('ExtraLayers')(on ? form.ExtraLayers | bit : form.ExtraLayers & ~bit)} />`)}
      </div>
    </details>
    ${sending.error && !wrong.field && html`<pre class="error" role="alert">${wrong.text}</pre>`}
    <div class="row">
      <button type="submit" class="button primary" disabled=${sending.busy || !form.GremlinQuery.trim()}>Start the capture</button>
      <button type="button" class="button" onClick=${done}>Close</button>
    </div>
  </form>`;
}

/**
 * What libpcap on the server has against an expression, while it is typed.
 * @param {string} expression
 */
function useBpfCheck(expression) {
  const rested = useRested(expression.trim());
  const asked = useAsked(async (signal) => {
    if (rested) await gremlin(`G.Flows().Limit(0).RawPackets().BPF(${quoted(rested)})`, signal);
  }, [rested]);
  const told = /^the BPF expression is wrong: (.*)/.exec(asked.error);
  return rested === expression.trim() && told ? told[1] : '';
}

/** Only what was said: the server knows the rest. @param {typeof BEGIN} form */
function bodyOf(form) {
  const { Lives: _, RawPacketLimit, HeaderSize, Port, SamplingRate, PollingInterval, ...others } = form;
  const numbers = { RawPacketLimit, HeaderSize, ...(/sflow/.test(form.Type) ? { Port, SamplingRate, PollingInterval } : {}) };
  const said = Object.entries(others).filter(([, value]) => value !== '' && value !== 0);
  const counted = Object.entries(numbers).filter(([, value]) => value !== '').map(([key, value]) => [key, Number(value)]);
  return Object.fromEntries([...said, ...counted.filter(([, value]) => value !== 0)]);
}
