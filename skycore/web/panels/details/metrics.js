/** How the counters of a node grew: read from history, then followed live. */

import { bitRate } from '../../lib/format.js';
import { remember, remembered } from '../../lib/local.js';
import { html, useEffect, useMemo, useState } from '../../lib/ui.js';
import { app } from '../../state.js';
import { gremlin, quoted } from '../../server/api.js';
import { useAsked } from '../parts/asked.js';
import { Chart } from '../parts/chart.js';
import { Choice } from '../parts/form.js';
import { detailPanel } from '../registry.js';

/** @typedef {import('../../lib/types.js').Node} Node */
/** @typedef {import('../../state.js').Moment} Moment */
/** @typedef {Record<string, number> & {Start: number, Last: number}} Metric what was counted from Start to Last */
/** @typedef {{title: string, keys: [string, string][], unit: (value: number) => string, factor: number}} Group */

const perSecond = (/** @type {number} */ value) => `${value < 10 ? value.toFixed(1) : Math.round(value)} /s`;
const SPANS = /** @type {[string, string][]} */ ([['900', '15 minutes'], ['3600', '1 hour'], ['21600', '6 hours'], ['86400', '1 day'], ['604800', '1 week']]);

/** Names of counters and of their lines; what a node does not count is not drawn. @type {Group[]} */
const GROUPS = [
  { title: 'Bandwidth', keys: [['RxBytes', 'received'], ['TxBytes', 'sent']], unit: bitRate, factor: 8 },
  { title: 'Packets', keys: [['RxPackets', 'received'], ['TxPackets', 'sent'], ['Multicast', 'multicast']], unit: perSecond, factor: 1 },
  {
    title: 'Errors and drops',
    keys: [['RxErrors', 'receive errors'], ['TxErrors', 'send errors'], ['RxDropped', 'dropped when received'], ['TxDropped', 'dropped when sent'], ['Collisions', 'collisions'], ['RxMissedErrors', 'missed']],
    unit: perSecond,
    factor: 1,
  },
];

/**
 * Rates at the ends of the intervals; an interval that was not measured breaks the line.
 * @param {Metric[]} metrics
 * @param {Group} group
 */
export function rates(metrics, group) {
  const keys = group.keys.filter(([key]) => metrics.some((metric) => metric[key]));
  const times = /** @type {number[]} */ ([]);
  const lines = keys.map(([, label]) => ({ label, values: /** @type {(number | null)[]} */ ([]) }));
  let before = 0;
  for (const metric of metrics) {
    const seconds = (metric.Last - metric.Start) / 1000;
    if (seconds <= 0 || metric.Last <= before) continue;
    if (before && metric.Start - before > 3 * (metric.Last - metric.Start)) {
      times.push(before + 1);
      for (const line of lines) line.values.push(null);
    }
    before = metric.Last;
    times.push(metric.Last);
    keys.forEach(([key], at) => lines[at].values.push(((metric[key] ?? 0) * group.factor) / seconds));
  }
  return { times, lines };
}

/** @param {string} id @param {number} until @param {number} seconds @param {string} of @param {AbortSignal} signal */
async function past(id, until, seconds, of, signal) {
  const { result } = await gremlin(`G.At(${until}, ${seconds}).V(${quoted(id)}).Metrics(${of ? quoted(of) : ''})`, signal);
  return /** @type {Metric[]} */ ((result ?? []).flatMap((/** @type {Record<string, Metric[]>} */ one) => Object.values(one).flat()));
}

/** @param {{element: Node, moment: Moment}} props */
function Metrics({ element, moment }) {
  const [span, setSpan] = useState(() => remembered('metrics.span', '900'));
  const kinds = ['', 'Ovs', 'SFlow'].filter((of) => updateOf(element, of));
  const [of, setOf] = useState(kinds[0]);
  const history = app.value.rights?.History;
  const at = moment.mode === 'live' ? 0 : moment.at;
  const { value, error } = useAsked(
    async (signal) => (history ? past(element.ID, at || Date.now(), Number(span), of, signal) : []),
    [element.ID, span, of, at],
  );
  const [live, setLive] = useState(/** @type {Metric[]} */ ([]));
  const newest = updateOf(element, of);
  useEffect(() => setLive([]), [element.ID, of]);
  useEffect(() => {
    if (moment.mode === 'live' && newest) setLive((before) => (before.at(-1)?.Last === newest.Last ? before : [...before.slice(-5000), newest]));
  }, [newest?.Last, moment.mode]);
  const all = useMemo(() => {
    const last = value?.at(-1)?.Last ?? 0;
    return [...(value ?? []), ...(moment.mode === 'live' ? live.filter((metric) => metric.Last > last) : [])];
  }, [value, live, moment.mode]);
  const charts = useMemo(() => GROUPS.map((group) => ({ group, ...rates(all, group) })).filter(({ lines }) => lines.length), [all]);
  const to = at || all.at(-1)?.Last;
  const from = to === undefined ? undefined : Math.max(to - Number(span) * 1000, all[0]?.Start ?? 0);
  return html`<div class="stack">
    <div class="row">
      <${Choice} label="Time" value=${span} options=${SPANS} set=${(/** @type {string} */ one) => (setSpan(one), remember('metrics.span', one))} />
      ${kinds.length > 1 && html`<${Choice} label="Counted by" value=${of} options=${kinds.map((kind) => [kind, kind || 'kernel'])} set=${setOf} />`}
    </div>
    ${error && html`<p class="error">${error}</p>`}
    ${charts.map(({ group, times, lines }) => html`<${Chart} key=${group.title} label=${group.title} times=${times} lines=${lines} unit=${group.unit} from=${from} to=${to} height=${130} />`)}
    ${value && !charts.length && html`<p class="empty">Nothing was counted in this time</p>`}
  </div>`;
}

/** What was counted last. @param {Node} element @param {string} of @returns {Metric | undefined} */
const updateOf = (element, of) => (of ? element.Metadata[of]?.LastUpdateMetric : element.Metadata.LastUpdateMetric);

detailPanel({
  id: 'metrics',
  title: 'Metrics',
  order: 10,
  open: true,
  when: (element) => !('Parent' in element) && ['', 'Ovs', 'SFlow'].some((of) => updateOf(element, of)),
  component: Metrics,
});
