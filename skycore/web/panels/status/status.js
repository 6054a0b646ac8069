/** How the system itself is: agents, plugins, queues, spool and store. */

import { byteCount, count, dateTime, duration } from '../../lib/format.js';
import { classes, html, useState } from '../../lib/ui.js';
import { get } from '../../server/api.js';
import { app, may } from '../../state.js';
import { useAsked } from '../parts/asked.js';
import { Tabs } from '../parts/form.js';
import { Grid } from '../parts/grid.js';
import { Tree } from '../parts/tree.js';
import { shownValue } from '../parts/values.js';
import { dockPanel } from '../registry.js';

/** @typedef {Record<string, any>} Status */
/** @typedef {{name: string} & Record<string, any>} Named */

const ASKED_EVERY = 2000;

/** @param {Record<string, any> | undefined | null} object @returns {Named[]} */
const named = (object) => Object.entries(object ?? {}).filter(([, value]) => value !== null && typeof value === 'object').map(([name, value]) => ({ ...value, name }));

/** Columns of plain fields. @param {...[string, string, boolean?]} fields */
const columns = (...fields) => [
  { id: 'name', title: 'Name', value: (/** @type {Named} */ row) => row.name },
  ...fields.map(([id, title, numeric]) => ({
    id,
    title,
    numeric,
    value: (/** @type {Named} */ row) => row[id],
    show: (/** @type {Named} */ row) => (numeric && typeof row[id] === 'number' ? count(row[id]) : shownValue(id, row[id])),
  })),
];

/** @param {string} text @param {boolean | null} good null: neither */
const chip = (text, good) => html`<span class=${classes('chip', good === null ? 'dim' : good ? 'good' : 'bad')}>${text}</span>`;

const linked = {
  id: 'IsConnected',
  title: 'Link',
  value: (/** @type {Named} */ row) => (row.IsConnected ? 'connected' : 'away'),
  show: (/** @type {Named} */ row) => chip(row.IsConnected ? 'connected' : 'away', Boolean(row.IsConnected)),
};

const since = {
  id: 'Since',
  title: 'Since',
  value: (/** @type {Named} */ row) => row.ConnectTime ?? '',
  show: (/** @type {Named} */ row) => (row.ConnectTime ? dateTime(Date.parse(row.ConnectTime)) : ''),
};

const HEALTHY = new Set(['running', 'finished']);

/** Plugins of this process, and of agents where their status tells of them. @param {Status} status @returns {Named[]} */
const plugins = (status) => [
  ...named(status.TopologyProbes).map((row) => ({ ...row, of: 'topology' })),
  ...named(status.FlowProbes).map((row) => ({ ...row, of: 'flows' })),
  ...named(status.Probes).map((row) => ({ ...row, of: 'topology' })),
  ...named(status.Agents).flatMap((agent) => named(agent.Plugins).map((row) => ({ ...row, name: `${agent.name} / ${row.name}`, of: row.Kind ?? 'agent' }))),
];

/** @param {Status} status @returns {[string, string, string | undefined][]} what, how much, and what is wrong with it */
function figures(status) {
  const { Graph, History, Flows, Spool, Captures, Injections, Rules } = status;
  const store = History?.Store;
  /** @type {[string, string, string | undefined][]} */
  const found = [];
  if (Graph) found.push(['Graph', `${count(Graph.Nodes)} nodes, ${count(Graph.Edges)} edges`, Graph.Stale?.length ? `${Graph.Stale.length} sources cannot be vouched for` : undefined]);
  if (History) found.push(['History', `${count(History.Revisions ?? 0)} revisions in ${count(History.Commits ?? 0)} commits, ${count(History.Backlog ?? 0)} waiting`, History.Error ?? (History.Gaps ? `${History.Gaps} gaps` : undefined)]);
  if (store) found.push(['Store', `${byteCount((store.Bytes ?? 0) + (store.LogBytes ?? 0))}, ${count(store.Rows ?? 0)} rows${store.Oldest ? `, since ${dateTime(store.Oldest)}` : ''}`, store.Error ?? undefined]);
  if (Flows?.Batches !== undefined) found.push(['Flows', `${count(Flows.Flows ?? 0)} committed, ${count(Flows.Backlog ?? 0)} waiting, ${count(Flows.RawPackets ?? 0)} packets`, Flows.Error ?? (Flows.Refused || Flows.LostBatches ? `${count(Flows.Refused ?? 0)} refused, ${count(Flows.LostBatches ?? 0)} batches lost` : undefined)]);
  if (Spool) found.push(['Spool', `${byteCount(Spool.Bytes ?? 0)} in ${count(Spool.Segments ?? 0)} segments, ${count(Spool.Written ?? 0)} written`, Spool.Error ?? (Spool.Dropped ? `${count(Spool.Dropped)} dropped` : undefined)]);
  if (Captures) found.push(['Captures', `${count(Captures.Count ?? 0)} on ${count(Captures.Nodes ?? 0)} nodes`, Object.keys(Captures.Failing ?? {}).length ? `${Object.keys(Captures.Failing).length} failing` : undefined]);
  if (Injections) found.push(['Injections', `${count(Injections.Active ?? 0)} active, ${count(Injections.PacketsSent ?? 0)} packets sent`, undefined]);
  if (Rules) found.push(['Rules', count(Rules.Count ?? 0), Rules.Error ?? undefined]);
  return found;
}

/** @param {{rows: Named[], label: string, columns: any[], empty: string}} props */
const List = ({ rows, label, columns: shown, empty }) =>
  html`<${Grid} name=${`status.${label}`} label=${label} rows=${rows} columns=${shown} keyOf=${(/** @type {Named} */ row) => row.name} empty=${empty} />`;

function StatusPanel() {
  const { value, error } = useAsked((signal) => get('/api/status', signal), [], ASKED_EVERY);
  const [view, see] = useState('overview');
  if (!value) return error ? html`<p class="error">${error}</p>` : html`<p class="empty">Asking …</p>`;
  const status = /** @type {Status} */ (value);
  const analyzers = [...named(status.Analyzers), ...named(status.Peers?.Incomers), ...named(status.Peers?.Outgoers)];
  const subscribers = ['Subscribers', 'FlowSubscribers', 'Publishers', 'Clients'].flatMap((kind) => named(status[kind]).map((row) => ({ ...row, kind })));
  const found = plugins(status);
  const conflicts = /** @type {any[]} */ (status.Graph?.Conflicts ?? []);
  const views = /** @type {[string, string][]} */ ([
    ['overview', 'Overview'],
    ...(status.Agents ? [['agents', `Agents (${named(status.Agents).length})`]] : []),
    ...(analyzers.length ? [['analyzers', `Analyzers (${analyzers.length})`]] : []),
    ...(found.length ? [['plugins', `Plugins (${found.length})`]] : []),
    ['clients', `Clients (${subscribers.length})`],
    ['all', 'All'],
  ]);
  return html`<div class="panel">
    <${Tabs} label="Parts of the status" value=${view} set=${see} options=${views} />
    ${error && html`<p class="error">${error}</p>`}
    ${view === 'overview' &&
    html`<dl class="figures">
        ${figures(status).map(([what, much, wrong]) => html`<div key=${what}><dt>${what}</dt><dd>${much} ${wrong && html`<span class="bad">${wrong}</span>`}</dd></div>`)}
        <div><dt>Served by</dt><dd>${app.value.about?.Service} ${app.value.about?.Host}, version ${app.value.about?.Version}</dd></div>
      </dl>
      ${status.Graph?.Stale?.length ? html`<h3>Stale</h3><${Tree} value=${status.Graph.Stale} label="Stale sources" open=${2} />` : null}
      ${conflicts.length ? html`<h3>Conflicts</h3><${Tree} value=${conflicts} label="Conflicts" open=${1} />` : null}
      ${Object.keys(status.Gremlin?.Faults ?? {}).length ? html`<h3>Steps that are left out</h3><${Tree} value=${status.Gremlin.Faults} label="Faults" open=${1} />` : null}
      ${status.History?.LatestGaps?.length ? html`<h3>Gaps</h3><${Tree} value=${status.History.LatestGaps} label="Gaps" open=${2} />` : null}`}
    ${view === 'agents' &&
    html`<${List}
      label="Agents"
      rows=${named(status.Agents)}
      empty="No agent has connected"
      columns=${[...columns(), linked, since, ...columns(['Version', 'Version'], ['Addr', 'Address'], ['Entries', 'Entries', true], ['Revisions', 'Revisions', true], ['Acknowledged', 'Acknowledged', true], ['ClockSkew', 'Clock, ms', true]).slice(1)]}
    />`}
    ${view === 'analyzers' && html`<${List} label="Analyzers" rows=${analyzers} empty="" columns=${[...columns(), linked, since, ...columns(['Sent', 'Sent', true], ['Acknowledged', 'Acknowledged', true], ['ClockSkew', 'Clock, ms', true], ['Error', 'Error']).slice(1)]} />`}
    ${view === 'plugins' &&
    html`<${List}
      label="Plugins"
      rows=${found}
      empty=""
      columns=${[
        ...columns(['of', 'Of']),
        { id: 'Status', title: 'State', value: (/** @type {Named} */ row) => row.Status, show: (/** @type {Named} */ row) => chip(row.Status, HEALTHY.has(row.Status)) },
        ...columns(['Error', 'Last error'], ['Restarts', 'Restarts', true], ['Blocked', 'Blocked the loop', true], ['Stale', 'Stale']).slice(1),
      ]}
    />`}
    ${view === 'clients' &&
    html`<${List}
      label="Clients"
      rows=${subscribers}
      empty="Nobody listens"
      columns=${[
        ...columns(['kind', 'As'], ['ServiceType', 'Kind']),
        { id: 'Long', title: 'For', numeric: true, value: (/** @type {Named} */ row) => (row.ConnectTime ? Date.now() - Date.parse(row.ConnectTime) : 0), show: (/** @type {Named} */ row) => (row.ConnectTime ? duration(Date.now() - Date.parse(row.ConnectTime)) : '') },
        ...columns(['Addr', 'Address'], ['Sent', 'Sent', true], ['Coalesced', 'Coalesced', true]).slice(1),
      ]}
    />`}
    ${view === 'all' && html`<${Tree} value=${status} label="Status" open=${1} />`}
  </div>`;
}

dockPanel({ id: 'status', title: 'Status', icon: 'status', order: 50, key: 's', when: () => may('status', 'read'), component: StatusPanel });
