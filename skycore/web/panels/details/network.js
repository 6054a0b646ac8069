/** What the kernel says of an interface: addresses, routes, neighbours, the bridge's table of addresses, features. */

import { classes, html, useState } from '../../lib/ui.js';
import { Copy } from '../parts/tree.js';
import { Grid } from '../parts/grid.js';
import { detailPanel } from '../registry.js';

/** @typedef {import('../../lib/types.js').Node} Node */
/** @typedef {{Prefix?: string, Protocol?: number, Type?: string, NextHops?: {IP?: string, MAC?: string, IfIndex?: number, Priority?: number}[]}} Route */
/** @typedef {{IP?: string, MAC?: string, State?: string[], Flags?: string[], Vlan?: number, VNI?: number, IfIndex?: number}} Neighbour */

/** rtnetlink(7) and /usr/include/linux/rtnetlink.h: RTPROT_, RT_TABLE_ */
const PROTOCOLS = /** @type {Record<number, string>} */ ({ 0: 'unspec', 1: 'redirect', 2: 'kernel', 3: 'boot', 4: 'static', 9: 'ra', 16: 'dhcp', 186: 'bgp', 188: 'ospf' });
const TABLES = /** @type {Record<number, string>} */ ({ 253: 'default', 254: 'main', 255: 'local' });

/** @param {Node} element @param {string} key */
const hasList = (element, key) => Array.isArray(element.Metadata[key]) && element.Metadata[key].length > 0;

/** @param {{element: Node}} props */
function Addresses({ element }) {
  const { IPV4 = [], IPV6 = [], MAC } = element.Metadata;
  const all = [...[].concat(IPV4).map((one) => ['IPv4', one]), ...[].concat(IPV6).map((one) => ['IPv6', one]), ...(MAC ? [['MAC', MAC]] : [])];
  return html`<table class="grid bare">
    <tbody>
      ${all.map(([kind, value]) => html`<tr key=${value}><th scope="row">${kind}</th><td class="mono">${value}</td><td><${Copy} what=${value} text=${value} /></td></tr>`)}
    </tbody>
  </table>`;
}

/** @param {{element: Node}} props */
function Routes({ element }) {
  const tables = /** @type {{ID: number, Routes: Route[]}[]} */ (element.Metadata.RoutingTables);
  const rows = tables.flatMap((table) =>
    (table.Routes ?? []).flatMap((route) =>
      (route.NextHops?.length ? route.NextHops : [{}]).map((hop, number) => ({ table: table.ID, route, hop, number })),
    ),
  );
  /** @typedef {typeof rows[number]} Row */
  const name = (/** @type {number} */ table) => TABLES[table] ?? String(table);
  return html`<${Grid}
    name="routes"
    label="Routes"
    rows=${rows}
    keyOf=${(/** @type {Row} */ row) => `${row.table} ${row.route.Prefix} ${row.number} ${row.hop.IP ?? ''} ${row.hop.Priority ?? ''}`}
    columns=${[
      { id: 'Prefix', title: 'To', value: (/** @type {Row} */ row) => row.route.Prefix ?? 'default' },
      { id: 'Via', title: 'Via', value: (/** @type {Row} */ row) => row.hop.IP ?? row.hop.MAC },
      { id: 'Priority', title: 'Metric', numeric: true, value: (/** @type {Row} */ row) => row.hop.Priority },
      { id: 'Table', title: 'Table', value: (/** @type {Row} */ row) => name(row.table) },
      { id: 'Protocol', title: 'By', value: (/** @type {Row} */ row) => (row.route.Protocol === undefined ? '' : (PROTOCOLS[row.route.Protocol] ?? row.route.Protocol)) },
      { id: 'IfIndex', title: 'Out', numeric: true, rare: true, value: (/** @type {Row} */ row) => row.hop.IfIndex },
    ]}
  />`;
}

/** @param {string[] | undefined} names as the kernel has them @returns {string} */
const short = (names) => (names ?? []).map((name) => name.replace(/^(NUD|NTF)_/, '').toLowerCase()).join(' ');

/** @param {'Neighbors' | 'FDB'} key */
const neighbours = (key) =>
  /** @param {{element: Node}} props */
  function Neighbours({ element }) {
    const rows = /** @type {Neighbour[]} */ (element.Metadata[key]);
    const columns = [
      { id: 'IP', title: 'Address', value: (/** @type {Neighbour} */ row) => row.IP },
      { id: 'MAC', title: 'MAC', value: (/** @type {Neighbour} */ row) => row.MAC },
      { id: 'State', title: 'State', value: (/** @type {Neighbour} */ row) => short(row.State) },
      { id: 'Flags', title: 'Flags', value: (/** @type {Neighbour} */ row) => short(row.Flags) },
      { id: 'Vlan', title: 'VLAN', numeric: true, value: (/** @type {Neighbour} */ row) => row.Vlan },
      { id: 'VNI', title: 'VNI', numeric: true, value: (/** @type {Neighbour} */ row) => row.VNI },
    ];
    return html`<${Grid}
      name=${key}
      label=${key === 'FDB' ? 'Forwarding table' : 'Neighbours'}
      rows=${rows}
      keyOf=${(/** @type {Neighbour} */ row) => `${row.IP} ${row.MAC} ${row.Vlan} ${row.VNI} ${short(row.Flags)}`}
      columns=${columns.filter(({ value }) => rows.some((row) => value(row) !== undefined && value(row) !== ''))}
    />`;
  };

/** @param {{element: Node}} props */
function Features({ element }) {
  const [all, setAll] = useState(false);
  const features = /** @type {[string, boolean][]} */ (Object.entries(element.Metadata.Features));
  const on = features.filter(([, active]) => active);
  return html`<div class="stack">
    <label class="tick"><input type="checkbox" checked=${all} onChange=${(/** @type {any} */ event) => setAll(event.target.checked)} /> also the ${features.length - on.length} that are off</label>
    <div class="chips">${(all ? features : on).map(([name, active]) => html`<span key=${name} class=${classes('chip', active ? 'good' : 'dim')}>${name}${active ? '' : ': off'}</span>`)}</div>
  </div>`;
}

const hasAddress = (/** @type {Node} */ element) => Boolean(element.Metadata.MAC || element.Metadata.IPV4 || element.Metadata.IPV6);

detailPanel({ id: 'addresses', title: 'Addresses', order: 15, when: hasAddress, open: true, component: Addresses });
detailPanel({ id: 'routes', title: 'Routes', order: 40, when: (element) => hasList(element, 'RoutingTables'), component: Routes });
detailPanel({ id: 'neighbours', title: 'Neighbours', order: 41, when: (element) => hasList(element, 'Neighbors'), component: neighbours('Neighbors') });
detailPanel({ id: 'fdb', title: 'Forwarding table (FDB)', order: 42, when: (element) => hasList(element, 'FDB'), component: neighbours('FDB') });
detailPanel({ id: 'features', title: 'Features', order: 50, when: (element) => Object.keys(element.Metadata.Features ?? {}).length > 0, component: Features });
