/** The flows of an interface, or of who a container or a namespace talks to. */

import { byteCount, timeOfDay } from '../../lib/format.js';
import { html, useEffect, useMemo } from '../../lib/ui.js';
import { quoted } from '../../server/api.js';
import { app } from '../../state.js';
import { endpoint, KEYS, service, talks } from '../flows/model.js';
import { follow, forget } from '../flows/path.js';
import { ask, asking, source, steps } from '../flows/query.js';
import { useAsked } from '../parts/asked.js';
import { Grid } from '../parts/grid.js';
import { dockPanels, detailPanel } from '../registry.js';

/** @typedef {import('../../lib/types.js').Node} Node */
/** @typedef {import('../flows/model.js').Talk} Talk */
/** @typedef {import('../flows/query.js').Filter} Filter */

const AT_MOST = 200;
const ASKED_EVERY = 5000;
/** Types of nodes whose flows are known by the names at their ends. */
const NAMED = /** @type {Record<string, string>} */ ({ container: 'Container', netns: 'Namespace', pod: 'Pod' });

/** @param {Node} element @returns {Filter} */
const filterOf = (element) => {
  const key = NAMED[element.Metadata.Type];
  return key ? { key, test: '=', value: element.Metadata.Name } : { key: 'NodeTID', test: '=', value: element.Metadata.TID };
};

/** @param {{element: Node, moment: import('../../state.js').Moment}} props */
function Flows({ element, moment }) {
  const filter = filterOf(element);
  const query = `${source(moment)}.Flows()${steps([filter])}.Sort(DESC, ${quoted('Last')}).Limit(${AT_MOST})`;
  const { value, error } = useAsked((signal) => ask(query, signal), [query], moment.mode === 'live' ? ASKED_EVERY : 0);
  useEffect(() => forget, []);
  const rows = useMemo(() => talks(value?.flows ?? [], KEYS.conversation), [value]);
  const open = () => {
    asking.set({ filters: [filter], view: 'table' });
    app.set({ dock: 'flows' });
  };
  return html`<div class="stack">
    ${error && html`<p class="error">${error}</p>`}
    <${Grid}
      name="details.flows"
      label="Flows"
      rows=${rows}
      keyOf=${(/** @type {Talk} */ talk) => talk.key}
      order=${{ by: 'Last', down: true }}
      onPoint=${(/** @type {Talk | null} */ talk) => follow(talk?.flows ?? [], '0')}
      empty=${value ? 'No flows at this moment' : 'Asking …'}
      more=${html`<button type="button" class="button small" onClick=${open}>Open in Flows</button>`}
      columns=${[
        { id: 'From', title: 'From', value: (/** @type {Talk} */ talk) => endpoint(talk.first, 'From') },
        { id: 'To', title: 'To', value: (/** @type {Talk} */ talk) => endpoint(talk.first, 'To') },
        { id: 'Service', title: 'Service', rare: true, value: (/** @type {Talk} */ talk) => service(talk.first) },
        { id: 'Sent', title: 'A→B', numeric: true, value: (/** @type {Talk} */ talk) => talk.sent, show: (/** @type {Talk} */ talk) => byteCount(talk.sent) },
        { id: 'Received', title: 'B→A', numeric: true, value: (/** @type {Talk} */ talk) => talk.received, show: (/** @type {Talk} */ talk) => byteCount(talk.received) },
        { id: 'Last', title: 'Last', numeric: true, value: (/** @type {Talk} */ talk) => talk.first.Last, show: (/** @type {Talk} */ talk) => timeOfDay(talk.first.Last) },
      ]}
    />
  </div>`;
}

detailPanel({
  id: 'flows',
  title: 'Flows',
  order: 30,
  when: (element) =>
    !('Parent' in element) &&
    Boolean(dockPanels.find(({ id }) => id === 'flows')?.when?.()) &&
    (element.Metadata.Type in NAMED || (element.Metadata.Captures?.length ?? 0) > 0),
  component: Flows,
});
