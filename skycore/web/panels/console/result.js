/** An answer as table, tree, picture or chart. */

import { count } from '../../lib/format.js';
import { html, useMemo, useState } from '../../lib/ui.js';
import { select, shown } from '../../state.js';
import { Chart } from '../parts/chart.js';
import { Tabs } from '../parts/form.js';
import { Grid } from '../parts/grid.js';
import { Tree } from '../parts/tree.js';
import { at, shownValue } from '../parts/values.js';
import { columnsOf, elementsIn, rowsOf, seriesIn } from './answer.js';
import { Picture } from './picture.js';

const CHARTS_AT_MOST = 12;

/** @param {{result: any, kind: string | null}} props `kind`: what the query gives */
export function Result({ result, kind }) {
  const rows = useMemo(() => rowsOf(result), [result]);
  const elements = useMemo(() => elementsIn(result), [result]);
  const series = useMemo(() => seriesIn(result), [result]);
  const isTree = kind === 'explanation' || kind === 'difference' || kind === 'revisions';
  const views = /** @type {[string, string][]} */ ([
    ['table', 'Table'],
    ['tree', 'Tree'],
    ...(elements.nodes.length ? [['picture', 'Graph']] : []),
    ...(series.length ? [['chart', 'Chart']] : []),
  ]);
  const first = series.length ? 'chart' : kind === 'graph' && elements.nodes.length ? 'picture' : isTree ? 'tree' : 'table';
  const [wanted, want] = useState(/** @type {string | null} */ (null));
  const view = wanted && views.some(([id]) => id === wanted) ? wanted : first;
  if (typeof result !== 'object' && result !== null) return html`<output class="figure">${typeof result === 'number' ? count(result) : String(result)}</output>`;
  return html`<div class="stack fill">
    <${Tabs} label="View of the answer" value=${view} set=${want} options=${views} />
    ${view === 'table' && html`<${Table} rows=${rows} kind=${kind} />`}
    ${view === 'tree' && html`<div class="scroll"><${Tree} value=${result} label="Answer" open=${isTree ? 4 : 2} /></div>`}
    ${view === 'picture' && html`<${Picture} elements=${elements} />`}
    ${view === 'chart' && html`<${Charts} series=${series} />`}
  </div>`;
}

/** @param {{rows: import('./answer.js').Row[], kind: string | null}} props */
function Table({ rows, kind }) {
  const columns = useMemo(
    () => columnsOf(rows).map(({ key, rare }) => ({
      id: key,
      title: key.replace(/^Metadata\./, ''),
      rare,
      numeric: rows.length > 0 && rows.every((row) => ['number', 'undefined'].includes(typeof at(row, key))),
      value: (/** @type {any} */ row) => at(row, key),
      show: (/** @type {any} */ row) => shownValue(key, at(row, key)),
    })),
    [rows],
  );
  const known = (/** @type {any} */ row) => typeof row.ID === 'string' && shown().get(row.ID);
  const elements = rows.some(known);
  const [open, setOpen] = useState('');
  return html`<${Grid}
    key=${kind}
    name=${`console.${kind}.${columns.slice(0, 3).map(({ id }) => id).join()}`}
    label="Answer"
    rows=${rows}
    columns=${columns}
    keyOf=${(/** @type {any} */ row) => String(row.$)}
    empty="The answer is empty"
    open=${open}
    onRow=${(/** @type {any} */ row) => {
      setOpen(open === String(row.$) ? '' : String(row.$));
      if (elements && known(row)) select([row.ID]);
    }}
    detail=${(/** @type {any} */ { $: _, ...row }) => html`<${Tree} value=${row} label="Row" open=${2} />`}
  />`;
}

/** @param {{series: ReturnType<typeof seriesIn>}} props */
function Charts({ series }) {
  const charts = useMemo(
    () => series.slice(0, CHARTS_AT_MOST).map(({ of, metrics }) => {
      const keys = [...new Set(metrics.flatMap((metric) => Object.keys(metric)))].filter((key) => key !== 'Start' && key !== 'Last').slice(0, 6);
      const ordered = [...metrics].sort((one, other) => one.Last - other.Last);
      const name = shown().nodes.get(of)?.Metadata.Name ?? of;
      return { of, name, times: ordered.map(({ Last }) => Last), lines: keys.map((label) => ({ label, values: ordered.map((metric) => metric[label] ?? 0) })) };
    }),
    [series],
  );
  return html`<div class="scroll">
    ${charts.map(({ of, name, times, lines }) => html`<${Chart} key=${of} label=${name} times=${times} lines=${lines} unit=${(/** @type {number} */ value) => count(Math.round(value))} />`)}
    ${series.length > CHARTS_AT_MOST && html`<p class="dim">The first ${CHARTS_AT_MOST} of ${series.length} are drawn.</p>`}
  </div>`;
}
