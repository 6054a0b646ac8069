/** The OpenFlow rules and groups of an Open vSwitch bridge, table by table. */

import { byteCount, count } from '../../lib/format.js';
import { useShown } from '../../lib/graph-hooks.js';
import { html, useCallback, useState } from '../../lib/ui.js';
import { select, shown } from '../../state.js';
import { Grid } from '../parts/grid.js';
import { detailPanel } from '../registry.js';

/** @typedef {import('../../lib/types.js').Node} Node */
/** Native rules have Type and an object of arguments, those of ovs-ofctl Function and a list; either may nest. */
/** @typedef {{Type?: string, Function?: string, Key?: string, Arguments?: any}} Action */
/** @typedef {{Type?: string, Key?: string, Value: unknown, Mask?: unknown}} Match */

/** @param {Match[] | undefined} filters */
const matches = (filters) =>
  (filters ?? []).map(({ Type, Key, Value, Mask }) => `${Key ?? Type}=${Value ?? ''}${Mask === undefined ? '' : `/${Mask}`}`).join(', ') || 'any';

/** @param {unknown} value @returns {string} */
function argument(value) {
  if (value === null || value === undefined) return '';
  if (Array.isArray(value)) return value.map(argument).join(',');
  if (typeof value !== 'object') return String(value);
  if ('Type' in value || 'Function' in value) return action(/** @type {Action} */ (value));
  return Object.entries(value).map(([key, inner]) => `${key}=${argument(inner)}`).join(',');
}

/** @param {Action} one @returns {string} */
function action({ Type, Function, Key, Arguments }) {
  const inner = argument(Arguments);
  return `${Key ? `${Key}=` : ''}${Type ?? Function}${inner ? `(${inner})` : ''}`;
}

/** Tables that a rule goes on to. @param {Node} rule @returns {number[]} */
function onward(rule) {
  const text = JSON.stringify(rule.Metadata.Actions ?? []);
  const found = [...text.matchAll(/"(?:Table|table)":(\d+)/g)].map((match) => Number(match[1]));
  const goto = rule.Metadata.GotoTable;
  return [...new Set([...found, ...(goto ? [goto] : [])])];
}

/** @param {string} bridge @param {string} type @returns {Node[]} */
const childrenOf = (bridge, type) => {
  const graph = shown();
  return graph
    .edgesOf(bridge)
    .filter((edge) => edge.Parent === bridge && edge.Metadata.RelationType === 'ownership')
    .map((edge) => graph.nodes.get(edge.Child))
    .filter((node) => node !== undefined && node.Metadata.Type === type)
    .map((node) => /** @type {Node} */ (node));
};

/** @param {{element: Node}} props */
function Rules({ element }) {
  useShown(useCallback((changes) => changes.touched.has(element.ID) || changes.shape, [element.ID]));
  const rules = childrenOf(element.ID, 'ofrule');
  const groups = childrenOf(element.ID, 'ofgroup');
  const tables = [...new Set(rules.map((rule) => rule.Metadata.Table ?? 0))].sort((one, other) => one - other);
  const [wanted, want] = useState(/** @type {number | null} */ (null));
  const table = wanted !== null && tables.includes(wanted) ? wanted : (tables[0] ?? 0);
  return html`<div class="stack">
    <div class="chips" role="group" aria-label="Tables">
      ${tables.map(
        (one) =>
          html`<button key=${one} type="button" class="chip" aria-pressed=${String(one === table)} onClick=${() => want(one)}>
            table ${one} <span class="dim">${rules.filter((rule) => (rule.Metadata.Table ?? 0) === one).length}</span>
          </button>`,
      )}
    </div>
    <${Grid}
      name="ofrules"
      label=${`Rules of table ${table}`}
      order=${{ by: 'Priority', down: true }}
      rows=${rules.filter((rule) => (rule.Metadata.Table ?? 0) === table)}
      keyOf=${(/** @type {Node} */ rule) => rule.ID}
      onRow=${(/** @type {Node} */ rule) => select([rule.ID])}
      columns=${[
        { id: 'Priority', title: 'Prio', numeric: true, value: (/** @type {Node} */ rule) => rule.Metadata.Priority },
        { id: 'Filters', title: 'Matches', value: (/** @type {Node} */ rule) => matches(rule.Metadata.Filters) },
        {
          id: 'Actions',
          title: 'Does',
          value: (/** @type {Node} */ rule) => [...(rule.Metadata.Actions ?? []), ...(rule.Metadata.WriteActions ?? [])].map(action).join(', '),
          show: (/** @type {Node} */ rule) => html`${[...(rule.Metadata.Actions ?? []), ...(rule.Metadata.WriteActions ?? [])].map(action).join(', ')}
            ${onward(rule)
              .filter((next) => tables.includes(next) && next !== table)
              .map(
                (next) =>
                  html` <button
                    key=${next}
                    type="button"
                    class="linkish"
                    onClick=${(/** @type {Event} */ event) => {
                      event.stopPropagation();
                      want(next);
                    }}
                  >
                    → table ${next}
                  </button>`,
              )}`,
        },
        { id: 'Packets', title: 'Packets', numeric: true, value: (/** @type {Node} */ rule) => rule.Metadata.Metric?.RxPackets, show: (/** @type {Node} */ rule) => rule.Metadata.Metric && count(rule.Metadata.Metric.RxPackets ?? 0) },
        { id: 'Volume', title: 'Bytes', numeric: true, rare: true, value: (/** @type {Node} */ rule) => rule.Metadata.Metric?.RxBytes, show: (/** @type {Node} */ rule) => rule.Metadata.Metric && byteCount(rule.Metadata.Metric.RxBytes ?? 0) },
        { id: 'Cookie', title: 'Cookie', rare: true, value: (/** @type {Node} */ rule) => rule.Metadata.Cookie },
      ]}
    />
    ${groups.length > 0 &&
    html`<${Grid}
      name="ofgroups"
      label="Groups"
      tools=${false}
      rows=${groups}
      keyOf=${(/** @type {Node} */ group) => group.ID}
      columns=${[
        { id: 'GroupId', title: 'Group', numeric: true, value: (/** @type {Node} */ group) => group.Metadata.GroupId },
        { id: 'GroupType', title: 'Type', value: (/** @type {Node} */ group) => group.Metadata.GroupType },
        { id: 'Buckets', title: 'Buckets', value: (/** @type {Node} */ group) => (group.Metadata.Buckets ?? []).map((/** @type {any} */ bucket) => (bucket.Actions ?? []).map(action).join(', ')).join(' | ') },
      ]}
    />`}
  </div>`;
}

detailPanel({
  id: 'ofrules',
  title: 'OpenFlow rules',
  order: 35,
  when: (element) => !('Parent' in element) && (childrenOf(element.ID, 'ofrule').length > 0 || childrenOf(element.ID, 'ofgroup').length > 0),
  component: Rules,
});
