/** Captures: what there is, how it goes on each node, and making new ones. */

import { count } from '../../lib/format.js';
import { Icon } from '../../lib/icons.js';
import { useStore } from '../../lib/store.js';
import { classes, html, useEffect, useState } from '../../lib/ui.js';
import { quoted } from '../../server/api.js';
import { app, live, may, overlay, select } from '../../state.js';
import { Grid } from '../parts/grid.js';
import { useObjects } from '../parts/objects.js';
import { dockPanel } from '../registry.js';
import { CaptureForm } from './form.js';
import { wishes } from './wishes.js';

/** @typedef {import('../../lib/types.js').Node} Node */
/** @typedef {{UUID: string, GremlinQuery: string, Name?: string, Description?: string, BPFFilter?: string, Type?: string, Count: number, RawPacketLimit?: number, LayerKeyMode?: string, HeaderSize?: number}} Capture */
/** @typedef {{State: string, Error?: string, Type?: string, PacketsReceived?: number, PacketsDropped?: number, PacketsIfDropped?: number}} State */
/** @typedef {{node: Node, state: State}} Place a node on which a capture is made */

const LOOKED_AT_EVERY = 1000;
const NAMESPACE = 'OnDemandCaptureNotification';

/** Where each capture is made, by its UUID. @returns {Map<string, Place[]>} */
function places() {
  const found = /** @type {Map<string, Place[]>} */ (new Map());
  for (const node of live.nodes.values()) {
    for (const state of Array.isArray(node.Metadata.Captures) ? node.Metadata.Captures : []) {
      found.set(state.ID, [...(found.get(state.ID) ?? []), { node, state }]);
    }
  }
  return found;
}

/** @param {State} state */
const dropped = (state) => (state.PacketsDropped ?? 0) + (state.PacketsIfDropped ?? 0);

/** @param {Place[] | undefined} where @param {(state: State) => number} what */
const total = (where, what) => (where ?? []).reduce((sum, { state }) => sum + what(state), 0);

function Captures() {
  const { objects, error, again, remove } = useObjects('capture', NAMESPACE);
  const wish = useStore(wishes, (value) => value.capture);
  const [making, make] = useState(false);
  const [open, setOpen] = useState('');
  const [where, look] = useState(places);
  useEffect(() => {
    const timer = setInterval(() => look(places()), LOOKED_AT_EVERY);
    return () => clearInterval(timer);
  }, []);
  useEffect(() => {
    if (wish) make(true);
  }, [wish]);
  useEffect(() => () => overlay('captures', null), []);
  const captures = /** @type {Capture[]} */ (objects ?? []);
  const writable = may('capture', 'write');
  const point = (/** @type {Capture | null} */ capture) => {
    const nodes = capture ? (where.get(capture.UUID) ?? []).map(({ node }) => node.ID) : [];
    overlay('captures', nodes.length ? { nodes: new Set(nodes), edges: new Set(), colour: 'warn' } : null);
  };
  const columns = [
    { id: 'Name', title: 'Name', value: (/** @type {Capture} */ one) => one.Name || one.UUID.slice(0, 8) },
    {
      id: 'State',
      title: 'State',
      value: (/** @type {Capture} */ one) => stateOf(where.get(one.UUID)),
      show: (/** @type {Capture} */ one) => html`<span class=${classes('chip', where.get(one.UUID)?.some((/** @type {Place} */ { state }) => state.State !== 'active') ? 'bad' : where.get(one.UUID) ? 'good' : 'dim')}>${stateOf(where.get(one.UUID))}</span>`,
    },
    { id: 'GremlinQuery', title: 'Where', value: (/** @type {Capture} */ one) => one.GremlinQuery, show: (/** @type {Capture} */ one) => html`<code>${one.GremlinQuery}</code>` },
    { id: 'BPFFilter', title: 'Only', value: (/** @type {Capture} */ one) => one.BPFFilter, show: (/** @type {Capture} */ one) => one.BPFFilter && html`<code>${one.BPFFilter}</code>` },
    { id: 'Received', title: 'Packets', numeric: true, value: (/** @type {Capture} */ one) => total(where.get(one.UUID), (state) => state.PacketsReceived ?? 0), show: (/** @type {Capture} */ one) => count(total(where.get(one.UUID), (state) => state.PacketsReceived ?? 0)) },
    { id: 'Dropped', title: 'Dropped', numeric: true, value: (/** @type {Capture} */ one) => total(where.get(one.UUID), dropped), show: (/** @type {Capture} */ one) => count(total(where.get(one.UUID), dropped)) },
    { id: 'Type', title: 'How', value: (/** @type {Capture} */ one) => one.Type || (where.get(one.UUID) ?? [])[0]?.state.Type },
    { id: 'RawPacketLimit', title: 'Kept packets', numeric: true, rare: true, value: (/** @type {Capture} */ one) => one.RawPacketLimit },
    { id: 'LayerKeyMode', title: 'Layers', rare: true, value: (/** @type {Capture} */ one) => one.LayerKeyMode },
    { id: 'Description', title: 'Description', rare: true, value: (/** @type {Capture} */ one) => one.Description },
    { id: 'UUID', title: 'UUID', rare: true, value: (/** @type {Capture} */ one) => one.UUID },
  ];
  return html`<div class="panel">
    ${making &&
    writable &&
    html`<${CaptureForm}
      query=${wish ? `G.V().Has('TID', ${quoted(wish.TID)})` : ''}
      name=${wish?.Name ?? ''}
      done=${() => {
        make(false);
        wishes.set({ capture: null });
        again();
      }}
    />`}
    ${error && html`<p class="error">${error}</p>`}
    <${Grid}
      name="captures"
      label="Captures"
      rows=${captures}
      columns=${columns}
      keyOf=${(/** @type {Capture} */ one) => one.UUID}
      empty=${objects ? 'No captures: nothing is turned into flows' : 'Asking …'}
      onRow=${(/** @type {Capture} */ one) => setOpen(open === one.UUID ? '' : one.UUID)}
      onPoint=${point}
      open=${open}
      detail=${(/** @type {Capture} */ one) => html`<${Detail} capture=${one} where=${where.get(one.UUID) ?? []} remove=${writable ? remove : null} />`}
      more=${writable && !making ? html`<button type="button" class="button small primary" onClick=${() => make(true)}><${Icon} name="plus" size=${14} /> New capture</button>` : null}
    />
  </div>`;
}

/** @param {Place[] | undefined} where */
function stateOf(where) {
  if (!where?.length) return 'on no node';
  const failing = where.filter((/** @type {Place} */ { state }) => state.State !== 'active').length;
  return failing ? `${failing} of ${where.length} failing` : `active on ${where.length}`;
}

/** @param {{capture: Capture, where: Place[], remove: ((capture: any) => void) | null}} props */
function Detail({ capture, where, remove }) {
  const flows = () => {
    wishes.set({ flows: `CaptureID=${capture.UUID}` });
    app.set({ dock: 'flows' });
  };
  return html`<div class="stack">
    ${capture.Description && html`<p>${capture.Description}</p>`}
    <div class="row">
      ${may('topology', 'read') && html`<button type="button" class="button small" onClick=${flows}><${Icon} name="flows" size=${14} /> Its flows</button>`}
      <button type="button" class="button small" disabled=${!where.length} onClick=${() => select(where.map(({ node }) => node.ID))}>Select its nodes</button>
      ${remove && html`<button type="button" class="button small danger" onClick=${() => remove(capture)}>Delete the capture</button>`}
    </div>
    <${Grid}
      name="capture.nodes"
      label="Nodes of the capture"
      tools=${false}
      rows=${where}
      keyOf=${(/** @type {Place} */ place) => place.node.ID}
      empty="No node is captured now"
      columns=${[
        { id: 'Node', title: 'Node', value: (/** @type {Place} */ { node }) => node.Metadata.Name, show: (/** @type {Place} */ { node }) => html`<button type="button" class="linkish" onClick=${() => select([node.ID])}>${node.Metadata.Name}</button>` },
        { id: 'Host', title: 'Host', value: (/** @type {Place} */ { node }) => node.Host },
        { id: 'State', title: 'State', value: (/** @type {Place} */ { state }) => state.State, show: (/** @type {Place} */ { state }) => html`<span class=${classes('chip', state.State === 'active' ? 'good' : 'bad')}>${state.State}</span>` },
        { id: 'Received', title: 'Packets', numeric: true, value: (/** @type {Place} */ { state }) => state.PacketsReceived ?? 0 },
        { id: 'Dropped', title: 'Dropped', numeric: true, value: (/** @type {Place} */ { state }) => dropped(state) },
        { id: 'Error', title: 'Error', value: (/** @type {Place} */ { state }) => state.Error },
      ]}
    />
  </div>`;
}

dockPanel({ id: 'captures', title: 'Captures', icon: 'capture', order: 20, key: 'c', when: () => may('capture', 'read'), component: Captures });
